"""A receiver of webhooks. As a program it writes each event as a line of JSON to standard output, before it replies."""
import base64
import hashlib
import hmac
import http.server
import json
import sys
import threading

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def signature(id, timestamp, body, secret=SECRET):
    """The signature of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    tag = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(tag).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, headers = self.server.receive(self.path, self.headers, body)
        self.send_response(status)
        for name, value in {"content-length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


class Receiver(http.server.ThreadingHTTPServer):
    """`with Receiver(reply) as receiver`: `reply(event)` gives the status and headers; `received` has all events."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, reply=lambda event: (200, {}), port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.reply, self.received, self.lock = reply, [], threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/events"

    def receive(self, path, headers, body):
        id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        assert headers["content-type"] == "application/cloudevents+json", headers
        is_signed = signature(id, timestamp, body) in headers["webhook-signature"].split(" ")
        event = {"path": path, "webhook-id": id, "timestamp": int(timestamp), "signed": is_signed, "event": json.loads(body)}
        with self.lock:
            self.received.append(event)
            return self.reply(event)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def write(event):
    print(json.dumps(event), flush=True)
    return 200, {}


if __name__ == "__main__":
    server = Receiver(write, int(sys.argv[1]))
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
