"""Most of the world fails, and answers that it does: a response or a refusal proves the path, so no verdict is delayed."""
import http.server
import threading
import time

import pytest

from portolan import Node
from processes import wait_until
from regions import addresses_in, names_in, region_files, region_settings

REGIONS = ("eu", "us", "ap")
NAMES = names_in(REGIONS)
ALL = addresses_in(REGIONS)
SORRY = "192.0.2.99"


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
    probes = {name: "{}:{}".format(*server.server_address) for name, server in zip(NAMES, world)}
    return region_files(probes, sorry=SORRY)


def fail_503(server):
    server.status = 503


@pytest.mark.parametrize("fail", [fail_503, Server.refuse], ids=["status-503", "refused"])
def test_an_endpoint_that_answers_with_a_failure_is_down(dir, world, fail):
    with Node(dir, files(world), region_settings(REGIONS)) as node:
        assert node.addresses("www.svc.example.") == ALL
        began = time.time()
        for server in world[:4]:
            fail(server)
        wait_until(lambda: node.addresses("www.svc.example.") == ALL[4:], 10)
        # An interval and the verification, twice for a busy machine: much less than the comparison with other hosts may take.
        assert time.time() - began < 4
        [vantage] = node.status()["vantages"]
        assert vantage["state"] == "up", vantage
        for server in world[4:]:
            fail(server)
        wait_until(lambda: node.addresses("www.svc.example.") == [SORRY], 10)
        assert node.metric("portolan_vantage_blind", vantage="ns1") == 0
    with Node(dir, files(world), region_settings(REGIONS), name="node") as node:
        assert node.addresses("www.svc.example.") == [SORRY], "after a restart too"


def test_processes_that_hang_are_down_however_many_they_are(dir, endpoints):
    """The kernel of a stopped process still accepts connections: that proves the path."""
    hosts = [endpoints(name, host=f"127.0.{nth + 20}.1") for nth, name in enumerate(NAMES)]
    probes = {name: endpoint.at for name, endpoint in zip(NAMES, hosts)}
    zones = region_files(probes, sorry=SORRY)
    with Node(dir, zones, region_settings(REGIONS)) as node:
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
