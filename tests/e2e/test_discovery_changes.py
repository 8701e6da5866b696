"""A source that flaps, has another name, or lists what can't be used: what the log, events, status and explain say of it."""
import json

from portolan import Node
from processes import wait_until
from test_discovery import NAME, REGIONS, Inventory, files, policy, served, source, web

BOTH = {"192.0.2.1", "192.0.2.2"}


class EverySecondFails(Inventory):
    """Replies 500 to every second request."""

    @property
    def status(self):
        return 200 if self.requests % 2 else 500

    @status.setter
    def status(self, _):
        pass


def source_events(node):
    """From, to and why of each change of the state of the source."""
    done = node.command("events", "--format", "json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    found = [event for event in found if event["type"] == "portolan.source"]
    assert all(event["subject"].startswith("discover.") and event["data"]["zone"] == "svc.example." for event in found)
    assert all(event["data"]["who"].endswith(" (http)") and event["data"]["generation"] > 0 for event in found), found
    return [(event["data"]["from"], event["data"]["to"], event["data"]["why"]) for event in found]


def test_a_source_that_fails_every_second_time_fills_neither_log_nor_events(dir):
    with EverySecondFails() as inventory:
        inventory.list("192.0.2.1:80", "192.0.2.2:80")
        with Node(dir, web(inventory)) as node:
            wait_until(lambda: served(node) == BOTH, 15)
            for state in ("bad", "ok", "bad", "ok", "bad", "ok"):
                wait_until(lambda: source(node)["state"] == state, 30)
                assert served(node) == BOTH
            changes = [(before, after) for before, after, _ in source_events(node)]
            assert changes == [("ok", "bad"), ("bad", "ok")], changes
            lines = [line for line in node.child.err().splitlines() if "listing: a source" in line]
            assert len(lines) <= 3, lines


def test_the_state_of_a_source_is_an_event_and_explain_says_how_old_its_list_is(dir):
    inventory = Inventory()
    inventory.list("192.0.2.1:80", "192.0.2.2:80")
    try:
        with Node(dir, web(inventory)) as node:
            wait_until(lambda: served(node) == BOTH, 15)
            shown = node.command("explain", NAME).stdout
            assert "192.0.2.1-80 is listed by discover.web, since " in shown and "in a list that is " in shown, shown
            assert source_events(node) == [], "that it answers is no event"
            inventory.end()
            wait_until(lambda: source(node)["state"] == "away", 15)
            wait_until(lambda: len(source_events(node)) == 1, 15)
            before, after, why = source_events(node)[0]
            assert (before, after) == ("ok", "away") and "connection refused" in why, why
            shown = node.command("explain", NAME).stdout
            assert "in a list that is " in shown and "old; the source is away" in shown, shown
            explained = json.loads(node.command("explain", NAME, "--format", "json").stdout)["sources"]
            assert all(of["state"] == "away" and of["age_ms"] > 0 for of in explained), explained
            with Inventory(inventory.port) as back:
                back.list("192.0.2.1:80", "192.0.2.2:80")
                wait_until(lambda: source(node)["state"] == "ok", 30)
                wait_until(lambda: len(source_events(node)) == 2, 15)
                assert source_events(node)[1][:2] == ("away", "ok")
                back.list()
                wait_until(lambda: [change[:2] for change in source_events(node)][2:] == [("ok", "kept")], 15)
    finally:
        inventory.server.server_close()


def test_a_source_with_another_name_has_the_endpoints_from_before(dir):
    inventory = Inventory()
    inventory.list("192.0.2.1:80", "192.0.2.2:80")
    zones = web(inventory)
    with Node(dir, zones) as node:
        wait_until(lambda: served(node) == BOTH, 15)
        inventory.end()
        wait_until(lambda: source(node)["state"] == "away", 15)
        node.write("svc.example.policy.toml", zones["svc.example.policy.toml"].replace("[discover.web]", "[discover.shop]"))

        def is_renamed():
            assert served(node) == BOTH
            return source(node)["name"] == "discover.shop"

        wait_until(is_renamed, 15)
        for _ in range(50):
            assert served(node) == BOTH
        assert source(node)["endpoints"] == 2 and source(node)["state"] == "away", source(node)
    with Node(dir, {}) as node:
        assert served(node) == BOTH, "the state directory has the new name"


def test_a_wrong_label_on_all_instances_takes_nothing_and_is_counted(dir):
    with Inventory() as inventory:
        inventory.list("192.0.2.1:80", "192.0.2.2:80", region="eu-west")
        with Node(dir, web(inventory, **REGIONS)) as node:
            wait_until(lambda: served(node) == BOTH, 15)
            inventory.list("192.0.2.1:80", "192.0.2.2:80", region="atlantis\u009b\u202e")
            wait_until(lambda: source(node)["state"] == "kept", 15)
            assert served(node) == BOTH
            assert source(node)["left_out"] == 2 and source(node)["endpoints"] == 2, source(node)
            problem = source(node)["problem"]
            assert "of which 0 can be used" in problem and "2 of 2 instances are left out" in problem, problem
            assert r"atlantis\u{9b}\u{202e}" in problem, problem
            inventory.list("192.0.2.1:80", "192.0.2.2:80", region="eu-west")
            wait_until(lambda: source(node)["state"] == "ok" and source(node)["left_out"] == 0, 15)
            assert served(node) == BOTH and source(node)["problem"] is None


def test_instances_with_names_that_the_files_or_another_source_have_are_left_out(dir):
    with Inventory() as inventory:
        groups = [{"targets": [f"192.0.2.{n}:80"], "labels": {"name": name}} for n, name in enumerate(("web", "all", "shop"), 1)]
        inventory.body = json.dumps(groups).encode()
        source = {"type": "http", "url": inventory.url, "every": "1s", "pool": "web"}
        sections = {"defaults": {"ttl": {"max": "1s", "min": "0s"}}, "pool": {"web": {}}}
        discover = {"shop": {**source, "max": 100}, "web": {**source, "max": 100}}
        names = {"www": {"pool": "web", "answers": 8, "types": ["A"], "on_empty": "nodata"}}
        with Node(dir, files(policy(**sections, discover=discover, name=names))) as node:
            wait_until(lambda: served(node) == {"192.0.2.3"}, 15)

            def sources():
                return {of["name"]: of for of in node.status()["sources"]}

            wait_until(lambda: sources()["discover.web"]["left_out"] == 3, 15)
            shop, web = sources()["discover.shop"], sources()["discover.web"]
            assert (shop["endpoints"], shop["left_out"], web["endpoints"]) == (1, 2, 0), (shop, web)
            assert "2 of 3 instances are left out: `192.0.2.1:80`: the file has an endpoint or a pool" in shop["problem"], shop
            assert "`192.0.2.2:80`: `all` has another meaning in `on_empty`" in shop["problem"], shop
            assert "1 of 1 endpoints are left out: `shop`: [discover.shop] has an endpoint of this name" in web["problem"], web
            listed = [line for line in node.command("events").stdout.splitlines() if "gone -> listed" in line]
            assert listed and not any(" all " in line or " web " in line for line in listed), listed
