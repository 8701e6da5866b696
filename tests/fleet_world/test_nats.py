"""The NATS servers lose their quorum, all of them are lost, and everything is restarted in every order. Nobody does anything by
hand; answers go on."""
import itertools
import time

import pytest

from clients import clients
from parts import ADDRESSES, NODES, REGIONS
from processes import wait_until

ALL = set(ADDRESSES.values())
# Every check is in a report within this time.
PERIOD = 5.0
GROUPS = {
    "NATS": [region.nats for region in REGIONS],
    "servers": [region.server for region in REGIONS],
    "vantages": [region.vantage for region in REGIONS],
}

pytestmark = pytest.mark.full


def wait_quorum(fleet, bound=90):
    """Waits until every node reads the bucket of targets again: the NATS servers have a leader."""
    current = lambda node: ((fleet.try_status(node) or {}).get("fleet") or {}).get("targets", {}).get("state") == "current"
    connected = lambda node: fleet.status(node)["fleet"]["nats"]["state"] == "connected"
    began = time.monotonic()
    wait_until(lambda: all(current(node) and connected(node) for node in NODES), bound, 0.1)
    return time.monotonic() - began


def gaps(replies, since):
    """Queries since this time without an answer that names an endpoint."""
    return [r for r in replies if r.due > since and (r.got is None or r.rcode != "NOERROR" or not r.answers)]


def askers_of(fleet):
    return clients(fleet, *((region.name, name) for region in REGIONS for name in ("all", "db")))


def test_without_quorum_and_without_nats_answers_go_on_and_all_agree_after(fleet, figure):
    with askers_of(fleet) as askers:
        began = time.time()
        nats1, nats2, nats3 = (fleet.parts[name] for name in GROUPS["NATS"])
        # Two of three are lost: no quorum. Reports flow on through the third one.
        nats1.kill()
        nats2.kill()
        took = fleet.wait_agreed(60)
        figure("all agree without NATS's quorum after", took, "s")
        # An endpoint that dies is seen by all, also now.
        fleet.parts["us1"].kill()
        for region in REGIONS:
            wait_until(lambda: fleet.health(region.server)["us1"] == "down", 30)
        fleet.parts["us1"].start()
        for region in REGIONS:
            wait_until(lambda: fleet.health(region.server)["us1"] == "up", 60)
        # All are lost: each node goes on with its own vantage and the last reports, beyond the time when they are stale.
        nats3.kill()
        lost = time.time()
        for region in REGIONS:
            states = lambda: set(fleet.vantages(region.server).values())
            wait_until(lambda: "stale" in states(), 40)
        askers[0].wait_for(lambda r: r.due > lost + 15, 60)
        for region in REGIONS:
            assert set(fleet.health(region.server).values()) == {"up"}
        for name in GROUPS["NATS"]:
            fleet.parts[name].start(wait=False)
        figure("NATS has a quorum again after", wait_quorum(fleet), "s")
        took = fleet.wait_agreed(60)
        figure("all agree after", took, "s", 2 * PERIOD)
        assert took < 2 * PERIOD
        for asker in askers:
            assert gaps(asker.finish(), began) == []


@pytest.mark.parametrize("order", list(itertools.permutations(GROUPS)), ids="-".join)
def test_everything_is_restarted_in_every_order(fleet, figure, order):
    with askers_of(fleet) as askers:
        began = time.time()
        away = {}
        # All NATS servers and all vantages at once; servers one after the other, so that two of three always answer.
        for group in order:
            names = GROUPS[group]
            if group == "servers":
                for name in names:
                    down = time.time()
                    fleet.parts[name].kill()
                    fleet.parts[name].start()
                    away[name] = (down, time.time())
            else:
                for name in names:
                    fleet.parts[name].kill()
                for name in names:
                    fleet.parts[name].start(wait=False)
        for name in itertools.chain(*GROUPS.values()):
            fleet.parts[name].wait_ready(120)
        wait_quorum(fleet)
        figure(f"{' '.join(order)}: NATS has a quorum and all run after", time.time() - began, "s")
        took = fleet.wait_agreed(60)
        figure(f"{' '.join(order)}: all agree after", took, "s", 2 * PERIOD)
        assert took < 2 * PERIOD
        for (region, _), asker in zip(itertools.product(REGIONS, ("all", "db")), askers):
            down, up = away[region.server]
            # A query just before the kill may have lost its reply.
            missing = [r for r in gaps(asker.finish(), began) if not down - 0.1 <= r.due <= up + 0.1]
            assert missing == [], f"{region.server}: {missing[:3]}"
        longest = max(up - down for down, up in away.values())
        figure(f"{' '.join(order)}: a server answers again after", longest, "s")
        # One after the other: two of three answered at any time.
        spans = sorted(away.values())
        assert all(one[1] <= two[0] for one, two in zip(spans, spans[1:]))
