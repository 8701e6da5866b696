"""The real program: a node that serves, commands, and DNS queries to the node."""
import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from processes import Child, leashed, wait_until

BINARY = Path(os.environ.get("PORTOLAN_BIN") or Path(__file__).parents[2] / "target/release/portolan")
READY = r"^ready dns=(\S+) http=(\S+) generation=(\d+)((?: \w+=\S+)*)$"

# What each node needs; a test adds its regions.
BASE = """
region = "eu-west"
node = "ns1"

[listen]
dns = ["127.0.0.1:0"]
http = "127.0.0.1:0"
"""

SETTINGS = BASE + """
[regions.eu-west]
location = [53.34, -6.26]
"""

MASTER = """
$TTL 3600
@     IN SOA ns1 hostmaster 1 7200 900 1209600 30
@     IN NS  ns1
@     IN NS  ns2
ns1   IN A   127.0.0.1
ns2   IN A   127.0.0.2
"""


def policy(zone="svc.example.", **sections):
    """The text of a policy file. A section with named tables is a dict of dicts:

        policy(defaults={"ttl": "5s"}, endpoint={"fra1": {"addresses": ["192.0.2.1"]}}, name={"www": {"pool": "fra1"}})

    A value is written as JSON, which is TOML too for texts, numbers, booleans and lists of them. A dict inside a table is a
    section of its own, except in a list, where it is an inline table."""
    return f'zone = "{zone}"\n' + "".join(_table(key, value) for key, value in sections.items())


def _table(path, values):
    own = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}\n" for key, value in own.items()]
    head = f"\n[{path}]\n" if own or not values else ""
    tables = [_table(f"{path}.{_key(key)}", value) for key, value in values.items() if isinstance(value, dict)]
    return head + "".join(lines + tables)


def _key(key):
    return key if re.fullmatch(r"[\w-]+", key) else json.dumps(key)


def _value(value):
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(of)}" for key, of in value.items()) + " }"
    return json.dumps(value)


def files(policy):
    """The files of the zone svc.example with this policy, for `Node`."""
    return {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}


def tcp_monitor(port):
    """A quick monitor that connects to this port."""
    return {"type": "tcp", "port": port, "interval": "100ms", "timeout": "100ms"}


def environment(**more):
    """The environment of this process without the variables that change what the command does."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("PORTOLAN") and k != "RUST_LOG"}
    return {**others, **more}


def command(*argv, place=None, env=None, bound=60, before_exec=None, binary=BINARY):
    """Runs `portolan ARGV...` to its end; returns the CompletedProcess with text output."""
    return subprocess.run(
        [str(binary), *map(str, argv)], capture_output=True, text=True, timeout=bound, stdin=subprocess.DEVNULL,
        env=environment(**(env or {})), preexec_fn=leashed(place, before_exec),
    )


def split_address(text):
    """`1.2.3.4:53` or `[::1]:53` as (host, port)."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def write_files(dir, settings, zones):
    """Writes portolan.toml and zones/* into `dir`; returns the path of the former."""
    (dir / "zones").mkdir(parents=True, exist_ok=True)
    for name, text in zones.items():
        (dir / "zones" / name).write_text(text)
    (dir / "portolan.toml").write_text(settings)
    return dir / "portolan.toml"


