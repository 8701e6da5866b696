"""Master files from a seed: every type, and every way in which RFC 1035, 5.1 and its successors let it be written."""
import base64
import itertools
import random

SINGLE = ("CNAME", "DNAME")
# Types that go by another name too.
ALSO = {"TYPE1": "A", "TYPE15": "MX"}
RECORDS = 60
# Files that a file of the seed includes, one within the other.
MAX_DEPTH = 3
UNITS = (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
# Characters that need no escape in a name and none outside quotes.
PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
# Characters that mean something to a scanner, so that a name holds them behind a backslash only.
SPECIAL = '@;()". $\\'


class Writer:
    """One file under way: the origin in force, what the next record may leave out, and the text so far."""

    def __init__(self, rng, origin):
        self.rng, self.origin, self.apex = rng, origin, origin
        self.lines, self.includes = [], {}
        # Each record has an owner with a number of its own, in all files of a zone.
        self.owners = itertools.count(1)
        self.has_ttl = False
        # Whether a record has stood in this file, so that the next may leave its owner out.
        self.last_owner_taken = None

    def pick(self, *choices):
        return self.rng.choice(choices)

    def chance(self, share):
        return self.rng.random() < share

    # --- tokens ---------------------------------------------------------------------------------------------------

    def octet(self, char):
        """A character of a name or text, in one of the ways to write it."""
        if char in SPECIAL:
            return self.pick("\\" + char, f"\\{ord(char):03}")
        return self.rng.choices([char, f"\\{ord(char):03}", char if char.isdigit() else "\\" + char], [20, 1, 1])[0]

    def label(self):
        alphabet = PLAIN + (SPECIAL if self.chance(0.1) else "")
        return "".join(self.octet(self.rng.choice(alphabet)) for _ in range(self.rng.randint(1, 12)))

    def name(self):
        """A name of some content: free-standing `@`, relative, absolute, the root, or odd."""
        kind = self.rng.choices(["at", "relative", "absolute", "root", "escaped at", "deep"], [6, 8, 4, 1, 1, 2])[0]
        return {
            "at": lambda: "@",
            "relative": self.label,
            "absolute": lambda: self.label() + ".example.",
            "root": lambda: ".",
            "escaped at": lambda: self.pick("\\@", "\\064"),
            "deep": lambda: ".".join(self.label() for _ in range(3)) + self.pick("", "."),
        }[kind]()

    def seconds(self, value):
        """A length of time as a number, or with units of either case."""
        if self.chance(0.6):
            return str(value)
        text = ""
        for unit, size in UNITS:
            count, value = divmod(value, size)
            if count or (unit == "s" and not text):
                text += f"{count}{self.pick(unit, unit.upper())}"
        return text

    def text(self):
        """A character string, in quotes or without."""
        chars = [self.rng.choice(PLAIN + " \t;()@.$\\\"" + "\x00\x7f\xff\xe9,=") for _ in range(self.rng.randint(0, 20))]
        if self.chance(0.4) and chars:
            return "".join(self.octet(c) if c in PLAIN + SPECIAL else f"\\{ord(c):03}" for c in chars)
        plain = PLAIN + " \t;()@.$,="
        return '"' + "".join(c if c in plain and self.chance(0.9) else self.quoted(c) for c in chars) + '"'

    def quoted(self, char):
        return "\\" + char if char in '"\\' and self.chance(0.5) else f"\\{ord(char):03}"

    def number(self, most):
        return str(self.pick(0, 1, most, self.rng.randint(0, most)))

    def octets(self, length):
        return bytes(self.rng.randrange(256) for _ in range(length))

    def hexadecimal(self, length):
        return self.split(self.pick(str.lower, str.upper)(self.octets(length).hex()), 2)

    def base64(self, length):
        return self.split(base64.b64encode(self.octets(length)).decode(), 4)

    def split(self, text, step):
        """Digits may be cut by white space."""
        if self.chance(0.6) or len(text) <= step:
            return [text]
        at = self.rng.randrange(step, len(text), step)
        return [text[:at], text[at:]]

    def ipv4(self):
        return ".".join(str(self.rng.randrange(256)) for _ in range(4))

    def ipv6(self):
        return self.pick("2001:db8::1", "::", "::1", "2001:DB8:0:0:8::42", "::ffff:192.0.2.1", "fe80::1:2:3:4")

    # --- lines ----------------------------------------------------------------------------------------------------

    def space(self):
        return self.rng.choices([" ", "\t", "  ", " \t "], [12, 4, 2, 1])[0]

    def joined(self, tokens):
        """Tokens with white space between, and sometimes parentheses, line feeds and comments."""
        if self.chance(0.75):
            end = self.rng.choices(["", " ", "\t; a comment ( \" )", ";"], [12, 1, 2, 1])[0]
            return "".join(token + self.space() for token in tokens[:-1]) + tokens[-1] + end
        opened = self.rng.randrange(len(tokens))
        closed = self.rng.randint(opened + 1, len(tokens))
        out = ""
        for at, token in enumerate(tokens):
            if at == opened:
                out += self.pick("(", "( ", " ( ; opened\n ", "(\n") if at else "( "
            out += token
            if at + 1 == closed:
                out += self.pick(")", " )", "\n)", " ; last\n\t)")
            if opened <= at < closed - 1:
                out += self.pick(" ", "\n", "\n\t\t", " ; ) not this one\n", " \n\n ")
            elif at + 1 < len(tokens):
                out += " "
        return out

    def record(self, rtype, content, single=False):
        """A record of an owner of its own, or of the one before."""
        known = ALSO.get(rtype, rtype)
        indented = self.last_owner_taken is not None and not single and known not in self.last_owner_taken
        indented = indented and self.chance(0.3)
        if indented:
            owner = []
            self.last_owner_taken.add(known)
        else:
            number = next(self.owners)
            owner = [self.pick(f"n{number}", f"N{number}", f"n{number}.{self.label()}")]
            if self.chance(0.1):
                owner = [f"\\{self.pick('@', '(', ';', '*')}x{number}"]
            self.last_owner_taken = {known} if not single else None
        middle = []
        if self.chance(0.5) or not self.has_ttl:
            middle.append(self.seconds(self.pick(0, 1, 300, 5400, 86400, 694861, 2147483647)))
        if self.chance(0.5):
            middle.append(self.pick("IN", "in", "In", "CLASS1"))
        self.rng.shuffle(middle)
        lead = self.pick(" ", "\t", "   ") if indented else ""
        name = self.rng.choices([rtype, rtype.lower()], [4, 1])[0]
        tokens = owner + middle + [name] + content
        if indented:
            # The first parenthesis may not come before what shows that there is no owner.
            self.lines.append(lead + self.joined(tokens))
        else:
            rest = self.joined(tokens[1:])
            self.lines.append(tokens[0] + self.space() + rest)

    def directive(self, name, *content):
        line = self.pick(name, name.lower()) + self.space() + self.space().join(content)
        self.lines.append(line + self.pick("", " ", " ; comment"))


def flat(*parts):
    return [token for part in parts for token in (part if isinstance(part, list) else [part])]


def params(w):
    """SvcParams that are sound together, each in one of its forms."""
    forms = {
        "alpn": lambda: w.pick("alpn=h2", 'alpn="h2,h3"', "alpn=h2,h3", 'alpn="f\\\\\\\\oo\\\\,bar,h2"', "key1=\\002h2"),
        "no-default-alpn": lambda: w.pick("no-default-alpn", "key2"),
        "port": lambda: w.pick("port=443", "port=0", 'port="65535"', "key3=\\001\\187"),
        "ipv4hint": lambda: w.pick("ipv4hint=192.0.2.1", 'ipv4hint="192.0.2.1,192.0.2.2"', "key4=\\192\\000\\002\\001"),
        "ech": lambda: "ech=" + base64.b64encode(w.octets(9)).decode(),
        "ipv6hint": lambda: w.pick("ipv6hint=2001:db8::1", "ipv6hint=2001:db8::1,::2"),
        "key65400": lambda: w.pick("key65400", "key65400=x", 'key65400="a b\\"c"', "key65400=\\000\\255"),
        "key99": lambda: w.pick("key99=z", "key99"),
    }
    names = w.rng.sample(list(forms), w.rng.randint(0, 5))
    if "no-default-alpn" in names and "alpn" not in names:
        names.append("alpn")
    out = [forms[name]() for name in names]
    if "port" in names and w.chance(0.3):
        out.append(w.pick("mandatory=port", "key0=\\000\\003"))
    w.rng.shuffle(out)
    return out


def loc(w):
    size = w.pick([], ["1m"], ["10", "20m"], ["1.50m", "10000m", "10m"])
    return flat(w.pick(["42", "21", "54", "N"], ["42", "21", "54.5", "S"], ["89", "N"], ["0", "59", "N"]),
                w.pick(["71", "06", "18", "W"], ["71", "06", "18.123", "E"], ["179", "E"]),
                w.pick("-24m", "0m", "10", "42849672.95m", "-100000m"), size)


CONTENTS = {
    "A": lambda w: [w.ipv4()],
    "AAAA": lambda w: [w.ipv6()],
    "AMTRELAY": lambda w: flat(
        w.number(255), w.pick("0", "1"), w.pick(["0", "."], ["1", w.ipv4()], ["2", "2001:db8::1"], ["3", w.name()])),
    "AFSDB": lambda w: [w.number(65535), w.name()],
    "APL": lambda w: w.pick([], ["1:192.0.2.0/24"], ["!2:2001:db8::/32", "1:0.0.0.0/0"], ["1:10.0.0.1/32"]),
    "CAA": lambda w: [w.number(255), w.pick("issue", "iodef", "tag9"), w.text()],
    "CDNSKEY": lambda w: flat(w.pick("256", "257"), "3", w.pick("8", "13", "15"), w.base64(33)),
    "CDS": lambda w: flat(w.number(65535), w.pick("8", "13"), "2", w.hexadecimal(32)),
    "CERT": lambda w: flat(w.pick("PKIX", "1", "PGP", "65535"), w.number(65535), w.pick("8", "RSASHA256"), w.base64(30)),
    "CNAME": lambda w: [w.name()],
    "CSYNC": lambda w: [w.number(4294967295), w.pick("0", "3"), "A", "NS", "AAAA"],
    "DHCID": lambda w: w.base64(35),
    "DNAME": lambda w: [w.name()],
    "DNSKEY": lambda w: flat("256", "3", w.pick("8", "13", "RSASHA256"), w.base64(36)),
    "DLV": lambda w: flat(w.number(65535), w.pick("13", "ECDSAP256SHA256"), "2", w.hexadecimal(32)),
    "DS": lambda w: flat(w.number(65535), w.pick("8", "rsasha256"), "2", w.hexadecimal(32)),
    "EID": lambda w: w.hexadecimal(6),
    "EUI48": lambda w: [w.pick("00-00-5e-00-53-2a", "FF-00-5E-00-53-2A")],
    "EUI64": lambda w: [w.pick("00-00-5e-ef-10-00-00-2a", "00-00-5E-EF-10-00-00-2A")],
    "GPOS": lambda w: [w.pick("-32.6882", '"10.5"'), w.pick("116.8652", "0"), w.pick("10.0", '"-5"')],
    "HINFO": lambda w: [w.text(), w.text()],
    "HTTPS": lambda w: w.pick([w.pick("0"), w.name()], flat(w.pick("1", "16", "65535"), w.name(), params(w))),
    "IPSECKEY": lambda w: flat(
        w.number(255), w.pick(["0", "2", "."], ["1", "2", w.ipv4()], ["2", "1", "2001:db8::1"], ["3", "2", w.name()]),
        w.base64(20)),
    "ISDN": lambda w: w.pick(['"150862028003217"'], ["150862028003217", "004"]),
    "KEY": lambda w: flat("256", "3", w.pick("8", "13"), w.base64(36)),
    "KX": lambda w: [w.number(65535), w.name()],
    "L32": lambda w: [w.number(65535), "10.1.2.0"],
    "L64": lambda w: [w.number(65535), "2001:0DB8:1140:1000"],
    "LOC": loc,
    "LP": lambda w: [w.number(65535), w.name()],
    "MB": lambda w: [w.name()],
    "MG": lambda w: [w.name()],
    "MINFO": lambda w: [w.name(), w.name()],
    "MR": lambda w: [w.name()],
    "MX": lambda w: [w.number(65535), w.name()],
    "NAPTR": lambda w: [w.number(65535), w.number(65535), w.pick('"U"', "s", '""'), w.pick('"E2U+sip"', '""'),
                        w.pick('""', '"!^.*$!sip:info@example.com!"'), w.name()],
    "NID": lambda w: [w.number(65535), "0014:4fff:ff20:ee64"],
    "NIMLOC": lambda w: w.hexadecimal(4),
    "NINFO": lambda w: [w.text()],
    "NSAP": lambda w: [w.pick("0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00", "0x00")],
    "NSAP-PTR": lambda w: [w.name()],
    "NSEC": lambda w: [w.name(), "A", "TXT", "TYPE65280"],
    "NSEC3": lambda w: ["1", w.pick("0", "1"), w.number(100), w.pick("-", "aabbccdd", "AABB"),
                        "2T7B4G4VSA5SMI47K61MV5BV1A22BOJR", "A", "RRSIG"],
    "NSEC3PARAM": lambda w: ["1", "0", w.number(100), w.pick("-", "aabbccdd")],
    "OPENPGPKEY": lambda w: w.base64(40),
    "PTR": lambda w: [w.name()],
    "PX": lambda w: [w.number(65535), w.name(), w.name()],
    "RP": lambda w: [w.name(), w.name()],
    "RRSIG": lambda w: flat(w.pick("A", "TYPE65280", "mx"), w.pick("8", "RSASHA256"), "127", "3600",
                            w.pick("20400101000000", "2208988800"), "20240101000000", w.number(65535), w.name(), w.base64(20)),
    "RT": lambda w: [w.number(65535), w.name()],
    "SMIMEA": lambda w: flat("3", "1", "1", w.hexadecimal(32)),
    "SPF": lambda w: [w.text(), w.text()],
    "SRV": lambda w: [w.number(65535), w.number(65535), w.number(65535), w.name()],
    "SSHFP": lambda w: flat("4", "2", w.hexadecimal(32)),
    "SVCB": lambda w: w.pick(["0", w.name()], flat("1", w.name(), params(w))),
    "TA": lambda w: flat(w.number(65535), "13", "2", w.hexadecimal(32)),
    "TALINK": lambda w: [w.name(), w.name()],
    "TLSA": lambda w: flat("3", "1", "1", w.hexadecimal(32)),
    "TXT": lambda w: [w.text() for _ in range(w.rng.randint(1, 4))],
    "TYPE65280": lambda w: flat("\\#", "5", w.hexadecimal(5)),
    "TYPE1": lambda w: flat("\\#", "4", w.hexadecimal(4)),
    "TYPE15": lambda w: flat("\\#", "8", "0001", w.pick(["0461616161", "00"], "046161616100")),
    "URI": lambda w: [w.number(65535), w.number(65535), '"https://www.example.com/a?b=c"'],
    "X25": lambda w: [w.pick('"311061700956"', "311061700956")],
    "ZONEMD": lambda w: flat("2024010100", "1", "1", w.hexadecimal(48)),
}


def world(seed, origin):
    """({file name: text}) of a zone; the file `origin`.zone is the zone's, the others are included."""
    writer = Writer(random.Random(seed), origin)
    files = {}
    writer.has_ttl = writer.chance(0.6)
    if writer.has_ttl:
        writer.directive("$TTL", writer.seconds(3600))
    if writer.chance(0.3):
        writer.directive("$ORIGIN", writer.pick("@", f"{origin}."))
    apex = writer.pick("@", f"{origin}.", f"{origin.upper()}.")
    ttl = [] if writer.has_ttl else [writer.seconds(7200)]
    times = [writer.seconds(value) for value in (7200, 900, 1209600, 300)]
    names = [writer.pick("@", "ns1", ".", "a\\.b.example."), writer.pick("@", "host\\.master", "h.example.")]
    writer.lines.append(apex + " " + writer.joined([*ttl, writer.pick("IN", "in"), "SOA", *names, "1", *times]))
    writer.lines.append(" " + writer.joined([*ttl, "NS", writer.pick("@", "ns1", "ns.example.")]))
    writer.lines.append(" " + writer.joined([*ttl, "A", "192.0.2.1"]))
    # BIND gives a record without an owner behind glue to the owner before the glue, so none follows it.
    writer.lines.append("ns1 " + writer.joined([*ttl, "A", "192.0.2.1"]))
    body(writer, files, RECORDS, 0)
    files[f"{origin}.zone"] = text_of(writer)
    return files


def body(writer, files, count, depth):
    types = list(CONTENTS)
    for _ in range(count):
        roll = writer.rng.random()
        if roll < 0.03:
            writer.lines.append(writer.pick("", "; only a comment", "   ", "\t; ( \""))
        elif roll < 0.07:
            writer.directive("$ORIGIN", writer.pick("@", "sub", f"{writer.apex}.", f"o\\.x.{writer.apex}.", "Deep.er"))
            # Relative origins pile up; a long one would leave no room for names.
            if len(writer.lines) % 3 == 0:
                writer.directive("$ORIGIN", f"{writer.apex}.")
        elif roll < 0.09 and writer.has_ttl and depth == 0:
            writer.directive("$TTL", writer.seconds(writer.pick(0, 60, 5400)))
        elif roll < 0.12 and depth < MAX_DEPTH:
            include(writer, files, depth)
        else:
            rtype = writer.rng.choice(types)
            writer.record(rtype, CONTENTS[rtype](writer), rtype in SINGLE)


def include(writer, files, depth):
    """An included file: its origin and what it says of owners ends with it."""
    name = f"{writer.apex}.{len(files)}.inc"
    inner = Writer(writer.rng, writer.origin)
    inner.owners, inner.has_ttl = writer.owners, writer.has_ttl
    # The last owner is known in the file that is included, and again behind the directive (RFC 1035, 5.1).
    inner.last_owner_taken = writer.last_owner_taken
    files[name] = ""
    body(inner, files, 5, depth + 1)
    files[name] = text_of(inner)
    shown = writer.pick(name, f'"{name}"')
    origin = writer.pick([], ["@"], ["inc"], [f"inc.{writer.apex}."])
    writer.directive("$INCLUDE", shown, *origin)


def text_of(writer):
    if writer.lines[-1].startswith("$"):
        # BIND takes no end of file right behind a directive.
        writer.lines.append("")
    return writer.pick("\n", "\r\n").join(writer.lines) + writer.pick("\n", "\n\n; end\n", "")
