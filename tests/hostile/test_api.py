"""The API under load: calls that cost most, again and again; event streams; wrong tokens; reloads during a failover."""
import socket
import time

import pytest

from attack import Attack
from besieged import OPERATOR, assert_alive, besieged, hold_failover
from bystander import Bystander
from octets import request
from test_streams import hold

# As many endpoints as make the calls expensive.
MANY = 10_000
SIMULATION = '{"lose": ["e0"]}'
CALLS = {
    "metrics": dict(path="/metrics"),
    "status": dict(path="/v1/status"),
    "names": dict(path="/v1/names"),
    "explain": dict(path="/v1/explain?name=many0.svc.example&type=A"),
    "simulate": dict(path="/v1/simulate", method="POST", body=SIMULATION, headers={"content_type": "application/json"}),
}


@pytest.mark.parametrize("call", CALLS)
def test_expensive_calls_in_a_loop(dir, figure, call):
    """Sixteen clients repeat a call with 10,000 endpoints: nobody else waits, and a dead endpoint is out in time."""
    with besieged(dir, count=MANY, bound=60) as (node, herd):
        with Attack(dir, "loop", node.http, count=16, sources=16, **CALLS[call]) as attack, Bystander(dir, node) as bystander:
            hold_failover(figure, node, herd, dir)
            hold_failover(figure, node, herd, dir, nth=1)
            seen = bystander.finish()
            counts = attack.finish()
        print(counts)
        assert_alive(node)
        assert counts["turns"] > 0, counts
        hold(seen, figure)


def test_wrong_tokens(dir, figure):
    """Sixteen clients try tokens."""
    attack = dict(path="/v1/overrides/e0", method="PUT", body='{"state": "drain"}', headers={"authorization": "Bearer " + "w" * 32})
    with besieged(dir) as (node, herd):
        with Attack(dir, "loop", node.http, count=16, sources=1, **attack) as attack, Bystander(dir, node) as bystander:
            hold_failover(figure, node, herd, dir)
            seen = bystander.finish()
            counts = attack.finish()
        print(counts)
        assert_alive(node)
        assert counts["turns"] > 0, counts
        assert not {"200", "204"} & set(counts), counts
        hold(seen, figure)


def test_reloads_during_a_failover(dir, figure):
    """Reloads of 10,000 endpoints, one after the other, delay no failover and no answer."""
    attack = dict(path="/v1/reload", method="POST", headers={"authorization": f"Bearer {OPERATOR}"})
    with besieged(dir, count=MANY, bound=60) as (node, herd):
        with Attack(dir, "loop", node.http, count=4, sources=4, **attack) as attack, Bystander(dir, node) as bystander:
            for nth in range(3):
                hold_failover(figure, node, herd, dir, nth)
            seen = bystander.finish()
            counts = attack.finish()
        print(counts)
        assert_alive(node)
        hold(seen, figure)


def subscribe(node, source):
    """Opens an event stream from an address; returns the head of the response."""
    with socket.create_connection(node.http, timeout=5, source_address=(source, 0)) as tcp:
        tcp.sendall(request("GET", "/v1/events", f"127.0.0.1:{node.http[1]}", accept="text/event-stream"))
        return tcp.recv(4096)


@pytest.mark.parametrize("kind", ["events", "events_deaf"])
def test_event_streams_of_one_client(dir, figure, kind):
    """300 event streams of one address: another client gets one, and everything else goes on."""
    with besieged(dir) as (node, herd):
        with Attack(dir, kind, node.http, count=300), Bystander(dir, node) as bystander:
            time.sleep(1)
            heads = [subscribe(node, f"127.0.9.{n}") for n in range(1, 6)]
            hold_failover(figure, node, herd, dir)
            seen = bystander.finish()
        assert_alive(node)
        assert all(head.startswith(b"HTTP/1.1 200") for head in heads), heads
        hold(seen, figure)


SLOW = {
    "head": "GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nx: y\r\n",
    "body": "POST /v1/simulate HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("part", SLOW)
def test_slow_requests(dir, figure, part):
    """400 requests that come an octet at a time."""
    with besieged(dir) as (node, herd):
        with Attack(dir, "drip", node.http, count=400, text=SLOW[part]), Bystander(dir, node) as bystander:
            hold_failover(figure, node, herd, dir)
            seen = bystander.finish()
        assert_alive(node)
        hold(seen, figure)
