"""Two names on the same hosts, each judged by a monitor of its own."""
import socket

import pytest
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

[monitor.api]
type = "tcp"
port = {api}
interval = "100ms"
timeout = "100ms"

[endpoint.one]
addresses = ["127.0.0.1"]
monitor = "web"

[endpoint.two]
addresses = ["127.0.0.2"]
monitor = "web"

[pool.both]
members = ["one", "two"]
steer = "failover"

[name.www]
pool = "both"

[name.api]
pool = "both"
monitor = "api"
"""


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
    with Node(dir, {"svc.example.policy.toml": POLICY.format(**ports), "svc.example.zone": MASTER}) as node:
        answers = lambda: [node.addresses(f"{name}.svc.example.") for name in ["www", "api"]]
        assert answers() == [["127.0.0.1"], ["127.0.0.1"]]
        next(server for service, server in servers if service == "api").close()
        wait_until(lambda: answers() == [["127.0.0.1"], ["127.0.0.2"]], 10)
        # The other way round: what is up again comes first again, and the other service is another name's.
        servers.append(("api", socket.create_server(("127.0.0.1", ports["api"]), backlog=4096)))
        next(server for service, server in servers if service == "web").close()
        wait_until(lambda: answers() == [["127.0.0.2"], ["127.0.0.1"]], 10)
        # Without its own monitor `api` goes with the endpoints: the reload is taken while both are asked.
        policy = POLICY.format(**ports).replace('monitor = "api"\n', "")
        node.write("svc.example.policy.toml", policy)
        wait_until(lambda: answers() == [["127.0.0.2"], ["127.0.0.2"]], 10)
        node.write("svc.example.policy.toml", POLICY.format(**ports))
        wait_until(lambda: answers() == [["127.0.0.2"], ["127.0.0.1"]], 10)
