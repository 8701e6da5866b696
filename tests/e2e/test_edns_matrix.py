"""What compliance testers check: the bits of the header, opcodes, classes, types, EDNS and its options, each over UDP and
TCP. matrix.py has the checks. Tests with more than one packet and one reply are at the end of this file."""
import socket
import struct

import dns.name
import dns.rcode
import dns.rdatatype
import pytest

import packets
from matrix import CLIENT_COOKIE, EITHER, FILES, MATRIX, SETTINGS, STATIC_NAME, STEERED, server_cookie
from packets import AA, AD, CD, COOKIE, DO, QR, RA, RD, TC, Z
from packets import message, opt, option, over_tcp, over_udp, query, question, record
from portolan import Node
from processes import wait_until
from world import can_make_places


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Node(tmp_path_factory.mktemp("matrix"), FILES, settings=SETTINGS) as node:
        yield node


def test_the_matrix_is_a_matrix():
    assert len(MATRIX) >= 50
    assert len({check.what for check in MATRIX}) == len(MATRIX), "each by its own name"


@pytest.mark.parametrize("check", MATRIX, ids=lambda check: check.what)
def test_matrix(node, check):
    for transport in check.transports:
        wire = (over_udp if transport == "udp" else over_tcp)(node.udp, check.packet)
        assert wire is not None, f"{transport}: silence"
        wrong = differences(check, wire, transport)
        assert not wrong, f"{transport}, RFC {check.rfc}: {'; '.join(wrong)}\nasked {check.packet.hex()}\ngot   {wire.hex()}"


def differences(check, wire, transport):
    """The differences between a reply and the required one, as texts."""
    if check.signature:
        if not wire.endswith(check.signature):
            return [f"it doesn't end with the TSIG {check.signature.hex()}"]
        # dnspython refuses a TSIG without its key: the part before the TSIG is parsed as the message.
        counts = struct.pack("!H", struct.unpack("!H", wire[10:12])[0] - 1)
        wire = wire[:10] + counts + wire[12 : -len(check.signature)]
    return [*in_header(check, wire, transport), *in_opt(check, wire), *in_sections(check, wire)]


def in_header(check, wire, transport):
    flags = struct.unpack("!H", wire[2:4])[0]
    sent = struct.unpack("!H", check.packet[2:4])[0]
    if wire[:2] != check.packet[:2]:
        yield "another id"
    for bit, what, wanted in (
        (QR, "QR", True), (AA, "AA", check.aa), (TC, "TC", check.tc and transport == "udp"), (RD, "RD", bool(sent & RD)),
        (RA, "RA", False), (Z, "Z", False), (AD, "AD", False), (CD, "CD", False),
    ):
        # RD is not defined for every opcode.
        if bool(flags & bit) != wanted and not (bit == RD and packets.opcode_of(check.packet)):
            yield f"{what} is {'set' if flags & bit else 'clear'}"
    if packets.opcode_of(wire) != packets.opcode_of(check.packet):
        yield f"opcode {packets.opcode_of(wire)}"
    if transport == "udp" and len(wire) > check.size:
        yield f"{len(wire)} octets, {check.size} at most"


def in_opt(check, wire):
    reply = packets.parse(wire)
    if dns.rcode.to_text(reply.rcode()) != check.rcode:
        yield f"rcode {dns.rcode.to_text(reply.rcode())}, {check.rcode} expected"
    if check.edns is not None and (reply.edns >= 0) != check.edns:
        yield f"{'an' if reply.edns >= 0 else 'no'} OPT record"
    if reply.edns < 0:
        return
    if reply.edns != 0:
        yield f"EDNS version {reply.edns}"
    if reply.ednsflags & 0xFFFF != (DO if check.do else 0):
        yield f"EDNS flags {reply.ednsflags & 0xFFFF:#06x}"
    if reply.payload < 512:
        yield f"it says that it takes {reply.payload} octets"
    codes = [int(o.otype) for o in reply.options]
    if len(codes) != len(set(codes)):
        yield f"options twice: {codes}"
    for o in reply.options:
        wanted, data = check.options.get(int(o.otype)), o.to_wire()
        if wanted is None and o.otype not in check.may:
            yield f"option {int(o.otype)}: {data.hex()}"
        elif callable(wanted) and not wanted(data) or isinstance(wanted, bytes) and data != wanted:
            yield f"option {int(o.otype)} says {data.hex()}"
    yield from (f"no option {code}" for code in check.options if code not in codes)


