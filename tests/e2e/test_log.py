"""The log: its levels, its formats, and that each change is exactly one line."""
import json
import os
import re
import socket
import subprocess

import pytest

from portolan import BINARY, SETTINGS, Node, command, environment
from processes import leashed, wait_until

TEMPLATE = """
zone = "svc.example."

[monitor.web]
type = "http"
port = PORT
fall = 1
damping = false
interval = "200ms"

[endpoint.one]
addresses = ["127.0.0.1"]
monitor = "web"

[pool.web]
members = ["one"]

[name.www]
pool = "web"
"""
MASTER = "@ IN SOA ns1 hostmaster 1 7200 900 1209600 30\n@ IN NS ns1\nns1 IN A 127.0.0.1\n"
ZONE = "$TTL 300\n" + MASTER
TOKEN = "5f3c0d9a7be14c2891d0a6cc4fe2b713"


def files(port):
    return {"svc.example.policy.toml": TEMPLATE.replace("PORT", str(port)), "svc.example.zone": ZONE}


@pytest.fixture
def zones():
    """The files of a zone whose endpoint refuses connections: this process has bound its port and doesn't listen."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield files(nobody.getsockname()[1])


def spoil(node, zones):
    """Writes a policy file with a mistake, and waits until the log has it."""
    node.write("svc.example.policy.toml", zones["svc.example.policy.toml"] + "wieght = 1\n")
    wait_until(lambda: "wieght" in node.child.err(), 10)


def log_format(format):
    return SETTINGS + f'\n[log]\nformat = "{format}"\n'


def with_token(dir, name="node"):
    (dir / name).mkdir(parents=True, exist_ok=True)
    tokens = dir / name / "tokens"
    tokens.write_text(f"alice operate {TOKEN}\n")
    tokens.chmod(0o600)


def drain(node, why="rack move"):
    done = command("drain", "one", "--why", why, "--server", node.url, env={"PORTOLAN_TOKEN": TOKEN})
    if "--yes" in done.stderr:
        done = command("drain", "one", "--why", why, "--yes", "--server", node.url, env={"PORTOLAN_TOKEN": TOKEN})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wanted, expected", [
    ("nonsense", "off, error, warn, info, debug and trace"),
    ("health=loud", "`loud` is not a level"),
    ("helth=debug", "did you mean `health`"),
    ("5", "not a level"),
])
def test_a_wrong_level_is_refused(dir, wanted, expected):
    (dir / "portolan.toml").write_text(SETTINGS)
    for argv in (["serve", "--config", dir / "portolan.toml"], ["demo", "--for", "1s"]):
        done = command(*argv, env={"PORTOLAN_LOG": wanted})
        assert done.returncode == 2 and done.stdout == "", done
        assert done.stderr.startswith("portolan: PORTOLAN_LOG: ") and expected in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_debug_logs_probes_requests_and_reloads(dir, zones):
    with Node(dir, zones, env={"PORTOLAN_LOG": "debug"}) as node:
        node.get("/readyz")
        assert command("reload", "--server", node.url).returncode == 0
        wait_until(lambda: all(re.search(line, node.child.err()) for line in (
            r"DEBUG portolan::health::prober: probe check=\"http\" target=127\.0\.0\.1:\d+ ms=\S+ result=\"connection refused\"",
            r"DEBUG portolan::control::\w+: request to the API method=GET path=\"/readyz\" status=200",
            r"DEBUG portolan::daemon::steer\S*: reading the files cause=\"asked for\"",
        )), 10)


def test_one_module_logs_more(dir, zones):
    with Node(dir, zones, env={"PORTOLAN_LOG": "error,health=debug"}) as node:
        node.get("/readyz")
        wait_until(lambda: "portolan::health::prober: probe" in node.child.err(), 10)
        modules = {match[1] for match in re.finditer(r"DEBUG (\S+):", node.child.err())}
        assert all(module.startswith("portolan::health") for module in modules), modules


def test_a_change_is_one_line(dir, endpoints):
    endpoint = endpoints("one")
    with Node(dir, files(endpoint.port)) as node:
        begun = len(node.child.err().splitlines())
        endpoint.kill()
        wait_until(lambda: 'to="down"' in node.child.err(), 10)
        endpoint.start()
        wait_until(lambda: 'to="up"' in node.child.err(), 10)
        changes = [re.search(r'from="(\w+)" to="(\w+)"', line) for line in node.child.err().splitlines()[begun:]]
        assert [change and change.groups() for change in changes] == [("up", "down"), ("down", "up")], node.child.err()


def test_json_is_one_object_a_line(dir, zones):
    with_token(dir)
    with Node(dir, zones, settings=log_format("json"), env={"PORTOLAN_LOG": "debug"}) as node:
        drain(node, why="rack é")
        spoil(node, zones)
    lines = [json.loads(line) for line in node.child.err().splitlines()]
    assert all({"timestamp", "level", "module", "message"} <= line.keys() for line in lines), lines
    override = next(line for line in lines if line["message"] == "override")
    assert override["why"].startswith("rack é") and override["who"] == "alice" and isinstance(override["generation"], int)
    assert any(line["level"] == "ERROR" and "wieght" in line["message"] for line in lines)


def test_a_start_that_fails_is_logged_in_the_format(dir):
    (dir / "zones").mkdir()
    (dir / "portolan.toml").write_text(log_format("json") + "wieght = 1\n")
    done = command("serve", "--config", dir / "portolan.toml")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("wieght" in line["message"] and line["level"] == "ERROR" for line in lines), lines


def test_journald_reads_the_priority(dir, zones):
    with_token(dir)
    with Node(dir, zones, settings=log_format("journald")) as node:
        drain(node)
        spoil(node, zones)
    lines = node.child.err().splitlines()
    assert all(re.match(r"<[3467]>portolan::", line) for line in lines), lines
    assert any(line.startswith("<6>portolan::daemon::overrides::edit: override ") for line in lines), lines
    assert any(line.startswith("<3>") and "wieght" in line for line in lines), lines


@pytest.mark.parametrize("is_named", [True, False])
def test_the_journal_is_recognized_by_its_stream(dir, is_named):
    """systemd names the device and inode of the stream. A name that was inherited from another process doesn't count."""
    (dir / "zones").mkdir()
    (dir / "portolan.toml").write_text("wieght = 1\n")
    ours, journal = socket.socketpair()
    status = os.fstat(journal.fileno())
    stream = f"{status.st_dev}:{status.st_ino + (0 if is_named else 1)}"
    with journal, ours:
        subprocess.run(
            [str(BINARY), "serve", "--config", str(dir / "portolan.toml")], stderr=journal, stdout=subprocess.DEVNULL,
            env=environment(JOURNAL_STREAM=stream), preexec_fn=leashed(), timeout=30,
        )
        journal.close()
        sent = b"".join(iter(lambda: ours.recv(65536), b"")).decode()
    assert all(line.startswith("<3>") for line in sent.splitlines()) == is_named and "wieght" in sent, sent


def test_warnings_next_to_an_error_stay_warnings(dir, zones):
    with Node(dir, zones) as node:
        node.write("svc.example.zone", ZONE + "@ IN MX 10 nowhere\n")
        spoil(node, zones)
        wait_until(lambda: ": warning: " in node.child.err(), 10)
        lines = node.child.err().splitlines()
        for line in lines:
            if ": warning: " in line:
                assert " WARN " in line, line
            if ": error: " in line:
                assert "ERROR " in line, line
        assert any(": warning: " in line for line in lines), lines
