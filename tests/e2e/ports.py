"""Ports that stay free: below those that the system gives to connections and to port 0, so that nothing takes one of them
while a server is down between two starts."""
import contextlib
import random
import socket
from pathlib import Path

FIRST = 10_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count, host="127.0.0.1"):
    """Ports of which UDP and TCP are free now. Tests that run at the same time choose by chance from thousands."""
    # Where the system's own range begins lower, they are free now, and probably stay so.
    end = max(int(RANGE.read_text().split()[0]), FIRST + 10_000)
    with contextlib.ExitStack() as bound:
        ports = []
        while len(ports) < count:
            port = random.SystemRandom().randrange(FIRST, end)
            sockets = [socket.socket(type=kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
            [bound.enter_context(each) for each in sockets]
            try:
                [each.bind((host, port)) for each in sockets]
            except OSError:
                continue
            ports.append(port)
        return ports
