"""The EDNS matrix as data: a check is a packet and the reply that it must get, with the RFC that requires it.
test_edns_matrix.py runs the checks."""
import dataclasses
import struct

from packets import AA, AD, CD, COOKIE, DO, ECS, EDE, ID, KEEPALIVE, NSID, PADDING, RA, RD, TC, Z
from packets import message, name, opt, option, query, question, record, subnet
from portolan import BASE, MASTER

SETTINGS = BASE + """
[clients]
default_region = "us-east"

[regions.eu-west]
location = [53.34, -6.26]
nets = ["198.51.100.0/24", "2001:db8:2::/48"]

[regions.us-east]
location = [39.0, -77.5]
"""

POLICY = """
zone = "{zone}"
{ecs}

[endpoint.eu]
addresses = ["192.0.2.1", "2001:db8:f::1"]
region = "eu-west"

[endpoint.us]
addresses = ["192.0.2.2", "2001:db8:f::2"]
region = "us-east"

[pool.world]
members = ["eu", "us"]
steer = "nearest"

[name.www]
pool = "world"
"""

ZONE = MASTER + """
a      IN A     203.0.113.9
a      IN TXT   "text"
alias  IN CNAME a
*.wild IN A     203.0.113.8
odd    IN TYPE65280 \\# 3 010203
""" + "".join(f'big IN TXT "{i:02d} {"x" * 200}"\n' for i in range(20))

FILES = {
    "svc.example.zone": ZONE,
    "svc.example.policy.toml": POLICY.format(zone="svc.example.", ecs=""),
    "off.example.zone": ZONE,
    "off.example.policy.toml": POLICY.format(zone="off.example.", ecs="[ecs]\nuse = false"),
    "static.example.zone": ZONE,
}

EU, US, STATIC = ("192.0.2.1",), ("192.0.2.2",), ("203.0.113.9",)
EU6 = ("2001:db8:f::1",)
# No RFC requires this reply: it is what this server does. Whatever it is not authoritative for, or does not do, it refuses.
CHOICE = "none: a choice of ours"
# The longest reply over UDP, whatever size the client allows.
MOST = 1232
CLIENT_COOKIE = bytes.fromhex("0123456789abcdef")
# For these the reply may have the question section or not: no RFC requires one of them.
EITHER = "either"


@dataclasses.dataclass(frozen=True)
class Check:
    what: str
    packet: bytes
    rfc: str
    rcode: str = "NOERROR"
    answer: tuple | None = STATIC  # the contents of the answer section; None: not checked
    authority: str | None = None  # the type of its one RRset, "" for none; None: not checked
    aa: bool = True
    tc: bool = False  # over UDP; over TCP it's always whole
    edns: bool = True  # whether the reply has an OPT record
    do: bool = False
    options: dict = dataclasses.field(default_factory=dict)  # code: its data, or a function of it; no other option may be there...
    may: tuple = ()  # ...except these
    echo: object = True  # whether the question section of the reply has the same octets; or EITHER
    signature: bytes = b""  # the TSIG record at its end
    size: int = MOST  # the longest reply over UDP
    transports: tuple = ("udp", "tcp")


def server_cookie(data):
    """RFC 9018, 4: the client's cookie, version 1, three zero octets, a time and a hash."""
    return len(data) == 24 and data[:8] == CLIENT_COOKIE and data[8:12] == b"\1\0\0\0"


def says(code):
    """An extended error of this code; text is allowed."""
    return lambda data: struct.unpack("!H", data[:2])[0] == code


def refused(what, packet, rfc, **how):
    defaults = dict(rcode="REFUSED", answer=(), aa=False, may=(EDE,))
    return Check(what, packet, rfc, **{**defaults, **how})


def bad(what, packet, rfc, **how):
    """FORMERR, with any OPT and options: the message could not be parsed."""
    defaults = dict(rcode="FORMERR", answer=(), aa=False, may=(EDE, NSID, ECS, COOKIE))
    return Check(what, packet, rfc, **{**defaults, **how})


STATIC_NAME, STEERED = "a.svc.example.", "www.svc.example."

