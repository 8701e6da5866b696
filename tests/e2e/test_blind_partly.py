"""A node that is cut off from two of three regions: these stay in the answers, and the third is judged as ever."""
import time

import pytest

from portolan import MASTER, SETTINGS, Node
from processes import wait_until
from test_blind import ENDPOINT, HEAD, TAIL, vantage
from world import World

REGIONS = ("eu", "us", "ap")
NAMES = [f"{region}{nth}" for region in REGIONS for nth in (1, 2)]
ALL = [f"192.0.2.{nth + 1}" for nth in range(len(NAMES))]


@pytest.mark.places
def test_what_fails_in_a_region_that_answers_leaves_though_others_are_silent(dir, endpoints):
    with World("node", *REGIONS) as world:
        policy, started = HEAD, {}
        for at, name in enumerate(NAMES):
            place = world[name[:2]]
            started[name] = endpoints(name, host=place.host(10 + at), port=8080, place=place)
            policy += ENDPOINT.format(name=name, nth=at + 1, region=name[:2], at=started[name].at)
        names = "[" + ", ".join(f'"{name}"' for name in NAMES) + "]"
        zones = {"svc.example.policy.toml": policy + TAIL.format(names=names), "svc.example.zone": MASTER}
        settings = SETTINGS + "".join(f"\n[regions.{region}]\nlocation = [0, 0]\n" for region in REGIONS)
        with Node(dir, zones, settings, place=world["node"]) as node:
            assert node.addresses("www.svc.example.") == ALL
            for region in REGIONS[1:]:
                world.cut("node", region)
            wait_until(lambda: vantage(node)["state"] == "blind", 15)
            assert "2 of 3 regions" in vantage(node)["why"]
            started["eu1"].kill()
            wait_until(lambda: node.addresses("www.svc.example.") == ALL[1:], 10)
            until = time.time() + 1
            while time.time() < until:
                assert node.addresses("www.svc.example.") == ALL[1:], "nothing else is withdrawn"
                time.sleep(0.05)
            # A process dies behind the cut. The first answer from its region shows it.
            started["us1"].kill()
            world.cut("node", "us", on=False)
            wait_until(lambda: vantage(node)["state"] == "up", 15)
            # One region of three is silent now, so that it is down.
            wait_until(lambda: node.addresses("www.svc.example.") == [ALL[1], ALL[3]], 15)
