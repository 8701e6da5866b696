"""Sinks of events: a webhook gets each event, signed and in order, whatever ends meanwhile; what each reply means; and what
the status, the metrics and the log show."""
import itertools
import json
import os
import signal
import sys
from pathlib import Path

import portolan
from portolan import MASTER, Node, policy
from processes import Child, wait_until
from receiver import SECRET, Receiver
from test_operator import ALICE, FILE, TOKENS

ENDPOINTS = 250
# Each endpoint has a line of the log for each change, and the last event of the receiver is waited for.
BOUND = 120


def zone():
    names = [f"e{n}" for n in range(1, ENDPOINTS)]
    endpoints = {name: {"addresses": [f"192.0.2.{n}"]} for n, name in enumerate(["other", *names])}
    pool = {"many": {"members": names}, "one": {"members": ["other"]}}
    return {FILE: policy(endpoint=endpoints, pool=pool, name={"www": {"pool": "one"}, "all": {"pool": "many"}}), "svc.example.zone": MASTER}


def start(dir, url, more=""):
    """A server with the sink `audit`. A second start in the same directory goes on with its state."""
    (dir / "node").mkdir(exist_ok=True)
    for name, text in {"tokens": TOKENS, "webhook.secret": SECRET + "\n"}.items():
        (dir / "node" / name).write_text(text)
        (dir / "node" / name).chmod(0o600)
    sink = f'\n[sink.audit]\ntype = "webhook"\nurl = "{url}"\nsecret_file = "webhook.secret"\nconcurrency = 16\n{more}'
    return Node(dir, zone(), settings=portolan.SETTINGS + sink)


def turn(node, turns):
    """Drains and clears all endpoints but one: an event for each."""
    for turn in turns:
        what = ["clear", "e*"] if turn % 2 else ["drain", "e*", "--why", f"turn {turn}", "--yes"]
        done = node.command(*what, env={"PORTOLAN_TOKEN": ALICE})
        assert done.returncode == 0, done


def wait_sent(node, count):
    """Waits until the log has so many events, and the sink is done with all of them."""
    wait_until(lambda: len(local_ids(node)) == count, BOUND, 0.1)
    wait_until(lambda: sink(node)["position"] == count, BOUND)


def sink(node):
    [sink] = node.status()["sinks"]
    return sink


def local_ids(node):
    done = node.command("events", "--format", "json")
    assert done.returncode == 0, done
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


class Program:
    """The receiver as a process on one port, which can be killed and started again."""

    def __init__(self, dir):
        self.dir, self.port, self.number, self.children = dir, 0, 0, []
        self.start()

    def start(self):
        self.number += 1
        program = Path(__file__).with_name("receiver.py")
        self.child = Child([sys.executable, program, self.port], self.dir, f"receiver{self.number}", env=dict(os.environ))
        self.children.append(self.child)
        wait_until(self.child.out, 30)
        self.port = json.loads(self.child.out()[0])["port"]

    def kill(self):
        self.child.process.kill()
        self.child.process.wait()

    def received(self):
        """All events that any of the processes has taken, in order. What a kill tore was not confirmed."""
        return [json.loads(line) for child in self.children for line in child.out()[1:]]


def test_each_event_arrives_in_order_though_the_receiver_is_killed_three_times_and_the_server_restarts(dir):
    program = Program(dir)
    url = f"http://127.0.0.1:{program.port}/events"
    try:
        turns = itertools.count()
        with start(dir, url) as node:
            for _ in range(3):
                before = len(program.received())
                turn(node, itertools.islice(turns, 2))
                wait_until(lambda: len(program.received()) > before + 40, BOUND)
                program.kill()
                turn(node, itertools.islice(turns, 2))
                wait_until(lambda: sink(node)["state"] == "retrying", BOUND)
                assert node.addresses("www.svc.example.") == ["192.0.2.0"], "the answers go on"
                program.start()
            node.child.signal(signal.SIGTERM)
            assert node.child.process.wait(60) == 0, node.child.err()
        with start(dir, url) as node:
            turn(node, itertools.islice(turns, 2))
            wait_sent(node, 14 * (ENDPOINTS - 1))
            report, all = sink(node), local_ids(node)
        received = program.received()
    finally:
        program.kill()
    assert all == [f"ns1/{number}" for number in range(1, len(all) + 1)]
    assert {event["event"]["id"] for event in received} == set(all), "each is there, and no other"
    assert all[-1] == f"ns1/{report['position']}" and (report["lost"], report["dead_letters"]) == (0, 0), report
    first_times = {}
    for event in received:
        assert event["signed"] and event["webhook-id"] == event["event"]["id"] and event["path"] == "/events", event
        assert event["event"]["specversion"] == "1.0" and event["event"]["source"] == "/portolan/ns1", event
        first_times.setdefault(event["event"]["id"], event["event"].get("subject"))
    for subject in set(first_times.values()):
        numbers = [int(id.rpartition("/")[2]) for id, of in first_times.items() if of == subject]
        assert numbers == sorted(numbers), f"{subject}: {numbers}"
    # Those that were under way at a kill, or came within the last second before one, come twice at most for each kill.
    assert len(received) < 2 * len(all)