PLAIN = [
    Check("plain", query(STATIC_NAME), "1035", edns=False, size=512),
    Check("plain, steered", query(STEERED), "1035", edns=False, answer=US, size=512),
    Check("edns", query(STATIC_NAME, "A", opt()), "6891"),
    Check("edns, steered", query(STEERED, "A", opt()), "6891", answer=US),
    Check("edns, SOA", query("svc.example.", "SOA", opt()), "6891", answer=("ns1 hostmaster 1 7200 900 1209600 30",)),
    Check("no data has the SOA", query(STATIC_NAME, "AAAA", opt()), "2308 2.2", answer=(), authority="SOA"),
    Check("no name has the SOA", query("gone.svc.example.", "A", opt()), "2308 2.1", "NXDOMAIN", (), "SOA"),
    Check("a name in mixed case", query("A.SvC.eXaMpLe.", "A", opt()), "1035 2.3.3"),
    Check("a steered name in mixed case", query("wWw.sVc.ExAmPlE.", "A", opt()), "1035 2.3.3", answer=US),
    Check("a wildcard in mixed case", query("OnE.wILd.svc.example.", "A", opt()), "4592", answer=("203.0.113.8",)),
    Check("the root isn't ours", query(".", "NS", opt()), CHOICE, "REFUSED", (), aa=False, options={EDE: says(20)}),
    Check("outside the zones, EDE 20", query("a.elsewhere.", "A", opt()), "8914 4.21", "REFUSED", (), aa=False, options={EDE: says(20)}),
    Check("outside the zones, no EDNS", query("a.elsewhere.", "A"), "6891 7", "REFUSED", (), aa=False, edns=False, size=512),
    Check("above a zone", query("example.", "SOA", opt()), CHOICE, "REFUSED", (), aa=False, options={EDE: says(20)}),
]

VERSIONS = [
    Check(f"edns version {v}", query(STATIC_NAME, "A", opt(version=v)), "6891 6.1.3", "BADVERS", (), "", aa=False)
    for v in (1, 2, 100, 255)
] + [
    Check("edns1 with an option", query(STATIC_NAME, "A", opt(version=1, options=option(NSID))), "6891 6.1.3", "BADVERS", (), aa=False, may=(NSID,)),
    Check("edns1 with an unknown option", query(STATIC_NAME, "A", opt(version=1, options=option(100))), "6891 6.1.3", "BADVERS", (), aa=False),
    Check("edns1 with unknown flags", query(STATIC_NAME, "A", opt(version=1, flags=0x40)), "6891 6.1.4", "BADVERS", (), aa=False),
    Check("edns1 with DO", query(STATIC_NAME, "A", opt(version=1, flags=DO)), "3225", "BADVERS", (), aa=False, do=True),
    Check("edns1 outside the zones", query("a.elsewhere.", "A", opt(version=1)), "6891 6.1.3", "BADVERS", (), aa=False),
]

FLAGS = [
    Check("DO", query(STATIC_NAME, "A", opt(flags=DO)), "3225 3", do=True),
    Check("DO with a negative answer", query("gone.svc.example.", "A", opt(flags=DO)), "3225 3", "NXDOMAIN", (), "SOA", do=True),
    Check("DO outside the zones", query("a.elsewhere.", "A", opt(flags=DO)), "3225 3", "REFUSED", (), aa=False, do=True, may=(EDE,)),
    Check("an unknown EDNS flag", query(STATIC_NAME, "A", opt(flags=0x0040)), "6891 6.1.4"),
    Check("all EDNS flags", query(STATIC_NAME, "A", opt(flags=0xFFFF)), "6891 6.1.4", do=True),
    Check("an extended rcode in a query", query(STATIC_NAME, "A", opt(rcode=7)), "6891 6.1.3"),
    Check("RD is copied", query(STATIC_NAME, "A", opt(), flags=RD), "1035 4.1.1"),
    Check("RD in a refusal", query("a.elsewhere.", "A", flags=RD), "1035 4.1.1", "REFUSED", (), aa=False, edns=False, size=512),
    Check("Z", query(STATIC_NAME, "A", flags=Z), "8906 3.1.3.1", edns=False, size=512),
    Check("AD", query(STATIC_NAME, "A", opt(), flags=AD), "4035 3.1.6"),
    Check("CD", query(STATIC_NAME, "A", opt(), flags=CD), "4035 3.1.6"),
    Check("AA and RA in a query", query(STATIC_NAME, "A", opt(), flags=AA | RA), "1035 4.1.1"),
    Check("every bit but QR", query(STATIC_NAME, "A", opt(), flags=AA | TC | RD | RA | Z | AD | CD), "8906 3.1.3"),
    Check("an rcode in a query", query(STATIC_NAME, "A", opt(), rcode=5), "1035 4.1.1"),
]

