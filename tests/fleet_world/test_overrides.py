"""A command of an operator at one server is in force on the servers of all regions."""
import time

import pytest

from clients import ask_at
from parts import REGIONS, addresses_in
from processes import wait_until

# What is promised; twice as long on a machine that runs all three regions.
ON_ALL = 1.0


def named(fleet, name):
    """Whether each server names an endpoint of this region in `all`."""
    return [bool(set(ask_at(fleet, region.name, "all")) & addresses_in(name)) for region in REGIONS]


def test_a_drain_is_in_force_everywhere(fleet, figure):
    try:
        for method, body, expected in (("PUT", {"state": "drain", "why": "kernel", "confirm": True}, False), ("DELETE", None, True)):
            path = "/v1/overrides/region:us-east"
            fleet.get("ns1", path, method, body)
            began = time.monotonic()
            wait_until(lambda: named(fleet, "us-east") == [expected] * 3, 10, 0.02)
            took = time.monotonic() - began
            figure(f"{method} of an override on all servers after", took, "s", ON_ALL)
            assert took < 2 * ON_ALL
    finally:
        wait_until(lambda: all(named(fleet, "us-east")), 30)


@pytest.mark.full
def test_a_drain_outlives_the_restart_of_everything(fleet):
    fleet.get("ns2", "/v1/overrides/region:us-east", "PUT", {"state": "drain", "why": "kernel", "confirm": True})
    try:
        wait_until(lambda: not any(named(fleet, "us-east")), 10)
        names = [name for region in REGIONS for name in (region.nats, region.server, region.vantage)]
        for name in names:
            fleet.parts[name].kill()
        for name in names:
            fleet.parts[name].start(wait=False)
        fleet.wait_ready(300)
        assert named(fleet, "us-east") == [False] * 3
    finally:
        fleet.get("ns3", "/v1/overrides/region:us-east", "DELETE")
        wait_until(lambda: all(named(fleet, "us-east")), 30)
