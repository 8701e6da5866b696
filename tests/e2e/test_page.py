"""The page in a real browser: it shows at once what changes, explains, simulates and acts, for every reader."""
import contextlib
import re
import socket
import threading
import time
import urllib.request

import pytest

from browser import DRIVER, PHONE, chromium
from page_scene import axe_violations, page_of
import portolan
from portolan import MASTER, Node
from processes import wait_until
from test_operator import operate, write_tokens

pytestmark = pytest.mark.skipif(DRIVER is None, reason="needs chromedriver (Debian: chromium-driver)")

LONG = "a-server-with-a-very-long-name-in-the-first-data-center-dublin"

POLICY = f"""
zone = "svc.example."

[monitor.door]
type = "tcp"
interval = "200ms"

[endpoint.{LONG}]
addresses = ["192.0.2.1", "2001:db8:1234:5678:9abc:def0:1234:5678"]
region = "eu-west"
probe = "127.0.0.1:1"
monitor = "door"

[endpoint.nyc1]
addresses = ["192.0.2.2"]
region = "us-east"

[pool.web]
members = ["{LONG}", "nyc1"]
steer = "failover"

[name.www]
pool = "web"
"""
SETTINGS = """
region = "eu-west"
node = "ns1"

[listen]
dns = ["127.0.0.1:0"]
http = "127.0.0.1:0"

[api]
token_file = "tokens"

[regions.eu-west]
[regions.us-east]
"""


def is_narrow(browser):
    width, widest = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
    assert width == PHONE["width"] and widest <= width, f"{widest} px wide"


def test_the_page_on_a_phone(dir):
    write_tokens(dir)
    zones = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}
    with Node(dir, zones, settings=SETTINGS) as node, chromium() as browser:
        node.wait_health(LONG, "down")
        assert operate(node, "drain", "region:us-east", "--why", "rack move").returncode in (0, 1)
        browser.resize(PHONE["width"], PHONE["height"])
        browser.open(node.url + "/")
        browser.wait_text("#problems", "rack move")
        browser.fill("#explain form", name="www.svc.example", type="AAAA", client="192.0.2.77")
        browser.click("#explain button")
        browser.wait("return document.querySelectorAll('#explanation table').length === 2")
        is_narrow(browser)
        regions = browser.run(
            "return [...document.querySelectorAll('#matrix [data-region]')].map(({ dataset }) => "
            "[dataset.region, dataset.health, 'drained' in dataset])"
        )
        assert regions == [["eu-west", "down", False], ["us-east", "up", True]]
        assert "down: connection refused" in browser.text("#matrix")
        browser.fill("#act .token", token="wrong")
        browser.click("#act .token button")
        browser.wait_text("#outcome", "this token is not in the token file")
        is_narrow(browser)
        assert browser.run("return document.querySelector('#act .actions').hidden"), "nothing can be done without a token"


def seen(browser, region):
    """What the map, the matrix, the names and the timeline show of a region."""
    return browser.run(
        "const [region] = arguments; const text = (at) => document.querySelector(at)?.textContent ?? '';"
        "const at = (part) => document.querySelector(`${part} [data-region=\"${region}\"]`)?.dataset.health ?? '';"
        "return { map: at('.world'), matrix: at('#matrix'), names: text('#names'), timeline: text('#transitions'), "
        "problems: text('#problems'), matrixText: text('#matrix') }",
        region,
    )


def test_a_region_that_dies_is_shown_everywhere_within_two_seconds(dir, figure):
    with page_of(dir, of_each=2) as (scene, browser):
        browser.run("window.isSamePage = true")
        browser.wait_text("#contact", "live")
        assert (seen(browser, "us-east")["map"], seen(browser, "us-east")["matrix"]) == ("up", "up")
        assert "Every name gives what its policy prefers" in browser.text("#problems")
        scene.lose("us-east")
        # From the event of the server on: how long its probes take is another test's matter.
        scene.node.wait_health("us-east-1", "down")
        scene.node.wait_health("us-east-2", "down")
        began = time.monotonic()

        def is_shown():
            now = seen(browser, "us-east")
            return (
                (now["map"], now["matrix"]) == ("down", "down")
                and "prefers us-east-1, us-east-2" in now["names"]
                and all(f"{name} svc.example up → down" in re.sub(r"\s+", " ", now["timeline"]) for name in ("us-east-1", "us-east-2"))
                and "connection refused" in now["matrixText"]
                and "region us-east is down" in now["problems"]
            )

        wait_until(is_shown, 10, step=0.02)
        elapsed = time.monotonic() - began
        figure("a dead region is on map, matrix, names and timeline after", elapsed, "s", 2.0)
        assert elapsed < 2.0
        assert browser.run("return window.isSamePage"), "without a reload"
        assert "(1) ns1 Portolan" in browser.run("return document.title")


