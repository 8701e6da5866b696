"""A small fleet for tests of exclusive names: servers, endpoints, a hook whose runs are recorded, and a watcher that asks all
servers all the time who is active."""
import json
import os
import pwd
import re
import signal
import stat
import threading
import time
from pathlib import Path

import dns.exception

from portolan import MASTER, SETTINGS, Node, answers, ask, policy
from processes import wait_until

ZONE = "svc.example."
NAME = "db.svc.example."
EPOCH = "_epoch.db.svc.example."
REGIONS = ["eu-west", "us-east", "ap-south"]
ENDPOINTS = {"fra1": "192.0.2.1", "ams1": "192.0.2.2", "nyc1": "192.0.2.3"}
TOKEN = "a" * 32
# A killed endpoint refuses connections, which needs no time-out; a busy machine answers within this one.
MONITOR = {"type": "http", "interval": "300ms", "timeout": "5s", "fall": 2, "rise": 2}

HOOK = """#!/bin/sh
# Records its run. What it does then is in the file `mode`: ok, fail, hang, or slow.
echo "start $PORTOLAN_EPOCH $PORTOLAN_ZONE $PORTOLAN_NAME $PORTOLAN_FROM $PORTOLAN_TO $$" >>DIR/hook.log
case $(cat DIR/mode) in
    fail) echo "no replica is there" >&2; exit 3 ;;
    hang) sleep 1000 & echo "child $PORTOLAN_EPOCH $!" >>DIR/hook.log; wait ;;
    slow) sleep 2 ;;
esac
echo "end $PORTOLAN_EPOCH" >>DIR/hook.log
"""


def exclusive_policy(endpoints, monitor=MONITOR, **name):
    """A name `db` over these `Endpoint`s, with the addresses of ENDPOINTS."""
    return policy(
        defaults={"ttl": {"min": "1s", "max": "5s"}},
        monitor={"db": monitor},
        endpoint={
            of.name: {"addresses": [ENDPOINTS[of.name]], "region": REGIONS[i % 3], "probe": of.at, "monitor": "db"}
            for i, of in enumerate(endpoints)
        },
        pool={"db": {"steer": "failover", "members": [of.name for of in endpoints]}},
        name={"db": {"pool": "db", "failover": "exclusive", **name}},
    )


