"""An ordinary client of an attacked server, in a process of its own: it sends queries over UDP at a steady rate, and, ten times
a second, a query over a new TCP connection and a request for /healthz; where a test says so, also queries over TLS, HTTPS and
QUIC, each over a new connection. It records how long each took.

Its process has a high priority where that is allowed, so that the load of the attackers on the same processors counts as
little as possible. What the machine delays is recorded as `late`: how late a thread with the priority of the server wakes up."""
import json
import os
import random
import signal
import socket
import ssl
import statistics
import struct
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

import octets
import packets
from clients import trusting
from limits import Noise
from octets import framed, request
from processes import Child

LOST_AFTER = 10.0
# The share of the exchanges that must be within a limit. The others are the noise of a busy machine; they have the hard limit.
SHARE = 0.9
HARD_SECONDS = 2.0
# Seconds between two exchanges. A client of QUIC takes a tenth of a second of processor time for each.
EVERY = {"quic": 0.5}
EVERY_OTHER = 0.1
# Seconds between two measurements of how late a thread wakes up.
EVERY_LATE = 0.01
# For this long an attacked server is observed.
LEAST_SECONDS = 3.0


class Bystander:
    """with Bystander(dir, node) as bystander: ...; seen = bystander.finish()"""

    def __init__(self, dir, node, name="www.svc.example.", per_second=100, over=("udp", "tcp", "healthz")):
        encrypted = {transport: all[0] for transport, all in node.encrypted.items()}
        spec = dict(dns=node.udp, http=node.http, encrypted=encrypted, name=name, per_second=per_second, over=over)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, f"bystander-{random.randrange(1 << 32):x}")

    def __enter__(self):
        self.child.wait_line("^ready", 20)
        self.began, self.noise = time.monotonic(), Noise()
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{"udp": Seen, "tcp": Seen, "healthz": Seen}, of some seconds at least."""
        time.sleep(max(0.0, self.began + LEAST_SECONDS - time.monotonic()))
        seen, noise = self.child.result(), self.noise.factor()
        return {over: Seen(over, **exchanges, noise=noise) for over, exchanges in seen.items()}


class Seen:
    """Exchanges of one kind: the seconds of each that was answered, and how many were not; how late a thread woke up each
    time; and the factor for the limits that others on the machine make necessary."""

    def __init__(self, over, took, lost, late, why=(), noise=1.0):
        self.over, self.took, self.lost, self.late, self.why, self.noise = over, sorted(took), lost, sorted(late), why, noise

    def __str__(self):
        if not self.took:
            return f"{self.over}: {self.lost} lost of {self.lost} {self.why[:3]}"
        return (
            f"{self.over}: {len(self.took)} answered, {self.lost} lost, median {1000 * statistics.median(self.took):.1f} ms, "
            f"90 % {1000 * self.at(SHARE):.1f} ms, 95 % {1000 * self.at(0.95):.1f} ms, most {1000 * self.took[-1]:.1f} ms; noise {self.noise:.1f}, "
            f"late by {1000 * at(self.late, SHARE):.1f} ms (90 %), {1000 * max(self.late):.1f} ms {self.why[:2]}"
        )

    def at(self, share):
        """The least time that this share of the exchanges was within; those that were lost count as endless."""
        took = [*self.took, *[float("inf")] * self.lost]
        return at(took, share)

    def hold_to(self, seconds, figure, lost=0):
        """Checks that most were within `seconds`, and all within the hard limit, without the delay of the machine."""
        figure(str(self), 1000 * self.at(SHARE), "ms", bound=1000 * seconds)
        assert self.lost <= lost, self
        assert self.at(SHARE) <= self.noise * seconds + 2 * at(self.late, SHARE), self
        assert not self.took or self.took[-1] <= self.noise * HARD_SECONDS + 2 * max(self.late), self


def at(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


class Observer:
    """The main function of the process."""

    def __init__(self, dns, http, encrypted, name, per_second, over):
        self.dns, self.http, self.per_second, self.over = tuple(dns), tuple(http), per_second, over
        self.encrypted = {transport: tuple(at) for transport, at in encrypted.items()}
        self.query = packets.query(name, "A", packets.opt())
        self.stop = threading.Event()
        late = []
        self.seen = {each: dict(took=[], lost=0, late=late, why=[]) for each in over}
        self.late = late

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        threads = [threading.Thread(target=getattr(self, f"observe_{each}")) for each in [*self.over, "late"]]
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        for thread in threads:
            thread.join()
        print(json.dumps(self.seen), flush=True)

    def observe_late(self):
        if os.nice(0) < 0:  # in Linux each thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 0)
        while not self.stop.is_set():
            due = time.monotonic() + EVERY_LATE
            time.sleep(EVERY_LATE)
            self.late.append(time.monotonic() - due)

    def observe_udp(self):
        seen = self.seen["udp"]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        udp.connect(self.dns)
        due, number, open_on = time.monotonic(), 0, {}
        while not self.stop.is_set() or open_on:
            now = time.monotonic()
            if not self.stop.is_set() and now >= due:
                number = (number + 1) & 0xFFFF
                open_on[number] = now
                udp.send(struct.pack("!H", number) + self.query[2:])
                due = max(due + 1 / self.per_second, now - 0.05)
            for old in [n for n, sent in open_on.items() if now - sent > LOST_AFTER]:
                del open_on[old]
                seen["lost"] += 1
            udp.settimeout(max(0.0005, due - time.monotonic()) if not self.stop.is_set() else 0.05)
            try:
                reply = udp.recv(4096)
            except (TimeoutError, ConnectionRefusedError):
                continue
            sent = open_on.pop(struct.unpack("!H", reply[:2])[0], None)
            if sent is not None and reply[3] & 15 == 0:
                seen["took"].append(time.monotonic() - sent)

    def observe_tcp(self):
        sent = framed(self.query)

        def exchange():
            with socket.create_connection(self.dns, timeout=LOST_AFTER) as tcp:
                tcp.sendall(sent)
                reply = packets.read_message(tcp)
                assert reply and reply[:2] == self.query[:2] and reply[3] & 15 == 0, reply

        self.observe("tcp", exchange)

    def observe_healthz(self):
        def exchange():
            with socket.create_connection(self.http, timeout=LOST_AFTER) as tcp:
                tcp.sendall(request("GET", "/healthz", f"127.0.0.1:{self.http[1]}", connection="close"))
                assert tcp.recv(4096).startswith(b"HTTP/1.1 200"), "not 200"

        self.observe("healthz", exchange)

    def connect_tls(self, transport, alpn):
        return trusting(alpn).wrap_socket(socket.create_connection(self.encrypted[transport], timeout=LOST_AFTER), server_hostname="ns1.example")

    def observe_tls(self):
        def exchange():
            with self.connect_tls("tls", "dot") as tls:
                tls.sendall(framed(self.query))
                reply = packets.read_message(tls)
                assert reply and reply[:2] == self.query[:2], reply

        self.observe("tls", exchange)

    def observe_https(self):
        def exchange():
            with self.connect_tls("https", "h2") as tls:
                tls.sendall(octets.PREFACE + octets.settings() + octets.get(1, self.query))
                got = b""
                while self.query[12:-15] not in got:  # the question is in the reply
                    more = tls.recv(4096)
                    assert more, "closed"
                    got += more

        self.observe("https", exchange)

    def observe_quic(self):
        import asyncio
        from aioquic.asyncio.client import connect
        from aioquic.quic.configuration import QuicConfiguration

        async def once():
            how = QuicConfiguration(is_client=True, alpn_protocols=["doq"], verify_mode=ssl.CERT_NONE, server_name="ns1.example")
            host, port = self.encrypted["quic"]
            async with connect(host, port, configuration=how) as client:
                reader, writer = await client.create_stream()
                writer.write(framed(b"\0\0" + self.query[2:]))
                writer.write_eof()
                got = await reader.readexactly(14)
                assert got[2:4] == b"\0\0", got

        def exchange():
            try:
                asyncio.run(asyncio.wait_for(once(), LOST_AFTER))
            except asyncio.IncompleteReadError as gone:
                raise ConnectionError(str(gone)) from gone

        self.observe("quic", exchange)

    def observe(self, over, exchange):
        seen, due, every = self.seen[over], time.monotonic(), EVERY.get(over, EVERY_OTHER)
        while not self.stop.is_set():
            due += every
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            try:
                exchange()
                seen["took"].append(time.monotonic() - began)
            except (OSError, AssertionError) as gone:
                seen["lost"] += 1
                seen["why"].append(repr(gone)[:100])
            due = max(due, time.monotonic() - every)


if __name__ == "__main__":
    try:
        os.nice(-10)
    except PermissionError:
        pass
    Observer(**json.loads(sys.argv[1])).run()
