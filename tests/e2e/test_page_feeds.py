"""The page and the terminal show sources of endpoints, sinks of events and followed streams: their states, counts, last
changes, and what is wrong with them."""
import contextlib
import shutil

import pytest

import portolan
from browser import DRIVER, PHONE, chromium
from page_scene import axe_violations
from portolan import Node
from ports import free_ports
from receiver import SECRET, Receiver
from test_discovery import Inventory, web
from test_page import is_narrow
from test_top import Tmux

TARGETS = ("192.0.2.1:80", "192.0.2.2:80")


@contextlib.contextmanager
def server_with_feeds(dir):
    """A source and a sink that work, and a stream that nobody serves."""
    (dir / "node").mkdir()
    (dir / "node" / "webhook.secret").write_text(SECRET + "\n")
    (dir / "node" / "webhook.secret").chmod(0o600)
    with Inventory() as inventory, Receiver() as receiver:
        inventory.list(*TARGETS)
        settings = portolan.SETTINGS + (
            f'\n[sink.audit]\ntype = "webhook"\nurl = "{receiver.url}"\nsecret_file = "webhook.secret"\n'
            f'\n[follow.other]\ntype = "nats"\nservers = ["nats://127.0.0.1:{free_ports(1)[0]}"]\nsubject = "portolan.events"\n'
        )
        with Node(dir, web(inventory), settings=settings) as node:
            yield inventory, node


def row(browser, feed):
    """The cells of a feed by their labels, with its level."""
    return browser.run(
        "const row = document.querySelector(`#feeds [data-feed='${arguments[0]}']`); if (!row) return {};"
        "const cells = [...row.querySelectorAll('td')].map((cell) => [cell.dataset.label, cell.textContent]);"
        "return { level: row.dataset.level, name: row.querySelector('th[scope=row]').textContent, ...Object.fromEntries(cells) };",
        feed,
    )


@pytest.mark.skipif(DRIVER is None, reason="needs chromedriver (Debian: chromium-driver)")
def test_the_page_shows_each_feed_while_it_changes(dir):
    with server_with_feeds(dir) as (inventory, node), chromium() as browser:
        browser.open(node.url + "/")
        browser.run("window.isSamePage = true")
        is_row = lambda feed, **cells: browser.wait(
            "const [wanted, feed] = [" + str({key.replace("_", " "): value for key, value in cells.items()}) + f", '{feed}'];"
            "const row = document.querySelector(`#feeds [data-feed='${feed}']`); if (!row) return false;"
            "const at = (label) => row.querySelector(`[data-label='${label}']`)?.textContent ?? row.dataset[label];"
            "return Object.entries(wanted).every(([label, text]) => at(label).includes(text))",
            60,
        )
        is_row("discover.web", level="up", State="live", Counts="2 endpoints")
        assert row(browser, "discover.web")["name"] == "discover.web http, svc.example."
        assert ":" in row(browser, "discover.web")["Last change"], "a time of day"
        is_row("sink.audit", level="up", State="live", Counts="delivered, 0 behind")
        is_row("follow.other", level="warning", State="away")
        browser.wait_text("#problems", "Note: follow.other is away, so what it has set stays: ", 60)
        assert "discover.web" not in browser.text("#problems")

        inventory.list(*TARGETS, "192.0.2.3:80")
        is_row("discover.web", Counts="3 endpoints")
        # An address is missing in the list: what can be used goes on, and the entry is named.
        inventory.list(*TARGETS, "192.0.2.3:80", "host.example:80")
        is_row("discover.web", level="warning", State="live", Counts="3 endpoints, 1 left out", What_is_wrong="host.example")
        inventory.list()
        is_row("discover.web", level="down", State="kept", Counts="3 endpoints", What_is_wrong="--confirm-removal")
        browser.wait_text("#problems", "Bad: discover.web is kept, because too much disappeared at once: ")
        browser.wait("return document.title.startsWith('(1)')")
        inventory.list(*TARGETS)
        is_row("discover.web", level="up", State="live")
        inventory.status = 503
        is_row("discover.web", level="down", State="bad, its list is ", Counts="2 endpoints", What_is_wrong="503")
        browser.wait_text("#problems", "Bad: discover.web is bad, so its last list stays: ")
        inventory.end()
        is_row("discover.web", level="warning", State="away, its list is ", Counts="2 endpoints", What_is_wrong="refused")
        browser.wait_text("#problems", "Note: discover.web is away, so its last list stays: ")
        browser.wait_text("#transitions", "discover.web")
        assert browser.run("return window.isSamePage"), "without a reload"

        # The filter selects them, and the tenth key goes to the last section.
        browser.fill("#filter", find="audit")
        browser.wait("return document.querySelectorAll('#feeds tbody tr').length === 1")
        browser.run("const box = document.querySelector('#find'); box.value = ''; box.dispatchEvent(new Event('input', { bubbles: true }))")
        browser.wait("return document.querySelectorAll('#feeds tbody tr').length === 3")
        press = "document.dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0], bubbles: true }))"
        for key, section in [("7", "#feeds"), ("0", "#act")]:
            browser.run(press, key)
            browser.wait(f"return location.hash === '{section}'")

        # For a screen reader, in light and dark, and on a phone.
        assert browser.run("return document.querySelector('#feeds caption').textContent").startswith("State, counts and last change")
        for scheme in ("light", "dark"):
            browser.prefer(color_scheme=scheme, reduced_motion="reduce")
            assert axe_violations(browser) == [], scheme
        browser.resize(PHONE["width"], PHONE["height"])
        is_narrow(browser)
        label = browser.run("return getComputedStyle(document.querySelector('#feeds td'), '::before').content")
        assert "State" in label, label


@pytest.mark.skipif(DRIVER is None, reason="needs chromedriver (Debian: chromium-driver)")
def test_without_feeds_there_is_no_section(dir):
    with Node(dir, portolan.files(portolan.policy(endpoint={"a": {"addresses": ["192.0.2.1"]}}, name={"www": {"pool": "a"}}))) as node:
        with chromium() as browser:
            browser.open(node.url + "/")
            browser.wait_text("#contact", "live")
            hidden = "return [...document.querySelectorAll('#feeds, nav a[href=\"#feeds\"]')].map((node) => node.hidden)"
            assert browser.run(hidden) == [True, True]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_the_terminal_shows_each_feed(dir):
    with server_with_feeds(dir) as (inventory, node), Tmux(dir, None, "feeds", (140, 30)) as tmux:
        tmux.top("--server", node.url)
        tmux.wait("Note: follow.other is away, so what it has set stays", bound=60)
        tmux.type("6")
        tmux.wait("[6 Sources]", "discover.web", "2 endpoints", "sink.audit", "delivered", "> follow.other", "away", bound=60)
        inventory.end()
        tmux.wait("away, its list is", bound=60)
        tmux.type("1")
        tmux.wait("Note: discover.web is away, so its last list stays", bound=60)
        tmux.type("q")
        assert tmux.end_of_top() == 0
