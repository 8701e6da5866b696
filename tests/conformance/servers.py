"""Starts Portolan and Debian's knotd, nsd and named on loopback, each with the same zones and a minimal configuration: no
rate limit, no cookies, no caches on disk, replies of 1232 octets at most over UDP."""
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from processes import Child  # noqa: E402

MAX_UDP = 1232
# A server that needs longer for a few hundred small zones is broken, even on a busy machine.
START_SECONDS = 60
# How often a port that was free a moment ago may be in use.
ATTEMPTS = 5

BINARY = Path(os.environ.get("PORTOLAN_BIN") or Path(__file__).resolve().parents[2] / "target/release/portolan")


def free_address():
    """A port of 127.0.0.1 (named listens on no other loopback address) that is free for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()


class Server:
    """with Knot(dir, apexes) as server: server.address. `dir`/zones has a file NAME.zone for each apex."""

    program = None

    def __init__(self, dir, zones, apexes):
        """`dir` must not exist yet. `zones` is the directory of the master files."""
        self.dir, self.zones, self.apexes = Path(dir), Path(zones), apexes
        self.dir.mkdir()
        self.child = None

    @classmethod
    def name(cls):
        return cls.__name__.lower()

    @classmethod
    def path(cls):
        """The program, or None if it isn't installed."""
        return shutil.which(cls.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def __enter__(self):
        for _ in range(ATTEMPTS):
            self.address = free_address()
            argv = self.configure(*self.address)
            self.child = Child(argv, self.dir, self.name())
            if self.comes_up():
                return self
            self.child.end()
        raise RuntimeError(f"{self.name()} ends again and again: {self.child.output()}")

    def __exit__(self, *_):
        self.child.end()

    def comes_up(self):
        """Waits until it answers the SOA of its last zone over UDP and TCP; returns False if it ended."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.child.is_running():
                return False
            if self.has_loaded():
                return True
            time.sleep(0.05)
        self.child.end()
        raise RuntimeError(f"{self.name()} does not answer: {self.child.output()}")

    def has_loaded(self):
        query = b"\x12\x34\0\0\0\1\0\0\0\0\0\0" + self.apexes[-1].to_wire() + b"\0\6\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            udp.connect(self.address)
            try:
                udp.send(query)
                # SERVFAIL: the zone is not loaded yet, or refused. The real queries show which.
                return udp.recv(4096)[3] & 0xF in (0, 2)
            except OSError:
                return False

    def file_of(self, apex):
        return self.zones / file_name(apex)


def file_name(apex):
    return apex.to_text(omit_final_dot=True) + ".zone"


class Knot(Server):
    program = "knotd"

    def configure(self, host, port):
        zones = "".join(f'  - domain: "{apex.to_text()}"\n    file: "{self.file_of(apex)}"\n' for apex in self.apexes)
        path = self.dir / "knot.conf"
        path.write_text(f"""server:
    rundir: "{self.dir}"
    listen: [{host}@{port}]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    udp-max-payload: {MAX_UDP}
    identity: ""
    version: ""
database:
    storage: "{self.dir}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{self.dir}"
    journal-content: none
    zonefile-load: whole
    zonefile-sync: -1
    semantic-checks: off
zone:
{zones}""")
        return [self.path(), "-c", path]


class Nsd(Server):
    program = "nsd"

    def configure(self, host, port):
        zones = "".join(f'zone:\n  name: "{apex.to_text()}"\n  zonefile: "{self.file_of(apex)}"\n' for apex in self.apexes)
        path = self.dir / "nsd.conf"
        path.write_text(f"""server:
  ip-address: {host}@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{self.dir}"
  database: ""
  pidfile: "{self.dir}/nsd.pid"
  xfrdfile: "{self.dir}/xfrd.state"
  zonelistfile: "{self.dir}/zone.list"
  xfrdir: "{self.dir}"
  ipv4-edns-size: {MAX_UDP}
  minimal-responses: yes
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  zonefiles-check: no
remote-control:
  control-enable: no
{zones}""")
        return [self.path(), "-d", "-c", path]


class Named(Server):
    program = "named"

    def configure(self, host, port):
        zones = "".join(
            f'zone "{apex.to_text(omit_final_dot=True)}" {{ type primary; file "{self.file_of(apex)}"; }};\n'
            for apex in self.apexes
        )
        path = self.dir / "named.conf"
        path.write_text(f"""options {{
  directory "{self.dir}";
  pid-file "{self.dir}/named.pid";
  session-keyfile "{self.dir}/session.key";
  managed-keys-directory "{self.dir}";
  listen-on port {port} {{ {host}; }};
  listen-on-v6 {{ none; }};
  recursion no;
  allow-query {{ any; }};
  notify no;
  dnssec-validation no;
  zero-no-soa-ttl no;
  empty-zones-enable no;
  answer-cookie no;
  edns-udp-size {MAX_UDP};
  max-udp-size {MAX_UDP};
  minimal-responses yes;
  check-names primary ignore;
  check-mx ignore;
  check-integrity no;
  check-wildcard no;
  max-records-per-type 0;
}};
controls {{ }};
logging {{ channel err {{ stderr; severity warning; }}; category default {{ err; }}; }};
{zones}""")
        return [self.path(), "-g", "-n", "1", "-U", "1", "-c", path]


class Portolan(Server):
    program = str(BINARY)

    def configure(self, host, port):
        """Uses any free port, which its ready line has."""
        settings = self.dir / "portolan.toml"
        settings.write_text(f"""region = "x"
node = "conformance"
[listen]
dns = ["{host}:0"]
http = "{host}:0"
workers = 1
[zones]
dir = "{self.zones}"
[regions.x]
location = [0.0, 0.0]
""")
        return [self.path(), "serve", "--config", settings]

    @classmethod
    def path(cls):
        return cls.program if os.access(cls.program, os.X_OK) else None

    def comes_up(self):
        ready = self.child.wait_line(r"^ready dns=([\d.]+):(\d+)", START_SECONDS)
        self.address = ready[1], int(ready[2])
        return self.has_loaded()

    def check(self, severity="error"):
        """The errors or warnings of `portolan check`: {file name: line and first message}."""
        self.configure("127.0.0.1", 0)
        argv = [self.path(), "check", "--config", str(self.dir / "portolan.toml")]
        output = subprocess.run(argv, capture_output=True, text=True, timeout=START_SECONDS).stdout
        found = {}
        for line in output.splitlines():
            place, sep, message = line.partition(f": {severity}: ")
            if sep:
                found.setdefault(Path(place.rsplit(":", 2)[0]).name, f"{place.rsplit(':', 2)[1]}: {message}")
        return found
