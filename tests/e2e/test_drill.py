"""Drills: what the report measures is what another client sees, and a drill ends whenever it should."""
import json
import os
import signal
import socket
import threading
import time

import dns.message
import pytest

from portolan import BINARY, MASTER, Node, command, environment
from processes import Child, wait_until
from test_operator import ALICE, BOB, write_tokens
from test_simulate import POLICY, REGIONS

NAMES = ("eu1", "eu2", "us1", "us2")
LOST = {"192.0.2.3", "192.0.2.4"}


@pytest.fixture
def started(endpoints):
    return {name: endpoints(name) for name in NAMES}


def start(dir, started, policy=None):
    """A node with the policy of `test_simulate`, without the name that the loss of a region would leave unanswered."""
    write_tokens(dir)
    policy = (policy or POLICY).format(**{name: endpoint.at for name, endpoint in started.items()})
    # On a busy machine an endpoint answers late, and a drill ends when something really fails.
    policy = policy.split("[name.local]")[0].replace('timeout = "150ms"', 'timeout = "1s"').replace("fall = 2", "fall = 3")
    return Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}, settings=REGIONS)


def drill(node, *argv, token=ALICE, **how):
    return node.command("drill", *argv, env={"PORTOLAN_TOKEN": token}, **how)


def begin(node, dir, *argv):
    """Begins a drill in the background; returns the command when the loss is in force."""
    nth = len(list(dir.glob("drill-*")))
    # With a number of queries the server need not count its own for a second.
    argv = [BINARY, "drill", *argv, "--qps", "10", "--format", "json", "--server", node.url]
    child = Child(argv, dir, f"drill-{nth}", env=environment(PORTOLAN_TOKEN=ALICE))
    wait_until(lambda: "drill" in node.status() or not child.is_running(), 30)
    assert child.is_running(), child.output()
    return child


