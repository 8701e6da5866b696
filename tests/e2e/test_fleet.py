"""Servers and vantages that work together through a real NATS server: what is probed, what is reported, and what happens without
NATS."""
import json
import os
import subprocess
from pathlib import Path

from fleet import VantageNode, settings, targets, verdicts, wait_verdicts
from nats import NatsClient, NatsServer
from portolan import MASTER, Node, command, policy, write_files
from processes import resident_octets, wait_until

FLEET_CONFIG = Path(__file__).parents[2] / "docker/nats/fleet.conf"


def zone(*endpoints, serial=1, monitor=None, **more):
    """The files of a zone whose name www fails over between these endpoints."""
    names = [endpoint.name for endpoint in endpoints]
    text = policy(
        defaults={"ttl": "5s", "on_empty": "nodata"},
        monitor={"web": monitor or {"type": "http", "interval": "200ms", "timeout": "200ms"}},
        endpoint={e.name: {"addresses": [e.host], "probe": e.at, "monitor": "web", "region": "eu-west"} for e in endpoints},
        pool={"both": {"members": names, "steer": "failover"}}, name={"www": {"pool": "both"}}, **more,
    )
    return {"svc.example.policy.toml": text, "svc.example.zone": MASTER.replace("hostmaster 1 ", f"hostmaster {serial} ")}


def server(dir, nats, node="ns1", region="eu-west", files=None, **how):
    return Node(dir, files, settings=settings(nats.url, node, region, **how), name=node)


def test_a_vantage_needs_no_zones_and_servers_and_vantages_see_all_reports(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, fra2)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1, VantageNode(dir, nats.url, "fra9", "eu-central") as fra9:
            assert (nyc1.ready[1], nyc1.ready[2]) == ("nyc1", "us-east")
            up = {"ns1": "up", "nyc1": "up", "fra9": "up"}
            wait_verdicts(ns1, "fra1", up)
            wait_verdicts(ns1, "fra2", up)
            assert {v["name"]: (v["region"], v["state"]) for v in ns1.status()["vantages"]} == {
                "ns1": ("eu-west", "up"), "nyc1": ("us-east", "up"), "fra9": ("eu-central", "up"),
            }
            # The round-trip time from each region.
            assert all(ns1.metric("portolan_rtt_seconds", vantage=name) > 0 for name in up)
            assert ns1.metric("portolan_vantage_up", vantage="nyc1") == 1
            assert ns1.metric("portolan_fleet_reports_total", vantage="nyc1") > 0
            # A second server has other vantages from the start on, and reports too.
            with server(dir, nats, node="ns2", region="us-east", files=zone(fra1, fra2)) as ns2:
                wait_verdicts(ns2, "fra1", {**up, "ns2": "up"})
                wait_verdicts(ns1, "fra1", {**up, "ns2": "up"})
                assert targets(ns2)["differing"] == [] and targets(ns2)["checks"] == 2
                # All of them see an endpoint die, and the servers agree.
                fra1.kill()
                down = {name: "down" for name in ("ns1", "ns2", "nyc1", "fra9")}
                for node in (ns1, ns2):
                    wait_verdicts(node, "fra1", down)
                    wait_until(lambda: node.addresses("www.svc.example.") == ["127.0.0.2"], 10)
                fra1.start()
                wait_verdicts(ns1, "fra1", {name: "up" for name in down})
            # The status and the metrics of a vantage of its own.
            assert nyc1.get("/healthz").startswith("ok")
            assert nyc1.status()["vantages"] == [{"name": "nyc1", "region": "us-east", "state": "up"}]
            assert targets(nyc1)["state"] == "current" and targets(nyc1)["checks"] == 2
            assert nyc1.metric("portolan_probes_total", vantage="nyc1", result="success") > 0
            assert nyc1.metric("portolan_fleet_reports_sent_total") > 0
            shown = ns1.command("status").stdout
            assert "the fleet probes 2 checks of 1 zones" in shown and "nyc1" in shown, shown
        # All others have stopped in order: they are not known any more, and what is served does not change.
        wait_until(lambda: [v["name"] for v in ns1.status()["vantages"]] == ["ns1"], 30)
        assert ns1.metric("portolan_vantage_up", vantage="nyc1") is None
        assert ns1.addresses("www.svc.example.") == [fra1.host]
        for name in ("nyc1", "fra9", "ns2"):
            lines = ns1.child.err().splitlines()
            assert [line for line in lines if "a vantage has stopped" in line and name in line], ns1.child.err()


