"""200,000 hostile packets, garbage streams, and a thousand clients that keep connections open and send nothing. Valid
queries are answered correctly at the same time, and nothing is left: no panic, no fault, no memory."""
import collections
import contextlib
import random
import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import time
from pathlib import Path

import dns.rcode
import pytest

import packets
from hostile import Hostile
from matrix import FILES, MOST, SETTINGS
from packets import over_tcp, over_udp, query, question_of
from portolan import Node, answers
from processes import wait_until

PACKETS = 200_000
WARM_UP = 20_000
# As many as fit into the usual receive buffer of 208 KiB; a packet with its overhead takes 1.3 to 2.3 KiB.
BURST = 80
STREAMS = 3_000
# Buffers of streams reach their size later than those of packets: after about 4,500 the memory is constant.
STREAMS_WARM_UP = 4_500
# How much the memory may grow after the warm-up: some pages of counters, and of an arena. A leak of 2 octets for each
# packet would be noticed.
MOST_GROWTH_KIB = 384
# Streams are tasks on several threads, and each thread has its own arena. Which arena grows last is chance. A leak of 350
# octets for each stream would still be noticed.
MOST_STREAM_GROWTH_KIB = 1024

CONTROLS = [
    ("a.svc.example.", "A", "NOERROR", ["203.0.113.9"]),
    ("www.svc.example.", "A", "NOERROR", ["192.0.2.2"]),
    ("www.svc.example.", "AAAA", "NOERROR", ["2001:db8:f::2"]),
    ("x.wild.svc.example.", "A", "NOERROR", ["203.0.113.8"]),
    ("alias.svc.example.", "A", "NOERROR", ["203.0.113.9", "a.svc.example."]),
    ("gone.svc.example.", "A", "NXDOMAIN", []),
    ("a.static.example.", "TXT", "NOERROR", ['"text"']),
    ("a.elsewhere.", "A", "REFUSED", []),
]
CONTROL_ID = 0xFFFE


def control(turn):
    """A query with a known answer, as octets, and the check of its reply."""
    qname, rdtype, rcode, wanted = CONTROLS[turn % len(CONTROLS)]
    control_query = query(qname, rdtype, *([packets.opt()] if turn % 3 else []), id=CONTROL_ID)

    def check(wire):
        reply = packets.parse(wire)
        assert dns.rcode.to_text(reply.rcode()) == rcode and answers(reply) == wanted, f"{qname} {rdtype}: {reply}"

    return control_query, check


