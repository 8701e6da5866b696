"""The server of NATS that leads the store of leases is not in the region of the active endpoint: what is lost with a region
must not be needed to promote another one."""
import json

from liar import nats_client
from parts import REGION_OF, REGIONS
from processes import wait_until

STORE = "KV_portolan_prod_leases"


def active(fleet):
    """The region of the active endpoint, and the server that holds the lease."""
    lease = next(of for zone in fleet.status("ns1")["zones"] for of in zone.get("exclusive", []))
    return REGION_OF[lease["endpoint"]], lease.get("holder")


def in_region(name):
    return next(region for region in REGIONS if region.name == name)


def call(fleet, subject, content=b""):
    """The reply to a request of JetStream's API, with the rights of a server."""
    region = REGIONS[0]
    with nats_client(fleet, region, region.server) as client:
        return json.loads(client.request(subject, content)[1])


def leader(fleet):
    return call(fleet, f"$JS.API.STREAM.INFO.{STORE}").get("cluster", {}).get("leader")


def test_the_store_of_leases_is_led_outside_the_region_of_the_active_endpoint(fleet):
    region, holder = wait_until(lambda: (found := active(fleet))[1] and found, 30)
    inside = in_region(region).nats
    # As after an election, or by an operator.
    asked = call(fleet, f"$JS.API.STREAM.LEADER.STEPDOWN.{STORE}", json.dumps({"placement": {"preferred": inside}}).encode())
    assert "error" not in asked or leader(fleet) == inside, asked
    wait_until(lambda: leader(fleet) == inside, 30, 0.1)
    # The holder looks every second, and moves the leader once in 10 s.
    led_by = wait_until(lambda: (led_by := leader(fleet)) not in (None, "", inside) and led_by, 60, 0.2)
    print(f"{region} has the active endpoint, {holder} the lease, {led_by} leads the store")
    assert all(fleet.knows_active(of.server) for of in REGIONS)
