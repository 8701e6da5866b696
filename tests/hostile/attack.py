"""Hostile clients of one kind, in a process of their own: attack.py JSON. Each is a coroutine that opens one connection and
misuses it; when the server closes it, another one is opened. The process has a low priority, as attackers have processors of
their own. Prints `ready` when every client has had its turn once, or after 20 seconds, and counts when it ends."""
import asyncio
import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import ssl
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

import octets
from octets import framed, frame, get, query, request
from processes import Child

# The pause before a client whose connection was closed comes back.
AGAIN = 1.0
# What stays unread in the kernel of a client that reads nothing.
SMALL = 4096
TURN_SECONDS = 6
# The attack has begun after this time, also if the machine is too busy for a turn of every client.
READY_SECONDS = 20
# Their replies have 40 MB: more than any buffer. The queries themselves fit into the client's.
DEAF_QUERIES = 700


class Attack:
    """with Attack(dir, "tcp_deaf", node.udp, count=200): ..., or with Attack(dir, {"tcp_deaf": 200, "silent": 50}, node.udp): ..."""

    def __init__(self, dir, kinds, server, count=1, sources=1, wait=30, **spec):
        kinds = {kinds: count} if isinstance(kinds, str) else kinds
        spec = dict(kinds=kinds, server=server, sources=sources, **spec)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, f"attack-{next(iter(kinds))}-{random.randrange(1 << 32):x}")
        self.wait = wait

    def __enter__(self):
        if self.wait:
            self.child.wait_line("^ready", self.wait)
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{"opened", "closed", "turns"}"""
        self.child.end()
        return json.loads(self.child.out()[-1])


KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


class Client:
    """One client: its connections come from its own address."""

    def __init__(self, siege, kind, number):
        self.siege, self.kind, self.number = siege, kind, number
        self.server = tuple(siege.spec["server"])

    @property
    def source(self):
        sources = self.siege.spec["sources"]
        return f"127.{2 + sorted(KINDS).index(self.kind)}.{self.number % sources // 250}.{self.number % sources % 250 + 1}"

    def socket(self, kind=socket.SOCK_STREAM, deaf=False):
        made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        if deaf:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        made.bind((self.source, 0))
        return made

    @contextlib.asynccontextmanager
    async def tcp(self, deaf=False):
        """A connection."""
        loop = asyncio.get_running_loop()
        with self.socket(deaf=deaf) as made:
            self.siege.counts["opened"] += 1
            await loop.sock_connect(made, self.server)
            yield Stream(loop, made)

    @contextlib.asynccontextmanager
    async def tls(self, alpn, deaf=False):
        """A connection with TLS."""
        async with self.tcp(deaf) as tcp:
            secure = Secure(tcp, alpn)
            await secure.shake_hands()
            yield secure


class Stream:
    """Octets over TCP."""

    def __init__(self, loop, made):
        self.loop, self.made = loop, made

    async def send(self, data):
        await self.loop.sock_sendall(self.made, data)

    async def read(self):
        """Some octets; an error at the end of the stream."""
        got = await self.loop.sock_recv(self.made, 65536)
        if not got:
            raise ConnectionError
        return got

    async def closed(self):
        """Waits until the server closes, and reads nothing."""
        while True:
            with contextlib.suppress(BlockingIOError):
                if not self.made.recv(1, socket.MSG_PEEK):
                    return
            await asyncio.sleep(0.25)
            if self.made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return


class Secure(Stream):
    """Octets over TLS."""

    def __init__(self, tcp, alpn):
        super().__init__(tcp.loop, tcp.made)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inward, self.outward, server_hostname="ns1.example")

    async def shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                return await super().send(self.outward.read())
            except ssl.SSLWantReadError:
                await super().send(self.outward.read())
                self.inward.write(await super().read())

    async def send(self, data):
        self.tls.write(data)
        await super().send(self.outward.read())

    async def read(self):
        while True:
            try:
                if got := self.tls.read(65536):
                    return got
                raise ConnectionError
            except ssl.SSLWantReadError:
                self.inward.write(await super().read())


# --- connections that send nothing, or slowly --------------------------------------------------------------------------


@kind
async def silent(client):
    """A connection without an octet: any listener over TCP."""
    async with client.tcp() as tcp:
        await tcp.closed()


@kind
async def drip(client, text="\0\x40" + 62 * "x"):
    """An octet now and then: any listener over TCP; `text` in its spec is what it sends."""
    text = client.siege.spec.get("text", text).encode("latin-1")
    async with client.tcp() as tcp:
        for octet in text:
            await tcp.send(bytes([octet]))
            await asyncio.sleep(0.4)
        await tcp.closed()


@kind
async def garbage(client):
    """Random octets, TLS records among them."""
    async with client.tcp() as tcp:
        for _ in range(20):
            noise = random.randbytes(random.randrange(1, 4000))
            head = b"\x16\x03\x01" + struct.pack("!H", len(noise)) if random.random() < 0.5 else b""
            await tcp.send(head + noise)
            await asyncio.sleep(0.05)
        await tcp.closed()


@kind
async def udp_garbage(client):
    """A hundred malicious datagrams a second, whose replies nobody reads."""
    from hostile import Hostile

    hostile = Hostile(random.Random())
    with client.socket(socket.SOCK_DGRAM, deaf=True) as udp:
        udp.connect(client.server)
        client.siege.counts["opened"] += 1
        while True:
            for _ in range(10):
                with contextlib.suppress(BlockingIOError):
                    udp.send(hostile.packet())
            client.siege.counts["turns"] += 10
            await asyncio.sleep(0.1)


# --- clients that read nothing -----------------------------------------------------------------------------------------


@kind
async def tcp_deaf(client):
    """Pipelined queries for large replies, and nothing is read."""
    many = framed(query()) * DEAF_QUERIES
    async with client.tcp(deaf=True) as tcp:
        await tcp.send(many)
        await tcp.closed()


@kind
async def tls_deaf(client):
    many = framed(query()) * DEAF_QUERIES
    async with client.tls("dot", deaf=True) as tls:
        await tls.send(many)
        await tls.closed()


@kind
async def https_deaf(client):
    """A hundred requests for large replies; the window of each is large, but nothing is read from the connection."""
    async with client.tls("h2", deaf=True) as tls:
        await tls.send(octets.PREFACE + octets.settings(window=1 << 30) + frame(octets.WINDOW_UPDATE, payload=struct.pack("!I", 1 << 30)))
        await tls.send(b"".join(get(1 + 2 * at, query()) for at in range(100)))
        await tls.closed()


@kind
async def https_no_window(client):
    """A hundred requests for large replies, read, but without a window for a single octet of them."""
    async with client.tls("h2") as tls:
        await tls.send(octets.PREFACE + octets.settings(window=0))
        await tls.send(b"".join(get(1 + 2 * at, query()) for at in range(100)))
        while True:
            await tls.read()


@kind
async def api_deaf(client):
    """Pipelined requests for the metrics, and nothing is read."""
    many = request("GET", "/metrics") * 50
    async with client.tcp(deaf=True) as tcp:
        await tcp.send(many)
        await tcp.closed()


@kind
async def events_deaf(client):
    """A subscription to the events, and nothing is read."""
    async with client.tcp(deaf=True) as tcp:
        await tcp.send(request("GET", "/v1/events", accept="text/event-stream"))
        await tcp.closed()


@kind
async def events(client):
    """A subscription to the events that is read."""
    async with client.tcp() as tcp:
        await tcp.send(request("GET", "/v1/events", accept="text/event-stream"))
        while True:
            await tcp.read()


# --- clients that read slowly ------------------------------------------------------------------------------------------


async def read_slowly(stream):
    """An octet each tenth of a second, so that the client never takes nothing."""
    while stream.made.recv(1):
        await asyncio.sleep(0.1)


@kind
async def tcp_slow(client):
    """Pipelined queries for large replies, which are read slowly."""
    async with client.tcp(deaf=True) as tcp:
        await tcp.send(framed(query()) * DEAF_QUERIES)
        await asyncio.sleep(0.5)
        await read_slowly(tcp)


@kind
async def api_slow(client):
    """Pipelined requests for the metrics, which are read slowly."""
    async with client.tcp(deaf=True) as tcp:
        await tcp.send(request("GET", "/metrics") * 50)
        await asyncio.sleep(0.5)
        await read_slowly(tcp)


# --- many connections one after the other ------------------------------------------------------------------------------


@kind
async def storm(client):
    """Connections that are closed at once, by a reset or not: any listener over TCP."""
    loop = asyncio.get_running_loop()
    while True:
        with client.socket() as made:
            if random.random() < 0.5:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                await loop.sock_connect(made, client.server)
        client.siege.counts["opened"] += 1


@kind
async def handshakes(client):
    """Connections that are closed after their TLS handshake."""
    while True:
        with contextlib.suppress(OSError):
            async with client.tls(client.siege.spec.get("alpn", "dot")):
                client.siege.counts["turns"] += 1


# --- HTTP/2 and TLS ----------------------------------------------------------------------------------------------------


async def send_without_end(client, head, part):
    """The head of a request, then the same octets again and again; replies are read."""
    async with client.tcp() as tcp, read_in_background(tcp):
        await tcp.send(head)
        while True:
            await tcp.send(part)
            client.siege.counts["turns"] += 1
            await asyncio.sleep(0.001)


@kind
async def api_body(client):
    """A body without end, by its length or in chunks."""
    length = random.choice(["content-length: 100000000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n"])
    head = f"POST /v1/simulate HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{length}"
    part = b"[" * 60_000
    await send_without_end(client, head.encode(), (b"%x\r\n%s\r\n" % (len(part), part)) if "chunked" in length else part)


@kind
async def api_chunk_head(client):
    """A chunk whose head has extensions without end."""
    head = b"POST /v1/simulate HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1;"
    await send_without_end(client, head, b"x=y;" * 10_000)


@kind
async def api_head(client):
    """A head without end: one line, or many fields."""
    part = random.choice([b"x" * 10_000, b"x: y\r\n" * 2_000])
    await send_without_end(client, b"GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", part)


@contextlib.asynccontextmanager
async def read_in_background(stream):
    async def read():
        with contextlib.suppress(OSError):
            while True:
                await stream.read()

    reading = asyncio.create_task(read())
    try:
        yield
    finally:
        reading.cancel()


async def flood(client, frames):
    """The same frames again and again; `frames` is a function of the turn."""
    async with client.tls("h2") as tls, read_in_background(tls):
        await tls.send(octets.PREFACE + octets.settings())
        turn = 0
        while True:
            await tls.send(b"".join(frames(turn * 20 + at) for at in range(20)))
            turn += 1
            client.siege.counts["turns"] += 20
            await asyncio.sleep(0.002)


@kind
async def https_reset(client):
    """Rapid reset: each request is cancelled at once (CVE-2023-44487)."""

    def both(turn):
        return get(1 + 2 * turn, query()) + frame(octets.RST_STREAM, 0, 1 + 2 * turn, struct.pack("!I", 8))

    await flood(client, both)


@kind
async def https_pings(client):
    await flood(client, lambda turn: frame(octets.PING, payload=bytes(8)))


@kind
async def https_settings(client):
    await flood(client, lambda turn: octets.settings(table=turn % 4096))


@kind
async def https_continuation(client):
    """A header block without end (CVE-2024-27316)."""
    first = frame(octets.HEADERS, octets.END_STREAM, 1, octets.get_fields(query()))
    more = octets.literal(0, b"x", b"y" * 1000) * 10
    await flood(client, lambda turn: first if turn == 0 else frame(octets.CONTINUATION, 0, 1, more))


@kind
async def https_body(client):
    """Bodies without end on a hundred streams of a connection."""
    post = octets.literal(4, b"", b"/dns-query") + octets.literal(1, b"", b"ns1.example") + octets.literal(0, b"content-type", b"application/dns-message")
    async with client.tls("h2") as tls, read_in_background(tls):
        await tls.send(octets.PREFACE + octets.settings())
        streams = range(1, 201, 2)
        await tls.send(b"".join(frame(octets.HEADERS, octets.END_HEADERS, stream, b"\x83\x87" + post) for stream in streams))
        while True:
            for stream in streams:
                await tls.send(frame(octets.DATA, 0, stream, bytes(1000)))
                client.siege.counts["turns"] += 1
            await asyncio.sleep(0.002)


@kind
async def https_large_head(client):
    """Many fields in each request."""
    more = octets.literal(0, b"x", b"y" * 1000) * 14
    await flood(client, lambda turn: frame(octets.HEADERS, 5, 1 + 2 * turn, octets.get_fields(query("www.svc.example.", "A"), more)))


class OpenSsl:
    """A TLS client that can send key updates, which Python's own can't."""

    def __init__(self):
        self.lib = ctypes.CDLL("libssl.so.3")
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.lib.SSL_CTX_new.argtypes = [ctypes.c_void_p]
        self.lib.SSL_new.argtypes = [ctypes.c_void_p]
        self.context = self.lib.SSL_CTX_new(self.lib.TLS_client_method())
        for name, more in (("SSL_set_fd", [ctypes.c_int]), ("SSL_connect", []), ("SSL_key_update", [ctypes.c_int]), ("SSL_do_handshake", []), ("SSL_free", []), ("SSL_write", [ctypes.c_char_p, ctypes.c_int])):
            getattr(self.lib, name).argtypes = [ctypes.c_void_p, *more]


@kind
async def key_updates(client):
    """Key updates that request one in return (RFC 8446, 4.6.3), which are never read."""
    await asyncio.to_thread(update_keys, client)


def update_keys(client):
    openssl = OpenSsl()
    with client.socket() as made:
        made.setblocking(True)
        made.settimeout(2)
        made.connect(client.server)
        made.settimeout(None)
        client.siege.counts["opened"] += 1
        tls = openssl.lib.SSL_new(openssl.context)
        openssl.lib.SSL_set_fd(tls, made.fileno())
        try:
            alpn = client.siege.spec.get("alpn", "dot").encode()
            openssl.lib.SSL_set_alpn_protos(ctypes.c_void_p(tls), bytes([len(alpn)]) + alpn, 1 + len(alpn))
            if openssl.lib.SSL_connect(tls) != 1:
                return
            for _ in range(200_000):
                if client.siege.is_over or openssl.lib.SSL_key_update(tls, 1) != 1 or openssl.lib.SSL_do_handshake(tls) != 1:
                    return
                client.siege.counts["turns"] += 1
        finally:
            openssl.lib.SSL_free(tls)


# --- QUIC --------------------------------------------------------------------------------------------------------------


def quic_configuration(**how):
    from aioquic.quic.configuration import QuicConfiguration

    return QuicConfiguration(is_client=True, alpn_protocols=["doq"], verify_mode=ssl.CERT_NONE, server_name="ns1.example", **how)


@kind
async def quic_half(client):
    """The first packet of a handshake, and nothing more; the next comes from another port."""
    from aioquic.quic.connection import QuicConnection

    with client.socket(socket.SOCK_DGRAM) as udp:
        connection = QuicConnection(configuration=quic_configuration())
        connection.connect(client.server, now=0.0)
        for data, _ in connection.datagrams_to_send(now=0.0):
            await asyncio.get_running_loop().sock_sendto(udp, data, client.server)
        client.siege.counts["opened"] += 1
        await asyncio.sleep(client.siege.spec.get("every", TURN_SECONDS))


@contextlib.asynccontextmanager
async def quic(client, **how):
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.quic.connection import QuicConnection

    loop = asyncio.get_running_loop()
    made = client.socket(socket.SOCK_DGRAM)
    connection = QuicConnection(configuration=quic_configuration(idle_timeout=30, **how))
    began = loop.time()
    transport, protocol = await loop.create_datagram_endpoint(lambda: QuicConnectionProtocol(connection), sock=made)
    try:
        # Streams of asyncio are not used; each would print a complaint of aioquic's at its end.
        protocol._stream_handler = lambda reader, writer: None
        protocol.quic_event_received = lambda event: None
        protocol.connect(client.server)
        while not connection._handshake_complete:
            await asyncio.sleep(0.02)
            if connection._close_event or loop.time() - began > 10:
                raise ConnectionError
        client.siege.counts["opened"] += 1
        yield protocol
    finally:
        transport.close()


async def until_closed(protocol):
    while not protocol._quic._close_event:
        await asyncio.sleep(0.25)


@kind
async def quic_silent(client):
    """A connection without a stream."""
    async with quic(client) as protocol:
        await until_closed(protocol)


@kind
async def quic_deaf(client):
    """A hundred queries for large replies, without a window for them."""
    async with quic(client, max_data=SMALL, max_stream_data=64) as protocol:
        connection = protocol._quic
        for _ in range(100):
            connection.send_stream_data(connection.get_next_available_stream_id(), framed(query()), end_stream=True)
        protocol.transmit()
        await until_closed(protocol)


# --- the process -------------------------------------------------------------------------------------------------------


class Siege:
    def __init__(self, spec):
        self.spec = spec
        self.counts = {"opened": 0, "closed": 0, "turns": 0}
        self.is_over = False
        self.begun = 0

    async def one(self, client):
        is_first = True
        while not self.is_over:
            turn = asyncio.create_task(self.turn(client))
            if is_first:
                await asyncio.wait([turn], timeout=0.5)
                self.begun += 1
                is_first = False
            await turn
            self.counts["closed"] += 1
            await asyncio.sleep(AGAIN)

    async def turn(self, client):
        try:
            await KINDS[client.kind](client)
        except (OSError, ConnectionError, TimeoutError, ssl.SSLError) as gone:
            self.counts[type(gone).__name__] = self.counts.get(type(gone).__name__, 0) + 1

    async def run(self):
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        clients = [Client(self, kind, number) for kind, count in self.spec["kinds"].items() for number in range(count)]
        random.shuffle(clients)
        opening = asyncio.create_task(self.open_all(clients))
        deadline = loop.time() + READY_SECONDS
        while self.begun < len(clients) and not stop.is_set() and loop.time() < deadline:
            await asyncio.sleep(0.02)
        print("ready", json.dumps(self.counts), flush=True)
        await stop.wait()
        self.is_over = True
        opening.cancel()
        print(json.dumps(self.counts), flush=True)
        os._exit(0)

    async def open_all(self, clients):
        self.tasks = []
        for client in clients:
            self.tasks.append(asyncio.create_task(self.one(client)))
            await asyncio.sleep(1 / self.spec.get("per_second", 400))


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(Siege(json.loads(sys.argv[1])).run())