def drill_events(node):
    done = node.command("events", "--format", "json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(event["data"]["from"], event["data"]["to"]) for event in found if event["type"] == "portolan.drill"]


def last_drill(node):
    return node.json("/v1/drill")["drill"]


class Client:
    """Asks for a name every 5 ms; `rows` has when a question was sent, when it was answered, and the addresses."""

    def __init__(self, server, name):
        self.server, self.name, self.rows, self.is_over = server, name, [], False
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.connect(self.server)
            channel.settimeout(1)
            while not self.is_over:
                query, sent = dns.message.make_query(self.name, "A"), time.time()
                channel.send(query.to_wire())
                reply = dns.message.from_wire(channel.recv(4096))
                addresses = {rdata.to_text() for rrset in reply.answer for rdata in rrset}
                self.rows.append((sent, time.time(), addresses))
                time.sleep(0.005)

    def change(self, since):
        """When the last answer with a lost endpoint came after `since`, and when the first without one was there."""
        rows = [row for row in self.rows if row[0] >= since]
        first_fresh = next(at for at, row in enumerate(rows) if not row[2] & LOST)
        return rows[first_fresh - 1][1], rows[first_fresh][1]


def test_the_report_agrees_with_another_client_and_the_drill_is_marked_everywhere(dir, started, figure):
    with start(dir, started) as node, Client(node.udp, "db.svc.example.") as client:
        page = dir / "report.html"
        child = begin(node, dir, "lose-region", "us-east", "--for", "4s", "--rto", "20s", "--html", page)
        status = node.status()["drill"]
        assert (status["drill"], status["target"], status["who"]) == ("lose-region", "us-east", "alice")
        node.wait_health("us1", "down")
        assert node.metric("portolan_drill", drill="lose-region", target="us-east") == 1
        for zone in node.status()["zones"]:
            us1 = next(row for row in zone["endpoints"] if row["name"] == "us1")
            assert "drill of alice" in us1["verdicts"][0]["why"], us1
        assert "drill of alice" in json.dumps(node.json("/v1/explain?name=db.svc.example"))
        result = child.wait(40)
        report = json.loads("\n".join(child.out()))
        assert (result, report["ok"], report["problems"]) == (0, True, []), report
        wait_until(lambda: client.rows[-1][2] & LOST, 10)

        for key in ("injected_at", "last_stale_at", "restored_at", "recovery_ms"):
            assert report[key] > 0, (key, report)
        assert report["injected_at"] < report["last_stale_at"] < report["restored_at"]
        assert report["detect_ms"] <= report["decide_ms"] <= report["publish_ms"]
        assert {row["endpoint"] for row in report["lost"]} == {"us1", "us2"}
        # Both clients and the report use the clock of this machine. A client that was held up on a busy machine knows
        # the change only to be between two of its answers.
        last_stale, fresh = client.change(report["injected_at"])
        off = abs(report["last_stale_at"] - last_stale)
        bound = max(0.1, fresh - last_stale, report["servers"][0]["fresh_at"] - report["last_stale_at"])
        figure("recovery of the report off that of another client", off * 1000, "ms", 100)
        assert off <= bound, (report["last_stale_at"], last_stale, fresh)

        assert "drill" not in node.status()
        assert last_drill(node)["phase"] == "restored"
        events = [json.loads(line) for line in node.command("events", "--format", "json").stdout.splitlines()]
        drills = [event["data"] for event in events if event["type"] == "portolan.drill"]
        assert [(event["from"], event["to"], event["who"]) for event in drills] == [
            ("none", "lost", "alice"), ("lost", "restored", "alice"),
        ]
        assert any("drill of alice" in event["data"]["why"] for event in events if event["type"] == "portolan.transition")
        assert node.count("portolan_drills_total", result="restored") == 1
        text = page.read_text()
        assert "passed" in text and "us-east" in text and "<script" not in text


def test_a_real_failure_ends_the_drill_at_once(dir, started):
    with start(dir, started) as node:
        child = begin(node, dir, "lose-endpoint", "us1", "--for", "60s")
        node.wait_health("us1", "down")
        started["eu1"].kill()
        assert child.wait(30) == 1
        report = json.loads("\n".join(child.out()))
        assert not report["ok"] and "eu1 is really down" in report["aborted"], report
        node.wait_health("us1", "up")

        refused = drill(node, "lose-endpoint", "us1", "--for", "5s")
        assert refused.returncode == 1 and "eu1 is down already" in refused.stderr, refused.stderr
        started["eu1"].start()
        node.wait_health("eu1", "up")

        # The lost endpoint itself.
        child = begin(node, dir, "lose-endpoint", "us1", "--for", "60s")
        node.wait_health("us1", "down")
        started["us1"].kill()
        wait_until(lambda: last_drill(node).get("aborted"), 30)
        assert "us1 is really down" in last_drill(node)["aborted"]
        assert node.health("us1") == "down", "it is, without the drill too"


def test_harmful_and_wrong_drills_are_refused_with_the_figure(dir, started):
    with start(dir, started) as node:
        lose = ("lose-region", "us-east", "--for", "5s")
        plan = drill(node, *lose, "--dry-run", "--format", "json")
        assert plan.returncode == 0, plan.stderr
        plan = json.loads(plan.stdout)
        assert {row["endpoint"] for row in plan["lost"]} == {"us1", "us2"} and plan["questions"], plan
        assert "lost endpoints: us1, us2" in drill(node, *lose, "--dry-run").stdout
        for more in ((), ("--dry-run",)):
            refused = drill(node, *lose, "--qps", "1500", *more)
            assert refused.returncode == 1 and "and its capacity is 300" in refused.stderr, refused.stderr
        for argv, why in (
            (("lose-region", "us-west", "--for", "5s"), "us-west"),
            (("lose-endpoint", "us9", "--for", "5s"), "us9"),
            (("lose-endpoint", "us*", "--for", "5s"), "one endpoint"),
            (("lose-vantage", "ns1", "--for", "5s"), "no other vantage"),
            (("lose-fleet", "--for", "5s"), "no reports of other nodes"),
        ):
            refused = drill(node, *argv, "--qps", "10")
            assert refused.returncode == 1 and why in refused.stderr, (argv, refused.stderr)
        assert "needs operate" in drill(node, *lose, token=BOB).stderr
        assert drill(node, "lose-region", "us-east").returncode == 2, "how long is required"
        assert last_drill(node) is None


def test_a_drill_that_would_send_clients_to_drained_endpoints_is_refused(dir, started):
    with start(dir, started) as node:
        drained = node.command("drain", "eu1", "eu2", "--why", "open machines", "--yes", env={"PORTOLAN_TOKEN": ALICE})
        assert drained.returncode == 0, drained.stderr
        refused = drill(node, "lose-region", "us-east", "--for", "5s", "--qps", "10")
        assert refused.returncode == 1 and "clients would get eu1, eu2, which are drained" in refused.stderr, refused.stderr


def test_the_drill_ends_with_its_client(dir, started):
    with start(dir, started) as node:
        child = begin(node, dir, "lose-region", "us-east", "--for", "60s")
        refused = drill(node, "lose-region", "us-east", "--for", "5s")
        assert refused.returncode == 1 and "runs already" in refused.stderr, refused.stderr
        os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: last_drill(node)["phase"] == "aborted", 20)
        assert "has gone" in last_drill(node)["aborted"]
        node.wait_health("us1", "up")

        # A client whose connection stays open, and from which nothing comes any more.
        child = begin(node, dir, "lose-region", "us-east", "--for", "60s")
        os.kill(child.pid, signal.SIGSTOP)
        wait_until(lambda: last_drill(node)["phase"] == "aborted", 30)
        assert "nothing came" in last_drill(node)["aborted"]
        os.kill(child.pid, signal.SIGKILL)

        child = begin(node, dir, "lose-region", "us-east", "--for", "60s")
        child.signal(signal.SIGINT)
        assert child.wait(30) == 1
        assert "interrupted" in json.loads("\n".join(child.out()))["aborted"]

        child = begin(node, dir, "lose-region", "us-east", "--for", "60s")
        assert drill(node, "stop").returncode == 0
        assert child.wait(30) == 1
        assert "alice ended it" in json.loads("\n".join(child.out()))["aborted"]
        assert drill(node, "stop").returncode == 1, "none runs"

        # Before the loss, while the drill is planned or the client begins to measure.
        last = last_drill(node)
        argv = [BINARY, "drill", "lose-region", "us-east", "--for", "60s", "--server", node.url]
        child = Child(argv, dir, "drill-early", env=environment(PORTOLAN_TOKEN=ALICE))
        wait_until(lambda: drill(node, "stop").returncode == 0, 20)
        assert child.wait(30) == 1 and "alice ended it" in child.err(), child.output()
        if "before the loss began" in child.err():
            assert last_drill(node) == last, "nothing was lost"


