"""A standby that follows the events of another server, and events that other programs write: real servers and a real NATS."""
import json
import shutil
import signal
import time

import portolan
from nats import NatsServer
from portolan import MASTER, Node
from processes import wait_until
from relay import Relay
from streams import Stream
from test_api_access import call
from test_operator import ALICE, FILE, NAME, POLICY, TOKENS, operate

BOUND = 60
ZONE = {FILE: POLICY, "svc.example.zone": MASTER}
SUBJECT = "portolan.events"


def server(dir, name, sink=None, follow=None, more=""):
    """A server `name`; `sink` and `follow` are ports of NATS. A second start in the same directory goes on with its state."""
    (dir / name).mkdir(exist_ok=True)
    (dir / name / "tokens").write_text(TOKENS)
    (dir / name / "tokens").chmod(0o600)
    settings = portolan.SETTINGS.replace('node = "ns1"', f'node = "{name}"')
    if sink:
        settings += f'\n[sink.bus]\ntype = "nats"\nservers = ["nats://127.0.0.1:{sink}"]\nsubject = "{SUBJECT}"\n'
    if follow:
        settings += f'\n[follow.other]\ntype = "nats"\nservers = ["nats://127.0.0.1:{follow}"]\nsubject = "{SUBJECT}"\n{more}'
    assert f'node = "{name}"' in settings
    return Node(dir, ZONE, settings=settings, name=name)


def book(node):
    status, _, body = call(node, "GET", "/v1/overrides", token=ALICE)
    assert status == 200, body
    return json.loads(body)


def overrides(node):
    """Each override: its target, state, and end."""
    return sorted((of["target"], of["state"], of["until"] and round(of["until"], 2)) for of in book(node))


def own_overrides(node):
    """The overrides that operators of the node made, and those that it made by itself."""
    return sorted((of["target"], of["who"]) for of in book(node))


def follow(node):
    [follow] = node.status()["follows"]
    return follow


def changes(node):
    """The events of overrides in the log of a node."""
    done = node.command("events", "--format", "json")
    return [event for line in done.stdout.splitlines() if (event := json.loads(line))["type"] == "portolan.override"]


def states(node):
    """What is in force at each endpoint."""
    of = [endpoint for zone in node.status()["zones"] for endpoint in zone["endpoints"]]
    return sorted((each["name"], each["health"], (each["override"] or {}).get("state")) for each in of)


def wait_until_same(standby, primary, what):
    """Waits until both have the same overrides and states, and prints how long that took."""
    began = time.monotonic()
    wait_until(lambda: overrides(standby) == overrides(primary), BOUND)
    wait_until(lambda: states(standby) == states(primary), BOUND)
    print(f"the same overrides and states {time.monotonic() - began:.3f} s after {what}")


def done(result):
    assert result.returncode == 0, result
    return result


def test_a_standby_has_the_same_overrides_also_after_it_was_cut_off_and_nothing_twice(dir):
    with NatsServer(dir) as nats, Stream(nats, "EVENTS", [SUBJECT], allow_direct=True) as stream:
        path = Relay(("127.0.0.1", nats.port))
        with server(dir, "ns1", sink=nats.port) as primary:
            done(operate(primary, "drain", "fra1", "--why", "rack move"))
            with server(dir, "ns2", follow=path.port) as standby:
                wait_until(lambda: overrides(standby) == overrides(primary) and overrides(primary), BOUND)
                [entry] = book(standby)
                assert (entry["who"], entry["why"]) == ("follow.other (nats)", "rack move (alice)"), entry
                wait_until(lambda: "192.0.2.1" not in {a for _ in range(20) for a in standby.addresses(NAME)}, BOUND)
                done(operate(primary, "force-down", "nyc", "--why", "burns", "--for", "2h", "--yes"))
                wait_until_same(standby, primary, "a change")
                path.cut()
                wait_until(lambda: follow(standby)["state"] == "away", BOUND)
                assert overrides(standby) == overrides(primary), "what it has set stays"
                assert "CAN'T BE FOLLOWED" in standby.command("status").stdout
                done(operate(primary, "clear", "fra1"))
                done(operate(primary, "drain", "region:eu-west", "--why", "flood", "--yes"))
                done(operate(primary, "clear", "region:eu-west"))
                done(operate(primary, "drain", "ams1", "--why", "second", "--yes"))
                before = len(changes(standby))
                wait_until(lambda: stream.state()["messages"] == len(changes(primary)), BOUND)
                path.listen(path.port)
                wait_until_same(standby, primary, "the way is open again")
                assert [target for target, _, _ in overrides(standby)] == ["ams1", "nyc"]
                wait_until(lambda: follow(standby)["state"] == "ok" and follow(standby)["behind"] == 0, BOUND)
                made = [(event["subject"], event["data"]["to"]) for event in changes(standby)[before:]]
                assert sorted(made) == [("ams1", "drained"), ("fra1", "up")], "each target once, and what had ended is not made"
                position = follow(standby)["position"]
                assert position == stream.state()["last_seq"]
            # All of it again: nothing changes.
            count = len(changes_of(dir, "ns2"))
            with server(dir, "ns2", follow=path.port) as standby:
                wait_until(lambda: follow(standby)["state"] == "ok", BOUND)
                assert (follow(standby)["position"], follow(standby)["applied"]) == (position, 0)
                assert len(changes(standby)) == count and overrides(standby) == overrides(primary)
                assert standby.metric("portolan_follow_up", follow="other") == 1
            (dir / "ns2" / "state" / "follows.json").unlink()
            with server(dir, "ns2", follow=path.port) as standby:
                wait_until(lambda: follow(standby)["position"] == position, BOUND)
                assert (follow(standby)["applied"], follow(standby)["refused"]) == (0, 0), "the stream replayed from its beginning"
                assert len(changes(standby)) == count and overrides(standby) == overrides(primary)


