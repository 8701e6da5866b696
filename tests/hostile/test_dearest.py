"""No query makes the server work much more than a normal one: scenes that searches have found, and random ones."""
import subprocess

import pytest

from portolan import BINARY

DEAREST = BINARY.parent / "examples" / "dearest"


@pytest.mark.skipif(not DEAREST.exists(), reason="needs the example: cargo build --release --example dearest")
def test_the_dearest_query():
    done = subprocess.run([DEAREST, "check"], capture_output=True, text=True, timeout=120)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
