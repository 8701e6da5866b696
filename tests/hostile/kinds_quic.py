"""Hostile clients of DoQ."""
import asyncio
import contextlib
import socket
import ssl

from clients import SMALL, kind
from octets import framed, query

# Between two handshakes of a client that never finishes one.
TURN_SECONDS = 6


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
