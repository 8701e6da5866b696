"""A client in its own process that sends the same query at a steady rate and records every reply.

The time of a reply is that of the kernel, so that a late wake-up of this process doesn't count against the server. The
delay of each query is recorded too. It shows how much the machine itself delayed all processes. A test adds it to a limit.
"""
import json
import random
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from processes import Child, wait_until

SO_TIMESTAMPNS = 35
LOST_AFTER = 3.0


@dataclass
class Reply:
    """One query: when it was due (Unix time), how late it was sent, and when the reply arrived (None: never)."""

    due: float
    late: float
    got: float | None
    rcode: str | None = None
    answers: list = field(default_factory=list)
    ttl: int | None = None
    ede: list = field(default_factory=list)


class Steady:
    """with Steady(dir, node.udp, "www.svc.example.", "A") as client: ... client.replies()"""

    def __init__(self, dir, server, name, rdtype="A", per_second=50, source=None, subnet=None, edns=True, rd=False, place=None, tag="steady"):
        spec = dict(server=server, name=name, rdtype=rdtype, per_second=per_second, source=source, subnet=subnet, edns=edns, rd=rd)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, tag, place=place)

    def __enter__(self):
        wait_until(self.replies, 20)
        return self

    def __exit__(self, *_):
        self.child.end()

    def replies(self):
        """All replies so far, the oldest query first."""
        found = [Reply(**json.loads(line)) for line in self.child.out()]
        if not found and not self.child.is_running():
            raise AssertionError(self.child.output())
        return sorted(found, key=lambda reply: reply.due)

    def finish(self):
        """Sends no more queries, waits for outstanding replies, and returns all replies."""
        self.child.end()
        return self.replies()

    def wait_for(self, wanted, bound, since=0.0):
        """The first reply after the Unix time `since` for which `wanted` is true."""
        return wait_until(lambda: next((r for r in self.replies() if r.due >= since and wanted(r)), None), bound, step=0.05)


def last_naming(replies, rdata, since):
    """Seconds from `since` to the last reply with `rdata`, 0 if there is none."""
    return max((r.got - since for r in replies if r.got and r.got > since and rdata in r.answers), default=0.0)


def first_naming(replies, rdata, since):
    """Seconds from `since` to the first reply with `rdata`."""
    return min((r.got - since for r in replies if r.got and r.got > since and rdata in r.answers), default=None)


def unanswered(replies):
    """Queries without a reply, with another rcode than NOERROR, or without an answer."""
    return [r for r in replies if r.got is None or r.rcode != "NOERROR" or not r.answers]


def stall(replies, since, until):
    """The longest delay, in seconds, of a process that was ready to run, between two Unix times."""
    return max((r.late for r in replies if since - 0.1 <= r.due <= until + 0.1), default=0.0)


class Asker:
    """The main function of the process."""

    def __init__(self, server, name, rdtype, per_second, source, subnet, edns, rd):
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(tuple(server))
        options = [dns.edns.ECSOption.from_text(subnet)] if subnet else []
        ask = dns.message.make_query(name, rdtype, use_edns=0 if edns or subnet else False, options=options)
        ask.flags = dns.flags.RD if rd else 0
        self.wire = bytearray(ask.to_wire())
        self.step = 1.0 / per_second
        self.open = {}
        self.going = True

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "going", False))
        due = time.time()
        while self.going or self.open:
            now = time.time()
            if self.going and now >= due:
                self.ask(due, now)
                due += self.step
            self.give_up(now)
            wait = max(0.0, due - time.time()) if self.going else 0.05
            if select.select([self.socket], [], [], wait)[0]:
                self.read()

    def ask(self, due, now):
        number = random.randrange(65536)
        while number in self.open:
            number = random.randrange(65536)
        self.wire[0:2] = struct.pack("!H", number)
        self.open[number] = (due, now - due)
        try:
            self.socket.send(self.wire)
        except ConnectionRefusedError:
            pass

    def read(self):
        try:
            packet, control, _, _ = self.socket.recvmsg(4096, 256)
        except ConnectionRefusedError:
            return
        stamps = [data for level, kind, data in control if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS]
        seconds, nanoseconds = struct.unpack("qq", stamps[0])
        reply = dns.message.from_wire(packet)
        if reply.id not in self.open:
            return
        due, late = self.open.pop(reply.id)
        records = [rdata for rrset in reply.answer for rdata in rrset]
        self.write(
            due=due,
            late=late,
            got=seconds + nanoseconds / 1e9,
            rcode=dns.rcode.to_text(reply.rcode()),
            answers=[rdata.to_text() for rdata in records],
            ttl=reply.answer[0].ttl if reply.answer else None,
            ede=[int(o.code) for o in reply.options if o.otype == dns.edns.OptionType.EDE],
        )

    def give_up(self, now):
        for number in [n for n, (due, _) in self.open.items() if now - due > LOST_AFTER]:
            due, late = self.open.pop(number)
            self.write(due=due, late=late, got=None)

    def write(self, **reply):
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    Asker(**json.loads(sys.argv[1])).run()
