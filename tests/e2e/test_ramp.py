"""Warm return: an endpoint that comes back gets a small share of the answers first, and gradually its full share."""
import json

import pytest

from endpoint import Endpoint
from portolan import MASTER, Node
from processes import wait_until

# One step a second.
STEPS = 12
POLICY = """
zone = "svc.example."
[monitor.m]
type = "http"
interval = "100ms"
timeout = "1s"
fall = 2
rise = 2
damping = false
[endpoint.warm]
addresses = ["127.0.0.1"]
probe = "{warm}"
monitor = "m"
ramp = "12s"
[endpoint.other]
addresses = ["127.0.0.2"]
probe = "{other}"
monitor = "m"
[pool.p]
members = ["warm", "other"]
[name.www]
pool = "p"
ttl = {{ max = "20s", min = "1s" }}
"""


def explained(node):
    return node.json("/v1/explain?name=www.svc.example.&type=A")


def share(seen):
    """The share of the answers that `warm` has."""
    return sum(answer["probability"] for answer in seen["answers"] if answer["endpoint"] == "warm")


def ramps(node):
    """The ramp of `warm` in status."""
    endpoints = [endpoint for zone in node.status()["zones"] for endpoint in zone["endpoints"]]
    return next(endpoint.get("ramps", []) for endpoint in endpoints if endpoint["name"] == "warm")


@pytest.fixture
def world(tmp_path):
    warm, other = Endpoint(tmp_path, "warm"), Endpoint(tmp_path, "other")
    policy = POLICY.format(warm=warm.at, other=other.at)
    zones = {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}
    try:
        with Node(tmp_path, zones) as node:
            yield node, warm, policy
    finally:
        warm.end()
        other.end()


def test_an_endpoint_that_comes_back_grows_to_its_share(world):
    node, warm, policy = world
    assert share(explained(node)) == pytest.approx(0.5), "what is up at the start doesn't ramp"
    assert ramps(node) == []
    warm.kill()
    wait_until(lambda: share(explained(node)) == 0, 15)
    warm.start()
    first = wait_until(lambda: (seen := explained(node))["answers"][1:] and seen, 15)
    (ramping,) = [reason["why"] for stage in first["stages"] for reason in stage["kept"] if "ramping: " in reason["why"]]
    assert "of 1, full 12s after it came up" in ramping
    assert first["ttl"] == 1, "the next step is a second away at most"
    (ramp,) = first["ramps"]
    assert ramp["endpoint"] == "warm" and 1 / (STEPS + 1) <= ramp["share"] < 1 and ramp["full_in_ms"] <= 12000
    assert share(first) == pytest.approx(ramp["share"] / (1 + ramp["share"])), "the other has a weight of 1"
    human = node.command("explain", "www.svc.example.").stdout
    assert "ramp      warm (127.0.0.1) has" in human
    assert "up (ramping: " in node.command("status").stdout

    # A reload doesn't change the ramp.
    node.write("svc.example.policy.toml", policy + "# as before\n")
    done = node.command("reload")
    assert done.returncode == 0, done.stderr
    seen = [share(first)]

    def is_full():
        now = explained(node)
        if share(now) != seen[-1]:
            seen.append(share(now))
        return now if share(now) == pytest.approx(0.5) else None

    last = wait_until(is_full, 30)
    assert seen == sorted(seen), "it only ever grows"
    assert 2 < len(seen) <= STEPS + 2, "in steps"
    assert "ramps" not in last and "ramping" not in json.dumps(last["stages"])
    assert ramps(node) == []
    assert last["generation"] >= 2, "the watcher may have loaded the files too"


def test_the_shares_of_replies_follow(world):
    """The shares in explain and in the answers are compared while the ramp stays at one step."""
    node, warm, _ = world
    warm.kill()
    wait_until(lambda: share(explained(node)) == 0, 15)
    warm.start()
    wait_until(lambda: ramps(node), 15)
    counted, expected, variance = 0, 0.0, 0.0
    while ramps(node):
        before = share(explained(node))
        replies = [node.addresses("www.svc.example.") for _ in range(50)]
        if share(explained(node)) == before:
            counted += sum(reply == ["127.0.0.1"] for reply in replies)
            expected += before * len(replies)
            variance += before * (1 - before) * len(replies)
    # Six standard deviations: one run in a billion.
    assert variance > 0 and abs(counted - expected) <= 6 * variance**0.5, (counted, expected)


def test_a_ramp_outlives_a_restart(tmp_path):
    warm, other = Endpoint(tmp_path, "warm"), Endpoint(tmp_path, "other")
    # Long, so that the ramp is not over after the restart.
    policy = POLICY.format(warm=warm.at, other=other.at).replace('"12s"', '"10m"')
    zones = {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}
    try:
        with Node(tmp_path, zones) as node:
            warm.kill()
            wait_until(lambda: share(explained(node)) == 0, 15)
            warm.start()
            (before,) = wait_until(lambda: ramps(node), 15)
            file = node.dir / "state" / "ramps.json"
            wait_until(lambda: file.exists() and "warm" in file.read_text(), 15)
            node.child.process.kill()
            node.child.process.wait(5)
        with Node(tmp_path, zones) as again:
            (after,) = ramps(again)
            assert after["full_in_ms"] <= before["full_in_ms"], "it goes on, and doesn't begin anew"
            assert share(explained(again)) == pytest.approx(after["share"] / (1 + after["share"]))
            assert after["share"] < 0.5
    finally:
        warm.end()
        other.end()
