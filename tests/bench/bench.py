#!/usr/bin/env python3
"""Processor time of a query: Portolan, other servers and a plain echo, in one run. See README.md.

Every server is started once. Then each is measured in turn, round after round, so that other load of the machine affects all
of them alike. The result is the processor time for each answered query, from /proc, and its ratio to the others of the same
round. Queries per second are printed too, but mean little on a shared machine.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
STATIC_ZONE, STEERED_ZONE = "svc.example.test", "gslb.example.test"
HOSTS, STEERED = 1000, 100
WEIGHTS = [10, 20, 30, 40]
DATACENTERS = 3
START_SECONDS = 20
MOST_TRIES = 5
# The geoip module of Knot is a separate package.
PACKAGES = {"knot": "knot knot-module-geoip", "gdnsd": "gdnsd"}
PROGRAMS = {"knot": "knotd", "gdnsd": "gdnsd"}


# --- the work: the same names and answers for all -----------------------------------------------------------------

def zone_head(zone):
    return (f"$ORIGIN {zone}.\n$TTL 60\n@ 300 IN SOA ns1 hostmaster 1 3600 600 604800 60\n"
            f"@ 300 IN NS ns1\nns1 300 IN A 127.0.0.1\n")


def static_zone():
    lines = [f"h{i:04d} 60 IN A 192.0.{i >> 8}.{i & 255}\nh{i:04d} 60 IN AAAA 2001:db8::{i:x}\n" for i in range(HOSTS)]
    return zone_head(STATIC_ZONE) + "".join(lines)


def weighted_addresses(name):
    return [f"198.51.{name}.{at + 1}" for at in range(len(WEIGHTS))]


def datacenter_address(name, datacenter):
    return f"203.{datacenter}.{name}.1"


def client_nets():
    """Blocks of /10, and the datacenter that serves each."""
    for first in range(1, 121):
        for quarter in range(4):
            yield f"{first}.{quarter * 64}.0.0/10", (first * 4 + quarter) * 7 % DATACENTERS


def write_queries(directory):
    sets = {
        "static": [f"h{i:04d}.{STATIC_ZONE} {rtype}" for i in range(HOSTS) for rtype in ("A", "AAAA")],
        "weighted": [f"w{i:03d}.{STEERED_ZONE} A" for i in range(STEERED)],
        "region": [f"g{i:03d}.{STEERED_ZONE} A" for i in range(STEERED)],
    }
    for name, lines in sets.items():
        (directory / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return sets


# --- the servers: each writes its configuration and gives its command line ----------------------------------------

def echo(directory, address, port, tools):
    return [str(tools / "echo"), address, str(port)], {"static", "weighted", "region"}


def portolan(directory, address, port, tools):
    zones = directory / "zones"
    zones.mkdir()
    (zones / f"{STATIC_ZONE}.zone").write_text(static_zone())
    (zones / f"{STEERED_ZONE}.zone").write_text(zone_head(STEERED_ZONE))
    policy = [f'zone = "{STEERED_ZONE}."\n[ecs]\nuse = true\n']
    for i in range(STEERED):
        members = []
        for at, (weight, ip) in enumerate(zip(WEIGHTS, weighted_addresses(i))):
            policy.append(f'[endpoint.w{i}e{at}]\naddresses = ["{ip}"]\nweight = {weight}\n')
            members.append(f'"w{i}e{at}"')
        policy.append(f'[pool.w{i}]\nsteer = "weighted"\nmembers = [{", ".join(members)}]\n')
        policy.append(f'[name.w{i:03d}]\npool = "w{i}"\n')
        members = []
        for dc in range(DATACENTERS):
            policy.append(f'[endpoint.g{i}e{dc}]\naddresses = ["{datacenter_address(i, dc)}"]\nregion = "dc{dc}"\n')
            members.append(f'"g{i}e{dc}"')
        policy.append(f'[pool.g{i}]\nsteer = "nearest"\nmembers = [{", ".join(members)}]\n')
        policy.append(f'[name.g{i:03d}]\npool = "g{i}"\n')
    (zones / f"{STEERED_ZONE}.policy.toml").write_text("".join(policy))
    settings = ['region = "dc0"\nnode = "bench"\n[listen]\n'
                f'dns = ["{address}:{port}"]\nhttp = "{address}:0"\nworkers = 1\n'
                '[clients]\ndefault_region = "dc0"\n']
    for dc in range(DATACENTERS):
        nets = ", ".join(f'"{net}"' for net, served_by in client_nets() if served_by == dc)
        settings.append(f"[regions.dc{dc}]\nlocation = [{dc * 20}, 0]\nnets = [{nets}]\n")
    (directory / "portolan.toml").write_text("".join(settings))
    return [str(tools / "portolan"), "serve", "--config", str(directory / "portolan.toml")], {
        "static", "weighted", "region"}


def knot(directory, address, port, tools):
    (directory / f"{STATIC_ZONE}.zone").write_text(static_zone())
    names = [f"w{i:03d} 30 A 198.51.{i}.1\ng{i:03d} 30 A 203.0.{i}.1\n" for i in range(STEERED)]
    (directory / f"{STEERED_ZONE}.zone").write_text(zone_head(STEERED_ZONE) + "".join(names))
    weighted, region = [], []
    for i in range(STEERED):
        weighted.append(f"w{i:03d}.{STEERED_ZONE}:\n")
        weighted += [f"  - weight: {weight}\n    A: {ip}\n" for weight, ip in zip(WEIGHTS, weighted_addresses(i))]
        region.append(f"g{i:03d}.{STEERED_ZONE}:\n")
        region += [f"  - net: {net}\n    A: {datacenter_address(i, dc)}\n" for net, dc in client_nets()]
    (directory / "weighted.conf").write_text("".join(weighted))
    (directory / "region.conf").write_text("".join(region))
    (directory / "run").mkdir()
    listing = subprocess.run(["dpkg", "-L", "knot-module-geoip"], capture_output=True, check=False)
    steers = listing.returncode == 0
    conf = [f'server:\n    rundir: "{directory}/run"\n    listen: {address}@{port}\n    udp-workers: 1\n'
            '    tcp-workers: 1\n    background-workers: 1\n    edns-client-subnet: on\n'
            f'log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: "{directory}/db"\n']
    if steers:
        conf.append("mod-geoip:\n")
        for ident, mode in (("weighted", "weighted"), ("region", "subnet")):
            conf.append(f'  - id: {ident}\n    config-file: "{directory}/{ident}.conf"\n    ttl: 30\n    mode: {mode}\n')
    conf.append("zone:\n")
    for zone in (STATIC_ZONE, STEERED_ZONE):
        conf.append(f'  - domain: {zone}\n    file: "{directory}/{zone}.zone"\n    journal-content: none\n')
    if steers:
        conf.append("    module: [ mod-geoip/weighted, mod-geoip/region ]\n")
    (directory / "knot.conf").write_text("".join(conf))
    return ["knotd", "-c", str(directory / "knot.conf")], {"static"} | ({"weighted", "region"} if steers else set())


def gdnsd(directory, address, port, tools):
    (directory / "zones").mkdir()
    (directory / "zones" / STATIC_ZONE).write_text(static_zone())
    names = [f"w{i:03d} 30 DYNA weighted!w{i}\ng{i:03d} 30 DYNA geoip!g{i}\n" for i in range(STEERED)]
    (directory / "zones" / STEERED_ZONE).write_text(zone_head(STEERED_ZONE) + "".join(names))
    weighted, region = [], []
    for i in range(STEERED):
        shares = [f"e{at} => [ {ip}, {weight} ]" for at, (weight, ip) in enumerate(zip(WEIGHTS, weighted_addresses(i)))]
        weighted.append(f"  w{i} => {{ {', '.join(shares)} }}\n")
        dcmap = ", ".join(f"dc{dc} => [ {datacenter_address(i, dc)} ]" for dc in range(DATACENTERS))
        region.append(f"   g{i} => {{ map => m, dcmap => {{ {dcmap} }} }}\n")
    order = [[(dc + step) % DATACENTERS for step in range(DATACENTERS)] for dc in range(DATACENTERS)]
    nets = "".join(f"   {net} => [ {', '.join(f'dc{x}' for x in order[dc])} ]\n" for net, dc in client_nets())
    (directory / "config").write_text(
        f"options => {{ listen => [ {address}:{port} ], udp_threads => 1, tcp_threads => 1,"
        f" run_dir => {directory}/run, state_dir => {directory}/state }}\n"
        f"plugins => {{\n weighted => {{ service_types => up, multi => false\n{''.join(weighted)} }}\n"
        f" geoip => {{ service_types => up\n  maps => {{ m => {{ datacenters => [ dc0, dc1, dc2 ], nets => {{\n"
        f"{nets}  }} }} }}\n  resources => {{\n{''.join(region)}  }}\n }}\n}}\n")
    return ["gdnsd", "-c", str(directory), "start"], {"static", "weighted", "region"}


SERVERS = {"echo": echo, "portolan": portolan, "knot": knot, "gdnsd": gdnsd}


# --- running and measuring ----------------------------------------------------------------------------------------

def on_core(core):
    """Pins a child to a core, if there are two: server and load must not share one."""
    cores = sorted(os.sched_getaffinity(0))
    return (lambda: os.sched_setaffinity(0, {cores[core]})) if len(cores) > 1 else None


def free_port(address):
    """A port that UDP and TCP have free; nobody else binds these addresses in the meantime."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((address, 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


