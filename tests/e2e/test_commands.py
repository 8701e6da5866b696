"""Commands: their exit codes, their output on each stream, and their messages when something prevents them."""
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from portolan import BINARY, MASTER, READY, SETTINGS, Node, command, environment, write_files
from processes import Child, wait_until

POLICY = """
zone = "svc.example."

[endpoint.one]
addresses = ["192.0.2.1"]

[endpoint.two]
addresses = ["192.0.2.2"]

[pool.web]
members = ["one", "two"]

[name.www]
pool = "web"
"""

FILES = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}

BROKEN = """
zone = "svc.example."

[endpoint.one]
addresses = ["192.0.2.1", "192.0.2.300"]
wieght = 3

[pool.web]
members = ["one", "tow"]
"""


# check

def test_check_of_good_files(dir):
    settings = write_files(dir, SETTINGS, FILES)
    result = command("check", "--config", settings)
    assert result.returncode == 0, result.stdout + result.stderr
    assert command("check", "--config", settings, "--format", "json").returncode == 0


def test_check_prints_every_problem_with_its_place(dir):
    settings = write_files(dir, SETTINGS, {**FILES, "svc.example.policy.toml": BROKEN})
    result = command("check", "--config", settings)
    assert result.returncode == 1
    output = result.stdout + result.stderr
    places = re.findall(r"^(\S*svc\.example\.policy\.toml):(\d+):(\d+): ", output, re.MULTILINE)
    assert {line for _, line, _ in places} >= {"5", "6", "9"}, output
    assert "weight" in output, "did you mean"
    assert "panicked" not in output
    again = command("check", "--config", settings, "--format", "json")
    assert again.returncode == 1
    json.loads(again.stdout)


def on_a_terminal(*argv, **env):
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([BINARY, *argv], stdout=theirs, stderr=subprocess.DEVNULL, env=environment(**{"NO_COLOR": "", **env}))
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:
        pass  # the other end is closed: the command has ended
    finally:
        os.close(ours)
    child.wait(timeout=60)
    return output.decode().replace("\r\n", "\n")


def test_check_marks_what_is_wrong_on_a_terminal_only(dir):
    settings = write_files(dir, SETTINGS, {**FILES, "svc.example.policy.toml": BROKEN})
    lines = on_a_terminal("check", "--config", settings, TERM="xterm").splitlines()
    at = next(n for n, line in enumerate(lines) if "`wieght`" in line)
    assert lines[at + 1] == "    wieght = 3"
    assert lines[at + 2] == "    \x1b[31m^^^^^^\x1b[0m"
    plain = on_a_terminal("check", "--config", settings, TERM="xterm", NO_COLOR="1")
    assert "    wieght = 3\n    ^^^^^^\n" in plain and "\x1b" not in plain
    piped = command("check", "--config", settings).stdout
    assert len(piped.splitlines()) == len([line for line in lines if not line.startswith("    ")])
    assert "^^^" not in piped


def test_check_prints_what_the_readme_shows(dir):
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text()
    shutil.copytree(root / "zones/first", dir / "myzone")
    argv = [BINARY, "check", "--config", "myzone/portolan.toml"]
    good = subprocess.run(argv, cwd=dir, env=environment(), capture_output=True, text=True)
    assert (good.stdout + good.stderr).strip() in readme

    policy = dir / "myzone/svc.example.policy.toml"
    slips = policy.read_text().replace("weight    = 25", "wieght    = 25").replace('members = ["one", "two"]', 'members = ["one", "tow"]')
    policy.write_text(slips)
    bad = subprocess.run(argv, cwd=dir, env=environment(), capture_output=True, text=True)
    assert bad.returncode == 1
    for line in (bad.stdout + bad.stderr).splitlines():
        assert line in readme, line


