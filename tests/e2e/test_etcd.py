"""etcd as a source: instances that come and go, overrides by keys, and what happens when etcd is away, compacted or wiped."""
import json
import socket
import threading
import time

import pytest

from etcd import Etcd
from portolan import Node, files, policy
from ports import free_ports
from processes import resident_octets, wait_until

# A second is what users are promised; tests run on busy machines.
SOON = 15


@pytest.fixture
def etcd(dir):
    with Etcd(dir) as etcd:
        yield etcd


@pytest.fixture
def listener():
    """A port on which all addresses of 127.0.0.0/8 accept connections."""
    with socket.create_server(("0.0.0.0", free_ports(1)[0]), backlog=512) as server:
        yield server.getsockname()[1]


def source(etcd, **more):
    return {"type": "etcd", "endpoints": [etcd.url], "prefix": "/web/", "pool": "web", "region": "eu-west", **more}


def zone(source, monitor_port=None, **more):
    monitors = {"web": {"type": "tcp", "interval": "100ms", "timeout": "100ms", "rise": 1}} if monitor_port else {}
    source = {**source, **({"monitor": "web"} if monitor_port else {})}
    return files(policy(
        defaults={"ttl": "1s", "on_empty": "nodata", "answers": 8},
        monitor=monitors, **{
            "discover": {"web": source}, "pool": {"web": {"steer": "all"}}, "name": {"www": {"pool": "web"}}, **more},
    ))


def www(node):
    return node.addresses("www.svc.example.")


def report(node):
    return node.status()["sources"][0]


def waits(node, addresses, bound=SOON):
    begun = time.monotonic()
    wait_until(lambda: www(node) == sorted(addresses), bound)
    return time.monotonic() - begun


def test_a_key_is_served_after_its_first_successful_probe_and_gone_when_it_is_deleted(dir, etcd, listener):
    etcd.put("/web/a", f"127.0.0.11:{listener}")
    with Node(dir, zone(source(etcd), listener)) as node:
        waits(node, ["127.0.0.11"])
        # Nothing listens there: it is known, and not served.
        dead = free_ports(1)[0]
        etcd.put("/web/b", json.dumps({"address": "127.0.0.12", "port": dead}))
        wait_until(lambda: report(node)["endpoints"] == 2, SOON)
        wait_until(lambda: node.health("b") == "down", SOON)
        assert www(node) == ["127.0.0.11"]
        etcd.put("/web/b", json.dumps({"address": "127.0.0.12", "port": listener}))
        came = waits(node, ["127.0.0.11", "127.0.0.12"])
        etcd.delete("/web/a")
        went = waits(node, ["127.0.0.12"])
        print(f"served after {came:.3f} s, gone after {went:.3f} s")
        etcd.put("/web/b", json.dumps({"address": "127.0.0.12", "port": listener, "health": "down"}))
        waits(node, [])
        etcd.put("/web/c", "nonsense")
        etcd.put("/web/d", json.dumps({"address": "127.0.0.13"}))
        problem = wait_until(lambda: report(node)["problem"], SOON)
        assert "`c`: found `nonsense`; expected IP:PORT" in problem, problem
        assert report(node)["state"] == "ok"


def test_a_key_sets_an_override_that_outlives_restarts_of_both(dir, etcd):
    stated = {"type": "etcd", "endpoints": [etcd.url], "overrides": "/services/{target}/status"}
    endpoints = {name: {"addresses": [f"192.0.2.{at}"], "region": "eu-west"} for at, name in [(1, "primary"), (2, "standby")]}
    zones = files(policy(
        defaults={"ttl": "1s", "on_empty": "nodata"}, endpoint=endpoints, discover={"primary": stated},
        pool={"db": {"steer": "failover", "members": ["primary", "standby"]}}, name={"www": {"pool": "db"}},
    ))
    with Node(dir, zones) as node:
        wait_until(lambda: report(node)["state"] == "ok", SOON)
        assert www(node) == ["192.0.2.1"]
        etcd.put("/services/primary/status", "unhealthy")
        failover = waits(node, ["192.0.2.2"])
        [override] = node.json("/v1/overrides")
        assert (override["target"], override["state"], override["who"]) == ("primary", "down", "discover.primary (etcd)")
        assert override["why"] == "/services/primary/status is down"
        etcd.put("/services/primary/status", "drain")
        wait_until(lambda: node.json("/v1/overrides")[0]["state"] == "drain", SOON)
        etcd.put("/services/primary/status", "healthy")
        back = waits(node, ["192.0.2.1"])
        print(f"failover after {failover:.3f} s, back after {back:.3f} s")
        assert node.json("/v1/overrides") == []

        # A region and a pool by their names, and a name that is nothing.
        etcd.put("/services/eu-west/status", "drain")
        wait_until(lambda: [of["target"] for of in node.json("/v1/overrides")] == ["region:eu-west"], SOON)
        etcd.delete("/services/eu-west/status")
        wait_until(lambda: node.json("/v1/overrides") == [], SOON)
        etcd.put("/services/primray/status", "down")
        problem = wait_until(lambda: report(node)["problem"], SOON)
        assert "`primray`: no endpoint, pool or region of svc.example. is called `primray`; did you mean `primary`?" in problem
        etcd.put("/services/primray/status", "")
        wait_until(lambda: report(node)["problem"] is None, SOON)

        # etcd away: the override stays, and is news only once.
        etcd.put("/services/primary/status", "down")
        waits(node, ["192.0.2.2"])
        etcd.kill()
        away = wait_until(lambda: report(node)["state"] == "away" and report(node)["problem"], SOON)
        assert "connection refused" in away and www(node) == ["192.0.2.2"], away
        before = [event for event in events(node) if event["type"].endswith("override")]
    with Node(dir, zones) as node:
        assert www(node) == ["192.0.2.2"], "in force from the first answer, while etcd is away"
        etcd.start()
        wait_until(lambda: report(node)["state"] == "ok", SOON)
        again = [event for event in events(node) if event["type"].endswith("override")]
        assert again == before, "nothing twice"
        etcd.delete("/services/primary/status")
        waits(node, ["192.0.2.1"])
        # Without the table its overrides end.
        etcd.put("/services/primary/status", "down")
        waits(node, ["192.0.2.2"])
        text = zones["svc.example.policy.toml"]
        head, _, rest = text.partition("[discover.primary]")
        node.write("svc.example.policy.toml", head + rest[rest.index("\n["):])
        waits(node, ["192.0.2.1"])
        assert node.json("/v1/overrides") == []


