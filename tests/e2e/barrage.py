"""A client in its own process that queries one name at a steady rate, and checks every reply at once: all records of one
reply must be of the same generation. At the end it prints the counts as one line of JSON."""
import json
import select
import signal
import socket
import struct
import sys
import time

import dns.flags
import dns.message

from processes import Child

LOST_AFTER = 3.0
# More outstanding queries than this would only fill the socket of this process while it is slow.
UNDER_WAY = 256


class Barrage:
    """with Barrage(dir, node.udp, "www.svc.example.", per_second=5000) as client: ...; client.finish()"""

    def __init__(self, dir, server, name, per_second):
        spec = dict(server=server, name=name, per_second=per_second)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, "barrage")

    def __enter__(self):
        self.child.wait_line("^asking$", 20)
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{"sent", "lost", "failed", "mixed", "generations", "seconds"}"""
        return self.child.result()


def generation_of(reply, question_len):
    """The generation of a reply's records: the last but one octet of each address, and each TTL minus one. None if they
    differ."""
    count = struct.unpack("!H", reply[6:8])[0]
    seen, at = set(), question_len
    for _ in range(count):
        owner, rtype, _, ttl, length = struct.unpack("!HHHIH", reply[at : at + 12])
        if (owner, rtype, length) != (0xC00C, 1, 4):
            return None
        seen |= {reply[at + 14], ttl - 1}
        at += 12 + length
    return seen.pop() if len(seen) == 1 and count == 2 else None


class Asker:
    """The main function of the process."""

    def __init__(self, server, name, per_second):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.connect(tuple(server))
        self.socket.setblocking(False)
        question = dns.message.make_query(name, "A", use_edns=False)
        question.flags &= ~dns.flags.RD
        self.wire = bytearray(question.to_wire())
        self.step = 1.0 / per_second
        self.open, self.going = {}, True
        self.sent = self.lost = self.failed = self.mixed = 0
        self.generations = set()

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "going", False))
        print("asking", flush=True)
        begun = due = time.monotonic()
        ended = None
        while self.going or self.open:
            now = time.monotonic()
            if not self.going:
                ended = ended or now
            while self.going and now >= due and len(self.open) < UNDER_WAY:
                self.ask(now)
                # Queries that are late are left out, so that the rate stays as it was.
                due = max(due + self.step, now - 0.05)
            if self.open and now - next(iter(self.open.values())) > LOST_AFTER:
                del self.open[next(iter(self.open))]
                self.lost += 1
            wait = max(0.0, due - time.monotonic()) if self.going and len(self.open) < UNDER_WAY else 0.05
            if select.select([self.socket], [], [], wait)[0]:
                self.read()
        seen = dict(sent=self.sent, lost=self.lost, failed=self.failed, mixed=self.mixed)
        print(json.dumps(dict(**seen, generations=sorted(self.generations), seconds=(ended or time.monotonic()) - begun)), flush=True)

    def ask(self, now):
        number = self.sent & 0xFFFF
        self.sent += 1
        self.wire[0:2] = struct.pack("!H", number)
        self.open[number] = now
        self.socket.send(self.wire)

    def read(self):
        try:
            while True:
                reply = self.socket.recv(2048)
                if self.open.pop(struct.unpack("!H", reply[:2])[0], None) is None:
                    continue
                if reply[3] & 0x0F:
                    self.failed += 1
                    continue
                generation = generation_of(reply, len(self.wire))
                if generation is None:
                    self.mixed += 1
                else:
                    self.generations.add(generation)
        except BlockingIOError:
            pass


if __name__ == "__main__":
    Asker(**json.loads(sys.argv[1])).run()
