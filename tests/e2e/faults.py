"""Servers that are ill, each in a way of its own and on a port of its own, all in one process.

PORTS says where: fixed ports, so it is run in a network of its own.
"""
import asyncio
import contextlib
import socket
import struct

PIECE = 0.1
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
# As hyper, nginx and grpc open an HTTP/2 connection from the server's side: an empty SETTINGS frame.
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


async def half_open(reader, writer):
    """Takes the connection and never says a word."""
    await asyncio.Event().wait()


async def hangs_up(reader, writer):
    """Closes as soon as it is asked."""


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
    """Interim responses (RFC 9110, 15.2) without an end, and never the final one."""
    await pour(writer, b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 2000)


async def bad_chunks(reader, writer):
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nnot a chunk\r\n")
    await arrive(writer)


async def garbage(reader, writer):
    writer.write(bytes(range(255, 0, -1)) * 4)
    await arrive(writer)


async def other_protocol(reader, writer):
    """Speaks first."""
    writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    await arrive(writer)


async def silent_http2(reader, writer):
    """Begins HTTP/2 as it should, and then never answers a request."""
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


def no_answer(asked):
    return []


def dns_garbage(asked):
    """The right number, and then nothing that is DNS."""
    return [asked[:2] + b"\x81\x80" + b"\xff" * 40]


def dns_others(asked):
    """Replies, but to a question of another number, and to another name."""
    other = bytes([asked[0] ^ 1]) + asked[1:2] + b"\x81\x80" + asked[4:]
    return [other, asked[:2] + b"\x81\x80" + asked[4:12] + b"\1x\0" + asked[-4:]]


PACKETS = [no_answer, dns_garbage, dns_others]

FIRST = 7000
PORTS = {how.__name__: FIRST + nth for nth, how in enumerate([*STREAMS, *PACKETS])}


async def arrive(writer):
    """What was written goes out, and the other side has the time to read it."""
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
    """The end of it is an RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def until_closed(talk):
    """Waits to be asked something, unless it speaks first; then `talk`, and the connection's end."""

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
