"""The file rules of the kernel: what a running server may write, and that everything works with them."""
import ctypes
import json
import shutil
import tempfile
from pathlib import Path

import pytest

from portolan import BASE, Node, files, policy
from processes import LIBC, wait_until
from test_operator import ALICE, TOKENS, write_tokens

CREATE_RULESET, VERSION = 444, 1
ROOT = Path(__file__).parents[2]


def version():
    """Which Landlock the kernel has; below 1: none."""
    return LIBC.syscall(CREATE_RULESET, ctypes.c_void_p(), 0, VERSION)


pytestmark = pytest.mark.skipif(version() < 1, reason="the kernel has no Landlock")


@pytest.fixture
def outside():
    """A directory that is not for temporary files, which everybody may write."""
    path = Path(tempfile.mkdtemp(dir=ROOT / "target"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def zone(check=None):
    """A zone with a check by this program, if there is one."""
    if check is None:
        return policy(endpoint={"one": {"addresses": ["192.0.2.1"]}}, name={"www": {"pool": "one"}})
    monitor = {"type": "exec", "program": str(check), "interval": "200ms", "timeout": "5s"}
    return policy(
        monitor={"check": monitor}, endpoint={"one": {"addresses": ["192.0.2.1"], "monitor": "check"}},
        name={"www": {"pool": "one"}},
    )


def check(dir, outside):
    """A program that tries to write at several places, and says where it could."""
    program = dir / "check"
    places = {"outside": outside, "temporary": dir, "state": dir / "node/state"}
    tries = "".join(f"(: >{path}/made) 2>/dev/null && made=\"$made {name}\"\n" for name, path in places.items())
    program.write_text(f"#!/bin/sh\n{tries}echo \"$made\" >{dir}/result.new\nmv {dir}/result.new {dir}/result\n")
    program.chmod(0o755)
    return program


def result(dir):
    path = dir / "result"
    wait_until(path.exists, 30)
    return path.read_text().split()


def start(dir, text, more=""):
    dir.chmod(0o777)
    (dir / "node" / "state").mkdir(parents=True)
    (dir / "node" / "state").chmod(0o777)
    settings = f'{BASE}\n[regions.eu-west]\n[state]\ndir = "state"\n[run]\nuser = "root"\n{more}'
    return Node(dir, files(text), settings=settings)


def test_a_server_writes_its_state_and_temporary_files_only(dir, outside):
    """Threads and programs have the rules of the server, so a program that a reload adds shows them."""
    with start(dir, zone()) as node:
        program = check(dir, outside)
        node.write("svc.example.policy.toml", zone(program))
        reloaded = node.command("reload")
        assert reloaded.returncode == 0, reloaded.stderr
        assert result(dir) == ["temporary", "state"]
        node.wait_health("one", "up")
        # The state is written as before.
        assert any((dir / "node/state").iterdir())


def test_there_are_no_rules_where_a_program_is_configured_or_they_are_off(dir, outside):
    program = check(dir, outside)
    with start(dir, zone(program)) as node:
        node.wait_health("one", "up")
        assert "outside" in result(dir)
        assert "there are no file rules (Landlock): a check or a hook is a program" in node.child.err()
    shutil.rmtree(dir / "node")
    (dir / "result").unlink()
    with start(dir, zone(), "file_rules = false\n") as node:
        node.write("svc.example.policy.toml", zone(program))
        assert node.command("reload").returncode == 0
        assert "outside" in result(dir)


def test_overrides_and_new_files_work_with_the_rules(dir):
    """A reload reads a file in a directory that the settings did not name before, and an override is on the disk."""
    with start(dir, zone()) as node:
        secret = dir / "elsewhere"
        secret.mkdir()
        tokens = secret / "tokens"
        tokens.touch(0o600)
        tokens.write_text(TOKENS)
        node.settings.write_text(node.settings.read_text() + f"[api]\ntoken_file = {json.dumps(str(tokens))}\n")
        assert node.command("reload").returncode == 0
        drained = node.command("drain", "one", "--why", "test", "--yes", env={"PORTOLAN_TOKEN": ALICE})
        assert drained.returncode == 0, drained.stderr
        assert "not yet on disk" not in drained.stdout + drained.stderr
        assert "one" in (dir / "node/state/overrides.json").read_text()


def test_a_state_directory_that_is_replaced_needs_a_restart_and_the_server_says_so(dir, outside):
    """The rules are for the directory that was there at the start."""
    state = outside / "state"
    write_tokens(dir)
    settings = f'{BASE}\n[regions.eu-west]\n[state]\ndir = {json.dumps(str(state))}\n[run]\nuser = "root"\n'
    drain = lambda node: node.command("drain", "one", "--why", "test", "--yes", env={"PORTOLAN_TOKEN": ALICE}).stderr
    with Node(dir, files(zone()), settings=settings) as node:
        assert "not yet on disk" not in drain(node)
        state.rename(outside / "old")
        state.mkdir(mode=0o777)
        warned = drain(node)
        for text in (warned, node.command("status").stdout, node.child.err()):
            words = " ".join(text.split())
            assert "there at the start" in words and "restart the server" in words, text
        state.rmdir()
        (outside / "old").rename(state)
        wait_until(lambda: not node.status().get("unsaved"), 30)
