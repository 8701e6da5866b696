"""Clients of the HTTP API in a process of their own, each of which sends the same request again and again:
python loops.py JSON. When it ends, it prints the number of complete responses of each client, and of each status."""
import collections
import json
import os
import selectors
import signal
import socket
import sys

from processes import Child

CHUNK = 1 << 18


class Loops:
    """with Loops(dir, node.http, {"GET /metrics": 16}): ...

    The body and the headers are those of all requests. The clients have as many addresses as `sources` says. With `keep` a
    client goes on with its connection, as long as the server keeps it open too. `nice` is added to the priority of the process."""

    def __init__(self, dir, server, clients, name="loops", body="{}", headers=None, sources=1, keep=False, nice=0):
        spec = dict(server=server, clients=clients, body=body, headers=headers or {}, sources=sources, keep=keep, nice=nice)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, name)

    def __enter__(self):
        """Waits until each request has been answered once."""
        self.child.wait_line("^answered$", 120)
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{"done": {request: [complete responses of each client]}, "statuses": {status: count}}"""
        return self.child.result()


def request_of(call, host, body, headers, keep):
    method, path = call.split()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{key}: {value}" for key, value in headers.items())]
    if method != "GET":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join([*lines, "", ""]) + body * (method != "GET")).encode()


class LoopClient:
    """Sends a request, reads the response to its end, and begins again."""

    def __init__(self, selector, server, source, request):
        self.selector, self.server, self.source, self.request = selector, tuple(server), source, request
        self.done, self.statuses = 0, collections.Counter()
        self.open()

    def open(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((self.source, 0))
        self.socket.connect_ex(self.server)
        self.selector.register(self.socket, selectors.EVENT_WRITE, self.send)

    def send(self):
        try:
            self.socket.send(self.request)
        except OSError:
            return self.open_again("not sent")
        self.start, self.is_whole = b"", None
        self.selector.modify(self.socket, selectors.EVENT_READ, self.read)

    def open_again(self, status):
        self.count(status)
        self.selector.unregister(self.socket)
        self.socket.close()
        self.open()

    def count(self, status):
        self.statuses[status] += 1
        self.done += status.isdigit()

    def read(self):
        try:
            chunk = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            return self.open_again(self.start[9:12].decode() or "none")
        if self.is_whole is None:
            self.start += chunk
            head, found, chunk = self.start.partition(b"\r\n\r\n")
            if not found:
                return
            self.is_whole = end_of_body(head.lower())
        if self.is_whole(chunk):
            self.count(self.start[9:12].decode())
            self.send()


def end_of_body(head):
    """A function that gets the parts of the body one after the other and says whether this was the last one. It never is if the
    connection ends with the body."""
    seen = bytearray()
    if b"connection: close" in head:
        return lambda part: False
    if b"content-length: " in head:
        left = [int(head.partition(b"content-length: ")[2].split()[0])]

        def all_octets(part):
            left[0] -= len(part)
            return left[0] <= 0

        return all_octets

    def last_chunk(part):
        seen[:] = seen[-5:] + part[-5:]
        return seen.endswith(b"0\r\n\r\n")

    return last_chunk


def main():
    spec = json.loads(sys.argv[1])
    os.nice(spec["nice"])
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    with selectors.DefaultSelector() as selector:
        of_request = {}
        for call, count in spec["clients"].items():
            request = request_of(call, spec["server"][0], spec["body"], spec["headers"], spec["keep"])
            sources = [f"127.1.0.{1 + number % spec['sources']}" if spec["sources"] > 1 else "127.0.0.1" for number in range(count)]
            of_request[call] = [LoopClient(selector, spec["server"], source, request) for source in sources]
        is_answered = False
        while going:
            for key, _ in selector.select(0.1):
                key.data()
            if not is_answered and all(any(client.done for client in clients) for clients in of_request.values()):
                is_answered = True
                print("answered", flush=True)
    statuses = sum((client.statuses for clients in of_request.values() for client in clients), collections.Counter())
    done = {request: [client.done for client in clients] for request, clients in of_request.items()}
    print(json.dumps(dict(done=done, statuses=statuses)), flush=True)


if __name__ == "__main__":
    main()
