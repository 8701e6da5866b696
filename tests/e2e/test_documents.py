"""The documents, followed to the letter: the code blocks of each one are run one after the other in one shell, and what they
print is compared with what the document shows. `DOCUMENTS_UPDATE=1` writes what was printed into the document instead.

The language of a block says what is done with it. `console`: commands after `$ `, each with its output. `sh`: a script that
is run; its output isn't shown. `json` is parsed. `toml` and `zone` are loaded by tests/docs.rs. `text` shows output, or a
file that this program doesn't read. Blocks that can't be run or compared are listed in NOT_RUN, each with the reason."""
import json
import os
import re
import secrets
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from nats import PROGRAM as NATS_SERVER
from portolan import BINARY, environment
from processes import leashed

pytestmark = pytest.mark.places

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "zones/README.md"] + sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")
)
UPDATE = os.environ.get("DOCUMENTS_UPDATE") == "1"

# Reasons that several blocks have.
BUILDS = "builds the program or runs tests/run, which runs this test"
OUTPUT = "output that has a test of its own: "
OF_OTHERS = "a file of another program"

# (document, first line of the block, or of several blocks): reason.
NOT_RUN = {
    ("docs/drills.md", "portolan drill lose-region us-east --for 60s --dry-run       # what would happen"):
        "takes a minute, of a fleet that is not here; tests/e2e/test_drill.py runs drills",
    ("docs/watching.md", "fstrm_capture -t protobuf:dnstap.Dnstap -u /run/dnstap.sock -w queries.dnstap"):
        "it never ends; tests/e2e/test_dnstap.py runs both programs",
    ("docs/watching.md", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 portolan serve --config portolan.toml"):
        "it never ends, and needs the cargo feature otel; tests/e2e/test_traces.py has a collector",
    ("README.md", "Portolan demo 0.1.0  up for 14 s  generation 1  http://127.0.0.1:8053  live"):
        OUTPUT + "test_top.py; the figures differ each time",
    ("README.md", "cargo run --release -- demo    # three regions on your machine; Ctrl-C ends it"): BUILDS,
    ("CONTRIBUTING.md", "WRITE_KEYS=1 cargo test --lib config::keys"): "writes the manual; the same test compares it",
    ("zones/README.md", "svc.example.policy.toml:10:20: error: there is no endpoint or pool `asm1` (hint: did you mean `ams1`?) "
                        "[see zones/README.md#poolname-a-steered-group]"): OUTPUT + "tests/check",
    ("zones/README.md", 'curl -X PUT -H "authorization: Bearer $PORTOLAN_TOKEN" -d \'{"ttl":"5s"}\' '
                        "http://127.0.0.1:8053/v1/heartbeat/fra1"): "the same requests are sent in test_heartbeat.py",
    ("zones/README.md", "_http._tcp.www  20  SRV    0 65535 8080 fra1.endpoints.svc.example."): OUTPUT + "test_services.py",
    ("zones/README.md", "resolvers portolan"): OF_OTHERS + "; the same one is used in test_services.py",
    ("docs/operating.md",
     "sudo setcap cap_net_bind_service,cap_net_raw=+ep /usr/local/bin/portolan   # cap_net_raw is for icmp monitors"):
        "changes a file of the system; the privileges that it gives have tests of their own (test_commands.py)",
    ("docs/operating.md", "sudo useradd --system portolan"):
        "changes the users of the system; what the server does with them is in test_privileges.py",
    ("docs/installing.md", "packaging/deb                                   # prints the name of the package"):
        BUILDS + "; tests/package does it",
    ("docs/installing.md", "portolan serve --config /etc/portolan/portolan.toml --takeover"):
        "the settings are those of the package; test_takeover.py does it",
    ("docs/events.md", "[sink.log]"): "needs the cargo feature kafka; test_sinks_kafka.py has these settings, with a broker",
    ("docs/exclusive.md", "$ dig +short TXT _epoch.db.svc.example @ns1.example"): OUTPUT + "test_exclusive.py",
    ("docs/exclusive.md", "#!/bin/sh"): "scripts for the hosts of a database; they need PostgreSQL and its hosts",
    ("docs/external-dns.md", "Service, Ingress ──> external-dns ──HTTP──> portolan external-dns ──> k8s.example.policy.toml ──> portolan serve"):
        "a picture",
    ("docs/external-dns.md", "apiVersion: v1"): OF_OTHERS + "; test_external_dns.py sends what external-dns makes of it",
    ("docs/external-dns.md",
     "portolan external-dns --config /etc/portolan/portolan.toml --zone k8s.example --cluster eu=eu-west --cluster us=us-east"):
        "the settings are those of a server; test_external_dns.py has such clusters",
    ("docs/overrides.md", "# who may do what"): "a file of tokens; test_operator.py has such files",
}

RUN = {"console", "sh"}
LOADED = {"toml", "zone"}
LANGUAGES = RUN | LOADED | {"json", "text"}
FENCE = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^ *```$")

# Commands that only read: they are run again until they print what is expected, or the time is up.
READS = re.compile(r"(dig|for|curl -s|portolan (status|explain|simulate|overrides|check))\b")
SETTLE_SECONDS = 20
# What runs in the background prints when it is ready.
BACKGROUND_SECONDS = 30

# What differs from run to run.
VARYING = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DATE"),
    (r"\b[0-9a-f]{32}\b", "TOKEN"),
    (r"\b\d+(\.\d+)? (ms|s|m|h)\b", "TIME"),
    (r"\bpid \d+", "pid N"),
    # A change that the server noticed before the command is a generation of its own.
    (r"\bgeneration (?!1\b)\d+", "generation N"),
    (r"reported by [\w-]+", "reported by VANTAGE"),
    (r"IN\s+A\s+127\.0\.0\.1[12]$", "IN A ONE-OF-TWO"),
    (r"(;; flags: [^;]*);.*", r"\1"),
    (r" +", " "),
]


class Block:
    def __init__(self, found):
        self.language, self.body, self.at = found["language"], found["body"], found.span("body")
        self.indent = found["indent"]
        self.line = found.string[: found.start()].count("\n") + 1

    def first(self):
        return self.lines()[0]

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
            # The last line may not be whole yet.
            while self.text.count("\n") < wanted and time.monotonic() < deadline:
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
    """Runs a step; returns what it printed."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        code, printed = shell.run(command, wanted=len(shown or []))
        where = f"the block of line {block.line}: $ {command}\n"
        assert code == 0, where + f"ended with {code}\n" + "\n".join(printed)
        if shown is None or is_as_shown(command, shown, printed):
            return printed
        if UPDATE:
            return printed
        if not READS.match(command) or time.monotonic() > deadline:
            pytest.fail(where + "--- shown\n" + "\n".join(shown) + "\n--- printed\n" + "\n".join(printed))
        time.sleep(0.3)


def blocks(document):
    return [Block(found) for found in FENCE.finditer((ROOT / document).read_text())]


def runnable(document):
    return [b for b in blocks(document) if b.language in RUN and (document, b.first()) not in NOT_RUN]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_run_or_listed(document):
    found = blocks(document)
    assert (ROOT / document).read_text().count("```") == 2 * len(found), "a fence that this test doesn't read"
    assert {block.language for block in found} <= LANGUAGES, "a block without a language, or with one that says nothing"
    first = [block.first() for block in found if block.language in RUN or block.language == "text"]
    listed = [line for of, line in NOT_RUN if of == document]
    assert [line for line in listed if line not in first] == [], "listed, but no block of the document"
    shown = [block.first() for block in found if block.language == "text"]
    assert [line for line in shown if line not in listed] == [], "text that is not listed with a reason"
    for block in found:
        if block.language == "json":
            text = block.body.strip()
            json.loads(text if text.startswith("{") else "{" + text + "}")


def test_enough_is_run():
    assert sum(len(runnable(document)) for document in DOCUMENTS) >= 15, "hardly anything can be followed"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if runnable(document)])
