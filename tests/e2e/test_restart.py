"""The health that a node knew before it was stopped or killed is used when it starts again. Whatever happened in the
meantime, its first answers have no dead endpoint.

A client sends hundreds of queries a second from before the start, so that it gets the first answers.
"""
import fcntl
import json
import os
import re
import signal
import subprocess
import time

import pytest

from portolan import BINARY, MASTER, READY, SETTINGS, Node, answers, ask, command, environment, split_address, write_files
from ports import free_ports
from processes import Child, leashed, processor_seconds, wait_until
from steady import Steady
from test_heartbeat import curl
from test_operator import write_tokens

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
path = "/healthz"
interval = "{interval}"
timeout = "500ms"

[endpoint.one]
addresses = ["192.0.2.1"]
probe = "{one}"
monitor = "web"

[endpoint.two]
addresses = ["192.0.2.2"]
probe = "{two}"
monitor = "web"

[pool.web]
members = ["one", "two"]

[pool.first]
members = ["one", "two"]
steer = "failover"

[name.www]
pool = "web"

[name.db]
pool = "first"
"""

ONE, TWO = "192.0.2.1", "192.0.2.2"


def files(one, two, interval="300ms"):
    policy = POLICY.format(one=one.at, two=two.at, interval=interval)
    return {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}


@pytest.fixture
def port():
    """A DNS port on loopback that is the same after a restart; UDP and TCP are free."""
    return free_ports(1)[0]


def settings_at(port):
    return SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)


def kill(node):
    """SIGKILL: the node writes nothing more."""
    node.child.process.kill()
    node.child.process.wait(5)


def health_file(node):
    return node.dir / "state" / "health.json"


def checks_in_file(node):
    """{target: the line of its check in the file}"""
    found = json.loads(health_file(node).read_text())
    assert found["version"] == 1
    return {check["target"]: check for vantage in found["vantages"] for check in vantage["checks"]}


def wait_kept(node, target, wanted, bound=20):
    wait_until(lambda: health_file(node).exists() and wanted(checks_in_file(node).get(target, {})), bound)


def named(replies):
    return {rdata for reply in replies for rdata in reply.answers}


class Restarted:
    """Starts a node again in the same directory. Clients query both names from before the start; `replies` by name."""

    def __init__(self, dir, zones, port):
        self.dir, self.zones, self.port = dir, zones, port

    def __enter__(self):
        at = ("127.0.0.1", self.port)
        self.clients = {
            tag: Steady(self.dir, at, f"{tag}.svc.example.", per_second=200, tag=f"first-{tag}") for tag in ["www", "db"]
        }
        for client in self.clients.values():
            # Its first queries have timed out: the client runs, and no server does.
            client.__enter__()
        self.node = Node(self.dir, self.zones, settings=settings_at(self.port))
        return self

    def __exit__(self, *_):
        self.node.child.end()
        for client in self.clients.values():
            client.child.end()

    def answered(self, tag, least=100):
        """All replies for one name, the oldest first, when there are enough."""
        found = lambda: [r for r in self.clients[tag].replies() if r.got is not None]  # noqa: E731
        return wait_until(lambda: (lambda all: all if len(all) >= least else None)(found()), 30)


def node_of(dir, zones, port):
    return Node(dir, zones, settings=settings_at(port))


def test_the_first_answer_after_a_kill_in_an_outage_has_no_dead_endpoint(dir, endpoints, port):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)
    with node_of(dir, zones, port) as node:
        assert node.addresses("db.svc.example.") == [ONE]
        one.kill()
        node.wait_health("one", "down")
        wait_kept(node, one.at, lambda check: check.get("health") == "down")
        assert checks_in_file(node)[two.at]["health"] == "up"
        kill(node)
    with Restarted(dir, zones, port) as again:
        for tag in ["www", "db"]:
            assert named(again.answered(tag)) == {TWO}, tag
        wait_until(lambda: "the last known health is used" in again.node.child.output(), 15)
        one.start()
        again.node.wait_health("one", "up")


def test_an_endpoint_that_dies_while_the_node_is_down_is_not_named(dir, endpoints, port):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)
    with node_of(dir, zones, port) as node:
        wait_kept(node, one.at, lambda check: check.get("health") == "up")
        kill(node)
    one.kill()
    with Restarted(dir, zones, port) as again:
        for tag in ["www", "db"]:
            assert named(again.answered(tag)) == {TWO}, tag


def test_an_endpoint_that_returned_in_the_meantime_is_found_up(dir, endpoints, port):
    """It was down, so it needs its `rise` successes; then it serves."""
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two, interval="2s")
    with node_of(dir, zones, port) as node:
        one.kill()
        node.wait_health("one", "down")
        # A normal stop writes the file once more.
        node.child.end()
        assert node.child.process.returncode == 0
        assert checks_in_file(node)[one.at]["health"] == "down"
    one.start()
    with Restarted(dir, zones, port) as again:
        replies = again.answered("db")
        assert replies[0].answers == [TWO], "down as it was"
        again.node.wait_health("one", "up")
        wait_until(lambda: again.node.addresses("db.svc.example.") == [ONE], 10)


@pytest.mark.parametrize("is_crash", [False, True])
def test_the_last_good_answer_of_an_outage_outlives_a_restart(dir, endpoints, port, is_crash):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)

    def of_db(node):
        last_good = node.dir / "state" / "last_good.json"
        found = json.loads(last_good.read_text())["answers"] if last_good.exists() else []
        return [answer["tiers"][0][0]["endpoints"] for answer in found if answer["name"] == "db"]

    with node_of(dir, zones, port) as node:
        one.kill()
        node.wait_health("one", "down")
        two.kill()
        node.wait_health("two", "down")
        assert node.addresses("db.svc.example.") == node.addresses("www.svc.example.") == [TWO]
        wait_until(lambda: of_db(node) == [["two"]], 20)
        kill(node) if is_crash else node.child.end()
    with node_of(dir, zones, port) as node:
        assert node.addresses("db.svc.example.") == [TWO], "and not the first that is listed"
        assert node.addresses("www.svc.example.") == [TWO]


def test_round_trip_times_and_penalties_outlive_a_restart(dir, endpoints, port):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)
    with node_of(dir, zones, port) as node:
        for _ in range(4):
            one.kill()
            wait_until(lambda: node.health("one") == "down", 20)
            if "flaps" in checks_in_file(node).get(one.at, {}) and checks_in_file(node)[one.at]["flaps"]["held"]:
                break
            one.start()
            wait_until(lambda: node.health("one") == "up" or held(node, "one"), 20)
        wait_kept(node, one.at, lambda check: check.get("flaps", {}).get("held"))
        one.start()
        srtt = checks_in_file(node)[two.at]["srtt_ms"]
        assert 0 < srtt < 500
        kill(node)
        # As if `two` had been far away: a new measurement counts for an eighth.
        text = health_file(node).read_text().replace(f'"srtt_ms":{srtt}', '"srtt_ms":400.0')
        health_file(node).write_text(text)
    with Restarted(dir, zones, port) as again:
        for tag in ["www", "db"]:
            assert named(again.answered(tag)) == {TWO}, f"{tag}: it answers its probes, and is held down"
        assert held(again.node, "one")
        seen = verdict(again.node, "two")
        assert 50 < seen["rtt_ms"] <= 400, seen


BEATS = """
zone = "svc.example."