def changes_of(dir, name):
    """The events of overrides in the log of a node that has ended."""
    lines = (dir / name / "state" / "events.log").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line)).get("kind") == "override"]


def test_two_servers_that_follow_each_other_make_no_loop_and_an_operator_goes_first(dir):
    with NatsServer(dir) as nats, Stream(nats, "EVENTS", [SUBJECT]) as stream:
        with server(dir, "ns1", nats.port, nats.port) as one, server(dir, "ns2", nats.port, nats.port) as two:
            done(operate(one, "drain", "fra1", "--why", "at one"))
            done(operate(two, "drain", "nyc", "--why", "at two"))
            both = [("fra1", "drain", None), ("nyc", "drain", None)]
            wait_until(lambda: overrides(one) == both and overrides(two) == both, BOUND)
            wait_until(lambda: stream.state()["messages"] == 4, BOUND)
            wait_until(lambda: follow(one)["position"] == follow(two)["position"] == 4, BOUND)
            assert own_overrides(one) == [("fra1", "alice"), ("nyc", "follow.other (nats)")]
            assert own_overrides(two) == [("fra1", "follow.other (nats)"), ("nyc", "alice")]
            # A clear of what was followed is the operator's at this server alone.
            done(operate(two, "clear", "fra1"))
            wait_until(lambda: follow(one)["position"] == stream.state()["last_seq"] == 5, BOUND)
            assert overrides(one) == both and [target for target, _, _ in overrides(two)] == ["nyc"]
            done(operate(one, "clear", "fra1"))
            wait_until(lambda: follow(two)["position"] == stream.state()["last_seq"] == 6, BOUND)
            assert overrides(one) == overrides(two) == [("nyc", "drain", None)]
            assert (follow(one)["refused"], follow(two)["refused"]) == (0, 0)


def event(number, override, **more):
    return {
        "specversion": "1.0", "id": str(number), "source": "/ci", "type": "portolan.override", "data": {"override": override},
        **more,
    }


def test_other_programs_write_events_and_what_can_not_be_used_holds_up_nothing(dir):
    more = 'zones = ["svc.example."]\ntargets = ["fra*", "nyc", "region:*", "gone"]\n'
    with NatsServer(dir) as nats, Stream(nats, "EVENTS", [SUBJECT]) as stream:
        with server(dir, "ns2", follow=nats.port, more=more) as node:
            ended = {"target": "nyc", "state": "drain", "why": "late", "for": "10m"}
            stream.put(event(1, ended, time="2020-01-01T00:00:00Z"))
            stream.put(b"\xff\x00 no JSON")
            stream.put(event(2, {"target": "fra1", "state": "drain", "why": "deploy", "fro": "2h"}))
            stream.put(event(3, {"target": "gone", "state": "down", "why": "x", "confirm": True}))
            stream.put(event(4, {"target": "ams1", "state": "down", "why": "x", "confirm": True}))
            stream.put(event(5, {"target": "fra1", "state": "down", "why": "", "confirm": True}))
            stream.put(event(6, {"target": "region:eu-west", "state": "down", "why": "x", "zones": ["other.example."]}))
            stream.put({"specversion": "1.0", "id": "7", "source": "/ci", "type": "com.example.deploy"})
            stream.put(event(8, {"target": "fra1", "state": "drain", "why": "deploy", "for": "2h"}))
            wait_until(lambda: follow(node)["position"] == 9, BOUND)
            report = follow(node)
            assert (report["state"], report["applied"], report["refused"]) == ("ok", 1, 6), report
            why = {refused["id"]: refused["why"] for refused in report["last_refused"]}
            assert "no JSON" in why[""] and "`fro` is no field" in why["2"], why
            assert "no endpoint is called `gone`" in why["3"] and "none of the `targets`" in why["4"], why
            assert "say why" in why["5"] and "none of the `zones`" in why["6"], why
            [entry] = book(node)
            assert (entry["target"], entry["state"], entry["why"]) == ("fra1", "drain", "deploy"), entry
            assert entry["zones"] == ["svc.example."] and abs(entry["until"] - time.time() - 7200) < 60, entry
            # Everybody would be without an answer: that wants a confirmation, as in the API.
            stream.put(event(9, {"target": "nyc", "state": "down", "why": "x"}))
            wait_until(lambda: follow(node)["position"] == 10, BOUND)
            stream.put(event(10, {"target": "fra*", "state": "none"}))
            stream.put(event(11, {"target": "fra1", "state": "none"}))
            wait_until(lambda: follow(node)["position"] == 12, BOUND)
            assert "fra1" not in [target for target, _, _ in overrides(node)]
            assert node.metric("portolan_follow_events_refused_total", follow="other") == follow(node)["refused"]
            assert "could not be used" in node.command("status").stdout


