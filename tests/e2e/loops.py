"""Clients of the HTTP API in a process of their own, each of which sends the same request again and again:
python loops.py JSON. It prints the number of complete responses of each client when it ends."""
import json
import selectors
import signal
import socket
import sys

from processes import Child

CHUNK = 1 << 18


class Loops:
    """with Loops(dir, node.http, {"GET /metrics": 16}): ..."""

    def __init__(self, dir, server, clients, name="loops"):
        spec = dict(server=server, clients=clients)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, name)

    def __enter__(self):
        """Waits until each request has been answered once."""
        self.child.wait_line("^answered$", 120)
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{request: [complete responses of each client]}, and {status: count}"""
        return self.child.result()


class LoopClient:
    """Sends a request on a connection of its own, reads the response to its end, and begins again."""

    def __init__(self, selector, server, request):
        self.selector, self.server = selector, tuple(server)
        method, path = request.split()
        body = "{}" if method == "POST" else ""
        self.request = (
            f"{method} {path} HTTP/1.1\r\nHost: {server[0]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode()
        self.done, self.statuses = 0, {}
        self.begin()

    def begin(self):
        self.socket, self.first = socket.create_connection(self.server), b""
        self.socket.sendall(self.request)
        self.socket.setblocking(False)
        self.selector.register(self.socket, selectors.EVENT_READ, self)

    def read(self):
        try:
            chunk = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if len(self.first) < 12:
            self.first += chunk[:12]
        if chunk:
            return
        self.selector.unregister(self.socket)
        self.socket.close()
        status = self.first[9:12].decode() or "none"
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.done += 1
        self.begin()


def main():
    spec = json.loads(sys.argv[1])
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    with selectors.DefaultSelector() as selector:
        of_request = {
            request: [LoopClient(selector, spec["server"], request) for _ in range(count)]
            for request, count in spec["clients"].items()
        }
        everyone = [client for clients in of_request.values() for client in clients]
        is_answered = False
        while going:
            for key, _ in selector.select(0.1):
                key.data.read()
            if not is_answered and all(any(client.done for client in clients) for clients in of_request.values()):
                is_answered = True
                print("answered", flush=True)
    statuses = {}
    for client in everyone:
        for status, count in client.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    done = {request: [client.done for client in clients] for request, clients in of_request.items()}
    print(json.dumps(dict(done=done, statuses=statuses)), flush=True)


if __name__ == "__main__":
    main()
