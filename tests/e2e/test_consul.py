"""Consul as a source: instances that register, fail their checks and go, and what happens when Consul is away."""
import threading
import time

import pytest

from consul import Consul, entry
from portolan import Node
from processes import resident_octets, wait_until
from test_etcd import SOON, listener, report, waits, www, zone  # noqa: F401


@pytest.fixture
def consul(dir):
    with Consul(dir) as consul:
        yield consul


def source(consul, **more):
    return {"type": "consul", "address": consul.url, "service": "web", "pool": "web", "region": "eu-west", **more}


def test_an_instance_is_served_while_its_check_and_its_probe_succeed(dir, consul, listener):
    consul.register("web-1", "127.0.0.11", listener)
    with Node(dir, zone(source(consul), listener)) as node:
        waits(node, ["127.0.0.11"])
        consul.register("web-2", "127.0.0.12", listener, status="critical")
        wait_until(lambda: report(node)["endpoints"] == 2, SOON)
        assert www(node) == ["127.0.0.11"]
        consul.check("web-2", "pass")
        came = waits(node, ["127.0.0.11", "127.0.0.12"])
        consul.check("web-2", "fail")
        failed = waits(node, ["127.0.0.11"])
        consul.check("web-2", "warn")
        waits(node, ["127.0.0.11", "127.0.0.12"])
        consul.deregister("web-1")
        went = waits(node, ["127.0.0.12"])
        print(f"served after {came:.3f} s, out after {failed:.3f} s, gone after {went:.3f} s")
        # The id is only the name of the service, and the address that of the node.
        consul.register("web", "", listener)
        waits(node, ["127.0.0.1", "127.0.0.12"])
        assert node.health("web-n1") == "up"


def test_consul_is_killed_and_forgets_everything_and_no_answer_is_empty(dir, consul):
    four = [f"192.0.2.{at}" for at in range(1, 5)]
    for at, address in enumerate(four):
        consul.register(f"web-{at}", address, 80)
    with Node(dir, zone(source(consul))) as node:
        waits(node, four)
        consul.kill()
        wait_until(lambda: report(node)["state"] == "away", SOON)
        assert www(node) == four and "connection refused" in report(node)["problem"], report(node)
        consul.start()
        consul.forget()
        wait_until(lambda: report(node)["state"] == "kept", SOON)
        assert www(node) == four and "min_keep" in report(node)["problem"], report(node)
        for at, address in enumerate(four[:3] + ["192.0.2.9"]):
            consul.register(f"web-{at}", address, 80)
        waits(node, four[:3] + ["192.0.2.9"])
        wait_until(lambda: report(node)["state"] == "ok", SOON)


def test_a_refusal_is_in_the_status_with_what_to_do(dir, consul):
    if consul.real:
        pytest.skip("an agent without ACLs refuses nothing")
    consul.register("web-1", "192.0.2.1", 80, Meta={"region": "atlantis"})
    with Node(dir, zone({**source(consul), "region": {"meta": "region"}})) as node:
        problem = wait_until(lambda: report(node)["problem"], SOON)
        assert "atlantis" in problem, problem
        consul.store.denied = True
        consul.kill()
        consul.start()
        wait_until(lambda: report(node)["state"] == "bad", SOON)
        assert "give it service:read for `web` and node:read" in report(node)["problem"], report(node)


def test_ten_thousand_instances_change_and_no_answer_is_empty(dir, consul):
    if consul.real:
        pytest.skip("an agent takes minutes for so many registrations")
    count, changes = 10_000, 1500
    address = lambda at: f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"
    service = lambda at: {"ID": f"i{at:05}", "Name": "web", "Address": address(at), "Port": 80, "Check": {"Status": "passing"}}

    def fill(services):
        for at in range(count):
            services.update(entry(service(at)))

    consul.store.change(fill)
    with Node(dir, zone(source(consul, max=count + changes), pool={"web": {"steer": "weighted"}})) as node:
        wait_until(lambda: report(node)["endpoints"] == count, 60, step=0.2)
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
        for at in range(changes):
            gone = at % 2 == 0
            consul.store.change(lambda services: services.pop(f"i{at:05}") if gone else services.update(entry(service(at + count))))
            time.sleep(max(0, begun + at / 500 - time.monotonic()))
        sent = time.monotonic()
        wait_until(lambda: report(node)["endpoints"] == count, 60, step=0.1)
        known = time.monotonic() - sent
        stop.set()
        watching.join()
        grown = resident_octets(node.child.pid) - size
        print(f"{changes} changes in {sent - begun:.2f} s, known {known:.2f} s later; {size >> 20} MiB, {grown >> 20} MiB more")
        assert empty == []
        assert grown < 200 << 20, grown
