"""What a name gives now, in the API, the metrics, `status` and the page, before, during and after an outage."""
import json
import urllib.request

from portolan import MASTER, Node
from processes import wait_until
from test_operator import operate, write_tokens

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.door]
type = "tcp"
interval = "100ms"
rise = 1
damping = false

[endpoint.pg-a]
addresses = ["192.0.2.1"]
region = "eu-west"
probe = "{one}"
monitor = "door"

[endpoint.pg-b]
addresses = ["192.0.2.2"]
probe = "{two}"
monitor = "door"

[pool.pg]
members = ["pg-a", "pg-b"]
steer = "failover"

[name.pg]
pool = "pg"
failback = "manual"
on_empty = "nodata"
"""


def gauges(node):
    return tuple(node.metric(f"portolan_name_{what}", zone="svc.example.", name="pg") for what in ("eligible", "on_empty", "preferred"))


def names(node, query=""):
    return node.json("/v1/names" + query)


def followed(node, last=None):
    """The stream of events, after the one with the id `last`."""
    headers = {"Last-Event-ID": last} if last else {}
    return urllib.request.urlopen(urllib.request.Request(node.url + "/v1/events", headers=headers), timeout=10)


def next_event(stream):
    """The id that the next event has in the stream, and its data."""
    id = None
    for line in stream:
        if line.startswith(b"id: "):
            id = line[4:].strip().decode()
        if line.startswith(b"data: "):
            return id, json.loads(line[6:])
    raise AssertionError("the stream ended")


def test_names_before_during_and_after_an_outage(dir, endpoints):
    one, two = endpoints("one"), endpoints("two")
    write_tokens(dir)
    policy = POLICY.format(one=one.at, two=two.at)
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}) as node:
        stream = followed(node)
        [pg] = names(node)
        assert (pg["zone"], pg["name"], pg["preferred"], pg["on_empty"], pg["notes"]) == ("svc.example.", "pg", True, False, [])
        [each] = pg["classes"]
        assert (each["class"], each["type"], each["from"]) == ("any", "A", "pg")
        assert each["answers"] == [{"rdata": "192.0.2.1", "endpoint": "pg-a", "probability": 1.0}]
        assert gauges(node) == (2, 0, 1)
        assert names(node, "?preferred=false") == [] and names(node, "?name=pg.svc.example") == [pg]

        one.kill()
        wait_until(lambda: gauges(node) == (1, 0, 0), 20)
        id, event = next_event(stream)
        assert (id, event["id"], event["zone"], event["endpoint"], event["to"]) == ("ns1/1", "ns1/1", "svc.example.", "pg-a", "down")
        [pg] = names(node, "?preferred=false")
        assert pg["classes"][0]["prefers"] == ["pg-a"] and pg["notes"][0].startswith("pg gives pg-b instead of pg-a: pg-a is down")
        page = node.get("/")[1]
        assert "pg gives pg-b instead of pg-a" in page and "down because:" in page

        one.start()
        wait_until(lambda: gauges(node) == (2, 0, 0), 20)
        assert names(node)[0]["notes"] == ["pg stays on pg-b (failback manual)"]
        shown = node.command("status").stdout
        assert "pg stays on pg-b (failback manual)" in shown, shown
        assert "svc.example.  pg-a" in shown, f"transitions have the zone: {shown}"

        assert operate(node, "drain", "pg-b", "--why", "names").returncode == 0
        wait_until(lambda: gauges(node) == (1, 0, 1), 20)
        stream.close()
        ids = [next_event(again)[0] for again in [followed(node, "ns1/1")] for _ in range(2)]
        assert ids == ["ns1/2", "ns1/3"], "who comes back goes on where it was"

        one.kill(), two.kill()
        wait_until(lambda: gauges(node) == (0, 1, 0), 20)
