"""Servers that fail, each in a different way and on its own port, all in one process.

PORTS has the ports. They are fixed, so the process runs in a network namespace.
"""
import asyncio
import contextlib
import socket
import struct

PIECE = 0.1
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
# The first frame of hyper, nginx and grpc as servers of HTTP/2: an empty SETTINGS frame.
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


async def half_open(reader, writer):
    """Accepts the connection and never sends anything."""
    await asyncio.Event().wait()


async def hangs_up(reader, writer):
    """Closes the connection when a request arrives."""


async def resets(reader, writer):
    reset(writer)


async def reset_in_head(reader, writer):
    writer.write(HEAD)
    await arrive(writer)
    reset(writer)


async def reset_in_body(reader, writer):
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 100)
    await arrive(writer)
    reset(writer)


async def ends_in_body(reader, writer):
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 100)
    await arrive(writer)


async def slow_head(reader, writer):
    await drip(writer, HEAD + b"X-Long: " + b"x" * 1000)


async def slow_body(reader, writer):
    writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
    await drip(writer, b"x" * 1000)


async def endless_head(reader, writer):
    await pour(writer, HEAD, b"X-More: " + b"x" * 1000 + b"\r\n")


async def endless_body(reader, writer):
    await pour(writer, HEAD + b"\r\n", b"x" * 65536)


async def endless_chunks(reader, writer):
    await pour(writer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"2000\r\n" + b"x" * 0x2000 + b"\r\n")


async def endless_hints(reader, writer):
    """Endless interim responses (RFC 9110, 15.2), and never the final one."""
    await pour(writer, b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 2000)


async def bad_chunks(reader, writer):
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nnot a chunk\r\n")
    await arrive(writer)


async def garbage(reader, writer):
    writer.write(bytes(range(255, 0, -1)) * 4)
    await arrive(writer)


async def other_protocol(reader, writer):
    """Sends before it has received a request."""
    writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    await arrive(writer)


async def silent_http2(reader, writer):
    """Begins HTTP/2 correctly, and then never answers a request."""
    writer.write(SETTINGS)
    await asyncio.Event().wait()


async def endless_pings(reader, writer):
    """PING after PING (RFC 9113, 6.7), as fast as they are read, and never an answer."""
    await pour(writer, SETTINGS, (b"\0\0\x08\6\0\0\0\0\0" + b"portolan") * 4000)


async def goes_away_http2(reader, writer):
    """GOAWAY with INTERNAL_ERROR (RFC 9113, 6.8) instead of an answer."""
    writer.write(SETTINGS + b"\0\0\x08\x07\0\0\0\0\0" + struct.pack("!II", 0, 2))
    await arrive(writer)


STREAMS = [
    half_open, hangs_up, resets, reset_in_head, reset_in_body, ends_in_body, slow_head, slow_body, endless_head,
    endless_body, endless_chunks, endless_hints, bad_chunks, garbage, other_protocol, silent_http2,
    endless_pings, goes_away_http2,
]


def no_answer(query):
    return []


def dns_garbage(query):
    """The correct message id, and then octets that are not DNS."""
    return [query[:2] + b"\x81\x80" + b"\xff" * 40]


def dns_others(query):
    """Replies with another message id, and to another name."""
    other = bytes([query[0] ^ 1]) + query[1:2] + b"\x81\x80" + query[4:]
    return [other, query[:2] + b"\x81\x80" + query[4:12] + b"\1x\0" + query[-4:]]


PACKETS = [no_answer, dns_garbage, dns_others]

FIRST = 7000
PORTS = {how.__name__: FIRST + nth for nth, how in enumerate([*STREAMS, *PACKETS])}


async def arrive(writer):
    """Closes so that all that was written is sent and can be read."""
    await writer.drain()
    await asyncio.sleep(PIECE / 5)


async def drip(writer, text):
    for at in range(len(text)):
        writer.write(text[at : at + 1])
        await writer.drain()
        await asyncio.sleep(PIECE)


async def pour(writer, head, piece):
    writer.write(head)
    while True:
        writer.write(piece)
        await writer.drain()


def reset(writer):
    """Closes with an RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def until_closed(talk):
    """Waits for a request, unless the server sends first; then runs `talk` and closes."""

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            if talk is not other_protocol:
                await reader.read(65536)
            await talk(reader, writer)
        writer.close()

    return serve


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, to):
        for packet in self.answer(data):
            self.transport.sendto(packet, to)


async def main():
    for talk in STREAMS:
        await asyncio.start_server(until_closed(talk), "127.0.0.1", PORTS[talk.__name__], backlog=1024)
    loop = asyncio.get_running_loop()
    for answer in PACKETS:
        where = ("127.0.0.1", PORTS[answer.__name__])
        await loop.create_datagram_endpoint(lambda answer=answer: Datagrams(answer), where)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
