"""The Debian package: lintian has no complaint, and it is installed, started, upgraded without losing a query, removed and
purged in a root of its own: this machine's, with all changes in memory. It needs root rights and overlayfs."""
import os
import signal
import subprocess
from pathlib import Path

import pytest

from load import Load
from portolan import BINARY, READY, environment, split_address
from processes import Child

ROOT = Path(__file__).parents[2]
MOUNT = """
set -e
cd "$1"
mount -t tmpfs none memory
mkdir memory/upper memory/work
mount -t overlay overlay -o lowerdir=/,upperdir=memory/upper,workdir=memory/work root
mount --rbind /dev root/dev
mount -t proc proc root/proc
echo mounted
exec sleep infinity
"""
ZONE = """$TTL 60
@ IN SOA ns1 hostmaster 1 7200 900 1209600 30
@ IN NS ns1
ns1 IN A 192.0.2.53
www IN A 192.0.2.7
"""


def build(folder, version):
    done = subprocess.run(
        [ROOT / "packaging/deb", BINARY, folder], capture_output=True, text=True, env=environment(VERSION=version, XZ_LEVEL="0"), timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    return [build(folder, version) for version in ("0.1.0", "0.1.1")]


class CleanRoot:
    """A copy of this machine's file system that a chroot can change."""

    def __init__(self, dir):
        self.dir = dir
        for name in ("memory", "root"):
            (dir / name).mkdir()
        self.keeper = Child(["unshare", "--mount", "bash", "-c", MOUNT, "mount", dir], dir, "keeper")
        self.keeper.wait_line("mounted", 20)

    def argv(self, *argv):
        enter = ["nsenter", "--mount", "--target", str(self.keeper.pid)]
        return [*enter, "chroot", str(self.dir / "root"), *map(str, argv)]

    def run(self, *argv, code=0, stdin=None):
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True, input=stdin, timeout=300, env=environment())
        assert done.returncode == code, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def has(self, path):
        return subprocess.run(self.argv("test", "-e", path)).returncode == 0

    def install(self, package):
        with open(package, "rb") as file:
            subprocess.run(self.argv("sh", "-c", "cat >/tmp/portolan.deb"), stdin=file, check=True)
        self.run("dpkg", "--install", "/tmp/portolan.deb")


@pytest.fixture
def root(dir):
    if os.geteuid() != 0:
        pytest.skip("needs root rights for a root of its own")
    clean = CleanRoot(dir)
    yield clean
    clean.keeper.end()


def test_lintian_has_no_complaint(packages):
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", packages[0]], capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout + done.stderr


def test_it_is_installed_started_upgraded_removed_and_purged(root, packages):
    old, new = packages
    root.install(old)
    checked = root.run("portolan", "check", "--config", "/etc/portolan/portolan.toml")
    assert "there are no zones here" in checked and "error" not in checked
    assert root.run("stat", "-c", "%U %a", "/var/lib/portolan") == "portolan 750\n"
    assert root.run("dpkg", "--verify", "portolan") == ""

    # It serves nothing, and then a zone.
    server = serve(root, "first")
    ready = server.wait_line(READY, 60)
    dns, http = split_address(ready[1]), f"http://{ready[2]}"
    assert dns[0] == "127.0.0.1" and '"zones":[]' in root.run("portolan", "status", "--server", http, "--format", "json").replace(" ", "")
    root.run("sh", "-c", "cat >/etc/portolan/zones/svc.example.zone", stdin=ZONE)
    root.run("portolan", "reload", "--server", http)

    # The user's settings stay as they are, and no query is lost.
    root.run("sh", "-c", "echo '# mine' >>/etc/portolan/portolan.toml")
    with Load(root.dir, dns, "www.svc.example.", udp=1000, tcp=50) as load:
        root.install(new)
        assert server.is_running(), "an upgrade leaves it running"
        successor = serve(root, "second", "--takeover")
        successor.wait_line(READY, 60)
        assert server.wait(15) == 0
        counted = load.finish()
    assert counted["udp"] > 100 and not counted["count"], counted
    assert "# mine" in root.run("cat", "/etc/portolan/portolan.toml")
    assert "0.1.1" in root.run("dpkg-query", "--show", "portolan")
    successor.signal(signal.SIGTERM)
    assert successor.wait(15) == 0

    root.run("dpkg", "--remove", "portolan")
    assert not root.has("/usr/bin/portolan") and root.has("/etc/portolan/portolan.toml") and root.has("/var/lib/portolan/state")
    root.run("dpkg", "--purge", "portolan")
    assert not root.has("/var/lib/portolan") and not root.has("/etc/portolan/portolan.toml")
    assert root.has("/etc/portolan/zones/svc.example.zone"), "zones are the user's own"
    assert not root.has("/lib/systemd/system/portolan.service")


def serve(root, name, *options):
    """Starts the server as the unit does: as its user, with two capabilities."""
    rights = ["setpriv", "--reuid=portolan", "--regid=portolan", "--init-groups", "--inh-caps=-all,+net_bind_service,+net_raw"]
    argv = [*rights, "--ambient-caps=-all,+net_bind_service,+net_raw", "/usr/bin/portolan", "serve"]
    settings = ["--config", "/etc/portolan/portolan.toml", *options]
    ports = {"PORTOLAN__LISTEN__DNS": "127.0.0.1:0", "PORTOLAN__LISTEN__HTTP": "127.0.0.1:0"}
    return Child(root.argv(*argv, *settings), root.dir, name, env=environment(**ports))
