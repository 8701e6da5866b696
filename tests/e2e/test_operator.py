"""An operator changes a running server: overrides with tokens, and reloads."""
import json
import os
import re
import socket
import threading
import time
import urllib.request

import dns.message

import portolan
from barrage import Barrage
from portolan import MASTER, Node
from processes import wait_until

ALICE, BOB = "a" * 32, "b" * 32
TOKENS = f"# who may do what\nalice operate {ALICE}\nbob read {BOB}\n"

POLICY = """
zone = "svc.example."

[defaults]
ttl = "5s"

[endpoint.fra1]
addresses = ["192.0.2.1"]
region = "eu-west"
[endpoint.ams1]
addresses = ["192.0.2.2"]
region = "eu-west"
[endpoint.nyc]
addresses = ["192.0.2.3"]

[pool.web]
members = ["fra1", "ams1", { to = "nyc", weight = 2 }]

[name.www]
pool = "web"
"""

FILE = "svc.example.policy.toml"
NAME = "www.svc.example."


def write_tokens(dir, name="node"):
    (dir / name).mkdir(exist_ok=True)
    tokens = dir / name / "tokens"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)


def start(dir, policy=POLICY, tokens=True):
    if tokens:
        write_tokens(dir)
    return Node(dir, {FILE: policy, "svc.example.zone": MASTER})


def operate(node, *argv, token=ALICE):
    return node.command(*argv, env={"PORTOLAN_TOKEN": token} if token else {})


def answered(node, count=60):
    """All addresses that are answered."""
    return {address for _ in range(count) for address in node.addresses(NAME)}


def test_a_drain_moves_answers_and_prints_which(dir):
    with start(dir) as node:
        done = operate(node, "drain", "fra1", "--why", "rack move", "--for", "2h")
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(
            r"fra1 drained until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; "
            r"25\.0 % of answers moved: fra1 -25\.0, nyc \+16\.7, ams1 \+8\.3\n", done.stdout,
        ), done.stdout
        assert answered(node) == {"192.0.2.2", "192.0.2.3"}, "served when the command ends"
        listed = json.loads(operate(node, "overrides", "--format", "json", token=BOB).stdout)
        assert [(o["target"], o["state"], o["why"], o["who"]) for o in listed] == [("fra1", "drain", "rack move", "alice")]
        assert abs(listed[0]["until"] - time.time() - 7200) < 60
        endpoint = node.status()["zones"][0]["endpoints"][0]
        assert endpoint["override"] == listed[0] and endpoint["health"] == "up"
        shown = node.command("status").stdout
        assert "up (drained)" in shown and "rack move" in shown, shown
        assert "drained until" in node.get("/")[1] and "rack move" in node.get("/")[1], "the page says so"
        assert node.metric("portolan_endpoint_overridden", endpoint="fra1", state="drain") == 1
        event = json.loads(node.get("/v1/transitions")[1])[0]
        assert (event["endpoint"], event["from"], event["to"]) == ("fra1", "up", "drained") and "alice" in event["why"]
        assert "rack move" in node.child.err() and ALICE not in node.child.err(), "logged, without the secret"

        cleared = operate(node, "clear", "fra1")
        assert cleared.returncode == 0 and cleared.stdout.startswith("fra1 cleared; 25.0 % of answers moved"), cleared
        assert answered(node) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
        assert node.metric("portolan_endpoint_overridden") is None


def test_regions_force_up_and_force_down(dir):
    with start(dir) as node:
        assert operate(node, "force-down", "region:eu-west", "--why", "exercise").returncode == 0
        assert answered(node) == {"192.0.2.3"}
        assert operate(node, "force-up", "ams1", "--why", "but this one").returncode == 0
        assert answered(node) == {"192.0.2.2", "192.0.2.3"}, "its own goes before its region's"
        assert operate(node, "clear", "region:eu-west").returncode == 0
        assert answered(node) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}


def test_an_override_ends_at_its_time(dir):
    with start(dir) as node:
        assert operate(node, "drain", "nyc", "--why", "a moment", "--for", "2s").returncode == 0
        assert answered(node) == {"192.0.2.1", "192.0.2.2"}
        wait_until(lambda: "192.0.2.3" in node.addresses(NAME), 15)
        assert json.loads(operate(node, "overrides", "--format", "json").stdout) == []
        event = json.loads(node.get("/v1/transitions")[1])[0]
        assert (event["from"], event["to"]) == ("drained", "up") and "time is over" in event["why"]


