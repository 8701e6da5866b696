#!/usr/bin/env python3
"""Sends the same queries about the same random zones to Portolan and to Debian's knot, nsd and named. See README.md."""
import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

import exchange
import judge
import questions
import servers
import worlds
from report import Case, Report

SEED = 1
PAIRS = 21_000
# Queries for each world: enough to reach most of its names, and few enough for many worlds.
QUESTIONS = 24
# The number of worlds that a server has at a time.
BATCH = 250
OTHERS = [servers.Knot, servers.Nsd, servers.Named]


def main(argv):
    args = arguments(argv)
    began = time.monotonic()
    missing = [kind.name() for kind in [servers.Portolan, *OTHERS] if kind.path() is None]
    if missing:
        print(f"not there: {', '.join(missing)} (PORTOLAN_BIN names another portolan)", file=sys.stderr)
        return 2
    report = Report(is_whole=args.world is None and (args.seed, args.pairs) == (SEED, PAIRS), keep_splits=args.splits)
    for batch in batches(args, report):
        dir = Path(tempfile.mkdtemp(prefix="conformance-"))
        try:
            cases = run_batch(dir, batch, report, args.pairs)
        finally:
            shutil.rmtree(dir)
        for case in cases:
            report.add(case)
        if args.world is not None:
            print_world(batch[0], cases)
    report.print(args.show, f"seed {args.seed}", time.monotonic() - began)
    return 0 if report.is_good() else 1


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="(zone, query) pairs to ask about")
    parser.add_argument("--world", type=int, help="only the world of this number, with everything about it printed")
    parser.add_argument("--show", type=int, default=3, help="examples to print of each unexpected difference")
    parser.add_argument("--splits", action="store_true", help="print too where the others don't agree with one another")
    return parser.parse_args(argv)


def batches(args, report):
    """Batches of worlds: first those that listed differences need, then new ones until there are enough."""
    if args.world is not None:
        yield [worlds.World(args.seed, args.world)]
        return
    if report.worlds():
        yield [worlds.World(*which) for which in report.worlds()]
    first = 0
    while report.pairs < args.pairs:
        yield [worlds.World(args.seed, number) for number in range(first, first + BATCH)]
        first += BATCH


def run_batch(dir, batch, report, pairs):
    """The cases of a batch of worlds: one for each query over UDP, and one over TCP if any reply was truncated. The last batch
    has only as many queries as are left of `pairs`."""
    write_zones(dir / "zones", batch)
    batch = without_refused(dir, batch, report)
    apexes = [zone.apex for world in batch for zone in world.zones]
    queries = [question for world in batch for question in questions.ask_about(world, QUESTIONS)][: pairs - report.pairs]
    report.zones += len(apexes)
    report.pairs += len(queries)
    with contextlib.ExitStack() as stack:
        running = []
        for kind in [servers.Portolan, *OTHERS]:
            running.append(stack.enter_context(kind(dir / kind.name(), dir / "zones", apexes)))
        report.not_loaded += [zone for server in running for zone in not_loaded(server, batch)]
        udp = {server.name(): exchange.ask_all(server.address, queries) for server in running}
        again = truncated(udp)
        over_tcp = [queries[at] for at in again]
        tcp = {server.name(): exchange.ask_tcp(server.address, over_tcp) for server in running}
    with_tcp = cases_of(over_tcp, tcp, "tcp", {})
    whole = {at: case.replies for at, case in zip(again, with_tcp)}
    return cases_of(queries, udp, "udp", whole) + with_tcp


def write_zones(dir, batch):
    dir.mkdir()
    for world in batch:
        for zone in world.zones:
            (dir / servers.file_name(zone.apex)).write_text(zone.text())


def without_refused(dir, batch, report):
    """The worlds of which Portolan loads all zones. Others are errors, because every zone is valid."""
    refused = servers.Portolan(dir / "check", dir / "zones", []).check()
    good = []
    for world in batch:
        files = [servers.file_name(zone.apex) for zone in world.zones]
        problems = [f"{file}:{refused[file]}" for file in files if file in refused]
        if not problems:
            good.append(world)
            continue
        report.refused.append(f"seed {world.seed}/{world.index}: {'; '.join(problems)}")
        for file in files:
            (dir / "zones" / file).unlink()
    return good


def not_loaded(server, batch):
    """The valid zones that a server doesn't serve."""
    apexes = [(world, zone.apex) for world in batch for zone in world.zones]
    queries = [questions.Question(world, apex.to_wire(), judge.SOA, 0, None, False) for world, apex in apexes]
    replies = exchange.ask_all(server.address, queries)
    return [
        f"seed {world.seed}/{world.index}: {server.name()} doesn't serve {apex}"
        for (world, apex), reply in zip(apexes, replies)
        if reply is None or reply[3] & 0xF
    ]


def truncated(replies):
    """The numbers of the queries with a truncated reply of any server."""
    flag_tc = 2
    return sorted(
        {at for packets in replies.values() for at, packet in enumerate(packets) if packet and packet[2] & flag_tc}
    )


def cases_of(queries, packets, transport, whole):
    """`whole` has the replies over TCP, by number of the query, if there are any."""
    cases = []
    for at, question in enumerate(queries):
        limit = question.limit() if transport == "udp" else 65535
        replies = {name: judge.read(of_server[at], question, limit) for name, of_server in packets.items()}
        cases.append(Case(question, transport, replies, whole.get(at, {})))
    return cases


def print_world(world, cases):
    for zone in world.zones:
        print(f"; --- {zone.apex}\n{zone.text()}")
    for case in cases:
        print(case)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
