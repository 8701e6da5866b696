"""Overrides that the servers of a fleet share through a real NATS server: with it, without it, and after restarts of everything."""
import json
import os
import pwd
import shutil
import signal
import time

import pytest

from nats import NatsClient, NatsServer
from portolan import MASTER, Node
from processes import wait_until
from test_clock import YEAR, Clock, needs_library
from test_operator import ALICE, FILE, NAME, POLICY, TOKENS, operate

# A command that NATS does not confirm waits for two seconds at most.
SOON = 20


def settings(nats, node):
    return (
        f'region = "eu-west"\nnode = "{node}"\n[listen]\ndns = ["127.0.0.1:0"]\nhttp = "127.0.0.1:0"\n'
        f'[fleet]\nnats = ["{nats.url}"]\ncluster = "prod"\n[state]\ndir = "state"\n'
        '[api]\ntoken_file = "tokens"\n[regions.eu-west]\nlocation = [53.34, -6.26]\n'
    )


def server(dir, nats, node="ns1", policy=POLICY, **how):
    """A server of the fleet, with the state of an earlier one of the same name."""
    (dir / node).mkdir(exist_ok=True)
    tokens = dir / node / "tokens"
    if not tokens.exists():
        tokens.write_text(TOKENS)
        tokens.chmod(0o600)
        if os.geteuid() == 0:
            # Started by root, the server becomes this user.
            os.chown(tokens, pwd.getpwnam("nobody").pw_uid, -1)
    return Node(dir, {FILE: policy, "svc.example.zone": MASTER}, settings=settings(nats, node), name=node, **how)


def listed(node):
    """{target: state} of the overrides of a server."""
    return {row["target"]: row["state"] for row in rows(node)}


def rows(node):
    done = operate(node, "overrides", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def row(node, target):
    return next((row for row in rows(node) if row["target"] == target), None)


def fleet(node):
    return node.status()["fleet"]["overrides"]


def is_shared(node):
    return fleet(node)["state"] == "current" and fleet(node)["pending"] == 0


def wait_listed(nodes, expected, bound=SOON):
    for node in nodes:
        wait_until(lambda: listed(node) == expected, bound, 0.05)


def drain(node, target, *more, command="drain"):
    done = operate(node, command, target, "--why", f"{command} {target}", *more)
    assert done.returncode == 0, done.stderr
    return done


def reasons(node):
    """Those of all transitions, the newest first."""
    return [event["why"] for event in node.json("/v1/transitions")]


@pytest.fixture
def nats(dir):
    with NatsServer(dir) as nats:
        yield nats


def test_an_override_is_on_all_servers_with_who_why_and_until(dir, nats):
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        done = drain(ns1, "fra1", "--for", "2h")
        assert done.stdout.endswith("shared with the fleet\n"), done.stdout
        wait_listed([ns2], {"fra1": "drain"})
        here, there = row(ns1, "fra1"), row(ns2, "fra1")
        assert (there["who"], there["why"], there["fleet"]["node"]) == ("alice", "drain fra1", "ns1")
        assert abs(here["until"] - there["until"]) < 1
        assert {address for _ in range(60) for address in ns2.addresses(NAME)} == {"192.0.2.2", "192.0.2.3"}
        # Both know that both have it.
        for node in (ns1, ns2):
            wait_until(lambda: row(node, "fra1")["fleet"]["taken"] == ["ns1", "ns2"], SOON)
            assert row(node, "fra1")["fleet"] == {"node": "ns1", "shared": True, "taken": ["ns1", "ns2"], "missing": []}
            assert node.metric("portolan_fleet_overrides_servers", state="current") == 1
            assert node.metric("portolan_fleet_overrides_pending") == 0
        # Forms of one target are one target; several change together.
        drain(ns2, "svc.example./nyc", command="force-down")
        drain(ns1, "svc.example/nyc", command="force-up")
        wait_listed([ns1, ns2], {"fra1": "drain", "svc.example/nyc": "up"})
        done = operate(ns2, "clear", "fra1", "svc.example/nyc")
        assert done.returncode == 0 and "shared with the fleet" in done.stdout, done.stdout + done.stderr
        wait_listed([ns1, ns2], {})
        assert any("cleared by alice at ns2" in why for why in reasons(ns1)), reasons(ns1)
        # A server that stops is missed.
        ns2.child.signal(signal.SIGSTOP)
        drain(ns1, "fra1")
        wait_until(lambda: fleet(ns1)["servers"][0]["state"] in ("behind", "silent"), SOON)
        assert row(ns1, "fra1")["fleet"]["missing"] == ["ns2"]
        assert "ns2" in ns1.command("status").stdout
        ns2.child.signal(signal.SIGCONT)
        wait_until(lambda: row(ns1, "fra1")["fleet"]["missing"] == [], 30)


def test_without_nats_a_command_works_at_once_and_the_newest_wins_afterwards(dir, nats):
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        nats.kill()
        for node in (ns1, ns2):
            wait_until(lambda: fleet(node)["state"] == "away", 30)
        done = drain(ns1, "fra1")
        assert "not yet shared: NATS is away" in done.stderr and "fra1 drained" in done.stdout, done
        drain(ns2, "nyc")
        drain(ns2, "fra1", command="force-down")
        drain(ns1, "nyc", command="force-up")
        drain(ns1, "ams1", "--for", "1h")
        assert (listed(ns1), listed(ns2)) == (
            {"fra1": "drain", "nyc": "up", "ams1": "drain"}, {"fra1": "down", "nyc": "drain"},
        )
        assert ns1.metric("portolan_fleet_overrides_pending") == 3
        assert "NOT YET SHARED" in ns1.command("status").stdout
        assert "not yet shared with the fleet" in operate(ns1, "overrides").stdout
        # One of them restarts meanwhile: what is pending stays pending.
        ns1.child.end()
        with server(dir, nats) as ns1:
            assert listed(ns1) == {"fra1": "drain", "nyc": "up", "ams1": "drain"} and fleet(ns1)["pending"] == 3
            nats.start()
            newest = {"fra1": "down", "nyc": "up", "ams1": "drain"}
            wait_listed([ns1, ns2], newest, 40)
            wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
            # Both are in the log of the server whose change was replaced.
            assert {"drain nyc (alice)", "force-up nyc (alice)"} <= set(reasons(ns2)), reasons(ns2)
            assert "a newer change replaces the one that was made here" in ns2.child.err()


def test_a_write_that_a_paused_nats_server_stores_late_does_not_undo_the_next_command(dir, nats):
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        nats.child.signal(signal.SIGSTOP)
        # The NATS server has this write, and executes it when it goes on.
        assert "not yet shared" in drain(ns1, "fra1").stderr
        wait_until(lambda: fleet(ns1)["state"] == "away", 30)
        done = operate(ns1, "clear", "fra1")
        assert done.returncode == 0 and listed(ns1) == {}, done.stderr
        nats.child.signal(signal.SIGCONT)
        for node in (ns1, ns2):
            wait_until(lambda: is_shared(node), 60)
        revision = lambda node: node.metric("portolan_fleet_overrides_revision")
        wait_until(lambda: revision(ns1) == revision(ns2) > 0, SOON)
        wait_listed([ns1, ns2], {})
        assert len(reasons(ns1)) == 2, reasons(ns1)


def test_the_newer_one_of_two_commands_wins_although_a_paused_nats_server_stores_the_older_one_late(dir, nats):
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        nats.child.signal(signal.SIGSTOP)
        # Each waits for two seconds, so the second one is newer by that.
        assert "not yet shared" in drain(ns1, "fra1").stderr
        assert "not yet shared" in drain(ns2, "fra1", command="force-down").stderr
        nats.child.signal(signal.SIGCONT)
        wait_listed([ns1, ns2], {"fra1": "down"}, 60)
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), 60)
        wait_listed([ns1, ns2], {"fra1": "down"})


