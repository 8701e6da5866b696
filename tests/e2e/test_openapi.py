"""The OpenAPI document: it is valid, each operation answers as it is declared, and calls made from it find no fault."""
import contextlib
import http.client
import json
import subprocess
import sys
import threading

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from portolan import MASTER, Node, command
from processes import wait_until
from test_operator import ALICE, BOB
from test_simulate import POLICY, REGIONS

CAROL, BEAT = "c" * 32, "d" * 32
TOKENS = f"alice operate {ALICE}\nbob read {BOB}\ncarol operate:ops.example {CAROL}\nworker beat {BEAT}\n"
OPS = """
zone = "ops.example."

[monitor.beat]
type = "heartbeat"

[endpoint.one]
addresses = ["192.0.2.11"]
[endpoint.two]
addresses = ["192.0.2.12"]
[endpoint.alive]
addresses = ["192.0.2.13"]
monitor = "beat"

[pool.pair]
members = ["one", "two"]
steer = "failover"

[name.pair]
pool = "pair"
failback = "manual"
[name.alive]
pool = "alive"
[name.solo]
pool = "one"
"""
FILES = {"ops.example.policy.toml": OPS, "ops.example.zone": MASTER}

# Statuses that a test can't cause in time or surely: a body that comes too slowly, a head of which the end is not read, a panic,
# and a server that is too busy.
RARE = {"408", "431", "500", "503"}
METHODS = ("get", "put", "post", "delete")


@pytest.fixture
def node(dir, endpoints):
    """A node with probed endpoints in two regions, heartbeats, a name with manual failback, and a token for each role."""
    (dir / "node").mkdir()
    tokens = dir / "node" / "tokens"
    tokens.touch(0o600)
    tokens.write_text(TOKENS)
    at = {name: endpoints(name).at for name in ("eu1", "eu2", "us1", "us2")}
    # Without the name that the loss of a region would leave unanswered: no drill could begin.
    policy = POLICY.format(**at).split("[name.local]")[0].replace('timeout = "150ms"', 'timeout = "1s"')
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER, **FILES}, settings=REGIONS) as node:
        yield node


class Api:
    """Calls operations, and compares each response with the document."""

    def __init__(self, node):
        self.node, self.document = node, node.json("/v1/openapi.json")
        self.seen = set()

    def operations(self):
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method, path, operation

    def call(self, method, path, status, of=None, token=None, body=None, headers={}, source=None):
        """Calls an operation, whose path in the document is `of`; returns the body of the response."""
        connection = http.client.HTTPConnection(*self.node.http, timeout=30, source_address=source and (source, 0))
        more = {"Authorization": f"Bearer {token}"} if token else {}
        text = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        # The server may close the connection before it has read a body that is too long. Its response is there all the same.
        with contextlib.suppress(BrokenPipeError):
            connection.request(method.upper(), path, text, {**more, **headers})
        response = connection.getresponse()
        octets = response.read()
        assert response.status == status, (method, path, response.status, octets)
        self.compare(method, of or path.split("?")[0], response, octets)
        return octets

    def compare(self, method, path, response, octets):
        status, media = str(response.status), response.headers["content-type"]
        declared = self.document["paths"][path][method]["responses"]
        assert status in declared, (method, path, status)
        self.seen.add((method, path, status))
        content = declared[status].get("content")
        if content is None:
            assert not octets and not media, (method, path, status)
            return
        kind = media.split(";")[0]
        assert kind in content, (method, path, media)
        for name, header in declared[status].get("headers", {}).items():
            assert not header["required"] or response.headers[name], (method, path, status, name)
        if kind.endswith("json"):
            self.validate(json.loads(octets), content[kind]["schema"])

    def validate(self, value, schema):
        whole = {**schema, "components": {"schemas": closed(self.document["components"]["schemas"])}}
        errors = list(jsonschema.Draft202012Validator(whole).iter_errors(value))
        assert not errors, (errors[0].json_path, errors[0].message)


def closed(schemas):
    """The schemas, none of which allows a field that it does not name. Parts of others stay open."""
    parts = {item.get("$ref") for schema in schemas.values() for item in schema.get("allOf", [])}
    is_part = lambda name: f"#/components/schemas/{name}" in parts
    return {name: schema if is_part(name) else {**schema, "unevaluatedProperties": False} for name, schema in schemas.items()}


def test_the_document_is_valid_and_the_command_prints_it(node):
    printed = command("openapi")
    assert printed.returncode == 0, printed.stderr
    document = json.loads(printed.stdout)
    assert document == node.json("/v1/openapi.json")
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_each_operation_answers_as_declared(node):
    api = Api(node)
    gates(api)
    reads(api)
    overrides(api)
    heartbeats(api)
    drills(api)
    changes(api)
    wrong_tokens(api)
    declared = {(method, path, status) for method, path, of in api.operations() for status in of["responses"]}
    rare = lambda of: of[2] in RARE or of[2] == "429" and "401" not in api.document["paths"][of[1]][of[0]]["responses"]
    missing = {of for of in declared - api.seen if not rare(of)}
    assert not missing, sorted(missing)