OPCODES = [
    Check(f"opcode {n}{', EDNS' if extra else ''}", query(STATIC_NAME, "A", *extra, opcode=n), "1035 4.1.1", "NOTIMP", (), aa=False, edns=bool(extra), echo=EITHER, may=(EDE,))
    for n in (1, 2, 3, *range(6, 16))
    for extra in ([opt()], [])
] + [
    Check(f"opcode {n} with nothing in it", message(opcode=n), "8906 3.1.4", "NOTIMP", (), aa=False, edns=False, echo=False)
    for n in (2, 6, 15)
] + [
    refused("NOTIFY", query("svc.example.", "SOA", opt(), opcode=4), CHOICE, echo=EITHER),
    refused("NOTIFY with the SOA", message([question("svc.example.", "SOA")], answer=[record("svc.example.", "SOA", b"\0\0" + bytes(20))], opcode=4, flags=AA), "1996 3.7", edns=False, echo=EITHER),
    refused("NOTIFY outside the zones", query("a.elsewhere.", "SOA", opcode=4), CHOICE, edns=False, echo=EITHER),
    refused("UPDATE", message([question("svc.example.", "SOA")], authority=[record("new.svc.example.", "A", bytes(4))], opcode=5), CHOICE, edns=False, echo=EITHER),
    refused("UPDATE with EDNS", message([question("svc.example.", "SOA")], [opt()], authority=[record("new.svc.example.", "A", bytes(4))], opcode=5), CHOICE, echo=EITHER),
]

SIZES = [
    Check("a long answer without EDNS", query("big.svc.example.", "TXT"), "1035 4.2.1", answer=None, tc=True, edns=False, size=512),
] + [
    Check(f"a long answer, size {size}", query("big.svc.example.", "TXT", opt(size)), "6891 6.2.3", answer=None, tc=True, size=max(512, min(size, MOST)))
    for size in (0, 100, 511, 512, 1232, 4096, 65535)
] + [
    Check(f"a short answer, size {size}", query(STATIC_NAME, "A", opt(size)), "6891 6.2.3", size=max(512, min(size, MOST)))
    for size in (0, 100, 511, 512, 1232, 4096, 65535)
] + [
    Check("a long answer keeps NSID", query("big.svc.example.", "TXT", opt(512, options=option(NSID))), "6891 7", answer=None, tc=True, size=512, options={NSID: b"ns1"}),
]

