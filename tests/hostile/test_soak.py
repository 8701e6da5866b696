"""The soak runs: for some seconds, which is too short to compare memory."""
import os
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[1] / "soak" / "soak.py"


def test_the_soak_runs():
    done = subprocess.run([sys.executable, SOAK, "15s"], capture_output=True, text=True, timeout=180, env=dict(os.environ))
    print(done.stdout, done.stderr)
    lines = done.stdout.splitlines()
    assert sum(line.endswith(" s") or " s " in line for line in lines[1:6]) == 5, done.stdout
    assert lines[-1].startswith("soak: ") and not done.stderr, done.stderr
    assert not [line for line in lines if " lost over " in line or "reload:" in line or "flap:" in line], done.stdout
