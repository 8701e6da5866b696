"""A region that is cut from all others, and the path between two regions: who is answered with what, and for how long."""
import time

import pytest

from clients import ask_at, clients, last_with, others_than, wait_answers, within
from parts import ADDRESSES, REGIONS, addresses_in

# `ttl.max` of the zone: nobody's answer is older than this.
OUT_WITHIN = 5.0
# Vantages are blind after two or three seconds, and a new order of a `latency` pool has to hold for three.
STAYS = 9.0
ALL = set(ADDRESSES.values())


def cut_region(fleet, figure, name):
    """Cuts a region from everything, heals it, and checks what the clients of the others get meanwhile, 50 times a second."""
    others = [region.name for region in REGIONS if region.name != name]
    one, two = others
    gone = addresses_in(name)
    which = [(one, "all"), (two, "all"), (one, "all", two), (two, "all", one), (name, "all"), (name, "www")]
    with clients(fleet, *which) as askers:
        began = time.time()
        for asker in askers[:5]:
            asker.wait_for(lambda r: set(r.answers) == ALL, 20)
        fleet.world.cut(name)
        cut = time.time()
        for asker in askers[:4]:
            asker.wait_for(lambda r: r.answers and not set(r.answers) & gone, OUT_WITHIN + 20, since=cut)
            asker.wait_for(lambda r: r.due > cut + OUT_WITHIN + 2, 20)
        for (at, _, *server), asker in zip(which[:4], askers):
            replies = asker.replies()
            took = last_with(replies, gone, cut)
            figure(f"{name} cut off, last named by the server of {(server or [at])[0]} to {at}", took, "s", OUT_WITHIN)
            assert within(OUT_WITHIN, replies, cut, took), f"{at}, {server}: {took:.2f} s"
        # Behind the cut everything else is silent. Its server goes on answering.
        own = [r for r in askers[4].replies() if r.due > cut]
        assert [r for r in own if r.got is None or not r.answers] == [], "the server of the region that is cut off"
        assert all(set(r.answers) & gone for r in own), "it goes on with the endpoints that it reaches"
        # Its clients stay near, also longer than a new order has to hold before it is used.
        askers[5].wait_for(lambda r: r.due > cut + STAYS, 20)
        assert others_than(askers[5].replies(), gone, began) == [], "clients of the region that is cut off"
        fleet.world.heal(name)
        healed = time.time()
        for asker in askers[:5]:
            asker.wait_for(lambda r: set(r.answers) == ALL, 40, since=healed)
        back = max(asker.wait_for(lambda r: set(r.answers) == ALL, 5, since=healed).got for asker in askers[:5]) - healed
        figure(f"{name} healed, named again by all servers", back, "s")
        for asker in askers[:4]:
            replies = asker.finish()
            assert [r for r in replies if r.due > began and (r.got is None or not r.answers)] == [], "every query is answered"
    fleet.wait_agreed(30)


def test_a_region_that_is_cut_off_is_out_of_the_answers_and_comes_back(fleet, figure):
    cut_region(fleet, figure, "eu-central")


@pytest.mark.full
@pytest.mark.parametrize("name", ["us-east", "ap-south"])
def test_so_is_every_other_one(fleet, figure, name):
    cut_region(fleet, figure, name)


@pytest.mark.full
def test_a_cut_between_two_regions_moves_the_clients_of_one_region_only(fleet, figure):
    """`shop` prefers us-east. Clients of eu-central can't reach it any more and get another region; all others stay."""
    america, rest = addresses_in("us-east"), ALL - addresses_in("us-east")
    which = [("eu-central", "shop"), ("us-east", "shop"), ("ap-south", "shop"), ("ap-south", "www"), ("us-east", "www")]
    for region in REGIONS:
        wait_answers(fleet, region.name, "shop", america, 20)
    with clients(fleet, *which) as askers:
        eu, *unmoved = askers
        fleet.world.cut("eu-central", "us-east")
        cut = time.time()
        eu.wait_for(lambda r: r.answers and set(r.answers) <= rest, OUT_WITHIN + 20, since=cut)
        # Also once the reports that do not arrive any more are stale, and the NATS servers have elected a leader again.
        eu.wait_for(lambda r: r.due > cut + 20, 40)
        replies = eu.replies()
        took = last_with(replies, america, cut)
        figure("path cut, clients of one region moved after", took, "s", OUT_WITHIN)
        assert within(OUT_WITHIN, replies, cut, took), f"{took:.2f} s"
        # The server of a third region agrees: it gets the reports of both.
        assert set(ask_at(fleet, "ap-south", "shop")) <= america
        shown = fleet.endpoints("ns3")["us1"]
        assert shown["health"] == "up", shown
        fleet.world.heal("eu-central", "us-east")
        healed = time.time()
        back = eu.wait_for(lambda r: r.answers and set(r.answers) <= america, 60, since=healed)
        figure("path healed, clients back after", back.got - healed, "s")
        for (at, name), asker in zip(which[1:], unmoved):
            wanted = america if name == "shop" else addresses_in(at)
            moved = others_than(asker.finish(), wanted)
            assert moved == [], f"{at} {name}: {moved[:3]}"
    fleet.wait_agreed(30)
