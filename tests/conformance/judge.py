"""Compares the replies of two servers. A reply is reduced to what a resolver uses. What the RFCs leave open (order within an
RRset, case of names in RDATA, optional additional addresses, NS records in addition to an answer) doesn't count."""
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

A, NS, CNAME, SOA, DNAME, ANY = 1, 2, 5, 6, 39, 255
ADDRESSES = ("A", "AAAA")


@dataclass
class Reply:
    """A reply over UDP, and the reply over TCP if the first is truncated."""

    rcode: str
    aa: bool
    tc: bool
    flags: int  # RD, RA, Z, AD, CD
    answer: list  # of (owner, type, TTL, frozenset of contents), in the order of the chain
    authority: frozenset
    additional: list
    has_opt: bool
    dnssec_ok: bool
    opcode_ok: bool
    faults: list  # its faults, independent of other replies
    size: int

    def __str__(self):
        flags = " ".join(word for word, on in (("aa", self.aa), ("tc", self.tc)) if on)
        lines = [f"{self.rcode} {flags} opt={self.has_opt} {self.size} octets"]
        for title, section in (("answer", self.answer), ("authority", self.authority), ("additional", self.additional)):
            for owner, rtype, ttl, contents in section:
                shown = ", ".join(sorted(show(content, rtype) for content in contents))
                lines.append(f"  {title}: {owner} {ttl} {dns.rdatatype.to_text(rtype)} {shown[:200]}")
        return "\n".join(lines + [f"  FAULT: {fault}" for fault in self.faults])


def show(content, rtype):
    try:
        return dns.rdata.from_wire(dns.rdataclass.IN, rtype, content, 0, len(content)).to_text()
    except Exception:  # for people only
        return content.hex()


def lower(name):
    return name.canonicalize().to_text()


def rrsets(section):
    return [
        (lower(rrset.name), int(rrset.rdtype), rrset.ttl, frozenset(rdata.to_digestable() for rdata in rrset))
        for rrset in section
    ]


def read(packet, question, limit):
    """Reduces a packet to a Reply; None stays None."""
    if packet is None:
        return None
    faults = []
    try:
        message = dns.message.from_wire(packet)
    except dns.exception.DNSException as error:
        return Reply("UNREADABLE", False, False, 0, [], frozenset(), [], False, False, False, [repr(error)], len(packet))
    query = question.packet(0)
    end = 12 + len(question.name) + 4
    if packet[12:end] != query[12:end] or packet[4:6] != b"\0\1":
        faults.append("the question is not repeated as it was sent")
    if len(packet) > limit:
        faults.append(f"{len(packet)} octets, and {limit} were allowed")
    counted = sum(len(rrset) for section in (message.answer, message.authority) for rrset in section)
    if counted != int.from_bytes(packet[6:8]) + int.from_bytes(packet[8:10]):
        faults.append("a record is there twice")
    if message.answer and not message.flags & dns.flags.TC:
        faults += owner_fault(message.answer[0].name, question)
    return Reply(
        rcode=dns.rcode.to_text(message.rcode()),
        aa=bool(message.flags & dns.flags.AA),
        tc=bool(message.flags & dns.flags.TC),
        flags=message.flags & 0x01F0,
        answer=rrsets(message.answer),
        authority=frozenset(rrsets(message.authority)),
        additional=rrsets(message.additional),
        has_opt=message.edns >= 0,
        dnssec_ok=bool(message.ednsflags & dns.flags.DO),
        opcode_ok=message.opcode() == 0 and bool(message.flags & dns.flags.QR),
        faults=faults,
        size=len(packet),
    )


def owner_fault(owner, question):
    """0x20: an owner that is the name of the query has the same case as in the query."""
    name, _ = dns.name.from_wire(question.name, 0)
    if owner == name and owner.to_wire() != question.name:
        return [f"the answer's owner is spelled {owner}, and the query has {name}"]
    return []


# --- how two replies differ ---------------------------------------------------------------------------------------

def differences(ours, theirs, question):
    """The aspects in which `ours` differs from `theirs`."""
    if ours is None or theirs is None:
        return [] if ours is theirs else ["silence"]
    found = []
    if ours.rcode != theirs.rcode:
        found.append("rcode")
    if ours.aa != theirs.aa:
        found.append("aa")
    if ours.tc != theirs.tc:
        found.append("tc")
    if ours.has_opt != theirs.has_opt or ours.dnssec_ok != theirs.dnssec_ok:
        found.append("opt")
    if question.rtype == ANY:
        return found + ([] if ours.tc or theirs.tc or same_any(ours, theirs, question) else ["answer"])
    if ours.tc or theirs.tc:
        return found  # nobody uses the records of a truncated reply (RFC 2181, 9)
    if ours.answer != theirs.answer:
        found.append("order" if sorted(map(key, ours.answer)) == sorted(map(key, theirs.answer)) else "answer")
    if essential(ours, question) != essential(theirs, question):
        found.append("authority")
    return found


