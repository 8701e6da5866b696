"""Streams of JetStream, made and read by the test's own client."""
import base64
import json

from nats import NatsClient


class Stream:
    """with Stream(server, "EVENTS", ["portolan.events"]) as stream: stream.events()

    A stream of `server`, which the test makes, as an operator would. `config` is added to its configuration. Each call
    has a connection of its own, so the server may be killed between two calls. `user` is the name and the password of a user."""

    def __init__(self, server, name, subjects, **config):
        self.server, self.name, self.subjects, self.config = server, name, subjects, config
        self.user = None

    def _client(self):
        return NatsClient(self.server, self.user, self.user)

    def _call(self, client, call, content=None):
        _, reply = client.request(f"$JS.API.{call}.{self.name}", json.dumps(content or {}).encode())
        return json.loads(reply)

    def call(self, call, content=None):
        with self._client() as client:
            reply = self._call(client, call, content)
        assert "error" not in reply, (call, reply)
        return reply

    def make(self):
        self.call("STREAM.CREATE", {"name": self.name, "subjects": self.subjects, "storage": "file", **self.config})
        return self

    def remove(self):
        self.call("STREAM.DELETE")

    def state(self):
        return self.call("STREAM.INFO")["state"]

    def messages(self):
        """The headers and the content of each message, oldest first."""
        with self._client() as client:
            state, found = self._call(client, "STREAM.INFO")["state"], []
            for sequence in range(state["first_seq"], state["last_seq"] + 1):
                message = self._call(client, "STREAM.MSG.GET", {"seq": sequence}).get("message")
                if message is not None:
                    headers = base64.b64decode(message.get("hdrs", "")).decode()
                    pairs = [line.split(": ", 1) for line in headers.split("\r\n")[1:] if line]
                    found.append((dict(pairs), base64.b64decode(message.get("data", ""))))
            return found

    def events(self):
        return [json.loads(content) for _, content in self.messages()]

    def put(self, event, subject=None, headers=None):
        """Stores an event as another program would, and returns its sequence."""
        text = event if isinstance(event, bytes) else json.dumps(event).encode()
        with self._client() as client:
            _, reply = client.request(subject or self.subjects[0], text, headers)
        reply = json.loads(reply)
        assert "error" not in reply, reply
        return reply["seq"]

    def __enter__(self):
        return self.make()

    def __exit__(self, *_):
        pass
