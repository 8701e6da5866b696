"""The page shows what happens while it happens: a region that dies, a break of its connection, a blind vantage."""
import re
import time

import pytest

import portolan
from browser import DRIVER
from page_scene import MANY_PLACES, page_of
from processes import wait_until
from relay import Relay

pytestmark = pytest.mark.skipif(DRIVER is None, reason="needs chromedriver (Debian: chromium-driver)")


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


def test_the_timeline_goes_on_after_a_break_without_a_gap(dir):
    with page_of(dir) as (scene, browser):
        relay = Relay(portolan.split_address(scene.node.url.removeprefix("http://")))
        browser.open(f"http://127.0.0.1:{relay.port}/")
        browser.wait_text("#contact", "live")
        scene.lose("ap-south")
        browser.wait_text("#transitions", "ap-south-1")
        relay.cut()
        browser.wait_text("#contact", "no answer from the server")
        assert browser.run("return document.title") == "(no answer) ns1 Portolan"
        scene.lose("us-east")
        scene.node.wait_health("us-east-1", "down")
        relay.listen(relay.port)
        browser.wait_text("#transitions", "us-east-1")
        browser.wait_text("#contact", "live")
        assert "no answer" not in browser.run("return document.title")
        assert browser.run("return document.querySelectorAll('#transitions li').length") == 2, browser.text("#transitions")
        relay.cut()


def test_a_blind_vantage_is_not_all_green(dir):
    with page_of(dir, places=MANY_PLACES) as (scene, browser):
        browser.wait_text("#contact", "live")
        for door in scene.doors.values():
            door.silence()
        browser.wait_text("#vantages", "blind", 40)
        browser.wait_text("#facts", "5 of 5 up, last known")
        assert "vantage ns1 (eu-west) is blind, so its verdicts stay as they were" in browser.text("#problems")
        states = browser.run("return [...document.querySelectorAll('.world .marker, .world .arc')].map((each) => each.classList[1])")
        assert set(states) == {"last"}, states
        assert "up, last known" in browser.text("#matrix")