def filled(path):
    return path.replace("{id}", "77").replace("{", "").replace("}", "")


def needed(operation):
    """The role that each request of an operation needs, or None."""
    security = operation["security"]
    return None if not security or {} in security else operation["description"].split()[-1].rstrip(".")


def gates(api):
    """What every request passes: the host, the origin, the token, the query and the body."""
    for method, path, operation in api.operations():
        at, role = filled(path), needed(operation)
        api.call(method, at, 400, path, headers={"Host": "a b"})
        if "421" in operation["responses"]:
            api.call(method, at, 421, path, headers={"Host": "evil.example"})
        if method != "get":
            api.call(method, at, 403, path, headers={"Origin": "http://evil.example"})
        if role is None:
            assert not operation["security"] or "reload" in path, path
        else:
            api.call(method, at, 401, path)
            wrong = {"read": BEAT, "beat": BOB, "operate": BOB}[role]
            api.call(method, at, 403, path, token=wrong)
        if any(of["in"] == "query" for of in operation.get("parameters", [])):
            api.call(method, f"{at}?colour=red", 400, path, token=ALICE)
        elif any(of["in"] == "path" for of in operation.get("parameters", [])):
            api.call(method, at.rsplit("/", 1)[0] + "/%ff", 400, path, token=ALICE)
        if "requestBody" in operation:
            parameters = "?target=one" if path == "/v1/overrides" else ""
            for body, status in (("{", 400), ("[]", 400), ('{"colour": "red"}', 400), ("x" * (1 << 20 | 1), 413)):
                api.call(method, at + parameters, status, path, token=ALICE, body=body)


def reads(api):
    for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/status", "/v1/transitions", "/v1/names",
                 "/v1/history", "/v1/events?follow=false&since=oldest", "/v1/drill"):
        api.call("get", path, 200)
    api.call("get", "/", 304, headers={"If-None-Match": "*"})
    api.call("get", "/v1/names?zone=ops.example&preferred=true&limit=2", 200)
    api.call("get", "/v1/history?kind=rtt&by=region&limit=3", 200)
    for query in ("name=db.svc.example", "name=db.svc.example&type=AAAA&client=192.0.2.1", "name=pair.ops.example&region=us-east"):
        api.call("get", f"/v1/explain?{query}", 200)
    api.call("get", "/v1/explain?name=nothing.example", 404)
    api.call("get", "/v1/events?fleet=true", 404)
    for body in (None, {}, {"lose": ["region:us-east"], "qps": 100}, {"override": [{"target": "one", "state": "down"}]},
                 {"pairs": True}):
        api.call("post", "/v1/simulate", 200, body=body)


def overrides(api):
    both, one = "/v1/overrides", "/v1/overrides/{target}"
    drain = {"state": "drain", "why": "test", "for": "1h"}
    api.call("put", f"{both}?target=one&target=two", 200, token=ALICE, body={**drain, "confirm": True})
    api.call("put", f"{both}/region:us-east", 200, one, token=ALICE, body={**drain, "confirm": True})
    assert len(json.loads(api.call("get", both, 200, token=BOB))) == 3
    api.call("get", "/v1/status", 200)
    api.call("get", "/", 200)
    api.call("put", f"{both}?target=none", 404, token=ALICE, body=drain)
    api.call("put", f"{both}/none", 404, one, token=ALICE, body=drain)
    down = {"state": "down", "why": "test"}
    api.call("put", f"{both}?target=alive", 409, token=ALICE, body=down)
    api.call("put", f"{both}/alive", 409, one, token=ALICE, body=down)
    api.call("delete", f"{both}/none", 404, one, token=ALICE)
    api.call("delete", f"{both}?target=none", 404, token=ALICE)
    api.call("delete", f"{both}?target=one&target=two", 200, token=ALICE)
    api.call("delete", f"{both}/region:us-east", 200, one, token=ALICE)


def heartbeats(api):
    of = "/v1/heartbeat/{endpoint}"
    api.call("put", "/v1/heartbeat/alive", 200, of, token=BEAT)
    api.call("put", "/v1/heartbeat/alive", 200, of, token=BEAT, body={"ttl": "5s"})
    api.call("delete", "/v1/heartbeat/alive", 200, of, token=BEAT)
    for method in ("put", "delete"):
        api.call(method, "/v1/heartbeat/none", 404, of, token=BEAT)
        api.call(method, "/v1/heartbeat/one", 409, of, token=BEAT)


