"""The wall clock is set while a server runs and while it is stopped. What has an end keeps it, and comes to it in time.

libfaketime gives the server a wall clock of its own; its monotonic clock stays real.
"""
import glob
import json
import time

import pytest

from portolan import MASTER, SETTINGS, Node, policy
from processes import wait_until
from test_operator import operate, write_tokens
from test_overrides import overrides

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
needs_library = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt-get install faketime")

YEAR = 366 * 86400

POLICY = policy(
    defaults={"ttl": "60s", "on_empty": "nodata"},
    endpoint={"fra1": {"addresses": ["192.0.2.1"]}, "fra2": {"addresses": ["192.0.2.2"]}},
    pool={"web": {"members": ["fra1", "fra2"]}},
    name={"www": {"pool": "web"}},
)


class Clock:
    """A wall clock that a test sets."""

    def __init__(self, dir):
        self.file = dir / "clock"
        self.ahead = 0
        self.set(0)

    def set(self, seconds):
        """So many seconds before or after the real time."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.file)
        self.ahead = seconds

    def now(self):
        return time.time() + self.ahead

    def environment(self):
        return {
            "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def start(dir, clock, **more):
    write_tokens(dir)
    zones = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER, **more.pop("zones", {})}
    return Node(dir, zones, env=clock.environment(), **more)


def jumps(node):
    """The lines of the log about a clock that was set."""
    return [line for line in node.child.err().splitlines() if "wall clock was set" in line]


def set_clock(node, clock, seconds):
    before = len(jumps(node))
    clock.set(seconds)
    wait_until(lambda: len(jumps(node)) == before + 1, 30)


def left(node, clock):
    return [row["until"] - clock.now() for row in overrides(node) if row["until"]]


def removal(node):
    """When the zone is removed that disappeared."""
    [until] = [zone["files"]["until"] for zone in node.status()["zones"] if "until" in zone["files"]]
    return until


def saved(node, clock):
    rows = json.loads((node.dir / "state" / "overrides.json").read_text())["overrides"]
    return [row["until"] - clock.now() for row in rows if row["until"]]


@needs_library
def test_a_clock_that_is_set_neither_ends_an_override_nor_prolongs_it(dir):
    clock = Clock(dir)
    with start(dir, clock) as node:
        assert operate(node, "drain", "fra1", "--why", "rack move", "--for", "2h").returncode == 0
        began = time.monotonic()
        for ahead in (YEAR, 0, -YEAR, 3600, 0):
            set_clock(node, clock, ahead)
            passed = time.monotonic() - began
            [seconds] = left(node, clock)
            assert abs(seconds - (7200 - passed)) < 30, (ahead, seconds)
            wait_until(lambda: abs(saved(node, clock)[0] - (7200 - passed)) < 60, 30)
            reply = node.ask("www.svc.example.")
            assert [rdata.to_text() for rdata in reply.answer[0]] == ["192.0.2.2"] and reply.answer[0].ttl == 60, ahead
        # A short one ends by the time that passes, although the clock says that its end is a year away.
        assert operate(node, "drain", "fra2", "--why", "a moment", "--for", "4s", "--yes").returncode == 0
        set_clock(node, clock, -YEAR)
        wait_until(lambda: [row["target"] for row in overrides(node)] == ["fra1"], 60)
        assert len(jumps(node)) == 6, "each is reported once"


@needs_library
def test_an_override_outlives_a_restart_under_a_clock_that_is_wrong(dir):
    clock = Clock(dir)
    with start(dir, clock) as node:
        assert operate(node, "drain", "fra1", "--why", "rack move", "--for", "2h").returncode == 0
    for ahead in (YEAR, -YEAR, 0):
        clock.set(ahead)
        with start(dir, clock) as node:
            [seconds] = left(node, clock)
            assert 7000 < seconds < 7230, (ahead, seconds)
            assert node.addresses("www.svc.example.") == ["192.0.2.2"]


@needs_library
def test_a_zone_that_vanished_is_served_for_its_time(dir):
    clock = Clock(dir)
    other = {"other.example.zone": MASTER}
    settings = SETTINGS + '\n[zones]\nremoval_delay = "10m"\n'
    with start(dir, clock, zones=other, settings=settings) as node:
        (node.dir / "zones/other.example.zone").unlink()
        wait_until(lambda: "vanished" in [zone["files"]["state"] for zone in node.status()["zones"]], 30)
        for ahead in (YEAR, 0):
            set_clock(node, clock, ahead)
            operate(node, "reload")
            assert node.addresses("ns1.other.example.") == ["127.0.0.1"]
            # Status may be a moment old.
            wait_until(lambda: 300 < removal(node) - clock.now() <= 630, 30)
