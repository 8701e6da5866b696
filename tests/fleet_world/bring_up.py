"""docker/namespaces.sh: brings the world up, prints commands to try, changes the network by the lines that are typed, and
ends all of it on Ctrl-C, or when its terminal is closed."""
import argparse
import os
import queue
import re
import signal
import sys
import tempfile
import threading

from fleet_world import FleetWorld, remove
from parts import DELAYS, REGIONS, SERVER, CLIENT


def run_in(world, region):
    """The beginning of a command that runs in a region."""
    return f"nsenter --net=/proc/{os.getpid()}/fd/{world[region.name].ns}"


def commands(fleet):
    lines = ["# what a client of each region gets from the server of its region: a near endpoint"]
    for region in REGIONS:
        dig = f"dig @{region.host(SERVER)} -b {region.host(CLIENT)} www.svc.example +short"
        lines += [f"# {region.name}", f"{run_in(fleet.world, region)} {dig}"]
    first, program = REGIONS[0], fleet.program
    inside, api = run_in(fleet.world, first), fleet.http(first.server)
    lines += [
        "# the one active endpoint of an exclusive name, and its epoch",
        f"{inside} dig @{first.host(SERVER)} db.svc.example +short",
        f"{inside} dig @{first.host(SERVER)} TXT _epoch.db.svc.example +short",
        "# what the servers agree on, and why a client gets its answer",
        f"{inside} {program} status --server {api}",
        f"{inside} {program} explain www.svc.example --client {REGIONS[1].host(CLIENT)} --server {api}",
        "# take a region out by hand",
        f"export PORTOLAN_TOKEN={fleet.token}",
        f"{inside} {program} drain region:us-east --why maintenance --for 10m --server {api}",
        f"{inside} {program} clear region:us-east --server {api}",
    ]
    return lines


def execute(fleet, line):
    """What a typed line does; returns what is printed for it."""
    word, *names = line.split()
    unknown = [name for name in names if name not in fleet.parts and name not in fleet.world.names and not is_number(name)]
    if unknown:
        return f"there is no {unknown[0]}; there are {', '.join([*fleet.world.names, *fleet.parts])}"
    regions = [name for name in names if name in fleet.world.names]
    part = fleet.parts.get(names[0]) if len(names) == 1 else None
    if word in ("cut", "heal") and 1 <= len(regions) == len(names) <= 2:
        fleet.world.cut(*regions, on=word == "cut")
        return f"{word}: {' and '.join(names)}" + ("" if len(names) == 2 else " and all others")
    if word == "delay" and len(names) == 3 and len(regions) == 2 and is_number(names[2]):
        fleet.delay(*regions, float(names[2]))
        return f"delay: {names[0]} and {names[1]}, {names[2]} ms one way"
    if part is not None and word in ("kill", "pause") and part.is_running():
        part.kill() if word == "kill" else part.pause()
        return f"{word}: {part.name}"
    if part is not None and word in ("start", "continue") and part.is_running() == (word == "continue"):
        part.start(wait=False) if word == "start" else part.go_on()
        return f"{word}: {part.name}"
    return (
        "cut REGION [REGION], heal REGION [REGION], delay REGION REGION MILLISECONDS, kill PART, start PART, pause PART, "
        "continue PART"
    )


def is_number(text):
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None


def read_lines(lines):
    for line in sys.stdin:
        if line.strip():
            lines.put(line)


def main():
    options = argparse.ArgumentParser(prog="docker/namespaces.sh")
    options.add_argument("--portolan", help="the program; default: PORTOLAN_BIN, target/release/portolan, or PATH")
    options.add_argument("--nats-server", help="the program; default: PATH")
    options = options.parse_args()
    lines = queue.Queue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: lines.put(None))
    dir = tempfile.mkdtemp(prefix="portolan-world-")
    fleet = None
    try:
        print("starting three regions; a cluster of NATS servers takes 10 to 40 s to elect its leader ...", file=sys.stderr, flush=True)
        fleet = FleetWorld(dir, options.portolan, options.nats_server, wait=False)
        if not wait_ready(fleet, lines):
            return 0
        print("\n".join(describe(fleet)), flush=True)
        threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
        while (line := lines.get()) is not None:
            print(execute(fleet, line), flush=True)
        return 0
    except (AssertionError, OSError) as error:
        print(f"docker/namespaces.sh: {error}", file=sys.stderr)
        return 1
    finally:
        # A second Ctrl-C does not leave half of it running.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if fleet is not None:
            fleet.end()
        remove(dir)
        print("all of it has ended", file=sys.stderr)


def wait_ready(fleet, lines):
    """Waits until the world is ready, in a thread of its own; False if a signal comes first."""
    problem = []

    def ready():
        try:
            fleet.wait_ready()
        except Exception as error:
            problem.append(error)
        lines.put("ready")

    threading.Thread(target=ready, daemon=True).start()
    if lines.get() is None:
        return False
    if problem:
        raise problem[0]
    return True


def describe(fleet):
    what = [f"{region.name}: {', '.join(fleet.names_in(region))}" for region in REGIONS]
    delays = [f"{a} - {b}: {ms} ms one way" for (a, b), ms in DELAYS.items()]
    last = [f"files and logs: {fleet.dir}", "Type `help` for what can be cut, delayed and killed. Ctrl-C ends it.", "ready"]
    return [*what, *delays, "", *commands(fleet), "", *last]


if __name__ == "__main__":
    sys.exit(main())
