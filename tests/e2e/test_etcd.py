"""etcd as a source: instances that come and go, overrides by keys, and what happens when etcd is away, compacted or wiped."""
import json
import os
import socket
import threading
import time

import pytest

from etcd import Etcd
from portolan import Node, files, policy
from ports import free_ports
from processes import resident_octets, wait_until
from test_operator import operate, write_tokens

# A second is what users are promised; tests run on busy machines.
SOON = 30


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


def overrides(node):
    return json.loads(operate(node, "overrides", "--format", "json").stdout)


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
        problem = wait_until(lambda: (problem := report(node)["problem"]) and "`d`" in problem and problem, SOON)
        assert "`c`: found `nonsense`; expected IP:PORT" in problem and "`d`: it has no port" in problem, problem
        assert report(node)["state"] == "ok"


def test_a_key_sets_an_override_that_outlives_restarts_of_both(dir, etcd):
    stated = {"type": "etcd", "endpoints": [etcd.url], "overrides": "/services/{target}/status"}
    endpoints = {name: {"addresses": [f"192.0.2.{at}"], "region": "eu-west"} for at, name in [(1, "primary"), (2, "standby")]}
    zones = files(policy(
        defaults={"ttl": "1s", "on_empty": "nodata"}, endpoint=endpoints, discover={"primary": stated},
        pool={"db": {"steer": "failover", "members": ["primary", "standby"]}}, name={"www": {"pool": "db"}},
    ))
    write_tokens(dir)
    with Node(dir, zones) as node:
        wait_until(lambda: report(node)["state"] == "ok", SOON)
        assert www(node) == ["192.0.2.1"]
        etcd.put("/services/primary/status", "unhealthy")
        failover = waits(node, ["192.0.2.2"])
        [override] = overrides(node)
        assert (override["target"], override["state"], override["who"]) == ("primary", "down", "discover.primary (etcd)")
        assert override["why"] == "/services/primary/status is down"
        etcd.put("/services/primary/status", "drain")
        wait_until(lambda: overrides(node)[0]["state"] == "drain", SOON)
        etcd.put("/services/primary/status", "healthy")
        back = waits(node, ["192.0.2.1"])
        print(f"failover after {failover:.3f} s, back after {back:.3f} s")
        assert overrides(node) == []

        # What an operator cleared stays so while another key changes, and comes back when its own key is written again.
        etcd.put("/services/primary/status", "down")
        waits(node, ["192.0.2.2"])
        operate(node, "clear", "primary")
        waits(node, ["192.0.2.1"])
        etcd.put("/services/standby/status", "drain")
        wait_until(lambda: [of["target"] for of in overrides(node)] == ["standby"], SOON)
        assert www(node) == ["192.0.2.1"]
        etcd.put("/services/primary/status", "down")
        wait_until(lambda: {of["target"] for of in overrides(node)} == {"primary", "standby"}, SOON)
        etcd.delete("/services/primary/status")
        etcd.delete("/services/standby/status")
        wait_until(lambda: overrides(node) == [], SOON)

        # A region and a pool by their names, and a name that is nothing.
        etcd.put("/services/eu-west/status", "drain")
        wait_until(lambda: [of["target"] for of in overrides(node)] == ["region:eu-west"], SOON)
        etcd.delete("/services/eu-west/status")
        wait_until(lambda: overrides(node) == [], SOON)
        etcd.put("/services/primray/status", "down")
        problem = wait_until(lambda: report(node)["problem"], SOON)
        assert "`primray`: no endpoint, pool or region of svc.example. is called `primray`; did you mean `primary`?" in problem
        etcd.put("/services/primray/status", "")
        wait_until(lambda: report(node)["problem"] is None, SOON)

        # etcd away: the override stays, and is news only once.
        etcd.put("/services/primary/status", "down")
        waits(node, ["192.0.2.2"])
        etcd.kill()
        wait_until(lambda: report(node)["state"] == "away" and "connection refused" in report(node)["problem"], SOON)
        assert www(node) == ["192.0.2.2"]
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
        assert overrides(node) == []


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


# PORTOLAN_SOURCES=10 is the whole size, ten thousand instances: a minute or more on a busy machine.
SOURCES, EACH = int(os.environ.get("PORTOLAN_SOURCES", "2")), 1000


def thousands(dir, source_of, change):
    """A node that follows a thousand instances of each of several sources, each in the pool of a name. `change(numbers)`
    changes these instances of each source: a third of them have gone after that. 500 change in a second. No answer may
    be empty meanwhile."""
    names = [f"w{at}" for at in range(SOURCES)]
    zones = files(policy(
        defaults={"ttl": "1s", "on_empty": "nodata"},
        discover={name: {**source_of(name), "pool": f"p-{name}", "region": "eu-west"} for name in names},
        pool={f"p-{name}": {"steer": "weighted"} for name in names}, name={name: {"pool": f"p-{name}"} for name in names},
    ))
    sizes = lambda node: sorted({of["endpoints"] for of in node.status()["sources"]})
    with Node(dir, zones) as node:
        wait_until(lambda: sizes(node) == [EACH], 120, step=0.2)
        size = resident_octets(node.child.pid)
        empty, stop = [], threading.Event()

        def watch():
            while not stop.is_set():
                empty.extend(name for name in names if not node.addresses(f"{name}.svc.example."))
                time.sleep(0.005)

        watching = threading.Thread(target=watch)
        watching.start()
        begun = time.monotonic()
        for at in range(0, 90, 3):
            for name in names:
                change(name, range(at, at + 3))
            time.sleep(max(0, begun + at * SOURCES / 500 - time.monotonic()))
        sent = time.monotonic()
        wait_until(lambda: sizes(node) == [EACH - 30], 120, step=0.1)
        known = time.monotonic() - sent
        stop.set()
        watching.join()
        grown = resident_octets(node.child.pid) - size
        print(f"{90 * SOURCES} changes in {sent - begun:.2f} s, known {known:.2f} s later; {size >> 20} MiB, {grown >> 20} MiB more")
        assert empty == []
        # 200 MiB for ten thousand instances, and what the allocator has more for a moment.
        assert grown < (50 << 20) + SOURCES * (15 << 20), grown


def address(at):
    return f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"


def test_thousands_of_keys_change_and_no_answer_is_empty(dir, etcd):
    key = lambda name, at: f"/{name}/{name}-{at:05}"
    for nth in range(SOURCES):
        etcd.put_all([(key(f"w{nth}", at), f"{address(nth * EACH + at)}:80") for at in range(EACH)])

    def change(name, numbers):
        value = lambda at: None if at % 3 == 0 else f"{address(100_000 + int(name[1:]) * EACH + at)}:80"
        etcd.put_all([(key(name, at), value(at)) for at in numbers])

    source_of = lambda name: {"type": "etcd", "endpoints": [etcd.url], "prefix": f"/{name}/"}
    thousands(dir, source_of, change)
