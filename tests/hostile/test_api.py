"""The API under load: calls that cost most, again and again; event streams; wrong tokens; reloads during a failover."""
import socket
import time

import pytest

from attack import Attack
from besieged import OPERATOR, assert_alive, besieged, hold_failover
from bystander import Bystander
from loops import Loops
from octets import request
from processes import resident_octets
from test_streams import hold

# As many endpoints as make the calls expensive.
MANY = 10_000
# 16 MiB of responses that wait, 256 connections of up to 128 KiB, and the texts that are being made, in MiB.
GROWTH = 96
SIMULATION = '{"lose": ["e0"]}'
CALLS = {
    "metrics": "GET /metrics",
    "status": "GET /v1/status",
    "names": "GET /v1/names",
    "explain": "GET /v1/explain?name=many0.svc.example&type=A",
    "simulate": "POST /v1/simulate",
}
NICE = 10


# Three tests run at a time on two cores, and what another one of them costs must not count: a server that makes others wait
# does so in each of these rounds.
ROUNDS = 3


@pytest.mark.parametrize("call", CALLS)
def test_expensive_calls_in_a_loop(dir, figure, call):
    """Sixteen clients repeat a call with 10,000 endpoints: nobody else waits, and a dead endpoint is out in time."""
    with besieged(dir, count=MANY, bound=60) as (node, herd):
        for number in range(ROUNDS):
            with loops(dir, node, CALLS[call], 16, sources=16, body=SIMULATION) as attack, Bystander(dir, node) as bystander:
                hold_failover(figure, node, herd, dir, nth=2 * number)
                hold_failover(figure, node, herd, dir, nth=2 * number + 1)
                seen = bystander.finish()
                statuses = attack.finish()["statuses"]
            print(statuses)
            assert_alive(node)
            assert statuses.get("200", 0) > 0, statuses
            try:
                return hold(seen, figure)
            except AssertionError:
                if number + 1 == ROUNDS:
                    raise


def loops(dir, node, call, count, **how):
    return Loops(dir, node.http, {call: count}, nice=NICE, keep=True, **how)


def test_wrong_tokens(dir, figure):
    """Sixteen clients try tokens."""
    wrong = dict(body='{"state": "drain"}', headers={"Authorization": "Bearer " + "w" * 32})
    with besieged(dir) as (node, herd):
        with loops(dir, node, "PUT /v1/overrides/e0", 16, **wrong) as attack, Bystander(dir, node) as bystander:
            hold_failover(figure, node, herd, dir)
            seen = bystander.finish()
            statuses = attack.finish()["statuses"]
        print(statuses)
        assert_alive(node)
        assert statuses.get("401", 0) > 0 and not {"200", "204"} & set(statuses), statuses
        hold(seen, figure)


def test_reloads_during_a_failover(dir, figure):
    """Reloads of 10,000 endpoints, one after the other, delay no failover and no answer."""
    with besieged(dir, count=MANY, bound=60) as (node, herd):
        token = {"Authorization": f"Bearer {OPERATOR}"}
        with loops(dir, node, "POST /v1/reload", 4, sources=4, headers=token) as attack, Bystander(dir, node) as bystander:
            for nth in range(3):
                hold_failover(figure, node, herd, dir, nth)
            seen = bystander.finish()
            statuses = attack.finish()["statuses"]
        print(statuses)
        assert_alive(node)
        assert statuses.get("200", 0) > 0, statuses
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


def test_thousands_of_idle_streams_and_slow_readers(dir, figure):
    """2,000 clients that follow the events, and 1,000 that read long responses slowly or not at all."""
    kinds = {"events": 2000, "events_deaf": 200, "api_slow": 400, "api_deaf": 400}
    with besieged(dir, count=MANY, bound=60) as (node, herd):
        node.get("/metrics")
        before = resident_octets(node.child.pid)
        with Attack(dir, kinds, node.http), Bystander(dir, node) as bystander:
            hold_failover(figure, node, herd, dir)
            seen = bystander.finish()
            grown = (resident_octets(node.child.pid) - before) >> 20
        assert_alive(node)
        figure("memory for 3,000 clients of the API", grown, "MiB", GROWTH)
        assert grown <= GROWTH
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
