"""Endpoints that die, become silent and come back, observed by a client that sends 50 queries a second.

The limits are those of docs/detection.md, measured from the event. The test adds twice the longest delay of the client to
each, because the machine delays the server too. On an idle machine that is a few milliseconds.
"""
import json
import time
import urllib.request

import pytest

from portolan import MASTER, Node
from processes import wait_until
from steady import Steady, first_naming, last_naming, stall, unanswered
from world import World

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
path = "/healthz"
expect = {{ status = [200], body = "ok" }}
interval = "{interval}"
timeout = "{timeout}"
fall = {fall}
rise = {rise}

[endpoint.one]
addresses = ["192.0.2.1"]
probe = "{one}"
monitor = "web"

[endpoint.two]
addresses = ["192.0.2.2"]
probe = "{two}"
monitor = "web"

[pool.web]
members = ["one", "two"]

[pool.first]
members = ["one", "two"]
steer = "failover"

[name.www]
pool = "web"

[name.db]
pool = "first"
"""


def files(one, two, interval="1s", timeout="500ms", fall=3, rise=2):
    policy = POLICY.format(one=one.at, two=two.at, interval=interval, timeout=timeout, fall=fall, rise=rise)
    return {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}


def hold_to(bound, replies, event, took, what, figure):
    """Asserts a limit, with the delays of the machine added."""
    late = stall(replies, event, event + took)
    figure(what, took, "s", bound)
    assert took <= bound + 2 * late, f"{what}: {took:.3f} s, bound {bound} s, machine stalled {late:.3f} s"


def test_a_killed_endpoint_is_out_within_an_interval(dir, endpoints, figure):
    one, two = endpoints("one"), endpoints("two")
    with Node(dir, files(one, two)) as node, Steady(node.dir, node.udp, "www.svc.example.") as client:
        client.wait_for(lambda r: "192.0.2.1" in r.answers, 10)
        event = time.time()
        one.kill()
        client.wait_for(lambda r: r.due > event + 3, 20)
        replies = client.replies()
        took = last_naming(replies, "192.0.2.1", event)
        hold_to(1.2, replies, event, took, "killed, last named after", figure)

        back = time.time()
        one.start()
        client.wait_for(lambda r: "192.0.2.1" in r.answers, 10, since=back)
        assert unanswered(client.finish()) == []


def test_an_endpoint_that_refuses_or_fails_is_out_as_fast(dir, endpoints, figure):
    """The same for an endpoint that responds with 503: the failure is seen at once, so only the interval counts."""
    one, two = endpoints("one"), endpoints("two")
    with Node(dir, files(one, two)) as node, Steady(node.dir, node.udp, "db.svc.example.") as client:
        client.wait_for(lambda r: r.answers == ["192.0.2.1"], 10)
        port = one.port
        one.kill()
        event = time.time()
        endpoints("sick", port=port, status=503, body="no database")
        client.wait_for(lambda r: r.answers == ["192.0.2.2"], 10, since=event)
        client.wait_for(lambda r: r.due > event + 3, 20)
        replies = client.finish()
        hold_to(1.2, replies, event, last_naming(replies, "192.0.2.1", event), "503, last named after", figure)
        assert unanswered(replies) == []
        found = node.json("/v1/explain?name=db.svc.example.&type=A&client=127.0.0.1")
        assert any("one" == d["endpoint"] for stage in found["stages"] for d in stage["dropped"]), found


@pytest.mark.places
def test_an_endpoint_cut_off_silently(dir, endpoints, figure):
    """Packets to it are lost: out after interval + fall * timeout, and half a second for the path of an answer; back after
    `rise` successes. test_detection.py runs more rounds."""
    interval, timeout, fall, rise = 1.0, 0.5, 3, 2
    with World("node", "far") as world:
        hosts = [world["far"].host(n) for n in (11, 12)]
        one, two = [endpoints(f"far{i}", host=h, port=8080, place=world["far"]) for i, h in enumerate(hosts)]
        world.set("node", "far", delay=0.02)
        with (
            Node(dir, files(one, two, fall=fall, rise=rise), place=world["node"]) as node,
            Steady(node.dir, node.udp, "www.svc.example.", place=world["node"]) as client,
        ):
            client.wait_for(lambda r: "192.0.2.1" in r.answers, 10)
            event = time.time()
            world.mute(hosts[0])
            bound = interval + fall * timeout + 0.5
            client.wait_for(lambda r: r.due > event + bound + 2, 20)
            replies = client.replies()
            hold_to(bound, replies, event, last_naming(replies, "192.0.2.1", event), "cut off, last named after", figure)
            assert node.health("one") == "down" and node.health("two") == "up"

            back = time.time()
            world.mute(hosts[0], on=False)
            client.wait_for(lambda r: "192.0.2.1" in r.answers, 20, since=back)
            replies = client.replies()
            took = first_naming(replies, "192.0.2.1", back)
            bound = rise * interval + timeout + interval
            hold_to(bound, replies, back, took, f"back after {rise} successes", figure)
            assert unanswered(client.finish()) == [], "every question was answered meanwhile"


def test_a_stopped_endpoint_and_a_short_hiccup(dir, endpoints, figure):
    """SIGSTOP is an outage by timeout. It has no effect if it is over before `fall` failures."""
    one, two = endpoints("one"), endpoints("two")
    quick = files(one, two, interval="400ms", timeout="200ms", fall=3, rise=2)
    with Node(dir, quick) as node, Steady(node.dir, node.udp, "db.svc.example.") as client:
        client.wait_for(lambda r: r.answers == ["192.0.2.1"], 10)
        event = time.time()
        one.stop()
        client.wait_for(lambda r: r.answers == ["192.0.2.2"], 10, since=event)
        replies = client.replies()
        hold_to(3 * 0.4 + 0.2, replies, event, last_naming(replies, "192.0.2.1", event), "stopped, last named after", figure)
        one.go_on()
        client.wait_for(lambda r: r.answers == ["192.0.2.1"], 10, since=time.time())
        assert node.metric("portolan_transitions_total", endpoint="one", to="down") == 1
        assert wait_until(lambda: node.count("portolan_transitions_total", endpoint="one", to="up"), 5) >= 1
        assert unanswered(client.finish()) == []


def test_transitions_are_events(dir, endpoints):
    """The event stream has the fall and the recovery, with the generation of the snapshot."""
    one, two = endpoints("one"), endpoints("two")
    quick = files(one, two, interval="200ms", timeout="150ms")
    with Node(dir, quick) as node:
        with urllib.request.urlopen(node.url + "/v1/events", timeout=20) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")

            def next_of(endpoint):
                while True:
                    line = stream.readline().decode()
                    assert line, "the stream ended"
                    if line.startswith("data:"):
                        event = json.loads(line[5:])
                        if event["endpoint"] == endpoint:
                            return event

            one.kill()
            down = next_of("one")
            assert (down["from"], down["to"]) == ("up", "down") and down["why"], down
            one.start()
            up = next_of("one")
            assert (up["from"], up["to"]) == ("down", "up"), up
            assert up["generation"] >= down["generation"]
            assert abs(up["at"] - time.time()) < 60, "Unix seconds"


def test_a_flapping_endpoint_is_held_down_and_status_shows_it(dir, endpoints):
    """Two outages in quick succession: it answers its probes again, but is held down."""
    one, two = endpoints("one"), endpoints("two")
    with Node(dir, files(one, two, interval="200ms", timeout="150ms")) as node:
        for health in ["up", "held"]:
            one.kill()
            node.wait_health("one", "down")
            one.start()
            if health == "up":
                node.wait_health("one", "up")
        verdict = lambda: node.status()["zones"][0]["endpoints"][0]["verdicts"][0]
        assert wait_until(lambda: verdict()["why"].startswith("held down for "), 10)
        assert verdict()["why"].endswith(" s: flapped 2 times"), verdict()
        assert verdict()["health"] == "down"
        assert {tuple(node.addresses("db.svc.example.")) for _ in range(20)} == {("192.0.2.2",)}
        explanation = node.json("/v1/explain?name=db.svc.example.&type=A")
        assert any("held down for" in (seen.get("why") or "") for seen in explanation["evidence"]), explanation["evidence"]


def test_a_suspect_endpoint_is_served_and_status_shows_it(dir, endpoints):
    """Fewer failures than `fall`: status and explain show them, the answers and the log don't."""
    one, two = endpoints("one"), endpoints("two")
    with Node(dir, files(one, two, interval="2s", timeout="2s", fall=20)) as node:
        verdict = lambda: node.status()["zones"][0]["endpoints"][0]["verdicts"][0]
        one.stop()
        wait_until(lambda: verdict().get("why") == "suspect: timed out after 2s", 10)
        assert (verdict()["health"], node.addresses("db.svc.example.")) == ("up", ["192.0.2.1"])
        explanation = node.json("/v1/explain?name=db.svc.example.&type=A")
        assert "suspect: timed out after 2s" in [seen.get("why") for seen in explanation["evidence"]], explanation["evidence"]
        assert "suspect: timed out after 2s" in node.command("status").stdout
        one.go_on()
        wait_until(lambda: "why" not in verdict(), 10)
        assert node.metric("portolan_transitions_total", endpoint="one", to="down") == 0
