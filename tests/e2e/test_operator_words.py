"""Messages of an operator's commands: endpoints that are answered although down, state that can't be written, wrong TARGETs."""
import http.server
import json
import shutil
import threading

import portolan
from processes import wait_until
from test_operator import ALICE, operate
from test_overrides import curl, overrides, start

POLICY = """
zone = "svc.example."

[defaults]
ttl = "5s"

[monitor.web]
type = "tcp"
port = 9
interval = "200ms"
timeout = "100ms"
fall = 1

[endpoint.live]
addresses = ["192.0.2.1"]
region = "eu-west"
[endpoint.dead]
addresses = ["127.0.0.1"]
monitor = "web"
[endpoint.rare]
addresses = ["192.0.2.3"]

[pool.database]
members = ["live", "dead"]
steer = "failover"
[pool.most]
members = [{ to = "live", weight = 9999 }, { to = "rare", weight = 1 }]

[name.db]
pool = "database"
failback = "manual"
[name.ro]
pool = "most"
[name.page]
pool = "database"
on_empty = ["nodata"]
[name.files]
pool = "live"
on_empty = "static"
"""


def with_files(dir, policy=POLICY):
    return start(dir, policy, files={"svc.example.zone": portolan.MASTER + "files IN A 192.0.2.99\n"})


def test_endpoints_that_are_answered_although_down_are_named(dir):
    with with_files(dir) as node:
        wait_until(lambda: node.status()["zones"][0]["endpoints"][1]["health"] == "down", 15)
        refused = operate(node, "force-down", "live", "--why", "x")
        assert refused.returncode == 1 and "would get no answer: page for all clients" in refused.stderr, refused
        done = operate(node, "force-down", "live", "--why", "x", "--yes")
        assert done.returncode == 0 and "answered although down: dead (25.0 % of answers)\n" in done.stdout, done.stdout
        assert "the zone file +25.0" in done.stdout, done.stdout
        assert node.addresses("db.svc.example.") == ["127.0.0.1"] and node.addresses("page.svc.example.") == []
        assert node.addresses("files.svc.example.") == ["192.0.2.99"]
        cleared = operate(node, "clear", "live")
        assert "although down" not in cleared.stdout and "the zone file -25.0" in cleared.stdout, cleared.stdout
        small = operate(node, "drain", "rare", "--why", "x")
        assert small.stdout == "rare drained until it is cleared; under 0.1 % of answers moved\n", small.stdout
        _, answer = curl(node, "PUT", "/v1/overrides/live", '{"state":"down","why":"x","confirm":true}')
        moved = answer["moved"]
        assert [down["endpoint"] for down in moved["down"]] == ["dead"], moved
        assert (moved["static"]["before"], moved["static"]["after"]) == (0, 0.25), moved


def test_a_target_of_another_kind_gets_a_suggestion(dir):
    with with_files(dir) as node:
        for target, says in [
            ("LIVE", "did you mean `live`?"), ("192.0.2.1", "it is an address of `live`"),
            ("ro", "it is a steered name, and is answered from `pool:most`"),
            ("files.svc.example", "it is a steered name, and is answered from `live`"),
            ("region:", "`region:` is not complete: a TARGET is ENDPOINT, ZONE/ENDPOINT"),
            ("name:www", "no endpoint is called `name:www`; a TARGET is ENDPOINT, ZONE/ENDPOINT"),
            ("a" * 1000, "a TARGET of 1000 octets matches nothing"),
        ]:
            refused = operate(node, "drain", target, "--why", "x")
            assert refused.returncode == 1 and refused.stdout == "" and says in refused.stderr, refused
        assert overrides(node) == []


def test_a_failback_that_would_not_outlive_a_restart_warns(dir):
    policy = POLICY.replace('members = ["live", "dead"]', 'members = ["live", "rare"]')
    with with_files(dir, policy) as node:
        operate(node, "drain", "live", "--why", "x")
        operate(node, "clear", "live")
        assert node.addresses("db.svc.example.") == ["192.0.2.3"]
        file = node.dir / "state" / "standings.json"
        wait_until(file.exists, 10)
        file.unlink()
        (file / "in-the-way").mkdir(parents=True)
        done = operate(node, "failback", "db")
        assert done.returncode == 0 and "handed back from rare to live" in done.stdout, done
        assert "not yet on disk: " in done.stderr, done.stderr
        assert node.addresses("db.svc.example.") == ["192.0.2.1"]
        event = json.loads(node.get("/v1/transitions")[1])[0]
        assert (event["zone"], event["endpoint"], event["from"], event["to"]) == ("svc.example.", "db", "rare", "live"), event
        assert event["why"] == "handed back by alice: pool database" and event["id"], event
        again = operate(node, "failback", "db", "--format", "json")
        assert json.loads(again.stdout)["handed_back"] == []
        assert json.loads(node.get("/v1/transitions")[1])[0] == event
        assert node.child.err().count('failback name="db.svc.example."') == 1, "nothing was done the second time"
        shutil.rmtree(file)
    saved = json.loads(file.read_text())["standings"]
    assert ["live"] in [row["members"] for row in saved if row["name"] == "db"], "what failed is written at the stop"


class Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(301)
        self.send_header("Location", "https://dns.example/v1/status")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_server_that_redirects_is_not_followed_with_a_token(dir):
    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = portolan.command("overrides", "--server", url, env={"PORTOLAN_TOKEN": ALICE})
        assert done.returncode == 1 and "a redirect to https://dns.example/v1/status" in done.stderr, done
        assert "--server" in done.stderr
        server.shutdown()
