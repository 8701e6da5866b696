"""A sink of type nats with a real server: each event is stored once and in order, whatever is killed meanwhile; and what status
says of a stream that is missing, of a message that is refused, and of credentials."""
import itertools
import json
import os
import signal

import portolan
from nats import NatsServer
from portolan import Node
from processes import wait_until
from streams import Stream
from test_operator import ALICE, TOKENS
from test_sinks import BOUND, ENDPOINTS, local_ids, sink, turn, wait_sent, zone

# Each turn has ENDPOINTS - 1 events: 2,000 in a usual run, with 42 turns 10,000.
TURNS = int(os.environ.get("SINK_TURNS", "8"))


def start(dir, servers, more="", fleet="", name="node"):
    """A server with the sink `bus`. A second start in the same directory goes on with its state."""
    (dir / name).mkdir(exist_ok=True)
    (dir / name / "tokens").write_text(TOKENS)
    (dir / name / "tokens").chmod(0o600)
    where = f"servers = {json.dumps(servers)}\n" if servers else ""
    settings = f'{fleet}\n[sink.bus]\ntype = "nats"\n{where}subject = "portolan.events"\nconcurrency = 16\n{more}'
    return Node(dir, zone(), settings=portolan.SETTINGS + settings)


def check_order(events):
    """The first time of each event: those of one subject are in the order of their numbers."""
    first_times = {}
    for event in events:
        first_times.setdefault(event["id"], event.get("subject"))
    for subject in set(first_times.values()):
        numbers = [int(id.rpartition("/")[2]) for id, of in first_times.items() if of == subject]
        assert numbers == sorted(numbers), f"{subject}: {numbers}"