def test_a_vantage_that_stops_in_order_is_gone_and_one_that_starts_again_has_its_votes(dir, endpoints):
    fra1 = endpoints("fra1")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1:
            wait_verdicts(ns1, "fra1", {"ns1": "up", "nyc1": "up"})
            nyc1.child.end()
            wait_until(lambda: [v["name"] for v in ns1.status()["vantages"]] == ["ns1"], 30)
            # A new process has the same name, and is killed: it stays known.
            with VantageNode(nyc1.dir, nats.url, "nyc1", "us-east") as again:
                wait_until(lambda: ns1.metric("portolan_vantage_up", vantage="nyc1") == 1, 30)
                wait_verdicts(ns1, "fra1", {"ns1": "up", "nyc1": "up"})
                again.child.signal(9)
                wait_until(lambda: ns1.metric("portolan_vantage_up", vantage="nyc1") == 0, 40)


def test_a_server_without_a_zone_is_named(dir, endpoints):
    fra1 = endpoints("fra1")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, serial=2)) as ns1:
        with server(dir, nats, node="ns2", region="us-east", files=zone(fra1, serial=2)) as ns2:
            for node in (ns1, ns2):
                wait_until(lambda: targets(node)["checks"] == 1 and targets(node)["differing"] == [], 30)
            for name in zone(fra1):
                (ns1.dir / "zones" / name).rename(ns1.dir / name)
            removed = ns1.command("reload", "--confirm-removal")
            assert removed.returncode == 0, removed.stderr
            missing = [{"node": "ns1", "zone": "svc.example.", "serial": 0, "fleet_serial": 2, "missing": True}]
            for node in (ns1, ns2):
                wait_until(lambda: targets(node)["differing"] == missing, 30)
                assert node.metric("portolan_fleet_zones_differing") == 1
                shown = node.command("status").stdout
                assert "ns1 DIFFERS in svc.example.: does not have it, the fleet probes serial 2" in shown, shown
            for name in zone(fra1):
                (ns1.dir / name).rename(ns1.dir / "zones" / name)
            ns1.hup()
            for node in (ns1, ns2):
                wait_until(lambda: targets(node)["differing"] == [], 30)


def test_one_vantage_that_lies_withdraws_nothing(dir, endpoints):
    """It finds everything down; vantages in two other regions find everything up."""
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    program = dir / "check"
    program.write_text("#!/bin/sh\n! grep -q liar /proc/$PPID/cmdline\n")
    program.chmod(0o755)
    monitor = {"type": "exec", "program": str(program), "interval": "300ms", "timeout": "250ms"}
    allowed = f"[vantage]\nexec = [{json.dumps(str(program))}]\n"
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, fra2, monitor=monitor)) as ns1:
        with VantageNode(dir, nats.url, "fra9", "eu-central", more=allowed):
            wait_verdicts(ns1, "fra1", {"ns1": "up", "fra9": "up"})
            with VantageNode(dir, nats.url, "liar", "us-east", more=allowed):
                wait_verdicts(ns1, "fra1", {"ns1": "up", "fra9": "up", "liar": "down"})
                wait_verdicts(ns1, "fra2", {"ns1": "up", "fra9": "up", "liar": "down"})
                assert ns1.health("fra1") == ns1.health("fra2") == "up"
                assert ns1.addresses("www.svc.example.") == [fra1.host]
    assert 'to="down"' not in ns1.child.err(), ns1.child.err()


