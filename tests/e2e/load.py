"""A client in its own process that sends a bounded load of queries by UDP and TCP, and counts which had no answer.

Over UDP it waits for answers when 1,000 are outstanding, so that a busy machine makes it slower and loses nothing. Over TCP
each query has a connection of its own, as those of a resolver have after a truncated answer.
"""
import json
import selectors
import signal
import socket
import struct
import sys
import threading
import time

import dns.flags
import dns.message

from processes import Child

LOST_AFTER = 4.0
OUTSTANDING = 1000
# Each has a port of its own, so that the kernel spreads them over the sockets of the server; they change every second.
SOCKETS = 8


class Load:
    """with Load(dir, node.udp, "www.svc.example.", udp=5000, tcp=200) as load: ...; load.finish()"""

    def __init__(self, dir, server, name, udp, tcp, tag="load"):
        spec = dict(server=server, name=name, udp=udp, tcp=tcp)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, tag)

    def __enter__(self):
        self.child.wait_line("^begun$", 20)
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{"udp": sent, "tcp": sent, "lost": [...], "slowest": seconds} of all queries."""
        return self.child.result(bound=60)


class Client:
    def __init__(self, server, name, udp, tcp):
        self.server, self.rates = tuple(server), (udp, tcp)
        query = dns.message.make_query(name, "A")
        query.flags &= ~dns.flags.RD
        self.wire = query.to_wire()
        self.going, self.lost, self.slowest = True, [], 0.0
        self.sent = {"udp": 0, "tcp": 0}
        self.lock = threading.Lock()

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "going", False))
        _, tcp = self.rates
        threads = [threading.Thread(target=self.over_tcp, args=(4 / tcp,)) for _ in range(4 if tcp else 0)]
        for thread in threads:
            thread.start()
        print("begun", flush=True)
        self.over_udp(1 / self.rates[0])
        for thread in threads:
            thread.join()
        print(json.dumps(dict(self.sent, lost=self.lost[:20], count=len(self.lost), slowest=self.slowest)), flush=True)

    def lose(self, *what):
        with self.lock:
            self.lost.append(what)

    def over_tcp(self, step):
        due = time.monotonic()
        framed = struct.pack("!H", len(self.wire)) + self.wire
        while self.going:
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + step, time.monotonic() - 0.1)
            began = time.monotonic()
            try:
                with socket.create_connection(self.server, timeout=LOST_AFTER) as stream:
                    stream.sendall(framed)
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    head = self.read(stream, 2)
                    self.read(stream, struct.unpack("!H", head)[0])
            except OSError as error:
                self.lose("tcp", time.time(), repr(error))
            with self.lock:
                self.sent["tcp"] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)

    def read(self, stream, length):
        octets = b""
        while len(octets) < length:
            more = stream.recv(length - len(octets))
            if not more:
                raise OSError("closed without an answer")
            octets += more
        return octets

    def over_udp(self, step):
        waiting = selectors.DefaultSelector()
        sockets, opened = [], 0.0
        open_queries, number, due = {}, 0, time.monotonic()
        while self.going or open_queries:
            now = time.monotonic()
            if self.going and now > opened + 1:
                # The old ones stay registered: their answers may come late. Eight a second, for a test of a minute at most.
                sockets, opened = [self.socket(waiting) for _ in range(SOCKETS)], now
            while self.going and due <= now and len(open_queries) < OUTSTANDING:
                number = (number + 1) % 65536
                one = sockets[number % SOCKETS]
                open_queries[number] = now
                one.send(struct.pack("!H", number) + self.wire[2:])
                self.sent["udp"] += 1
                due += step
            due = max(due, now - 0.1)
            for key, _ in waiting.select(0.001):
                self.receive(key.fileobj, open_queries)
            if open_queries:
                first = next(iter(open_queries))
                if now - open_queries[first] > LOST_AFTER:
                    del open_queries[first]
                    self.lose("udp", time.time() - LOST_AFTER, first)

    def socket(self, waiting):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        one.setblocking(False)
        one.connect(self.server)
        waiting.register(one, selectors.EVENT_READ)
        return one

    def receive(self, one, open_queries):
        for _ in range(64):
            try:
                reply = one.recv(2048)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            sent = open_queries.pop(struct.unpack("!H", reply[:2])[0], None)
            if sent is not None:
                if reply[3] & 15 or not reply[7]:
                    self.lose("udp", time.time(), "no answer in the reply")
                self.slowest = max(self.slowest, time.monotonic() - sent)


if __name__ == "__main__":
    Client(**json.loads(sys.argv[1])).run()
