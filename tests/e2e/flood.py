"""Many queries, as fast as they are answered, and a count of the answers."""
import collections
import contextlib
import select
import socket
import struct
import time

import dns.message
import dns.rdatatype

HEADER = 12
SOCKETS = 8
UNDER_WAY = 24


def flood(server, name, count, place=None, seconds=120):
    """Queries `name` A `count` times without EDNS; returns a Counter of the addresses (of replies with one record)."""
    question = dns.message.make_query(name, "A")
    question.flags = 0
    wire = bytearray(question.to_wire())
    with place.inside() if place else contextlib.nullcontext():
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOCKETS)]
    try:
        for s in sockets:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.connect(server)
            s.setblocking(False)
        return exchange(sockets, wire, count, time.monotonic() + seconds)
    finally:
        for s in sockets:
            s.close()


def exchange(sockets, wire, count, deadline):
    answered, sent, got, open_on = collections.Counter(), 0, 0, dict.fromkeys(sockets, 0)
    while got < count:
        for s in sockets:
            while sent < count and open_on[s] < UNDER_WAY:
                wire[0:2] = struct.pack("!H", sent & 0xFFFF)
                s.send(wire)
                sent += 1
                open_on[s] += 1
        for s in select.select(sockets, [], [], 1.0)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    answered[address_in(s.recv(2048), len(wire))] += 1
                    got += 1
                    open_on[s] -= 1
        assert time.monotonic() < deadline, f"{got} replies to {sent} questions, {count} wanted"
    return answered


def address_in(reply, question_len):
    """The address of the one A record that follows the question."""
    flags, questions, records = struct.unpack("!HHH", reply[2:8])
    assert flags & 0x8000 and flags & 0xF == 0 and (questions, records) == (1, 1), reply[:HEADER].hex()
    owner, rtype, _, _, length = struct.unpack("!HHHIH", reply[question_len : question_len + 12])
    assert (owner, rtype, length) == (0xC00C, dns.rdatatype.A, 4), reply.hex()
    return socket.inet_ntoa(reply[question_len + 12 : question_len + 16])
