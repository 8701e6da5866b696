"""Two names on the same hosts, each with its own monitor."""
import socket

import pytest
from portolan import Node, files, policy, tcp_monitor
from processes import wait_until


def zone(web, api, **of_api):
    """The names www and api on both hosts. `of_api` has the keys of api in addition to its pool."""
    return files(policy(
        defaults={"ttl": "5s", "on_empty": "nodata"},
        monitor={"web": tcp_monitor(web), "api": tcp_monitor(api)},
        endpoint={
            "one": {"addresses": ["127.0.0.1"], "monitor": "web"},
            "two": {"addresses": ["127.0.0.2"], "monitor": "web"},
        },
        pool={"both": {"members": ["one", "two"], "steer": "failover"}},
        name={"www": {"pool": "both"}, "api": {"pool": "both", **of_api}},
    ))


@pytest.fixture
def listeners():
    """Both services on both hosts: `[host][service]`."""
    hosts, ports, open_ones = ["127.0.0.1", "127.0.0.2"], {}, []
    for service in ["web", "api"]:
        first = socket.create_server((hosts[0], 0), backlog=4096)
        ports[service] = first.getsockname()[1]
        second = socket.create_server((hosts[1], ports[service]), backlog=4096)
        open_ones += [(service, first), (service, second)]
    yield ports, open_ones
    for _, server in open_ones:
        server.close()


def test_one_service_dies_and_only_its_name_moves(dir, listeners):
    ports, servers = listeners
    with Node(dir, zone(**ports, monitor="api")) as node:
        answers = lambda: [node.addresses(f"{name}.svc.example.") for name in ["www", "api"]]
        assert answers() == [["127.0.0.1"], ["127.0.0.1"]]
        next(server for service, server in servers if service == "api").close()
        wait_until(lambda: answers() == [["127.0.0.1"], ["127.0.0.2"]], 10)
        # The endpoint that is up again comes first again. The other service has no effect on this name.
        servers.append(("api", socket.create_server(("127.0.0.1", ports["api"]), backlog=4096)))
        next(server for service, server in servers if service == "web").close()
        wait_until(lambda: answers() == [["127.0.0.2"], ["127.0.0.1"]], 10)
        # Without its own monitor `api` follows the endpoints.
        node.write("svc.example.policy.toml", zone(**ports)["svc.example.policy.toml"])
        wait_until(lambda: answers() == [["127.0.0.2"], ["127.0.0.2"]], 10)
        node.write("svc.example.policy.toml", zone(**ports, monitor="api")["svc.example.policy.toml"])
        wait_until(lambda: answers() == [["127.0.0.2"], ["127.0.0.1"]], 10)
