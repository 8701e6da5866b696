"""A standby that follows the events of another server through a topic of Kafka, and events that other programs write there."""
import os

import pytest

import portolan
from portolan import MASTER, Node
from processes import wait_until
from test_follow import BOUND, book, changes, changes_of, done, event, follow, overrides, wait_until_same
from test_operator import FILE, POLICY, TOKENS, operate

pytest.importorskip("confluent_kafka")
from kafka import KafkaBroker  # noqa: E402

HAS_KAFKA = "kafka" in os.environ.get("FEATURES", "").split(",")
pytestmark = pytest.mark.skipif(not HAS_KAFKA, reason="this program is built without the feature kafka")
ZONE = {FILE: POLICY, "svc.example.zone": MASTER}


def server(dir, name, sink=None, follow=None, more=""):
    """A server `name`; `sink` and `follow` are addresses of brokers. A second start goes on with its state."""
    (dir / name).mkdir(exist_ok=True)
    (dir / name / "tokens").write_text(TOKENS)
    (dir / name / "tokens").chmod(0o600)
    settings = portolan.SETTINGS.replace('node = "ns1"', f'node = "{name}"')
    for table, address, keys in (("sink.log", sink, ""), ("follow.other", follow, more)):
        if address:
            settings += f'\n[{table}]\ntype = "kafka"\nbrokers = ["{address}"]\ntopic = "portolan"\n{keys}'
    return Node(dir, ZONE, settings=settings, name=name)


def test_a_standby_has_the_same_overrides_also_after_it_was_cut_off_and_nothing_twice(dir):
    with KafkaBroker(dir) as kafka:
        kafka.make("portolan")
        with server(dir, "ns1", sink=kafka.address) as primary:
            done(operate(primary, "drain", "fra1", "--why", "rack move"))
            with server(dir, "ns2", follow=kafka.address) as standby:
                wait_until(lambda: overrides(standby) == overrides(primary) and overrides(primary), BOUND)
                [entry] = book(standby)
                assert (entry["who"], entry["why"]) == ("follow.other (kafka)", "rack move (alice)"), entry
                assert follow(standby)["from"] == f"portolan on {kafka.address}"
                done(operate(primary, "force-down", "nyc", "--why", "burns", "--for", "2h", "--yes"))
                wait_until_same(standby, primary, "a change")
                kafka.cut()
                wait_until(lambda: follow(standby)["state"] == "away", BOUND)
                assert overrides(standby) == overrides(primary), "what it has set stays"
                assert "CAN'T BE FOLLOWED" in standby.command("status").stdout
                done(operate(primary, "clear", "fra1"))
                done(operate(primary, "drain", "ams1", "--why", "second", "--yes"))
                kafka.mend()
                wait_until_same(standby, primary, "the way is open again, for the sink too")
                assert [target for target, _, _ in overrides(standby)] == ["ams1", "nyc"]
                wait_until(lambda: follow(standby)["position"] >= len(changes(primary)), BOUND)
                wait_until(lambda: follow(standby)["state"] == "ok" and follow(standby)["behind"] == 0, BOUND)
                position = follow(standby)["position"]
            count = len(changes_of(dir, "ns2"))
            with server(dir, "ns2", follow=kafka.address) as standby:
                wait_until(lambda: follow(standby)["state"] == "ok", BOUND)
                assert (follow(standby)["position"], follow(standby)["applied"]) == (position, 0)
                assert len(changes(standby)) == count and overrides(standby) == overrides(primary)
            (dir / "ns2" / "state" / "follows.json").unlink()
            with server(dir, "ns2", follow=kafka.address) as standby:
                wait_until(lambda: follow(standby)["position"] == position, BOUND)
                assert (follow(standby)["applied"], follow(standby)["refused"]) == (0, 0), "the topic from its beginning"
                assert len(changes(standby)) == count and overrides(standby) == overrides(primary)


def test_other_programs_write_events_and_what_can_not_be_used_holds_up_nothing(dir):
    with KafkaBroker(dir) as kafka:
        kafka.make("portolan")
        kafka.put("portolan", ("fra1", event(1, {"target": "fra1", "state": "drain", "why": "before"})))
        with server(dir, "ns2", follow=kafka.address, more='targets = ["fra*", "gone"]\n') as node:
            wait_until(lambda: [of["target"] for of in book(node)] == ["fra1"], BOUND)
            kafka.put(
                "portolan",
                ("fra1", b"\xff\x00 no JSON"),
                (None, event(2, {"target": "gone", "state": "down", "why": "x", "confirm": True})),
                ("nyc", event(3, {"target": "nyc", "state": "drain", "why": "x"})),
                ("fra1", event(4, {"target": "fra1", "state": "none"})),
            )
            wait_until(lambda: follow(node)["position"] == 5, BOUND)
            assert (follow(node)["refused"], follow(node)["applied"], book(node)) == (3, 2, []), follow(node)


def test_a_topic_that_is_missing_is_named_and_followed_when_it_is_there(dir):
    with KafkaBroker(dir) as kafka:
        kafka.make("other")
        with server(dir, "ns2", follow=kafka.address) as node:
            wait_until(lambda: "no such topic" in follow(node).get("problem", ""), BOUND)
            kafka.make("portolan")
            kafka.put("portolan", ("fra1", event(1, {"target": "fra1", "state": "drain", "why": "x"})))
            wait_until(lambda: [of["target"] for of in book(node)] == ["fra1"], BOUND)
            wait_until(lambda: "problem" not in follow(node) and follow(node)["state"] == "ok", BOUND)
