"""Processes that hang with a short accept queue: when it is full, their kernels accept no more connections. All are down."""
import signal
import sys

import pytest

from portolan import Node
from processes import Child, wait_until
from regions import region_files, region_settings
from test_blind_answers import NAMES, REGIONS, SORRY

SERVER = """
import socket, sys
listener = socket.socket()
listener.bind((sys.argv[1], 0))
listener.listen(int(sys.argv[2]))
print("ready", listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    try:
        client.settimeout(5)
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    except OSError:
        pass
    client.close()
"""


@pytest.mark.parametrize("backlog", [0, 1, 3])
def test_processes_with_a_full_accept_queue_are_down(dir, backlog):
    probes, servers = {}, []
    try:
        for nth, name in enumerate(NAMES):
            host = f"127.0.{nth + 40}.1"
            servers.append(Child([sys.executable, "-c", SERVER, host, backlog], dir, name))
            port = servers[-1].wait_line(r"^ready (\d+)$", 20)[1]
            probes[name] = f"{host}:{port}"
        with Node(dir, region_files(probes, sorry=SORRY), region_settings(REGIONS)) as node:
            assert len(node.addresses("www.svc.example.")) == len(NAMES)
            for server in servers:
                server.signal(signal.SIGSTOP)
            wait_until(lambda: node.addresses("www.svc.example.") == [SORRY], 15)
            [vantage] = node.status()["vantages"]
            assert vantage["state"] == "up", vantage
    finally:
        for server in servers:
            server.signal(signal.SIGCONT)
            server.end()
