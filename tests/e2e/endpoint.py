"""An HTTP endpoint in its own process, which a test can kill, stop and continue."""
import http.server
import json
import os
import signal
import socket
import sys
from pathlib import Path

from processes import Child


class Endpoint:
    """Listens on `host`, port 0 by default; `port` is the real port. Responds with 200 `ok`, or with `status` and `body`."""

    def __init__(self, dir, name, host="127.0.0.1", port=0, place=None, status=200, body="ok"):
        self.host, self.dir, self.name, self.place = host, Path(dir), name, place
        self.say = {"status": status, "body": body}
        self.port = port
        self.lives = 0
        self.start()

    def start(self):
        """Starts it. A second start uses the same port."""
        self.lives += 1
        argv = [sys.executable, __file__, self.host, self.port, json.dumps(self.say)]
        self.child = Child(argv, self.dir, f"{self.name}-{self.lives}", place=self.place)
        self.port = int(self.child.wait_line(r"^ready (\d+)$", 20)[1])

    @property
    def at(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def kill(self):
        """Kills the process and waits for its end."""
        self.child.process.kill()
        self.child.process.wait(5)

    def stop(self):
        """Stops the process: the kernel still accepts connections, but nothing answers."""
        self.child.signal(signal.SIGSTOP)

    def go_on(self):
        self.child.signal(signal.SIGCONT)

    def end(self):
        if self.child.is_running():
            self.child.process.kill()
            self.child.process.wait(5)


class Handler(http.server.BaseHTTPRequestHandler):
    """The same response to every GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.server.say["body"].encode()
        self.send_response(self.server.say["status"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        # HTTPServer.server_bind looks up a host name, which takes seconds without a resolver.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()


def main():
    host, port, say = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    if ":" in host:
        Server.address_family = socket.AF_INET6
    server = Server((host, port), Handler)
    server.say = say
    print("ready", server.server_address[1], flush=True)
    try:
        server.serve_forever()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
