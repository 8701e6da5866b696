"""`portolan demo --discover`: instances register, are answered after their first probe, and go."""
import os
import re
import signal

from portolan import BINARY, READY, command, environment
from processes import Child

# The demo itself gives each step a minute.
BOUND = 90
FREE = ["--dns", "127.0.0.1:0", "--http", "127.0.0.1:0"]


def start(dir, *arguments):
    (dir / "tmp").mkdir(exist_ok=True)
    return Child([BINARY, "demo", "--discover", *FREE, *arguments], dir, "demo", env=environment(TMPDIR=str(dir / "tmp")), before_exec=os.setsid)


def test_instances_register_are_answered_and_go(dir):
    demo = start(dir)
    try:
        demo.wait_line(READY, BOUND)
        steps = [
            r"# web-a registers, and its program does not run yet",
            r"web-a .* -> listed: discover.web lists it",
            r"= www.demo.example. nothing$",
            r"# the program of web-a starts",
            r"= www.demo.example. 127.1.0.20$",
            r"# web-b and web-c register",
            r"= www.demo.example. 127.1.0.20, 127.2.0.20, 127.3.0.20$",
            r"# web-b deregisters",
            r"= www.demo.example. 127.1.0.20, 127.3.0.20$",
            r"# the list is wiped",
            r"discover.web .*ok -> kept: ",
            r"= www.demo.example. 127.1.0.20, 127.3.0.20$",
            r"# the list is as before",
            r"discover.web .*kept -> ok: ",
            r"That was all",
        ]
        # It ends by itself, at the latest when each of its steps has had its minute.
        for pattern in steps:
            demo.wait_line(pattern, BOUND)
        assert demo.process.wait(BOUND) == 0, demo.err()
        lines = iter(demo.out())
        for pattern in steps:
            assert any(re.search(pattern, line) for line in lines), f"{pattern} in this order:\n" + "\n".join(demo.out())
        assert "the demo has ended" in demo.err()
        assert list((dir / "tmp").iterdir()) == [], "its files are removed"
    finally:
        demo.end()


def test_ctrl_c_and_a_duration_end_it(dir):
    demo = start(dir, "--for", "1h")
    try:
        demo.wait_line("# web-a registers", BOUND)
        os.kill(demo.process.pid, signal.SIGINT)
        assert demo.process.wait(BOUND) == 0, demo.err()
        assert "the demo has ended" in demo.err() and list((dir / "tmp").iterdir()) == []
    finally:
        demo.end()
    short = start(dir, "--for", "10ms")
    try:
        assert short.process.wait(BOUND) == 0, short.err()
        assert not any("That was all" in line for line in short.out())
    finally:
        short.end()


def test_it_is_another_demo_than_that_of_a_fleet():
    refused = command("demo", "--discover", "--fleet")
    assert refused.returncode == 2 and "--discover" in refused.stderr and "--fleet" in refused.stderr, refused.stderr
