"""Most of the world fails, and says so: a response or a refusal proves the path, so that nothing is held back."""
import http.server
import threading
import time

import pytest

from portolan import MASTER, SETTINGS, Node
from processes import wait_until

REGIONS = ("eu", "us", "ap")
NAMES = [f"{region}{nth}" for region in REGIONS for nth in (1, 2)]
ALL = [f"192.0.2.{nth + 1}" for nth in range(len(NAMES))]
SORRY = "192.0.2.99"

HEAD = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
path = "/healthz"
interval = "500ms"
timeout = "400ms"

[endpoint.sorry]
addresses = ["192.0.2.99"]
"""

ENDPOINT = """
[endpoint.{name}]
addresses = ["192.0.2.{nth}"]
region = "{region}"
probe = "127.0.{nth}.1:{port}"
monitor = "web"
"""

TAIL = """
[pool.web]
members = {names}
steer = "all"

[name.www]
pool = "web"
on_empty = "sorry"
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """An endpoint on an address of its own, whose status may be changed, and which may be closed."""

    daemon_threads = True

    def __init__(self, nth):
        super().__init__((f"127.0.{nth}.1", 0), Handler)
        self.status = 200
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def refuse(self):
        self.shutdown()
        self.server_close()


@pytest.fixture
def world():
    servers = [Server(nth + 1) for nth in range(len(NAMES))]
    yield servers
    for server in servers:
        server.refuse()


def files(world):
    policy = HEAD
    for nth, (name, server) in enumerate(zip(NAMES, world)):
        port = server.server_address[1]
        policy += ENDPOINT.format(name=name, nth=nth + 1, region=name[:2], port=port)
    names = "[" + ", ".join(f'"{name}"' for name in NAMES) + "]"
    return {"svc.example.policy.toml": policy + TAIL.format(names=names), "svc.example.zone": MASTER}


def settings():
    return SETTINGS + "".join(f"\n[regions.{region}]\nlocation = [0, 0]\n" for region in REGIONS)


def fail_503(server):
    server.status = 503


@pytest.mark.parametrize("fail", [fail_503, Server.refuse], ids=["status-503", "refused"])
def test_what_answers_that_it_is_down_is_down(dir, world, fail):
    with Node(dir, files(world), settings()) as node:
        assert node.addresses("www.svc.example.") == ALL
        began = time.time()
        for server in world[:4]:
            fail(server)
        wait_until(lambda: node.addresses("www.svc.example.") == ALL[4:], 10)
        # An interval, the verification, and as much again for a busy machine: far from what a look may take in all.
        assert time.time() - began < 4
        [vantage] = node.status()["vantages"]
        assert vantage["state"] == "up", vantage
        for server in world[4:]:
            fail(server)
        wait_until(lambda: node.addresses("www.svc.example.") == [SORRY], 10)
        assert node.metric("portolan_vantage_blind", vantage="ns1") == 0
    with Node(dir, files(world), settings(), name="node") as node:
        assert node.addresses("www.svc.example.") == [SORRY], "over a restart too"


def test_processes_that_hang_are_down_however_many_they_are(dir, endpoints):
    """The kernel of a stopped process still grants connections: that proves the path."""
    hosts = [endpoints(name, host=f"127.0.{nth + 20}.1") for nth, name in enumerate(NAMES)]
    policy = HEAD
    for nth, (name, endpoint) in enumerate(zip(NAMES, hosts)):
        text = ENDPOINT.format(name=name, nth=nth + 1, region=name[:2], port=endpoint.port)
        policy += text.replace(f"127.0.{nth + 1}.1", endpoint.host)
    names = "[" + ", ".join(f'"{name}"' for name in NAMES) + "]"
    zones = {"svc.example.policy.toml": policy + TAIL.format(names=names), "svc.example.zone": MASTER}
    with Node(dir, zones, settings()) as node:
        assert node.addresses("www.svc.example.") == ALL
        for endpoint in hosts[:4]:
            endpoint.stop()
        wait_until(lambda: node.addresses("www.svc.example.") == ALL[4:], 10)
        whys = [v["why"] for e in node.status()["zones"][0]["endpoints"][:4] for v in e["verdicts"] if v.get("why")]
        assert not any("loses packets" in why for why in whys), whys
        for endpoint in hosts[4:]:
            endpoint.stop()
        wait_until(lambda: node.addresses("www.svc.example.") == [SORRY], 10)
        for endpoint in hosts:
            endpoint.go_on()
        wait_until(lambda: node.addresses("www.svc.example.") == ALL, 20)