OPTIONS = [
    Check("an unknown option", query(STATIC_NAME, "A", opt(options=option(100))), "6891 6.1.2"),
    Check("an unknown option with data", query(STATIC_NAME, "A", opt(options=option(65001, b"data"))), "6891 6.1.2"),
    Check("many unknown options", query(STATIC_NAME, "A", opt(options=b"".join(option(c, b"x") for c in range(1000, 1064)))), "6891 6.1.2"),
    Check("an unknown option next to NSID", query(STATIC_NAME, "A", opt(options=option(100) + option(NSID))), "6891 6.1.2", options={NSID: b"ns1"}),
    Check("NSID", query(STATIC_NAME, "A", opt(options=option(NSID))), "5001 2.3", options={NSID: b"ns1"}),
    Check("NSID with data", query(STATIC_NAME, "A", opt(options=option(NSID, b"who?"))), "5001 2.1", options={NSID: b"ns1"}),
    Check("NSID with a refusal", query("a.elsewhere.", "A", opt(options=option(NSID))), "5001 2.3", "REFUSED", (), aa=False, options={NSID: b"ns1", EDE: says(20)}),
    Check("NSID with a steered name", query(STEERED, "A", opt(options=option(NSID))), "5001 2.3", answer=US, options={NSID: b"ns1"}),
    Check("keepalive over UDP", query(STATIC_NAME, "A", opt(options=option(KEEPALIVE))), "7828 3.2.1", transports=("udp",)),
    Check("keepalive over TCP", query(STATIC_NAME, "A", opt(options=option(KEEPALIVE))), "7828 3.3.2", may=(KEEPALIVE,), transports=("tcp",)),
    Check("padding", query(STATIC_NAME, "A", opt(options=option(PADDING, bytes(64)))), "7830 4", may=(PADDING,)),
    Check("an extended error in a query", query(STATIC_NAME, "A", opt(options=option(EDE, b"\0\0"))), "8914 2"),
    Check("DAU, DHU, N3U", query(STATIC_NAME, "A", opt(options=option(5, b"\x08") + option(6, b"\2") + option(7, b"\1"))), "6975"),
    Check("EXPIRE", query("svc.example.", "SOA", opt(options=option(9))), "7314", answer=None, may=(9,)),
    bad("an option longer than its record", query(STATIC_NAME, "A", opt(options=option(100, b"x", length=9))), "6891 6.1.2"),
    bad("half an option's head", query(STATIC_NAME, "A", opt(options=b"\0\3\0")), "6891 6.1.2"),
    bad("an OPT longer than its message", query(STATIC_NAME, "A", opt(length=40)), "1035 4.1.1", edns=None),
    bad("OPT twice", query(STATIC_NAME, "A", opt(), opt()), "6891 6.1.1", edns=None),
    bad("OPT thrice", query(STATIC_NAME, "A", opt(), opt(), opt()), "6891 6.1.1", edns=None),
    bad("OPT twice, of other versions", query(STATIC_NAME, "A", opt(), opt(version=1)), "6891 6.1.1", edns=None),
    bad("OPT of a name", query(STATIC_NAME, "A", opt(owner=name("a."))), "6891 6.1.2", edns=None),
    bad("OPT among the answers", message([question(STATIC_NAME)], answer=[opt()]), "6891 6.1.1", edns=None),
    bad("OPT among the authorities", message([question(STATIC_NAME)], authority=[opt()]), "6891 6.1.1", edns=None),
    Check("OPT after another record", query(STATIC_NAME, "A", record("x.", "A", bytes(4)), opt()), "6891 6.1.1"),
    Check("OPT before another record", query(STATIC_NAME, "A", opt(), record("x.", "A", bytes(4))), "6891 6.1.1"),
]

COOKIES = [
    Check("a client's cookie", query(STATIC_NAME, "A", opt(options=option(COOKIE, CLIENT_COOKIE))), "7873 5.2.3", options={COOKIE: server_cookie}),
    Check("a cookie with a steered name", query(STEERED, "A", opt(options=option(COOKIE, CLIENT_COOKIE))), "7873 5.2.3", answer=US, options={COOKIE: server_cookie}),
    Check("a cookie with a refusal", query("a.elsewhere.", "A", opt(options=option(COOKIE, CLIENT_COOKIE))), "7873 5.2.3", "REFUSED", (), aa=False, options={COOKIE: server_cookie, EDE: says(20)}),
    Check("a cookie with a negative answer", query("gone.svc.example.", "A", opt(options=option(COOKIE, CLIENT_COOKIE))), "7873 5.2.3", "NXDOMAIN", (), "SOA", options={COOKIE: server_cookie}),
    Check("a cookie next to NSID", query(STATIC_NAME, "A", opt(options=option(COOKIE, CLIENT_COOKIE) + option(NSID))), "7873 5.2.3", options={COOKIE: server_cookie, NSID: b"ns1"}),
    Check("a cookie with a truncated answer", query("big.svc.example.", "TXT", opt(512, options=option(COOKIE, CLIENT_COOKIE))), "7873 5.2.3", answer=None, tc=True, size=512, options={COOKIE: server_cookie}),
    Check("no question but a cookie", message([], [opt(options=option(COOKIE, CLIENT_COOKIE))]), "7873 5.4", answer=(), aa=False, echo=False, options={COOKIE: server_cookie}),
    Check("a cookie of another version", query(STATIC_NAME, "A", opt(version=1, options=option(COOKIE, CLIENT_COOKIE))), "6891 6.1.3", "BADVERS", (), aa=False, may=(COOKIE,)),
] + [
    Check(f"a server's cookie of {n} octets that isn't ours", query(STATIC_NAME, "A", opt(options=option(COOKIE, CLIENT_COOKIE + bytes(n)))), "7873 5.2.4", options={COOKIE: server_cookie})
    for n in (8, 16, 32)
] + [
    bad(f"a cookie of {n} octets", query(STATIC_NAME, "A", opt(options=option(COOKIE, bytes(n)))), "7873 5.2.2")
    for n in (0, 1, 7, 9, 15, 41, 100)
]