def drills(api):
    body = {"drill": "lose-region", "target": "us-east", "for": "60s", "qps": 10}
    api.call("post", "/v1/drill", 404, token=ALICE, body={**body, "target": "mars"})
    # The endpoint of the heartbeats is down, so everything but that must be well.
    api.call("put", "/v1/heartbeat/alive", 200, "/v1/heartbeat/{endpoint}", token=BEAT, body={"ttl": "1h"})
    api.node.wait_health("alive", "up")
    api.call("post", "/v1/drill", 200, token=ALICE, body={**body, "dry_run": True})
    api.call("post", "/v1/drill", 409, token=ALICE, body={**body, "dry_run": True, "qps": 100_000})
    api.call("delete", "/v1/drill", 404, token=ALICE)
    stream = threading.Thread(target=api.call, args=("post", "/v1/drill", 200), kwargs={"token": ALICE, "body": body})
    stream.start()
    wait_until(lambda: "drill" in api.node.status(), 30)
    api.call("get", "/v1/status", 200)
    id = api.node.json("/v1/drill")["drill"]["id"]
    api.call("put", f"/v1/drill/{id}", 200, "/v1/drill/{id}", token=ALICE)
    api.call("put", f"/v1/drill/{id + 1}", 404, "/v1/drill/{id}", token=ALICE)
    api.call("delete", "/v1/drill", 200, token=ALICE)
    stream.join()
    assert ("post", "/v1/drill", "200") in api.seen


def changes(api):
    of = "/v1/failback/{name}"
    api.call("post", "/v1/failback/pair.ops.example", 200, of, token=CAROL)
    api.call("post", "/v1/failback/none", 404, of, token=ALICE)
    api.call("post", "/v1/failback/solo", 409, of, token=ALICE)
    api.call("post", "/v1/reload", 200)
    api.call("post", "/v1/reload?confirm_removal=true", 200, body={"confirm_removal": True})
    # Through a proxy.
    foreign = {"Forwarded": "for=192.0.2.1"}
    api.call("post", "/v1/reload", 401, body={"confirm_removal": True}, headers=foreign)
    api.call("post", "/v1/reload", 403, body={"confirm_removal": True}, headers=foreign, token=BOB)
    api.node.write("ops.example.policy.toml", OPS.replace("[pool.pair]", "[pool.other]"))
    api.call("post", "/v1/reload", 422)
    api.call("get", "/v1/status", 200)
    api.call("get", "/", 200)


def wrong_tokens(api):
    """An address that sends many wrong tokens has to wait."""
    for _ in range(20):
        connection = http.client.HTTPConnection(*api.node.http, timeout=30, source_address=("127.0.0.9", 0))
        connection.request("GET", "/v1/overrides", headers={"Authorization": "Bearer wrong"})
        connection.getresponse().read()
    for method, path, operation in api.operations():
        if "401" in operation["responses"] and needed(operation):
            # One more a second is looked at.
            for _ in range(2):
                token = {"token": "wrong", "source": "127.0.0.9"}
                statuses = api.document["paths"][path][method]["responses"]
                assert "429" in statuses, (method, path)
                status(api, method, path, **token)
    foreign = {"Forwarded": "for=192.0.2.1"}
    status(api, "post", "/v1/reload", "wrong", "127.0.0.9", '{"confirm_removal": true}', foreign)


def status(api, method, path, token, source, body=None, headers={}):
    """Calls with a wrong token, once more if this one was looked at."""
    for _ in range(3):
        connection = http.client.HTTPConnection(*api.node.http, timeout=30, source_address=(source, 0))
        connection.request(method.upper(), filled(path), body, {"Authorization": f"Bearer {token}", **headers})
        response = connection.getresponse()
        octets = response.read()
        assert response.status in (401, 429), (method, path, response.status, octets)
        api.compare(method, path, response, octets)
        if response.status == 429:
            return
    raise AssertionError(f"{method} {path}: a wrong token is not slowed")


# How Schemathesis calls. Its other checks stay on. A valid call may be refused for what no schema can say: a region that does
# not exist, a TARGET with no endpoint. The stream of events would not end.
CONFIG = """
headers = {{ Authorization = "Bearer {token}" }}
hooks = "dry.py"
max-stream-events = 2
request-timeout = 20

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "422", "429", "431"]

[[operations]]
include-name = "GET /v1/events"
parameters = {{ follow = "false" }}
"""
# A drill would run as long as its client reads, so each is planned only.
HOOKS = """
import schemathesis

@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and "drill" in body and body.get("dry_run") in (None, False):
        return {**body, "dry_run": True}
    return body
"""


def fuzz(node, dir, calls_each, seconds):
    """Runs Schemathesis with a token for everything."""
    config = dir / "schemathesis.toml"
    config.write_text(CONFIG.format(token=ALICE))
    (dir / "dry.py").write_text(HOOKS)
    argv = [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{node.url}/v1/openapi.json",
            "--max-examples", calls_each, "--max-time", seconds, "--phases", "coverage,fuzzing", "--continue-on-failure", "--seed", 1]
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, cwd=dir, timeout=seconds + 200)


def test_calls_made_from_the_document_find_no_fault(node, dir):
    """Schemathesis makes calls, right and wrong ones, and compares each response with the document."""
    ran = fuzz(node, dir, calls_each=10, seconds=12)
    print(ran.stdout[:3000], ran.stdout[-6000:], sep="\n.....\n")
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert node.child.is_running() and "panicked" not in node.child.err()
