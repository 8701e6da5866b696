"""A server with regions on a map, for tests of the page: endpoints that a test can close, tokens, and a browser."""
import contextlib
import socket
from pathlib import Path

from browser import chromium
from portolan import MASTER, Node, policy
from test_operator import ALICE, write_tokens

# Latitude and longitude.
PLACES = {"eu-west": [53.34, -6.26], "us-east": [39.04, -77.48], "ap-south": [19.07, 72.87]}
SETTINGS = """
region = "eu-west"
node = "ns1"

[listen]
dns = ["127.0.0.1:0"]
http = "127.0.0.1:0"

[api]
token_file = "tokens"
""" + "".join(f"[regions.{name}]\nlocation = {place}\nnets = [\"127.{at}.0.0/16\"]\n" for at, (name, place) in enumerate(PLACES.items(), 1))


def door():
    """A listening socket: the kernel accepts connections until it is closed."""
    return socket.create_server(("127.0.0.1", 0), backlog=64)


class Scene:
    """`doors` are the sockets that the endpoints of each region are probed at."""

    def __init__(self, dir, of_each=1, places=PLACES):
        write_tokens(dir)
        self.token = ALICE
        self.doors = {region: door() for region in places}
        endpoints = {}
        for at, (region, listening) in enumerate(self.doors.items(), 1):
            for number in range(of_each):
                endpoints[f"{region}-{number + 1}"] = {
                    "addresses": [f"192.{at}.{number // 250}.{number % 250 + 1}"], "region": region, "monitor": "door",
                    "probe": f"127.0.0.1:{listening.getsockname()[1]}", "capacity": 5000,
                }
        first = [f"{region}-1" for region in places]
        text = policy(
            monitor={"door": {"type": "tcp", "interval": "200ms", "timeout": "200ms", "fall": 2}},
            endpoint=endpoints,
            pool={"near": {"members": list(endpoints)[:300], "steer": "nearest"}, "first": {"members": first, "steer": "failover"}},
            name={"www": {"pool": "near"}, "db": {"pool": "first", "failback": "manual"}},
        )
        self.node = Node(dir, {"svc.example.policy.toml": text, "svc.example.zone": MASTER}, settings=SETTINGS)

    def lose(self, region):
        self.doors[region].close()

    def end(self):
        self.node.child.end()
        for listening in self.doors.values():
            listening.close()


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