def test_a_drill_that_ends_by_its_time_names_what_was_not_noticed(dir, started):
    slow = '\n[monitor.slow]\ntype = "http"\npath = "/healthz"\ninterval = "60s"\n[endpoint.eu1]'
    policy = POLICY.replace("\n[endpoint.eu1]", slow)
    policy = policy.replace('probe = "{us2}"\nmonitor = "web"', 'probe = "{us2}"\nmonitor = "slow"')
    assert policy.count('monitor = "slow"') == 1
    with start(dir, started, policy) as node:
        node.wait_health("us2", "up")
        done = drill(node, "lose-region", "us-east", "--for", "8s", "--qps", "10", "--format", "json")
        last = last_drill(node)
        assert last["unnoticed"] == ["us2"] and "publish_ms" not in last, last
        assert done.returncode == 1 and "us2" in done.stdout, done.stdout + done.stderr


def test_no_other_process_takes_over_during_a_drill(dir, started):
    with start(dir, started) as node:
        child = begin(node, dir, "lose-endpoint", "us1", "--for", "20s")
        refused = command("serve", "--config", node.settings, "--takeover")
        assert refused.returncode == 1 and "a drill runs (lose-endpoint of alice)" in refused.stderr, refused.stderr
        assert "drill" in node.status() and child.is_running(), "it goes on"
        child.signal(signal.SIGINT)
        child.wait()


def test_a_restart_ends_the_drill(dir, started):
    with start(dir, started) as node:
        child = begin(node, dir, "lose-region", "us-east", "--for", "60s")
        node.wait_health("us1", "down")
        wait_until(lambda: drill_events(node) == [("none", "lost")], 15)
        wait_until(lambda: '"us-east"' in (node.dir / "state/drill.json").read_text(), 15)
        node.child.process.kill()
        assert child.wait(30) == 1
        assert "stream" in json.loads("\n".join(child.out()))["aborted"]
    with start(dir, started) as node:
        # After a crash it can begin as down, until its probes.
        node.wait_health("us1", "up")
        drill = last_drill(node)
        assert drill["phase"] == "aborted" and drill["aborted"].startswith("interrupted: "), drill
        assert (drill["drill"], drill["target"], drill["who"]) == ("lose-region", "us-east", "alice"), drill
        assert not {"detect_ms", "decide_ms", "publish_ms", "restored_at"} & set(drill), "it was not measured"
        assert "drill" not in node.status()
        assert drill_events(node) == [("none", "lost"), ("lost", "aborted")]
        assert node.count("portolan_drills_total", result="aborted") == 1
        wait_until(lambda: '"us-east"' not in (node.dir / "state/drill.json").read_text(), 15)
        node.child.signal(signal.SIGKILL)
        node.child.process.wait(60)
    with start(dir, started) as node:
        assert last_drill(node) is None and drill_events(node) == [("none", "lost"), ("lost", "aborted")], "once"