def test_programs_run_only_where_the_settings_of_the_vantage_allow_them(dir, endpoints):
    fra1 = endpoints("fra1")
    mark = dir / "ran"
    mark.write_text("")
    mark.chmod(0o666)
    program = dir / "check"
    program.write_text(f"#!/bin/sh\necho $PPID >> {mark}\n")
    program.chmod(0o755)
    monitor = {"type": "exec", "program": str(program), "interval": "300ms", "timeout": "200ms"}
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, monitor=monitor)) as ns1:
        # The server runs the programs of its own zones.
        wait_verdicts(ns1, "fra1", {"ns1": "up"})
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1:
            assert (targets(nyc1)["checks"], targets(nyc1)["not_allowed"]) == (0, 1)
            allowed = f"[vantage]\nexec = [{json.dumps(str(program))}]\n"
            mark.write_text("")
            with VantageNode(dir, nats.url, "fra9", "eu-central", more=allowed) as fra9:
                wait_verdicts(ns1, "fra1", {"ns1": "up", "fra9": "up"})
                callers = lambda: set(mark.read_text().split())
                wait_until(lambda: {str(ns1.child.pid), str(fra9.child.pid)} <= callers(), 20)
                assert str(nyc1.child.pid) not in callers()


def test_the_newest_serial_is_probed_and_status_says_who_differs(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, serial=1)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1:
            with server(dir, nats, node="ns2", region="us-east", files=zone(fra1, fra2, serial=2)) as ns2:
                wait_until(lambda: targets(nyc1)["checks"] == 2, 20)
                older = [{"node": "ns1", "zone": "svc.example.", "serial": 1, "fleet_serial": 2, "missing": False}]
                for node in (ns1, ns2):
                    wait_until(lambda: targets(node)["differing"] == older, 20)
                assert "ns1 DIFFERS in svc.example.: has serial 1, the fleet probes 2" in ns2.command("status").stdout
                # The older server probes and votes for what only the newer one has.
                wait_verdicts(ns2, "fra2", {"ns1": "up", "ns2": "up", "nyc1": "up"})
                # It gets the files too.
                for name, text in zone(fra1, fra2, serial=2).items():
                    ns1.write(name, text)
                ns1.hup()
                for node in (ns1, ns2):
                    wait_until(lambda: targets(node)["differing"] == [], 20)
                wait_verdicts(ns1, "fra2", {"ns1": "up", "ns2": "up", "nyc1": "up"})


def test_without_nats_every_node_goes_on_and_all_agree_again_after(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, fra2)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1:
            wait_verdicts(ns1, "fra1", {"ns1": "up", "nyc1": "up"})
            nats.kill()
            wait_until(lambda: ns1.status()["fleet"]["nats"]["state"] == "away", 30)
            assert ns1.addresses("www.svc.example.") == [fra1.host]
            # The vantage of the server alone decides once the other one is stale.
            fra1.kill()
            wait_until(lambda: ns1.addresses("www.svc.example.") == [fra2.host], 40)
            fra1.start()
            wait_until(lambda: ns1.addresses("www.svc.example.") == [fra1.host], 20)
            # A server and a vantage that start meanwhile: the one answers, the other waits.
            with server(dir, nats, node="ns2", region="us-east", files=zone(fra1, fra2)) as ns2:
                assert ns2.addresses("www.svc.example.") == [fra1.host]
                with VantageNode(dir, nats.url, "fra9", "eu-central", ready=False) as fra9:
                    nats.start()
                    fra9.wait_ready()
                    all_up = {name: "up" for name in ("ns1", "ns2", "nyc1", "fra9")}
                    for node in (ns1, ns2):
                        wait_verdicts(node, "fra1", all_up)
                        wait_verdicts(node, "fra2", all_up)
            assert targets(nyc1)["checks"] == 2


