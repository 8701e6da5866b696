"""The numbered log of events: `portolan events`, its resume points, restarts and crashes, and the stream of the fleet."""
import json
import re
import signal

import portolan
from fleet import settings as of_fleet
from nats import NatsClient, NatsServer
from portolan import MASTER, Node, environment
from processes import Child, wait_until
from test_operator import ALICE, FILE, POLICY, TOKENS

STREAM = "portolan_prod_events"


def start(dir, settings=portolan.SETTINGS, name="node"):
    """A server whose overrides make events. A second start in the same directory goes on with its state."""
    (dir / name).mkdir(exist_ok=True)
    tokens = dir / name / "tokens"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    return Node(dir, {FILE: POLICY, "svc.example.zone": MASTER}, settings=settings, name=name)


def again(node, settings=None):
    """Starts a node that has ended again, with the same ports."""
    dns, http = (f"{host}:{port}" for host, port in (node.udp, node.http))
    text = settings or node.settings.read_text()
    text = text.replace('dns = ["127.0.0.1:0"]', f'dns = ["{dns}"]').replace('http = "127.0.0.1:0"', f'http = "{http}"')
    return start(node.dir.parent, settings=text, name=node.dir.name)


def toggle(node, count=1):
    """So many events, one for each override that is set or cleared."""
    env = {"PORTOLAN_TOKEN": ALICE}
    for turn in range(count):
        is_set = json.loads(node.command("overrides", "--format", "json", env=env).stdout)
        what = ["clear", "fra1"] if is_set else ["drain", "fra1", "--why", f"turn {turn}"]
        done = node.command(*what, env=env)
        assert done.returncode == 0, done


def events(node, *argv, code=0):
    """The CloudEvents that the command prints."""
    done = node.command("events", "--format", "json", *argv)
    assert done.returncode == code, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids(found):
    return [event["id"] for event in found]


def numbered(first, last, node="ns1"):
    return [f"{node}/{number}" for number in range(first, last + 1)]


def wait_ids(node, expected, *argv, bound=60):
    found = []

    def is_there():
        done = node.command("events", "--format", "json", *argv)
        # A server that has just started has not read the stream of the fleet yet.
        assert done.returncode == 0 or "has not read the events of the fleet yet" in done.stderr, done
        # Servers share overrides, so that each change is an event of the others too.
        found[:] = [id for id in ids(map(json.loads, done.stdout.splitlines())) if id.startswith("ns1/")]
        return found == expected

    try:
        wait_until(is_there, bound, 0.1)
    except AssertionError:
        raise AssertionError(f"expected {expected}, found {found}") from None


def follow(node, dir, name, *argv):
    """`portolan events --follow` as a process; its lines are in its output."""
    url = f"http://{node.http[0]}:{node.http[1]}"
    argv = [portolan.BINARY, "events", "--follow", "--format", "json", "--server", url, *argv]
    return Child(argv, dir, name, env=environment())


def followed(child):
    """The ids of the events of ns1 that it has printed."""
    return [id for id in (json.loads(line)["id"] for line in child.out()) if id.startswith("ns1/")]


def test_the_last_transitions_are_there_after_a_crash(dir):
    with start(dir) as node:
        toggle(node, 3)
        wait_until(lambda: len(events(node)) == 3, 30)
        shown = lambda node: [{**event, "at": round(event["at"], 3)} for event in node.json("/v1/transitions")]
        before = shown(node)
        assert [event["id"] for event in before] == ["ns1/3", "ns1/2", "ns1/1"], before
        node.child.signal(signal.SIGKILL)
        node.child.process.wait(60)
    with again(node) as node:
        assert shown(node) == before
        assert "turn 2" in node.command("status").stdout
        toggle(node)
        wait_until(lambda: [event["id"] for event in node.json("/v1/transitions")][:2] == ["ns1/4", "ns1/3"], 30)


