"""Malicious packets: valid ones that are changed, cut, joined or have wrong counts, loops of pointers, and random octets.
All depend on one seed, so that a packet that did harm can be sent again."""
import struct

from packets import COOKIE, ECS, EDE, NSID, message, name, opt, option, query, question, record, subnet

NAMES = [
    "www.svc.example.", "WWW.Svc.Example.", "a.svc.example.", "alias.svc.example.", "x.wild.svc.example.", "big.svc.example.",
    "gone.svc.example.", "svc.example.", "example.", ".", "version.bind.", "a." * 100 + "svc.example.", "x" * 63 + ".svc.example.",
]
TYPES = ["A", "AAAA", "TXT", "SOA", "NS", "ANY", "CNAME", "OPT", "TSIG", "AXFR", "IXFR", "MAILA", "TYPE0", "TYPE65280", "DS", "RRSIG"]
CLASSES = ["IN", "IN", "IN", "CH", "NONE", "ANY", "CLASS0"]
# Octets that parsers often treat wrongly: lengths, pointers, the other label types.
EDGES = [0, 1, 0x0C, 0x29, 0x3F, 0x40, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xFE, 0xFF]
LONGEST = 1400


class Hostile:
    """Hostile(chance).packet() gives the next one."""

    def __init__(self, chance):
        self.chance = chance
        self.kinds = [self.noise, self.changed, self.changed, self.cut, self.glued, self.lying, self.looping, self.odd_labels, self.options, self.records]

    def packet(self):
        made = self.chance.choice(self.kinds)()
        return (self.change(made, 2) if self.chance.random() < 0.3 else made)[:LONGEST]

    def good(self):
        chance = self.chance
        extra = [self.good_opt()] if chance.random() < 0.6 else []
        return query(chance.choice(NAMES), chance.choice(TYPES), *extra, qclass=chance.choice(CLASSES), flags=chance.choice([0, 0x100, 0x10]))

    def good_opt(self):
        chance = self.chance
        known = [
            option(NSID), option(COOKIE, chance.randbytes(8)), option(COOKIE, chance.randbytes(24)), option(EDE, b"\0\0"), option(chance.randrange(65536), chance.randbytes(3)),
            subnet(1, 24, bytes([198, 51, 100])), subnet(1, 24, chance.randbytes(3)), subnet(2, 56, chance.randbytes(7)), option(ECS, chance.randbytes(chance.randrange(20))),
        ]
        return opt(chance.choice([0, 512, 1232, 65535]), flags=chance.choice([0, 0x8000]), options=b"".join(chance.sample(known, chance.randrange(4))))

    def change(self, packet, times):
        """Changes, adds or removes some octets."""
        chance, wire = self.chance, bytearray(packet)
        for _ in range(chance.randrange(1, times + 1)):
            at = chance.randrange(len(wire) + 1)
            match chance.randrange(5):
                case 0 if at < len(wire):
                    wire[at] ^= 1 << chance.randrange(8)
                case 1 if at < len(wire):
                    wire[at] = chance.choice(EDGES)
                case 2:
                    wire[at:at] = bytes(chance.choices(EDGES, k=chance.randrange(1, 4)))
                case 3:
                    del wire[at : at + chance.randrange(1, 4)]
                case _ if at < len(wire):
                    wire[at] = chance.randrange(256)
        return bytes(wire)

    def noise(self):
        return self.chance.randbytes(self.chance.randrange(0, 600))

    def changed(self):
        return self.change(self.good(), 8)

    def cut(self):
        whole = self.good()
        return whole[: self.chance.randrange(len(whole))]

    def glued(self):
        return self.good() + self.good()[self.chance.randrange(12) :]

    def lying(self):
        """Wrong counts in the header."""
        chance = self.chance
        counts = [chance.choice([0, 1, 1, 2, 255, 65535]) for _ in range(4)]
        return message([question(chance.choice(NAMES))], [self.good_opt()], counts=counts, opcode=chance.randrange(16), flags=chance.randrange(65536) & 0x87FF)

    def looping(self):
        """Names that point to themselves, to each other, forward, or through a long chain of pointers."""
        chance, at = self.chance, 12
        match chance.randrange(4):
            case 0:
                body = b"\xc0\x0c"
            case 1:
                body = b"\x01a\xc0\x0c"
            case 2:
                body = b"\xc0\x0e\xc0\x0c"
            case _:
                rungs = chance.randrange(2, 300)
                body = b"".join(struct.pack("!H", 0xC000 | (at + 2 * (i + 1)) & 0x3FFF) for i in range(rungs)) + b"\xc0\x0c"
        if chance.random() < 0.5:
            return message([body + b"\0\1\0\1"])
        owner = struct.pack("!H", 0xC000 | chance.choice([12, 13, len(name(NAMES[0])) + 16, chance.randrange(0x4000)]))
        return query(NAMES[0], "A", record(owner, "A", body), self.good_opt())

    def odd_labels(self):
        """Unused label types, and labels and names that are too long."""
        chance = self.chance
        label = bytes([chance.choice([0x40, 0x41, 0x7F, 0x80, 0xBF, 63, 62])])
        owner = b"".join(label + chance.randbytes(label[0] & 0x3F or 1) for _ in range(chance.randrange(1, 8)))
        return message([question(owner + chance.choice([b"\0", b"", b"\xc0\x0c"]))], [self.good_opt()])

    def options(self):
        """OPT records with wrong option lengths or many options, or several OPT records."""
        chance = self.chance
        inner = b"".join(
            option(chance.choice([NSID, ECS, COOKIE, EDE, 9, 11, 12, chance.randrange(65536)]), chance.randbytes(chance.randrange(40)), length=chance.choice([None, None, 0, 3, 65535]))
            for _ in range(chance.randrange(1, 12))
        )
        one = opt(chance.randrange(65536), version=chance.choice([0, 0, 0, 1, 255]), flags=chance.randrange(65536), options=inner, length=chance.choice([None, None, 0, 65535, len(inner) - 1]))
        return query(chance.choice(NAMES), "A", *[one] * chance.choice([1, 1, 1, 2, 5]))

    def records(self):
        """Records of any type in sections that are empty in a query, also invalid signatures."""
        chance = self.chance

        def any_record():
            return record(chance.choice([b"\0", b"\xc0\x0c", name(chance.choice(NAMES))]), chance.choice([1, 6, 24, 41, 46, 249, 250, 251, 252, 255, chance.randrange(65536)]), chance.randbytes(chance.randrange(60)))

        sections = [[any_record() for _ in range(chance.randrange(3))] for _ in range(3)]
        return message([question(chance.choice(NAMES), chance.choice(TYPES))], sections[0], sections[1], sections[2], opcode=chance.choice([0, 0, 0, 4, 5, 6]))