def turn_with_cuts(node, turns, rounds, cut, mend):
    """Two turns a round. In three of the rounds the receiver is away during the second one."""
    every = max(1, rounds // 3)
    for at in range(rounds):
        turn(node, itertools.islice(turns, 1))
        if at % every == 0 and at // every < 3:
            wait_until(lambda: sink(node)["delivered"] > 40, BOUND)
            cut()
            turn(node, itertools.islice(turns, 1))
            wait_until(lambda: sink(node)["state"] == "retrying", BOUND)
            assert node.addresses("www.svc.example.") == ["192.0.2.0"], "the answers go on"
            mend()
            wait_until(lambda: sink(node)["state"] == "ok", BOUND)
        else:
            turn(node, itertools.islice(turns, 1))


def test_each_event_is_stored_once_and_in_order_though_nats_is_killed_three_times_and_the_server_restarts(dir):
    with NatsServer(dir) as nats, Stream(nats, "EVENTS", ["portolan.events"]) as stream:
        turns = iter(range(TURNS))
        with start(dir, [nats.url]) as node:
            turn_with_cuts(node, turns, TURNS // 2 - 1, nats.kill, nats.start)
            node.child.signal(signal.SIGTERM)
            assert node.child.process.wait(60) == 0, node.child.err()
        with start(dir, [nats.url]) as node:
            turn(node, turns)
            wait_sent(node, TURNS * (ENDPOINTS - 1))
            report, all = sink(node), local_ids(node)
        messages = stream.messages()
    assert (report["lost"], report["dead_letters"], report["type"]) == (0, 0, "nats"), report
    events = [json.loads(content) for _, content in messages]
    assert [id for id in dict.fromkeys(event["id"] for event in events) if id not in all] == []
    assert sorted(event["id"] for event in events) == sorted(all), "each is there, and once: the stream knows the ids"
    check_order(events)
    for (headers, _), event in zip(messages, events):
        assert headers["Content-Type"] == "application/cloudevents+json", headers
        assert headers["Nats-Msg-Id"].startswith(event["id"] + "/"), (headers, event["id"])
        assert event["specversion"] == "1.0" and event["source"] == "/portolan/ns1", event


def test_status_says_what_is_missing_and_events_arrive_when_it_is_there(dir):
    config = 'authorization { users = [ { user: portolan, password: right }, { user: operator, password: operator } ] }'
    with NatsServer(dir, config=config) as nats:
        (dir / "node").mkdir()
        (dir / "node" / "sink.creds").write_text("portolan wrong\n")
        with start(dir, [nats.url], 'credentials = "sink.creds"') as node:
            turn(node, [0])
            wait_until(lambda: sink(node)["state"] == "retrying", BOUND)
            wait_until(lambda: "authorization" in sink(node)["last_error"]["why"].lower(), BOUND)
            assert "compare servers and credentials" in node.command("status").stdout
            # They are read again at each connection.
            (dir / "node" / "sink.creds").write_text("portolan right\n")
            wait_until(lambda: "no stream of JetStream has the subject" in sink(node)["last_error"]["why"], BOUND)
            assert "nats stream add" in node.command("status").stdout
            assert sink(node)["to"] == f"portolan.events on {nats.url}"
            stream = Stream(nats, "EVENTS", ["portolan.events"], max_msg_size=10_000)
            stream.user = "operator"
            stream.make()
            wait_until(lambda: sink(node)["state"] == "ok" and sink(node)["behind"] == 0, BOUND)
            assert node.metric("portolan_sink_up", sink="bus") == 1
            # The change of the credentials is an event too: they are files that a reload reads.
            wait_until(lambda: len(stream.events()) == len(local_ids(node)) >= ENDPOINTS - 1, BOUND, 0.1)
            check_order(stream.events())


def test_what_the_stream_refuses_for_good_holds_up_nothing_else(dir):
    with NatsServer(dir) as nats, Stream(nats, "EVENTS", ["portolan.events"], max_msg_size=600) as stream:
        with start(dir, [nats.url], "tries = 2") as node:
            long = ["drain", "e1", "--why", "a long reason, " + "x" * 240, "--yes"]
            done = node.command(*long, env={"PORTOLAN_TOKEN": ALICE})
            assert done.returncode == 0, done
            turn(node, [2, 3])
            wait_until(lambda: sink(node)["dead_letters"] == 1 and sink(node)["behind"] == 0, BOUND)
            [dead] = sink(node)["last_dead_letters"]
            assert dead["id"] == "ns1/1" and "maximum" in dead["why"], dead
            assert "max_msg_size" in sink(node)["last_error"]["hint"], sink(node)
        # The override of e1 itself counts there, so the other turns are about all others.
        assert len(stream.events()) == 2 * (ENDPOINTS - 2)


def test_in_a_fleet_the_sink_has_the_connection_of_the_fleet(dir):
    rights = (
        'publish = ["portolan.>", "$JS.API.>", "$KV.>"], subscribe = ["portolan.>", "$KV.>", "_INBOX.portolan.prod.ns1.>"]'
    )
    config = (
        'authorization { users = [ { user: ns1, password: pw, permissions: { %s } }, { user: operator, password: operator } ] }'
        % rights
    )
    with NatsServer(dir, config=config) as nats:
        stream = Stream(nats, "BUS", ["bus.events"])
        stream.user = "operator"
        fleet = f'\n[fleet]\nnats = ["nats://ns1:pw@127.0.0.1:{nats.port}"]\ncluster = "prod"\n'
        with start(dir, None, fleet=fleet, more="") as node:
            turn(node, [0])
            wait_until(lambda: sink(node)["state"] == "retrying", BOUND)
            # Every subject that begins with `portolan.` may be the fleet's own. This one is none of its stream.
            stream.subjects = ["portolan.events"]
            stream.make()
            wait_until(lambda: sink(node)["behind"] == 0 and sink(node)["state"] == "ok", BOUND)
            assert len(stream.events()) == len(local_ids(node)) >= ENDPOINTS - 1
            assert "pw" not in node.command("status").stdout.split(), "no password is shown"
