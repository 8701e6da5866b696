"""One vantage that lies, with the credentials of a real one; and one that dies."""
import json
import random
import struct
import time

import pytest

from clients import clients, last_with, others_than
from liar import DOWN, MOST, UP, Liar, report, varint
from parts import ADDRESSES, NODES, REGIONS, addresses_in
from processes import resident_octets, wait_until

ALL = set(ADDRESSES.values())
LIAR = REGIONS[2]
OTHERS = REGIONS[:2]
STALE_AFTER = 10.0
# An endpoint that dies is out after this time although one vantage lies (judgment: twice `OUT_WITHIN` of test_cut.py).
OUT_WITHIN = 10.0
# What a server may need more after the lies than before: what they sent has hundreds of MB.
MORE_MEMORY = 24 << 20


@pytest.fixture
def liar(fleet):
    fleet.parts[LIAR.vantage].kill()
    with Liar(fleet, LIAR) as liar:
        assert len(liar.checks) == len(ADDRESSES), liar.checks
        yield liar


def resident(fleet):
    """Resident octets of each server."""
    return {region.server: resident_octets(fleet.parts[region.server].pid) for region in REGIONS}


def wait_recorded(fleet, liar, wanted, **lie):
    """Repeats a lie until all servers have it as the verdict of the vantage on each endpoint."""

    def is_recorded():
        liar.say(**lie)
        votes = [fleet.votes(region.server) for region in REGIONS]
        return all(vote[name, LIAR.vantage] == wanted for vote in votes for name in ADDRESSES)

    wait_until(is_recorded, 60, 0.2)


def transitions(fleet):
    return {region.server: json.loads(fleet.get(region.server, "/v1/transitions")) for region in REGIONS}


@pytest.mark.full
def test_a_vantage_that_lies_withdraws_nothing_and_hides_nothing(fleet, liar):
    before = transitions(fleet)
    which = [(region.name, "all") for region in REGIONS] + [(region.name, "www") for region in OTHERS]
    with clients(fleet, *which) as askers:
        wait_recorded(fleet, liar, "down", health=DOWN, why="it is all gone")
        # Absurd round-trip times, in turn.
        for rtt_us in (1, 86_400_000_000, 1):
            wait_recorded(fleet, liar, "up", health=UP, rtt_us=rtt_us)
        began = time.time()
        while time.time() < began + 3:
            liar.say(health=random.choice((UP, DOWN)), rtt_us=random.choice((1, 86_400_000_000)))
            time.sleep(0.1)
        for (at, name), asker in zip(which, askers):
            wanted = ALL if name == "all" else addresses_in(at)
            wrong = others_than(asker.finish(), wanted)
            assert wrong == [], f"{at} {name}: {wrong[:3]}"
        assert all(set(r.answers) == ALL for asker in askers[:3] for r in asker.replies()), "nothing is withdrawn"
    assert transitions(fleet) == before
    # All up: what is down is withdrawn nevertheless.
    with clients(fleet, ("eu-central", "all")) as [asker]:
        fleet.parts["eu1"].kill()
        killed = time.time()
        while not any(r.due > killed and r.answers and ADDRESSES["eu1"] not in r.answers for r in asker.replies()):
            liar.say(health=UP, rtt_us=1000)
            time.sleep(0.2)
            assert time.time() < killed + 30, "eu1 is still answered"
        assert last_with(asker.finish(), {ADDRESSES["eu1"]}, killed) < OUT_WITHIN


@pytest.mark.full
def test_garbage_a_million_checks_and_the_names_of_others_change_nothing_and_cost_no_memory(fleet, liar, figure):
    before, memory = transitions(fleet), resident(fleet)
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    valid = report(liar.boot, 1, liar.checks)
    with clients(fleet, *((region.name, "all") for region in REGIONS)) as askers:
        # Octets that are no message, and messages with wrong parts.
        for _ in range(300):
            octets = bytearray(valid)
            for _ in range(chance.randrange(1, 6)):
                octets[chance.randrange(len(octets))] = chance.randrange(256)
            liar.publish(bytes(octets[: chance.randrange(1, len(octets) + 1)]))
            liar.publish(chance.randbytes(chance.choice((0, 1, 100, 60_000))))
        # A count without its observations; the greatest numbers.
        for count in (2**20, 2**63, 2**64 - 1):
            content = struct.pack("<QQ", 0, 2**64 - 1) + varint(count)
            liar.publish(b"r\x01" + struct.pack("<Q", liar.boot) + varint(2**64 - 1) + b"\x03" + varint(len(content)) + content)
        # A million checks that no zone has.
        for number in range(1_000_000 // MOST + 1):
            checks = {chance.randrange(2**64) for _ in range(MOST)}
            liar.publish(report(liar.boot, number + 10, checks, health=DOWN))
        # The names of others: nothing of it arrives, because the account imports one subject only.
        for region in REGIONS:
            for name in (region.server, region.vantage, "stranger"):
                if name != LIAR.vantage:
                    liar.publish(report(7, 2**40, liar.checks, health=DOWN), f"portolan.prod.report.{region.name}.{name}")
        liar.flush()
        names = set(NODES)
        for region in REGIONS:
            wait_until(lambda: refused(fleet, region.server) > 0, 30)
            assert set(fleet.vantages(region.server)) == names
        for asker in askers:
            assert all(set(r.answers) == ALL for r in asker.finish()), "nothing is withdrawn"
        assert transitions(fleet) == before
    more = {server: now - memory[server] for server, now in resident(fleet).items()}
    figure("memory of a server after the lies, at most", max(more.values()) / 2**20, "MiB", MORE_MEMORY / 2**20)
    assert max(more.values()) < MORE_MEMORY, more


def refused(fleet, server):
    lines = [line for line in fleet.get(server, "/metrics").splitlines() if line.startswith("portolan_fleet_reports_refused_total{")]
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.full
def test_the_votes_of_a_vantage_that_dies_are_gone_and_nothing_else_changes(fleet, figure):
    before, dead = transitions(fleet), REGIONS[1].vantage
    which = [(region.name, name) for region in REGIONS for name in ("all", "www")]
    with clients(fleet, *which) as askers:
        fleet.parts[dead].kill()
        killed = time.monotonic()
        took = {}
        while len(took) < len(REGIONS):
            for region in REGIONS:
                if region.server not in took and fleet.vantages(region.server).get(dead) == "stale":
                    took[region.server] = time.monotonic() - killed
            time.sleep(0.05)
            assert time.monotonic() < killed + 60, took
        for region in REGIONS:
            # Its verdicts are shown, and not counted.
            counted = [v for v in fleet.endpoints(region.server)["us1"]["verdicts"] if v["vantage"] != dead]
            assert {v["health"] for v in counted} == {"up"}
        figure("votes of a dead vantage gone after", max(took.values()), "s", STALE_AFTER + 2)
        assert max(took.values()) < STALE_AFTER + 2, took
        for (at, name), asker in zip(which, askers):
            assert others_than(asker.finish(), ALL if name == "all" else addresses_in(at)) == [], (at, name)
    assert transitions(fleet) == before