def test_a_position_is_stored_only_when_the_overrides_are_on_the_disk(dir):
    state = dir / "ns2" / "state"
    ignored = {"specversion": "1.0", "source": "/ci", "type": "com.example.deploy"}

    def position():
        return json.loads((state / "follows.json").read_text())["follows"]["other"]["next"]

    def block(node):
        """The overrides can't be written from now on."""
        (state / "overrides.json").unlink()
        (state / "overrides.json" / "directory").mkdir(parents=True)

    def drain(number, target):
        stream.put(event(number, {"target": target, "state": "drain", "why": "rack move", "confirm": True}))
        wait_until(lambda: target in [of for of, _, _ in overrides(node)], BOUND)
        wait_until(lambda: [of["file"] for of in node.status().get("unsaved", [])] == ["overrides.json"], BOUND)
        # Messages after it that change nothing.
        for more in (number + 1, number + 2):
            stream.put({**ignored, "id": str(more)})
            wait_until(lambda: follow(node)["position"] == more, BOUND)

    with NatsServer(dir) as nats, Stream(nats, "EVENTS", [SUBJECT]) as stream:
        with server(dir, "ns2", follow=nats.port) as node:
            stream.put(event(1, {"target": "nyc", "state": "drain", "why": "rack move", "confirm": True}))
            wait_until(lambda: follow(node)["position"] == 1 and position() == 2, BOUND)
            block(node)
            drain(2, "fra1")
            assert position() == 2
            node.child.signal(signal.SIGKILL)
            node.child.wait()
        shutil.rmtree(state / "overrides.json")
        with server(dir, "ns2", follow=nats.port) as node:
            wait_until(lambda: "fra1" in [of for of, _, _ in overrides(node)], BOUND)
            wait_until(lambda: position() == 5, BOUND)
            block(node)
            drain(5, "ams1")
            assert position() == 5
            shutil.rmtree(state / "overrides.json")
            wait_until(lambda: position() == 8, BOUND)


def test_a_stream_that_discarded_events_or_was_made_anew_is_marked(dir):
    with NatsServer(dir) as nats, Stream(nats, "EVENTS", [SUBJECT], max_msgs=3) as stream:
        with server(dir, "ns2", follow=nats.port) as node:
            stream.put(event(1, {"target": "fra1", "state": "drain", "why": "first", "confirm": True}))
            wait_until(lambda: follow(node)["position"] == 1, BOUND)
        for number in range(2, 9):
            stream.put(event(number, {"target": "nyc", "state": "drain", "why": f"number {number}", "confirm": True}))
        with server(dir, "ns2", follow=nats.port) as node:
            wait_until(lambda: follow(node)["position"] == 8, BOUND)
            report = follow(node)
            assert (report["state"], report["missed"]) == ("gap", 4), report
            assert "compare `portolan overrides`" in report["problem"], report
            assert "EVENTS WERE MISSED" in node.command("status").stdout
            assert node.metric("portolan_follow_up", follow="other") == 0
            # The same, of another stream of that name. Where copies may not be read directly, the leader is asked.
            stream.remove()
            wait_until(lambda: follow(node)["state"] == "away", BOUND)
            stream.config = {"allow_direct": False}
            stream.make()
            stream.put(event(1, {"target": "ams1", "state": "drain", "why": "anew", "confirm": True}))
            wait_until(lambda: "ams1" in [target for target, _, _ in overrides(node)], BOUND)
            wait_until(lambda: "made anew" in (follow(node)["problem"] or ""), BOUND)