class Server:
    """A running server; `sets` says which of the queries it can answer."""

    def __init__(self, name, number, tools, scratch):
        self.name, self.address = name, f"127.0.53.{number + 1}"
        self.port = free_port(self.address)
        self.directory = scratch / name
        self.directory.mkdir()
        command, self.sets = SERVERS[name](self.directory, self.address, self.port, tools)
        self.log = self.directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=on_core(0))
        deadline = time.monotonic() + START_SECONDS
        while not self.answers(f"h0001.{STATIC_ZONE}"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                sys.exit(f"{name} does not answer; its log:\n{self.log.read_text()}")

    def answers(self, name):
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        query = struct.pack(">6H", 4242, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.1)
            client.connect((self.address, self.port))
            try:
                client.send(query)
                reply = client.recv(4096)
            except OSError:
                time.sleep(0.02)
                return False
        return reply[3] & 15 == 0 and reply[6:8] != b"\0\0"

    def processor_seconds(self):
        """Of all its threads: from the scheduler, in nanoseconds; user and system time in ticks, for their shares."""
        run = user = system = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            run += int((task / "schedstat").read_text().split()[0])
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return run / 1e9, user, system

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def measure(server, queries, seconds, tools, with_subnet):
    command = [str(tools / "load")] + (["-e"] if with_subnet else [])
    command += [server.address, str(server.port), str(queries), str(seconds)]
    # On a machine that is busy with other work a server may get no turn within a short measurement: it is repeated.
    for _ in range(MOST_TRIES):
        before = server.processor_seconds()
        output = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 3 + 20, check=True,
                                preexec_fn=on_core(1)).stdout
        after = server.processor_seconds()
        result = json.loads(output)
        if result["answered"]:
            break
    else:
        sys.exit(f"{server.name} answered nothing; its log:\n{server.log.read_text()}")
    run, user, system = (late - early for late, early in zip(after, before))
    result["us"] = run / result["answered"] * 1e6
    result["user"] = result["us"] * user / max(user + system, 1)
    return result


