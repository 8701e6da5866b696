"""The demo on a terminal: what it shows, what it does by itself, and that it leaves the terminal as it was."""
import re
import signal
import termios

import pytest

from portolan import BINARY, READY, command, environment
from processes import Child
from screen import Screen

pytestmark = pytest.mark.places

REGIONS = {"us-east": "127.1", "eu-west": "127.2", "ap-south": "127.3"}
ENV = {"TERM": "xterm"}


def demo(place, *arguments, env=None, **how):
    return Screen([BINARY, "demo", *arguments], place=place, env=environment(**ENV, **(env or {})), **how)


def answered(screen, client):
    """The region that answers the client of a region, as the screen shows."""
    rows = [line for line in screen.text().splitlines() if re.match(rf"{client} +{REGIONS[client]}\.0\.99 ", line)]
    assert len(rows) <= 1, f"redrawn in place:\n{screen.text()}"
    found = rows and re.search(r"99 +[\d.]+ \(([\w-]+)\)", rows[0])
    return found[1] if found else None


def wait_home(screen):
    screen.wait(lambda: all(answered(screen, region) == region for region in REGIONS), 30)


def process(screen, region):
    """The last line that names a region's process, in all that was written."""
    return re.findall(rf"(?m)^{region} ([\d.,]+) pid (\d+)$", screen.plain())


def test_the_demo_takes_a_region_down_and_up_again(lone):
    with demo(lone, "--tour-after", "2s") as screen:
        wait_home(screen)
        assert re.search(READY, screen.plain(), re.MULTILINE) and "export PORTOLAN_TOKEN=" in screen.plain()
        assert all(len(process(screen, region)) == 1 for region in REGIONS)
        assert "dig @" not in screen.plain(), "not a wall of commands"
        screen.wait(lambda: answered(screen, "eu-west") == "us-east", 15)
        assert answered(screen, "ap-south") == "ap-south"
        assert "killed, back in" in screen.text()
        screen.wait(lambda: answered(screen, "eu-west") == "eu-west", 40)
        assert len(process(screen, "eu-west")) == 2, "its line again, with the new pid"
        assert "www for clients in eu-west: www-eu => www-us" in screen.plain()
        screen.wait(lambda: "Now try it yourself" in screen.text(), 5)
        assert screen.text().count("CLIENT IN") == 1, screen.text()


def test_without_a_tour_nothing_happens_by_itself(lone):
    with demo(lone, "--no-tour", "--tour-after", "0s", "--for", "3s") as screen:
        wait_home(screen)
        assert screen.wait_end(20) == 0
        assert "killed" not in screen.plain() and "the demo kills" not in screen.plain()


def test_a_key_shows_the_commands(lone):
    with demo(lone, "--no-tour") as screen:
        wait_home(screen)
        screen.type("d")
        screen.wait(lambda: screen.plain().count("dig @127.0.0.1 -p 5300") >= 6, 5)
        screen.wait(lambda: screen.text().count("CLIENT IN") == 1, 5)
        token = re.search(r"export PORTOLAN_TOKEN=(\w{32})", screen.plain())[1]
        done = command("drain", "region:eu-west", "--why", "test", place=lone, env={"PORTOLAN_TOKEN": token})
        assert done.returncode == 0, done.stderr
        screen.wait(lambda: answered(screen, "eu-west") == "us-east", 5)
        screen.type("q")
        assert screen.wait_end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, "ctrl-c"])
def test_the_terminal_is_restored(lone, number):
    with demo(lone) as screen:
        wait_home(screen)
        assert not screen.is_cursor_shown and screen.modes() != screen.before
        screen.type("\x03") if number == "ctrl-c" else screen.process.send_signal(number)
        assert screen.wait_end() == 0
        assert screen.modes() == screen.before and screen.is_cursor_shown
        assert "is gone" not in screen.plain(), "no line about regions that the demo ends"


