"""The forms of the page: explain, simulate, and what an operator changes."""
import pytest

from browser import DRIVER
from page_scene import page_of
from processes import wait_until

pytestmark = pytest.mark.skipif(DRIVER is None, reason="needs chromedriver (Debian: chromium-driver)")


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


def test_the_keyboard_reaches_everything_and_its_keys_can_be_turned_off(dir):
    press = "const [key, at] = arguments; (at ? document.querySelector(at) : document.body).dispatchEvent(" \
            "new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))"
    focused = "return document.activeElement.id"
    with page_of(dir) as (_, browser):
        browser.run(press, "/", "")
        assert browser.run(focused) == "find"
        browser.run("document.activeElement.blur()")
        browser.run(press, "5", "")
        browser.wait("return location.hash === '#timeline' && document.activeElement.id === 'timeline'")
        browser.run("document.querySelector('#keys').click(); document.activeElement.blur()")
        browser.run(press, "/", "")
        assert browser.run(focused) != "find"
        # A region of the map is a button: it selects the region.
        browser.run(press, "Enter", ".world .marker[data-region=us-east]")
        browser.wait("return document.querySelectorAll('#matrix tbody[data-region]').length === 1")
        assert browser.run("return location.hash") == "#names?region=us-east"
        assert browser.run("return document.querySelector('.world .marker').tabIndex") == 0


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
        browser.wait_text("#timeline", "rack move (alice")
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
