"""DNS messages octet by octet, also invalid ones that no library writes, and functions that send them."""
import contextlib
import socket
import struct

import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype

QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
DO = 0x8000
NSID, ECS, KEEPALIVE, COOKIE, PADDING, EDE = 3, 8, 11, 10, 12, 15
ID = 0xA5C3


def name(text):
    """The wire form of a name, with its case."""
    return dns.name.from_text(text).to_wire()


def question(qname, qtype="A", qclass="IN"):
    """`qname` as text or as octets; type and class as text or number."""
    owner = qname if isinstance(qname, bytes) else name(qname)
    number = dns.rdatatype.RdataType.make(qtype), dns.rdataclass.RdataClass.make(qclass)
    return owner + struct.pack("!HH", *number)


def record(owner, rtype, rdata=b"", rclass="IN", ttl=0):
    """One resource record."""
    return question(owner, rtype, rclass) + struct.pack("!IH", ttl, len(rdata)) + rdata


def option(code, data=b"", length=None):
    """One EDNS option; `length` sets a wrong length."""
    return struct.pack("!HH", code, len(data) if length is None else length) + data


def opt(size=1232, version=0, flags=0, options=b"", owner=b"\0", rcode=0, length=None):
    """An OPT record."""
    ttl = rcode << 24 | version << 16 | flags
    return owner + struct.pack("!HHIH", 41, size, ttl, len(options) if length is None else length) + options


def subnet(family, source, address=b"", scope=0):
    """A client subnet option, valid or not."""
    return option(ECS, struct.pack("!HBB", family, source, scope) + address)


def message(questions=(), additional=(), answer=(), authority=(), opcode=0, flags=0, rcode=0, counts=None, tail=b"", id=ID):
    """A whole message; `counts` sets wrong counts in the header."""
    sections = [list(questions), list(answer), list(authority), list(additional)]
    counts = counts or [len(s) for s in sections]
    head = struct.pack("!HHHHHH", id, flags | opcode << 11 | rcode, *counts)
    return head + b"".join(sum(sections, [])) + tail


def query(qname, qtype="A", *additional, qclass="IN", **how):
    """A message with one question."""
    return message([question(qname, qtype, qclass)], additional, **how)


def question_of(packet):
    """The octets of the question, if there is one that has no pointers; else None."""
    if len(packet) < 12 or struct.unpack("!H", packet[4:6])[0] != 1:
        return None
    at = 12
    while at < len(packet) and 0 < packet[at] < 64:
        at += packet[at] + 1
    end = at + 5
    readable = end <= len(packet) and packet[at] == 0 and at + 1 - 12 <= 255
    return packet[12:end] if readable else None


def opcode_of(packet):
    return packet[2] >> 3 & 15


def over_udp(server, packet, timeout=5, source=None):
    """Sends one datagram; returns the octets of the reply, or None without a reply."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        if source:
            udp.bind((source, 0))
        udp.connect(server)
        udp.settimeout(timeout)
        udp.send(packet)
        with contextlib.suppress(TimeoutError):
            return udp.recv(65535)
    return None


def over_tcp(server, packet, timeout=5):
    """Sends one message over a new connection; returns the octets of the reply, or None without a reply."""
    with socket.create_connection(server, timeout=timeout) as tcp:
        tcp.sendall(struct.pack("!H", len(packet)) + packet)
        return read_message(tcp)


def read_message(tcp):
    """The next message of a stream; None at its end or after a timeout."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        length = read_exactly(tcp, 2)
        return length and read_exactly(tcp, struct.unpack("!H", length)[0])
    return None


def read_exactly(tcp, count):
    got = b""
    while len(got) < count:
        more = tcp.recv(count - len(got))
        if not more:
            return None
        got += more
    return got


def parse(wire):
    """The message as parsed by dnspython, which refuses an invalid one."""
    return dns.message.from_wire(wire, ignore_trailing=False)
