"""A node whose own link is cut, compared with a world that fails: in the first case the answers stay, in the second they
follow."""
import time

import pytest

from portolan import Node
from processes import wait_until
from regions import addresses_in, names_in, region_files, region_settings
from world import World

REGIONS = ("eu", "us")
NAMES = names_in(REGIONS)
ALL = addresses_in(REGIONS)
UP = dict.fromkeys(NAMES, "up")


def files(world, endpoints):
    """Starts the endpoints in their regions; returns the files of the zone."""
    started = {}
    for at, name in enumerate(NAMES):
        place = world[name[:2]]
        started[name] = endpoints(name, host=place.host(10 + at), port=8080, place=place).at
    return region_files(started, interval="300ms", timeout="200ms")


def vantage(node):
    [found] = node.status()["vantages"]
    return found


def cut(world, on=True):
    for region in REGIONS:
        world.cut("node", region, on=on)


def healths(node):
    return {name: node.health(name) for name in NAMES}


@pytest.mark.places
def test_a_vantage_whose_link_is_cut_withdraws_nothing(dir, endpoints):
    with World("node", *REGIONS) as world:
        with Node(dir, files(world, endpoints), region_settings(REGIONS), place=world["node"]) as node:
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

            # While the node was blind, one endpoint died.
            world.mute(world["eu"].host(10))
            cut(world, on=False)
            wait_until(lambda: vantage(node)["state"] == "up", 15)
            node.wait_health("eu1", "down")
            assert healths(node) == {**UP, "eu1": "down"}
            for name in NAMES[1:]:
                assert node.metric("portolan_transitions_total", endpoint=name, to="down") == 0, name
            assert node.metric("portolan_vantage_up", vantage="ns1") == 1
            assert "blind" in node.child.err() and "sees again" in node.child.err(), "both are in the log"


@pytest.mark.places
def test_one_region_that_is_cut_off_is_down(dir, endpoints):
    with World("node", *REGIONS) as world:
        with Node(dir, files(world, endpoints), region_settings(REGIONS), place=world["node"]) as node:
            world.cut("node", "us")
            wait_until(lambda: node.addresses("www.svc.example.") == ALL[:2], 15)
            assert vantage(node)["state"] == "up"


@pytest.mark.places
def test_a_control_target_shows_whether_the_world_or_the_link_fails(dir, endpoints):
    """With a control target that answers, the regions have failed. With one that is silent too, the link has failed."""
    with World("node", *REGIONS, "control") as world:
        control = endpoints("control", host=world["control"].host(1), port=8080, place=world["control"])
        with Node(dir, files(world, endpoints), region_settings(REGIONS, control.at), place=world["node"]) as node:
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
            # The link works again, but the regions do not answer.
            world.heal("node", "control")
            wait_until(lambda: set(healths(node).values()) == {"down"}, 15)
            assert vantage(node)["state"] == "up"