def test_every_kind_is_a_cloud_event_and_since_is_exact(dir):
    with start(dir) as node:
        toggle(node, 2)
        toggle(node)
        assert node.command("drain", "fra1", "--why", "a while", "--for", "1s", env={"PORTOLAN_TOKEN": ALICE}).returncode == 0
        wait_until(lambda: len(events(node)) == 5, 30)
        (node.dir / "zones" / FILE).write_text(POLICY.replace('ttl = "5s"', 'ttl = "6s"'))
        assert node.command("reload").returncode == 0
        (node.dir / "zones" / FILE).write_text(POLICY + "colour = 1\n")
        assert node.command("reload").returncode == 1
        wait_until(lambda: "colour" in events(node)[-1]["data"]["why"], 30)
        found = events(node)
        assert ids(found) == numbered(1, len(found))
        for number, event in enumerate(found, 1):
            assert (event["specversion"], event["source"]) == ("1.0", "/portolan/ns1")
            assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event
            assert event["type"] == ("portolan.override" if number <= 5 else "portolan.reload"), event
            assert set(event["data"]) >= {"endpoint", "zone", "from", "to", "why", "who", "generation"}, event
        change = lambda event: (event.get("subject"), event["data"]["from"], event["data"]["to"], event["data"]["who"])
        assert [change(event) for event in found[:3]] == [
            ("fra1", "up", "drained", "alice"), ("fra1", "drained", "up", "alice"), ("fra1", "up", "drained", "alice"),
        ]
        assert change(found[4]) == ("fra1", "drained", "up", None) and "time is over" in found[4]["data"]["why"]
        assert change(found[5]) == (None, "1", "2", None) and "new generation" in found[5]["data"]["why"]
        refused = found[-1]["data"]
        assert refused["from"] == refused["to"] == str(refused["generation"]), refused
        last = len(found)
        for since in (0, 1, 5, last):
            assert ids(events(node, "--since", str(since))) == numbered(since + 1, last)
        assert ids(events(node, "--since", "ns1/3")) == numbered(4, last)
        human = node.command("events", "--since", "2").stdout
        assert len(human.splitlines()) == last - 2 and "ns1/3  override fra1 in svc.example.: up -> drained" in human, human
        ahead = node.command("events", "--since", "99")
        assert ahead.returncode == 1 and "its last one is " in ahead.stderr and "ns1/1 " in ahead.stdout, ahead
        assert node.command("events", "--since", "x").returncode == 2
        assert node.command("events", "--fleet").returncode == 1, "it is in no fleet"


def test_numbers_go_on_over_stops_and_crashes_and_what_is_gone_is_named(dir):
    with start(dir) as node:
        toggle(node, 3)
        wait_ids(node, numbered(1, 3))
        node.child.process.kill()
        node.child.wait()
        node = again(node)
        with node:
            # Whoever has seen a number finds the same event there.
            wait_ids(node, numbered(1, 3))
            assert "turn 2" in node.command("status").stdout, "a restart forgets no transition"
            toggle(node, 1)
            wait_ids(node, numbered(1, 4))
    log = node.dir / "state" / "events.log"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines()[2:]))
    with again(node) as node:
        done = node.command("events", "--since", "1", "--format", "json")
        assert done.returncode == 1 and ids(map(json.loads, done.stdout.splitlines())) == numbered(3, 4), done
        assert done.stderr == "portolan: the events 2 to 2 are no longer in the log\n"
        assert ids(events(node)) == numbered(3, 4), "without --since there is nothing to miss"
        assert ids(events(node, "--since", "2")) == numbered(3, 4)
        toggle(node, 3)
        wait_ids(node, numbered(3, 7))
    lines = log.read_text().splitlines()
    log.write_text("".join(line + "\n" for line in [*lines[:2], "rubbish", *lines[3:4]]) + lines[4][:-20])
    with again(node) as node:
        done = node.command("events", "--since", "3", "--format", "json")
        assert done.returncode == 1 and ids(map(json.loads, done.stdout.splitlines())) == ["ns1/4", "ns1/6"], done
        gaps = "portolan: the events 5 to 5 are no longer in the log\nportolan: the events 7 to 7 are no longer in the log\n"
        assert done.stderr == gaps
        _, text = node.get("/v1/events?since=3&follow=false")
        assert [json.loads(data) for data in re.findall(r"event: ?lagged\ndata: ?(.*)", text)] == [
            {"missed": 1, "first": number, "last": number} for number in (5, 7)
        ], text
        toggle(node)
        wait_until(lambda: ids(events(node, "--since", "7")) == ["ns1/8"], 30)


