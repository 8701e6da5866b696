"""Queries with further records: Portolan answers what named or knotd answers, and refuses what they refuse."""
import socket
from contextlib import ExitStack

import dns.name
import pytest

import servers

NOERROR, FORMERR = 0, 1
QUESTION = b"\x03www\x01q\x04test\0\0\1\0\1"
WAIT_SECONDS = 5


def record(rtype, rdata, owner=b"\xc0\x0c", rclass=1, ttl=0):
    return owner + rtype.to_bytes(2) + rclass.to_bytes(2) + ttl.to_bytes(4) + len(rdata).to_bytes(2) + rdata


A = record(1, b"\xc0\0\2\1")
TXT = record(16, b"\1x", b"\5other\0")
SOA = record(6, b"\0\0" + bytes(20), b"\xc0\x10")
OPT = record(41, b"", b"\0", 1232)
TSIG_RDATA = b"\x03alg\0" + bytes(6) + b"\x01\x2c" + b"\0\x02mm" + b"\0\x09" + b"\0\0" + b"\0\0"
TSIG = record(250, TSIG_RDATA, b"\3key\0", 255)

# counts of answer, authority and additional records, the octets after the question, and the expected result.
CASES = {
    "plain": ((0, 0, 0), b"", NOERROR),
    "an answer": ((1, 0, 0), A, NOERROR),
    "three answers": ((3, 0, 0), A + TXT + A, NOERROR),
    "an authority": ((0, 1, 0), SOA, NOERROR),
    "an answer and an authority": ((1, 1, 0), A + SOA, NOERROR),
    "an additional record": ((0, 0, 1), A, NOERROR),
    "an additional record before OPT": ((0, 0, 2), A + OPT, NOERROR),
    "an additional record behind OPT": ((0, 0, 2), OPT + TXT, NOERROR),
    "something in every section": ((1, 1, 2), A + SOA + OPT + TXT, NOERROR),
    "an answer of an unknown type": ((1, 0, 0), record(65280, b"abc"), NOERROR),
    "an empty answer of an unknown type": ((1, 0, 0), record(65280, b""), NOERROR),
    "octets behind the message": ((0, 0, 0), b"\0\0", None),
    "OPT in the answer": ((1, 0, 0), OPT, FORMERR),
    "OPT in the authority": ((0, 1, 0), OPT, FORMERR),
    "two OPT": ((0, 0, 2), OPT + OPT, FORMERR),
    "TSIG in the answer": ((1, 0, 0), TSIG, FORMERR),
    "TSIG before the last": ((0, 0, 2), TSIG + A, FORMERR),
    "an answer that is not there": ((1, 0, 0), b"", FORMERR),
    "an authority that is not there": ((0, 1, 0), b"", FORMERR),
    "one answer of two": ((2, 0, 0), A, FORMERR),
    "an answer cut in its content": ((1, 0, 0), A[:-1], FORMERR),
    "an answer cut in its head": ((1, 0, 0), A[:8], FORMERR),
    "an answer with an owner that points at itself": ((1, 0, 0), record(1, bytes(4), b"\xc0\x1c"), FORMERR),
    "an answer with an owner that points ahead": ((1, 0, 0), record(1, bytes(4), b"\xc0\x40"), FORMERR),
    "an answer with a label of an unknown kind": ((1, 0, 0), record(1, bytes(4), b"\x41a\0"), FORMERR),
    "an address of three octets": ((1, 0, 0), record(1, bytes(3)), FORMERR),
    "an IPv6 address of four octets": ((0, 1, 0), record(28, bytes(4)), FORMERR),
    "no text at all": ((1, 0, 0), record(16, b""), FORMERR),
    "a text that is cut": ((1, 0, 0), record(16, b"\5ab"), FORMERR),
    "a signature without a signer": ((1, 0, 0), record(46, bytes(10)), FORMERR),
    "a name cut short": ((1, 0, 0), record(2, b"\3ns"), FORMERR),
    "a name and more": ((1, 0, 0), record(5, b"\3ns1\0x"), FORMERR),
}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    dir = tmp_path_factory.mktemp("queries")
    zones = dir / "zones"
    zones.mkdir()
    text = "$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\nwww A 192.0.2.3\n"
    (zones / "q.test.zone").write_text(text)
    apex = [dns.name.from_text("q.test.")]
    with ExitStack() as stack:
        kinds = [servers.Portolan, *(kind for kind in (servers.Named, servers.Knot) if kind.path())]
        if not servers.Portolan.path() or len(kinds) == 1:
            pytest.skip("needs portolan, and named or knotd")
        yield {kind.name(): stack.enter_context(kind(dir / kind.name(), zones, apex)).address for kind in kinds}


def rcode(address, packet):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(WAIT_SECONDS)
        udp.connect(address)
        udp.send(packet)
        return udp.recv(4096)[3] & 0xF


@pytest.mark.parametrize("case", CASES)
def test_a_query_with_more_than_a_question(case, addresses):
    counts, rest, expected = CASES[case]
    packet = b"\x12\x34\0\0\0\1" + b"".join(count.to_bytes(2) for count in counts) + QUESTION + rest
    rcodes = {name: rcode(address, packet) for name, address in addresses.items()}
    ours = rcodes.pop("portolan")
    assert ours in rcodes.values(), f"{rcodes}, portolan {ours}"
    assert expected is None or ours == expected, f"{rcodes}, portolan {ours}"
