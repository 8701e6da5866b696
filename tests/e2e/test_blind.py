"""A node whose own link is cut, beside a world that fails: the answers stay in the one case and follow in the other."""
import time

import pytest

from portolan import MASTER, SETTINGS, Node
from processes import wait_until
from world import World

REGIONS = ("eu", "us")

HEAD = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
path = "/healthz"
interval = "300ms"
timeout = "200ms"
"""

ENDPOINT = """
[endpoint.{name}]
addresses = ["192.0.2.{nth}"]
region = "{region}"
probe = "{at}"
monitor = "web"
"""

TAIL = """
[pool.web]
members = {names}
steer = "all"

[name.www]
pool = "web"
"""

NAMES = [f"{region}{nth}" for region in REGIONS for nth in (1, 2)]


def settings(control=None):
    """Two regions beside the node's own, and perhaps a control target."""
    told = SETTINGS + "".join(f"\n[regions.{region}]\nlocation = [0, 0]\n" for region in REGIONS)
    return told + (f'\n[vantage]\ncontrol = ["{control}"]\n' if control else "")


def files(world, endpoints):
    """Two endpoints in each of two regions."""
    policy = HEAD
    for at, name in enumerate(NAMES):
        region = name[:2]
        endpoint = endpoints(name, host=world[region].host(10 + at), port=8080, place=world[region])
        policy += ENDPOINT.format(name=name, nth=at + 1, region=region, at=endpoint.at)
    names = "[" + ", ".join(f'"{name}"' for name in NAMES) + "]"
    return {"svc.example.policy.toml": policy + TAIL.format(names=names), "svc.example.zone": MASTER}


def vantage(node):
    [found] = node.status()["vantages"]
    return found


def cut(world, on=True):
    for region in REGIONS:
        world.cut("node", region, on=on)


def healths(node):
    return {name: node.health(name) for name in NAMES}


ALL = [f"192.0.2.{nth + 1}" for nth in range(len(NAMES))]
UP = dict.fromkeys(NAMES, "up")


@pytest.mark.places
def test_a_vantage_whose_link_is_cut_withdraws_nothing(dir, endpoints):
    with World("node", *REGIONS) as world:
        with Node(dir, files(world, endpoints), settings(), place=world["node"]) as node:
            assert healths(node) == UP and vantage(node)["state"] == "up"
            cut(world)
            wait_until(lambda: vantage(node)["state"] == "blind", 15)
            assert "2 of 2 regions" in vantage(node)["why"]
            assert node.metric("portolan_vantage_up", vantage="ns1") == 0
            assert node.metric("portolan_vantage_blind", vantage="ns1") == 1
            shown = node.command("status")
            assert "ns1 is blind" in shown.stdout, shown.stdout
            until = time.time() + 3
            while time.time() < until:
                assert node.addresses("www.svc.example.") == ALL, "no endpoint is withdrawn"
                time.sleep(0.05)
            assert healths(node) == UP

            # While it could not look, one endpoint went for good.
            world.mute(world["eu"].host(10))
            cut(world, on=False)
            wait_until(lambda: vantage(node)["state"] == "up", 15)
            node.wait_health("eu1", "down")
            assert healths(node) == {**UP, "eu1": "down"}
            for name in NAMES[1:]:
                assert node.metric("portolan_transitions_total", endpoint=name, to="down") == 0, name
            assert node.metric("portolan_vantage_up", vantage="ns1") == 1
            assert "blind" in node.child.err() and "sees again" in node.child.err(), "it is in the log"


@pytest.mark.places
def test_one_region_that_is_cut_off_is_down(dir, endpoints):
    with World("node", *REGIONS) as world:
        with Node(dir, files(world, endpoints), settings(), place=world["node"]) as node:
            world.cut("node", "us")
            wait_until(lambda: node.addresses("www.svc.example.") == ALL[:2], 15)
            assert vantage(node)["state"] == "up"


@pytest.mark.places
def test_a_control_target_tells_the_world_from_the_link(dir, endpoints):
    """The same silence: with a control target that answers it is the world's, and with one that fails it is ours."""
    with World("node", *REGIONS, "control") as world:
        control = endpoints("control", host=world["control"].host(1), port=8080, place=world["control"])
        with Node(dir, files(world, endpoints), settings(control.at), place=world["node"]) as node:
            cut(world)
            wait_until(lambda: set(healths(node).values()) == {"down"}, 15)
            assert vantage(node)["state"] == "up"
            cut(world, on=False)
            wait_until(lambda: healths(node) == UP, 15)
            cut(world)
            world.cut("node", "control")
            wait_until(lambda: vantage(node)["state"] == "blind", 15)
            assert "1 of 1 control targets" in vantage(node)["why"]
            assert node.addresses("www.svc.example.") == ALL
            # The link is back, and the world is not.
            world.heal("node", "control")
            wait_until(lambda: set(healths(node).values()) == {"down"}, 15)
            assert vantage(node)["state"] == "up"
