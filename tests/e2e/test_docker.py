"""The container files: compose accepts them, if it is installed, and the files that they name exist."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
