"""Each kind of monitor with a real server (nginx, named, gRPC's health service, curl), and with each kind of failure.

One server probes them all; cases.py has the monitors. A failing service must be down, and `status` must show the reason. A
healthy one must be up.
"""
import contextlib
import json
import re
import signal
import time

import pytest

import servers
from cases import BEAT, COMPOSITES, ILL, UP, WELL, policy
from portolan import MASTER, Node
from processes import is_alive, wait_until
from servers import Servers
from test_operator import ALICE, write_tokens
from world import Lone

pytestmark = [
    pytest.mark.places,
    pytest.mark.skipif(bool(servers.MISSING), reason=f"needs {', '.join(servers.MISSING)}"),
]


class Watch:
    """The server, the services that it probes, and its status."""

    def __init__(self, dir, place, servers, node):
        self.dir, self.place, self.servers, self.node = dir, place, servers, node

    def endpoint(self, name):
        return next(e for e in self.node.status()["zones"][0]["endpoints"] if e["name"] == name)

    def why(self, name):
        """The reason of the last transition of an endpoint."""
        return next(t["why"] for t in self.node.json("/v1/transitions") if t["endpoint"] == name)

    def transitions(self, name):
        """The transitions of an endpoint, for the message of a failure."""
        return [t for t in self.node.json("/v1/transitions") if t["endpoint"] == name]

    def wait(self, *names, health="up"):
        others = lambda: [name for name in names if self.node.health(name) != health]
        try:
            wait_until(lambda: not others(), 30)
        except AssertionError:
            pytest.fail(f"not {health}: {[self.transitions(name) for name in others()]}")

    def resident(self):
        """The memory of a process in MiB: now, and its maximum since the start."""
        lines = dict(line.split(":", 1) for line in open(f"/proc/{self.node.child.pid}/status") if line.startswith("Vm"))
        return [int(lines[what].split()[0]) / 1024 for what in ("VmRSS", "VmHWM")]


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    dir = tmp_path_factory.mktemp("monitors")
    write_tokens(dir)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(Lone())
        running = stack.enter_context(Servers(dir, place))
        files = {"svc.example.policy.toml": policy(dir), "svc.example.zone": MASTER}
        trust = {"SSL_CERT_FILE": str(running.certificates.ca)}
        yield Watch(dir, place, running, stack.enter_context(Node(dir, files, place=place, env=trust, bound=60)))


@pytest.mark.parametrize("name", WELL)
def test_healthy_services_are_up(watch, name):
    wait_until(lambda: watch.endpoint(name)["health"] == "up", 30)


@pytest.mark.parametrize("name", ILL)
def test_failing_services_are_down_and_status_shows_why(watch, name):
    why = ILL[name].why

    def found():
        [verdict] = watch.endpoint(name)["verdicts"]
        found_reason = verdict.get("why") or ""
        return verdict["health"] == "down" and (why.fullmatch(found_reason) if isinstance(why, re.Pattern) else why == found_reason)

    try:
        wait_until(found, 30)
    except AssertionError:
        pytest.fail(f"{name}: {watch.endpoint(name)}, expected down: {why}")


def test_endpoints_that_are_up_are_answered(watch):
    """An endpoint with a heartbeat counts as up until its first beat is due."""
    wait_until(lambda: watch.node.addresses("www.svc.example.") == sorted([*UP, BEAT]), 30)


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_name_the_monitor_that_failed(watch, name):
    why = COMPOSITES[name][1]
    wait_until(lambda: watch.endpoint(name)["health"] == ("down" if why else "up"), 30)
    assert any(verdict.get("why") == why for verdict in watch.endpoint(name)["verdicts"])


def test_a_redirect_is_not_followed(watch):
    """Only the path of the monitor is requested. The target of the redirect would respond with 200."""
    assert watch.endpoint("http-redirect")["health"] == "down"
    assert watch.endpoint("http")["health"] == "up"


def test_a_heartbeat_by_curl(watch):
    host, port = watch.node.http
    argv = ["curl", "-sS", "--fail", "-H", f"authorization: Bearer {ALICE}"]
    beat = lambda *how: watch.place.run(*argv, *how, f"http://{host}:{port}/v1/heartbeat/beat", check=True, capture_output=True)
    beat("-X", "PUT", "-d", json.dumps({"ttl": "30m"}))
    watch.wait("beat")
    assert BEAT in watch.node.addresses("www.svc.example.")
    beat("-X", "DELETE")
    watch.wait("beat", health="down")
    assert "goodbye" in watch.why("beat")
    wait_until(lambda: watch.node.addresses("www.svc.example.") == UP, 10)


def test_a_grpc_service_fails_and_recovers(watch):
    """One service, without and with TLS; the server as a whole stays up."""
    db = ("grpc-db", "grpc-tls-db")
    watch.wait(*db)
    watch.servers.health.signal(signal.SIGUSR1)
    watch.wait(*db, health="down")
    for name in db:
        assert watch.endpoint(name)["verdicts"][0]["why"] == "NOT_SERVING"
    assert watch.node.health("grpc") == watch.node.health("grpc-tls") == "up"
    watch.servers.health.signal(signal.SIGUSR2)
    watch.wait(*db)


@pytest.mark.parametrize(
    "server, of_it, unharmed",
    [
        ("named", ["dns", "dns-rdata", "dns-by-tcp", "dns-refused", "all-well"], ["http", "grpc"]),
        ("nginx", ["tcp", "http", "https", "tls", "all-well", "any-well"], ["dns", "grpc", "tcp-half-open"]),
        ("health", ["grpc", "grpc-service", "grpc-tls", "all-well"], ["http", "dns"]),
    ],
)
def test_a_server_that_is_killed_and_started_again(watch, figure, server, of_it, unharmed):
    watch.wait(*of_it)
    died = time.monotonic()
    running = getattr(watch.servers, server)
    running.process.kill()
    running.wait(10)
    try:
        watch.wait(*of_it, health="down")
        figure(f"{server} killed, all its monitors down after", time.monotonic() - died, "s")
        # A probe that was running when the server died may have had another result first.
        for name in set(of_it) & set(WELL):
            wait_until(lambda name=name: watch.endpoint(name)["verdicts"][0].get("why") == "connection refused", 30)
        assert {watch.node.health(name) for name in unharmed} == {"up"}
    finally:
        getattr(watch.servers, f"start_{server}")()
    watch.wait(*of_it, *unharmed)


def test_failing_services_do_not_use_up_the_memory(watch, figure):
    """Endless bodies, heads and outputs are read during the whole test."""
    probed = lambda: watch.node.metric("portolan_probes_total", result="failure")
    before, (rss, _) = probed(), watch.resident()
    wait_until(lambda: probed() > before + 300, 60)
    after, most = watch.resident()
    figure("resident after 300 bad probes more", after, "MiB")
    assert after - rss < 24 and most < 160, (rss, after, most)


def test_no_process_of_a_script_outlives_its_probe(watch):
    """A script forks, hangs and ignores SIGTERM: each run is killed with all processes that it started."""
    pids = lambda: [int(pid) for pid in (watch.dir / "pids").read_text().split()]
    earlier = wait_until(lambda: len(pids()) >= 9 and pids(), 30)
    wait_until(lambda: not any(is_alive(pid) for pid in earlier), 30)
    # The script runs again and again, and ends with the server.
    wait_until(lambda: len(pids()) > len(earlier), 30)
    watch.node.child.end()
    wait_until(lambda: not any(is_alive(pid) for pid in pids()), 10)