def test_following_survives_a_restart_and_ends_with_a_signal(dir):
    with start(dir) as node:
        toggle(node, 2)
        wait_ids(node, numbered(1, 2))
        child = follow(node, dir, "follow", "--since", "1")
        wait_until(lambda: followed(child) == numbered(2, 2), 60)
        toggle(node)
        wait_until(lambda: followed(child) == numbered(2, 3), 60)
    with again(node) as node:
        toggle(node, 2)
        wait_until(lambda: followed(child) == numbered(2, 5), 60)
        child.process.send_signal(signal.SIGINT)
        assert child.process.wait(30) == 0, child.err()
        assert followed(child) == numbered(2, 5), child.err()
        ended = portolan.command("events", "--server", "http://127.0.0.1:1", "--follow")
        assert ended.returncode == 1 and "no server at" in ended.stderr, ended


def stored(nats, node="ns1"):
    """The ids of all events of a server in the stream, in its order."""
    found, sequence = [], 1
    with NatsClient(nats) as client:
        while True:
            ask = {"seq": sequence, "next_by_subj": f"portolan.prod.event.{node}"}
            head, content = client.request(f"$JS.API.DIRECT.GET.{STREAM}", json.dumps(ask).encode())
            if " 404" in head.splitlines()[0]:
                return found
            sequence = int(re.search(r"Nats-Sequence: (\d+)", head)[1]) + 1
            content = json.loads(content)
            content = content if isinstance(content, list) else [content]
            assert f"Nats-Msg-Id: {content[-1]['id']}" in head and "application/cloudevents" in head, head
            found += [event["id"] for event in content]


def report(node):
    return node.status()["fleet"]["events"]


def wait_written(node, last, bound=150):
    wait_until(lambda: (report(node)["acknowledged"], report(node)["waiting"]) == (last, 0), bound, 0.05)


def test_a_server_that_has_lost_its_log_while_nats_is_away_uses_no_number_again(dir):
    with NatsServer(dir) as nats:
        with start(dir, of_fleet(nats.url, "ns1", "eu-west"), "ns1") as node:
            toggle(node, 2)
            wait_written(node, 2)
            nats.kill()
        for file in (node.dir / "state").glob("*.*"):
            file.unlink()
        with again(node) as node:
            toggle(node)
            assert events(node) == [] and json.loads(node.get("/v1/transitions")[1])[0]["to"] == "drained"
            wait_until(lambda: len(events(node)) == 1, 60, 0.2)
            toggle(node)
            [first, second] = [int(id.removeprefix("ns1/")) for id in ids(events(node))]
            assert first > 1_600_000_000 and second == first + 1
            assert report(node)["waiting"] == 2
            nats.start()
            wait_written(node, second)
            assert stored(nats) == ["ns1/1", "ns1/2", f"ns1/{first}", f"ns1/{second}"]
            wait_ids(node, stored(nats), "--fleet")
            assert report(node)["nodes"] == [{"node": "ns1", "last": second, "missing": 0}] and report(node)["lost"] == 0


