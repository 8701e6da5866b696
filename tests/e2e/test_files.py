"""Files are bounded, and none of them is waited for: what is no file in a file's place, includes without end, and a mount
whose server is gone. The served generation goes on, and every report names the file."""
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from portolan import BINARY, MASTER, SETTINGS, Node, command, environment, write_files
from processes import Child, wait_until

POLICY = """
zone = "svc.example."
file = "svc.example.zone"

[endpoint.one]
addresses = ["192.0.2.1"]

[pool.web]
members = ["one"]

[name.www]
pool = "web"
"""
POLICY_FILE, MASTER_FILE = "svc.example.policy.toml", "svc.example.zone"

MORE_SETTINGS = SETTINGS + """
[regions.office]
nets = ["file:office.txt"]

[cookies]
secret_file = "secrets"
"""

# What is read, relative to the directory of the settings.
KINDS = {
    "policy": f"zones/{POLICY_FILE}",
    "master": f"zones/{MASTER_FILE}",
    "static": "zones/static.example.zone",
    "include": "zones/hosts.inc",
    "nets": "office.txt",
    "tokens": "tokens",
    "secrets": "secrets",
    "settings": "portolan.toml",
}

# A debug build, with some room.
MOST_MIB = 200


def resident_mib(pid, what="VmHWM"):
    return int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def zones():
    return {
        POLICY_FILE: POLICY,
        MASTER_FILE: MASTER + "$INCLUDE hosts.inc\n",
        "hosts.inc": "h1 A 192.0.2.7\n",
        "static.example.zone": MASTER,
    }


def write_side_files(dir):
    (dir / "node").mkdir(exist_ok=True)
    for name, text in {"office.txt": "198.51.100.0/24\n", "tokens": f"alice operate {'a' * 32}\n", "secrets": "ab" * 16 + "\n"}.items():
        (dir / "node" / name).write_text(text)
        (dir / "node" / name).chmod(0o600)


def start(dir, **how):
    write_side_files(dir)
    return Node(dir, zones(), settings=MORE_SETTINGS, **how)


def put_pipe(path):
    os.mkfifo(path)


def put_socket(path):
    listener = socket.socket(socket.AF_UNIX)
    where = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        listener.bind(path.name)
    finally:
        os.chdir(where)
    listener.close()


def put_device(path):
    path.symlink_to("/dev/zero")


def put_directory(path):
    path.mkdir()


PLACED = {"a pipe": put_pipe, "a socket": put_socket, "a device": put_device, "a directory": put_directory}


class Replaced:
    """with Replaced(path, put): the file is away, and something else has its place."""

    def __init__(self, path, put):
        self.path, self.away, self.put = path, path.with_name(f".{path.name}.away"), put

    def __enter__(self):
        self.path.rename(self.away)
        self.put(self.path)

    def __exit__(self, *_):
        self.path.rmdir() if self.path.is_dir() and not self.path.is_symlink() else self.path.unlink()
        self.away.rename(self.path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_a_problem_that_names_it(dir, kind):
    with start(dir) as node:
        path = node.dir / KINDS[kind]
        for what, put in PLACED.items():
            with Replaced(path, put):
                refused = node.command("reload", bound=30)
                assert refused.returncode == 1, (what, refused)
                assert path.name in refused.stderr and f"it is {what}, not a file" in refused.stderr, (what, refused.stderr)
                assert node.addresses("www.svc.example.") == ["192.0.2.1"], what
                assert node.metric("portolan_last_reload_ok") == 0 and node.get("/healthz")[0] == 200
                checked = command("check", "--config", node.settings, bound=30)
                assert checked.returncode == 1 and f"it is {what}, not a file" in checked.stdout, (what, checked)
            done = node.command("reload", bound=30)
            assert done.returncode == 0, (what, done.stderr)
        assert resident_mib(node.child.pid) < MOST_MIB


def test_a_start_reports_what_is_no_file(dir):
    write_side_files(dir)
    settings = write_files(dir / "node", MORE_SETTINGS, zones())
    for kind in ("settings", "secrets", "policy"):
        for what, put in PLACED.items():
            with Replaced(dir / "node" / KINDS[kind], put):
                argv = [BINARY, "serve", "--strict", "--config", settings]
                done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment())
                assert done.returncode == 1 and f"it is {what}, not a file" in done.stderr, (kind, what, done)


@pytest.mark.parametrize("name", ["overrides.json", "standings.json", "health.json"])
def test_a_state_file_is_a_file(dir, name):
    """The server starts without it, or says that it can't; it never waits."""
    write_side_files(dir)
    settings = write_files(dir / "node", MORE_SETTINGS, zones())
    (dir / "node" / "state").mkdir()
    os.mkfifo(dir / "node" / "state" / name)
    child = Child([BINARY, "serve", "--config", settings], dir / "node", "serve", env=environment())
    try:
        wait_until(lambda: f"{name}" in child.err() and "a pipe, not a file" in child.err(), 60)
    finally:
        child.end()


def test_kept_versions_are_files(dir):
    with start(dir) as node:
        kept = node.dir / "state" / "zones" / "svc.example.json"
        wait_until(kept.exists, 15)
    kept.unlink()
    os.mkfifo(kept)
    with start(dir) as node:
        assert "svc.example.json" in node.child.err() and "a pipe, not a file" in node.child.err()
        assert node.addresses("www.svc.example.") == ["192.0.2.1"]


