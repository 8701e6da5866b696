"""The state directory when it can't be written: a full disk, a read-only one, one that was replaced. An operator's change
that is not on the disk is in force, is shown as such until it is written, and a stop does not lose it in silence.
"""
import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import portolan
from portolan import MASTER, SETTINGS, Node, command
from processes import wait_until
from test_clock import POLICY
from test_operator import operate, write_tokens
from test_overrides import curl, overrides

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
AT_FDCWD, RENAME_EXCHANGE = -100, 2
DUE = "portolan_state_unsaved_since_timestamp_seconds"
ZONES = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}


def can_mount():
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs a mount namespace of its own: run as root")


def own_disk(path):
    """For `before_exec`: mounts a disk of 256 KiB at `path` that only this process has."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount():
        path.mkdir(parents=True, exist_ok=True)
        for failed in (
            libc.unshare(CLONE_NEWNS),
            libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
            libc.mount(b"tmpfs", str(path).encode(), b"tmpfs", 0, b"size=256k"),
        ):
            if failed:
                raise OSError(ctypes.get_errno(), "mount")

    return mount


class Disk:
    """The disk at the state directory of a node."""

    def __init__(self, node):
        self.pid = node.child.pid
        self.path = node.dir / "state"
        self.seen = Path(f"/proc/{self.pid}/root{self.path}")

    def fill(self):
        with open(self.seen / "fill", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 512)
            except OSError:
                pass

    def free(self):
        (self.seen / "fill").unlink()

    def inside(self, *command):
        """Runs a command among the mounts of the node."""
        subprocess.run(["nsenter", "-t", str(self.pid), "-m", *command], check=True)

    def targets(self):
        return [row["target"] for row in json.loads((self.seen / "overrides.json").read_text())["overrides"]]


def start(dir, **more):
    write_tokens(dir, more.get("name", "node"))
    return Node(dir, ZONES, **more)


def on_disk(node):
    return {row["target"]: row["on_disk"] for row in overrides(node)}


def unsaved(node):
    return [file["file"] for file in node.status().get("unsaved", [])]


def errors(node):
    return node.child.err().count("the operators' overrides can't be written")


def drain(node, target, *more):
    done = operate(node, "drain", target, "--why", "rack move", "--yes", *more)
    assert done.returncode == 0, done
    return done


@needs_mounts
def test_a_change_that_is_not_on_the_disk_is_shown_until_it_is(dir):
    with start(dir, before_exec=own_disk(dir / "node/state")) as node:
        disk = Disk(node)
        done = drain(node, "fra1", "--format", "json")
        assert json.loads(done.stdout)["on_disk"] is True and done.stderr == "", done
        assert on_disk(node) == {"fra1": True} and unsaved(node) == [] and node.metric(DUE) is None
        disk.fill()
        done = drain(node, "fra2")
        assert "not yet on disk: " in done.stderr and "No space left on device" in done.stderr, done
        assert node.addresses("www.svc.example.") != [], "the drain of both is in force, so nothing better is left"
        assert on_disk(node) == {"fra1": True, "fra2": False}
        # Status and metrics may be a moment old.
        wait_until(lambda: unsaved(node) == ["overrides.json"], 30)
        assert "not yet on disk, so a restart would lose: fra2\n" in operate(node, "overrides").stdout
        assert "NOT ON DISK for" in node.command("status").stdout
        wait_until(lambda: node.metric(DUE, file="overrides.json"), 30)
        assert node.metric(DUE, file="overrides.json") > 1.7e9
        since = node.metric(DUE, file="overrides.json")
        # Replaced and cleared while they are due.
        status, answer = curl(node, "PUT", "/v1/overrides/fra2", '{"state":"down","why":"x","confirm":true}')
        assert (status, answer["on_disk"]) == (200, False) and "No space" in answer["warning"], answer
        assert json.loads(operate(node, "clear", "fra1", "--format", "json").stdout)["on_disk"] is False
        assert on_disk(node) == {"fra2": False} and disk.targets() == ["fra1"]
        assert node.metric(DUE, file="overrides.json") == since and errors(node) == 1, "the log has it once"

        def in_status():
            rows = node.status()["zones"][0]["endpoints"]
            return [row["override"] and row["override"]["on_disk"] for row in rows]

        wait_until(lambda: in_status() == [None, False], 30)
        disk.free()
        wait_until(lambda: on_disk(node) == {"fra2": True}, 90)
        assert disk.targets() == ["fra2"]
        wait_until(lambda: unsaved(node) == [] and node.metric(DUE) is None, 30)
        assert "the operators' overrides can be written again" in node.child.err()
        disk.inside("mount", "-t", "tmpfs", "-o", "ro", "none", disk.path)
        assert "Read-only file system" in drain(node, "fra1").stderr
        disk.inside("umount", disk.path)
        wait_until(lambda: on_disk(node) == {"fra1": True, "fra2": True}, 90)


@needs_mounts
def test_a_stop_with_a_full_disk_names_what_is_lost(dir):
    with start(dir, before_exec=own_disk(dir / "node/state")) as node:
        drain(node, "fra1")
        Disk(node).fill()
        drain(node, "fra2")
        node.child.process.terminate()
        assert node.child.wait(60) == 1
        last = node.child.err().splitlines()[-1]
        assert "not on disk, and lost by this stop" in last and "the operators' overrides" in last, last
        assert "overrides.json: No space left on device" in last, last


def exchange(a, b):
    """Exchanges two directories in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, str(a).encode(), AT_FDCWD, str(b).encode(), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


