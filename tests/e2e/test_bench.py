"""The benchmark runs, measures, and finds every reply correct. This test doesn't check the figures."""
import re
import subprocess
import sys
from pathlib import Path

import portolan

BENCH = Path(__file__).parents[1] / "bench" / "bench.py"
PROBES = BENCH.with_name("probes.py")


def test_every_query_of_the_bench_is_answered():
    rounds, seconds = 2, 0.3
    how = ["--peers", "", "--rounds", str(rounds), "--seconds", str(seconds)]
    command = [sys.executable, str(BENCH), "--binary", str(portolan.BINARY), *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+): processor time", done.stdout, re.M) == ["static", "weighted", "region"]
    rows = re.findall(r"^  (\w+) +([\d.]+) +[\d.]+ +[\d.]+ +[\d.]+ +(\d+) +(\d+) +(\d+)", done.stdout, re.M)
    assert [row[0] for row in rows] == ["portolan", "echo"] * 3
    for server, microseconds, rate, lost, wrong in rows:
        assert float(microseconds) > 0 and int(rate) > 0, done.stdout
        assert wrong == "0", f"{server}:\n{done.stdout}"
        # The kernel drops datagrams while another program has the core: that is no fault of either server.
        assert int(lost) < int(rate) * seconds * rounds / 10, f"{server}:\n{done.stdout}"


def test_a_thousand_endpoints_are_probed_and_dead_ones_are_withdrawn():
    command = [sys.executable, str(PROBES), "--binary", str(portolan.BINARY), "--endpoints", "1000", "--seconds", "2"]
    done = subprocess.run([*command, "--flood", "--patience", "60"], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = dict(re.findall(r"^(\w+) +([\d.]+)", done.stdout, re.M))
    assert set(figures) == {"start", "processor", "probe", "memory", "reply", "flood", "out", "spread"}, done.stdout
    assert re.search(r"^  probe ", done.stdout, re.M), f"no thread of its own probes:\n{done.stdout}"
