"""Consul as a source: instances that register, fail their checks and go, and what happens when Consul is away."""
import pytest

from consul import Consul, entry
from portolan import Node
from processes import wait_until
from test_etcd import EACH, SOON, SOURCES, address, listener, report, thousands, waits, www, zone  # noqa: F401


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
        wait_until(lambda: report(node)["state"] == "away" and "connection refused" in report(node)["problem"], SOON)
        assert www(node) == four
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
        wait_until(lambda: "atlantis" in (report(node)["problem"] or ""), SOON)
        consul.store.denied = True
        consul.kill()
        consul.start()
        wait_until(lambda: report(node)["state"] == "bad", SOON)
        assert "give it service:read for `web` and node:read" in report(node)["problem"], report(node)


def test_thousands_of_instances_change_and_no_answer_is_empty(dir, consul):
    if consul.real:
        pytest.skip("an agent takes minutes for so many registrations")

    def service(name, at, host):
        check = {"Status": "passing"}
        return entry({"ID": f"{name}-{at:05}", "Name": name, "Address": address(host), "Port": 80, "Check": check})

    for nth in range(SOURCES):
        new = [service(f"w{nth}", at, nth * EACH + at) for at in range(EACH)]
        consul.store.change(f"w{nth}", lambda services: [services.update(of) for of in new])

    def change(name, numbers):
        for at in numbers:
            new = service(name, at, 100_000 + int(name[1:]) * EACH + at)
            consul.store.change(name, lambda services: services.pop(*new) if at % 3 == 0 else services.update(new))

    thousands(dir, lambda name: {"type": "consul", "address": consul.url, "service": name}, change)
