"""A headless Chromium for tests of the page, driven by the WebDriver protocol of chromedriver (W3C)."""
import base64
import contextlib
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

from processes import leashed, wait_until

DRIVER = shutil.which("chromedriver")
PHONE = {"width": 360, "height": 740, "pixelRatio": 1.0}
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
    "--disable-background-networking", "--disable-component-update", "--no-first-run",
]


class Browser:
    """One window. `run` executes a script in the page and returns what it returns."""

    def __init__(self, call, session):
        self.call = lambda method, path, body=None: call(method, f"/session/{session}{path}", body)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script):
        """The script calls its last argument with the result."""
        return self.call("POST", "/execute/async", {"script": script, "args": []})

    def devtools(self, command, **params):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def prefer(self, **features):
        """Sets what the reader prefers: `prefer(color_scheme="dark")`."""
        media = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", features=media)

    def resize(self, width, height=900):
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def wait(self, script, bound=20):
        """Polls a script until its result is true."""
        return wait_until(lambda: self.run(script), bound, step=0.02)

    def wait_text(self, selector, text, bound=20):
        wait_until(lambda: text in self.text(selector), bound, step=0.02)

    def fill(self, form, **values):
        """Types into the fields of a form."""
        self.run(
            "const [form, values] = arguments; for (const [name, value] of Object.entries(values)) {"
            "const field = document.querySelector(form).elements[name]; field.value = value;"
            "field.dispatchEvent(new Event('input', { bubbles: true })); }",
            form, values,
        )

    def click(self, selector):
        self.run("document.querySelector(arguments[0]).click()", selector)

    def shoot(self, file, whole=True):
        """Writes a picture of the page."""
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            width = self.run("return innerWidth")
            self.resize(width, min(height, 6000))
        Path(file).write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextlib.contextmanager
def chromium():
    """with chromium() as browser: browser.open(node.url)"""
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=leashed()
    )
    try:
        port = next(line.split(" on port ")[1].strip(". \n") for line in driver.stdout if " successfully on port " in line)

        def call(method, path, body=None):
            data = None if body is None else json.dumps(body).encode()
            url, kind = f"http://127.0.0.1:{port}{path}", {"content-type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(url, data, kind, method=method), timeout=60) as reply:
                return json.load(reply)["value"]

        wanted = {"goog:chromeOptions": {"args": ARGUMENTS}, "goog:loggingPrefs": {"browser": "ALL"}}
        session = call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        browser = Browser(call, session)
        try:
            yield browser
        finally:
            call("DELETE", f"/session/{session}")
    finally:
        driver.terminate()
        driver.wait(10)