def test_overrides_outlive_a_restart_and_a_reload(dir):
    with start(dir) as node:
        assert operate(node, "drain", "fra1", "--why", "rack move").returncode == 0
        assert node.command("reload").returncode == 0
        assert answered(node) == {"192.0.2.2", "192.0.2.3"}
    with start(dir) as node:
        assert answered(node) == {"192.0.2.2", "192.0.2.3"}
        # Its endpoint is removed: the override stays, and a warning says that it matches nothing.
        node.write(FILE, POLICY.replace("fra1", "fra9"))
        done = node.command("reload")
        assert done.returncode == 0 and "`fra1` matches nothing" in done.stderr, done
        assert "`fra1` matches nothing" in node.command("status").stdout
        node.write(FILE, POLICY)
        assert node.command("reload").stderr == ""
        assert answered(node) == {"192.0.2.2", "192.0.2.3"}
    file = dir / "node" / "state" / "overrides.json"
    file.write_text(file.read_text()[:-20])
    refused = portolan.command("serve", "--config", dir / "node" / "portolan.toml")
    assert refused.returncode == 1 and str(file) in refused.stderr and "move it away" in refused.stderr, refused.stderr


def test_changes_need_the_role_operate(dir):
    with start(dir) as node:
        before = answered(node)
        for argv in (("drain", "fra1", "--why", "x"), ("clear", "fra1")):
            for token, says in [(None, "PORTOLAN_TOKEN"), ("c" * 32, "not in the token file"), (BOB, "`bob` has the role read")]:
                refused = operate(node, *argv, token=token)
                assert refused.returncode == 1 and says in refused.stderr, refused
        assert operate(node, "overrides", token=None).returncode == 1
        assert operate(node, "drain", "fra1").returncode == 2, "--why is required"
        assert operate(node, "drain", "fra1", "--why", "x", "--for", "soon").returncode == 2
        refused = operate(node, "drain", "fra2", "--why", "x")
        assert refused.returncode == 1 and "did you mean `fra1`?" in refused.stderr
        assert answered(node) == before and json.loads(operate(node, "overrides", "--format", "json").stdout) == []


def test_without_a_token_file_the_calls_are_off_until_there_is_one(dir):
    with start(dir, tokens=False) as node:
        refused = operate(node, "drain", "fra1", "--why", "x")
        assert refused.returncode == 1 and "token_file" in refused.stderr, refused.stderr
        write_tokens(dir)  # the file is watched although it did not exist
        # Started by root, the server has become the owner of the state directory.
        owner = (dir / "node/state").stat()
        os.chown(dir / "node/tokens", owner.st_uid, owner.st_gid)
        wait_until(lambda: operate(node, "drain", "fra1", "--why", "x").returncode == 0, 15, step=0.2)
        (dir / "node" / "tokens").write_text(f"carol operate {'d' * 32}\n")
        wait_until(lambda: "not in the token file" in operate(node, "overrides").stderr, 15, step=0.2)


def test_a_manual_failback_outlives_a_restart(dir):
    """An override moved the name to the second member. The override is over, and no failback was made."""
    policy = POLICY.replace('{ to = "nyc", weight = 2 }]', '"nyc"]\nsteer = "failover"') + 'failback = "manual"\n'
    with start(dir, policy=policy) as node:
        assert answered(node, 5) == {"192.0.2.1"}
        assert operate(node, "force-down", "fra1", "--why", "x").returncode == 0
        assert operate(node, "clear", "fra1").returncode == 0
        assert answered(node, 5) == {"192.0.2.2"}
        wait_until((dir / "node" / "state" / "standings.json").exists, 10)
    with start(dir, policy=policy) as node:
        assert answered(node, 5) == {"192.0.2.2"}
        assert operate(node, "force-down", "ams1", "--why", "go back").returncode == 0
        assert answered(node, 5) == {"192.0.2.1"}


def test_the_wait_of_a_failback_goes_on_over_a_restart(dir):
    """The state file has the time from which a member waits. In place of waiting, this test dates it back."""
    policy = POLICY.replace('{ to = "nyc", weight = 2 }]', '"nyc"]\nsteer = "failover"') + 'failback = "1h"\n'
    file = dir / "node" / "state" / "standings.json"

    def waiting():
        found = json.loads(file.read_text()) if file.exists() else {"standings": []}
        return found, [row for standing in found["standings"] for row in standing.get("waiting", [])]

    def date_back(seconds):
        found, rows = waiting()
        assert rows and all(row["member"] == "fra1" for row in rows), found
        for row in rows:
            row["since"] = time.time() - seconds
        file.write_text(json.dumps(found))

    with start(dir, policy=policy) as node:
        assert operate(node, "force-down", "fra1", "--why", "x").returncode == 0
        assert operate(node, "clear", "fra1").returncode == 0
        assert answered(node, 5) == {"192.0.2.2"}
        wait_until(lambda: waiting()[1], 10)
    date_back(1800)
    with start(dir, policy=policy) as node:
        assert answered(node, 5) == {"192.0.2.2"}
        notes = [note for name in node.json("/v1/names") for note in name["notes"]]
        assert any(re.search(r"stays on ams1 \(failback after 1h, in (2\d|30)m", note) for note in notes), notes
    date_back(7200)
    with start(dir, policy=policy) as node:
        wait_until(lambda: answered(node, 5) == {"192.0.2.1"}, 10)