def key(rrset):
    owner, rtype, ttl, contents = rrset
    return owner, rtype, ttl, sorted(contents)


def essential(reply, question):
    """Authority records with a meaning: SOA of a negative answer, NS of a referral, and DS with it; not the NS that a server
    may add to a complete answer."""
    is_complete = bool(reply.answer) and reply.answer[-1][1] == question.rtype
    return {rrset for rrset in reply.authority if rrset[1] != NS or not is_complete}


def same_any(ours, theirs, question):
    """RFC 8482, 4.1 and 4.3: any choice of RRsets answers ANY, as long as there is one where there are some, and a whole
    one; a referral and a negative answer are no choice."""
    if not theirs.answer:
        return not ours.answer and essential(ours, question) == essential(theirs, question)
    return bool(ours.answer) and all(rrset in theirs.answer or rrset[1] == 13 for rrset in ours.answer)


# --- checks of our reply alone --------------------------------------------------------------------------------

def own_faults(reply, question, world):
    """The faults of a reply by its zones: missing glue, additional records that no zone has, flags."""
    if reply is None:
        return ["no reply"]
    faults = list(reply.faults)
    wanted = question.flags & 0x0100
    if reply.flags != wanted:
        faults.append(f"flags RD RA Z AD CD are {reply.flags:#06x}, not {wanted:#06x}")
    if reply.has_opt != (question.payload is not None) or reply.dnssec_ok != question.dnssec_ok:
        faults.append("OPT or DO is not as in the query")
    if not reply.tc:
        faults += missing_glue(reply, world)
    return faults + strange_additionals(reply, world)


def missing_glue(reply, world):
    """RFC 9471, 2.1: all addresses of a delegation's servers below the cut go with it."""
    there = {(owner, rtype) for owner, rtype, _, _ in reply.additional}
    missing = []
    for owner, rtype, _, contents in reply.authority:
        cut = dns.name.from_text(owner)
        zone = next((zone for zone in world.zones if rtype == NS and zone.apex != cut and zone.get(cut, "NS")), None)
        if zone is None or reply.aa and not reply.answer:
            continue
        for content in contents:
            server, _ = dns.name.from_wire(content, 0)
            for kind in ADDRESSES:
                if server.is_subdomain(cut) and zone.get(server, kind):
                    if (lower(server), int(dns.rdatatype.from_text(kind))) not in there:
                        missing.append(f"glue is missing: {server} {kind}")
    return missing


def strange_additionals(reply, world):
    """Additional records must be addresses that a zone of this world has, whole, of a name in the reply."""
    spoken = set()
    for section in (reply.answer, reply.authority):
        for owner, rtype, _, contents in section:
            spoken |= {name for content in contents for name in named_in(owner, content, rtype)}
    strange = []
    for owner, rtype, ttl, contents in reply.additional:
        kind = dns.rdatatype.to_text(rtype)
        if kind not in ADDRESSES or owner not in spoken:
            strange.append(f"additional {owner} {kind} is about nothing in the reply")
            continue
        if not any(holds(zone, owner, kind, ttl, len(contents)) for zone in world.zones):
            strange.append(f"additional {owner} {kind} is not what a zone has")
    return strange


def named_in(owner, content, rtype):
    """The names that these contents point at and that addresses may be added for."""
    before = {NS: 0, 15: 2, 33: 6, 18: 2, 36: 2, 64: 2, 65: 2}.get(rtype)
    if rtype == 35:  # NAPTR: order, preference, three strings
        before = 4
        for _ in range(3):
            before += 1 + content[before]
    if before is None:
        return []
    name = lower(dns.name.from_wire(content, before)[0])
    # A service at `.` is at the owner itself (RFC 9460, 2.5.2).
    return [owner if name == "." and rtype in (64, 65) else name]


def holds(zone, owner, kind, ttl, count):
    """Whether the zone has this RRset, by name or by a wildcard."""
    name = dns.name.from_text(owner)
    candidates = [name]
    while name != zone.apex and name.is_subdomain(zone.apex):
        name = name.parent()
        candidates.append(dns.name.Name((b"*",) + name.labels))
    found = [zone.get(candidate, kind) for candidate in candidates]
    return any(rrset and (rrset[0], len(rrset[1])) == (ttl, count) for rrset in found)
