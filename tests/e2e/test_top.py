"""`portolan top` on a real terminal, which is tmux: what it shows of the demo, and that it leaves the terminal as it was."""
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from portolan import BINARY, READY, Node, command, environment, files, policy
from processes import Child, leashed, wait_until
from test_operator import operate, write_tokens

pytestmark = [pytest.mark.places, pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")]

API = "http://127.0.0.1:8053"
REGION = r"^us-east ([\d.,]+) pid (\d+)$"
# tmux counts the cells of a text by the locale.
LOCALE = {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|[34]8;5;\d+|4[0-7]|9[0-7])m")


class Tmux:
    """A terminal of tmux with a shell. Its server is a child of this process, so that it can't outlive the test."""

    def __init__(self, dir, place, name, size=(80, 24), env=None):
        self.dir, self.place = Path(dir), place
        self.marks = self.dir / f"{name}.marks"
        # The path of a Unix socket has at most 107 characters.
        self.socket = Path("/tmp") / f"top-{os.getpid()}-{name}"
        self.env = environment(**LOCALE, **(env or {}))
        self.server = Child(
            ["tmux", "-D", "-u", "-f", "/dev/null", "-S", self.socket], self.dir, name, place=place, env=self.env
        )
        wait_until(self.socket.exists, 10)
        columns, rows = size
        self.run("new-session", "-d", "-x", str(columns), "-y", str(rows), "PS1='$ ' sh")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.end()
        self.socket.unlink(missing_ok=True)

    def run(self, *argv):
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self.socket), *argv], capture_output=True, text=True, timeout=20, env=self.env,
            preexec_fn=leashed(self.place),
        )
        assert done.returncode == 0, f"tmux {argv}: {done.stderr}"
        return done.stdout

    def type(self, *keys):
        self.run("send-keys", *keys)

    def text(self):
        return self.run("capture-pane", "-p")

    def coloured(self):
        return self.run("capture-pane", "-p", "-e")

    def wait(self, *texts, without=(), bound=10):
        """Polls the picture until it has all texts; returns it."""

        def found():
            shown = self.text()
            return shown if all(text in shown for text in texts) and not any(text in shown for text in without) else None

        try:
            return wait_until(found, bound, step=0.05)
        except AssertionError:
            raise AssertionError(f"not within {bound} s: {texts} without {without}\n{self.text()}") from None

    def top(self, *argv):
        """Starts the command in the shell, which then writes its exit code and the modes of the terminal to a file."""
        words = " ".join(map(str, [BINARY, "top", *argv]))
        line = f"stty -g >{self.marks}.before; {words}; echo $? >{self.marks}.code; stty -g >{self.marks}; clear"
        self.type("-l", line)
        self.type("Enter")

    def end_of_top(self, bound=10):
        """Waits until the shell has the terminal again, and checks that it is as before; returns the exit code."""
        wait_until(lambda: self.marks.exists() and self.marks.read_text(), bound)
        assert self.marks.read_text() == Path(f"{self.marks}.before").read_text(), "the modes of the terminal"
        assert self.run("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]
        self.marks.unlink()
        return int(Path(f"{self.marks}.code").read_text())

    def pid_of_top(self):
        shell = int(self.run("display-message", "-p", "#{pane_pid}"))
        return wait_until(lambda: [pid for pid in children(shell) if "top" in name_of(pid)], 10)[0]


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def start_demo(dir, place):
    demo = Child([BINARY, "demo", "--no-tour"], dir, "demo", place=place, env=environment(), before_exec=os.setsid)
    demo.wait_line(READY, 30)
    return demo


def pid_of_region(demo, after=0):
    return int(demo.wait_line(REGION, 10, after)[2])


def test_the_views_of_the_demo_and_a_region_that_dies(dir, lone, figure):
    demo = start_demo(dir, lone)
    try:
        with Tmux(dir, lone, "live") as tmux:
            tmux.top("--server", API)
            picture = tmux.wait("www.demo.example", "live", "Every name gives what its policy prefers")
            assert re.search(r"(\d+) of \1 up", picture) and "generation 1" in picture, picture
            assert all(len(line) <= 80 for line in picture.splitlines())
            assert COLOUR.search(tmux.coloured())

            tmux.type("2")
            picture = tmux.wait("arcs:", "us-east", "eu-west", "ap-south", " ms")
            assert re.search("[\u2801-\u28ff]", picture), "the land is drawn"
            tmux.type("3")
            picture = tmux.wait("FROM US-EAST", "FROM EU-WEST", "VERDICT", "www-us", " ms")
            tmux.type("Tab")
            tmux.wait("[4 Timeline]")
            tmux.type("5")
            tmux.wait("LAST HOUR", "queries")
            tmux.type("?")
            tmux.wait("the next view")
            tmux.type("1")

            tmux.type("/", "canary")
            tmux.wait("/canary_", "canary.demo.example", without=["www.demo.example"])
            tmux.type("Escape")
            tmux.wait("www.demo.example", without=["/canary_"])

            printed = len(demo.out())
            os.kill(pid_of_region(demo), signal.SIGKILL)
            began = time.monotonic()
            tmux.wait("Bad: region us-east is down", bound=20)
            figure("a dead region is on the terminal after", time.monotonic() - began, "s")
            tmux.type("4")
            tmux.wait("www-us", "up -> down", "health")
            tmux.type("3")
            tmux.wait("down: conn", "connection refused")
            tmux.type("2")
            tmux.wait("down")

            tmux.run("resize-window", "-x", "200", "-y", "60")
            tmux.type("1")
            picture = tmux.wait("region us-east is down", "NAME", "arcs:", "CHANGE", "www-us")
            assert max(map(len, picture.splitlines())) > 150, picture
            tmux.run("resize-window", "-x", "20", "-y", "5")
            tmux.wait(" up", "[1 Names]")
            tmux.run("resize-window", "-x", "80", "-y", "24")
            tmux.wait("q quit")
            assert printed <= len(demo.out())

            tmux.type("q")
            assert tmux.end_of_top() == 0
    finally:
        demo.end()


def test_a_server_that_goes_and_comes_back(dir, lone):
    with Tmux(dir, lone, "away", env={"NO_COLOR": "1", "PORTOLAN_SERVER": API}) as tmux:
        tmux.top()
        tmux.wait("NO ANSWER", "no server at")
        demo = start_demo(dir, lone)
        try:
            tmux.wait("www.demo.example", without=["NO ANSWER"])
            assert not COLOUR.search(tmux.coloured())
        finally:
            demo.end()
        tmux.wait("NO ANSWER, what is shown is", "www.demo.example")
        demo = start_demo(dir, lone)
        try:
            tmux.wait("www.demo.example", "live", without=["NO ANSWER"])
        finally:
            demo.end()
        # The terminal is restored whatever ends the command.
        tmux.type("C-c")
        assert tmux.end_of_top() == 0
        tmux.top()
        tmux.wait("NO ANSWER")
        os.kill(tmux.pid_of_top(), signal.SIGTERM)
        assert tmux.end_of_top() == 0


def quiet_zone():
    """A zone of one endpoint that nobody probes."""
    return files(policy(
        endpoint={"fra1": {"addresses": ["192.0.2.1"]}}, pool={"web": {"members": ["fra1"]}}, name={"www": {"pool": "web"}}))


def test_it_goes_on_after_the_shell_has_stopped_it(dir):
    with Node(dir, quiet_zone()) as node, Tmux(dir, None, "stopped") as tmux:
        tmux.type("-l", f"{BINARY} top --server {node.url}")
        tmux.type("Enter")
        tmux.wait("www.svc.example", "live")
        pid = tmux.pid_of_top()
        is_stopped = lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        # By Ctrl-Z, by a signal that no process can handle, and with another size of the window afterwards.
        for stop, size in [("key", (80, 24)), ("signal", (80, 24)), ("key", (60, 20)), ("key", (100, 30))]:
            if stop == "key":
                tmux.type("C-z")
            else:
                os.kill(pid, signal.SIGSTOP)
            wait_until(is_stopped, 10)
            if stop == "key":
                assert tmux.run("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]
            # The terminal may still be without lines, so that Enter ends none.
            tmux.type("-l", "stty sane; clear; echo between")
            tmux.type("C-j")
            tmux.wait("between")
            tmux.run("resize-window", "-x", str(size[0]), "-y", str(size[1]))
            tmux.type("-l", "fg")
            tmux.type("Enter")
            tmux.wait("www.svc.example", "[1 Names]", without=["between"])
            # Keys are read again, each alone, and the picture can be drawn anew.
            tmux.type("4")
            tmux.wait("[4 Timeline]")
            tmux.type("C-l")
            tmux.type("1")
            tmux.wait("[1 Names]", "www.svc.example")
        tmux.type("q")
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10)


def test_the_timeline_has_the_events_from_before_a_restart(dir):
    zones = quiet_zone()
    write_tokens(dir)
    with Node(dir, zones) as node:
        assert operate(node, "drain", "fra1", "--why", "before the restart").returncode == 0
    with Node(dir, zones) as node, Tmux(dir, None, "log", (160, 30)) as tmux:
        tmux.top("--server", node.url)
        tmux.type("4")
        tmux.wait("fra1", "before the restart", without=["Nothing has changed yet"])
        assert operate(node, "force-up", "fra1", "--why", "after the restart").returncode == 0
        shown = tmux.wait("after the restart", "before the restart")
        assert shown.index("after the restart") < shown.index("before the restart"), "the newest first"
        tmux.type("q")
        assert tmux.end_of_top() == 0


def test_without_a_terminal_the_command_names_another(dir):
    refused = command("top", "--server", "http://127.0.0.1:1")
    assert refused.returncode == 1 and refused.stdout == ""
    assert "not a terminal" in refused.stderr and "`portolan status`" in refused.stderr, refused.stderr
    wrong = command("top", "--server", "nonsense")
    assert wrong.returncode == 2