def report(name, by_server):
    middle = lambda server, key: statistics.median(sample[key] for sample in by_server[server])
    peers = [server for server in by_server if server != "portolan"]
    print(f"\n{name}: processor time a query, medians of {len(by_server['portolan'])} rounds")
    print(f"  {'server':9} {'us/query':>8} {'[least':>7} {'most]':>7} {'user':>6} {'queries/s':>10} {'lost':>6} {'wrong':>6}"
          f" {'portolan is':>15}")
    for server, samples in by_server.items():
        times = [sample["us"] for sample in samples]
        lost, wrong = (sum(sample[key] for sample in samples) for key in ("lost", "wrong"))
        rate = statistics.median(sample["answered"] / sample["seconds"] for sample in samples)
        ratio = ""
        if server in peers:
            rounds = zip(by_server["portolan"], samples)
            ratio = f"{statistics.median(ours['us'] / theirs['us'] for ours, theirs in rounds):.2f} of it"
        print(f"  {server:9} {middle(server, 'us'):8.2f} {min(times):7.2f} {max(times):7.2f} {middle(server, 'user'):6.2f}"
              f" {rate:10.0f} {lost:6} {wrong:6} {ratio:>15}")


def peers(options):
    wanted = ["portolan", "echo"] + [peer for peer in options.peers.split(",") if peer]
    for peer in wanted[2:]:
        if peer not in PROGRAMS:
            sys.exit(f"no peer '{peer}'; there are: {', '.join(PROGRAMS)}")
        if not find(PROGRAMS[peer]):
            print(f"{peer} is not here and is left out: apt-get install {PACKAGES[peer]}", file=sys.stderr)
            wanted.remove(peer)
    with tempfile.TemporaryDirectory(prefix="portolan-bench-") as scratch:
        scratch = pathlib.Path(scratch)
        os.chmod(scratch, 0o755)
        tools = build_tools(scratch, options.binary)
        sets = write_queries(scratch)
        servers, results = [], {}
        try:
            for number, name in enumerate(wanted):
                servers.append(Server(name, number, tools, scratch))
            for turn in range(options.rounds):
                for name in sets:
                    for server in servers:
                        if name in server.sets:
                            sample = measure(server, scratch / f"{name}.txt", options.seconds, tools, name == "region")
                            results.setdefault(name, {}).setdefault(server.name, []).append(sample)
                print(f"round {turn + 1} of {options.rounds} done", file=sys.stderr)
        finally:
            for server in servers:
                server.stop()
    for name, by_server in results.items():
        report(name, by_server)


