"""A loss is simulated on a running server, and then caused; the answers are compared with the simulation."""
import json
from collections import Counter

from flood import flood
from portolan import MASTER, SETTINGS, Node, answers

REGIONS = SETTINGS.split("[regions", maxsplit=1)[0] + """
[clients]
default_region = "eu-west"

[regions.eu-west]
location = [53.34, -6.26]
nets = ["127.2.0.0/16"]

[regions.us-east]
location = [39.0, -77.5]
nets = ["127.1.0.0/16"]
"""

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
path = "/healthz"
interval = "200ms"
timeout = "150ms"
fall = 2
rise = 2

[endpoint.eu1]
addresses = ["192.0.2.1"]
region = "eu-west"
probe = "{eu1}"
monitor = "web"
weight = 3
capacity = 900

[endpoint.eu2]
addresses = ["192.0.2.2"]
region = "eu-west"
probe = "{eu2}"
monitor = "web"
capacity = 300

[endpoint.us1]
addresses = ["192.0.2.3"]
region = "us-east"
probe = "{us1}"
monitor = "web"
weight = 2

[endpoint.us2]
addresses = ["192.0.2.4"]
region = "us-east"
probe = "{us2}"
monitor = "web"
weight = 2

[pool.web]
members = ["eu1", "eu2", "us1", "us2"]

[pool.first]
members = ["us1", "us2", "eu2"]
steer = "failover"

[pool.near]
members = ["eu1", "us2"]
steer = "nearest"

[pool.us]
members = ["us1", "us2"]

[name.www]
pool = "web"

[name.db]
pool = "first"

[name.near]
pool = "near"

[name.local]
pool = "us"
on_empty = "nodata"
"""

NAMES = ("www", "db", "near", "local")
SUBNETS = ("127.2.3.0/24", "127.1.3.0/24")
ENDPOINTS = {"192.0.2.1": "eu1", "192.0.2.2": "eu2", "192.0.2.3": "us1", "192.0.2.4": "us2"}


def shares(node, count_each):
    """The share of each endpoint in the answers of all names and regions. An empty answer counts for no endpoint."""
    found = Counter()
    for name in NAMES:
        # Names that are answered by chance are queried often. The client has no effect on them.
        if name in ("www", "local"):
            counts = flood(node.udp, f"{name}.svc.example.", count_each) if node.addresses(f"{name}.svc.example.") else {}
            for address, count in counts.items():
                found[ENDPOINTS[address]] += count / count_each / len(NAMES)
            continue
        for subnet in SUBNETS:
            for address in answers(node.ask(f"{name}.svc.example.", subnet=subnet)):
                found[ENDPOINTS[address]] += 1 / len(SUBNETS) / len(NAMES)
    return found


def held_against(foretold, measured, key, figure):
    off = max(abs(row[key] - measured[row["endpoint"]]) for row in foretold["endpoints"])
    figure(f"share off what was foretold ({key})", off, "of all", 0.01)
    assert off <= 0.01, (foretold, measured)


def test_a_lost_region_has_the_simulated_effect(dir, endpoints, figure):
    started = {name: endpoints(name) for name in ENDPOINTS.values()}
    policy = POLICY.format(**{name: endpoint.at for name, endpoint in started.items()})
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}, settings=REGIONS) as node:
        result = node.command("simulate", "--lose", "region:us-east", "--qps", 1000, "--format", "json")
        assert result.returncode == 1, result.stderr
        foretold = json.loads(result.stdout)
        assert [row["endpoint"] for row in foretold["exceeded"]] == ["eu2"], foretold["exceeded"]
        assert {(row["name"], row["class"], row["on_empty"]) for row in foretold["empty"]} == {
            ("local", "eu-west", "nodata"), ("local", "us-east", "nodata"),
        }
        assert abs(sum(row["before"] for row in foretold["endpoints"]) - 1) < 1e-6
        assert abs(sum(row["after"] for row in foretold["endpoints"]) + foretold["nodata"]["after"] - 1) < 1e-6
        held_against(foretold, shares(node, 40_000), "before", figure)

        for name in ("us1", "us2"):
            started[name].kill()
        for name in ("us1", "us2"):
            node.wait_health(name, "down")
        measured = shares(node, 40_000)
        held_against(foretold, measured, "after", figure)
        assert node.addresses("local.svc.example.") == []

        now = json.loads(node.command("simulate", "--format", "json").stdout)
        assert now["exceeded"] == [] and now["qps"] is None
        for row, was_foretold in zip(now["endpoints"], foretold["endpoints"]):
            assert abs(row["before"] - was_foretold["after"]) < 1e-6, (row, was_foretold)
        assert all(row["already"] for row in now["empty"]) and len(now["empty"]) == 2


def test_another_policy_uses_the_measurements_of_the_server(dir, endpoints):
    started = {name: endpoints(name) for name in ENDPOINTS.values()}
    policy = POLICY.format(**{name: endpoint.at for name, endpoint in started.items()})
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}, settings=REGIONS) as node:
        started["us1"].kill()
        node.wait_health("us1", "down")
        next_zones = dir / "next"
        next_zones.mkdir()
        (next_zones / "svc.example.zone").write_text(MASTER)
        changed = policy.replace('members = ["us1", "us2", "eu2"]', 'members = ["us1", "eu1"]')
        (next_zones / "svc.example.policy.toml").write_text(changed)
        compare = ("simulate", "--policy", next_zones, "--config", node.settings, "--format", "json")
        row = lambda result, name: next(r for r in json.loads(result.stdout)["endpoints"] if r["endpoint"] == name)
        measured = node.command(*compare)
        assert measured.returncode == 0, measured.stderr
        assert row(measured, "us1")["after"] == 0, "it is down, and the server says so"
        assert abs(row(measured, "eu1")["after"] - row(measured, "eu1")["before"] - 1 / len(NAMES)) < 1e-6
