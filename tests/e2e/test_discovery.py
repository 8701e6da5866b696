"""Endpoints that come and go: sources of type http and dns fill a pool, and what goes wrong with them changes no answer."""
import contextlib
import http.server
import json
import shutil
import signal
import socket
import threading

import pytest

from portolan import MASTER, Node, files, policy
from ports import free_ports
from processes import Child, wait_until

NAME = "www.svc.example."
REGIONS = {"region": {"label": "region"}}


class Inventory:
    """An HTTP server with a list in the form of Prometheus's http_sd. `status` other than 200 is sent without the list."""

    def __init__(self, port=0):
        inventory = self
        self.body, self.status, self.requests, self.not_modified = b"[]", 200, 0, 0
        self.connections = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                inventory.connections.append(self.connection)

            def do_GET(self):
                inventory.requests += 1
                body, status = inventory.body, inventory.status
                etag = f'"{hash(body)}"'
                if status == 200 and self.headers.get("If-None-Match") == etag:
                    inventory.not_modified += 1
                    body, status = b"", 304
                self.send_response(status)
                if status == 200:
                    self.send_header("ETag", etag)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def list(self, *targets, **labels):
        self.body = json.dumps([{"targets": list(targets), "labels": labels}]).encode()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/targets?service=web"

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Named:
    """A real DNS server with the zone `internal`."""

    ZONE = "$TTL 1\n@ IN SOA ns hostmaster {serial} 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n{records}"

    def __init__(self, dir):
        self.dir, self.child, self.serial = dir / "named", None, 0
        self.dir.mkdir()
        self.port = free_ports(1)[0]
        (self.dir / "named.conf").write_text(f"""
options {{
    directory "{self.dir}"; pid-file none; recursion no; minimal-responses yes; listen-on-v6 {{ none; }};
    listen-on port {self.port} {{ 127.0.0.1; }}; allow-transfer {{ none; }}; session-keyfile none; notify no;
}};
controls {{ }};
zone "internal" {{ type master; file "internal.zone"; }};
""")

    def serve(self, records):
        self.serial += 1
        (self.dir / "internal.zone").write_text(self.ZONE.format(serial=self.serial, records=records))
        if self.child:
            self.child.process.send_signal(signal.SIGHUP)
        else:
            self.child = Child([NAMED, "-g", "-c", self.dir / "named.conf"], self.dir, "named")

    def stop(self):
        child, self.child = self.child, None
        if child:
            child.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


NAMED = shutil.which("named", path="/usr/sbin:/usr/bin")


def web(inventory, monitor=None, **more):
    source = {"type": "http", "url": inventory.url, "every": "1s", "pool": "web", **more}
    sections = {"defaults": {"ttl": {"max": "1s", "min": "0s"}}, "pool": {"web": {}}, "discover": {"web": source}}
    if monitor:
        sections["monitor"] = {"web": monitor}
        source["monitor"] = "web"
    return files(policy(**sections, name={"www": {"pool": "web", "answers": 8, "types": ["A"], "on_empty": "nodata"}}))


def source(node):
    return next(iter(node.status()["sources"]), {})


def served(node):
    return set(node.addresses(NAME))


def test_instances_are_served_after_their_first_probe_and_are_gone_at_once(dir):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    monitor = {"type": "tcp", "interval": "100ms", "timeout": "100ms"}
    with listener, Inventory() as inventory, Node(dir, web(inventory, monitor)) as node:
        assert served(node) == set()
        # Nothing listens on the second address. The monitor has no port: each instance has its own.
        inventory.list(f"127.0.0.1:{port}", f"127.0.0.9:{port}")
        wait_until(lambda: served(node) == {"127.0.0.1"}, 15)
        wait_until(lambda: node.health(f"127.0.0.9-{port}") == "down", 15)
        assert served(node) == {"127.0.0.1"}, "what fails its first probe is never served"
        wait_until(lambda: source(node).get("state") == "ok" and source(node)["endpoints"] == 2, 10)
        assert f"127.0.0.1-{port}" in node.child.err(), "the log names what came"
        inventory.list()
        wait_until(lambda: source(node)["state"] == "kept", 15)
        assert node.command("reload", "--confirm-removal").returncode == 0
        wait_until(lambda: served(node) == set(), 15)
        listed = node.metric("portolan_source_endpoints", zone="svc.example.", source="discover.web")
        assert listed is not None and node.metric("portolan_source_up", zone="svc.example.", source="discover.web") == 1


