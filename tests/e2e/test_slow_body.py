"""A probe doesn't interrupt a server that writes head and body separately. Its result is known after the head."""
import http.server
import sys
import threading
import time

from portolan import MASTER, Node
from processes import wait_until

POLICY = """
zone = "svc.example."

[monitor.web]
type = "http"
interval = "200ms"
timeout = "1s"

[monitor.sick]
type = "http"
interval = "200ms"
timeout = "1s"
expect = {{ status = [299] }}

[endpoint.slow]
addresses = ["192.0.2.1"]
probe = "127.0.0.1:{port}"
monitor = "web"

[endpoint.sick]
addresses = ["192.0.2.2"]
probe = "127.0.0.1:{port}"
monitor = "sick"

[pool.web]
members = ["slow", "sick"]

[name.www]
pool = "web"
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "40")
        self.end_headers()
        self.wfile.flush()
        for _ in range(4):
            time.sleep(0.05)
            self.wfile.write(b"0123456789")
            self.wfile.flush()
        # A reset after the last write is noticed here.
        assert self.rfile.read(1) == b""
        self.server.served += 1

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.served, self.errors = 0, []

    def handle_error(self, *_):
        self.errors.append(repr(sys.exc_info()[1]))


def test_a_server_that_writes_head_and_body_separately_sees_no_reset(dir):
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        zones = {"svc.example.policy.toml": POLICY.format(port=server.server_address[1]), "svc.example.zone": MASTER}
        with Node(dir, zones) as node:
            wait_until(lambda: server.served >= 10, 20)
            assert node.health("slow") == "up" and node.health("sick") == "down"
            assert server.errors == []
    finally:
        server.shutdown()