class Node:
    """with Node(dir, zones={"svc.example.policy.toml": ..., "svc.example.zone": ...}) as node: node.ask("www.svc.example.")"""

    def __init__(
        self, dir, zones, settings=SETTINGS, place=None, env=None, name="node", bound=30, before_exec=None
    ):
        self.dir, self.place = Path(dir) / name, place
        self.settings = write_files(self.dir, settings, zones)
        self.child = Child(
            [BINARY, "serve", "--config", self.settings], self.dir, "serve", place=place, env=environment(**(env or {})),
            before_exec=before_exec,
        )
        try:
            ready = self.child.wait_line(READY, bound)
        except BaseException:
            self.child.end()
            raise
        self.dns = [split_address(a) for a in ready[1].split(",")]
        self.http = split_address(ready[2])
        self.first_generation = int(ready[3])
        more = (word.split("=") for word in ready[4].split())
        self.encrypted = {what: [split_address(a) for a in all.split(",")] for what, all in more}

    @property
    def udp(self):
        return self.dns[0]

    @property
    def url(self):
        host, port = self.http
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()

    def write(self, name, text):
        """Puts a zone or policy file in place of the old one, in one step, as an editor does."""
        new = self.dir / "zones" / f".{name}.new"
        new.write_text(text)
        new.rename(self.dir / "zones" / name)

    def hup(self):
        self.child.signal(signal.SIGHUP)

    # Queries

    def ask(self, name, rdtype="A", **how):
        return ask(self.udp, name, rdtype, place=self.place, **how)

    def addresses(self, name, rdtype="A", **how):
        """The contents of the records in the answer section, sorted."""
        return answers(self.ask(name, rdtype, **how))

    # The API

    def get(self, path):
        """Status and body text."""
        with self.place.inside() if self.place else contextlib.nullcontext():
            try:
                with urllib.request.urlopen(self.url + path, timeout=10) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as refused:
                return refused.code, refused.read().decode()

    def json(self, path):
        status, body = self.get(path)
        assert status == 200, f"GET {path}: {status} {body}"
        return json.loads(body)

    def status(self):
        return self.json("/v1/status")

    def health(self, endpoint):
        """The health of an endpoint by its name."""
        for zone in self.status()["zones"]:
            for report in zone["endpoints"]:
                if report["name"] == endpoint:
                    return report["health"]
        raise AssertionError(f"no endpoint {endpoint} in {self.status()}")

    def wait_health(self, endpoint, health, bound=15):
        wait_until(lambda: self.health(endpoint) == health, bound)

    def metrics(self):
        """{(name, frozenset of (label, value)): value}"""
        status, text = self.get("/metrics")
        assert status == 200
        return parse_metrics(text)

    def metric(self, name, /, **labels):
        """The sum of the samples of `name` that have these labels; None if there is none."""
        found = [v for (n, have), v in self.metrics().items() if n == name and set(labels.items()) <= have]
        return sum(found) if found else None

    def count(self, name, /, **labels):
        """As `metric`, of a counter: one that nothing was counted on has no sample, which is 0."""
        return self.metric(name, **labels) or 0

    def command(self, *argv, **how):
        """Runs a command that uses this node."""
        return command(*argv, "--server", self.url, place=self.place, **how)


SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, f"not the text format: {line!r}"
            samples[(match[1], frozenset(LABEL.findall(match[2] or "")))] = float(match[3])
    return samples


def ask(server, name, rdtype="A", tcp=False, subnet=None, edns=True, payload=1232, source=None, place=None, rd=False, timeout=5):
    """Sends a query to `server`, (host, port); returns the parsed reply."""
    options = [dns.edns.ECSOption.from_text(subnet)] if subnet else []
    query = dns.message.make_query(name, rdtype, use_edns=0 if edns or subnet else False, payload=payload, options=options)
    if not rd:
        query.flags &= ~dns.flags.RD
    how = dict(where=server[0], port=server[1], timeout=timeout, source=source)
    with place.inside() if place else contextlib.nullcontext():
        return dns.query.tcp(query, **how) if tcp else dns.query.udp(query, **how)


def answers(reply):
    """The contents of the records in the answer section of a reply, sorted."""
    return sorted(rdata.to_text() for rrset in reply.answer for rdata in rrset)


def scope(reply):
    """The ECS option of a reply as (address, source, scope); None if it has none."""
    for option in reply.options:
        if isinstance(option, dns.edns.ECSOption):
            return option.address, option.srclen, option.scopelen
    return None


def ede(reply):
    """The extended errors of a reply."""
    return [int(option.code) for option in reply.options if option.otype == dns.edns.OptionType.EDE]
