"""Each file is a part of its own: of a bad one the last good version is used, or none, and the others are loaded."""
import ctypes
import json
import os
import shutil

import pytest

from portolan import MASTER, SETTINGS, Node, command, ede
from processes import wait_until
from test_reload import POLICY

A, B, S = "a.example.policy.toml", "b.example.policy.toml", "s.example.zone"
SERVFAIL, REFUSED = 2, 5


def policy(zone, host):
    return POLICY.replace("svc.example.", f"{zone}.example.").format(address=f"192.0.2.{host}")


def files(host=1):
    steered = {f"{zone}.example.policy.toml": policy(zone, host) for zone in "ab"}
    return {**steered, "a.example.zone": MASTER, "b.example.zone": MASTER, S: MASTER + "www A 198.51.100.1\n"}


def www(node, zone):
    return node.addresses(f"www.{zone}.example.")


def state(node, zone):
    return next(z["files"] for z in node.status()["zones"] if z["zone"] == f"{zone}.example.")


def test_a_bad_zone_stops_neither_the_others_nor_a_restart(dir):
    with Node(dir, files()) as node:
        node.write(A, policy("a", 2).replace("pool =", "pol ="))
        node.write(B, policy("b", 2))
        done = node.command("reload")
        assert done.returncode == 1 and "a.example. (kept)" in done.stderr and f"{A}:" in done.stderr, done
        assert (www(node, "a"), www(node, "b")) == (["192.0.2.1"], ["192.0.2.2"])
        assert (state(node, "a")["state"], state(node, "b")["state"]) == ("kept", "current")
        assert state(node, "a")["since"] < state(node, "b")["since"]
        assert node.metric("portolan_last_reload_ok") == 0
        assert node.metric("portolan_zone_current", zone="a.example.") == 0
        assert node.metric("portolan_zone_current", zone="b.example.") == 1
        assert "a.example. is served from its last good version" in node.child.err()
        assert "LAST GOOD VERSION" in node.command("status").stdout
        wait_until(lambda: (node.dir / "state/zones/a.example.json").exists(), 10)
        copy = next((node.dir / "state/zones").glob("a.example@*")) / A
        assert copy.read_text() == policy("a", 1), "a person can compare it with the file"
    with Node(dir, {}) as node:
        assert (www(node, "a"), www(node, "b"), www(node, "s")) == (["192.0.2.1"], ["192.0.2.2"], ["198.51.100.1"])
        assert state(node, "a")["state"] == "kept" and node.metric("portolan_last_reload_ok") == 0
        node.write(A, policy("a", 3))
        wait_until(lambda: www(node, "a") == ["192.0.2.3"], 15)
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 1, 5)
        assert state(node, "a")["state"] == "current"


def test_a_zone_that_was_never_good_gets_servfail(dir):
    with Node(dir, {**files(), A: "zone = \"a.example.\"\n= =\n"}) as node:
        reply = node.ask("www.a.example.")
        assert reply.rcode() == SERVFAIL and ede(reply) == [24] and not reply.flags & 0x0400, reply
        assert node.ask("a.example.", "SOA").rcode() == SERVFAIL
        assert www(node, "b") == ["192.0.2.1"]
        assert "a.example. is not served" in node.child.err() and "NOT SERVED" in node.command("status").stdout
        config = node.dir / "portolan.toml"
        checked = command("check", "--config", config)
        assert checked.returncode == 1 and "1 of 3 zones would not be served: a.example." in checked.stderr, checked
        strict = command("serve", "--strict", "--config", config)
        assert strict.returncode == 1 and "ready" not in strict.stdout and A in strict.stderr, strict
        node.write(A, policy("a", 4))
        wait_until(lambda: www(node, "a") == ["192.0.2.4"], 15)


def test_a_removed_zone_is_served_until_the_removal_is_confirmed(dir):
    with Node(dir, files()) as node:
        (node.dir / "zones" / A).unlink()
        (node.dir / "zones" / S).unlink()
        wait_until(lambda: state(node, "a")["state"] == "vanished", 15)
        assert (www(node, "a"), www(node, "s")) == (["192.0.2.1"], ["198.51.100.1"])
        done = node.command("reload")
        assert done.returncode == 1 and "--confirm-removal" in done.stderr and "a.example. (vanished)" in done.stderr, done
        would = "with --confirm-removal this would be removed: 1 zone (s.example.), 1 name (www.a.example.)"
        assert would in done.stderr, done.stderr
        refused = json.loads(node.command("reload", "--format", "json").stdout)["removals"]
        assert refused["names"] == {"count": 1, "first": ["www.a.example."]}, refused
        assert "all steered names of a.example. disappeared" in node.child.err()
        assert node.metric("portolan_zone_removal_timestamp_seconds", zone="a.example.") > state(node, "a")["since"]
        node.write(S, files()[S])
        wait_until(lambda: state(node, "s")["state"] == "current", 15)
        done = node.command("reload", "--confirm-removal")
        assert done.returncode == 0, done
        assert "this will be removed: 1 name (www.a.example.)" in done.stderr, done.stderr
        assert done.stdout.startswith("removed: 1 name (www.a.example.)"), done.stdout
        assert node.ask("www.a.example.").rcode() == 3 and www(node, "s") == ["198.51.100.1"]
        wait_until(lambda: "names: 1 removed (www)" in node.child.err(), 5)
        assert state(node, "a")["state"] == "current" and node.metric("portolan_last_reload_ok") == 1