def test_an_older_copy_of_the_bucket_that_is_restored_gets_back_what_it_lacks(dir, nats):
    store, copy = nats.dir / "js", dir / "copy"
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        drain(ns1, "fra1")
        drain(ns1, "nyc", command="force-up")
        wait_listed([ns2], {"fra1": "drain", "nyc": "up"})
        nats.end()
        shutil.copytree(store, copy)
        nats.start()
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), 60)
        assert "shared with the fleet" in operate(ns1, "clear", "fra1").stdout
        drain(ns2, "nyc")
        drain(ns2, "ams1")
        newest = {"nyc": "drain", "ams1": "drain"}
        wait_listed([ns1, ns2], newest)
        nats.kill()
        shutil.rmtree(store)
        copy.rename(store)
        nats.start()
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), 60)
        # A server without a state reads what the bucket has.
        with server(dir, nats, "ns3") as ns3:
            wait_listed([ns1, ns2, ns3], newest, 60)
            drain(ns1, "fra1", command="force-down")
            wait_listed([ns1, ns2, ns3], {**newest, "fra1": "down"})


def test_a_bucket_that_is_purged_gets_everything_back_and_takes_new_commands(dir, nats):
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        drain(ns1, "fra1")
        drain(ns1, "nyc", command="force-up")
        wait_listed([ns2], {"fra1": "drain", "nyc": "up"})
        with NatsClient(nats) as client:
            _, reply = client.request("$JS.API.STREAM.PURGE.KV_portolan_prod_overrides", b"")
            assert json.loads(reply)["purged"] == 2, reply
        operate(ns1, "clear", "fra1")
        drain(ns2, "ams1")
        expected = {"nyc": "up", "ams1": "drain"}
        # Each server looks at the bucket itself every 20 s.
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), 60)
        wait_listed([ns1, ns2], expected, 60)
        ns1.child.end()
        with server(dir, nats) as ns1, server(dir, nats, "ns3") as ns3:
            wait_listed([ns1, ns2, ns3], expected, 60)


