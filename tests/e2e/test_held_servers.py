"""Held connections to real servers, nginx and HAProxy: a killed server is out at once. A reload or a timeout for idle
clients doesn't count as a failure."""
import contextlib
import os
import signal
import time

import pytest

import servers
from portolan import MASTER, Node
from processes import Child, children_of, wait_until
from servers import program
from test_held import downs, connections
from world import Lone

MISSING = [name for name in ("nginx", "haproxy") if program(name) is None]
pytestmark = [pytest.mark.places, pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")]

# So long that only the end of a connection shows the failure in time.
INTERVAL = 30
# name: port. Those in `short` close connections that have no request for a second.
PORTS = {"nginx": 80, "nginx-short": 81, "haproxy": 82, "haproxy-short": 83}

NGINX = """
user root;
worker_processes 2;
daemon off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    server {{ listen 127.0.0.1:80; client_header_timeout 1h; location / {{ return 200 "ok"; }} }}
    server {{ listen 127.0.0.1:81; client_header_timeout 1s; location / {{ return 200 "ok"; }} }}
}}
"""

HAPROXY = """
defaults
    mode http
    timeout client 1h
    timeout http-request 1h
frontend long
    bind 127.0.0.1:82
    http-request return status 200 content-type text/plain string ok
frontend short
    bind 127.0.0.1:83
    timeout http-request 1s
    http-request return status 200 content-type text/plain string ok
"""


def policy():
    text = f'zone = "svc.example."\n[defaults]\nttl = "1s"\n[endpoint.spare]\naddresses = ["192.0.2.250"]\n'
    for nth, (name, port) in enumerate(PORTS.items()):
        text += f"""
[monitor.{name}]
type = "http"
port = {port}
interval = "{INTERVAL}s"
timeout = "10s"
damping = false
hold = true
[endpoint.{name}]
addresses = ["192.0.2.{nth}"]
probe = "127.0.0.1"
monitor = "{name}"
[pool.{name}]
steer = "failover"
members = ["{name}", "spare"]
[name.{name}]
pool = "{name}"
"""
    return text.replace("[pool.", "[pool.p-").replace('pool = "', 'pool = "p-')


class Running:
    """nginx with two workers, HAProxy, and the node that probes them."""

    def __init__(self, dir, place, stack):
        (dir / "nginx.conf").write_text(NGINX.format(dir=dir))
        (dir / "haproxy.cfg").write_text(HAPROXY)
        self.nginx = Child([program("nginx"), "-e", "stderr", "-p", dir, "-c", dir / "nginx.conf"], dir, "nginx", place=place)
        stack.callback(self.nginx.end)
        self.haproxy = Child([program("haproxy"), "-db", "-f", dir / "haproxy.cfg"], dir, "haproxy", place=place)
        stack.callback(self.haproxy.end)
        for port in PORTS.values():
            wait_until(lambda port=port: servers.listens(place, port), 20)
        self.node = stack.enter_context(Node(dir, {"svc.example.policy.toml": policy(), "svc.example.zone": MASTER}, place=place))

    def hold(self, name):
        return connections(self.node)[name]

    def is_named(self, name):
        [address] = self.node.addresses(f"{name}.svc.example.")
        return address != "192.0.2.250"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(Lone())
        yield Running(tmp_path_factory.mktemp("held"), place, stack)


def test_connections_to_servers_without_a_timeout_stay_open(running):
    for name in ("nginx", "haproxy"):
        wait_until(lambda name=name: running.hold(name) == "open", 20)


def test_a_timeout_for_idle_clients_is_recognized(running):
    for name in ("nginx-short", "haproxy-short"):
        wait_until(lambda name=name: running.hold(name) == "closed by server: interval probing", 60)
    assert downs(running.node) == []


def test_a_reload_of_nginx_takes_nothing_down(running):
    """Its workers are replaced, and their connections with them."""
    workers = set(children_of(running.nginx.pid))
    running.nginx.signal(signal.SIGHUP)
    wait_until(lambda: set(children_of(running.nginx.pid)) - workers, 20)
    # However the old worker ends: nothing goes down, and there is a held connection at the end.
    time.sleep(2)
    wait_until(lambda: running.hold("nginx") == "open", 20)
    assert downs(running.node) == []


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_killed_server_is_out_long_before_the_next_probe(running, figure, name):
    wait_until(lambda: running.hold(name) == "open", 20)
    assert running.is_named(name)
    main = getattr(running, name).pid
    pids = [main, *children_of(main)]
    began = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not running.is_named(name), INTERVAL / 2, step=0.002)
    took = time.monotonic() - began
    figure(f"{name} killed, out of the answers after", took * 1e3, "ms")
    # The answers change before the event is written.
    wait_until(lambda: [event["endpoint"] for event in downs(running.node)][:1] == [name], 10)