def test_ctrl_z_restores_the_terminal_and_fg_goes_on(lone):
    with demo(lone, "--no-tour") as screen:
        wait_home(screen)
        screen.type("\x1a")
        screen.wait(lambda: b") T " in open(f"/proc/{screen.process.pid}/stat", "rb").read(), 5)
        screen.read()
        assert screen.modes()[3] & termios.ICANON and screen.is_cursor_shown
        screen.process.send_signal(signal.SIGCONT)
        screen.wait(lambda: not screen.is_cursor_shown, 5)
        screen.type("q")
        assert screen.wait_end() == 0 and screen.modes() == screen.before


@pytest.mark.parametrize("size", [(40, 10), (20, 4), (200, 60)])
def test_a_window_of_another_size(lone, size):
    with demo(lone, "--no-tour") as screen:
        wait_home(screen)
        screen.resize(*size)
        shown = "CLIENT IN" if size[1] > 4 else "www.demo.example"
        screen.wait(lambda: "\x1b[2J" in screen.raw and shown in "\n".join(screen.lines[screen.top() :]), 5)
        # The block is redrawn in place: no line appears twice, and none is broken.
        written = len(screen.raw)
        screen.wait(lambda: len(screen.raw) > written, 5)
        below = screen.lines[screen.top() :]
        assert sum(shown in line for line in below) == 1, "\n".join(below)
        screen.resize(80, 24)
        wait_home(screen)


def test_no_color(lone):
    with demo(lone, "--no-tour", env={"NO_COLOR": "1"}) as plain:
        wait_home(plain)
        assert not re.search(r"\x1b\[[0-9;]*m", plain.raw)
    with demo(lone, "--no-tour") as coloured:
        wait_home(coloured)
        assert re.search(r"\x1b\[[0-9;]*m", coloured.raw)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_terminal_that_cannot_draw_gets_lines(lone, env):
    with Screen([BINARY, "demo", "--tour-after", "0s", "--for", "3s"], place=lone, env=environment(**env)) as screen:
        assert screen.wait_end(30) == 0
        assert "\x1b" not in screen.raw and "dig @" in screen.raw and "is gone" not in screen.raw


def test_without_a_terminal_nothing_happens_by_itself(dir, lone):
    child = Child([BINARY, "demo", "--tour-after", "0s", "--for", "3s"], dir, "demo", place=lone, env=environment(**ENV))
    assert child.wait(30) == 0
    output = "\n".join(child.out())
    assert "dig @" in output and "\x1b" not in output and "is gone" not in output, output


def test_a_pipe_as_input_has_no_keys_and_the_commands_at_once(lone):
    with Screen(["sh", "-c", f"exec {BINARY} demo --no-tour </dev/null"], place=lone, env=environment(**ENV)) as screen:
        wait_home(screen)
        assert "dig @" in screen.plain() and "q or Ctrl-C" not in screen.text()


def test_demos_that_start_at_the_same_moment(dir, lone):
    """Each finds the port of the endpoints free; those that then can't bind it use another."""
    argv = [BINARY, "demo", "--for", "100ms", "--dns", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    demos = [Child(argv, dir, f"demo-{number}", place=lone, env=environment()) for number in range(4)]
    try:
        for one in demos:
            assert one.wait(60) == 0, one.output()
    finally:
        for one in demos:
            one.end()


def test_two_demos_side_by_side(dir, lone):
    first = Child([BINARY, "demo"], dir, "first", place=lone, env=environment())
    try:
        first.wait_line(READY, 30)
        refused = command("demo", place=lone)
        assert refused.returncode == 1
        last = refused.stderr.strip().splitlines()[-1]
        assert "127.0.0.1:5300: the port is in use" in last and "`--dns 127.0.0.1:" in last, refused.stderr
        refused = command("demo", "--dns", "127.0.0.1:5301", place=lone)
        last = refused.stderr.strip().splitlines()[-1]
        assert refused.returncode == 1 and "127.0.0.1:8053: the port is in use" in last and "`--http " in last, last
        argv = [BINARY, "demo", "--dns", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        second = Child(argv, dir, "second", place=lone, env=environment())
        try:
            ready = second.wait_line(READY, 30)
            assert "port 18080 is in use" in second.err()
            url = f"http://{ready[2]}"
            status = command("status", "--server", url, place=lone)
            assert status.returncode == 0 and " down " not in status.stdout, status.stdout
        finally:
            second.end()
        assert first.is_running()
    finally:
        first.end()