def events(node):
    output = node.command("events", "--since", "0", "--format", "json").stdout
    return [json.loads(line) for line in output.splitlines()]


def test_etcd_is_killed_compacted_and_wiped_and_no_answer_is_empty(dir, etcd):
    etcd.put_all([(f"/web/e{at}", f"192.0.2.{at}:80") for at in range(1, 5)])
    four = [f"192.0.2.{at}" for at in range(1, 5)]
    with Node(dir, zone(source(etcd))) as node:
        waits(node, four)
        etcd.kill()
        wait_until(lambda: report(node)["state"] == "away", SOON)
        assert www(node) == sorted(four)
        etcd.start()
        etcd.delete("/web/e4")
        etcd.put("/web/e5", "192.0.2.5:80")
        etcd.compact()
        waits(node, four[:3] + ["192.0.2.5"])
        assert report(node)["state"] == "ok"
        etcd.kill()
        etcd.wipe()
        etcd.start()
        wait_until(lambda: report(node)["state"] == "kept", SOON)
        assert www(node) == sorted(four[:3] + ["192.0.2.5"]), "the old set stays"
        assert "min_keep" in report(node)["problem"]
        etcd.put_all([(f"/web/e{at}", f"192.0.2.{at}:80") for at in range(1, 5)])
        waits(node, four)
        wait_until(lambda: report(node)["state"] == "ok", SOON)


def ten_thousand(source, dir, count, change, sizes):
    """A node that follows `count` instances in a pool of no name, and some hundred in the pool of www: a name has at most
    1,024. `change(at)` changes instance `at` of both, 500 times a second for three seconds; `sizes` are those after that.
    No answer may be empty meanwhile."""
    changes, few = 1500, report_of
    sources = {"web": source, "all": {**source, "pool": "all", "max": count, **source_of_all(source)}}
    zones = zone(source, discover=sources, pool={"web": {"steer": "weighted"}, "all": {"steer": "weighted"}})
    with Node(dir, zones) as node:
        wait_until(lambda: few(node, "all")["endpoints"] == count, 60, step=0.2)
        wait_until(lambda: few(node, "web")["endpoints"] > 0, SOON)
        size = resident_octets(node.child.pid)
        empty, stop = [], threading.Event()

        def watch():
            while not stop.is_set():
                if not www(node):
                    empty.append(time.monotonic())
                time.sleep(0.005)

        watching = threading.Thread(target=watch)
        watching.start()
        begun = time.monotonic()
        for at in range(0, changes, 50):
            change(range(at, at + 50))
            time.sleep(max(0, begun + at / 500 - time.monotonic()))
        sent = time.monotonic()
        wait_until(lambda: tuple(few(node, name)["endpoints"] for name in ("web", "all")) == sizes, 60, step=0.1)
        known = time.monotonic() - sent
        stop.set()
        watching.join()
        grown = resident_octets(node.child.pid) - size
        print(f"{changes} changes in {sent - begun:.2f} s, known {known:.2f} s later; {size >> 20} MiB, {grown >> 20} MiB more")
        assert empty == []
        assert grown < 200 << 20, grown


def source_of_all(source):
    """What differs in the source of the pool `all`."""
    return {"prefix": "/all/"} if source["type"] == "etcd" else {"service": "all"}


def report_of(node, name):
    [found] = [of for of in node.status()["sources"] if of["name"] == f"discover.{name}"]
    return found


def address(at):
    return f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"


def test_ten_thousand_keys_change_and_no_answer_is_empty(dir, etcd):
    count = 10_000
    etcd.put_all([(f"/all/i{at:05}", f"{address(at)}:80") for at in range(count)])
    etcd.put_all([(f"/web/i{at:05}", f"{address(at + 50_000)}:80") for at in range(600)])

    def change(numbers):
        # Two thirds are other ones afterwards, and a third has gone.
        value = lambda at: None if at % 3 == 0 else f"{address(at + 20_000 * (at % 3))}:80"
        etcd.put_all([(f"/all/i{at:05}", value(at)) for at in numbers if at >= 300])
        etcd.put_all([(f"/web/i{at:05}", value(at)) for at in numbers if at < 300])

    ten_thousand(source(etcd), dir, count, change, (500, count - 400))