def test_a_list_that_is_replaced_leaves_no_gap_and_a_wrong_one_takes_nothing(dir):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = first.getsockname()[1]
        for last in range(2, 5):
            stack.enter_context(socket.create_server((f"127.0.0.{last}", port)))
        inventory = stack.enter_context(Inventory())
        monitor = {"type": "tcp", "port": port, "interval": "100ms", "timeout": "100ms"}
        inventory.list(f"127.0.0.1:{port}", name="one")
        node = stack.enter_context(Node(dir, web(inventory, monitor)))
        wait_until(lambda: served(node) == {"127.0.0.1"}, 15)
        seen = []

        def turned_to(*addresses):
            seen.append(served(node))
            return seen[-1] == set(addresses)

        # Another name and address; the same name at another address; another port alone, which nothing uses.
        for address, at, name in [("127.0.0.2", port, "two"), ("127.0.0.3", port, "two"), ("127.0.0.3", 1, "two")]:
            inventory.list(f"{address}:{at}", name=name)
            wait_until(lambda address=address: turned_to(address), 15)
        requests = inventory.requests
        wait_until(lambda: turned_to("127.0.0.3") and inventory.requests > requests + 1, 15)
        inventory.list(f"127.0.0.8:{port}", name="dead")
        explained = lambda: node.command("explain", NAME).stdout
        wait_until(lambda: turned_to("127.0.0.3") and "withdrawn by discover.web" in explained(), 15)
        wait_until(lambda: source(node)["endpoints"] == 2 and node.health("dead") == "down", 15)
        assert turned_to("127.0.0.3"), "nothing that is new is up"
        assert set() not in seen, "there was always an answer"
        inventory.list(f"127.0.0.4:{port}", name="right")
        wait_until(lambda: turned_to("127.0.0.4"), 15)
        assert set() not in seen


def test_a_source_that_is_away_or_bad_changes_nothing_over_a_restart_too(dir):
    inventory = Inventory()
    inventory.list("192.0.2.1:80", "192.0.2.2:80")
    node = Node(dir, web(inventory))
    try:
        wait_until(lambda: served(node) == {"192.0.2.1", "192.0.2.2"}, 15)
        for body, status, state, part in [
            (b"{", 200, "bad", "a list of groups is expected"),
            (b"no", 403, "bad", "check the token in `token_file`"),
            (b"", 500, "bad", "see the log of that server"),
            (json.dumps([{"targets": [f"192.0.2.{n}:80" for n in range(1, 12)]}]).encode(), 200, "bad", "`max` is 10"),
        ]:
            inventory.body, inventory.status = body, status
            if part == "`max` is 10":
                node.write("svc.example.policy.toml", web(inventory, max=10)["svc.example.policy.toml"])
            wait_until(lambda: source(node)["state"] == state and part in (source(node)["problem"] or ""), 15)
            assert served(node) == {"192.0.2.1", "192.0.2.2"}
        inventory.end()
        wait_until(lambda: source(node)["state"] == "away" and "refused" in source(node)["problem"], 15)
        wait_until(lambda: source(node)["age_ms"] > 0, 5)
        assert served(node) == {"192.0.2.1", "192.0.2.2"}
        assert "SOURCE" in node.command("status").stdout
    finally:
        node.child.end()
    with Node(dir, web(inventory)) as node:
        assert served(node) == {"192.0.2.1", "192.0.2.2"}, "from the state directory"
        wait_until(lambda: source(node)["state"] == "away", 15)
        back = Inventory(inventory.port)
        with back:
            back.list("192.0.2.3:80", "192.0.2.2:80")
            wait_until(lambda: served(node) == {"192.0.2.2", "192.0.2.3"}, 20)
            assert source(node)["state"] == "ok" and source(node)["problem"] is None
            wait_until(lambda: back.not_modified > 0, 10)


def test_a_wiped_list_stays_until_it_is_confirmed(dir):
    with Inventory() as inventory:
        inventory.list("192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80")
        with Node(dir, web(inventory)) as node:
            wait_until(lambda: len(served(node)) == 3, 15)
            inventory.list()
            wait_until(lambda: source(node)["state"] == "kept", 15)
            assert len(served(node)) == 3 and "--confirm-removal" in source(node)["problem"]
            node.write("svc.example.zone", MASTER + "\nnew IN A 198.51.100.7\n")
            wait_until(lambda: node.addresses("new.svc.example.") == ["198.51.100.7"], 15)
            assert len(served(node)) == 3, "a reload of files does not lose them"
            node.write("svc.example.policy.toml", "zone = ")
            wait_until(lambda: node.status()["reload"]["ok"] is False, 15)
            assert len(served(node)) == 3, "neither does a bad file"
            node.write("svc.example.policy.toml", web(inventory)["svc.example.policy.toml"])
            wait_until(lambda: node.status()["reload"]["ok"] is True, 15)
            gone = "3 endpoints (svc.example./192.0.2.1-80, svc.example./192.0.2.2-80, svc.example./192.0.2.3-80)"
            done = node.command("reload")
            assert done.returncode == 0 and f"with --confirm-removal this would be removed: {gone}" in done.stderr, done
            done = node.command("reload", "--confirm-removal")
            assert done.returncode == 0 and f"this will be removed: {gone}" in done.stderr, done
            assert done.stdout.startswith(f"removed: {gone}\n"), done
            wait_until(lambda: served(node) == set(), 15)
            wait_until(lambda: source(node)["state"] == "ok", 5)


