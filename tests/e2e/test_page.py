"""The page for every reader: on a phone, for screen readers, in light and dark, and as text."""
import re
import urllib.request

import pytest

from browser import DRIVER, PHONE, chromium
from page_scene import axe_violations, page_of
from portolan import BASE, MASTER, Node
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
SETTINGS = BASE + """
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


def test_the_last_hour_is_a_call_of_the_api(dir):
    zones = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}
    with Node(dir, zones, settings=SETTINGS.replace('[api]\ntoken_file = "tokens"\n', "")) as node:
        history = lambda query="": node.json(f"/v1/history{query}")
        wait_until(lambda: history().get("end"), 20)
        found = history("?kind=answers&by=region")
        assert (found["step_s"], len(found["qps"]), found["not_stored"]) == (10, 360, 0)
        assert {series["region"] for series in found["series"]} == {"eu-west", "us-east"}
        assert {len(series["values"]) for series in found["series"]} == {360}
        with pytest.raises(AssertionError, match="400 .*kind is answers or rtt"):
            history("?kind=nothing")
        server = node.status()["server"]
        assert (server["node"], server["traffic"]["queries"]) == ("ns1", 0) and server["uptime_s"] < 300