def test_replies_mean_what_they_mean_and_all_is_shown(dir):
    def reply(event):
        data = event["event"]
        if data.get("subject") == "e1":
            return 422, {}
        if data.get("subject") == "e2" and sum(1 for e in receiver.received if e["event"]["id"] == data["id"]) == 1:
            return 429, {"retry-after": "2"}
        return (307, {"location": "/elsewhere"}) if is_moved else (204, {})

    is_moved = False
    with Receiver(reply) as receiver, start(dir, receiver.url, "tries = 2") as node:
        turn(node, [0, 1])
        wait_sent(node, 2 * (ENDPOINTS - 1))
        report, all = sink(node), local_ids(node)
        refused = [event["event"]["id"] for event in receiver.received if event["event"].get("subject") == "e1"]
        assert len(refused) == 4 and len(set(refused)) == 2, "two tries each"
        assert report["dead_letters"] == 2 and report["delivered"] == len(all) - 2, report
        assert [dead["id"] for dead in report["last_dead_letters"]] == sorted(set(refused))
        assert node.child.err().count("it is given up") == 2
        busy = [event["timestamp"] for event in receiver.received if event["event"].get("subject") == "e2"]
        assert len(busy) == 4 and busy[1] - busy[0] >= 2 and busy[3] - busy[2] >= 2, busy
        labels = {"sink": "audit"}
        assert node.metric("portolan_sink_dead_letters_total", **labels) == 2
        assert node.metric("portolan_sink_up", **labels) == 1 and node.metric("portolan_sink_events_waiting", **labels) == 0
        is_moved = True
        turn(node, [2])
        wait_until(lambda: sink(node)["state"] == "retrying" and sink(node)["last_error"]["why"].startswith("HTTP status 307"), BOUND)
        report = sink(node)
        assert "HTTP status 307: to /elsewhere" == report["last_error"]["why"] and report["behind"] > 200, report
        assert {event["path"] for event in receiver.received} == {"/events"}, "redirects are not followed"
        shown = node.command("status").stdout
        assert "audit TAKES NO EVENTS" in shown and "write the URL where the receiver is" in shown, shown
        assert node.metric("portolan_sink_up", **labels) == 0
    with Receiver(lambda event: (410, {})) as gone, start(dir, gone.url) as node:
        wait_until(lambda: sink(node)["state"] == "off", BOUND)
        assert "audit IS OFF until a restart" in node.command("status").stdout
        turn(node, [3])
        wait_until(lambda: sink(node)["behind"] > 400, BOUND)
        assert len(gone.received) <= 16, "nothing is sent but what was under way"
        assert node.addresses("www.svc.example.") == ["192.0.2.0"]


def test_a_secret_that_breaks_is_in_the_status_until_it_is_repaired_and_the_sink_goes_on(dir):
    with Receiver(lambda event: (204, {})) as receiver, start(dir, receiver.url) as node:
        secret = node.dir / "webhook.secret"
        problems = lambda: [problem["message"] for problem in node.status()["reload"]["problems"]]
        for text, part in (("whsec_!\n", "not base64"), ("", "no secret in this file"), ("whsec_YWJjZA==\n", "at least 24 octets")):
            secret.write_text(text)
            wait_until(lambda: any(part in problem for problem in problems()), BOUND)
            assert node.status()["reload"]["ok"] is False
        assert any("sends nothing, unless they were read before" in problem for problem in problems()), problems()
        node.write("svc.example.zone", MASTER + "\nnew IN A 198.51.100.7\n")
        wait_until(lambda: node.addresses("new.svc.example.") == ["198.51.100.7"], BOUND)
        secret.write_text(SECRET + "\n")
        wait_until(lambda: node.status()["reload"]["ok"] is True and problems() == [], BOUND)
        turn(node, [0])
        wait_until(lambda: sink(node)["state"] == "ok" and sink(node)["behind"] == 0, BOUND)


def test_a_steady_failure_of_one_endpoint_is_one_line(dir):
    def reply(event):
        return (500, {}) if event["event"].get("subject") == "e1" else (204, {})

    with Receiver(reply) as receiver, start(dir, receiver.url, "tries = 100") as node:
        of_e1 = lambda: sum(1 for event in receiver.received if event["event"].get("subject") == "e1")
        for number in range(4):
            turn(node, [number])
            wait_until(lambda: of_e1() > number and sink(node)["behind"] == number + 1, BOUND)
            assert sink(node)["state"] in ("waiting", "retrying"), sink(node)
        assert sink(node)["waiting"][0]["subject"] == "e1" and sink(node)["waiting"][0]["events"] == 4, sink(node)
        lines = [line for line in node.child.err().splitlines() if "takes no events" in line or "takes events again" in line]
        assert len(lines) == 1, lines
