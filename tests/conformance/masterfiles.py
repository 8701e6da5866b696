#!/usr/bin/env python3
"""Compares the records that Portolan serves from a master file with those that named-compilezone reads. See README.md."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.name

import exchange
import masterworlds
import servers

LIST = Path(__file__).resolve().parent / "masterfiles.toml"
SEED, FILES = 1, 150
SECONDS = 30
# Types whose content may hold compressed names (RFC 3597, 4), the number of octets before the first one, and the number of names.
COMPRESSED = {2: (0, 1), 3: (0, 1), 4: (0, 1), 5: (0, 1), 6: (0, 2), 7: (0, 1), 8: (0, 1), 9: (0, 1), 12: (0, 1),
              14: (0, 2), 15: (2, 1)}
SHOWN = 10


class Question:
    def __init__(self, name, rtype):
        self.name, self.rtype = name, rtype

    def packet(self, id):
        question = self.name + self.rtype.to_bytes(2) + b"\0\1"
        return id.to_bytes(2) + b"\0\0\0\1\0\0\0\0\0\1" + question + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--keep", action="store_true", help="leave the files in a temporary directory")
    args = parser.parse_args()
    if not compiler() or not servers.Portolan.path():
        print("named-compilezone or portolan is not there", file=sys.stderr)
        return 2
    dir = Path(tempfile.mkdtemp(prefix="masterfiles-"))
    try:
        return compare(dir, args)
    finally:
        print(f"files: {dir}") if args.keep else shutil.rmtree(dir)


def compare(dir, args):
    listed = tomllib.loads(LIST.read_text())
    apexes = write(dir / "zones", listed, args)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        theirs = dict(zip(apexes, pool.map(lambda apex: by_named(apex, dir / "zones"), apexes)))
    ours = by_portolan(dir, apexes, theirs)
    wrong = [apex for apex in apexes if not judge(apex, ours[apex], theirs[apex], listed["files"].get(hand_written(apex)))]
    records = sum(len(rdatas) for zone in theirs.values() if not isinstance(zone, str) for _, rdatas in zone.values())
    differing = sum("differs" in file for file in listed["files"].values())
    print(f"{len(apexes)} master files, {records} records, {differing} listed differences")
    print("master files: " + (f"FAILED: {', '.join(wrong[:SHOWN])}" if wrong else "ok"))
    return 1 if wrong else 0


def compiler():
    return shutil.which("named-compilezone", path="/usr/sbin:/usr/bin:/sbin:/bin")


def hand_written(apex):
    return apex.removesuffix(".test")


def write(dir, listed, args):
    """Writes all files; returns the zones."""
    dir.mkdir()
    apexes = []
    for name, file in listed["files"].items():
        apexes.append(f"{name}.test")
        text = listed["head"].lstrip() + file["records"] + "\n" if "records" in file else file["text"]
        (dir / f"{name}.test.zone").write_bytes(text.encode("utf-8"))
        for included, content in file.get("includes", {}).items():
            (dir / included).parent.mkdir(exist_ok=True)
            (dir / included).write_bytes(content.encode("utf-8"))
    for at in range(args.files):
        apex = f"s{args.seed}w{at}.test"
        for name, text in masterworlds.world(f"{args.seed}/{at}", apex).items():
            (dir / name).write_bytes(text.encode("utf-8"))
        apexes.append(apex)
    return apexes


# --- named-compilezone -------------------------------------------------------------------------------------------------


def by_named(apex, dir):
    """{(owner, type): (TTL, {rdata})}, or its message if it refuses the file."""
    ignore = [option for flag in "kmnMSWrT" for option in (f"-{flag}", "ignore")]
    out = dir.parent / f"{apex}.raw"
    argv = [compiler(), *ignore, "-i", "none", "-F", "raw", "-o", str(out), apex, f"{apex}.zone"]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=SECONDS, cwd=dir)
    return read_raw(out.read_bytes()) if done.returncode == 0 else done.stdout + done.stderr


def read_raw(octets):
    """BIND's raw format: a header of 24 octets, then RRsets."""
    rrsets, at = {}, 24
    number = lambda at, size: int.from_bytes(octets[at:at + size])
    while at < len(octets):
        end = at + number(at, 4)
        rtype, ttl, count, length = number(at + 6, 2), number(at + 10, 4), number(at + 14, 4), number(at + 18, 2)
        owner, at = octets[at + 20:at + 20 + length].lower(), at + 20 + length
        rdatas = set()
        for _ in range(count):
            size = number(at, 2)
            rdatas.add(folded(rtype, octets[at + 2:at + 2 + size]))
            at += 2 + size
        assert at == end, "named-compilezone has another raw format than this reads"
        rrsets[owner, rtype] = ttl, frozenset(rdatas)
    return rrsets


# --- portolan ------------------------------------------------------------------------------------------------------------


def folded(rtype, rdata):
    """A compressed name has the case of the name that it points to."""
    if rtype not in COMPRESSED:
        return rdata
    fixed, names = COMPRESSED[rtype]
    end = fixed
    for _ in range(names):
        _, end = name_at(rdata, end)
    return rdata[:fixed] + rdata[fixed:end].lower() + rdata[end:]


