#!/usr/bin/env python3
"""The cost of probing, how evenly probes are spread, and how soon many dead endpoints are out. See README.md.

Ten thousand endpoints with tcp monitors belong to two processes that accept connections: one for nine tenths of them, and
one for a tenth, which is killed. All addresses are on the loopback interface, and the time is limited.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
ZONE = "svc.example"
POOL = 10  # endpoints for each name; the last of each is killed
START_SECONDS = 60
READY = re.compile(r"^ready dns=\S+?:(\d+) http=(\S+) ")
SLOT_SECONDS = 0.01


class Target:
    """A process that accepts connections on all loopback addresses at one port."""

    def __init__(self, tools):
        self.process = subprocess.Popen([str(tools / "accept")], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """The number of connections, by slot of the monotonic clock."""
        self.process.send_signal(signal.SIGTERM)
        lines = self.process.communicate(timeout=10)[0].splitlines()
        return {int(slot): int(count) for slot, count in (line.split() for line in lines)}


def answer_address(i):
    return f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"


def probed_address(i):
    return f"127.{1 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"


def write_files(directory, ports, options):
    """`ports`: of the endpoints that stay, and of those that are killed."""
    zones = directory / "zones"
    zones.mkdir()
    zones.joinpath(f"{ZONE}.zone").write_text(
        "$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 604800 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n")
    policy = [f'zone = "{ZONE}."\n[monitor.m]\ntype = "tcp"\ninterval = "{options.interval}"\n'
              f'hold = {str(options.hold).lower()}\n']
    for i in range(options.endpoints):
        port = ports[i % POOL == POOL - 1]
        policy.append(f'[endpoint.e{i}]\naddresses = ["{answer_address(i)}"]\nmonitor = "m"\n'
                      f'probe = "{probed_address(i)}:{port}"\n')
    for name in range(options.endpoints // POOL):
        members = ", ".join(f'"e{name * POOL + at}"' for at in range(POOL))
        policy.append(f'[pool.p{name}]\nsteer = "all"\nmembers = [{members}]\n'
                      f'[name.n{name}]\npool = "p{name}"\nanswers = {POOL}\n')
    zones.joinpath(f"{ZONE}.policy.toml").write_text("".join(policy))
    settings = directory / "portolan.toml"
    settings.write_text('region = "here"\n[listen]\ndns = ["127.0.0.1:0"]\nhttp = "127.0.0.1:0"\n'
                        f"workers = {options.workers}\n"
                        "[regions.here]\nlocation = [0, 0]\n")
    return settings


class Server:
    """Portolan, from its start to its end."""

    def __init__(self, binary, settings):
        self.log = open(settings.parent / "log", "w+", encoding="utf-8")
        began = time.monotonic()
        self.process = subprocess.Popen([str(binary), "serve", "--config", str(settings)], stdout=subprocess.PIPE,
                                        stderr=self.log, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if not READY.match(line):
            self.log.seek(0)
            sys.exit(f"it does not start: {line!r}\n{self.log.read()[-4000:]}")
        self.start_seconds = time.monotonic() - began
        self.port, self.http = int(READY.match(line)[1]), READY.match(line)[2]

    def threads(self):
        """Processor time of each of its threads so far, by name, in seconds."""
        found = {}
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                run = int((task / "schedstat").read_text().split()[0]) / 1e9
                name = (task / "comm").read_text().strip()
            except OSError:
                continue
            found[name] = found.get(name, 0) + run
        return found

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class Client:
    """Queries all names and counts the answers with a dead endpoint."""

    def __init__(self, port, names):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.settimeout(1)
        self.socket.connect(("127.0.0.1", port))
        self.queries = [self.query(name) for name in range(names)]
        self.dying = [socket.inet_aton(answer_address(name * POOL + POOL - 1)) for name in range(names)]

    def query(self, number):
        labels = b"".join(bytes([len(label)]) + label for label in [b"n%d" % number, *ZONE.encode().split(b".")])
        return struct.pack(">6H", number, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)

    def stale(self):
        """The number of names that are still answered with the dead endpoint."""
        named = 0
        for first in range(0, len(self.queries), 100):
            batch = self.queries[first:first + 100]
            for query in batch:
                self.socket.send(query)
            for _ in batch:
                reply = self.socket.recv(4096)
                named += self.dying[struct.unpack(">H", reply[:2])[0]] in reply
        return named


    def reply_times(self, seconds):
        """Seconds from a query to its reply, for 500 queries a second, without lost ones."""
        times, until, number = [], time.monotonic() + seconds, 0
        while time.monotonic() < until:
            sent_at = time.perf_counter()
            self.socket.send(self.queries[number % len(self.queries)])
            try:
                self.socket.recv(4096)
                times.append(time.perf_counter() - sent_at)
            except TimeoutError:
                pass
            number += 1
            time.sleep(0.002)
        return times


def transitions(http):
    """How many verdicts changed since the start, by the server's own count."""
    text = urllib.request.urlopen(f"http://{http}/metrics", timeout=20).read().decode()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines()
               if line.startswith("portolan_transitions_total{"))


