"""Who may use the API: hosts, roles and scopes of tokens, wrong tokens, and calls without one."""
import http.client
import json
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from portolan import Node, SETTINGS, files
from test_heartbeat import POLICY as BEATS
from test_operator import ALICE, FILE, MASTER, POLICY

FRA1, CAROL, OTHER = "1" * 32, "c" * 32, "d" * 32
TOKENS = (
    f"alice operate {ALICE}\nfra1 beat:fra1 {FRA1}\ncarol operate:svc.example {CAROL}\nother operate:other.example {OTHER}\n"
)
ZONES = {
    FILE: POLICY,
    "svc.example.zone": MASTER,
    "other.example.policy.toml": POLICY.replace("svc.example.", "other.example.").replace("nyc", "ord"),
    "other.example.zone": MASTER,
}
DRAIN = {"state": "drain", "why": "test"}


def start(dir, zones=ZONES, settings=SETTINGS):
    (dir / "node").mkdir()
    tokens = dir / "node" / "tokens"
    tokens.touch(0o600)
    tokens.write_text(TOKENS)
    return Node(dir, zones, settings=settings)


def call(node, method, path, host=None, token=None, body=None, headers={}):
    """Status, headers and body of the response; `host` replaces the Host field."""
    connection = http.client.HTTPConnection(*node.http, timeout=20)
    connection.putrequest(method, path, skip_host=host is not None)
    for value in host if isinstance(host, list) else [host] if host is not None else []:
        connection.putheader("Host", value)
    text = json.dumps(body).encode() if body is not None else b""
    more = {"Authorization": f"Bearer {token}"} if token else {}
    for name, value in {"Content-Length": str(len(text)), **more, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(text)
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()


def test_a_page_of_another_site_can_neither_read_nor_reload(dir):
    settings = SETTINGS + '\n[api]\nhosts = ["gslb.corp.example"]\n'
    with start(dir, settings=settings) as node:
        evil = {"Origin": f"http://evil.example:{node.http[1]}"}
        for method, path in [("GET", "/v1/status"), ("GET", "/"), ("GET", "/metrics"), ("POST", "/v1/reload")]:
            status, headers, body = call(node, method, path, host=f"evil.example:{node.http[1]}", headers=evil)
            assert status == 421 and headers["content-type"] == "application/problem+json", (path, status, body)
            assert "[api] hosts" in json.loads(body)["detail"], body
        assert node.metric("portolan_reloads_total") == 0, "nothing was loaded again"
        for host in ["localhost", "127.0.0.1:1", "[::1]:8053", "portolan:8053", "NS1", "gslb.corp.example.:80"]:
            assert call(node, "GET", "/v1/status", host=host)[0] == 200, host
        for host in [[], ["a", "a"], ["a b"]]:
            assert call(node, "GET", "/v1/status", host=host)[0] == 400, host
        assert call(node, "GET", "/healthz", host="evil.example")[0] == 200
        assert node.metric("portolan_api_refused_total", reason="host") >= 7


def test_a_reload_accepts_a_new_name(dir):
    with start(dir) as node:
        assert call(node, "GET", "/v1/status", host="ns1.example")[0] == 421
        node.settings.write_text(SETTINGS + '\n[api]\nhosts = ["ns1.example"]\n')
        assert node.command("reload").returncode == 0
        assert call(node, "GET", "/v1/status", host="ns1.example")[0] == 200


def test_the_token_of_a_worker_beats_and_does_not_drain(dir):
    with start(dir, files(BEATS)) as node:
        assert call(node, "PUT", "/v1/heartbeat/fra1", token=FRA1)[0] == 200
        assert call(node, "PUT", "/v1/heartbeat/fra2", token=FRA1)[0] == 403
        for method, path in [("PUT", "/v1/overrides/fra1"), ("DELETE", "/v1/overrides/fra1"), ("GET", "/v1/overrides")]:
            status, _, body = call(node, method, path, token=FRA1, body=DRAIN)
            assert status == 403 and "role beat" in body, (path, body)
        assert call(node, "PUT", "/v1/heartbeat/fra2", token=ALICE)[0] == 200


def test_the_token_of_a_zone_reaches_no_other(dir):
    with start(dir) as node:
        assert call(node, "PUT", "/v1/overrides/nyc", token=CAROL, body=DRAIN)[0] == 200
        assert call(node, "PUT", "/v1/overrides/svc.example%2Ffra1", token=CAROL, body=DRAIN)[0] == 200
        for target in ["fra1", "ord", "region:eu-west", "pool:web", "*", "zone:other.example", "other.example%2Ffra1"]:
            status, _, body = call(node, "PUT", f"/v1/overrides/{target}", token=CAROL, body=DRAIN)
            assert status == 403 and "other.example./" in body, (target, status, body)
        both = "/v1/overrides?target=nyc&target=ord"
        assert call(node, "DELETE", both, token=CAROL)[0] == 403 and len(json.loads(node.get("/v1/transitions")[1])) == 2
        # An override of this zone does not spread when another zone gets an endpoint that its target matches.
        assert call(node, "PUT", "/v1/overrides/ny*", token=CAROL, body=DRAIN)[0] == 200
        node.write("other.example.policy.toml", ZONES["other.example.policy.toml"].replace("ord", "nyc"))
        assert node.command("reload").returncode == 0
        overridden = {zone["zone"]: [e["name"] for e in zone["endpoints"] if e["override"]] for zone in node.status()["zones"]}
        assert overridden == {"svc.example.": ["fra1", "nyc"], "other.example.": []}, overridden
        assert call(node, "PUT", "/v1/overrides/ny*", token=CAROL, body=DRAIN)[0] == 403, "now it matches the other zone too"
        assert call(node, "DELETE", "/v1/overrides/ny*", token=CAROL)[0] == 200, "it counts only in the zone of the token"


def test_the_token_of_a_zone_keeps_its_limits_while_the_other_zone_is_away(dir):
    def in_force(node):
        all = json.loads(call(node, "GET", "/v1/overrides", token=ALICE)[2])
        return [(row["target"], row["state"], row["who"], row.get("zones")) for row in all]

    with start(dir) as node:
        down = {"state": "down", "why": "broken", "confirm": True}
        assert call(node, "PUT", "/v1/overrides/fra1", token=ALICE, body=down)[0] == 200
        alices, carols = ("fra1", "down", "alice", None), ("fra1", "drain", "carol", ["svc.example."])
        for name in ["other.example.policy.toml", "other.example.zone"]:
            (node.dir / "zones" / name).unlink()
        assert node.command("reload", "--confirm-removal").returncode == 0
        status, _, body = call(node, "DELETE", "/v1/overrides/fra1", token=CAROL)
        assert status == 403 and "alice's override of `fra1` counts in all zones" in body, (status, body)
        status, _, body = call(node, "PUT", "/v1/overrides/fra1", token=CAROL, body={**DRAIN, "confirm": True})
        assert status == 200 and json.loads(body)["before"] is None, (status, body)
        assert in_force(node) == [alices, carols]
        for name in ["other.example.policy.toml", "other.example.zone"]:
            node.write(name, ZONES[name])
        assert node.command("reload").returncode == 0
        of = {zone["zone"]: {e["name"]: e["override"] for e in zone["endpoints"]} for zone in node.status()["zones"]}
        found = {zone: all["fra1"]["who"] for zone, all in of.items()}
        assert found == {"svc.example.": "carol", "other.example.": "alice"}, found
        assert call(node, "DELETE", "/v1/overrides/fra1", token=CAROL)[0] == 200
        assert in_force(node) == [alices], "each clears what counts in its zones only"


def test_wrong_tokens_are_slowed_logged_once_and_counted(dir):
    with start(dir) as node:
        found = [call(node, "GET", "/v1/overrides", token=f"wrong-{n}") for n in range(40)]
        statuses = [status for status, _, _ in found]
        assert statuses[0] == 401 and statuses.count(429) >= 15, statuses
        assert all(headers["retry-after"] == "1" for status, headers, _ in found if status == 429)
        assert call(node, "GET", "/v1/overrides", token=ALICE)[0] == 200, "an operator on the same host is not locked out"
        assert node.metric("portolan_api_refused_total", reason="token") == 40
        lines = [line for line in node.child.err().splitlines() if "a token was refused" in line]
        assert 1 <= len(lines) <= 3 and "net=127.0.0.1" in lines[0] and "wrong-" not in node.child.err(), lines


def test_ten_thousand_wrong_tokens_get_a_few_looks(dir):
    """A program that guesses gets one look a second; an operator on the same host, and everybody else, goes on."""
    calls, at_once = 10_000, 100
    with start(dir) as node, socket.create_connection(node.http, timeout=30) as tcp:
        found, began = Counter(), time.monotonic()
        answers = tcp.makefile("rb")
        for first in range(0, calls, at_once):
            text = "".join(
                f"GET /v1/overrides HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess-{n}\r\n\r\n"
                for n in range(first, first + at_once)
            )
            tcp.sendall(text.encode())
            for _ in range(at_once):
                found[int(answers.readline().split()[1])] += 1
                fields = dict(line.decode().lower().rstrip().split(": ", 1) for line in iter(answers.readline, b"\r\n"))
                answers.read(int(fields["content-length"]))
        looks = 10 + int(time.monotonic() - began) + 1
        assert set(found) == {401, 429} and found[401] <= looks and sum(found.values()) == calls, (found, looks)
        assert call(node, "GET", "/v1/overrides", token=ALICE)[0] == 200
        assert call(node, "GET", "/healthz")[0] == 200
        assert node.metric("portolan_api_refused_total", reason="token") == calls
        assert "guess-" not in node.child.err() and node.child.err().count("a token was refused") <= looks


def test_reloads_without_a_token_are_limited(dir):
    with start(dir) as node:
        with ThreadPoolExecutor(32) as clients:
            found = list(clients.map(lambda _: call(node, "POST", "/v1/reload"), range(900)))
        refused = [headers for status, headers, _ in found if status == 429]
        assert len(refused) > 0 and all(int(headers["retry-after"]) >= 1 for headers in refused)
        assert found[0][0] == 200 and node.metric("portolan_api_refused_total", reason="rate") == len(refused)
        assert call(node, "POST", "/v1/reload", token=ALICE)[0] == 200, "with a token they are not limited"
