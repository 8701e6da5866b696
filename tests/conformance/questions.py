"""The queries to a world: its names and neighbouring ones, with types that exist and types that don't."""
from dataclasses import dataclass

import dns.name
import dns.rdatatype

from worlds import LABELS, STAR

TYPES = ["A", "A", "A", "AAAA", "TXT", "MX", "NS", "SOA", "CNAME", "DNAME", "DS", "DS", "SRV", "ANY", "PTR", "HTTPS"]
UNUSUAL = ["TYPE65280", "TYPE65535", "TYPE1234", "NSEC", "RRSIG", "DNSKEY", "CAA", "LOC", "NULL", "NAPTR"]
# The size in EDNS; None: no EDNS.
PAYLOADS = [None, None, None, 0, 100, 512, 513, 1232, 1232, 1232, 1400, 4096, 65535]

FLAG_RD, FLAG_CD, FLAG_AD = 0x0100, 0x0010, 0x0020


@dataclass(frozen=True)
class Question:
    """One query, and the world it is about."""

    world: object
    name: bytes  # wire form, with the case of the query
    rtype: int
    flags: int
    payload: int | None
    dnssec_ok: bool

    def packet(self, id, tcp=False):
        """The message. Over TCP, the same."""
        opt = b""
        if self.payload is not None:
            ttl = 0x8000 if self.dnssec_ok else 0
            opt = b"\0" + (41).to_bytes(2) + self.payload.to_bytes(2) + ttl.to_bytes(4) + b"\0\0"
        head = id.to_bytes(2) + self.flags.to_bytes(2) + b"\0\1\0\0\0\0" + (1 if opt else 0).to_bytes(2)
        return head + self.name + self.rtype.to_bytes(2) + b"\0\1" + opt

    def limit(self):
        """The most octets that a reply over UDP may have: RFC 1035, 2.3.4; RFC 6891, 6.2.5; all servers are set to 1232."""
        return 512 if self.payload is None else min(max(self.payload, 512), 1232)

    def __str__(self):
        name, _ = dns.name.from_wire(self.name, 0)
        edns = "+noedns" if self.payload is None else f"+bufsize={self.payload}{' +dnssec' if self.dnssec_ok else ''}"
        return f"{name.to_text()} {dns.rdatatype.to_text(self.rtype)} {edns}"


def names_of(world):
    """Names to query: existing ones, targets, names above, below and next to them, random ones, and names outside the zone."""
    child, names = world.child, set(world.hints)
    for zone in world.zones:
        names |= {zone.apex, child(zone.apex, b"nx"), child(child(zone.apex, b"a"), b"nx"), zone.apex.parent()}
        for owner in zone.owners():
            above = owner
            while above != zone.apex:
                names.add(above)
                above = above.parent()
            names |= {child(owner, b"nx"), child(child(owner, b"b"), b"nx"), child(owner, STAR)}
            names |= {child(owner, world.rng.choice(LABELS)), child(owner.parent(), world.rng.choice(LABELS))}
        for (_, rtype), (_, contents) in zone.sets.items():
            if rtype in ("CNAME", "NS", "MX", "DNAME"):
                names |= {dns.name.from_text(content.split()[-1]) for content in contents}
    return sorted(names)


def spelled(rng, name):
    """Wire form, sometimes in another case (0x20)."""
    wire = name.to_wire()
    if rng.random() < 0.6:
        return wire
    at, spelled = 0, bytearray(wire)
    while wire[at]:
        for i in range(at + 1, at + 1 + wire[at]):
            if chr(wire[i]).isascii() and chr(wire[i]).isalpha() and rng.random() < 0.5:
                spelled[i] ^= 0x20
        at += 1 + wire[at]
    return bytes(spelled)


def pick_type(world, name):
    rng = world.rng
    there = [rtype for zone in world.zones for rtype in sorted(zone.types_at.get(name, ()))]
    dice = rng.random()
    if there and dice < 0.5:
        return rng.choice(there)
    return rng.choice(TYPES if dice < 0.93 else UNUSUAL)


def ask_about(world, count):
    """`count` different queries: each name once before any name is used again."""
    rng, names, questions = world.rng, names_of(world), {}
    pile = []
    for _ in range(count * 3):
        if len(questions) == count:
            break
        if not pile:
            pile = rng.sample(names, len(names))
        name = pile.pop()
        rtype = dns.rdatatype.from_text(pick_type(world, name))
        payload = rng.choice(PAYLOADS)
        flags = rng.choice([0, 0, FLAG_RD, FLAG_RD, FLAG_CD, FLAG_AD])
        question = Question(world, spelled(rng, name), rtype, flags, payload, payload is not None and rng.random() < 0.4)
        questions.setdefault((name, rtype, payload), question)
    return list(questions.values())