def build_tools(scratch, binary):
    tools = scratch / "tools"
    tools.mkdir()
    if not os.access(binary, os.X_OK):
        sys.exit(f"no {binary}: build it with `cargo build --release`, or name another with --binary")
    (tools / "portolan").symlink_to(pathlib.Path(binary).resolve())
    for program in ("load", "echo"):
        subprocess.run(["cc", "-O2", "-o", str(tools / program), str(HERE / f"{program}.c")], check=True)
    return tools


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


# --- instructions -------------------------------------------------------------------------------------------------

def instructions(options):
    """What one answer() takes, without kernel and sockets: the difference of two runs of the loop, under callgrind."""
    if not find("valgrind"):
        sys.exit("valgrind is not here: apt-get install valgrind")
    subprocess.run(["cargo", "build", "--release", "--example", "answer_loop"], cwd=REPOSITORY, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    loop = target / "release" / "examples" / "answer_loop"
    print("answer(): instructions a query")
    for name in ("static", "weighted", "region", "affinity", "nxdomain", "garbage"):
        few, many = (count_instructions(loop, name, count) for count in (10_000, 30_000))
        print(f"  {name:9} {(many - few) / 20_000:8.1f}")


def count_instructions(loop, name, count):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(loop), name, str(count)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return int(re.search(r"Collected : (\d+)", output)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["peers", "instructions"], default="peers")
    parser.add_argument("--peers", default="knot,gdnsd", help="other servers in addition to the echo (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of load a server, set and round (default: %(default)s)")
    parser.add_argument("--binary", default=str(REPOSITORY / "target/release/portolan"), help="default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    {"peers": peers, "instructions": instructions}[options.what](options)


if __name__ == "__main__":
    main()