def test_a_directory_that_replaced_the_locked_one_and_has_another_server_is_not_written_to(dir):
    with start(dir) as node, start(dir, name="second") as second:
        states = node.dir / "state", second.dir / "state"
        drain(node, "fra1")
        drain(second, "fra2")
        before = [(state / "overrides.json").read_text() for state in states]
        exchange(*states)
        for one, other, target in ((node, second, "fra2"), (second, node, "fra1")):
            done = drain(one, target, "--format", "json")
            assert json.loads(done.stdout)["on_disk"] is False
            assert f"another server (process {other.child.pid}) uses this state directory" in done.stderr, done
        assert [(state / "overrides.json").read_text() for state in reversed(states)] == before
        exchange(*states)
        for one in (node, second):
            wait_until(lambda: on_disk(one) == {"fra1": True, "fra2": True}, 90)
        exchange(*states)
        second.child.end()
        # The directory is free now, so the first one takes it.
        operate(node, "clear", "fra1")
        wait_until(lambda: unsaved(node) == [], 90)
        third = command("serve", "--config", node.settings)
        assert third.returncode == 1 and f"another server (process {node.child.pid})" in third.stderr, third


def test_a_link_to_a_state_directory_is_the_same_directory(dir):
    link = dir / "link"
    link.symlink_to(dir / "node/state")
    settings = SETTINGS + f'\n[state]\ndir = "{link}"\n'
    with start(dir) as node:
        refused = command("serve", "--config", portolan.write_files(dir / "second", settings, ZONES))
        assert refused.returncode == 1 and f"another server (process {node.child.pid})" in refused.stderr, refused
    with start(dir, settings=settings, name="third") as third:
        drain(third, "fra1")
        assert on_disk(third) == {"fra1": True} and (dir / "node/state/overrides.json").exists()


def remove(path):
    """Removes a directory, also while a server writes into it."""
    wait_until(lambda: shutil.rmtree(path, ignore_errors=True) or not path.exists(), 20)


def test_a_directory_that_was_removed_is_made_and_locked_again(dir):
    with start(dir) as node:
        remove(node.dir / "state")
        drain(node, "fra1")
        assert on_disk(node) == {"fra1": True}
        refused = command("serve", "--config", node.settings)
        assert refused.returncode == 1 and f"another server (process {node.child.pid})" in refused.stderr, refused
