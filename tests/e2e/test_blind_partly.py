"""A node that is cut off from two of three regions: their endpoints stay in the answers, and the third region is treated as
usual."""
import time

import pytest

from portolan import Node
from processes import wait_until
from regions import addresses_in, names_in, region_files, region_settings
from test_blind import vantage
from world import World

REGIONS = ("eu", "us", "ap")
NAMES = names_in(REGIONS)
ALL = addresses_in(REGIONS)


@pytest.mark.places
def test_an_endpoint_in_a_region_that_answers_goes_down_while_others_are_silent(dir, endpoints):
    with World("node", *REGIONS) as world:
        started = {}
        for at, name in enumerate(NAMES):
            place = world[name[:2]]
            started[name] = endpoints(name, host=place.host(10 + at), port=8080, place=place)
        probes = {name: endpoint.at for name, endpoint in started.items()}
        zones = region_files(probes, interval="300ms", timeout="200ms")
        with Node(dir, zones, region_settings(REGIONS), place=world["node"]) as node:
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
            # Only one of three regions is silent now, so it is down.
            wait_until(lambda: node.addresses("www.svc.example.") == [ALL[1], ALL[3]], 15)