def ecs(what, qname, family, source, address, scope, qtype="A", rfc="7871 7.2.1", **how):
    """A valid subnet: the reply has the same one, with the scope of the server."""
    data = struct.pack("!HBB", family, source, scope) + address
    return Check(what, query(qname, qtype, opt(options=subnet(family, source, address))), rfc, options={ECS: data}, **how)


NET4, NET6 = bytes([198, 51, 100]), bytes.fromhex("20010db80002")

SUBNETS = [
    ecs("ECS, /24", STEERED, 1, 24, NET4, 24, answer=EU),
    ecs("ECS, /32", STEERED, 1, 32, NET4 + b"\7", 24, answer=EU),
    ecs("ECS, /30", STEERED, 1, 30, NET4 + b"\4", 24, answer=EU),
    ecs("ECS, /48", STEERED, 2, 48, NET6, 48, "AAAA", answer=EU6),
    ecs("ECS, /56", STEERED, 2, 56, NET6 + b"\1", 48, "AAAA", answer=EU6),
    ecs("ECS, /128", STEERED, 2, 128, NET6 + bytes(9) + b"\1", 48, "AAAA", answer=EU6),
    ecs("ECS of IPv6 for an A", STEERED, 2, 56, NET6 + b"\0", 48, answer=EU),
    ecs("ECS, source 0", STEERED, 1, 0, b"", 0, answer=US, rfc="7871 7.1.2"),
    ecs("ECS, source 0 of IPv6", STEERED, 2, 0, b"", 0, answer=US, rfc="7871 7.1.2"),
    ecs("ECS, static name", STATIC_NAME, 1, 24, NET4, 0, rfc="7871 7.2.1"),
    ecs("ECS, static name, /32", STATIC_NAME, 1, 32, NET4 + b"\7", 0),
    ecs("ECS, static name, /128", STATIC_NAME, 2, 128, NET6 + bytes(9) + b"\1", 0),
    ecs("ECS, static zone", "a.static.example.", 1, 24, NET4, 0),
    ecs("ECS, no such name", "gone.svc.example.", 1, 24, NET4, 0, rcode="NXDOMAIN", answer=(), authority="SOA"),
    ecs("ECS, off in the zone", "www.off.example.", 1, 24, NET4, 0, answer=US, rfc=CHOICE),
    ecs("ECS, off in the zone, /48", "www.off.example.", 2, 48, NET6, 0, "AAAA", answer=("2001:db8:f::2",), rfc=CHOICE),
    Check("ECS next to NSID", query(STEERED, "A", opt(options=subnet(1, 24, NET4) + option(NSID))), "7871", answer=EU, options={ECS: b"\0\1\x18\x18" + NET4, NSID: b"ns1"}),
    Check("ECS outside the zones", query("a.elsewhere.", "A", opt(options=subnet(1, 24, NET4))), "7871 7.2.1", "REFUSED", (), aa=False, may=(ECS,), options={EDE: says(20)}),
    Check("ECS, long answer", query("big.svc.example.", "TXT", opt(512, options=subnet(2, 128, NET6 + bytes(10)))), "7871 7.2.1", answer=None, tc=True, size=512, options={ECS: b"\0\2\x80\0" + NET6 + bytes(10)}),
]

