"""The container files: compose accepts them, if it is installed, the files that they name exist, and the file system of the image
is enough for the program."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from portolan import BINARY, READY, ask
from processes import Child, leashed, wait_until

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker/compose.yaml"


def compose():
    """The installed command, or None."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.mark.skipif(compose() is None, reason="neither docker compose nor docker-compose is installed")
def test_compose_accepts_the_file():
    result = subprocess.run([*compose(), "-f", COMPOSE, "config"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "portolan" in result.stdout and "/etc/portolan" in result.stdout


def test_named_files_exist():
    for source in re.findall(r"^COPY (?!--from)(.*)$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE):
        for name in source.split()[:-1]:
            assert (ROOT / name).exists(), f"Dockerfile copies {name}"
    text = COMPOSE.read_text()
    mounted = re.findall(r"type: (\w+)\s+source: (\S+)$", text, re.MULTILINE)
    assert {kind for kind, _ in mounted} == {"bind", "volume"}
    volumes = re.findall(r"^  (\w+):$", text.partition("\nvolumes:\n")[2], re.MULTILINE)
    for kind, name in mounted:
        if kind == "volume":
            assert name in volumes, f"compose.yaml mounts the volume {name} and has none of that name"
        else:
            assert (COMPOSE.parent / name).resolve().exists(), f"compose.yaml mounts {name}"


# The user of the image.
USER = 5353


@pytest.mark.places
def test_the_image_serves_without_root_and_its_health_check_passes(dir, lone):
    """The file system of the image, entered by chroot, with the command, the user and the health check of the Dockerfile."""
    image = dir / "image"
    made = subprocess.run([ROOT / "docker/root.sh", BINARY, image], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    programs = [path for path in image.rglob("*") if path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name]
    assert [path.name for path in programs] == ["portolan"], "there is no shell"
    text = (ROOT / "docker/Dockerfile").read_text()
    command = re.search(r"^CMD \[(.*)\]$", text, re.MULTILINE)[1]
    health = re.search(r"^HEALTHCHECK .* CMD \[(.*)\]$", text, re.MULTILINE)[1]
    words = lambda list: re.findall(r'"([^"]*)"', list)
    assert f"USER {USER}:{USER}\n" in text and words(health)[0] == "portolan"

    def enter():
        # As Docker lets everybody.
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        os.chroot(image)
        os.chdir("/var/lib/portolan")
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)

    environment = {"PATH": "/usr/local/bin"}
    child = Child(["/usr/local/bin/portolan", *words(command)], dir, "image", place=lone, env=environment, before_exec=enter)
    try:
        child.wait_line(READY, 60)
        assert ask(("127.0.0.1", 53), "svc.example", "SOA", place=lone).answer
        check = ["/usr/local/bin/portolan", *words(health)[1:]]
        healthy = subprocess.run(check, env=environment, preexec_fn=leashed(lone, enter), capture_output=True, timeout=60)
        assert healthy.returncode == 0, healthy.stderr
        # The state is in the volume.
        assert any((image / "var/lib/portolan/state").iterdir())
        child.signal(15)
        wait_until(lambda: not child.is_running(), 20)
        sick = subprocess.run(check, env=environment, preexec_fn=leashed(lone, enter), capture_output=True, timeout=60)
        assert sick.returncode != 0
    finally:
        child.end()