def test_a_strict_serve_starts_nothing_on_a_broken_file(dir):
    settings = write_files(dir, SETTINGS, {**FILES, "svc.example.policy.toml": BROKEN})
    result = command("serve", "--strict", "--config", settings)
    assert result.returncode == 1
    assert "ready" not in result.stdout
    assert re.search(r"svc\.example\.policy\.toml:\d+:\d+: ", result.stderr), result.stderr


@pytest.mark.parametrize("config", ["missing.toml", "."])
def test_a_config_that_cannot_be_read(dir, config):
    for name in ("check", "serve"):
        result = command(name, "--config", dir / config)
        assert result.returncode == 1 and "panicked" not in result.stderr
        assert config in result.stdout + result.stderr or str(dir) in result.stdout + result.stderr


# usage

@pytest.mark.parametrize("argv", [["serve"], ["nonsense"], ["check", "--format", "yaml"], ["explain"], ["demo", "--for", "soon"], []])
def test_wrong_usage_is_two(argv):
    result = command(*argv)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == "" and result.stderr


@pytest.mark.parametrize("name", ["serve", "demo", "check", "explain", "status"])
def test_help_has_an_example(name):
    result = command(name, "--help")
    assert result.returncode == 0
    assert re.search("example", result.stdout, re.IGNORECASE) and f"portolan {name}" in result.stdout


def test_version():
    result = command("--version")
    assert result.returncode == 0 and re.fullmatch(r"portolan \d+\.\d+\.\d+\S*\n", result.stdout)


# explain and status

def test_explain_and_status_of_a_running_node(dir):
    with Node(dir, FILES) as node:
        result = node.command("explain", "www.svc.example", "A", "--client", "192.0.2.77", "--format", "json")
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["name"] == "www.svc.example." and found["type"] == "A" and found["client"] == "192.0.2.77"
        assert {"class", "scope", "ttl", "stages", "answers"} <= set(found)
        assert [(a["endpoint"], a["probability"]) for a in found["answers"]] == [("one", 0.5), ("two", 0.5)]
        assert [s["stage"] for s in found["stages"]][0] == "candidates"
        assert found == node.json("/v1/explain?name=www.svc.example&type=A&client=192.0.2.77")

        human = node.command("explain", "www.svc.example")
        assert human.returncode == 0 and "192.0.2.1" in human.stdout and "50" in human.stdout

        unknown = node.command("explain", "ns1.svc.example")
        assert unknown.returncode == 1 and unknown.stdout == "" and "ns1.svc.example" in unknown.stderr
        assert node.get("/v1/explain?name=ns1.svc.example")[0] == 404

        status = node.command("status")
        assert status.returncode == 0 and "one" in status.stdout and "two" in status.stdout
        as_json = json.loads(node.command("status", "--format", "json").stdout)
        assert {e["name"] for z in as_json["zones"] for e in z["endpoints"]} == {"one", "two"}


def test_explain_from_the_files_alone(dir):
    settings = write_files(dir, SETTINGS, FILES)
    result = command("explain", "www.svc.example", "A", "--config", settings, "--format", "json")
    assert result.returncode == 0, result.stderr
    assert {a["endpoint"] for a in json.loads(result.stdout)["answers"]} == {"one", "two"}