WRONG_SUBNETS = {
    "empty": option(ECS),
    "one octet": option(ECS, b"\0"),
    "three octets": option(ECS, b"\0\1\x18"),
    "family 3": subnet(3, 8, b"\x0a"),
    "family 0": subnet(0, 0),
    "family 0 with a net": subnet(0, 8, b"\x0a"),
    "family 65535": subnet(65535, 0),
    "source 33 of IPv4": subnet(1, 33, bytes(5)),
    "source 255 of IPv4": subnet(1, 255, bytes(32)),
    "source 129 of IPv6": subnet(2, 129, bytes(17)),
    "too few octets": subnet(1, 24, bytes(2)),
    "no octets": subnet(1, 24),
    "too many octets": subnet(1, 24, bytes(4)),
    "octets for source 0": subnet(1, 0, bytes(4)),
    "a whole IPv4 address for /8": subnet(1, 8, bytes([10, 0, 0, 0])),
    "too few octets of IPv6": subnet(2, 56, bytes(6)),
    "too many octets of IPv6": subnet(2, 56, bytes(16)),
    "a bit past the prefix": subnet(1, 20, bytes([10, 0, 8])),
    "a bit past /31": subnet(1, 31, bytes([10, 0, 0, 1])),
    "a bit past the IPv6 prefix": subnet(2, 33, bytes([0x20, 1, 0xD, 0xB8, 0x7F])),
    "a scope in a query": subnet(1, 24, NET4, scope=24),
    "a scope of 1": subnet(1, 24, NET4, scope=1),
    "a scope for source 0": subnet(1, 0, scope=1),
}
SUBNETS += [
    bad(f"ECS, {what}, {where}", query(qname, "A", opt(options=data)), "7871 7.1.2")
    for what, data in WRONG_SUBNETS.items()
    for where, qname in (("steered", STEERED), ("static", STATIC_NAME))
]

TYPES = [
    Check("an unknown type that is there", query("odd.svc.example.", 65280, opt()), "3597", answer=("\\# 3 010203",)),
] + [
    Check(f"type {t} that isn't there", query(STATIC_NAME, t, opt()), "3597 8", answer=(), authority="SOA")
    for t in (1000, 65280, 65534, 65535, 0x8001, 99, 10)
] + [
    Check("an unknown type at a steered name", query(STEERED, 1000, opt()), "3597 8", answer=(), authority="SOA"),
    Check("an unknown type through a CNAME", query("alias.svc.example.", 1000, opt()), "1034 3.6.2", answer=("a",), authority="SOA"),
    Check("ANY, static: one RRset is enough", query(STATIC_NAME, "ANY", opt()), "8482 4.1", answer=None),
    Check("ANY, steered", query(STEERED, "ANY", opt()), "8482 4.1", answer=None),
    Check("ANY, no such name", query("gone.svc.example.", "ANY", opt()), "8482 4", "NXDOMAIN", (), "SOA"),
    Check("ANY, outside the zones", query("a.elsewhere.", "ANY", opt()), CHOICE, "REFUSED", (), aa=False, options={EDE: says(20)}),
    refused("AXFR", query("svc.example.", "AXFR", opt()), CHOICE),
    refused("AXFR of a name that isn't a zone", query(STATIC_NAME, "AXFR", opt()), CHOICE),
    refused("AXFR outside the zones", query("a.elsewhere.", "AXFR"), CHOICE, edns=False),
    refused("IXFR", message([question("svc.example.", "IXFR")], [opt()], authority=[record("svc.example.", "SOA", b"\0\0" + bytes(20))]), CHOICE),
    refused("IXFR without its SOA", query("svc.example.", "IXFR", opt()), CHOICE),
    Check("MAILA", query(STATIC_NAME, "MAILA", opt()), "1035 3.2.3", answer=(), authority="SOA"),
    Check("MAILB", query(STATIC_NAME, "MAILB", opt()), "1035 3.2.3", answer=(), authority="SOA"),
]