def test_includes_that_multiply_are_bounded(dir):
    """Twelve levels of ten lines each would be a million million files."""
    with start(dir) as node:
        place = node.dir / "zones"
        (place / "level12.inc").write_text("a A 192.0.2.1\n")
        for level in range(11, -1, -1):
            (place / f"level{level}.inc").write_text(f"$INCLUDE level{level + 1}.inc\n" * 10)
        node.write("static.example.zone", MASTER + "$INCLUDE level0.inc\n")
        refused = node.command("reload", bound=60)
        assert refused.returncode == 1 and "over 1000 files" in refused.stderr, refused
        assert len(refused.stderr.splitlines()) < 400, "the problems are bounded too"
        assert node.addresses("www.svc.example.") == ["192.0.2.1"]
        assert resident_mib(node.child.pid) < MOST_MIB
        checked = command("check", "--config", node.settings, bound=60)
        assert checked.returncode == 1 and "over 1000 files" in checked.stdout


def test_very_many_entries_that_are_no_zones_do_not_stop_a_change(dir):
    with start(dir) as node:
        for number in range(200_001):
            os.close(os.open(node.dir / "zones" / f"{number}", os.O_CREAT | os.O_WRONLY, 0o600))
        policy = node.dir / "zones" / "svc.example.policy.toml"
        policy.write_text(policy.read_text().replace("192.0.2.1", "192.0.2.2"))
        loaded = node.command("reload", bound=120)
        assert loaded.returncode == 0, loaded
        assert node.addresses("www.svc.example.") == ["192.0.2.2"]


# A mount whose server is gone


@pytest.fixture
def hang(dir):
    """The environment of a process for which the files below `zones` hang while a file exists."""
    library = dir / "hang.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("hang.c"), "-ldl"], check=True)
    is_dead = dir / "dead"
    yield is_dead, {"LD_PRELOAD": str(library), "HANG_BELOW": str(dir / "node" / "zones"), "HANG_WHILE": str(is_dead)}
    is_dead.unlink(missing_ok=True)


def test_a_dead_mount_is_reported_and_files_are_loaded_when_it_is_back(dir, hang):
    is_dead, env = hang
    with start(dir, env=env) as node:
        wait_until(lambda: node.command("reload").returncode == 0, 30)
        is_dead.touch()
        # Nobody requests a load: the poll finds that the files do not answer.
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 0, 120, step=0.5)
        reload = node.status()["reload"]
        assert not reload["ok"] and "does not answer" in reload["problems"][0]["message"]
        assert str(node.dir / "zones") in reload["problems"][0]["file"]
        assert node.metric("portolan_reload_running_seconds") > 5
        assert "does not answer" in node.child.err()
        status = node.command("status")
        assert status.returncode == 0 and "does not answer" in status.stdout and "have been loading for" in status.stdout

        stuck = threads(node.child.pid)
        for _ in range(5):
            refused = node.command("reload", bound=30)
            assert refused.returncode == 1 and "does not answer" in refused.stderr, refused
            node.hup()
        assert threads(node.child.pid) <= stuck + 2, "no thread for each attempt"
        assert node.addresses("www.svc.example.") == ["192.0.2.1"] and node.get("/healthz")[0] == 200

        node.write(POLICY_FILE, POLICY.replace("192.0.2.1", "192.0.2.2"))
        is_dead.unlink()
        wait_until(lambda: node.addresses("www.svc.example.") == ["192.0.2.2"], 60)
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 1, 30)
        wait_until(lambda: node.metric("portolan_reload_running_seconds") == 0, 30)
        assert node.command("reload").returncode == 0


def test_a_server_stops_although_its_files_do_not_answer(dir, hang):
    is_dead, env = hang
    with start(dir, env=env) as node:
        is_dead.touch()
        node.hup()
        wait_until(lambda: node.count("portolan_reload_running_seconds") > 0, 30)
        node.child.process.terminate()
        assert node.child.process.wait(60) == 0


def test_a_start_and_a_check_end_although_files_do_not_answer(dir, hang):
    is_dead, env = hang
    write_side_files(dir)
    settings = write_files(dir / "node", MORE_SETTINGS, zones())
    is_dead.touch()
    commands = [["check", "--config", settings], ["serve", "--config", settings]]
    argv = [[BINARY, *map(str, each)] for each in commands]
    running = [
        subprocess.Popen(each, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**env)) for each in argv
    ]
    for each in running:
        output, _ = each.communicate(timeout=120)
        assert each.returncode == 1 and "does not answer" in output and "zones" in output, output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_links_of_others_do_not_lead_out_of_the_zones_directory(dir):
    """Somebody who may write in the directory, and not read another file of the host."""
    secret = dir / "internal.zone"
    secret.write_text(MASTER + 'db TXT "internal-secret"\n')
    with start(dir) as node:
        zones = node.dir / "zones"
        link = zones / "corp.example.zone"
        link.symlink_to(secret)
        wait_until(lambda: node.ask("db.corp.example.", "TXT").rcode() == 0, 15)
        os.lchown(link, 5353, 5353)
        done = node.command("reload")
        assert done.returncode == 1 and "corp.example.zone" in done.stderr, done
        assert "no link of root or of the directory's owner leads there" in done.stderr, done
        assert "internal-secret" not in done.stderr + done.stdout
        # In the directory anybody's link counts.
        link.unlink()
        (zones / "..data").mkdir()
        shutil.copy(secret, zones / "..data/corp.example.zone")
        link.symlink_to("..data/corp.example.zone")
        os.lchown(link, 5353, 5353)
        assert node.command("reload").returncode == 0
        assert node.ask("db.corp.example.", "TXT").rcode() == 0
