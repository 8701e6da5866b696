"""Consul as a source: instances that register, fail their checks and go, and what happens when Consul is away."""
import pytest

from consul import Consul, entry
from portolan import Node
from processes import wait_until
from test_etcd import SOON, address, listener, report, ten_thousand, waits, www, zone  # noqa: F401


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
    for at, own in enumerate(four):
        consul.register(f"web-{at}", own, 80)
    with Node(dir, zone(source(consul))) as node:
        waits(node, four)
        consul.kill()
        wait_until(lambda: report(node)["state"] == "away", SOON)
        assert www(node) == four and "connection refused" in report(node)["problem"], report(node)
        consul.start()
        consul.forget()
        wait_until(lambda: report(node)["state"] == "kept", SOON)
        assert www(node) == four and "min_keep" in report(node)["problem"], report(node)
        for at, own in enumerate(four[:3] + ["192.0.2.9"]):
            consul.register(f"web-{at}", own, 80)
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
    count = 10_000
    service = lambda name, at: {
        "ID": f"{name}-{at:05}", "Name": name, "Address": address(at), "Port": 80, "Check": {"Status": "passing"}}
    consul.store.change(lambda services: [services.update(entry(service("all", at))) for at in range(count)])
    consul.store.change(lambda services: [services.update(entry(service("web", at + 50_000))) for at in range(600)])

    def change(numbers):
        for at in numbers:
            name, n = ("web", at + 50_000) if at < 300 else ("all", at)
            gone = at % 3 == 0
            new = entry({**service(name, n), "Address": address(n + 20_000)})
            consul.store.change(lambda services: services.pop(f"{name}-{n:05}") if gone else services.update(new))

    ten_thousand(source(consul), dir, count, change, (500, count - 400))
