"""Hostile clients of DoQ."""
import asyncio
import contextlib
import itertools
import socket
import ssl
import sys

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


def quic_fragments(protocol, streams, each, room, kind="stream", most=4096):
    """Packets with frames of one octet, with a gap before each. Their number in a packet is `each`; the packet is filled up to
    `room` octets. No octet is the first of its stream, so that the server can read none in order."""
    from aioquic import tls
    from aioquic.quic.packet import QuicFrameType
    from aioquic.quic.packet_builder import QuicPacketBuilder, QuicPacketType

    connection = protocol._quic
    frames = [(stream, 2 * nth + 1) for nth in range(most // len(streams)) for stream in streams]
    for begin in range(0, len(frames), each):
        builder = QuicPacketBuilder(
            host_cid=connection.host_cid, is_client=True, max_datagram_size=1200, packet_number=connection._packet_number,
            peer_cid=connection._peer_cid.cid, peer_token=b"", quic_logger=None, spin_bit=False, version=connection._version,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, connection._cryptos[tls.Epoch.ONE_RTT])
        for stream, offset in frames[begin:begin + each]:
            if kind == "stream":
                # With an offset and a length (RFC 9000, 19.8).
                buffer = builder.start_frame(QuicFrameType.STREAM_BASE | 0x06, capacity=16)
                buffer.push_uint_var(stream)
            else:
                buffer = builder.start_frame(QuicFrameType.CRYPTO, capacity=16)
            buffer.push_uint_var(offset)
            buffer.push_uint_var(1)
            buffer.push_bytes(b"x")
        # Frames of padding (RFC 9000, 19.1).
        buffer.push_bytes(bytes(max(0, min(room - buffer.tell(), builder.remaining_flight_space - 32))))
        datagrams, _ = builder.flush()
        connection._packet_number = builder.packet_number
        yield from datagrams


@kind
async def quic_gaps(client):
    """Streams that have an octet here and there, and never the first. Its spec has the number of `streams`, how many fragments
    `each` packet has, how long (`room`) it is, how many packets are sent in `one` call, which the kernel may hand to the
    receiver in one buffer, and the `frames` (stream or crypto)."""
    spec = client.siege.spec
    async with quic(client) as protocol:
        streams = [4 * nth for nth in range(spec.get("streams", 100))]
        udp = protocol._transport.get_extra_info("socket")
        together = spec.get("one", 1)
        how = (spec.get("each", 40), spec.get("room", 0), spec.get("frames", "stream"), spec.get("most", 4096))
        sent = quic_fragments(protocol, streams, *how)
        while batch := list(itertools.islice(sent, together)):
            if together > 1 and len({len(packet) for packet in batch}) == 1:
                # SOL_UDP, UDP_SEGMENT
                segments = [(17, 103, len(batch[0]).to_bytes(2, sys.byteorder))]
                sendmsg(udp, b"".join(batch), segments, client.server)
            else:
                for packet in batch:
                    sendmsg(udp, packet, [], client.server)
            client.siege.counts["turns"] += len(batch)
            await asyncio.sleep(0.002)
        await until_closed(protocol)


def sendmsg(udp, octets, how, server):
    # The buffer of the receiver is full at times: what is lost is sent by others.
    with contextlib.suppress(BlockingIOError):
        socket.socket.sendmsg(udp._sock if hasattr(udp, "_sock") else udp, [octets], how, 0, server)
