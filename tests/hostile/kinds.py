"""Hostile clients of DNS over UDP and TCP, of the API, and of any listener over TCP."""
import asyncio
import contextlib
import random
import socket
import struct

from clients import DEAF_QUERIES, kind, read_in_background
from octets import framed, query, request

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


# --- requests without end ----------------------------------------------------------------------------------------------


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
