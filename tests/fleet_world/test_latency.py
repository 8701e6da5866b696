"""Clients get the endpoint with the lowest round-trip time that is measured from their region."""
import time

import pytest

from clients import ask_at, client, clients, others_than, wait_answers, within
from parts import DELAYS, REGION_OF, REGIONS, addresses_in
from processes import wait_until

# What is promised for a change of a path: the ranking follows.
FOLLOWS = 10.0


def test_clients_of_each_region_get_the_nearest_endpoint_from_every_server(fleet):
    for region in REGIONS:
        for server in REGIONS:
            wait_answers(fleet, region.name, "www", addresses_in(region.name), 20, server.name)
    # us-east is 40 ms away from eu-central, ap-south 60 ms.
    wait_answers(fleet, "eu-central", "media", addresses_in("us-east"), 20)
    # Each server has the whole matrix: the round-trip time from each region to each endpoint.
    for server in REGIONS:
        for name, report in fleet.endpoints(server.server).items():
            rtts = {of["region"]: of["rtt_ms"] for of in report["regions"]}
            assert set(rtts) == {region.name for region in REGIONS}, (server, name, rtts)
            assert min(rtts, key=rtts.get) == REGION_OF[name], (server, name, rtts)


@pytest.mark.full
def test_the_ranking_follows_a_change_of_the_delay(fleet, figure):
    # eu-central: 40 ms to us-east, 60 ms to ap-south; then 150 ms and 60 ms; and back.
    near, far = addresses_in("us-east"), addresses_in("ap-south")
    wait_answers(fleet, "eu-central", "media", near, 30)
    others = [("us-east", "media"), ("ap-south", "media"), ("us-east", "www"), ("ap-south", "www"), ("eu-central", "www")]
    with client(fleet, "eu-central", "media") as eu, clients(fleet, *others) as unconcerned:
        for ms, wanted in ((150, far), (DELAYS["eu-central", "us-east"], near)):
            changed = time.time()
            fleet.delay("eu-central", "us-east", ms)
            moved = eu.wait_for(lambda r: r.answers and set(r.answers) <= wanted, FOLLOWS + 20, since=changed)
            eu.wait_for(lambda r: r.due > moved.due + 3, 20)
            replies = eu.replies()
            took = max(r.got - changed for r in replies if r.got and r.due > changed and not set(r.answers) <= wanted)
            figure(f"ranking after {ms} ms", took, "s", FOLLOWS)
            assert within(FOLLOWS, replies, changed, took), f"{took:.2f} s"
        for (at, name), of in zip(others, unconcerned):
            assert others_than(of.finish(), addresses_in(at)) == [], f"{at} {name}: nothing changes there"


@pytest.mark.full
def test_answers_do_not_jump_between_endpoints_in_the_band(fleet, figure):
    """Two regions whose delays change places every few seconds, by less than the band of 8 ms; and jitter."""
    both = addresses_in("us-east", "ap-south")
    for a, b in (("eu-central", "us-east"), ("eu-central", "ap-south")):
        fleet.delay(a, b, 50)
    # In the band all four are answered, each to a part of the queries.
    with client(fleet, "eu-central", "media") as eu:
        wait_until(lambda: {ask_at(fleet, "eu-central", "media")[0] for _ in range(40)} == both, 60, 0.2)
        began = time.time()
        for turn in range(10):
            fleet.delay("eu-central", "us-east", 50 + (1 if turn % 2 else -1), jitter=0.5)
            fleet.delay("eu-central", "ap-south", 50 - (1 if turn % 2 else -1), jitter=0.5)
            eu.wait_for(lambda r: r.due > began + 3 * (turn + 1), 30)
        replies = [r for r in eu.finish() if r.due > began]
    assert others_than(replies, both) == []
    # Each window of two seconds has answers of both regions: nothing has jumped.
    for start in range(0, 28, 2):
        window = [r for r in replies if began + start <= r.due < began + start + 2]
        found = set().union(*(r.answers for r in window))
        assert found & addresses_in("us-east") and found & addresses_in("ap-south"), f"after {start} s: {found}"
    figure("answers in the band", len(replies), "replies")

