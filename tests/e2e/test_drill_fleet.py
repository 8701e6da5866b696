"""Drills of a fleet: the loss of all other nodes, several servers at once, and measurement through a resolver."""
import json
import shutil
import signal

import pytest

from fleet import VantageNode, settings, wait_verdicts
from nats import NatsServer
from portolan import BINARY, MASTER, Node, environment, policy
from ports import free_ports
from processes import Child, wait_until
from test_operator import ALICE, write_tokens

NAME = "www.svc.example."


def zone(*endpoints):
    """The files of a zone whose name www fails over between these endpoints. A busy machine doesn't end a drill."""
    monitor = {"type": "http", "interval": "200ms", "timeout": "1s", "fall": 3, "rise": 2}
    text = policy(
        defaults={"ttl": "1s"}, monitor={"web": monitor},
        endpoint={e.name: {"addresses": [e.host], "probe": e.at, "monitor": "web", "region": "eu-west"} for e in endpoints},
        pool={"both": {"members": [e.name for e in endpoints], "steer": "failover"}}, name={"www": {"pool": "both"}},
    )
    return {"svc.example.policy.toml": text, "svc.example.zone": MASTER}


def server(dir, nats, node, region, files):
    write_tokens(dir, node)
    return Node(dir, files, settings=settings(nats.url, node, region), name=node)


def begin(dir, servers, *argv):
    """Begins a drill in the background, at these servers; returns the command when all of them run it."""
    at = [word for node in servers for word in ("--server", node.url)]
    name = f"drill-{len(list(dir.glob('drill-*')))}"
    argv = [BINARY, "drill", *argv, "--qps", "10", "--format", "json", *at]
    child = Child(argv, dir, name, env=environment(PORTOLAN_TOKEN=ALICE))
    wait_until(lambda: all("drill" in node.status() for node in servers) or not child.is_running(), 30)
    assert child.is_running(), child.output()
    return child


def ended(child, code):
    """The report of a drill that ended with this exit code."""
    found = child.wait(60)
    report = json.loads("\n".join(child.out()))
    assert found == code, report
    return report


def vantages(node):
    return {vantage["name"]: vantage["state"] for vantage in node.status()["vantages"]}