CLASSES = [
    refused(f"class {c}", query(STATIC_NAME, "A", opt(), qclass=c), CHOICE) for c in ("CH", "HS", "NONE", 0, 2, 65280)
] + [
    refused(f"{n} CH TXT{', EDNS' if extra else ''}", query(n, "TXT", *extra, qclass="CH"), "4892", edns=bool(extra))
    for n in ("version.bind.", "id.server.", "hostname.bind.", "version.server.", "VERSION.BIND.")
    for extra in ([opt()], [])
] + [
    Check("class ANY", query(STATIC_NAME, "A", opt(), qclass="ANY"), "1035 6.2", aa=False, answer=STATIC),
    refused("version.bind in class IN", query("version.bind.", "TXT", opt()), CHOICE),
]

SHAPES = [
    bad("two questions", message([question(STATIC_NAME), question(STATIC_NAME)], [opt()]), "9619 4", edns=None, echo=EITHER),
    bad("two unlike questions", message([question(STATIC_NAME), question(STEERED)]), "9619 4", edns=None, echo=EITHER),
    bad("many questions", message([question(STATIC_NAME)] * 40), "9619 4", edns=None, echo=EITHER),
    bad("no question", message(), "1035 4.1.2", edns=False, echo=False),
    bad("no question with EDNS", message([], [opt()]), "1035 4.1.2", edns=None, echo=False),
    bad("a question that isn't there", message(counts=[1, 0, 0, 0]), "1035 4.1.1", edns=False, echo=False),
    bad("65,535 questions that aren't there", message(counts=[65535] * 4), "1035 4.1.1", edns=False, echo=False),
    bad("65,535 more that aren't there", message([question(STATIC_NAME)], counts=[1, 0, 0, 65535]), "1035 4.1.1", edns=False),
    bad("half a question", message([question(STATIC_NAME)[:-1]]), "1035 4.1.2", edns=False, echo=False),
    bad("a name without end", message([b"\3www\3svc"], counts=[1, 0, 0, 0]), "1035 4.1.2", edns=False, echo=False),
    bad("a question that points at itself", message([question(b"\xc0\x0c")]), "1035 4.1.4", edns=False, echo=False),
    bad("a question that points ahead", message([question(b"\xc0\x20")], tail=name(STATIC_NAME)), "1035 4.1.4", edns=False, echo=False),
    bad("a question that points at the header", message([question(b"\1a\xc0\x00")]), "1035 4.1.4", edns=False, echo=False),
    bad("a label of type 01", message([question(b"\x41" + b"a" * 65 + b"\0")]), "6891 5", edns=False, echo=False),
    bad("a label of type 10", message([question(b"\x81" + b"a" * 129 + b"\0")]), "1035 4.1.4", edns=False, echo=False),
    bad("a name of 256 octets", message([question(b"\x3f" + b"a" * 63 + (b"\x3f" + b"b" * 63) * 2 + b"\x3e" + b"c" * 62 + b"\0")]), "1035 2.3.4", edns=False, echo=False),
    refused("a name of 255 octets", message([question(b"\x3f" + b"a" * 63 + (b"\x3f" + b"b" * 63) * 2 + b"\x3d" + b"c" * 61 + b"\0")]), "1035 2.3.4", edns=False, size=512),
    Check("an answer in a query", message([question(STATIC_NAME)], [opt()], answer=[record(STATIC_NAME, "A", bytes(4))]), "1034 3.7"),
    Check("an authority in a query", message([question(STATIC_NAME)], [opt()], authority=[record(STATIC_NAME, "A", bytes(4))]), "1034 3.7"),
    bad("a malformed answer in a query", message([question(STATIC_NAME)], [opt()], answer=[record(STATIC_NAME, "A", bytes(3))]), "1035 3.4.1", edns=None),
    bad("an answer that isn't there", message([question(STATIC_NAME)], counts=[1, 1, 0, 0]), "1035 4.1.1", edns=False),
    bad("a record without its data", query(STATIC_NAME, "A", record("x.", "A", bytes(4))[:-1]), "1035 4.1.3", edns=False),
    Check("TC in a query means nothing", query(STATIC_NAME, "A", opt(), flags=TC), "1035 4.1.1"),
    Check("a record in a query", query(STATIC_NAME, "A", record("x.", "A", bytes(4))), "1034 3.7", edns=False),
    Check("octets after the message", query(STATIC_NAME, "A", opt(), tail=b"and more"), "1035 4.1"),
    Check("octets after the message, no EDNS", query(STATIC_NAME, "A", tail=bytes(300)), "1035 4.1", edns=False),
]