def test_the_document_is_true(document, dir, lone, monkeypatch):
    # nats-server is a Python package, next to this Python.
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{NATS_SERVER.parent}")
    for program in ("dig", "kdig", "curl", "openssl", "bash", "nats-server"):
        assert shutil.which(program), f"{program} is missing: the documents can't be followed"
    shutil.copytree(ROOT / "zones", dir / "zones", ignore=shutil.ignore_patterns("state", "tokens"))
    (dir / "target/release").mkdir(parents=True)
    (dir / "target/release/portolan").symlink_to(BINARY)
    shell, text, shift = Shell(lone, dir), (ROOT / document).read_text(), 0
    try:
        if document != "README.md":
            # The guides expect what README.md sets.
            shell.run('export PATH="$PWD/target/release:$PATH"')
        for block in runnable(document):
            written = []
            for command, shown in block.steps():
                printed = follow(shell, block, command, shown)
                is_same = shown is None or is_as_shown(command, shown, printed)
                written += [f"$ {command}", *((shown or []) if is_same else printed)]
            if UPDATE and block.language == "console":
                body = "".join(f"{block.indent}{line}\n" for line in written)
                start, end = (at + shift for at in block.at)
                text = text[:start] + body + text[end:]
                shift += len(body) - (end - start)
    finally:
        shell.close()
    if UPDATE:
        (ROOT / document).write_text(text)
