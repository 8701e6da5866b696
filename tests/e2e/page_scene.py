"""A server with regions on a map, for tests of the page: endpoints that a test can close, tokens, and a browser."""
import contextlib
import socket
import threading
from pathlib import Path

from browser import chromium
from portolan import BASE, MASTER, Node, policy
from test_operator import ALICE, write_tokens

# Latitude and longitude.
PLACES = {"eu-west": [53.34, -6.26], "us-east": [39.04, -77.48], "ap-south": [19.07, 72.87]}
# A vantage that hears from none of so many hosts is blind; with fewer it can't know.
MANY_PLACES = {**PLACES, "sa-east": [-23.5, -46.6], "ap-east": [1.35, 103.8]}

SETTINGS = BASE + """
[api]
token_file = "tokens"
"""


def settings_of(places):
    each = enumerate(places.items(), 1)
    return SETTINGS + "".join(f'[regions.{name}]\nlocation = {at}\nnets = ["127.{n}.0.0/16"]\n' for n, (name, at) in each)


class Door:
    """A listening socket for probes. `close` refuses further connections; after `silence` nothing answers."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.port = self.listening.getsockname()[1]
        self.is_silent, self.held = False, None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while not self.is_silent:
                self.listening.accept()[0].close()

    def silence(self):
        """The queue of connections fills up, and the kernel drops what comes after."""
        self.is_silent = True

    def close(self):
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        if self.held is None:
            # Nobody listens, and no other test gets the port. Connections that were closed lately don't hinder the bind.
            self.held = socket.socket()
            self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.held.bind(("127.0.0.1", self.port))
            self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def end(self):
        self.close()
        self.held.close()


class Scene:
    """`doors` are the sockets that the endpoints of each region are probed at."""

    def __init__(self, dir, of_each=1, places=PLACES):
        write_tokens(dir)
        self.token = ALICE
        self.doors = {region: Door() for region in places}
        endpoints = {}
        for at, (region, door) in enumerate(self.doors.items(), 1):
            for number in range(of_each):
                endpoints[f"{region}-{number + 1}"] = {
                    "addresses": [f"192.{at}.{number // 250}.{number % 250 + 1}"], "region": region, "monitor": "door",
                    "probe": f"127.0.0.1:{door.port}", "capacity": 5000,
                }
        first = [f"{region}-1" for region in places]
        text = policy(
            # The time-out is long, so that a busy machine answers in time. A closed door refuses each probe at once.
            monitor={"door": {"type": "tcp", "interval": "200ms", "timeout": "3s", "fall": 2}},
            endpoint=endpoints,
            pool={"near": {"members": list(endpoints)[:300], "steer": "nearest"}, "first": {"members": first, "steer": "failover"}},
            name={"www": {"pool": "near"}, "db": {"pool": "first", "failback": "manual"}},
        )
        self.node = Node(dir, {"svc.example.policy.toml": text, "svc.example.zone": MASTER}, settings=settings_of(places))

    def lose(self, region):
        self.doors[region].close()

    def end(self):
        self.node.child.end()
        for door in self.doors.values():
            door.end()


@contextlib.contextmanager
def page_of(dir, path="/", **how):
    """with page_of(dir) as (scene, browser): the page is open and has its first data."""
    scene = Scene(dir, **how)
    try:
        with chromium() as browser:
            browser.open(scene.node.url + path)
            browser.wait("return document.querySelectorAll('#facts .fact').length > 3")
            yield scene, browser
    finally:
        scene.end()


def axe_violations(browser):
    """What axe-core finds on the page as it is now: one line for each rule that is violated."""
    import axe_core_python

    browser.run((Path(axe_core_python.__file__).parent / "axe.min.js").read_text())
    return browser.run_async(
        "const done = arguments[arguments.length - 1];"
        "const words = ({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(' ')}`;"
        "axe.run({ resultTypes: ['violations'] }).then((found) => done(found.violations.map(words)), (error) => done([`${error}`]));"
    )