def test_no_server_at_the_address(dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for name in (["status"], ["explain", "www.svc.example"]):
            result = command(*name, "--server", url)
            assert result.returncode == 1 and result.stdout == "" and url.removeprefix("http://") in result.stderr
            assert len(result.stderr.strip().splitlines()) <= 3, result.stderr


def test_the_api_has_its_content_types(dir):
    with Node(dir, FILES) as node:
        assert node.get("/healthz")[0] == 200 and node.get("/readyz")[0] == 200
        status, body = node.get("/v1/explain?name=a..b")
        assert status in (400, 404) and json.loads(body)["status"] == status
        assert node.get("/v1/nothing")[0] == 404
        names = {name for name, _ in node.metrics()}
        assert {"portolan_generation", "portolan_last_reload_ok", "portolan_endpoint_up"} <= names
        assert node.metric("portolan_vantage_up", vantage="ns1", region="eu-west") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly(dir, number):
    with Node(dir, FILES) as node:
        node.child.signal(number)
        assert node.child.wait(10) == 0, node.child.output()


def test_stdout_has_the_ready_line_alone(dir):
    with Node(dir, FILES) as node:
        node.ask("www.svc.example.")
        node.child.signal(signal.SIGTERM)
        node.child.wait(10)
        out = node.child.out()
        assert len(out) == 1 and re.match(READY, out[0]), out
        assert "\x1b" not in node.child.err(), "no colour where there is no terminal"


# what prevents a start

def port_of(address):
    return f"{address[0]}:{address[1]}"


@pytest.mark.parametrize("which", ["dns", "http"])
def test_a_port_in_use_is_reported_with_what_to_do(dir, which):
    with Node(dir, FILES) as first:
        taken = port_of(first.udp if which == "dns" else first.http)
        listen = {"dns": '["127.0.0.1:0"]', "http": '"127.0.0.1:0"'}
        wanted = SETTINGS.replace(f"{which} = {listen[which]}", f"{which} = " + (f'["{taken}"]' if which == "dns" else f'"{taken}"'))
        assert taken in wanted
        settings = write_files(dir / "second", wanted, FILES)
        result = command("serve", "--config", settings)
        assert result.returncode == 1 and result.stdout == ""
        assert taken in result.stderr and "in use" in result.stderr, result.stderr
        assert "panicked" not in result.stderr


ICMP = POLICY + """
[monitor.ping]
type = "icmp"
interval = "300ms"
timeout = "200ms"

[endpoint.pinged]
addresses = ["127.0.0.9"]
monitor = "ping"

[pool.answering]
members = ["pinged"]

[name.ping]
pool = "answering"
"""

# The user `nobody` of Debian, without any right.
UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


@pytest.fixture
def unprivileged(dir, lone):
    """Starts `serve` as the user nobody, in a network where pings and ports below 1024 need a privilege."""
    binary = dir / "portolan"
    shutil.copy(BINARY, binary)
    binary.chmod(0o755)
    children = []

    def start(settings, files):
        path = write_files(dir / "node", settings, files)
        for sub in (dir / "node", dir / "node" / "zones"):
            sub.chmod(0o777)
        children.append(Child([*UNPRIVILEGED, binary, "serve", "--config", path], dir, "serve", place=lone, env=environment()))
        return children[-1]

    yield start
    for child in children:
        child.end()


@pytest.mark.places
def test_no_right_to_port_53(dir, unprivileged):
    child = unprivileged(SETTINGS.replace("127.0.0.1:0", "127.0.0.1:53", 1), FILES)
    assert child.wait(20) == 1, child.output()
    output = child.err()
    assert "127.0.0.1:53" in output and re.search("cap_net_bind_service|setcap|root", output, re.IGNORECASE), output
    assert child.out() == [] and "panicked" not in output


@pytest.mark.places
def test_no_right_to_pings(dir, unprivileged):
    child = unprivileged(SETTINGS, {**FILES, "svc.example.policy.toml": ICMP})
    wait_until(lambda: child.out() or not child.is_running(), 30)
    output = child.err()
    assert re.search("cap_net_raw|ping_group_range|setcap", output, re.IGNORECASE), child.output()
    assert "icmp" in output.lower() and "panicked" not in output


@pytest.mark.places
def test_pings_with_the_right(dir, lone):
    with Node(dir, {**FILES, "svc.example.policy.toml": ICMP}, place=lone) as node:
        assert node.addresses("ping.svc.example.") == ["127.0.0.9"]
        assert node.health("pinged") == "up"
        assert node.metric("portolan_rtt_seconds", endpoint="pinged") > 0


@pytest.mark.places
def test_an_unprivileged_node_serves(dir, unprivileged):
    child = unprivileged(SETTINGS, FILES)
    child.wait_line(READY, 30)
