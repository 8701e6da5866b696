"""The events of a fleet whose three NATS servers lose their quorum and get it back: none is lost, and each comes once."""
import json
import signal

from fleet import settings
from nats import NatsCluster, NatsClient
from processes import wait_until
from test_events import STREAM, events, follow, followed, ids, numbered, report, start, stored, toggle, wait_ids, wait_written


def stream_of(server):
    """The answer of a NATS server about the stream; None without one."""
    with NatsClient(server) as client:
        client.subscribe("_INBOX.test.info")
        client.publish(f"$JS.API.STREAM.INFO.{STREAM}", b"", "_INBOX.test.info")
        try:
            return json.loads(client.wait_message("_INBOX.test.info", 1)[1])
        except (TimeoutError, ValueError):
            return None


def copies(server):
    """The copies of the stream that its leader does not have itself."""
    return ((stream_of(server) or {}).get("cluster") or {}).get("replicas") or []


def test_events_that_came_without_a_quorum_are_in_the_stream_once_after_it(dir):
    with NatsCluster(dir) as nats:
        one, *others = nats.servers
        # Both servers begin at the NATS server that stays.
        server = lambda name: start(dir, settings(nats.urls, name, "eu-west"), name)
        with server("ns1") as ns1, server("ns2") as ns2:
            toggle(ns1, 2)
            wait_written(ns1, 2)
            wait_ids(ns2, numbered(1, 2), "--fleet")
            # All copies have it: NATS may not recover soon from the loss of servers in the middle of making them.
            wait_until(lambda: [copy["current"] for copy in copies(one)] == [True, True], 60, 0.1)
            children = [follow(node, dir, f"follow-{at}", "--fleet", "--since", "ns1/1") for at, node in enumerate((ns1, ns2))]
            wait_until(lambda: all(followed(child) == ["ns1/2"] for child in children), 60, 0.05)
            for other in others:
                other.kill()
            toggle(ns1, 3)
            wait_until(lambda: report(ns1)["waiting"] == 3 and report(ns1)["state"] == "away", 60, 0.05)
            # The log of the server has them; what was read of the fleet before is there too, with a note about the rest.
            wait_ids(ns1, numbered(1, 5))
            wait_until(lambda: "the newest events may be missing" in ns2.command("events", "--fleet").stderr, 60, 0.1)
            assert ids(events(ns2, "--fleet")) == numbered(1, 2)
            assert all(followed(child) == ["ns1/2"] for child in children)
            for other in others:
                other.start()
            wait_written(ns1, 5)
            toggle(ns1, 1)
            wait_written(ns1, 6)
            for node in (ns1, ns2):
                wait_until(lambda: ids(events(node, "--fleet")) == numbered(1, 6), 60, 0.1)
            wait_until(lambda: all(followed(child) == numbered(2, 6) for child in children), 60, 0.05)
            assert stored(one) == numbered(1, 6)
            assert {"node": "ns1", "last": 6, "missing": 0} in report(ns2)["nodes"]
            assert (report(ns1)["lost"], report(ns2)["lost"]) == (0, 0)
            for child in children:
                child.process.send_signal(signal.SIGINT)
                assert child.process.wait(30) == 0, child.err()