def test_axe_finds_nothing_in_light_and_dark_with_everything_open(dir):
    with page_of(dir, path="/#simulate?lose=region:us-east") as (scene, browser):
        browser.wait_text("#world .simulated", "Simulated: region:us-east lost. Nothing has changed.")
        browser.fill("#explain form", name="www.svc.example", type="A", client="us-east")
        browser.click("#explain button")
        browser.wait_text("#explanation", "Stage")
        browser.fill("#act .token", token=scene.token)
        browser.click("#act .token button")
        browser.wait("return document.querySelector('#act .change')")
        browser.fill("#act .change", target="ap-south-1", why="rack move")
        browser.click("#act .change button")
        browser.wait_text("#outcome", "Confirm: drain ap-south-1")
        scene.lose("us-east")
        scene.node.wait_health("us-east-1", "down")
        browser.wait_text("#problems", "region us-east is down")
        for scheme in ("light", "dark"):
            browser.prefer(color_scheme=scheme, reduced_motion="reduce")
            assert axe_violations(browser) == [], scheme


def test_explain_and_simulate_have_addresses_that_can_be_sent(dir):
    with page_of(dir, path="/#explain?name=www.svc.example&type=A&client=us-east") as (_, browser):
        browser.wait_text("#explanation", "us-east-1")
        assert "www.svc.example. A for us-east" in browser.text("#explanation")
        browser.run("document.querySelector('#lose input[value=us-east]').checked = true")
        browser.click("#simulate form button")
        browser.wait_text("#simulation", "would be answered by another endpoint")
        assert browser.run("return location.hash") == "#simulate?lose=region%3Aus-east"
        label = browser.run("return document.querySelector('.world [data-region=us-east]').getAttribute('aria-label')")
        assert "would be lost" in label and "→ 0 %" in label, label
        browser.click("#simulate .stop")
        browser.wait("return document.querySelector('#world .simulated').hidden")
        browser.run("const find = document.querySelector('#find'); find.value = 'db.svc';"
                    "find.dispatchEvent(new Event('input', { bubbles: true }))")
        browser.wait("return document.querySelectorAll('#names tbody tr').length === 1")
        assert browser.run("return location.hash") == "#names?q=db.svc"


def test_an_operator_drains_and_clears_by_form_and_sees_before_who_loses_what(dir):
    with page_of(dir) as (scene, browser):
        browser.fill("#act .token", token=scene.token)
        browser.click("#act .token button")
        browser.wait("return document.querySelector('#act .change')")
        assert browser.run("return Object.keys(localStorage).length") == 0, "the token is in this tab only"
        browser.fill("#act .change", action="drain", target="us-east-1", why="rack move", **{"for": "1h"})
        browser.click("#act .change button")
        browser.wait_text("#outcome", "of the questions would be answered by another endpoint")
        assert scene.node.json("/v1/status")["zones"][0]["endpoints"][1]["override"] is None, "it is only a preview"
        browser.click("#act .danger")
        browser.wait_text("#outcome", "Done: drain us-east-1 for 1h, by alice.")
        browser.wait_text("#matrix", "drained")
        browser.wait_text("#problems", "us-east-1 is drained by alice: rack move, until")
        browser.wait_text("#timeline", "rack move (alice)")
        entry = scene.node.json("/v1/status")["zones"][0]["endpoints"][1]["override"]
        assert (entry["state"], entry["who"], entry["why"]) == ("drain", "alice", "rack move")
        browser.fill("#act .change", action="drain", target="zone:svc.example.", why="all of it")
        browser.click("#act .change button")
        browser.wait_text("#outcome", "Confirm: drain zone:svc.example.")
        browser.wait_text("#act .overrides", "Clear us-east-1")
        browser.click("#act .overrides button")
        browser.wait_text("#outcome", "Confirm: clear us-east-1")
        browser.click("#act .danger")
        browser.wait_text("#outcome", "Done: clear us-east-1")
        wait_until(lambda: scene.node.json("/v1/status")["zones"][0]["endpoints"][1]["override"] is None, 10)


class Relay:
    """Passes connections on to `target`, (host, port), until it is cut."""

    def __init__(self, target):
        self.target, self.open = target, []
        self.listen(0)

    def listen(self, port):
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listening,), daemon=True).start()

    def accept(self, listening):
        with contextlib.suppress(OSError):
            while True:
                near, far = listening.accept()[0], socket.create_connection(self.target)
                self.open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for end in [self.listening, *self.open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.open = []


def test_the_timeline_goes_on_after_a_break_without_a_gap(dir):
    with page_of(dir) as (scene, browser):
        relay = Relay(portolan.split_address(scene.node.url.removeprefix("http://")))
        browser.open(f"http://127.0.0.1:{relay.port}/")
        browser.wait_text("#contact", "live")
        scene.lose("ap-south")
        browser.wait_text("#transitions", "ap-south-1")
        relay.cut()
        browser.wait_text("#contact", "no answer from the server")
        scene.lose("us-east")
        scene.node.wait_health("us-east-1", "down")
        relay.listen(relay.port)
        browser.wait_text("#transitions", "us-east-1")
        browser.wait_text("#contact", "live")
        assert browser.run("return document.querySelectorAll('#transitions li').length") == 2, browser.text("#transitions")
        relay.cut()


def test_a_program_reads_the_page_as_text(dir):
    write_tokens(dir)
    zones = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}
    with Node(dir, zones, settings=SETTINGS) as node:
        with urllib.request.urlopen(node.url + "/") as reply:
            text, allowed = reply.read().decode(), reply.headers["content-security-policy"]
        assert 'data-region="us-east" data-health="up"' in text
        assert "default-src 'none'" in allowed and "unsafe" not in allowed
        # Everything is in this one text.
        assert not re.findall(r"(?:src|href)=\"(?!#|data:)", text)
