"""A server that replays EndpointSlices, Ingresses or Gateways as the Kubernetes API lists and watches them: resource
versions, bookmarks, the end of a watch, 410 Gone, a bearer token. It is no kube-apiserver."""
import http.server
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit


class KubernetesApi:
    """with KubernetesApi() as api: api.put("web-1", [pod("web-a", "192.0.2.1")])"""

    GROUPS = {"EndpointSlice": "discovery.k8s.io", "Ingress": "networking.k8s.io", "Gateway": "gateway.networking.k8s.io"}
    PLURALS = {"EndpointSlice": "endpointslices", "Ingress": "ingresses", "Gateway": "gateways"}

    def __init__(self, token=None, tls=None, kind="EndpointSlice"):
        self.kind, self.refused = kind, None
        self.changed = threading.Condition()
        self.version, self.oldest, self.objects, self.events = 100, 0, {}, []
        self.token, self.lists, self.watches, self.is_open = token, 0, 0, True
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                api.respond(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            # The handshake is in the thread of the connection, so that a client that does none holds up nobody.
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.changed:
            self.is_open = False
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def put(self, name, endpoints, port=80, family="IPv4"):
        """Creates or replaces a slice of the Service `web` in the namespace `shop`; returns when that was."""
        return self.put_object(name, {"addressType": family, "endpoints": endpoints, "ports": [{"name": "http", "port": port}]})

    def put_object(self, name, body, labels=None):
        """Creates or replaces an object in the namespace `shop`; returns when that was."""
        with self.changed:
            self.version += 1
            kind = "MODIFIED" if name in self.objects else "ADDED"
            metadata = {"name": name, "namespace": "shop", "resourceVersion": str(self.version), "labels": labels or {}}
            self.objects[name] = {"metadata": metadata, **body}
            self.events.append((self.version, kind, self.objects[name]))
            self.changed.notify_all()
            return time.monotonic()

    def delete(self, name):
        with self.changed:
            self.version += 1
            gone = {**self.objects.pop(name)}
            gone["metadata"] = {**gone["metadata"], "resourceVersion": str(self.version)}
            self.events.append((self.version, "DELETED", gone))
            self.changed.notify_all()

    def compact(self):
        """What was watched before is not known any more: those watches get 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.events.clear()
            self.changed.notify_all()

    def respond(self, handler):
        if not self.is_open:
            handler.close_connection = True
            return None
        query = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            return self.send(handler, 401, {"kind": "Status", "code": 401, "message": "Unauthorized"})
        if self.refused:
            return self.send(handler, self.refused, {"kind": "Status", "code": self.refused, "message": "not allowed"})
        path = f"/apis/{self.GROUPS[self.kind]}/v1/namespaces/shop/{self.PLURALS[self.kind]}"
        assert urlsplit(handler.path).path == path, handler.path
        selector = query.get("labelSelector"), query.get("fieldSelector")
        expected = ("kubernetes.io/service-name=web", None) if self.kind == "EndpointSlice" else (None, "metadata.name=edge")
        assert selector == expected, handler.path
        if "watch" in query:
            return self.watch(handler, int(query["resourceVersion"]), int(query["timeoutSeconds"]))
        with self.changed:
            self.lists += 1
            body = {"kind": f"{self.kind}List", "metadata": {"resourceVersion": str(self.version)}, "items": list(self.objects.values())}
        return self.send(handler, 200, body)

    @staticmethod
    def send(handler, status, body):
        text = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def watch(self, handler, after, seconds):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        self.watches += 1
        until = time.monotonic() + seconds

        def event(kind, body):
            text = json.dumps({"type": kind, "object": body}).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

        try:
            while time.monotonic() < until and self.is_open:
                with self.changed:
                    is_old = after < self.oldest
                    news = [of for of in self.events if of[0] > after]
                    if not is_old and not news:
                        self.changed.wait(min(0.5, max(0.0, until - time.monotonic())))
                        continue
                if is_old:
                    event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
                    break
                for version, kind, body in news:
                    event(kind, body)
                    after = version
            if not self.is_open:
                handler.close_connection = True
                return
            with self.changed:
                version = self.version if not [of for of in self.events if of[0] > after] else after
            event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
            handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass


def pod(name, address, zone="eu-west-1a", **conditions):
    """An endpoint of a slice."""
    return {"addresses": [address], "conditions": conditions, "zone": zone, "targetRef": {"kind": "Pod", "name": name}}
