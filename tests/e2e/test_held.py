"""Held connections: a killed process is out of the answers at once; a server that only closes idle connections stays in.

PORTOLAN_HELD_ROUNDS=100 kills that many and prints the percentiles (with pytest -s).
"""
import os
import socket
import statistics
import sys
import time

import pytest

from portolan import MASTER, Node, answers
from processes import Child, wait_until

ROUNDS = int(os.environ.get("PORTOLAN_HELD_ROUNDS", "20"))
INTERVAL = 1.0

# Accepts connections, reads, and sends nothing. It closes a connection that the client has closed, and one that was idle
# for as many seconds as the second argument.
SERVER = """
import selectors, socket, sys, time
idle = float(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print("ready", listener.getsockname()[1], flush=True)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
since = {}
def close(connection):
    selector.unregister(connection)
    del since[connection]
    connection.close()
while True:
    for key, _ in selector.select(0.05 if idle else None):
        if key.fileobj is listener:
            connection, _ = listener.accept()
            selector.register(connection, selectors.EVENT_READ)
            since[connection] = time.monotonic()
            continue
        try:
            gone = not key.fileobj.recv(4096)
        except OSError:
            gone = True
        if gone:
            close(key.fileobj)
    if idle:
        for connection in [c for c, at in since.items() if time.monotonic() - at > idle]:
            close(connection)
"""


class Server:
    """SERVER in its own process."""

    def __init__(self, dir, name, idle=0):
        self.child = Child([sys.executable, "-c", SERVER, idle], dir, name)
        self.port = int(self.child.wait_line(r"^ready (\d+)$", 20)[1])

    def kill(self):
        self.child.process.kill()

    def end(self):
        self.kill()
        self.child.process.wait(5)


@pytest.fixture
def servers(tmp_path):
    """Starts servers; ends them all."""
    started = []

    def start(name, **how):
        started.append(Server(tmp_path, name, **how))
        return started[-1]

    yield start
    for server in started:
        server.end()


def files(ports):
    """A name wN for each port: endpoint eN while it is up, else a spare that is never probed."""
    text = f"""
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.held]
type = "tcp"
interval = "{INTERVAL:.0f}s"
hold = true

[endpoint.spare]
addresses = ["192.0.2.250"]
"""
    for nth, port in enumerate(ports):
        text += f"""
[endpoint.e{nth}]
addresses = ["{address(nth)}"]
probe = "127.0.0.1:{port}"
monitor = "held"

[pool.p{nth}]
steer = "failover"
members = ["e{nth}", "spare"]

[name.w{nth}]
pool = "p{nth}"
"""
    return {"svc.example.policy.toml": text, "svc.example.zone": MASTER}


def address(nth):
    return f"198.51.100.{nth + 1}"


def connections(node):
    """The state of each endpoint's held connection in status."""
    seen = node.status()["zones"][0]["endpoints"]
    return {e["name"]: e["verdicts"][0].get("hold") for e in seen if e["verdicts"]}


def downs(node):
    return [event for event in node.json("/v1/transitions") if event["to"] == "down"]


def last_naming(node, nth, began):
    """Seconds from `began` to the last answer that names this endpoint."""
    last = 0.0
    while True:
        now = time.monotonic() - began
        if answers(node.ask(f"w{nth}.svc.example.")) == [address(nth)]:
            last = now
        if now - last > 0.2:
            return last
        assert now < 10, f"e{nth} is still named"


def test_a_killed_process_is_out_at_once(tmp_path, servers):
    running = [servers(f"server-{nth}") for nth in range(ROUNDS)]
    with Node(tmp_path, files([s.port for s in running])) as node:
        wait_until(lambda: set(connections(node).values()) == {"open"}, 15)
        took = []
        for nth, server in enumerate(running):
            assert answers(node.ask(f"w{nth}.svc.example.")) == [address(nth)]
            began = time.monotonic()
            server.kill()
            took.append(last_naming(node, nth, began) * 1e3)
        took.sort()
        at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
        measured = f"ms to the last answer, {ROUNDS} kills: median {at(0.5):.0f}, 90 % {at(0.9):.0f}, 95 % {at(0.95):.0f}, most {took[-1]:.0f}"
        print(measured)
        # On an idle machine 95 of 100 are under 100 ms. This machine may be busy.
        assert statistics.median(took) < 100, measured
        # What the connection does not show, the next probe does.
        assert took[-1] < 2 * INTERVAL * 1e3, measured
        # The server has the last 64.
        assert len(downs(node)) == min(ROUNDS, 64)


def test_a_server_that_closes_idle_connections_stays_up_and_is_recognized(tmp_path, servers):
    closer = servers("closer", idle=1)
    began = time.monotonic()
    with Node(tmp_path, files([closer.port])) as node:
        wait_until(lambda: connections(node)["e0"] == "open", 10)
        wait_until(lambda: connections(node)["e0"] == "closed by server: interval probing", 30)
        shown = node.command("status").stdout
        assert "connection closed by server: interval probing" in shown
        # Long enough for more closes, if the server had not been recognized.
        time.sleep(max(0, began + 15 - time.monotonic()))
        assert connections(node)["e0"] == "closed by server: interval probing"
        assert downs(node) == []
        assert node.addresses("w0.svc.example.") == [address(0)]


def test_a_process_that_is_replaced_in_place_stays_up_up(tmp_path):
    # Its kernel accepts connections by itself.
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    with Node(tmp_path, files([port])) as node:
        for _ in range(2):
            wait_until(lambda: connections(node)["e0"] == "open", 10)
            listener.close()
            time.sleep(0.01)
            listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            wait_until(lambda: connections(node)["e0"] == "not open", 5)
        wait_until(lambda: connections(node)["e0"] == "open", 10)
        assert downs(node) == []
    listener.close()
