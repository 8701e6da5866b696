"""The status page in a real browser with the size of a phone: nothing is too wide, and the page shows what is wrong."""
import contextlib
import json
import shutil
import subprocess
import urllib.request

import pytest

from portolan import MASTER, Node
from processes import wait_until
from test_operator import operate, write_tokens

DRIVER = shutil.which("chromedriver")
PHONE = {"width": 360, "height": 740, "pixelRatio": 1.0}
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


@contextlib.contextmanager
def browser():
    """A phone's browser, as a function that runs a script in the page; `open` opens a page."""
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = next(line.split(" on port ")[1].strip(". \n") for line in driver.stdout if " successfully on port " in line)

        def call(method, path, body=None):
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"}, method=method)
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]

        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            "mobileEmulation": {"deviceMetrics": PHONE},
        }
        session = call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})["sessionId"]
        try:
            yield (
                lambda url: call("POST", f"/session/{session}/url", {"url": url}),
                lambda script: call("POST", f"/session/{session}/execute/sync", {"script": script, "args": []}),
            )
        finally:
            call("DELETE", f"/session/{session}")
    finally:
        driver.terminate()
        driver.wait(10)


@pytest.mark.skipif(DRIVER is None, reason="needs chromedriver (Debian: chromium-driver)")
def test_the_page_on_a_phone(dir):
    write_tokens(dir)
    zones = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}
    with Node(dir, zones, settings=SETTINGS) as node, browser() as (open, run):
        node.wait_health(LONG, "down")
        assert operate(node, "drain", "region:us-east", "--why", "rack move").returncode in (0, 1)
        open(node.url + "/")
        run(
            "document.querySelector('[name=name]').value = 'www.svc.example';"
            "document.querySelector('[name=type]').value = 'AAAA';"
            "document.querySelector('[name=client]').value = '192.0.2.77';"
            "document.querySelector('#explain button').click();"
        )
        wait_until(lambda: run("return document.querySelectorAll('#explanation table').length") == 2, 20)
        wait_until(lambda: "rack move" in run("return document.getElementById('board').textContent"), 20)
        width, widest = run("return [innerWidth, document.documentElement.scrollWidth]")
        assert width == PHONE["width"] and widest <= width, f"{widest} px wide"
        health = lambda region: run(f"return document.querySelector('[data-region={region}]').dataset.health")
        assert (health("eu-west"), health("us-east")) == ("down", "up")
        text = run("return document.getElementById('board').textContent")
        assert "down because: " in text and "drained" in text, text
