"""Nodes of a fleet: the settings of servers and vantages, and a vantage without a server."""
import contextlib
import json
import urllib.request

from portolan import BINARY, environment, parse_metrics, split_address
from processes import Child, wait_until

READY = r"^ready vantage=(\S+) region=(\S+) http=(\S+)$"
REGIONS = "".join(f"\n[regions.{name}]\n" for name in ("eu-west", "eu-central", "us-east"))


def settings(urls, node, region, more="", server=True, fleet="", cluster="prod"):
    """The settings of a node of the fleet `cluster`, whose NATS servers are at `urls`. `fleet` is added to [fleet]."""
    urls = [urls] if isinstance(urls, str) else urls
    dns = 'dns = ["127.0.0.1:0"]\n' if server else ""
    return (
        f'region = "{region}"\nnode = "{node}"\n[listen]\n{dns}http = "127.0.0.1:0"\n'
        f'[fleet]\nnats = {json.dumps(urls)}\ncluster = "{cluster}"\n{fleet}\n{more}{REGIONS}'
    )


class VantageNode:
    """with VantageNode(dir, nats.url, "nyc1", "us-east") as vantage: vantage.status(). With `ready=False` it is not waited for."""

    def __init__(self, dir, urls, node, region, ready=True, bound=60, place=None, **how):
        self.dir = dir / node
        self.dir.mkdir()
        self.settings = self.dir / "portolan.toml"
        self.settings.write_text(settings(urls, node, region, server=False, **how))
        self.child = Child([BINARY, "probe", "--config", self.settings], self.dir, "probe", place=place, env=environment())
        try:
            if ready:
                self.wait_ready(bound)
        except BaseException:
            self.child.end()
            raise

    def wait_ready(self, bound=60):
        self.ready = self.child.wait_line(READY, bound)
        self.http = split_address(self.ready[3])

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.http[0]}:{self.http[1]}{path}", timeout=10) as reply:
            return reply.read().decode()

    def status(self):
        return json.loads(self.get("/v1/status"))

    def metric(self, name, /, **labels):
        """The sum of the samples of `name` that have these labels; None if there is none."""
        samples = parse_metrics(self.get("/metrics"))
        found = [v for (n, have), v in samples.items() if n == name and set(labels.items()) <= have]
        return sum(found) if found else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()


def verdicts(node, endpoint):
    """{vantage: health} of an endpoint, as a server's status has them; None if there is no such endpoint."""
    for zone in node.status()["zones"]:
        for report in zone["endpoints"]:
            if report["name"] == endpoint:
                return {verdict["vantage"]: verdict["health"] for verdict in report["verdicts"]}
    return None


def wait_verdicts(node, endpoint, expected, bound=40):
    with contextlib.suppress(AssertionError):
        return wait_until(lambda: verdicts(node, endpoint) == expected, bound, 0.05)
    raise AssertionError(f"not within {bound} s: {expected}, last {node.status()}")


def targets(node):
    """What a node knows of the fleet's targets."""
    return node.status()["fleet"]["targets"]