def in_sections(check, wire):
    reply, sent = packets.parse(wire), packets.question_of(check.packet)
    counted = struct.unpack("!H", wire[4:6])[0]
    echoes = counted == 1 and sent is not None and wire[12 : 12 + len(sent)] == sent
    if check.echo is True and not echoes or check.echo is False and counted or check.echo == EITHER and counted and not echoes:
        yield f"the question is not repeated as it was: {counted} of them"
    found = tuple(sorted(rdata.to_text(origin=ORIGIN, relativize=True) for rrset in reply.answer for rdata in rrset))
    if check.answer is not None and found != check.answer:
        yield f"answer {found}, {check.answer} expected"
    if check.answer is None and len(reply.answer) > 1:
        yield f"{len(reply.answer)} RRsets in the answer"
    if check.authority is not None and ",".join(dns.rdatatype.to_text(r.rdtype) for r in reply.authority) != check.authority:
        yield f"authority {reply.authority}"


ORIGIN = dns.name.from_text("svc.example.")


def test_whole_over_tcp_what_was_truncated(node):
    """A long RRset: complete over TCP; over UDP complete or absent."""
    sent = query("big.svc.example.", "TXT", opt())
    assert len(packets.parse(over_tcp(node.udp, sent)).answer[0]) == 20
    short = packets.parse(over_udp(node.udp, sent))
    assert not short.answer or len(short.answer[0]) == 20


def test_any_gives_the_same_over_both(node):
    for qname in (STATIC_NAME, STEERED):
        replies = [packets.parse(over(node.udp, query(qname, "ANY", opt()))) for over in (over_udp, over_tcp)]
        assert all(len(reply.answer) == 1 for reply in replies), replies


@pytest.mark.parametrize("what, packet", [
    ("a reply", query(STATIC_NAME, "A", opt(), flags=QR)),
    ("a reply with AA and an answer", message([question(STATIC_NAME)], answer=[record(STATIC_NAME, "A", bytes(4))], flags=QR | AA)),
    ("a reply of another opcode", query(STATIC_NAME, "A", flags=QR, opcode=5)),
    ("a reply of nothing", message(flags=QR)),
    ("an error", message(flags=QR, rcode=1)),
    ("nothing", b""),
    ("eleven octets", query(STATIC_NAME)[:11]),
    ("one octet", b"\0"),
], ids=lambda p: p if isinstance(p, str) else "")
def test_silence(node, what, packet):
    """Packets that must get no reply. The reply to a query that is sent next, from the same port, shows this."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(node.udp)
        udp.settimeout(5)
        udp.send(packet)
        udp.send(query(STATIC_NAME, id=0x7777))
        assert udp.recv(4096)[:2] == b"\x77\x77", f"{what} was answered"


@pytest.mark.skipif(not can_make_places(), reason="a raw socket needs root")
def test_source_port_zero_is_silence(dir, lone):
    with Node(dir, FILES, settings=SETTINGS, place=lone) as node:
        packet = query(STATIC_NAME, "A", opt())
        host, port = node.udp
        datagram = struct.pack("!HHHH", 0, port, 8 + len(packet), 0) + packet
        with lone.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            for _ in range(20):
                raw.sendto(datagram, (host, 0))
        wait_until(lambda: node.metric("portolan_dropped_total", reason="port_zero") == 20, 10)
        with lone.inside():
            assert over_udp(node.udp, packet), "others are answered"
        wait_until(lambda: node.metric("portolan_queries_total", transport="udp") == 1, 10)


def test_a_cookie_of_a_reply_is_accepted(node):
    """The cookie of a reply is accepted. A cookie of another client, or a changed one, gets a new one and an answer."""

    def cookie_for(data, source="127.0.0.1"):
        reply = packets.parse(over_udp(node.udp, query(STATIC_NAME, "A", opt(options=option(COOKIE, data))), source=source))
        assert reply.rcode() == dns.rcode.NOERROR and reply.answer
        found = [o.to_wire() for o in reply.options if o.otype == COOKIE]
        assert len(found) == 1 and server_cookie(found[0]), found
        return found[0]

    first = cookie_for(CLIENT_COOKIE)
    # Each reply has a new cookie, with the present second. The client, the version and the zeroes are the same.
    assert cookie_for(first)[:12] == first[:12]
    assert cookie_for(first, "127.9.9.9")[16:] != first[16:], "the client's address is in it (RFC 9018, 4.4)"
    changed = first[:-1] + bytes([first[-1] ^ 1])
    assert cookie_for(changed) != changed


def test_several_queries_over_one_connection(node):
    """RFC 7766, 6.2.1: the queries are pipelined, and a malformed one doesn't affect the others."""
    wanted = {i: query(STATIC_NAME, "A", opt(), id=i) for i in range(1, 40)}
    wanted[20] = message(counts=[1, 0, 0, 0], id=20)
    with socket.create_connection(node.udp, timeout=5) as tcp:
        tcp.sendall(b"".join(struct.pack("!H", len(p)) + p for p in wanted.values()))
        replies = [packets.parse(packets.read_message(tcp)) for _ in wanted]
    assert sorted(r.id for r in replies) == sorted(wanted)
    assert [r.id for r in replies if r.rcode() == dns.rcode.FORMERR] == [20]