def test_a_removed_zone_ends_after_the_delay(dir):
    settings = SETTINGS + '\n[zones]\nremoval_delay = "2s"\n'
    with Node(dir, files(), settings=settings) as node:
        (node.dir / "zones" / S).unlink()
        wait_until(lambda: state(node, "s")["state"] == "vanished", 15)
        assert www(node, "s") == ["198.51.100.1"]
        wait_until(lambda: node.ask("www.s.example.").rcode() == REFUSED, 20)
        # The metric follows when the load has ended, a moment after its generation is served.
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 1, 10)
        wait_until(lambda: not (node.dir / "state/zones/s.example.json").exists(), 10)


def test_a_bad_side_file_stops_no_zone_and_no_start(dir):
    tls = '\n[tls]\ncert = "c.pem"\nkey = "k.pem"\n'
    settings = SETTINGS.replace("http =", 'tls = ["127.0.0.1:0"]\nhttp =') + tls
    (dir / "node").mkdir()
    (dir / "node/tokens").write_text("alice operat\n")
    with Node(dir, files(), settings=settings) as node:
        err = node.child.err()
        assert "tokens:1:1" in err and "c.pem" in err and "every call that changes something is off" in err, err
        assert node.metric("portolan_last_reload_ok") == 0
        node.write(B, policy("b", 2))
        wait_until(lambda: www(node, "b") == ["192.0.2.2"], 15)
        secret = "a" * 32
        (node.dir / "tokens").write_text(f"alice operate {secret}\n")
        listed = lambda: node.command("overrides", env={"PORTOLAN_TOKEN": secret})
        wait_until(lambda: listed().returncode == 0, 15, step=0.2)
        (node.dir / "tokens").write_text("alice operat\n")
        done = node.command("reload")
        assert done.returncode == 1 and "tokens:1:1" in done.stderr, done
        assert listed().returncode == 0, "the old tokens go on"


def without_notices():
    """In a namespace where no inotify instance is allowed."""
    ids = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in [("setgroups", "deny"), ("uid_map", f"{ids[0]} {ids[0]} 1"), ("gid_map", f"{ids[1]} {ids[1]} 1")]:
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with open("/proc/sys/user/max_inotify_instances", "w") as file:
        file.write("0")


def can_be_without_notices():
    child = os.fork()
    if child == 0:
        try:
            without_notices()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_changes_are_seen_without_inotify(dir):
    if not can_be_without_notices():
        pytest.skip("no user namespace to be had")
    with Node(dir, files(), before_exec=without_notices) as node:
        assert node.status()["reload"]["unnoticed"] and node.metric("portolan_file_changes_noticed") == 0
        assert "only after some seconds" in node.command("status").stdout
        assert "looks at all files every 2 s" in node.child.err()
        node.write(A, policy("a", 2))
        wait_until(lambda: www(node, "a") == ["192.0.2.2"], 20)


def test_a_link_that_is_replaced_is_followed(dir):
    """Each release has its settings and zones, and the link `current` points to one of them."""
    for release, host in [("r1", 1), ("r2", 2)]:
        (dir / release / "zones").mkdir(parents=True)
        (dir / release / "portolan.toml").write_text(SETTINGS)
        for name, text in files(host).items():
            (dir / release / "zones" / name).write_text(text)
    (dir / "current").symlink_to("r1")
    with Node(dir, {}, name="current") as node:
        assert www(node, "a") == ["192.0.2.1"] and "unnoticed" not in node.status()["reload"]
        (dir / "next").symlink_to("r2")
        (dir / "next").rename(dir / "current")
        wait_until(lambda: www(node, "a") == ["192.0.2.2"], 20)


def test_a_configuration_that_is_moved_away_can_be_moved_back(dir):
    # Only root can make the state directory again in a directory of root.
    with Node(dir, files(), settings=SETTINGS + '\n[run]\nuser = "root"\n') as node:
        node.dir.rename(dir / "away")
        node.hup()
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 0, 15)
        assert www(node, "a") == ["192.0.2.1"]
        assert not node.dir.exists(), "nothing is made in its place"
        (dir / "away").rename(node.dir)
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 1, 20)
        shutil.rmtree(node.dir / "state", ignore_errors=True)
        node.write(A, policy("a", 2))
        wait_until(lambda: www(node, "a") == ["192.0.2.2"], 15)
        wait_until(lambda: (node.dir / "state/zones/a.example.json").exists(), 10)