def test_what_cannot_be_an_endpoint_is_named_and_the_rest_is_served(dir):
    with Inventory() as inventory:
        groups = [
            {"targets": ["192.0.2.1:80", "[2001:db8::1]:80"], "labels": {"region": "eu-west", "weight": "7"}},
            {"targets": ["192.0.2.2:80"], "labels": {"region": "atlantis"}},
            {"targets": ["db.internal:80", "192.0.2.1:80", "0.0.0.0:80"], "labels": {}},
            {"targets": ["192.0.2.3:80"], "labels": {"name": "file1"}},
        ]
        inventory.body = json.dumps(groups).encode()
        zones = web(inventory, **REGIONS)
        zones["svc.example.policy.toml"] += '\n[endpoint.file1]\naddresses = ["198.51.100.1"]\n'
        zones["svc.example.policy.toml"] = zones["svc.example.policy.toml"].replace(
            "[pool.web]", '[pool.web]\nmembers = ["file1"]')
        with Node(dir, zones) as node:
            wait_until(lambda: served(node) == {"198.51.100.1", "192.0.2.1"}, 15)
            wait_until(lambda: all(part in source(node)["problem"] for part in [
                "atlantis", "[regions.atlantis]", "db.internal", "listed twice", "0.0.0.0", "`file1`",
            ]), 10)
            assert source(node)["state"] == "ok" and source(node)["endpoints"] == 2
            endpoints = {e["name"]: e for e in node.status()["zones"][0]["endpoints"]}
            assert endpoints["192.0.2.1-80"]["source"] == "discover.web" and "source" not in endpoints["file1"]


def test_a_thousand_instances_come_and_one_goes(dir):
    """The bound of a name. What is withdrawn does not wait for the next model."""
    with Inventory() as inventory:
        all = [f"10.0.{n // 250}.{n % 250 + 1}:80" for n in range(1000)]
        inventory.list(*all)
        zones = web(inventory)
        zones["svc.example.policy.toml"] = zones["svc.example.policy.toml"].replace("answers = 8", "answers = 1")
        with Node(dir, zones) as node:
            wait_until(lambda: source(node)["endpoints"] == 1000, 30)
            inventory.list(*all[:1])
            wait_until(lambda: source(node)["state"] == "kept", 15)
            inventory.list(*all[:500])
            wait_until(lambda: source(node)["state"] == "ok" and source(node)["endpoints"] == 500, 30)
            assert all[0].split(":")[0] in {f"10.0.{n // 250}.{n % 250 + 1}" for n in range(500)}


@pytest.mark.skipif(not NAMED, reason="needs bind9")
def test_srv_records_of_an_internal_name(dir):
    named = Named(dir)
    zones = files(policy(
        defaults={"ttl": {"max": "1s", "min": "0s"}}, pool={"web": {}},
        discover={"web": {"type": "dns", "name": "_http._tcp.internal.", "resolvers": [f"127.0.0.1:{named.port}"], "pool": "web"}},
        name={"www": {"pool": "web", "answers": 8, "types": ["A"], "on_empty": "nodata"}},
    ))
    srv = "_http._tcp 1 IN SRV 10 {weight} 80 {target}\n{target} 1 IN A {address}\n"
    one = srv.format(weight=1, target="a", address="192.0.2.1")
    two = srv.format(weight=1, target="b", address="192.0.2.2")
    with named:
        named.serve(one)
        with Node(dir, zones) as node:
            wait_until(lambda: served(node) == {"192.0.2.1"}, 20)
            named.serve(one + two)
            wait_until(lambda: served(node) == {"192.0.2.1", "192.0.2.2"}, 20)
            named.stop()
            wait_until(lambda: source(node)["state"] == "away", 30)
            assert served(node) == {"192.0.2.1", "192.0.2.2"}
            named.serve("")
            wait_until(lambda: source(node)["state"] == "kept", 30)
            assert served(node) == {"192.0.2.1", "192.0.2.2"}, "a name that does not exist is an empty list, and is held"
            named.serve(two)
            wait_until(lambda: served(node) == {"192.0.2.2"}, 20)
            assert source(node)["state"] == "ok"