[defaults]
ttl = "1s"
on_empty = "nodata"

[monitor.beat]
type = "heartbeat"

[endpoint.alive]
addresses = ["192.0.2.1"]
monitor = "beat"

[endpoint.gone]
addresses = ["192.0.2.2"]
monitor = "beat"

[pool.both]
members = ["gone", "alive"]
steer = "failover"

[name.www]
pool = "both"

[name.db]
pool = "alive"
"""


def test_the_last_message_of_a_service_outlives_a_restart(dir, port):
    """One sent a beat with a ttl of a minute; without it the endpoint would have five seconds. The other sent a goodbye."""
    zones = {"svc.example.policy.toml": BEATS, "svc.example.zone": MASTER}
    write_tokens(dir)
    with node_of(dir, zones, port) as node:
        for endpoint in ["alive", "gone"]:
            assert curl(node, "PUT", endpoint, {"ttl": "60s"})[0] == 200
        wait_until(lambda: node.addresses("www.svc.example.") == [TWO], 10)
        assert curl(node, "DELETE", "gone")[0] == 200
        wait_kept(node, "gone of svc.example.", lambda check: check.get("health") == "down")
        wait_kept(node, "alive of svc.example.", lambda check: check.get("health") == "up")
        kill(node)
    with Restarted(dir, zones, port) as again:
        first = again.answered("www")[0].due
        again.clients["www"].wait_for(lambda reply: reply.due > first + 7, 30)
        for tag in ["www", "db"]:
            assert {tuple(reply.answers) for reply in again.answered(tag)} == {(ONE,)}, tag
        assert curl(again.node, "PUT", "gone")[0] == 200
        wait_until(lambda: again.node.addresses("www.svc.example.") == [TWO], 10)


def verdict(node, endpoint):
    [seen] = [seen for zone in node.status()["zones"] for seen in zone["endpoints"] if seen["name"] == endpoint]
    return seen["verdicts"][0]


def held(node, endpoint):
    """Whether status shows an endpoint as held down."""
    seen = verdict(node, endpoint)
    return seen["health"] == "down" and "held down for" in (seen.get("why") or "")


def test_a_state_older_than_stale_after_is_not_used(dir, endpoints, port):
    """With its old verdict the endpoint would need two successes to be up again; as unknown it needs one."""
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two, interval="30s")
    with node_of(dir, zones, port) as node:
        for endpoint in (one, two):
            wait_kept(node, endpoint.at, lambda check: check.get("health") == "up")
        kill(node)

    def start_with(age):
        found = json.loads(health_file(node).read_text())
        [vantage] = found["vantages"]
        vantage["at"] = time.time() - age
        for check in vantage["checks"]:
            check.update(health="down", heard_at=time.time() - age - 1)
        health_file(node).write_text(json.dumps(found))
        with node_of(dir, zones, port) as again:
            health = again.health("one"), again.health("two")
            kill(again)
            return health

    assert start_with(1) == ("down", "down")
    assert start_with(60) == ("up", "up")
    assert start_with(-60) == ("up", "up"), "the clock of the wall was set back"


def test_an_unreadable_health_file_is_reported_and_prevents_nothing(dir, endpoints, port):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)
    with node_of(dir, zones, port) as node:
        wait_kept(node, one.at, lambda check: check.get("health") == "up")
        kill(node)
        health_file(node).write_text('{"version":1,"vantages":[{"na')
    with node_of(dir, zones, port) as again:
        problems = json.dumps(again.status()["reload"]["problems"])
        assert re.search(r"health\.json.*EOF while parsing.*every endpoint begins unknown", problems), problems
        assert again.health("one") == "up"
        wait_until(lambda: again.metric("portolan_health_writes_total", result="success") >= 1, 20)
        assert checks_in_file(again)[one.at]["health"] == "up"
        assert again.metric("portolan_health_writes_total", result="failure") == 0


def test_an_unwritable_state_directory_is_reported_once(dir, endpoints, port):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)
    # The server first writes a file with this name.
    (dir / "node" / "state" / ".health.json.new").mkdir(parents=True)
    with node_of(dir, zones, port) as node:
        wait_until(lambda: node.metric("portolan_health_writes_total", result="failure") >= 3, 30)
        assert node.child.output().count("the last known health can't be written") == 1
        assert node.health("one") == "up"


def test_a_state_directory_is_for_one_server_at_a_time(dir, endpoints, port):
    one, two = endpoints("one"), endpoints("two")
    zones = files(one, two)
    with node_of(dir, zones, port) as node:
        settings = node.dir / "portolan.toml"
        refused = command("serve", "--config", settings)
        expected = f"{node.dir / 'state'}: another server (process {node.child.process.pid}) uses this state directory"
        assert refused.returncode == 1 and expected in refused.stderr and refused.stdout == "", refused
        assert command("check", "--config", settings).returncode == 0, "a command that only reads needs no lock"
        assert node.health("one") == "up"
        kill(node)
    with node_of(dir, zones, port) as again:
        assert again.health("one") == "up", "a server that was killed leaves no lock"


def test_a_signal_to_reload_during_the_start_does_not_end_it(dir):
    node = dir / "node"
    records = "".join(f"h{n} A 192.0.2.{n % 250}\n" for n in range(60_000))
    settings = write_files(node, SETTINGS, {"svc.example.zone": MASTER + records})
    child = Child([BINARY, "serve", "--config", settings], node, "serve", env=environment())
    try:
        # It reads the records, and has not bound its sockets yet.
        wait_until(lambda: processor_seconds(child.pid) >= 0.1, 30)
        while not any(re.search(READY, line) for line in child.out()):
            child.signal(signal.SIGHUP)
            assert child.is_running(), child.err()
            time.sleep(0.01)
    finally:
        child.end()


def test_a_log_that_nobody_reads_stops_nothing(dir, endpoints, port):
    """Standard error is a full pipe: failovers, reloads, the API and the stop go on."""
    one, two = endpoints("one"), endpoints("two")
    node_dir = dir / "node"
    settings = write_files(node_dir, settings_at(port), files(one, two))
    unread, errors = os.pipe()
    fcntl.fcntl(errors, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with open(node_dir / "serve.out", "wb") as out:
            process = subprocess.Popen(
                [BINARY, "serve", "--config", settings], stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                env=environment(PORTOLAN_LOG="debug"), preexec_fn=leashed(),
            )
    finally:
        os.close(errors)
    try:
        ready = wait_until(lambda: re.search(READY, (node_dir / "serve.out").read_text(), re.M), 30)
        server, api = split_address(ready[1].split(",")[0]), f"http://{ready[2]}"
        # Each reload writes some lines, and the pipe has room for a page.
        for _ in range(40):
            assert command("reload", "--server", api).returncode == 0
        assert answers(ask(server, "db.svc.example.")) == [ONE]
        one.kill()
        wait_until(lambda: answers(ask(server, "db.svc.example.")) == [TWO], 30)
        assert command("reload", "--server", api).returncode == 0
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(unread)
