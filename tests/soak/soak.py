#!/usr/bin/env python3
"""Runs the server under load for a time and checks that it does not grow: soak.py 10m.

Load over UDP, TCP and HTTPS; endpoints that go down and come up; reloads of changed files; event streams; clients that read
nothing. Prints resident memory, threads and descriptors as a table. At a tenth of the time, at half, and at the end each must
be within 5 % of the first of them. The exit code is 1 when one is not, or when the server is harmed. The binary is that of
PORTOLAN_BIN, or the release binary."""
import argparse
import contextlib
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / place) for place in ("hostile", "e2e")]

from attack import Attack
from barrage import Barrage
from besieged import OPERATOR, assert_alive, besieged, policy
from bystander import Bystander
from limits import descriptors, status
from portolan import command

# How much a figure may differ from the first one: a share, and what is left to chance in few descriptors.
SHARE = 0.05
SLACK = {"resident KiB": 1024, "threads": 1, "descriptors": 16}
# The figures of one moment are the medians of this many samples. They take as long as several reloads do, or less in a short
# soak: memory rises and falls with each reload.
SAMPLES = 100
SAMPLE_SECONDS = 25.0


def seconds(text):
    found = re.fullmatch(r"(\d+)([smh])", text)
    if not found:
        raise argparse.ArgumentTypeError("a number and s, m or h, such as 10m")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


class Disturbance(threading.Thread):
    """Calls a function again and again until it is stopped; keeps its first error."""

    def __init__(self, what, every):
        super().__init__(daemon=True)
        self.what, self.every, self.error = what, every, None
        self.over, self.turns = threading.Event(), 0

    def run(self):
        while not self.over.wait(self.every):
            try:
                self.what(self.turns)
                self.turns += 1
            except Exception as error:  # shown at the end
                self.error = self.error or error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)


@contextlib.contextmanager
def disturbed(dir, node, herd):
    """Everything that goes on while the figures are taken."""

    def flap(turn):
        nth = turn // 2 % 6
        (herd.stop if turn % 2 == 0 else herd.go_on)(nth)

    def reload(turn):
        node.write("svc.example.policy.toml", policy(herd.at, count=500) + f"# {turn}\n")
        done = command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": OPERATOR})
        assert done.returncode == 0, done.stdout + done.stderr

    def look(_):
        node.status()
        node.metrics()

    attacks = [
        ("tcp_deaf", node.udp, 20), ("tls_deaf", node.encrypted["tls"][0], 20), ("https_no_window", node.encrypted["https"][0], 10),
        ("quic_deaf", node.encrypted["quic"][0], 10), ("events", node.http, 10), ("events_deaf", node.http, 10), ("silent", node.udp, 50),
    ]
    with contextlib.ExitStack() as stack:
        for kind, server, count in attacks:
            stack.enter_context(Attack(dir, kind, server, count=count, sources=10, wait=60))
        stack.enter_context(Barrage(dir, node.udp, "www.svc.example.", per_second=500))
        bystander = stack.enter_context(Bystander(dir, node, over=["udp", "tcp", "healthz", "https"]))
        yield bystander, [stack.enter_context(Disturbance(what, every)) for what, every in ((flap, 1.5), (reload, 5.0), (look, 2.0))]


def sample(node, duration):
    """The medians of some samples, over a few seconds."""
    taken = []
    for _ in range(SAMPLES):
        taken.append((status(node.child.pid, "VmRSS"), status(node.child.pid, "Threads"), descriptors(node.child.pid)))
        time.sleep(min(SAMPLE_SECONDS, duration / 20) / SAMPLES)
    return dict(zip(SLACK, (statistics.median(column) for column in zip(*taken)), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("duration", type=seconds, help="30s, 10m, 2h")
    duration = parser.parse_args().duration
    dir = Path(tempfile.mkdtemp(prefix="portolan-soak-"))
    rows, failures = [], []
    with besieged(dir, count=500) as (node, herd):
        with disturbed(dir, node, herd) as (bystander, disturbances):
            began = time.monotonic()
            print(f"{'time':>8}", *(f"{name:>14}" for name in SLACK))
            for share in (0.1, 0.25, 0.5, 0.75, 1.0):
                time.sleep(max(0.0, began + share * duration - time.monotonic()))
                rows.append((share, sample(node, duration)))
                print(f"{share * duration:6.0f} s", *(f"{value:14.0f}" for value in rows[-1][1].values()), flush=True)
            seen = bystander.finish()
        assert_alive(node)
        for disturbance in disturbances:
            if not disturbance.turns:
                failures.append(f"{disturbance.what.__name__}: not once")
            if disturbance.error:
                failures.append(f"{disturbance.what.__name__}: {disturbance.error}")
    failures += compare(rows)
    print(*seen.values(), sep="\n")
    failures += [f"{each.lost} lost over {each.over}" for each in seen.values() if each.lost]
    for failure in failures:
        print(failure)
    if failures:
        print(f"files are in {dir}")
    else:
        shutil.rmtree(dir, ignore_errors=True)
    print(f"soak: {'failed' if failures else 'ok'}")
    return 1 if failures else 0


def compare(rows):
    """What is not within 5 % at half the time and at the end."""
    first, failures = rows[0][1], []
    for share, now in rows:
        for name, slack in SLACK.items():
            if share >= 0.5 and abs(now[name] - first[name]) > max(SHARE * first[name], slack):
                failures.append(f"{name}: {first[name]:.0f} at the beginning, {now[name]:.0f} at {100 * share:.0f} % of the time")
    return failures


if __name__ == "__main__":
    sys.exit(main())