def test_a_bucket_that_is_lost_is_made_again_and_nothing_stops(dir, endpoints):
    fra1 = endpoints("fra1")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1:
            wait_verdicts(ns1, "fra1", {"ns1": "up", "nyc1": "up"})
            nats.kill()
            subprocess.run(["rm", "-rf", str(nats.dir / "js")], check=True)
            nats.start()
            # The server writes the targets again; a vantage that is new finds them.
            with VantageNode(dir, nats.url, "fra9", "eu-central", bound=90) as fra9:
                wait_until(lambda: targets(fra9)["checks"] == 1, 60)
                wait_verdicts(ns1, "fra1", {"ns1": "up", "nyc1": "up", "fra9": "up"})
            assert targets(nyc1)["checks"] == 1


def test_a_heartbeat_to_one_server_counts_on_all(dir):
    tokens = dir / "tokens"
    tokens.write_text("alice operate 0123456789abcdef0123456789abcdef\n")
    tokens.chmod(0o644)
    more = f"[api]\ntoken_file = {json.dumps(str(tokens))}\n"
    files = {
        "svc.example.policy.toml": policy(
            defaults={"on_empty": "nodata"}, monitor={"beat": {"type": "heartbeat", "ttl": "3s"}},
            endpoint={"fra1": {"addresses": ["192.0.2.1"], "monitor": "beat"}}, name={"www": {"pool": "fra1"}},
        ),
        "svc.example.zone": MASTER,
    }
    with NatsServer(dir) as nats, server(dir, nats, files=files, more=more) as ns1:
        with server(dir, nats, node="ns2", region="us-east", files=files, more=more) as ns2:
            for node in (ns1, ns2):
                wait_until(lambda: node.status()["fleet"]["nats"]["state"] == "connected", 20)
                wait_until(lambda: node.health("fra1") == "down", 20)

            def beat(method, body):
                argv = ["curl", "-sS", "-X", method, "-H", "authorization: Bearer 0123456789abcdef0123456789abcdef"]
                argv += ["-d", json.dumps(body)] if body else []
                subprocess.run([*argv, f"{ns1.url}/v1/heartbeat/fra1"], check=True, timeout=20, stdout=subprocess.DEVNULL)

            def is_up_at_both():
                beat("PUT", {"ttl": "3s"})
                return ns1.health("fra1") == ns2.health("fra1") == "up"

            wait_until(is_up_at_both, 20, 0.3)
            assert ns2.addresses("www.svc.example.") == ["192.0.2.1"]
            beat("DELETE", None)
            for node in (ns1, ns2):
                wait_until(lambda: node.health("fra1") == "down", 10)


def test_a_fleet_works_with_the_accounts_of_the_example(dir, endpoints, monkeypatch):
    for name in ("NS1", "NS2", "NS3", "FRA1", "NYC1", "BOM1"):
        monkeypatch.setenv(name, f"password-of-{name.lower()}")
    fra1 = endpoints("fra1")

    def credentials(node):
        path = dir / f"{node}.secret"
        path.write_text(f"{node} password-of-{node}\n")
        return f"credentials = {json.dumps(str(path))}"

    with NatsServer(dir, config=FLEET_CONFIG.read_text()) as nats:
        with server(dir, nats, files=zone(fra1), fleet=credentials("ns1")) as ns1:
            with VantageNode(dir, nats.url, "fra1", "eu-central", fleet=credentials("fra1")) as own, \
                    VantageNode(dir, nats.url, "nyc1", "us-east", fleet=credentials("nyc1")):
                wait_verdicts(ns1, "fra1", {"ns1": "up", "fra1": "up", "nyc1": "up"})
                # A change of the targets reaches it, and a report that was lost is sent again.
                fra2 = endpoints("fra2", host="127.0.0.2")
                for name, text in zone(fra1, fra2, serial=2).items():
                    ns1.write(name, text)
                ns1.hup()
                wait_verdicts(ns1, "fra2", {"ns1": "up", "fra1": "up", "nyc1": "up"})
                assert targets(own)["state"] == "current" and "problem" not in own.status()["fleet"]["nats"]
                # A vantage with the credentials of another one: nothing of it arrives.
                with VantageNode(dir, nats.url, "nyc9", "us-east", fleet=credentials("nyc1")) as nyc9:
                    # It has sent several, which do not leave the account of nyc1.
                    wait_until(lambda: nyc9.metric("portolan_fleet_reports_sent_total") > 1, 20)
                    assert verdicts(ns1, "fra2") == {"ns1": "up", "fra1": "up", "nyc1": "up"}
                    assert "nyc9" not in [v["name"] for v in ns1.status()["vantages"]]