class Watcher(threading.Thread):
    """Sends queries as fast as it can, and records when an address was last answered."""

    def __init__(self, server, address):
        super().__init__(daemon=True)
        self.server, self.address = server, socket.inet_aton(address)
        self.last, self.count, self.going = 0.0, 0, True

    def run(self):
        wire = dns.message.make_query(NAME, "A", use_edns=False).to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(self.server)
            s.settimeout(5)
            while self.going:
                s.send(wire)
                if self.address in s.recv(2048):
                    self.last = time.time()
                self.count += 1


def test_a_drain_is_in_the_answers_at_once(dir, figure):
    """Measures from the start of the command to the last answer with the endpoint."""
    with start(dir) as node:
        watcher = Watcher(node.udp, "192.0.2.3")
        watcher.start()
        wait_until(lambda: watcher.last, 5)
        times = []
        for _ in range(10):
            begun = time.time()
            assert operate(node, "drain", "nyc", "--why", "how fast").returncode == 0
            ended = time.time()
            time.sleep(0.05)
            times.append(watcher.last - begun)
            assert watcher.last < ended + 0.01, "what the command says is done is done"
            assert operate(node, "clear", "nyc").returncode == 0
            wait_until(lambda: watcher.last > ended, 5)
        watcher.going = False
        times.sort()
        figure("a drain is in the answers after (median)", times[5] * 1000, "ms", bound=50)
        figure("a drain is in the answers after (worst of ten)", times[-1] * 1000, "ms")
        assert times[5] < 1.0, times


GENERATIONS = """
zone = "svc.example."

[defaults]
ttl = "{ttl}s"

[endpoint.one]
addresses = ["192.0.{n}.1"]
[endpoint.two]
addresses = ["198.51.{n}.2"]

[pool.web]
members = ["one", "two"]

[name.www]
pool = "web"
answers = 2
"""


def test_two_hundred_reloads_under_load(dir, figure):
    """Every fourth version of the files is broken. No query is lost, no reply is of two generations, and `portolan reload` ends
    when the files are served, or names what is wrong."""
    policy = lambda n: GENERATIONS.format(n=n, ttl=n + 1)
    with start(dir, policy=policy(0)) as node, Barrage(node.dir, node.udp, NAME, per_second=5000) as client:
        served, took = 0, []
        for turn in range(1, 201):
            is_broken = turn % 4 == 0
            node.write(FILE, policy(turn) + (f"\n[pool.broken{turn}]\nmembers = [\"nobody{turn}\"]\n" if is_broken else ""))
            begun = time.monotonic()
            done = node.command("reload")
            took.append(time.monotonic() - begun)
            if is_broken:
                assert done.returncode == 1, done
                assert FILE in done.stderr and f"nobody{turn}" in done.stderr, done.stderr
                assert re.search(rf"{FILE}:\d+:\d+: error: ", done.stderr), done.stderr
            else:
                assert done.returncode == 0, done
                served = turn
            assert node.addresses(NAME) == [f"192.0.{served}.1", f"198.51.{served}.2"], f"turn {turn}"
        seen = client.finish()
    figure("queries a second", seen["sent"] / seen["seconds"], "1/s")
    figure("a reload, median", sorted(took)[100] * 1000, "ms")
    assert seen["lost"] == seen["failed"] == seen["mixed"] == 0, seen
    assert set(seen["generations"]) <= {turn for turn in range(201) if turn % 4 or turn == 0}, "never a broken file's"
    assert len(seen["generations"]) > 100, "they were seen under way"


def test_overrides_are_events(dir):
    with start(dir) as node:
        with urllib.request.urlopen(node.url + "/v1/events", timeout=10) as stream:
            assert b"transitions follow" in stream.readline()
            assert operate(node, "drain", "region:eu-west", "--why", "x").returncode == 0
            event = []
            while len(event) < 2:
                line = stream.readline()
                if line.startswith(b"data:"):
                    event.append(json.loads(line[5:]))
        assert {(t["endpoint"], t["from"], t["to"]) for t in event} == {("fra1", "up", "drained"), ("ams1", "up", "drained")}
