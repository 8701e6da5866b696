"""Files that block or have no end: the server goes on by what it has, and says so; it starts or refuses to in bounded time."""
import os
import subprocess
import time

import pytest

from besieged import OPERATOR, MASTER, assert_alive, besieged, hold_failover, policy
from limits import Memory, status
from portolan import SETTINGS, command, write_files
from processes import wait_until

MEMORY = 512 << 20
# How long a reload or a start may take that has such a file.
SECONDS = 20


def fifo(zones):
    os.mkfifo(zones / "other.example.zone")


def fifo_of_policy(zones):
    os.mkfifo(zones / "other.example.policy.toml")


def endless(zones):
    (zones / "other.example.zone").symlink_to("/dev/zero")


def endless_policy(zones):
    (zones / "other.example.policy.toml").symlink_to("/dev/zero")


def bomb(zones):
    """Twelve levels of ten includes each."""
    for level in range(12):
        (zones / f"level{level}.inc").write_text(f"$INCLUDE level{level + 1}.inc\n" * 10)
    (zones / "level12.inc").write_text("a IN A 192.0.2.1\n")
    (zones / "other.example.zone").write_text(MASTER + "$INCLUDE level0.inc\n")


def loop(zones):
    (zones / "other.example.zone").write_text(MASTER + "$INCLUDE other.example.zone\n")


def generated(zones):
    """An $INCLUDE of a FIFO."""
    os.mkfifo(zones / "pipe.inc")
    (zones / "other.example.zone").write_text(MASTER + "$INCLUDE pipe.inc\n")


def directory(zones):
    (zones / "other.example.zone").mkdir()


def one_name(zones):
    """More records of one name and type than a reply holds."""
    (zones / "other.example.zone").write_text(MASTER + "".join(f"a IN A 10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(300_000)))


def nested(zones):
    """Tables in tables, by their values and by their names."""
    (zones / "other.example.policy.toml").write_text("a = " + 100_000 * "{a = [" + 100_000 * "]}")


def dotted(zones):
    (zones / "other.example.policy.toml").write_text('zone = "other.example."\n[' + ".".join(300_000 * "a") + "]\n")


FILES = [fifo, fifo_of_policy, endless, endless_policy, bomb, loop, generated, directory, one_name, nested, dotted]


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_running_server(dir, figure, make):
    with Memory(MEMORY) as memory, besieged(dir, before_exec=memory.enter) as (node, herd):
        make(node.dir / "zones")
        began = time.monotonic()
        done = command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": OPERATOR}, bound=SECONDS)
        figure("reload took", time.monotonic() - began, "s", bound=SECONDS)
        print(done.returncode, done.stdout, done.stderr)
        if make is not directory:
            assert done.returncode != 0, "the reload can't be all right"
            wait_until(lambda: node.metric("portolan_last_reload_ok") == 0, 10)
        hold_failover(figure, node, herd, dir)
        figure("resident", status(node.child.pid, "VmHWM") / 1024, "MiB")
        # What is in the way is removed: the next reload is all right.
        for name in ("other.example.zone", "other.example.policy.toml", "pipe.inc"):
            path = node.dir / "zones" / name
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        again = command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": OPERATOR}, bound=SECONDS)
        assert again.returncode == 0, again.stdout + again.stderr
        assert node.metric("portolan_last_reload_ok") == 1
        assert_alive(node)
        assert memory.peak(node.child.pid) <= MEMORY


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_check_ends(dir, figure, make):
    """The command `check`, which reads files as a start does, ends in bounded time and memory."""
    zones = {"svc.example.policy.toml": policy(["127.0.0.1:9"]), "svc.example.zone": MASTER}
    settings = write_files(dir / "node", SETTINGS, zones)
    make(dir / "node" / "zones")
    with Memory(MEMORY) as memory:
        began = time.monotonic()
        try:
            done = command("check", "--config", settings, bound=SECONDS, before_exec=memory.enter)
        except subprocess.TimeoutExpired:
            pytest.fail(f"no end within {SECONDS} s")
        figure("check took", time.monotonic() - began, "s", bound=SECONDS)
        assert done.returncode in (0, 1, 2), f"{done.returncode}: {done.stderr[-500:]}"
        if make is not directory:
            assert done.returncode != 0 and "other.example" in done.stdout + done.stderr, done.stdout + done.stderr


def of_long_texts(mark):
    """460 KB: 4,000 endpoints whose monitor has 128 KiB of headers."""
    headers = ", ".join(f'"X-{nth}" = "{mark}{"h" * 4000}"' for nth in range(32))
    monitor = f'[monitor.w]\ntype = "http"\ninterval = "3600s"\nheaders = {{ {headers} }}\n'
    at = [f"{nth >> 8}.{nth & 255}" for nth in range(1, 4001)]
    endpoints = "".join(f'[endpoint.e{nth}]\naddresses = ["10.0.{ip}"]\nprobe = "127.1.{ip}:1"\nmonitor = "w"\n' for nth, ip in enumerate(at))
    return f'zone = "other.example."\n{monitor}{endpoints}'


def test_many_checks_with_long_texts(dir, figure):
    """The checks share the texts of their monitor: neither memory nor the failover of another zone pays for each check."""
    with Memory(MEMORY) as memory, besieged(dir, before_exec=memory.enter) as (node, herd):
        node.write("other.example.zone", MASTER)
        for nth, mark in enumerate("ab"):
            node.write("other.example.policy.toml", of_long_texts(mark))
            node.hup()
            hold_failover(figure, node, herd, dir, nth=nth, bound=3.0)
            done = command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": OPERATOR}, bound=60)
            assert done.returncode == 0, done.stdout + done.stderr
            assert node.ask("other.example.", "SOA").rcode() == 0
        figure("resident", status(node.child.pid, "VmHWM") / 1024, "MiB", bound=256)
        assert status(node.child.pid, "VmHWM") <= 256 << 10
        assert_alive(node)


def replace_by_fifo(path):
    path.unlink()
    os.mkfifo(path)


WATCHED = {"tokens": ("tokens",), "certificate": ("cert.pem",), "key": ("key.pem",), "settings": ("portolan.toml",), "policy": ("zones", "svc.example.policy.toml"), "master file": ("zones", "svc.example.zone")}


@pytest.mark.parametrize("file", WATCHED)
def test_a_watched_file_becomes_a_fifo(dir, figure, file):
    """The server goes on by what it has read, and later changes are noticed."""
    with besieged(dir) as (node, herd):
        path = node.dir.joinpath(*WATCHED[file])
        text = path.read_text()
        replace_by_fifo(path)
        time.sleep(1.5)  # longer than the interval at which files are looked at
        began = time.monotonic()
        done = command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": OPERATOR}, bound=SECONDS)
        figure("reload took", time.monotonic() - began, "s", bound=SECONDS)
        print(done.returncode, done.stdout, done.stderr)
        hold_failover(figure, node, herd, dir)
        path.unlink()
        path.write_text(text)
        path.chmod(0o600)

        def is_well():
            return command("reload", "--server", node.url, env={"PORTOLAN_TOKEN": OPERATOR}, bound=SECONDS).returncode == 0

        wait_until(is_well, SECONDS, step=0.2)
        assert_alive(node)
