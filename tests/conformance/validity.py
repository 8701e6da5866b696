#!/usr/bin/env python3
"""Which zones are valid: compares `portolan check` with kzonecheck, named-checkzone and nsd-checkzone. See README.md."""
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import servers

LIST = Path(__file__).resolve().parent / "validity.toml"
CHECKERS = {
    "kzonecheck": lambda origin, file: ["kzonecheck", "-o", origin, file],
    "named-checkzone": lambda origin, file: ["named-checkzone", "-i", "local", origin, file],
    "nsd-checkzone": lambda origin, file: ["nsd-checkzone", origin, file],
}
# These two decide; the third is only shown.
MEASURE = ("kzonecheck", "named-checkzone")
SECONDS = 30
# The output of named-checkzone for a zone without a problem.
QUIET = ("loaded serial", "OK")


def main():
    missing = [program for program in CHECKERS if not found(program)]
    if missing or not servers.Portolan.path():
        print(f"not there: {', '.join(missing) or 'portolan'}", file=sys.stderr)
        return 2
    table = tomllib.loads(LIST.read_text())
    dir = Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        write(dir / "zones", table)
        ours = by_portolan(dir, table["zones"])
        wrong = [name for name, zone in table["zones"].items() if not judge(name, zone, ours[name], dir / "zones")]
    finally:
        shutil.rmtree(dir)
    print(f"\n{len(table['zones'])} zones, {sum('differs' in zone for zone in table['zones'].values())} listed differences")
    print("validity: " + (f"FAILED: {', '.join(wrong)}" if wrong else "ok"))
    return 1 if wrong else 0


def found(program):
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin:/usr/local/sbin")


def write(dir, table):
    dir.mkdir()
    for name, zone in table["zones"].items():
        text = zone.get("text") or table["head"].lstrip() + zone["records"] + "\n"
        (dir / f"{name}.test.zone").write_bytes((text.rstrip("\n") if zone.get("cut") else text).encode())


def by_portolan(dir, zones):
    """The result of `portolan check` for each zone, all of them in one run."""
    server = servers.Portolan(dir / "node", dir / "zones", [])
    errors, warnings = server.check("error"), server.check("warning")
    verdicts = {}
    for name in zones:
        file = f"{name}.test.zone"
        verdicts[name] = "refuses" if file in errors else "warns" if file in warnings else "takes"
    return verdicts


def by_checker(checker, name, dir):
    argv = CHECKERS[checker](f"{name}.test.", str(dir / f"{name}.test.zone"))
    argv[0] = found(argv[0])
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=SECONDS, cwd=dir)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    messages = [line for line in lines if not line.strip().endswith(QUIET[1]) and QUIET[0] not in line]
    if done.returncode:
        return "refuses"
    return "warns" if messages and checker != "nsd-checkzone" else "takes"


def judge(name, zone, ours, dir):
    """Prints a line of the table; returns whether the result is the expected one."""
    theirs = {checker: by_checker(checker, name, dir) for checker in CHECKERS}
    refusals = {theirs[checker] == "refuses" for checker in MEASURE}
    differs = refusals == {ours != "refuses"}
    good = differs == ("differs" in zone)
    mark = "" if good else "  <- differs, and isn't listed" if differs else "  <- doesn't differ any more: unlist it"
    columns = " ".join(f"{verdict:8}" for verdict in [ours, *theirs.values()])
    print(f"{columns}  {name}{mark}{'  (' + zone['differs'] + ')' if 'differs' in zone else ''}")
    return good


if __name__ == "__main__":
    print("portolan kzonecheck named-checkzone nsd-checkzone")
    sys.exit(main())
