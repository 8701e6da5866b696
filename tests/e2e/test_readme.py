"""README.md, followed to the letter: its code blocks are run one after the other in one shell, and what they print is
compared with what the document shows. `README_UPDATE=1` writes what was printed into the document instead.

A block's language says what it is. `console`: commands after `$ `, each with its output. `sh`: a script that is run, and
prints nothing that is shown. `toml` is loaded by tests/docs.rs; `text` shows a part of something. Blocks that can't be run
here are listed in NOT_RUN, each with the reason."""
import os
import re
import secrets
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from portolan import BINARY, environment
from processes import leashed

pytestmark = pytest.mark.places

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
UPDATE = os.environ.get("README_UPDATE") == "1"

# By the first line of the block.
NOT_RUN = {
    "cargo build --release": "the program under test is built already; tests/run and the demo have tests of their own",
    "sudo setcap cap_net_bind_service,cap_net_raw=+ep /usr/local/bin/portolan   # cap_net_raw is for icmp monitors":
        "changes a file of the system; the rights that it gives have tests of their own (test_commands.py)",
    "kdig @192.0.2.53 +tls   www.svc.example      # of Debian's package knot-dnsutils":
        "asks a server with an address of an example; the same questions are asked in test_encrypted.py",
}

LANGUAGES = {"console", "sh", "toml", "text", "json"}
FENCE = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^ *```$")

# Commands that only ask: they are run again until they print what is expected, or the time is up.
ASKS = re.compile(r"(dig|for|portolan (status|explain|simulate|overrides|check))\b")
SETTLE_SECONDS = 20
# What runs in the background prints when it is ready.
BACKGROUND_SECONDS = 30

# What differs from run to run.
VARYING = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DATE"),
    (r"\b[0-9a-f]{32}\b", "TOKEN"),
    (r"\b\d+(\.\d+)? (ms|s|m|h)\b", "TIME"),
    (r"\bpid \d+", "pid N"),
    (r"says [\w-]+", "says VANTAGE"),
    (r"IN\s+A\s+127\.0\.0\.1[12]$", "IN A ONE-OF-TWO"),
    (r" +", " "),
]


class Block:
    def __init__(self, found):
        self.language, self.body, self.at = found["language"], found["body"], found.span("body")
        self.indent = found["indent"]
        self.line = found.string[: found.start()].count("\n") + 1

    def lines(self):
        return [line.removeprefix(self.indent) for line in self.body.splitlines()]

    def steps(self):
        """[(command, [line of its output, ...])]"""
        if self.language == "sh":
            return [("\n".join(self.lines()), None)]
        steps = []
        for line in self.lines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                assert steps, f"line {self.line}: output before the first command"
                steps[-1][1].append(line)
        return steps


class Shell:
    """A shell that runs one command after the other, as a person's does, jobs in the background included."""

    def __init__(self, place, directory):
        env = environment(HOME=str(directory), TERM="dumb", PS1="", LC_ALL="C.UTF-8", PYTHONUNBUFFERED="1")
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=directory, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=leashed(place, os.setsid),
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""

    def read(self, seconds):
        if select.select([self.process.stdout], [], [], seconds)[0]:
            self.text += (self.process.stdout.read() or b"").decode(errors="replace")

    def run(self, command, wanted=0):
        """Exit code and lines of output; of a command in the background as many as are wanted, once they have come."""
        mark = f"<{secrets.token_hex(8)}:"
        self.process.stdin.write(f"{command}\nprintf '%s%d>\\n' '{mark}' $?\n".encode())
        self.process.stdin.flush()
        deadline = time.monotonic() + 60
        while not (ended := re.search(mark + r"(\d+)>\n", self.text)):
            assert time.monotonic() < deadline, f"{command}: has not ended\n{self.text}"
            self.read(0.1)
        lines = (self.text[: ended.start()] + self.text[ended.end() :]).splitlines()
        self.text = self.text[: ended.start()] + self.text[ended.end() :]
        if command.rstrip().endswith("&"):
            deadline = time.monotonic() + BACKGROUND_SECONDS
            while len(lines) < wanted and time.monotonic() < deadline:
                self.read(0.1)
                lines = self.text.splitlines()
        self.text = ""
        return int(ended[1]), lines

    def close(self):
        """Ends the jobs that the document leaves running, and the shell."""
        self.process.stdin.write(b"kill $(jobs -p) 2>/dev/null; wait; exit\n")
        self.process.stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait(5)


def fixed(line):
    """A line without what varies."""
    for pattern, word in VARYING:
        line = re.sub(pattern, word, line)
    return line.rstrip()


def is_as_shown(command, shown, printed):
    if command.startswith("for "):
        # Answers by chance: the same ones, in any order.
        return len(shown) == len(printed) and set(shown) == set(printed)
    shown, printed = [fixed(line) for line in shown], [fixed(line) for line in printed]
    if command.startswith("portolan explain"):
        # The evidence comes in the order of the vantages, which differs from start to start.
        return sorted(shown) == sorted(printed)
    return shown == printed


def follow(shell, block, command, shown):
    """Runs a step; gives what it printed."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        code, printed = shell.run(command, wanted=len(shown or []))
        where = f"README.md, the block of line {block.line}: $ {command}\n"
        assert code == 0, where + f"ended with {code}\n" + "\n".join(printed)
        if shown is None or is_as_shown(command, shown, printed):
            return printed
        if UPDATE:
            return printed
        if not ASKS.match(command) or time.monotonic() > deadline:
            pytest.fail(where + "--- shown\n" + "\n".join(shown) + "\n--- printed\n" + "\n".join(printed))
        time.sleep(0.3)


def blocks():
    return [Block(found) for found in FENCE.finditer(README.read_text())]


def test_every_block_is_run_or_listed():
    found = blocks()
    assert {block.language for block in found} <= LANGUAGES, "a block without a language, or with one that says nothing"
    commands = [block for block in found if block.language in ("console", "sh")]
    first = [block.lines()[0] for block in commands]
    assert [line for line in NOT_RUN if first.count(line) != 1] == [], "listed, but not one block of the document"
    assert len(commands) - len(NOT_RUN) >= 8, "the document shows hardly anything that can be followed"


def test_the_readme_is_true(dir, lone):
    for program in ("dig", "openssl", "bash"):
        assert shutil.which(program), f"{program} is missing: the README can't be followed"
    shutil.copytree(ROOT / "zones", dir / "zones", ignore=shutil.ignore_patterns("state", "tokens"))
    (dir / "target/release").mkdir(parents=True)
    (dir / "target/release/portolan").symlink_to(BINARY)
    shell, text, shift = Shell(lone, dir), README.read_text(), 0
    try:
        for block in blocks():
            if block.language not in ("console", "sh") or block.lines()[0] in NOT_RUN:
                continue
            written = []
            for command, shown in block.steps():
                printed = follow(shell, block, command, shown)
                is_kept = shown is None or is_as_shown(command, shown, printed)
                written += [f"$ {command}", *((shown or []) if is_kept else printed)]
            if UPDATE and block.language == "console":
                body = "".join(f"{block.indent}{line}\n" for line in written)
                start, end = (at + shift for at in block.at)
                text = text[:start] + body + text[end:]
                shift += len(body) - (end - start)
    finally:
        shell.close()
    if UPDATE:
        README.write_text(text)
