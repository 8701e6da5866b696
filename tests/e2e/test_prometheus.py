"""A real Prometheus: it reads the metrics, the alerts have tests, and each expression of the dashboard gives data."""
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from portolan import Node, environment, files, policy, tcp_monitor
from ports import free_ports
from processes import Child, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus")

DOCKER = Path(__file__).parents[2] / "docker"

def promtool(*argv, **how):
    return subprocess.run(["promtool", *argv], capture_output=True, text=True, timeout=60, **how)


def test_the_alerts_and_their_tests():
    for argv in (["check", "rules", DOCKER / "fleet/alerts.yml"], ["test", "rules", DOCKER / "fleet/alerts.test.yml"]):
        done = promtool(*map(str, argv))
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_are_as_prometheus_wants_them(dir):
    with Node(dir, files(policy(endpoint={"one": {"addresses": ["192.0.2.1"]}}, name={"www": {"pool": "one"}}))) as node:
        node.ask("www.svc.example.")
        done = promtool("check", "metrics", input=node.get("/metrics")[1])
        assert done.returncode == 0, done.stdout + done.stderr


def expressions(dashboard):
    """The expressions of the panels and of the variables, with values for what Grafana puts in."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5s").replace("$zone", ".*")
    for variable in dashboard["templating"]["list"]:
        for of in re.findall(r"label_values\((\w+), \w+\)", str(variable.get("query"))):
            yield of


def test_each_expression_of_the_dashboard_gives_data(dir, endpoints):
    dashboard = json.loads((DOCKER / "grafana/portolan.json").read_text())
    (port,) = free_ports(1)
    one = endpoints("one")
    zone = policy(
        monitor={"web": tcp_monitor(one.port)},
        endpoint={"one": {"addresses": ["192.0.2.1"], "probe": one.at, "monitor": "web", "region": "eu-west"}},
        name={"www": {"pool": "one"}},
    )
    with Node(dir, files(zone)) as node:
        host, http = node.http
        (dir / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "portolan", "static_configs": [{"targets": [f"{host}:{http}"]}]}],
        }))
        prometheus = Child(
            ["prometheus", f"--config.file={dir}/prometheus.yml", f"--storage.tsdb.path={dir}/tsdb",
             f"--web.listen-address=127.0.0.1:{port}"], dir, "prometheus", env=environment(),
        )
        try:
            wait_until(lambda: "Server is ready to receive web requests" in prometheus.err(), 30)
            lacking = set(expressions(dashboard))

            def all_have_data():
                # Time is measured for one message in 64.
                for _ in range(70):
                    node.ask("www.svc.example.")
                for expression in list(lacking):
                    if query(port, expression):
                        lacking.discard(expression)
                return not lacking

            wait_until(all_have_data, 40, step=0.3)
        finally:
            prometheus.end()


def query(port, expression):
    where = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(where, timeout=10) as reply:
        found = json.load(reply)
    assert found["status"] == "success", found
    return found["data"]["result"]
