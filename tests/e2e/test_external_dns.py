"""`portolan external-dns`: records of external-dns become steered names of a server that watches the same directory."""
import http.client
import json
from pathlib import Path

import pytest

from external_dns import MEDIA_TYPE, ExternalDns, Provider, record, request
from portolan import BASE, MASTER, Node, command, write_files
from processes import wait_until

SETTINGS = BASE + """
[regions.eu-west]
location = [53.34, -6.26]
[regions.us-east]
location = [40.71, -74.01]
"""
ZONE = ("--zone", "k8s.example")
FILES = {"k8s.example.zone": MASTER}
SOON = 20


@pytest.fixture
def settings(dir):
    return write_files(dir / "node", SETTINGS, FILES)


def policy(settings, zone="k8s.example"):
    return (settings.parent / "zones" / f"{zone}.policy.toml").read_text()


def is_valid(settings):
    checked = command("check", "--config", settings)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def waits(node, name, expected, rdtype="A"):
    wait_until(lambda: node.addresses(f"{name}.k8s.example.", rdtype) == expected, SOON)


def test_a_service_with_annotations_becomes_a_steered_name(dir, settings):
    with Provider(dir, settings, *ZONE) as provider, Node(dir, FILES, SETTINGS) as node:
        external = ExternalDns(provider.url)
        assert external.filter == ["k8s.example"]
        wanted = [
            record("WWW.k8s.example", "192.0.2.2", "192.0.2.1", ttl=200_000),
            record("www.k8s.example", "2001:DB8::1", type="AAAA"),
            record("db.k8s.example", "192.0.2.11", set="blue", order="1", region="eu-west"),
            record("db.k8s.example", "192.0.2.12", set="green", order="2", region="us-east"),
            record("k8s.example", "192.0.2.20", steer="weighted", weight="10"),
            record("*.app.k8s.example", "lb.example.net.", type="CNAME"),
        ]
        assert external.sync(wanted) == (6, 0, 0)
        is_valid(settings)
        waits(node, "www", ["192.0.2.1", "192.0.2.2"])
        waits(node, "www", ["2001:db8::1"], "AAAA")
        waits(node, "db", ["192.0.2.11"])
        waits(node, "x.app", ["lb.example.net."], "CNAME")
        assert node.addresses("k8s.example.") == ["192.0.2.20"]
        assert node.ask("www.k8s.example.").answer[0].ttl == 86_400
        assert not node.addresses("a-www.k8s.example.", "TXT"), "ownership is stored and not served"
        # Nothing is left to do, in this process and in the next one: otherwise external-dns would write for ever.
        assert external.sync(wanted) == (0, 0, 0)
        before, text = external.records(), policy(settings)
        assert len(before) == 12
        provider.child.end()
        provider.start()
        external.url = provider.url
        assert external.records() == before and policy(settings) == text
        assert external.sync(wanted) == (0, 0, 0)
        # An override by the name of an endpoint, which is that of its target.
        assert node.status()["zones"][0]["endpoints"]
        wanted[0]["targets"], wanted[2]["targets"] = ["192.0.2.3"], ["192.0.2.13"]
        assert external.sync(wanted[:4]) == (0, 2, 2)
        waits(node, "www", ["192.0.2.3"])
        waits(node, "db", ["192.0.2.13"])
        waits(node, "x.app", [], "CNAME")
        is_valid(settings)


def test_clusters_give_targets_for_one_name_and_see_only_their_own_records(dir, settings):
    clusters = ("--cluster", "eu=eu-west", "--cluster", "us=us-east")
    with Provider(dir, settings, *ZONE, *clusters) as provider, Node(dir, FILES, SETTINGS) as node:
        eu, us = (ExternalDns(f"{provider.url}/clusters/{name}", owner=name) for name in ("eu", "us"))
        www = lambda *targets, **more: [record("www.k8s.example", *targets, **more)]  # noqa: E731
        assert eu.sync(www("192.0.2.1")) == (1, 0, 0)
        assert us.sync(www("192.0.2.2")) == (1, 0, 0)
        assert [of["targets"] for of in eu.records() if of["recordType"] == "A"] == [["192.0.2.1"]]
        waits(node, "www", ["192.0.2.1", "192.0.2.2"])
        regions = {of["name"]: of["region"] for of in node.status()["zones"][0]["endpoints"]}
        assert regions == {"eu-192.0.2.1": "eu-west", "us-192.0.2.2": "us-east"}
        # All targets of the first cluster that is up.
        assert us.sync(www("192.0.2.2", "192.0.2.3", order="2")) == (0, 1, 0)
        waits(node, "www", ["192.0.2.2", "192.0.2.3"])
        assert eu.sync(www("192.0.2.1", order="1")) == (0, 1, 0)
        waits(node, "www", ["192.0.2.1"])
        is_valid(settings)
        assert eu.sync([]) == (0, 0, 1)
        waits(node, "www", ["192.0.2.2", "192.0.2.3"])
        for path in ("", "/clusters/asia"):
            status, _, text = request(provider.url + path + "/records")
            assert status == 404 and "/clusters/eu, /clusters/us" in text


