"""The databases determine where clients are, in both schemas; explain shows why; a database is replaced while served."""
import mmdb_writer
from netaddr import IPSet

from portolan import MASTER, Node, answers, scope
from processes import wait_until

SETTINGS = """
region = "eu"
[listen]
dns = ["127.0.0.1:0"]
http = "127.0.0.1:0"
[clients]
mmdb = ["country-v4.mmdb", "city-v6.mmdb", "asn.mmdb"]
[regions.eu]
location = [50.11, 8.68]
countries = ["DE", "NO"]
[regions.us]
location = [38.95, -77.45]
continents = ["NA"]
[regions.lab]
asns = [64500]
nets = ["203.0.113.0/24"]
"""

POLICY = """
zone = "svc.example."
[endpoint.eu]
addresses = ["192.0.2.1"]
[endpoint.us]
addresses = ["192.0.2.2"]
[endpoint.lab]
addresses = ["192.0.2.3"]
[endpoint.rest]
addresses = ["192.0.2.4"]
[pool.world]
steer = "geo"
members = [
  { to = "lab", when = { nets = ["203.0.113.0/24"], asns = [64500] } },
  { to = "eu", when = { countries = ["DE", "NO"] } },
  { to = "us", when = { continents = ["NA"] } },
  { to = "rest" },
]
[name.www]
pool = "world"
"""

ZONES = {"svc.example.zone": MASTER, "svc.example.policy.toml": POLICY}


def write(path, version, nets):
    """An MMDB file of (net, record), renamed into place as an update does."""
    writer = mmdb_writer.MMDBWriter(ip_version=version, database_type="Test", languages=["en"], description="test")
    for net, record in nets:
        writer.insert_network(IPSet([net]), record)
    new = path.with_suffix(".new")
    writer.to_db_file(str(new))
    new.rename(path)


def nested(country, continent):
    return {"country": {"iso_code": country}, "continent": {"code": continent}}


def databases(dir, of_first_net="DE"):
    dir.mkdir(parents=True, exist_ok=True)
    write(dir / "country-v4.mmdb", 4, [("10.0.0.0/9", nested(of_first_net, "EU")), ("10.128.0.0/9", nested("US", "NA"))])
    flat = {"country_code": "NO", "latitude": 59.91, "longitude": 10.75}
    write(dir / "city-v6.mmdb", 6, [("2001:db8::/34", flat), ("2001:db8:8000::/33", {**flat, "country_code": "CA"})])
    write(dir / "asn.mmdb", 4, [("10.1.0.0/16", {"autonomous_system_number": 64500, "autonomous_system_organization": "x"})])


def answer(node, subnet):
    reply = node.ask("www.svc.example.", subnet=subnet)
    return answers(reply)[0].rpartition(".")[2], scope(reply)[2]


def test_answers_scopes_and_reasons_follow_the_databases(dir):
    databases(dir / "node")
    with Node(dir, ZONES, SETTINGS) as node:
        assert answer(node, "10.9.9.0/24") == ("1", 13)
        assert answer(node, "10.1.2.0/24") == ("3", 16)
        assert answer(node, "10.200.0.0/24") == ("2", 9)
        assert answer(node, "203.0.113.0/24") == ("3", 24)
        assert answer(node, "11.0.0.0/24") == ("4", 8)
        assert answer(node, "2001:db8::/56") == ("1", 34)
        assert answer(node, "2001:db8:4000::/56") == ("4", 34)
        assert answer(node, "2001:db8:ffff::/56") == ("2", 33)
        why = {ip: node.json(f"/v1/explain?name=www.svc.example&client={ip}")["class_why"] for ip in
               ["10.9.9.9", "10.1.2.3", "203.0.113.9", "11.0.0.1"]}
        assert why["10.9.9.9"].startswith("by the country DE"), why
        assert why["10.1.2.3"].startswith("by AS64500 (databases: DE, EU, AS64500)"), why
        assert why["203.0.113.9"].startswith("by the net 203.0.113.0/24"), why
        assert why["11.0.0.1"].startswith("no region matches it"), why


def test_a_database_is_replaced_while_it_is_served(dir):
    databases(dir / "node")
    with Node(dir, ZONES, SETTINGS) as node:
        assert answer(node, "10.9.9.0/24")[0] == "1"
        databases(dir / "node", of_first_net="FR")
        node.hup()
        wait_until(lambda: answer(node, "10.9.9.0/24")[0] == "4", 10)
        (node.dir / "country-v4.mmdb").write_bytes(b"half a fi")
        node.hup()
        wait_until(lambda: node.status()["reload"]["ok"] is False, 10)
        assert "country-v4.mmdb" in str(node.status()["reload"]["problems"])
        assert answer(node, "10.9.9.0/24")[0] == "4", "what was served goes on"