def test_the_fleet_has_the_events_of_all_servers_after_every_restart(dir):
    with NatsServer(dir) as nats:
        server = lambda name: start(dir, of_fleet(nats.url, name, "eu-west"), name)
        with server("ns1") as ns1, server("ns2") as ns2:
            toggle(ns1, 2)
            wait_written(ns1, 2)
            wait_ids(ns2, numbered(1, 2), "--fleet")
            child = follow(ns2, dir, "follow", "--fleet", "--since", "ns1/1")
            wait_until(lambda: followed(child) == ["ns1/2"], 60)
            # NATS dies, both servers go on, and one of them is restarted meanwhile.
            nats.kill()
            toggle(ns1, 2)
            wait_ids(ns1, numbered(1, 4))
            wait_until(lambda: report(ns1)["waiting"] == 2 and report(ns1)["state"] == "away", 60, 0.05)
            assert "2 events wait for the fleet's stream, which has them up to 2" in ns1.command("status").stdout
            wait_until(lambda: "the newest events may be missing" in ns1.command("events", "--fleet").stderr, 60, 0.2)
            assert ns1.metric("portolan_fleet_events_waiting") == 2
        # Its log no longer has the third event, which never came into the stream.
        log = ns1.dir / "state" / "events.log"
        log.write_text(log.read_text().splitlines()[3] + "\n")
        with again(ns1) as ns1:
            toggle(ns1, 1)
            nats.start()
            wait_written(ns1, 5)
            assert stored(nats) == numbered(1, 5)
            assert ns1.metric("portolan_fleet_events_lost_total") == 1
            # A resume point beyond the end hides nothing of its server, and says so.
            beyond = ns1.command("events", "--fleet", "--format", "json", "--since", "ns1/999")
            assert beyond.returncode == 1 and "the fleet has no such event of ns1" in beyond.stderr, beyond
            assert ids(map(json.loads, beyond.stdout.splitlines())) == ids(events(ns1, "--fleet")), beyond
            third = next(event for event in events(ns1, "--fleet", "--since", "ns1/2") if event["id"].startswith("ns1/"))
            assert (third["id"], third["type"]) == ("ns1/3", "portolan.lost"), third
            assert (third["data"]["from"], third["data"]["to"]) == ("3", "3"), third
            # A server that was away catches up, and so does a client that begins where it was at the other server.
            with again(ns2) as ns2:
                wait_ids(ns2, numbered(3, 5), "--fleet", "--since", "ns1/2")
                wait_until(lambda: followed(child) == numbered(2, 5), 60)
                child.process.send_signal(signal.SIGINT)
                assert child.process.wait(30) == 0, child.err()
                # The stream is deleted: the log of the server fills it again.
                with NatsClient(nats) as client:
                    client.request(f"$JS.API.STREAM.DELETE.{STREAM}")
                toggle(ns1, 1)
                wait_until(lambda: report(ns1)["acknowledged"] == 6, 60, 0.1)
                assert stored(nats) == numbered(4, 6)
                wait_ids(ns2, numbered(1, 6), "--fleet")
                assert {"node": "ns1", "last": 6, "missing": 1} in report(ns2)["nodes"]
                assert "1 events of ns1 are missing in the fleet's stream" in ns2.command("status").stdout
                # Somebody writes nonsense on the subject of a server, and another one's id.
                with NatsClient(nats) as client:
                    for content in (b"\x00nonsense", b"[]", json.dumps({**events(ns1)[0], "id": "ns1/99"}).encode()):
                        client.request("portolan.prod.event.ns2", content)
                wait_until(lambda: ns1.metric("portolan_fleet_events_refused_total") == 3, 60, 0.1)
                toggle(ns1, 1)
                wait_ids(ns2, numbered(1, 7), "--fleet")
            # The state directory is lost: no number is used again.
            ns1.child.end()
            for file in (ns1.dir / "state").glob("events*"):
                file.unlink()
        with again(ns1) as ns1:
            toggle(ns1, 2)
            wait_ids(ns1, numbered(8, 9))
            wait_written(ns1, 9)
            assert stored(nats) == numbered(4, 9)
            assert ns1.metric("portolan_fleet_events_acknowledged_number") == 9


def test_an_override_is_one_event_of_the_fleet_and_its_end_too(dir):
    """The server where it was made has the event; the others have it in their own logs."""
    with NatsServer(dir) as nats:
        server = lambda name: start(dir, of_fleet(nats.url, name, "eu-west"), name)
        with server("ns1") as ns1, server("ns2") as ns2:
            for node in (ns1, ns2):
                wait_until(lambda: node.status()["fleet"]["nats"]["state"] == "connected", 60, 0.05)
            env = {"PORTOLAN_TOKEN": ALICE}
            assert ns1.command("drain", "fra1", "--why", "rack move", "--for", "2s", env=env).returncode == 0
            of_ns2 = {"node": "ns2", "last": 2, "missing": 0}
            for node in (ns1, ns2):
                wait_until(lambda: of_ns2 in report(node)["nodes"] and len(events(node, "--fleet")) >= 2, 60, 0.05)
                assert ids(events(node, "--fleet")) == numbered(1, 2), events(node, "--fleet")
            [drained, ended] = events(ns2)
            assert (drained["data"]["who"], drained["data"]["relayed"]) == ("alice at ns1", True), drained
            assert (ended["data"]["to"], ended["data"]["who"], ended["data"]["relayed"]) == ("up", None, True), ended
            assert all("relayed" not in event["data"] for event in events(ns1))
            assert stored(nats, "ns2") == numbered(1, 2, "ns2")