def test_the_recipe_is_what_is_written_for_two_clusters(dir):
    recipes = Path(__file__).parents[2] / "zones/recipes"
    text = (recipes / "portolan.toml").read_text().replace('dir = "."', 'dir = "zones"')
    master = (recipes / "services.example.zone").read_text()
    settings = write_files(dir / "node", text, {"services.example.zone": master})
    with Provider(dir, settings, "--zone", "services.example", "--cluster", "eu=eu", "--cluster", "us=us") as provider:
        eu, us = (ExternalDns(f"{provider.url}/clusters/{name}", owner=name) for name in ("eu", "us"))
        monitor = {"monitor": "https:443/healthz"}
        eu.sync([
            record("shop.services.example", "198.51.100.10", "198.51.100.11", ttl=60, weight="70", **monitor),
            record("api.services.example", "198.51.100.10", order="1", **monitor),
        ])
        us.sync([
            record("shop.services.example", "203.0.113.10", ttl=60, weight="30", **monitor),
            record("api.services.example", "203.0.113.10", order="2", **monitor),
        ])
        assert policy(settings, "services.example") == (recipes / "services.example.policy.toml").read_text()


def test_a_wrong_annotation_changes_nothing_and_does_not_hold_up_others(dir, settings):
    health = ("--health", "127.0.0.1:0")
    with Provider(dir, settings, *ZONE, *health) as provider, Node(dir, FILES, SETTINGS) as node:
        external = ExternalDns(provider.url)
        good, api = record("www.k8s.example", "192.0.2.1"), record("api.k8s.example", "192.0.2.2")
        external.sync([good])
        waits(node, "www", ["192.0.2.1"])
        # `atlantis` and `ZZ` do not exist, which the check of the policy finds; the master file has ns1.
        for wrong in (
            record("www.k8s.example", "192.0.2.9", weight="many"),
            record("www.k8s.example", "192.0.2.9", region="atlantis"),
            record("www.k8s.example", "192.0.2.9", country="ZZ"),
        ):
            ours = external.adjust([wrong, api])
            assert [(of["dnsName"], of["targets"]) for of in ours] == [
                ("api.k8s.example", ["192.0.2.2"]), ("www.k8s.example", ["192.0.2.1"]),
            ], ours
            before, records = policy(settings), external.records()
            status, _, text = request(provider.url + "/records", {"create": [api], "updateNew": [wrong]})
            assert status == 400 and text, (status, text)
            assert policy(settings) == before and external.records() == records
        assert external.adjust([record("ns1.k8s.example", "lb.example.net", type="CNAME"), api]) == [
            of for of in ours if of["dnsName"] == "api.k8s.example"
        ]
        status, _, text = request(f"http://{provider.health}/healthz")
        assert status == 200 and text.startswith("ok: 2 records; left as they were: 1: ns1.k8s.example CNAME: "), text
        assert request(f"http://{provider.health}/records")[0] == 404
        assert external.sync([good, api]) == (1, 0, 0)
        waits(node, "api", ["192.0.2.2"])


@pytest.mark.parametrize("body, status, why", [
    ("{", 400, "expected changes"),
    ("[]", 400, "expected changes"),
    ('{"create": [{"dnsName": 1}]}', 400, "expected changes"),
    ('{"create": [{"dnsName": "www.other.example", "recordType": "A", "targets": ["192.0.2.1"]}]}', 400, "in none of the"),
    ('{"create": [{"dnsName": "www.k8s.example", "recordType": "MX", "targets": ["10 m."]}]}', 400, "type MX are not steered"),
    (json.dumps({"create": [record("k8s.example", "lb.example.net", type="CNAME")]}), 400, "the apex of a"),
    ('{"create":' + "[" * 100_000, 400, "expected changes"),
    (" " * ((32 << 20) + 1), 413, "over 33554432 octets"),
], ids=["no-json", "list", "number-as-name", "other-zone", "mx", "apex-cname", "deep", "long"])
def test_bad_input_is_refused_and_nothing_is_written(dir, settings, body, status, why):
    with Provider(dir, settings, *ZONE) as provider:
        before = policy(settings)
        found, _, text = request(provider.url + "/records", body)
        assert found == status and why in text, (found, text)
        assert policy(settings) == before and request(provider.url + "/records")[2] == "[]"


