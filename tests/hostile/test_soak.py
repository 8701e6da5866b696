"""The soak runs: for some seconds, which is too short to compare memory. Reloads lose no query and mix no generations."""
import os
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[1] / "soak"


def run(script, *arguments):
    argv = [sys.executable, SOAK / script, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, env=dict(os.environ))
    print(done.stdout, done.stderr)
    return done


def test_the_soak_runs():
    done = run("soak.py", "15s")
    lines = done.stdout.splitlines()
    assert sum(line.endswith(" s") or " s " in line for line in lines[1:6]) == 5, done.stdout
    assert lines[-1].startswith("soak: ") and not done.stderr, done.stderr
    assert not [line for line in lines if " lost over " in line or "reload:" in line or "flap:" in line], done.stdout


def test_reloads_lose_no_query_and_mix_no_generations():
    done = run("reloads.py", "--reloads", "50", "--rate", "2000")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "reloads: ok", done.stdout + done.stderr
