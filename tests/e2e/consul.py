"""A server that keeps to the documented API of Consul for services: registration, checks, and blocking queries of
/v1/health/service with their index. With CONSUL_BIN, a real agent is used instead, by the same calls.

Debian 12 has no package of Consul, so the tests run with the server of this file."""
import json
import os
import socket
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ports import free_ports
from processes import Child, wait_until

STATUS = {"pass": "passing", "warn": "warning", "fail": "critical"}


class Store:
    """The services of one node, and the index of the last change of each service."""

    def __init__(self):
        self.changed = threading.Condition()
        self.index, self.indexes, self.services, self.denied = 10, {}, {}, False

    def change(self, service, act):
        """Changes entries of a service."""
        with self.changed:
            act(self.services)
            self.index += 1
            self.indexes[service] = self.index
            self.changed.notify_all()

    def name(self, id):
        return self.services[id]["Service"]["Service"]

    def wait(self, service, index, seconds):
        """Waits for an index above this one; the entries of a service."""
        with self.changed:
            present = lambda: self.indexes.get(service, 10)
            self.changed.wait_for(lambda: present() != index, seconds if index else 0)
            entries = [entry for entry in self.services.values() if entry["Service"]["Service"] == service]
            return present(), json.dumps(entries)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, index=None):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if index is not None:
            self.send_header("X-Consul-Index", str(index))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        store = self.server.store
        if url.path == "/v1/status/leader":
            return self.reply(200, '"127.0.0.1:8300"')
        if store.denied:
            return self.reply(403, "Permission denied")
        service = url.path.removeprefix("/v1/health/service/")
        if "/" in service:
            return self.reply(404, "")
        wait = query.get("wait", "300s")
        index, body = store.wait(service, int(query.get("index", 0)), float(wait.rstrip("s")))
        if self.server.is_open:
            self.reply(200, body, index)
        else:
            self.close_connection = True

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urllib.parse.urlsplit(self.path).path.split("/")[3:]
        store = self.server.store
        match parts:
            case ["service", "register"]:
                new = json.loads(body)
                store.change(new["Name"], lambda services: services.update(entry(new)))
            case ["service", "deregister", id]:
                store.change(store.name(id), lambda services: services.pop(id))
            case ["check", word, id]:
                id = id.removeprefix("service:")
                store.change(store.name(id), lambda services: services[id]["Checks"][0].update(Status=STATUS[word]))
            case _:
                return self.reply(404, "")
        self.reply(200, "")


def entry(service):
    """The entry of /v1/health/service by the body of a registration."""
    id = service["ID"]
    weights = service.get("Weights", {"Passing": 1, "Warning": 1})
    checks = [{"Node": "n1", "CheckID": f"service:{id}", "Name": f"check of {id}", "Status": service["Check"]["Status"]}]
    return {id: {
        "Node": {"ID": "", "Node": "n1", "Address": "127.0.0.1", "Datacenter": "dc1", "Meta": None},
        "Service": {"ID": id, "Service": service["Name"], "Tags": None, "Address": service.get("Address", ""),
                    "Meta": service.get("Meta"), "Port": service["Port"], "Weights": weights},
        "Checks": checks,
    }}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class Consul:
    """with Consul(dir) as consul: consul.register("web-1", "10.0.0.1", 80)"""

    def __init__(self, dir):
        self.dir = Path(dir)
        self.port, *self.others = free_ports(5)
        self.real = os.environ.get("CONSUL_BIN")
        self.store = Store()
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Starts it: the real one has lost everything."""
        if self.real:
            dns, lan, wan, rpc = self.others
            self.child = Child(
                [self.real, "agent", "-dev", "-node", "n1", "-bind", "127.0.0.1", "-http-port", self.port, "-dns-port", dns,
                 "-serf-lan-port", lan, "-serf-wan-port", wan, "-server-port", rpc, "-grpc-port", -1, "-log-level", "warn"],
                self.dir, "consul")
            wait_until(self._is_ready, 60, step=0.1)
        else:
            self.server = Server(("127.0.0.1", self.port), Handler)
            self.server.store, self.server.is_open, self.server.sockets = self.store, True, []
            accept = self.server.get_request

            def get_request():
                taken = accept()
                self.server.sockets.append(taken[0])
                return taken

            self.server.get_request = get_request
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _is_ready(self):
        try:
            with urllib.request.urlopen(self.url + "/v1/status/leader", timeout=5) as reply:
                return len(reply.read()) > 4
        except OSError:
            return False

    def kill(self):
        """Ends it, with all its connections."""
        if self.real:
            self.child.process.kill()
            self.child.wait()
            return
        self.server.is_open = False
        self.server.shutdown()
        self.server.server_close()
        for taken in self.server.sockets:
            try:
                taken.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def forget(self):
        """After `start`: it has lost everything, and its index begins anew."""
        if not self.real:
            self.store = self.server.store = Store()

    def put(self, path, body=None):
        data = json.dumps(body).encode() if body is not None else b""
        request = urllib.request.Request(self.url + path, data, method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def register(self, id, address, port, status="passing", **more):
        check = {"TTL": "1h", "Status": status}
        self.put("/v1/agent/service/register",
                 {"ID": id, "Name": "web", "Address": address, "Port": port, "Check": check, **more})

    def deregister(self, id):
        self.put(f"/v1/agent/service/deregister/{id}")

    def check(self, id, word):
        """`pass`, `warn` or `fail`"""
        self.put(f"/v1/agent/check/{word}/service:{id}")

    def end(self):
        if self.real:
            self.child.end()
        else:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
