"""Several monitors combined, with real listeners."""
import json
import socket

from portolan import Node, files, policy, tcp_monitor
from processes import wait_until


def zone(web, maintenance):
    """`www` is up while the port `web` accepts connections and the port `maintenance` does not."""
    return files(policy(
        defaults={"ttl": "5s", "on_empty": "nodata"},
        monitor={
            "web": tcp_monitor(web),
            "maintenance": tcp_monitor(maintenance),
            "working": {"type": "not", "monitor": "maintenance"},
            "service": {"type": "all", "monitors": ["web", "working"]},
        },
        endpoint={"fra1": {"addresses": ["127.0.0.1"], "monitor": "service"}},
        name={"www": {"pool": "fra1"}},
    ))


def listener(port=0):
    server = socket.create_server(("127.0.0.1", port), backlog=4096)
    return server, server.getsockname()[1]


def test_all_of_the_service_and_no_maintenance(dir):
    web, at = listener()
    maintenance, flag = listener()
    maintenance.close()
    with Node(dir, zone(at, flag)) as node, web:
        is_up = lambda: node.addresses("www.svc.example.") == ["127.0.0.1"]
        why = lambda: json.loads(node.get("/v1/transitions")[1])[0]["why"]
        assert is_up()
        with listener(flag)[0]:
            wait_until(lambda: not is_up(), 10)
            assert "`maintenance` is up" in why()
            verdicts = node.status()["zones"][0]["endpoints"][0]["verdicts"]
            assert [verdict["health"] for verdict in verdicts] == ["up", "down"], "one for each monitor"
        wait_until(is_up, 10)
        web.close()
        wait_until(lambda: not is_up(), 10)
        assert "`web`: connection refused" in why()