def memory_kib(pid):
    """What the process has allocated. Pages of the program itself are not counted: which of them were used is chance."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


class Attacker:
    """One port: sends hostile packets, reads the replies, and sends a control query after each burst. Packets of one port are
    answered in order, so the reply to the control query is the last one."""

    def __init__(self, server):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.udp.connect(server)
        self.udp.settimeout(10)
        self.turn = 0

    def burst(self, sent):
        control_query, check = control(self.turn)
        self.turn += 1
        # Each packet has its own id, so that a reply can be matched to it.
        sent = [struct.pack("!H", i)[: len(p)] + p[2:] for i, p in enumerate(sent)]
        for packet in [*sent, control_query]:
            self.udp.send(packet)
        waiting, count = collections.deque(sent), 0
        while (reply := self.udp.recv(65535))[:2] != control_query[:2]:
            self.judge(reply, waiting)
            count += 1
        check(reply)
        return len(sent), count

    def judge(self, reply, waiting):
        """Checks that a reply belongs to the next packet with its id, repeats what it must repeat, and can be parsed."""
        while waiting:
            packet = waiting.popleft()
            if packet[:2] != reply[:2] or len(packet) < 12:
                continue
            what = f"sent {packet.hex()}, got {reply.hex()}"
            assert not packet[2] & 0x80, f"a reply was replied to: {what}"
            assert reply[2] & 0x80 and reply[2] & 0x78 == packet[2] & 0x78 and len(reply) <= MOST, what
            questions, control_query = struct.unpack("!H", reply[4:6])[0], question_of(packet)
            assert questions == 0 or control_query is not None and reply[12 : 12 + len(control_query)] == control_query, f"another question: {what}"
            assert len(reply) <= 512 or b"\0\0\x29" in packet, f"too long: {what}"
            if self.turn % 16 == 0:
                packets.parse(readable(reply))
            return
        raise AssertionError(f"a reply to nothing: {reply.hex()}")


def readable(reply):
    """dnspython parses the records of an UPDATE by other rules, and no TSIG without its key. So a message with another opcode
    or with a TSIG is only checked without that part."""
    reply = reply[:2] + bytes([reply[2] & 0x87]) + reply[3:]
    if reply[3] & 15 == dns.rcode.NOTAUTH:
        return reply[:10] + b"\0\0" + reply[12 : 12 + len(question_of(reply) or b"")]
    return reply


def handled(node):
    """Messages that were answered or dropped, over UDP."""
    samples = node.metrics()
    return sum(v for (n, labels), v in samples.items() if n == "portolan_queries_total" and ("transport", "udp") in labels) + sum(
        v for (n, _), v in samples.items() if n == "portolan_dropped_total"
    )


def assert_unharmed(node):
    assert node.child.is_running(), node.child.output()
    assert "panic" not in node.child.err().lower(), node.child.output()
    assert node.metric("portolan_dropped_total", reason="fault") == 0


def test_hostile_packets(dir, figure):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    hostile = Hostile(random.Random(seed))
    with Node(dir, FILES, settings=SETTINGS) as node:
        # Several ports, so that every thread of the server gets packets.
        attackers = [Attacker(node.udp) for _ in range(8)]

        def attack(count):
            sent = replies = 0
            while sent < count:
                one = attackers[(sent // BURST) % len(attackers)]
                more, answered = one.burst([hostile.packet() for _ in range(BURST)])
                sent, replies = sent + more, replies + answered
            return sent, replies

        attack(WARM_UP)
        before, memory = handled(node), memory_kib(node.child.pid)
        turns = sum(a.turn for a in attackers)
        began = time.monotonic()
        sent, replies = attack(PACKETS)
        figure("hostile packets took", time.monotonic() - began, "s")
        grown = memory_kib(node.child.pid) - memory
        figure("memory grown", grown, "KiB", bound=MOST_GROWTH_KIB)
        assert sent >= PACKETS and replies > PACKETS / 4, f"{replies} replies to {sent}"
        assert grown <= MOST_GROWTH_KIB
        controls = sum(a.turn for a in attackers) - turns
        wait_until(lambda: handled(node) - before == sent + controls, 10)
        assert_unharmed(node)


def garbage_stream(chance, hostile):
    """What a malicious client sends before it closes."""
    packet = hostile.packet()
    framed = struct.pack("!H", len(packet)) + packet
    match chance.randrange(8):
        case 0:
            return chance.randbytes(chance.randrange(2000))
        case 1:
            return framed[: chance.randrange(len(framed) + 1)]
        case 2:
            return b"\0\0" * chance.randrange(1, 200)
        case 3:
            return b"\xff\xff" + chance.randbytes(chance.randrange(70_000))
        case 4:
            return framed * chance.randrange(1, 60)
        case 5:
            good = query("big.svc.example.", "TXT")
            return (struct.pack("!H", len(good)) + good) * chance.randrange(1, 60) + framed
        case 6:
            return b""
        case _:
            return framed


def throw(server, data, chance):
    """Sends it and closes: normally, with a reset, or after reading a little."""
    with socket.create_connection(server, timeout=5) as tcp:
        if chance.random() < 0.5:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            tcp.settimeout(0.05)
            tcp.sendall(data)
            if chance.random() < 0.2:
                tcp.recv(chance.randrange(1, 3000))
        except OSError:
            pass  # The server closed, or read no more. Both are allowed.


def test_garbage_streams(dir, figure):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    hostile = Hostile(chance)
    with Node(dir, FILES, settings=SETTINGS) as node:

        def attack(count):
            for turn in range(count):
                throw(node.udp, garbage_stream(chance, hostile), chance)
                if turn % 50 == 0:
                    for over in (over_tcp, over_udp):
                        control_query, check = control(turn // 50)
                        check(over(node.udp, control_query))

        attack(STREAMS_WARM_UP)
        memory = memory_kib(node.child.pid)
        attack(STREAMS)
        grown = memory_kib(node.child.pid) - memory
        figure("memory grown", grown, "KiB", bound=MOST_STREAM_GROWTH_KIB)
        assert grown <= MOST_STREAM_GROWTH_KIB
        assert_unharmed(node)


@pytest.fixture
def many_files():
    """File descriptors for a thousand sockets of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HALVES = {
    "nothing": b"",
    "half a length": b"\0",
    "a length": b"\0\x40",
    "half a message": b"\0\x40" + query("a.svc.example.")[:20],
}


