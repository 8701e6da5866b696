"""Zones share the room of a fleet: one that asks for too much loses checks of its own, and holds up no other."""
from fleet import VantageNode, settings, targets, wait_verdicts
from nats import NatsServer
from portolan import MASTER, Node, policy
from processes import wait_until


def small(endpoint, interval):
    return policy(
        defaults={"ttl": "5s", "on_empty": "nodata"},
        monitor={"web": {"type": "http", "interval": interval, "timeout": "200ms"}},
        endpoint={"a": {"addresses": [endpoint.host], "probe": endpoint.at, "monitor": "web"}},
        name={"www": {"pool": "a"}},
    )


def large(endpoints, octets):
    """A monitor with so many octets of headers, and so many endpoints."""
    headers = ", ".join(f'"X-{nth}" = "{"h" * (octets // 32)}"' for nth in range(32))
    monitor = f'[monitor.w]\ntype = "http"\ninterval = "3600s"\nheaders = {{ {headers} }}\n'
    at = [f"{nth >> 8}.{nth & 255}" for nth in range(1, endpoints + 1)]
    each = "".join(f'[endpoint.e{nth}]\naddresses = ["10.0.{ip}"]\nprobe = "127.9.{ip}:1"\nmonitor = "w"\n' for nth, ip in enumerate(at))
    return f'zone = "big.example."\n{monitor}{each}'


def test_a_zone_that_asks_for_too_much_takes_the_vantages_from_no_other(dir, endpoints):
    a = endpoints("a")
    both = {"ns1": "up", "fra1": "up"}
    files = {"svc.example.policy.toml": small(a, "200ms"), "svc.example.zone": MASTER}
    with NatsServer(dir) as nats, Node(dir, files, settings=settings(nats.url, "ns1", "eu-west"), name="ns1") as ns1:
        with VantageNode(dir, nats.url, "fra1", "eu-central") as fra1:
            wait_verdicts(ns1, "a", both)
            assert targets(ns1)["left_out_zones"] == []
            # 600 checks with 120 KB each.
            ns1.write("big.example.policy.toml", large(600, 120_000))
            ns1.write("big.example.zone", MASTER)
            ns1.hup()
            wait_until(lambda: [of["zone"] for of in targets(ns1)["left_out_zones"]] == ["big.example."], 60)
            left_out = targets(ns1)["left_out_zones"][0]
            assert 0 < left_out["checks"] < 600 and left_out["why"] == "too many octets of texts", left_out
            assert ns1.metric("portolan_fleet_left_out_checks", zone="big.example.") == left_out["checks"]
            # The others of it are probed, with the texts once for some dozens of checks.
            wait_until(lambda: targets(fra1)["checks"] == 601 - left_out["checks"], 60)
            assert targets(fra1)["refused"] == 0
            # A change of the small zone reaches the vantage.
            generation = ns1.metric("portolan_generation")
            ns1.write("svc.example.policy.toml", small(a, "250ms"))
            ns1.hup()
            wait_until(lambda: ns1.metric("portolan_generation") > generation, 60)
            wait_verdicts(ns1, "a", both)
            # It ends when the zone is small.
            ns1.write("big.example.policy.toml", large(600, 1000))
            ns1.hup()
            wait_until(lambda: targets(ns1)["left_out_zones"] == [] and targets(fra1)["checks"] == 601, 60)
    warnings = [line for line in ns1.child.err().splitlines() if "vantages do not probe all checks of a zone" in line]
    assert warnings and all("big.example." in line for line in warnings), ns1.child.err()
