"""`portolan init` writes files that `check` accepts and `serve` serves, and overwrites nothing."""
import os
import pty
import select
import stat
import time

import pytest

from portolan import BINARY, MASTER, READY, ask, answers, command, environment, split_address
from processes import Child


def tree(dir):
    return {str(p.relative_to(dir)): p.read_bytes() for p in sorted(dir.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("options", [
    [],
    ["--zone", "Shop.Example.", "--endpoint", "fra1=192.0.2.7", "--monitor", "http:8080/healthz"],
    ["--endpoint", "six=2001:db8::1", "--endpoint", "four=192.0.2.1", "--monitor", "icmp", "--region", "eu-west"],
    ["--monitor", "none", "--operator", "alice", "--dns", "[::1]:5300", "--http", "127.0.0.1:0"],
])
def test_what_it_writes_passes_the_check(dir, options):
    done = command("init", dir / "new", *options)
    assert done.returncode == 0 and not done.stdout, done.stderr
    checked = command("check", "--config", dir / "new/portolan.toml")
    assert checked.returncode == 0 and "no problems" in checked.stderr, checked.stdout + checked.stderr
    tokens = dir / "new/tokens"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert tokens.read_text().splitlines()[1].split()[2] not in done.stderr, "the secret is not printed"


def test_it_serves_what_it_wrote(dir):
    options = ["--endpoint", "one=192.0.2.7", "--monitor", "none", "--dns", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    assert command("init", dir / "new", *options).returncode == 0
    server = Child([BINARY, "serve", "--config", dir / "new/portolan.toml"], dir, "serve", env=environment())
    try:
        ready = server.wait_line(READY, 30)
        assert answers(ask(split_address(ready[1]), "www.svc.example.")) == ["192.0.2.7"]
        token = (dir / "new/tokens").read_text().splitlines()[1].split()[2]
        url = f"http://{ready[2]}"
        drained = command("drain", "one", "--why", "test", "--yes", "--server", url, env={"PORTOLAN_TOKEN": token})
        assert drained.returncode == 0, drained.stderr
    finally:
        server.end()


@pytest.mark.parametrize("there", ["portolan.toml", "tokens", "zones/svc.example.zone", "zones/svc.example.policy.toml"])
def test_it_overwrites_nothing_and_leaves_nothing_half_done(dir, there):
    place = dir / "new" / there
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    before = tree(dir)
    done = command("init", dir / "new")
    assert done.returncode == 1 and there in done.stderr and "overwritten" in done.stderr
    assert tree(dir) == before
    place.unlink()
    place.symlink_to(dir / "elsewhere")
    assert command("init", dir / "new").returncode == 1 and not (dir / "elsewhere").exists(), "nor through a link"
    again = command("init", dir / "other")
    first = tree(dir / "other")
    assert again.returncode == 0
    assert command("init", dir / "other", "--zone", "b.example").returncode == 1
    assert tree(dir / "other") == first


@pytest.mark.parametrize("options", [
    ["--zone", "a/b"], ["--zone", "../x"], ["--zone", ""], ["--zone", "a..b"], ["--region", "Eu west"], ["--endpoint", "one"],
    ["--endpoint", "one=nowhere"], ["--monitor", "tcp:0"], ["--monitor", "http:80/\""], ["--monitor", "ping"], ["--dns", "53"],
    ["--operator", "a b"],
])
def test_wrong_options_are_wrong_usage(dir, options):
    done = command("init", dir / "new", *options)
    assert done.returncode == 2 and not (dir / "new").exists(), done.stderr


@pytest.mark.parametrize("options", [["--endpoint", "a=192.0.2.1", "--endpoint", "a=192.0.2.2"], ["--endpoint", "www=192.0.2.1"]])
def test_what_check_would_refuse_is_not_left_behind(dir, options):
    """The pool has the name www: an endpoint can't have it."""
    done = command("init", dir / "new", *options)
    assert done.returncode == 1 and not (dir / "new").exists(), done.stderr


def test_on_a_terminal_it_asks(dir):
    (dir / "new/zones").mkdir(parents=True)
    (dir / "new/zones/there.example.zone").write_text(MASTER)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BINARY, [str(BINARY), "init", str(dir / "new"), "--operator", "alice"], environment())
    # After a bad answer the reason comes, and the same question again.
    answers_to = [
        (b"Name of the zone", b"bad zone\n"), (b"domain name", b"x" * 60 + b".y" * 95 + b"\n"), (b"domain name", b"there.example\n"),
        (b"nothing is overwritten", b"my.example\n"), (b"Region", b"\n"),
        (b"First endpoint", b"www=192.0.2.1\n"), (b"the pool has the name www", b"a=192.0.2.300\n"), (b"First endpoint", b"a=192.0.2.1\n"),
        (b"Second endpoint", b"a=192.0.2.2\n"), (b"two endpoints have the name a", b"b=192.0.2.2\n"),
        (b"Probe", b"none\n"), (b"Address for DNS", b"\n"), (b"Address for the API", b"127.0.0.1:5300\n"),
        (b"use another port", b"127.0.0.1:9053\n"),
    ]
    seen = b""
    for question, answer in answers_to:
        seen = read_until(terminal, question, seen)
        os.write(terminal, answer)
    seen = read_until(terminal, b"portolan drain a", seen)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert command("check", "--config", dir / "new/portolan.toml").returncode == 0
    assert (dir / "new/zones/my.example.zone").exists()


@pytest.mark.places
def test_the_commands_that_it_prints_work_as_they_are(dir, lone):
    options = ["--monitor", "none", "--dns", "127.0.0.1:5399", "--http", "0.0.0.0:9053", "--operator", "alice"]
    done = command("init", dir / "my zone's", *options)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stderr.split("next:")[1].strip().splitlines()]
    (serve,) = [line for line in lines if " serve " in line]
    script = "\n".join(["set -e", *(line for line in lines if line != serve)])
    path = {"PATH": f"{BINARY.parent}:{os.environ['PATH']}"}
    server = Child(["sh", "-c", f"exec {serve}"], dir, "serve", place=lone, env=environment(**path))
    try:
        server.wait_line(READY, 30)
        ran = lone.run("sh", "-c", script, capture_output=True, text=True, timeout=60, env=environment(**path))
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "status: NOERROR" in ran.stdout and "one drained until" in ran.stdout, ran.stdout
    finally:
        server.end()


def read_until(terminal, wanted, seen):
    """Reads until `wanted` was seen; returns what came after it."""
    deadline = time.monotonic() + 20
    while wanted not in seen:
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], (wanted, seen)
        seen += os.read(terminal, 4096)
    return seen.split(wanted, 1)[1]
