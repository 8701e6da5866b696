"""Several monitors as one, against real listeners."""
import json
import socket

from portolan import MASTER, Node
from processes import wait_until

POLICY = """
zone = "svc.example."

[defaults]
ttl = "5s"
on_empty = "nodata"

[monitor.web]
type = "tcp"
port = {web}
interval = "100ms"
timeout = "100ms"

[monitor.maintenance]
type = "tcp"
port = {maintenance}
interval = "100ms"
timeout = "100ms"

[monitor.working]
type = "not"
monitor = "maintenance"

[monitor.service]
type = "all"
monitors = ["web", "working"]

[endpoint.fra1]
addresses = ["127.0.0.1"]
monitor = "service"

[name.www]
pool = "fra1"
"""


def listener(port=0):
    server = socket.create_server(("127.0.0.1", port), backlog=4096)
    return server, server.getsockname()[1]


def test_all_of_the_service_and_no_maintenance(dir):
    web, at = listener()
    maintenance, flag = listener()
    maintenance.close()
    policy = POLICY.format(web=at, maintenance=flag)
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}) as node, web:
        is_up = lambda: node.addresses("www.svc.example.") == ["127.0.0.1"]
        why = lambda: json.loads(node.get("/v1/transitions")[1])[0]["why"]
        assert is_up()
        with listener(flag)[0]:
            wait_until(lambda: not is_up(), 10)
            assert "`maintenance` is up" in why()
            verdicts = node.status()["zones"][0]["endpoints"][0]["verdicts"]
            assert [verdict["health"] for verdict in verdicts] == ["up", "down"], "each monitor's own"
        wait_until(is_up, 10)
        web.close()
        wait_until(lambda: not is_up(), 10)
        assert "`web`: connection refused" in why()
