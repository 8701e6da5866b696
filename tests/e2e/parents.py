"""The root on 127.0.0.2 and the zone example. on 127.0.0.3: they delegate svc.example. to 127.0.0.53 and .54.

It is its own process, with port 53, so it runs in a network namespace. It has only the records that a resolver needs to
find svc.example.
"""
import select
import socket

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

ROOT, PARENT = "127.0.0.2", "127.0.0.3"


def records(*lines):
    return [dns.rrset.from_text(name, 3600, "IN", rdtype, *rdatas) for name, rdtype, *rdatas in lines]


# address: (zone, its own records, the zone below it, that zone's NS, their glue)
ZONES = {
    ROOT: (
        ".",
        records(
            (".", "SOA", "a.root-servers.test. root.test. 1 7200 900 1209600 300"),
            (".", "NS", "a.root-servers.test."),
            ("a.root-servers.test.", "A", ROOT),
        ),
        "example.",
        records(("example.", "NS", "ns.example.")),
        records(("ns.example.", "A", PARENT)),
    ),
    PARENT: (
        "example.",
        records(
            ("example.", "SOA", "ns.example. root.test. 1 7200 900 1209600 300"),
            ("example.", "NS", "ns.example."),
            ("ns.example.", "A", PARENT),
        ),
        "svc.example.",
        records(("svc.example.", "NS", "ns1.svc.example.", "ns2.svc.example.")),
        records(("ns1.svc.example.", "A", "127.0.0.53"), ("ns2.svc.example.", "A", "127.0.0.54")),
    ),
}


def reply_to(query, address):
    """A referral for a name below the delegation, else the zone's own records, with the address of its server."""
    zone, own, child, delegation, glue = ZONES[address]
    question = query.question[0]
    reply = dns.message.make_response(query)
    if question.name.is_subdomain(dns.name.from_text(child)):
        reply.authority, reply.additional = list(delegation), list(glue)
        return reply
    reply.flags |= dns.flags.AA
    reply.answer = [r for r in own if (r.name, r.rdtype) == (question.name, question.rdtype)]
    if question.rdtype == dns.rdatatype.NS and reply.answer:
        reply.additional = [r for r in own if r.rdtype == dns.rdatatype.A]
    if not reply.answer:
        reply.authority = [own[0]]
        exists = any(r.name.is_subdomain(question.name) for r in own)
        reply.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
    return reply


def main():
    sockets = {}
    for address in ZONES:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        sockets[udp] = address
    print("ready", flush=True)
    while True:
        for udp in select.select(list(sockets), [], [])[0]:
            packet, client = udp.recvfrom(4096)
            udp.sendto(reply_to(dns.message.from_wire(packet), sockets[udp]).to_wire(), client)


if __name__ == "__main__":
    main()
