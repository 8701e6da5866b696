"""The contents of records, in the form of master files."""

POINTING = {"NS", "CNAME", "DNAME", "MX", "PTR", "SRV", "HTTPS", "SVCB", "AFSDB", "KX", "RP", "NAPTR"}
COMMON = ["A", "A", "AAAA", "MX", "TXT", "SRV", "PTR", "CAA"]
RARE = [
    "TLSA", "SSHFP", "NAPTR", "LOC", "HTTPS", "SVCB", "HINFO", "RP", "AFSDB", "KX", "SPF", "URI", "CERT", "OPENPGPKEY",
    "SMIMEA", "EUI48", "TYPE65280", "TYPE731",
]


PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*")


def written(name):
    """A name that all servers read alike: Knot 3.2 refuses `[`, NSD 4.6 reads `\\\\.` as an escaped dot."""
    labels = ("".join(chr(b) if b in PLAIN else f"\\{b:03d}" for b in label) for label in name.labels[:-1])
    return ".".join(labels) + "."


def hex_of(rng, octets):
    return bytes(rng.randrange(256) for _ in range(octets)).hex()


def text_of(octets):
    """Character strings that take this many octets."""
    strings = []
    while octets > 0:
        length = min(255, octets - 1)
        strings.append('"' + "t" * length + '"')
        octets -= 1 + length
    return " ".join(strings)


def generic(rng, octets):
    """RFC 3597, 5."""
    return f"\\# {octets} {hex_of(rng, octets)}".strip()


def make(rng, rtype, target):
    """Contents for a record of this type; `target` is the name that it points to."""
    name = written(target) if target else None
    small = rng.randrange(1, 30)
    match rtype:
        case "A":
            return f"192.0.{rng.randrange(256)}.{rng.randrange(256)}"
        case "AAAA":
            return f"2001:db8::{rng.randrange(65536):x}"
        case "NS" | "CNAME" | "DNAME" | "PTR":
            return name
        case "MX" | "AFSDB" | "KX":
            return f"{small} {name}"
        case "TXT" | "SPF":
            return rng.choice(['"v=spf1 -all"', '"a" "b"', '""', '"\\"q\\\\ \\255\\000"', text_of(small * 4)])
        case "SRV":
            return f"{small} {small} 443 {name}"
        case "CAA":
            return f'{rng.choice([0, 128])} {rng.choice(["issue", "iodef"])} "ca{small}.example"'
        case "TLSA" | "SMIMEA":
            return f"3 1 1 {hex_of(rng, 32)}"
        case "SSHFP":
            return f"4 2 {hex_of(rng, 32)}"
        case "NAPTR":
            return f'{small} 10 "u" "E2U+sip" "!^.*$!sip:{small}@example.com!" {name}'
        case "LOC":
            at = rng.randrange(90), rng.randrange(60), rng.randrange(60000), rng.randrange(180)
            return f"{at[0]} {at[1]} {at[2] / 1000:.3f} N {at[3]} 6 0 {rng.choice('EW')} {rng.randrange(-99, 9000)}m"
        case "HTTPS" | "SVCB":
            return rng.choice([f"0 {name}", f'{small} {name} alpn="h2,h3" port=8443', f"{small} . ipv4hint=192.0.2.1"])
        case "HINFO":
            return '"cpu" "os"'
        case "RP":
            return f"{name} ."
        case "URI":
            return f'{small} 1 "https://example/{small}"'
        case "CERT":
            return "1 0 0 AQIDBA=="
        case "OPENPGPKEY":
            return "AQIDBAUG"
        case "EUI48":
            return "00-00-5e-00-53-2a"
        case "DS":
            return f"{small} 13 2 {hex_of(rng, 32)}"
        case _:
            return generic(rng, small)