def test_the_loss_of_the_fleet_and_a_drill_of_several_servers(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    files = zone(fra1, fra2)
    with NatsServer(dir) as nats, server(dir, nats, "ns1", "eu-west", files) as ns1:
        with server(dir, nats, "ns2", "us-east", files) as ns2, VantageNode(dir, nats.url, "nyc1", "us-east"):
            everybody = {"ns1": "up", "ns2": "up", "nyc1": "up"}
            for node in (ns1, ns2):
                for endpoint in ("fra1", "fra2"):
                    wait_verdicts(node, endpoint, everybody)
                wait_until(lambda: vantages(node) == everybody, 30)
            the_fleet_is_lost(dir, ns1, ns2, fra1, everybody)
            all_servers_drill(dir, [ns1, ns2], fra1, fra2)
            the_end_at_one_server_ends_it_at_the_other(dir, [ns1, ns2])
            one_that_refuses_keeps_the_other_from_it(dir, [ns1, ns2])


def the_fleet_is_lost(dir, ns1, ns2, fra1, everybody):
    """The server goes on with its own vantage, and answers the same; afterwards it has the others again."""
    child = begin(dir, [ns1], "lose-fleet", "--for", "12s")
    drill = ns1.status()["drill"]
    assert (drill["drill"], drill["target"], drill["who"]) == ("lose-fleet", "", "alice"), drill
    wait_until(lambda: vantages(ns1) == {"ns1": "up", "ns2": "stale", "nyc1": "stale"}, 30)
    assert vantages(ns2) == everybody, "it is lost for the server that drills only"
    assert ns1.addresses(NAME) == [fra1.host]
    report = ended(child, 0)
    assert report["ok"] and report["lost_vantages"] == ["ns2", "nyc1"] and report["lost"] == [], report
    wait_until(lambda: vantages(ns1) == everybody, 30)


def test_a_vantage_that_is_really_lost_at_the_end_fails_the_drill(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    with NatsServer(dir) as nats, server(dir, nats, "ns1", "eu-west", zone(fra1, fra2)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1, VantageNode(dir, nats.url, "fra9", "eu-central") as fra9:
            up = {"ns1": "up", "nyc1": "up", "fra9": "up"}
            wait_until(lambda: vantages(ns1) == up, 30)
            for endpoint in ("fra1", "fra2"):
                wait_verdicts(ns1, endpoint, up)
            # It is stale 10 s after its last report, also where the kill comes late on a busy machine.
            child = begin(dir, [ns1], "lose-vantage", "nyc1", "--for", "20s")
            nyc1.child.signal(signal.SIGKILL)
            report = ended(child, 1)
            assert not report["ok"] and report.get("aborted") is None and report.get("restored_at") is None, report
            assert [text for text in report["problems"] if text.startswith("vantage nyc1 did not come back: its last")], report
            assert ns1.json("/v1/drill")["drill"]["phase"] == "failed"
            assert ns1.count("portolan_drills_total", result="failed") == 1
            with VantageNode(nyc1.dir, nats.url, "nyc1", "us-east"):
                wait_until(lambda: vantages(ns1) == up, 30)
                # One outside the drill that stops in order ends it.
                child = begin(dir, [ns1], "lose-vantage", "nyc1", "--for", "60s")
                fra9.child.end()
                assert "vantage fra9 has stopped" in ended(child, 1)["aborted"]


def all_servers_drill(dir, servers, fra1, fra2):
    """Each server loses the endpoint, each is measured, and each has it again."""
    child = begin(dir, servers, "lose-endpoint", "fra1", "--for", "4s", "--rto", "30s")
    for node in servers:
        wait_until(lambda: node.addresses(NAME) == [fra2.host], 20)
    report = ended(child, 0)
    measured = {of["server"]: of for of in report["servers"]}
    assert set(measured) == {f"{node.udp[0]}:{node.udp[1]}" for node in servers}, report
    for of in measured.values():
        assert 0 < of["recovery_ms"] <= report["recovery_ms"] and not of["resolver"], report
        assert all(question["recovered"] and question["back_ms"] for question in of["questions"]), report
    for node in servers:
        wait_until(lambda: node.addresses(NAME) == [fra1.host], 10)
        assert "drill" not in node.status()


def the_end_at_one_server_ends_it_at_the_other(dir, servers):
    child = begin(dir, servers, "lose-endpoint", "fra1", "--for", "60s")
    assert servers[1].command("drill", "stop", env={"PORTOLAN_TOKEN": ALICE}).returncode == 0
    assert "alice ended it" in ended(child, 1)["aborted"]
    for node in servers:
        wait_until(lambda: "drill" not in node.status(), 20)


def one_that_refuses_keeps_the_other_from_it(dir, servers):
    """A drill that one of the servers refuses begins at none."""
    child = begin(dir, servers[1:], "lose-endpoint", "fra2", "--for", "60s")
    at = [word for node in servers for word in ("--server", node.url)]
    refused = servers[0].command(
        "drill", "lose-endpoint", "fra1", "--for", "5s", "--qps", "10", *at, env={"PORTOLAN_TOKEN": ALICE}
    )
    assert refused.returncode == 1 and "runs already" in refused.stderr, refused.stderr
    assert "drill" not in servers[0].status()
    child.signal(2)
    assert "interrupted" in ended(child, 1)["aborted"]


UNBOUND = """
server:
    interface: 127.0.0.1@{port}
    username: ""
    chroot: ""
    directory: "{dir}"
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    do-not-query-localhost: no
    module-config: "iterator"
    do-ip6: no
stub-zone:
    name: "svc.example."
    stub-addr: {host}@{at}
remote-control:
    control-enable: no
"""


def unbound():
    return shutil.which("unbound", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin")


@pytest.mark.skipif(unbound() is None, reason="unbound isn't installed")
def test_a_resolver_is_measured_too(dir, endpoints):
    """Its answers are as old as the TTL allows, so it recovers after the server."""
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    write_tokens(dir)
    with Node(dir, zone(fra1, fra2)) as node:
        [port] = free_ports(1)
        settings = dir / "unbound.conf"
        settings.write_text(UNBOUND.format(port=port, dir=dir, host=node.udp[0], at=node.udp[1]))
        resolver = Child([unbound(), "-d", "-c", settings], dir, "unbound", env=environment())
        try:
            child = begin(dir, [node], "lose-endpoint", "fra1", "--for", "4s", "--resolver", f"127.0.0.1:{port}")
            report = ended(child, 0)
        finally:
            resolver.end()
        own, through = report["servers"]
        assert (own["resolver"], through["resolver"]) == (False, True), report
        assert through["server"] == f"127.0.0.1:{port}" and len(through["questions"]) >= 1
        for question in through["questions"]:
            assert question["recovered"] and question["stale"] > 0 and question["sent"] > 20, question
        # The recovery of the drill is that of the servers.
        assert report["recovery_ms"] == own["recovery_ms"], report
        assert through["recovery_ms"] > 0, report

        # A resolver that answers nothing is no recovery.
        [silent] = free_ports(1)
        child = begin(dir, [node], "lose-endpoint", "fra1", "--for", "3s", "--resolver", f"127.0.0.1:{silent}")
        report = ended(child, 1)
        assert not report["ok"] and report["servers"][1]["questions"][0]["timed_out"] > 0, report