def test_requests_that_are_none_of_external_dns(dir, settings):
    with Provider(dir, settings, *ZONE) as provider:
        for path, options, status in [
            ("/records", {"body": "{}", "headers": {"Content-Type": "text/plain"}}, 415),
            ("/records", {"body": "{}", "headers": {"Origin": "http://evil.example"}}, 403),
            ("/records", {"method": "DELETE"}, 405),
            ("/adjustendpoints", {}, 405),
            ("/else", {}, 404),
            ("/clusters/x/records", {}, 404),
            ("/healthz", {}, 200),
        ]:
            assert request(provider.url + path, **options)[0] == status, path
        # Versions before 0.14 send no content-type.
        connection = http.client.HTTPConnection(provider.url.removeprefix("http://"), timeout=10)
        connection.request("POST", "/adjustendpoints", b"[]")
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Content-Type"], reply.read()) == (200, MEDIA_TYPE, b"[]")


def test_files_of_somebody_else_are_not_overwritten(dir, settings):
    file = settings.parent / "zones" / "k8s.example.policy.toml"
    file.write_text('zone = "k8s.example."\n')
    refused = command("external-dns", "--config", settings, *ZONE, "--listen", "127.0.0.1:0")
    assert refused.returncode == 1 and "was not written by `portolan external-dns`" in refused.stderr, refused.stderr
    assert file.read_text() == 'zone = "k8s.example."\n'
    file.unlink()
    with Provider(dir, settings, *ZONE) as provider:
        external = ExternalDns(provider.url)
        file.write_text("# mine\n")
        changes = {"create": [record("www.k8s.example", "192.0.2.1")]}
        status, _, text = request(provider.url + "/records", changes)
        assert status == 503 and "is not overwritten" in text, (status, text)
        assert file.read_text() == "# mine\n" and external.records() == []
        file.unlink()
        assert request(provider.url + "/records", changes)[0] == 204
        assert "www-pool" in file.read_text()
        other = command("external-dns", "--config", settings, *ZONE, "--listen", "127.0.0.1:0")
        assert other.returncode == 1 and "another `portolan external-dns` writes to" in other.stderr, other.stderr


def test_options_that_are_wrong_are_named(dir, settings):
    def refusal(*argv, listen="127.0.0.1:0"):
        refused = command("external-dns", "--config", settings, "--listen", listen, *argv)
        assert refused.returncode == 1, refused
        return refused.stderr

    assert "k8s2.example.zone" in refusal("--zone", "k8s2.example"), "a zone needs a master file"
    assert "expected each zone once" in refusal(*ZONE, *ZONE)
    assert "--cluster eu=: expected" in refusal(*ZONE, "--cluster", "eu=")
    assert "give --token-file" in refusal(*ZONE, listen="0.0.0.0:0")
    tokens = dir / "tokens"
    for text, why in [("eu x", ":1: there is no such cluster"), ("default short", ":1: the secret is shorter"), ("x", ":1: ")]:
        tokens.write_text(text)
        assert f"{tokens}{why}" in refusal(*ZONE, "--token-file", tokens)


def test_a_secret_of_the_url_is_needed_where_there_is_a_file_of_them(dir, settings):
    (dir / "tokens").write_text("# of two clusters\neu 0123456789abcdef\ndefault fedcba9876543210\n")
    argv = (*ZONE, "--cluster", "eu", "--cluster", "default", "--token-file", dir / "tokens")
    with Provider(dir, settings, *argv) as provider:
        host = provider.url.removeprefix("http://")
        assert request(f"{provider.url}/records")[0] == 401
        assert request(f"http://eu:fedcba9876543210@{host}/clusters/eu/records")[0] == 401
        assert request(f"http://eu:0123456789abcdef@{host}/records")[0] == 401
        assert request(f"http://eu:0123456789abcdef@{host}/clusters/eu/records")[0] == 200
        assert request(f"http://default:fedcba9876543210@{host}/records")[0] == 200
        assert request(f"{provider.url}/healthz")[0] == 200
