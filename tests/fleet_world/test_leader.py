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
    """The reply to a request of JetStream's API, with the rights of a server; nothing while there is no leader that replies."""
    region = REGIONS[0]
    with nats_client(fleet, region, region.server) as client:
        try:
            return json.loads(client.request(subject, content, bound=3)[1])
        except TimeoutError:
            return {}


def leader(fleet):
    return call(fleet, f"$JS.API.STREAM.INFO.{STORE}").get("cluster", {}).get("leader")


def is_moved_inside(fleet, server):
    """Whether this server leads the store; asks for that, as an operator does, where it does not."""
    if leader(fleet) == server:
        return True
    call(fleet, f"$JS.API.STREAM.LEADER.STEPDOWN.{STORE}", json.dumps({"placement": {"preferred": server}}).encode())
    return False


def test_the_store_of_leases_is_led_outside_the_region_of_the_active_endpoint(fleet):
    region, holder = wait_until(lambda: (found := active(fleet))[1] and found, 30)
    inside = in_region(region).nats
    wait_until(lambda: is_moved_inside(fleet, inside), 90, 0.3)
    # The holder looks every second, and moves the leader once in 10 s.
    led_by = wait_until(lambda: (led_by := leader(fleet)) not in (None, "", inside) and led_by, 60, 0.2)
    print(f"{region} has the active endpoint, {holder} the lease, {led_by} leads the store")
    assert all(fleet.knows_active(of.server) for of in REGIONS)