def by_portolan(dir, apexes, theirs):
    """Like by_named: every owner is queried for every type that occurs in its file, so that additional records are found too."""
    refused = servers.Portolan(dir / "check", dir / "zones", []).check("error")
    found = {apex: refused.get(f"{apex}.zone") for apex in apexes}
    for name, message in refused.items():
        apex = next((apex for apex in apexes if name.startswith(f"{apex}.")), None)
        if apex:
            found[apex] = found[apex] or f"{name}:{message}"
    for included in {name for name in refused if name.endswith(".inc")}:
        users = [apex for apex in apexes if found[apex] is None and uses(dir / "zones" / f"{apex}.zone", included)]
        found.update((apex, f"{included}:{refused[included]}") for apex in users)
    taken = [apex for apex in apexes if found[apex] is None]
    (dir / "taken").mkdir()
    for path in (dir / "zones").iterdir():
        if path.suffix != ".zone" or path.name.removesuffix(".zone") in taken:
            path.rename(dir / "taken" / path.name)
    questions = {apex: questions_about(theirs[apex]) for apex in taken}
    names = [dns.name.from_text(apex) for apex in taken]
    with servers.Portolan(dir / "node", dir / "taken", names[:1]) as server:
        flat = [question for apex in taken for question in questions[apex]]
        replies = exchange.ask_all(server.address, flat)
        cut = [at for at, reply in enumerate(replies) if reply and reply[2] & 2]
        for at, reply in zip(cut, exchange.ask_tcp(server.address, [flat[at] for at in cut])):
            replies[at] = reply
    replies = iter(replies)
    for apex in taken:
        rrsets = defaultdict(lambda: (None, frozenset()))
        for question in questions[apex]:
            for owner, rtype, ttl, rdata in records(next(replies)):
                if (owner, rtype) == (question.name.lower(), question.rtype):
                    rrsets[owner, rtype] = ttl, rrsets[owner, rtype][1] | {rdata}
        found[apex] = dict(rrsets)
    return found


def uses(path, included):
    return included in path.read_text(errors="replace")


def questions_about(rrsets):
    if isinstance(rrsets, str):
        return []
    owners, types = {owner for owner, _ in rrsets}, {rtype for _, rtype in rrsets}
    return [Question(owner, rtype) for owner in sorted(owners) for rtype in sorted(types)]


def records(reply):
    """(owner, type, TTL, rdata) of the answer and authority sections, with uncompressed names."""
    number = lambda at, size: int.from_bytes(reply[at:at + size])
    _, at = name_at(reply, 12)
    at += 4
    for _ in range(number(6, 2) + number(8, 2)):
        owner, at = name_at(reply, at)
        rtype, ttl, length = number(at, 2), number(at + 4, 4), number(at + 8, 2)
        at += 10
        yield owner.lower(), rtype, ttl, content(reply, rtype, at, at + length)
        at += length


def content(reply, rtype, at, end):
    if rtype not in COMPRESSED:
        return reply[at:end]
    fixed, names = COMPRESSED[rtype]
    out, at = reply[at:at + fixed], at + fixed
    for _ in range(names):
        name, at = name_at(reply, at)
        out += name
    return folded(rtype, out + reply[at:end])


def name_at(reply, at):
    """A name, and the position after it."""
    name, end = b"", None
    while True:
        length = reply[at]
        if length >= 0xC0:
            end, at = end or at + 2, int.from_bytes(reply[at:at + 2]) & 0x3FFF
            continue
        name += reply[at:at + 1 + length]
        at += 1 + length
        if not length:
            return name, end or at


# --- the table -----------------------------------------------------------------------------------------------------------


def judge(apex, ours, theirs, listed):
    """Prints the differences; returns whether they are the expected ones."""
    lines = differences(ours, theirs)
    if listed is None and isinstance(theirs, str):
        lines = [f"named: {' '.join(theirs.split())}"]
    expected = (listed or {}).get("differs")
    if bool(lines) == bool(expected):
        return True
    print(f"{apex}: " + ("does not differ any more: unlist it" if expected else "differs, and is not listed"))
    for line in lines[:SHOWN]:
        print(f"    {line}")
    return False


def differences(ours, theirs):
    if isinstance(ours, str) or isinstance(theirs, str):
        refusals = [f"{who}: {' '.join(text.split())}" for who, text in (("portolan", ours), ("named", theirs)) if isinstance(text, str)]
        return refusals if len(refusals) == 1 else []
    keys = sorted({*ours, *theirs}, key=str)
    return [shown(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]


def shown(key, ours, theirs):
    owner, rtype = key
    text = lambda rrset: f"{rrset[0]} {sorted(rdata.hex() for rdata in rrset[1])}" if rrset else "nothing"
    return f"{owner!r} TYPE{rtype}: portolan {text(ours)}, named {text(theirs)}"


if __name__ == "__main__":
    sys.exit(main())
