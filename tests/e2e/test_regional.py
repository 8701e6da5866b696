"""The regional view: vantages of one region that cannot reach an endpoint which all others reach, over real networks."""
import pytest

from fleet import VantageNode, settings, wait_verdicts
from nats import NatsServer
from portolan import MASTER, Node, answers, policy
from processes import wait_until
from world import World

NETS = {"eu-west": "203.0.113.0/24", "eu-central": "192.0.2.0/24", "us-east": "198.51.100.0/24"}
PORT = 8080


def with_nets(text):
    """The settings of a node, with a net of clients for each region."""
    for region, net in NETS.items():
        text = text.replace(f"[regions.{region}]\n", f'[regions.{region}]\nnets = ["{net}"]\n')
    return text


def zone(world):
    """The name www fails over from us1 to hub1 and eu1; each endpoint is in another place."""
    at = {"us1": (world["us"], "us-east"), "hub1": (world["hub"], "eu-west"), "eu1": (world["eu"], "eu-central")}
    endpoint = {
        name: {"addresses": [place.host(10)], "probe": f"{place.host(10)}:{PORT}", "monitor": "web", "region": region}
        for name, (place, region) in at.items()
    }
    text = policy(
        defaults={"ttl": "5s", "on_empty": "nodata"},
        monitor={"web": {"type": "http", "interval": "300ms", "timeout": "250ms"}},
        endpoint=endpoint, pool={"sites": {"members": list(at), "steer": "failover"}}, name={"www": {"pool": "sites"}},
    )
    return {"svc.example.policy.toml": text, "svc.example.zone": MASTER}


def scope_of(reply):
    return next(option.scopelen for option in reply.options if option.otype == 8)


@pytest.mark.places
def test_only_the_clients_of_a_region_move_whose_vantages_do_not_reach_an_endpoint(dir, endpoints):
    with World("hub", "eu", "us") as world:
        hub = world["hub"]
        for name, place in (("us1", world["us"]), ("hub1", hub), ("eu1", world["eu"])):
            endpoints(name, host=place.host(10), port=PORT, place=place)
        us1, hub1 = world["us"].host(10), hub.host(10)
        with NatsServer(dir, place=hub, host=hub.ip, port=4222) as nats:
            of_ns1 = with_nets(settings(nats.url, "ns1", "eu-west"))
            places = {"fra8": ("eu-central", world["eu"]), "fra9": ("eu-central", world["eu"]), "nyc1": ("us-east", world["us"])}
            with Node(dir, zone(world), settings=of_ns1, name="ns1", place=hub) as ns1:
                started = [VantageNode(dir, nats.url, name, region, place=at) for name, (region, at) in places.items()]
                try:
                    moves_and_returns(world, ns1, us1, hub1)
                finally:
                    for vantage in started:
                        vantage.child.end()


def moves_and_returns(world, ns1, us1, hub1):
    vantages = ["ns1", "fra8", "fra9", "nyc1"]

    def seen(region):
        """What the clients of a region get, and the scope."""
        reply = ns1.ask("www.svc.example.", subnet=NETS[region])
        return answers(reply), scope_of(reply)

    def unreachable():
        return ns1.metric("portolan_region_unreachable", region="eu-central", endpoint="us1") or 0

    for endpoint in ("us1", "hub1", "eu1"):
        wait_verdicts(ns1, endpoint, {name: "up" for name in vantages})
    assert [seen(region) for region in NETS] == [([us1], 0)] * 3 and unreachable() == 0

    world.cut("eu", "us")

    def has_moved():
        # The clients of all others stay, at every moment.
        assert seen("eu-west")[0] == seen("us-east")[0] == [us1]
        return seen("eu-central")[0] == [hub1]

    wait_until(has_moved, 60, 0.05)
    # The scope distinguishes this region from the rest, and nothing else: 192.0.2.0/24 is not in 198.0.0.0/6 and 200.0.0.0/5.
    assert [seen(region) for region in NETS] == [([us1], 5), ([hub1], 24), ([us1], 6)]
    assert ns1.health("us1") == "up" and unreachable() == 1
    wait_verdicts(ns1, "us1", {"ns1": "up", "fra8": "down", "fra9": "down", "nyc1": "up"})
    explained = ns1.command("explain", "www.svc.example.", "--client", "192.0.2.1").stdout
    assert "us1: up, but most vantages of eu-central can't reach it" in explained and "scope     /24" in explained, explained
    elsewhere = ns1.command("explain", "www.svc.example.", "--client", "198.51.100.1").stdout
    assert "can't reach" not in elsewhere and "scope     /6: " in elsewhere, elsewhere
    assert "out of reach for eu-central" in ns1.command("status").stdout

    world.heal("eu", "us")
    wait_until(lambda: [seen(region) for region in NETS] == [([us1], 0)] * 3, 60)
    assert unreachable() == 0
    assert 'to="down"' not in ns1.child.err(), ns1.child.err()