def flood(server, tools, queries, seconds):
    """Sends queries as fast as they are answered, from one process for each core."""
    command = [str(tools / "load"), "127.0.0.1", str(server.port), str(queries), str(seconds)]
    loads = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count() or 1)]
    results = [json.loads(load.communicate(timeout=seconds * 3 + 20)[0]) for load in loads]
    return sum(result["answered"] for result in results) / seconds, sum(result["wrong"] for result in results)


def seconds_of(interval):
    """Of `1s` or `500ms`."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", interval).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def connecting(tools, port, options):
    """Processor seconds for one connection of a plain program, at ten thousand a second."""
    command = [str(tools / "connect"), str(port), "10000", str(max(1, round(options.seconds / 2)))]
    connections, seconds = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return float(seconds) / int(connections)


def spread(counts, first, last):
    """Coefficient of variation of the connections in each slot from `first` to before `last`, and their mean."""
    numbers = [counts.get(slot, 0) for slot in range(first, last)]
    return statistics.pstdev(numbers) / statistics.mean(numbers), statistics.mean(numbers)


def slot_now():
    return int(time.monotonic() / SLOT_SECONDS)


def run(options, scratch):
    tools = scratch / "tools"
    tools.mkdir()
    for program in ("accept", "connect", "load"):
        subprocess.run(["cc", "-O2", "-o", str(tools / program), str(HERE / f"{program}.c")], check=True)
    staying, dying = Target(tools), Target(tools)
    server = None
    try:
        settings = write_files(scratch, (staying.port, dying.port), options)
        server = Server(options.binary, settings)
        print(f"start     {server.start_seconds:8.2f} s    from the command to the ready line, {options.endpoints} endpoints")
        client = Client(server.port, options.endpoints // POOL)
        if options.endpoints // POOL != client.stale():
            sys.exit("not every endpoint is up after the first round")
        time.sleep(3)
        first, before, began = slot_now(), server.threads(), time.monotonic()
        time.sleep(options.seconds)
        last, after, took = slot_now(), server.threads(), time.monotonic() - began
        spent = {name: after[name] - before.get(name, 0) for name in after}
        total = sum(spent.values())
        print(f"processor {100 * total / took:8.1f} %    of one core, in {took:.1f} s of peace")
        each = total / took / options.endpoints * seconds_of(options.interval)
        floor = connecting(tools, staying.port, options)
        print(f"probe     {1e6 * each:8.1f} us    of processor time each, {each / floor:.2f} of the {1e6 * floor:.1f} us"
              " that connecting alone takes")
        for name, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
            if seconds > total / 100:
                print(f"  {name:16} {100 * seconds / took:5.1f} %")
        print(f"memory    {server.peak_mib():8.0f} MiB  at most")
        times = sorted(client.reply_times(options.seconds / 2))
        print(f"reply     {1e6 * statistics.median(times):8.0f} us    in the middle,"
              f" {1e6 * times[len(times) * 99 // 100]:.0f} us for 99 of 100, {1e3 * times[-1]:.1f} ms at most, of {len(times)}")
        if options.flood:
            queries = scratch / "queries"
            queries.write_text("".join(f"n{name}.{ZONE} A\n" for name in range(min(1000, len(client.queries)))))
            before = transitions(server.http)
            rate, wrong = flood(server, tools, queries, options.seconds)
            print(f"flood     {rate:8.0f} /s    answered, {wrong} wrong; {transitions(server.http) - before} verdicts changed")
        killed = time.monotonic()
        dying.kill()
        stale_at = killed
        while (now := time.monotonic()) < killed + options.patience:
            if not client.stale():
                break
            stale_at = now
        else:
            sys.exit(f"dead endpoints are named {options.patience} s after they died")
        print(f"out       {now - killed:8.2f} s    after {options.endpoints // POOL} were killed no answer named one of them"
              f" (queried from {stale_at - killed:.2f} s on one did)")
        counts = staying.end()
        variation, mean = spread(counts, first, last)
        print(f"spread    {variation:8.3f}      coefficient of variation of probes in slots of 10 ms, {mean:.1f} in the mean"
              f" (by chance alone {mean ** -0.5:.3f})")
    finally:
        if server is not None:
            server.stop()
        for target in (staying, dying):
            target.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=REPOSITORY / "target/release/portolan", type=pathlib.Path)
    parser.add_argument("--endpoints", type=int, default=10_000, help=f"a multiple of {POOL}")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--interval", default="1s")
    parser.add_argument("--patience", type=float, default=10, help="seconds to wait for those that died to be out")
    parser.add_argument("--flood", action="store_true", help="ask as fast as it answers for a while, too")
    parser.add_argument("--workers", type=int, default=1, help="of UDP; 0: one a core")
    parser.add_argument("--hold", action="store_true", help="keep a connection open to each as well")
    options = parser.parse_args()
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"no {options.binary}: build it with `cargo build --release`, or name another with --binary")
    with tempfile.TemporaryDirectory(prefix="portolan-bench-") as scratch:
        run(options, pathlib.Path(scratch))


if __name__ == "__main__":
    main()