def test_a_restart_of_everything_in_any_order_changes_nothing_and_a_clear_is_learned(dir, nats):
    with server(dir, nats) as ns1:
        with server(dir, nats, "ns2") as ns2:
            wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
            drain(ns1, "fra1")
            drain(ns2, "nyc", "--for", "1h")
            wait_listed([ns1, ns2], {"fra1": "drain", "nyc": "drain"})
            ends = row(ns1, "nyc")["until"]
        # While ns2 is off, one is cleared and one is made.
        assert operate(ns1, "clear", "fra1").returncode == 0
        drain(ns1, "ams1")
        with server(dir, nats, "ns2") as ns2:
            # It answers by what the fleet has, from the first answer on.
            assert listed(ns2) == {"nyc": "drain", "ams1": "drain"}
            assert abs(row(ns2, "nyc")["until"] - ends) < 1
    # All of them are off; NATS is the last to come back.
    nats.kill()
    with server(dir, nats) as ns1, server(dir, nats, "ns2") as ns2:
        assert listed(ns1) == listed(ns2) == {"nyc": "drain", "ams1": "drain"}
        nats.start()
        for node in (ns1, ns2):
            wait_until(lambda: is_shared(node), 40)
        assert listed(ns1) == listed(ns2) == {"nyc": "drain", "ams1": "drain"}
        # A server that has no state learns it from the fleet alone.
        with server(dir, nats, "ns3") as ns3:
            wait_listed([ns3], {"nyc": "drain", "ams1": "drain"})
            assert abs(row(ns3, "nyc")["until"] - ends) < 1


@needs_library
def test_wall_clocks_that_differ_by_years_order_nothing_and_end_nothing(dir, nats):
    clocks = []
    for node, ahead in (("ns1", 7200), ("ns2", -YEAR)):
        (dir / f"clock-{node}").mkdir()
        clocks.append(Clock(dir / f"clock-{node}"))
        clocks[-1].set(ahead)
    with server(dir, nats, env=clocks[0].environment()) as ns1, server(dir, nats, "ns2", env=clocks[1].environment()) as ns2:
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        nats.kill()
        for node in (ns1, ns2):
            wait_until(lambda: fleet(node)["state"] == "away", 30)
        # By the wall clocks the first one is a year newer.
        drain(ns1, "fra1")
        drain(ns2, "fra1", "--for", "1h", command="force-down")
        made = time.monotonic()
        nats.start()
        wait_listed([ns1, ns2], {"fra1": "down"}, 40)
        lefts = [row(node, "fra1")["until"] - clock.now() for node, clock in zip((ns1, ns2), clocks)]
        assert abs(lefts[0] - lefts[1]) < 1.5, lefts
        assert abs(lefts[1] - (3600 - (time.monotonic() - made))) < 1.5, lefts
        # A short one ends on both, and not before its time.
        wait_until(lambda: is_shared(ns1) and is_shared(ns2), SOON)
        made = time.monotonic()
        drain(ns1, "nyc", "--for", "6s")
        for node in (ns2, ns1):
            wait_until(lambda: "the override's time is over: drain nyc (alice)" in reasons(node), 30, 0.05)
            assert time.monotonic() - made > 5
        assert listed(ns1) == listed(ns2) == {"fra1": "down"}


def test_garbage_in_the_bucket_does_no_harm_and_is_counted(dir, nats):
    with server(dir, nats) as ns1:
        wait_until(lambda: is_shared(ns1), SOON)
        drain(ns1, "fra1")
        with NatsClient(nats) as client:
            junk = [b"", b"{", b"\xff" * 300, b'{"v":2}', b"x" * 200_000, json.dumps({"v": 1, "target": "a" * 5000}).encode()]
            for at, value in enumerate(junk * 20):
                client.publish(f"$KV.portolan_prod_overrides.{at:032x}", value)
            client.publish("portolan.prod.taken.ns9", b"{")
            client.publish("portolan.prod.taken", b"{}")
            client.flush()
        wait_until(lambda: fleet(ns1)["refused"] >= len(junk) * 20, SOON)
        assert ns1.metric("portolan_fleet_overrides_refused_total") >= len(junk) * 20
        assert listed(ns1) == {"fra1": "drain"}
        assert "can't be used here" in ns1.command("status").stdout
        drain(ns1, "nyc")
        # A server whose files lack the target stores the override, and shows that.
        with server(dir, nats, "ns3", policy=POLICY.replace("nyc", "lhr")) as ns3:
            wait_listed([ns3], {"fra1": "drain", "nyc": "drain"})
            assert {a for _ in range(60) for a in ns3.addresses(NAME)} == {"192.0.2.2", "192.0.2.3"}
