#!/usr/bin/env python3
"""Reloads a changed file again and again under a constant load of queries: reloads.py [--reloads 1000] [--rate 20000].

Each version of the file gives a name three other addresses. No query may be without a reply, and no reply may have addresses
of two versions. The exit code is 1 if one is. The binary is that of PORTOLAN_BIN, or the release binary. Needs a C compiler."""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from portolan import MASTER, SETTINGS, Node, command
from processes import wait_until


# Without a token the calls of one address are limited.
TOKEN = "5f3c0d9a7be14c2891d0a6cc4fe2b713"


def version(number):
    endpoints = "".join(
        f'[endpoint.e{at}]\naddresses = ["10.{number >> 8}.{number & 255}.{at}"]\n' for at in (1, 2, 3)
    )
    return f'zone = "svc.example."\n{endpoints}[pool.web]\nmembers = ["e1", "e2", "e3"]\nsteer = "all"\n[name.www]\npool = "web"\n'


def reloads(node, count):
    """Seconds that each reload took."""
    took = []
    for number in range(1, count + 1):
        node.write("svc.example.policy.toml", version(number))
        began = time.monotonic()
        done = command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": TOKEN})
        took.append(time.monotonic() - began)
        assert done.returncode == 0, done.stdout + done.stderr
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=20_000, help="queries a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portolan-reloads-") as dir:
        dir = Path(dir)
        load = dir / "generations"
        subprocess.run(["cc", "-O2", "-o", load, HERE / "generations.c"], check=True)
        (dir / "node").mkdir()
        (dir / "node" / "tokens").write_text(f"soak operate {TOKEN}\n")
        settings = SETTINGS + '\n[api]\ntoken_file = "tokens"\n'
        with Node(dir, {"svc.example.policy.toml": version(0), "svc.example.zone": MASTER}, settings=settings) as node:
            host, port = node.udp
            argv = [load, host, str(port), str(options.rate), "www.svc.example"]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout.readline() == "begun\n"
                took = reloads(node, options.reloads)
                wait_until(lambda: node.addresses("www.svc.example.") == [
                    f"10.{options.reloads >> 8}.{options.reloads & 255}.{at}" for at in (1, 2, 3)], 10)
                result = json.loads(child.communicate()[0])
    rate = result["sent"] / result["seconds"]
    print(f"{options.reloads} reloads, median {1000 * statistics.median(took):.1f} ms, longest {1000 * max(took):.0f} ms")
    print(f"{result['sent']} queries, {rate:.0f} a second; {result['generations']} versions answered")
    print(*(f"{what}: {result[what]}" for what in ("lost", "mixed", "empty", "unsent")), sep="\n")
    is_ok = not (result["lost"] or result["mixed"] or result["empty"]) and result["replies"] == result["sent"]
    print(f"reloads: {'ok' if is_ok else 'failed'}")
    return 0 if is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