class Fleet:
    """with Fleet(dir, nats_urls, endpoints) as fleet: fleet.nodes[0].ask(...)

    Each server has a region of its own. `hook`: it promotes with the recorded hook."""

    def __init__(self, dir, urls, endpoints, count=3, hook=True, timeout="5s", **name):
        self.dir, self.urls, self.hook, self.timeout = Path(dir), urls, hook, timeout
        self.policy = exclusive_policy(endpoints, **name)
        self.nodes = [None] * count
        self.hook_path = self.dir / "promote"
        self.hook_path.write_text(HOOK.replace("DIR", str(self.dir)))
        self.hook_path.chmod(0o755)
        self.log = self.dir / "hook.log"
        self.log.touch()
        self.mode("ok")
        for path in (self.log, self.dir / "mode"):
            path.chmod(0o666)

    def mode(self, mode):
        (self.dir / "mode").write_text(mode)

    def settings(self, i):
        regions = "".join(f"\n[regions.{name}]\nlocation = [{10 + 20 * j}.0, 10.0]\n" for j, name in enumerate(REGIONS))
        head = SETTINGS.split("[regions")[0].replace("eu-west", REGIONS[i % 3]).replace("ns1", f"ns{i + 1}")
        hooks = f'hooks = {{ on_promote = ["{self.hook_path}"] }}\nhook_timeout = "{self.timeout}"\n' if self.hook else ""
        return (
            f'{head}\n[fleet]\nnats = {json.dumps(self.urls)}\ncluster = "test"\n{hooks}\n[state]\ndir = "state"\n'
            f'[api]\ntoken_file = "tokens"\n{regions}'
        )

    def start(self, i):
        dir = self.dir / f"ns{i + 1}"
        dir.mkdir(exist_ok=True)
        tokens = dir / "tokens"
        if not tokens.exists():
            tokens.write_text(f"alice operate {TOKEN}\n")
            tokens.chmod(stat.S_IRUSR | stat.S_IWUSR)
            if os.geteuid() == 0:
                # Started by root, the server becomes this user, and so does its hook.
                os.chown(tokens, pwd.getpwnam("nobody").pw_uid, -1)
        zones = {"svc.example.policy.toml": self.policy, "svc.example.zone": MASTER}
        self.nodes[i] = Node(self.dir, zones, settings=self.settings(i), name=f"ns{i + 1}")
        return self.nodes[i]

    def __enter__(self):
        try:
            for i in range(len(self.nodes)):
                self.start(i)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        for node in filter(None, self.nodes):
            if node.child.is_running():
                node.child.signal(signal.SIGCONT)
            node.child.end()

    def lease(self, i=0):
        """What a server says about the lease; None if it knows none."""
        for zone in self.nodes[i].status()["zones"]:
            for lease in zone.get("exclusive", []):
                return lease if "epoch" in lease else None
        return None

    def wait_lease(self, bound=20, nodes=None, **fields):
        """Waits until each server says this about the lease."""
        nodes = range(len(self.nodes)) if nodes is None else nodes

        def agreed():
            leases = [self.lease(i) for i in nodes]
            return all(lease and all(lease.get(k) == v for k, v in fields.items()) for lease in leases) and leases

        return wait_until(agreed, bound, 0.02)

    def holder(self, bound=20):
        """The index of the server that holds the lease."""
        holds = lambda: [i for i, node in enumerate(self.nodes) if self.is_up(i) and (self.lease(i) or {}).get("is_holder")]
        return wait_until(holds, bound, 0.05)[0]

    def is_up(self, i):
        return self.nodes[i] is not None and self.nodes[i].child.is_running()

    def runs(self):
        """The runs of the hook so far: [(epoch, from, to)]."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(line[1]), line[4], line[5]) for line in lines if line[0] == "start"]

    def wait_hanging(self, epoch, bound=20):
        """Waits until the hook of this epoch hangs; the pids of its shell and of the shell's child."""
        hanging = re.compile(rf"^start {epoch} .* (\d+)$(?s:.*)^child {epoch} (\d+)\n", re.M)
        found = wait_until(lambda: hanging.search(self.log.read_text()), bound)
        return int(found[1]), int(found[2])

    def operate(self, i, *argv):
        return self.nodes[i].command(*argv, env={"PORTOLAN_TOKEN": TOKEN})


class Watcher(threading.Thread):
    """Asks every server for the record with the epoch, again and again. Checks that no epoch ever has two endpoints and that
    no server goes back to an earlier one; the first complaint is in `wrong`."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses, self.endpoints, self.last = dict(addresses), {}, {}
        self.wrong, self.going, self.count = None, True, 0
        self.lock = threading.Lock()

    def run(self):
        while self.going:
            with self.lock:
                servers = list(self.addresses.items())
            for key, address in servers:
                try:
                    texts = self.texts_of(address)
                except (dns.exception.Timeout, OSError):
                    continue
                self.note(key, address, texts)
            time.sleep(0.01)

    def texts_of(self, address):
        return answers(ask(address, EPOCH, "TXT", timeout=0.5))

    def note(self, key, address, texts):
        self.count += 1
        if not texts:
            return
        match = re.fullmatch(r'"epoch=(\d+) endpoint=(\S+)"', texts[0])
        if len(texts) != 1 or not match:
            self.wrong = self.wrong or f"{key}: {texts}"
            return
        epoch, endpoint = int(match[1]), match[2]
        first = self.endpoints.setdefault(epoch, endpoint)
        if first != endpoint:
            self.wrong = self.wrong or f"epoch {epoch} has two endpoints: {first} and {endpoint} at {key}"
        if epoch < self.last.get(key, 0):
            self.wrong = self.wrong or f"{key} went back from epoch {self.last[key]} to {epoch}"
        self.last[key] = max(epoch, self.last.get(key, 0))

    def moved(self, key, address):
        """A server has another address after its restart."""
        with self.lock:
            self.addresses[key] = address

    def end(self):
        self.going = False
        self.join(10)
        assert self.wrong is None, self.wrong
        assert self.count > 0, "nothing was asked"