@pytest.mark.parametrize("where", ["one address", "many addresses"])
@pytest.mark.parametrize("half", HALVES)
def test_idle_connections_do_not_exclude_others(dir, figure, many_files, half, where):
    """1,000 connections without a query: UDP works as before, and a new client over TCP gets its reply within 100 ms."""
    with Node(dir, FILES, settings=SETTINGS) as node:
        held = []
        try:
            for i in range(1000):
                tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                held.append(tcp)
                tcp.bind((f"127.1.{i // 250}.{i % 250 + 1}" if where == "many addresses" else "127.0.0.1", 0))
                tcp.connect(node.udp)
                if HALVES[half]:
                    tcp.send(HALVES[half])
            took = {over: [seconds(over, node.udp, turn) for turn in range(25)] for over in (over_tcp, over_udp)}
            for over, times in took.items():
                figure(f"{over.__name__} next to them, median", 1000 * statistics.median(times), "ms", bound=100)
                assert statistics.median(times) < 0.1, times
            assert_unharmed(node)
        finally:
            for tcp in held:
                tcp.close()
        control_query, check = control(0)
        check(over_tcp(node.udp, control_query))


def seconds(over, server, turn):
    """The time until one correct answer."""
    control_query, check = control(turn)
    began = time.monotonic()
    wire = over(server, control_query)
    took = time.monotonic() - began
    assert wire is not None, f"not answered {over.__name__}"
    check(wire)
    return took


# A hundred queries for a reply of 50 KB: more than all buffers of a connection.
DEAF_CONNECTIONS = 100
DEAF_QUERIES = 100
# What the kernel may have for one client that takes nothing, of its queries and of its replies: the server's buffers are
# 32 KiB each, and a packet on the loopback interface has up to 64 KiB.
MOST_KERNEL_OCTETS = 160 << 10


def kernel_octets(port):
    """Octets of memory that the kernel has for the server's connections, by `ss`: received and not read, and written and not
    acknowledged."""
    listed = subprocess.run(["ss", "-tmnH", f"sport = :{port}"], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)", listed)
    return [int(received) + int(written) for received, _, _, written in found]


@pytest.mark.skipif(not shutil.which("ss"), reason="needs ss (iproute2)")
def test_pipelined_queries_whose_replies_are_not_read(dir, figure, many_files):
    """The kernel's buffers of each such client are bounded, and so is the server's memory; others are answered."""
    with Node(dir, FILES, settings=SETTINGS) as node:
        wanted = query("big.svc.example.", "TXT")
        sent = (struct.pack("!H", len(wanted)) + wanted) * DEAF_QUERIES
        before = memory_kib(node.child.pid)
        held = []
        try:
            for _ in range(DEAF_CONNECTIONS):
                tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                held.append(tcp)
                tcp.connect(node.udp)
                tcp.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    tcp.send(sent)
            most = 0
            for turn in range(10):
                seconds(over_tcp, node.udp, turn)
                most = max([most, *kernel_octets(node.udp[1])])
            figure("kernel memory of one client", most / 1024, "KiB", bound=MOST_KERNEL_OCTETS / 1024)
            assert 0 < most <= MOST_KERNEL_OCTETS
            grown = memory_kib(node.child.pid) - before
            figure("memory grown", grown, "KiB", bound=128 * DEAF_CONNECTIONS)
            assert grown <= 128 * DEAF_CONNECTIONS
            # They are closed, and leave nothing in the kernel.
            wait_until(lambda: node.metric("portolan_dropped_total", reason="stalled") >= DEAF_CONNECTIONS, 30)
            wait_until(lambda: sum(kernel_octets(node.udp[1])) == 0, 30)
            assert_unharmed(node)
        finally:
            for tcp in held:
                tcp.close()