def test_probe_says_what_is_missing(dir):
    settings_file = write_files(dir, 'region = "here"\n', {})
    refused = command("probe", "--config", settings_file)
    assert refused.returncode == 1 and "a vantage needs a fleet" in refused.stderr, refused
    settings_file.write_text('[fleet]\nnats = ["nats://127.0.0.1:1"]\ncluster = "prod"\n')
    refused = command("probe", "--config", settings_file)
    assert refused.returncode == 1 and "`region` is missing" in refused.stderr, refused


def test_garbage_in_messages_and_buckets_is_counted_and_changes_nothing(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2", host="127.0.0.2")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, fra2)) as ns1:
        with VantageNode(dir, nats.url, "nyc1", "us-east") as nyc1, NatsClient(nats) as evil:
            both = {"ns1": "up", "nyc1": "up"}
            wait_verdicts(ns1, "fra1", both)
            before = resident_octets(ns1.child.pid)
            junk = [b"", b"\x00", b"r\x01", b"r\x02" + os.urandom(100), os.urandom(1000), b"r\x01" + os.urandom(60_000)]
            for round in range(300):
                for name in ("us-east.evil", "us-east.nyc1", "eu-west.ns1", "mars.evil", "us-east.=2e", f"us-east.x{round}"):
                    evil.publish(f"portolan.prod.report.{name}", junk[round % len(junk)])
                evil.publish("portolan.prod.ask.nyc1", junk[round % len(junk)])
                evil.publish("portolan.prod.beat", junk[round % len(junk)])
            for key in ("zone.svc=2Eexample=2E", "part.svc=2Eexample=2E.0", "zone.x", "part.x.1000000", "differs.ns1", "other", "a.b.c"):
                for value in (b"{}", b"[]", b"\xff\xfe", b'{"v":1,"zones":[{}]}', b"9" * 100_000):
                    evil.publish(f"$KV.portolan_prod_targets.{key}", value)
            evil.flush()
            wait_until(lambda: ns1.count("portolan_fleet_reports_refused_total") > 0, 20)
            wait_until(lambda: ns1.count("portolan_fleet_beats_refused_total") > 0, 20)
            wait_until(lambda: ns1.count("portolan_fleet_targets", state="refused") > 0, 20)
            # What was overwritten is written again, and everything is as before.
            for node in (ns1, nyc1):
                wait_until(lambda: targets(node)["checks"] == 2, 30)
            with VantageNode(dir, nats.url, "fra9", "eu-central"):
                # After a flood, no report of a vantage that is new is read for a minute.
                wait_verdicts(ns1, "fra1", {**both, "fra9": "up"}, bound=120)
            assert ns1.addresses("www.svc.example.") == [fra1.host]
            # It has stopped in order, so nobody waits for it.
            wait_until(lambda: {v["name"] for v in ns1.status()["vantages"]} == {"ns1", "nyc1"}, 30)
            # A bound for leaks: the junk had 30 MB.
            assert resident_octets(ns1.child.pid) - before < 40 << 20
    assert "panicked" not in ns1.child.err() + nyc1.child.err()