def tsig(key="key.", algorithm="hmac-sha256.", rclass="ANY", tail=b""):
    """A signature by an unknown key."""
    return record(key, "TSIG", name(algorithm) + SIGNED_AT + struct.pack("!H", 32) + bytes(32) + struct.pack("!HHH", ID, 0, 0) + tail, rclass)


def not_our_key(what, packet, key="key.", algorithm="hmac-sha256.", **how):
    """RFC 8945, 5.3.2: NOTAUTH, with an unsigned TSIG of error 17 (BADKEY) by the same key."""
    wanted = record(key, "TSIG", name(algorithm) + SIGNED_AT + struct.pack("!HHHH", 0, ID, 17, 0), "ANY")
    return Check(what, packet, "8945 5.2.1", "NOTAUTH", (), aa=False, signature=wanted, **how)


SIGNED_AT = struct.pack("!HIH", 0, 1_800_000_000, 300)

SIGNATURES = [
    not_our_key("TSIG", query(STATIC_NAME, "A", tsig()), edns=False),
    not_our_key("TSIG after EDNS", query(STATIC_NAME, "A", opt(), tsig())),
    not_our_key("TSIG with a steered name", query(STEERED, "A", tsig()), edns=False),
    not_our_key("TSIG outside the zones", query("a.elsewhere.", "A", tsig()), edns=False),
    not_our_key("TSIG of another algorithm", query(STATIC_NAME, "A", tsig(algorithm="no.such.")), algorithm="no.such.", edns=False),
    not_our_key("TSIG with AXFR", query("svc.example.", "AXFR", tsig()), edns=False),
    not_our_key("TSIG with NOTIFY", query("svc.example.", "SOA", tsig(), opcode=4), edns=False),
    not_our_key("TSIG with UPDATE", query("svc.example.", "SOA", tsig(), opcode=5), edns=False),
    Check("TSIG with an unknown opcode", query(STATIC_NAME, "A", tsig(), opcode=2), "1035 4.1.1", "NOTIMP", (), aa=False, edns=False),
    bad("TSIG before EDNS", query(STATIC_NAME, "A", tsig(), opt()), "8945 5.1", edns=None),
    bad("TSIG twice", query(STATIC_NAME, "A", tsig(), tsig()), "8945 5.1", edns=False),
    bad("TSIG among the answers", message([question(STATIC_NAME)], answer=[tsig()]), "8945 5.1", edns=False),
    bad("TSIG of class IN", query(STATIC_NAME, "A", tsig(rclass="IN")), "8945 4.2", edns=False),
    bad("TSIG of nothing", query(STATIC_NAME, "A", record("key.", "TSIG", b"", "ANY")), "8945 4.2", edns=False),
    bad("TSIG with more in it", query(STATIC_NAME, "A", tsig(tail=b"more")), "8945 4.2", edns=False),
    Check("SIG(0)", query(STATIC_NAME, "A", record(".", "SIG", struct.pack("!HBBIIIH", 0, 13, 0, 0, 0xFFFFFFFF, 0, 1) + name("key.") + bytes(64), "ANY")), "2931 3.2", edns=False),
]

MATRIX = PLAIN + VERSIONS + FLAGS + OPCODES + SIZES + OPTIONS + COOKIES + SUBNETS + SIGNATURES + TYPES + CLASSES + SHAPES
