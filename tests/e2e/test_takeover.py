"""Another process takes a running server's place: no query is lost, overrides and health are there, and whoever dies in
the middle leaves one server that serves."""
import json
import os
import random
import socket
import signal
import stat
import struct
import time

import dns.edns
import dns.message
import dns.query
import pytest

import test_encrypted as encrypted
from load import Load
from portolan import BINARY, MASTER, READY, SETTINGS, Node, ask, environment, split_address
from ports import free_ports
from processes import Child, is_alive, wait_until
from steady import Steady, unanswered
from test_operator import ALICE, write_tokens

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "tcp"
interval = "200ms"
timeout = "500ms"

[endpoint.one]
addresses = ["192.0.2.1"]
probe = "127.0.0.1:{up}"
monitor = "web"

[endpoint.two]
addresses = ["192.0.2.2"]
probe = "127.0.0.1:{down}"
monitor = "web"

[endpoint.three]
addresses = ["192.0.2.3"]

[pool.web]
members = ["one", "two", "three"]

[name.www]
pool = "web"
"""
NAME = "www.svc.example."
SOCKET = "state/takeover.sock"


@pytest.fixture
def node(dir):
    """A server with an endpoint that is up, one that is down, and one that is drained."""
    listening = socket.create_server(("127.0.0.1", 0))
    (down,) = free_ports(1)
    write_tokens(dir)
    policy = POLICY.format(up=listening.getsockname()[1], down=down)
    with listening, Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}, SETTINGS) as node:
        node.wait_health("two", "down")
        assert operate(node, "drain", "three", "--why", "test").returncode == 0
        yield node


def operate(node, *argv):
    return node.command(*argv, env={"PORTOLAN_TOKEN": ALICE})


def overrides(node):
    return json.loads(operate(node, "overrides", "--format", "json").stdout)


class Successor(Child):
    """A process that takes over from `node`; after `taken` or `begins_anew` the node is this process."""

    number = 0

    def __init__(self, node):
        Successor.number += 1
        argv = [BINARY, "serve", "--config", node.settings, "--takeover"]
        super().__init__(argv, node.dir, f"successor{Successor.number}", env=environment())

    def taken(self, node, is_ended=True):
        ready = self.wait_line(READY, 30)
        assert split_address(ready[1]) == node.udp and split_address(ready[2]) == node.http, "the same ports"
        if is_ended:
            assert node.child.wait(10) == 0, node.child.output()
        node.child = self

    def begins_anew(self, node):
        """The server before has ended; the node is this process, at its own ports and with the state of before."""
        ready = self.wait_line(READY, 30)
        node.dns, node.http, node.child = [split_address(ready[1])], split_address(ready[2]), self
        is_whole(node)


def is_whole(node):
    """The server answers and has the state of before."""
    status = node.status()
    health = {e["name"]: e["health"] for e in status["zones"][0]["endpoints"]}
    assert health["two"] == "down" and health["one"] == "up", health
    assert [o["target"] for o in overrides(node)] == ["three"]
    assert node.addresses(NAME) == ["192.0.2.1"]
    return status


def test_three_takeovers_lose_no_query_and_no_state(node):
    rates = dict(udp=2000, tcp=100)
    with Load(node.dir, node.udp, NAME, **rates) as load, Steady(node.dir, node.udp, NAME, per_second=200) as steady:
        for _ in range(3):
            before = node.child
            successor = Successor(node)
            successor.taken(node)
            assert not is_alive(before.pid)
            is_whole(node)
        operate(node, "clear", "three")
        wait_until(lambda: overrides(node) == [], 5)
        operate(node, "drain", "three", "--why", "again")
        counted = load.finish()
        replies = steady.finish()
    assert counted["udp"] > 300 and counted["tcp"] > 10, counted
    assert not counted["count"], counted
    assert not unanswered(replies)
    assert {a for r in replies for a in r.answers} <= {"192.0.2.1", "192.0.2.3"}, "never the endpoint that is down"


def test_signals_in_the_middle_end_neither_process(node):
    """Programs of exec monitors that end are signals all the time; they must not be taken for an end of the connection."""
    programs = [f'[endpoint.p{nth}]\naddresses = ["192.0.2.{10 + nth}"]\nmonitor = "ex"\n' for nth in range(4)]
    monitor = '[monitor.ex]\ntype = "exec"\nprogram = "/bin/true"\ninterval = "100ms"\ntimeout = "90ms"\n'
    policy = (node.dir / "zones/svc.example.policy.toml").read_text()
    node.write("svc.example.policy.toml", policy + monitor + "".join(programs))
    wait_until(lambda: node.status()["generation"] == 2 and all(node.health(f"p{nth}") == "up" for nth in range(4)), 20)
    for _ in range(5):
        successor = Successor(node)
        while "took over" not in successor.err() and is_alive(successor.pid):
            node.child.signal(signal.SIGHUP)
            if "the last known health is used" in successor.err():
                successor.signal(signal.SIGHUP)
            time.sleep(0.005)
        successor.taken(node)
        is_whole(node)


def test_cookies_stay_valid_and_event_numbers_go_on(node):
    def cookie(of=b""):
        query = dns.message.make_query(NAME, "A", options=[dns.edns.GenericOption(10, b"8octets!" + of)])
        reply = dns.query.udp(query, node.udp[0], port=node.udp[1], timeout=5)
        return bytes(next(o for o in reply.options if o.otype == 10).to_wire())[8:], reply

    server, _ = cookie()
    before = events(node)
    Successor(node).taken(node)
    _, reply = cookie(server)
    assert reply.ednsflags >> 24 == 0 and reply.rcode() == 0, "the cookie of the server before"
    operate(node, "force-down", "one", "--why", "test", "--yes")
    after = wait_until(lambda: [e for e in events(node) if e not in before], 5)
    numbers = [int(e["id"].rsplit("/", 1)[1]) for e in before + after]
    assert numbers == sorted(set(numbers)), "no number twice"
    assert events(node)[: len(before)] == before


def events(node):
    done = node.command("events", "--format", "json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Visitor:
    """The messages of a new process, sent by the test."""

    def __init__(self, node):
        self.dir = node.dir / "state"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        folder = os.open(self.dir, os.O_RDONLY)
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/takeover.sock")
        finally:
            os.close(folder)
        self.descriptors = []

    def send(self, **message):
        octets = json.dumps(message).encode()
        self.socket.sendall(struct.pack("!I", len(octets)) + octets)

    def receive(self):
        head, descriptors, _, _ = socket.recv_fds(self.socket, 4, 64)
        self.descriptors += descriptors
        length = struct.unpack("!I", head)[0]
        body = b""
        while len(body) < length:
            body += self.socket.recv(length - len(body))
        return json.loads(body)

    def hello(self, **changes):
        self.send(**{"message": "hello", "protocol": 1, "version": "9.9.9", "process": os.getpid(), "files": {}, **changes})
        return self.receive()

    def until(self, point):
        """Goes on to a point of the takeover."""
        if point == "connected":
            return
        left = self.hello()["sockets"]
        while left > 0:
            left -= len(self.receive()["uses"])
        if point == "sockets":
            return
        self.send(message="freeze")
        assert self.receive() == {"message": "frozen"}
        if point == "serving":
            self.send(message="serving")

    def die(self):
        for one in self.descriptors:
            os.close(one)
        self.socket.close()


@pytest.mark.parametrize("point", ["connected", "sockets", "frozen", "serving"])
def test_a_new_process_that_dies_in_the_middle_changes_nothing(node, point):
    with Load(node.dir, node.udp, NAME, udp=500, tcp=50) as load:
        visitor = Visitor(node)
        visitor.until(point)
        visitor.die()
        # It is served, and steers and writes its state as before.
        wait_until(lambda: "goes on" in node.child.err() or point == "connected", 15)
        assert operate(node, "drain", "two", "--why", "test").returncode == 0
        assert not [o for o in overrides(node) if not o["on_disk"]]
        assert operate(node, "clear", "two").returncode == 0
        counted = load.finish()
    assert counted["udp"] > 0 and not counted["count"], counted
    Successor(node).taken(node)
    is_whole(node)


def test_a_server_that_is_stopped_in_the_middle_ends_soon_and_says_so(node):
    visitor = Visitor(node)
    visitor.until("frozen")
    node.child.signal(signal.SIGTERM)
    # Without the signal it would wait for longer, with another reason.
    assert visitor.receive() == {"message": "refused", "why": "this server was stopped meanwhile, and ends"}
    assert node.child.wait(60) == 0, node.child.output()
    visitor.die()
    Successor(node).begins_anew(node)


def test_a_stop_that_comes_while_the_new_process_answers_is_a_takeover(node):
    visitor = Visitor(node)
    visitor.until("frozen")
    node.child.signal(signal.SIGTERM)
    visitor.send(message="serving")
    assert visitor.receive() == {"message": "done"}
    assert node.child.wait(60) == 0, node.child.output()
    visitor.die()
    Successor(node).begins_anew(node)


@pytest.mark.parametrize("delay", [0.0, 0.04, 0.1, 0.2])
def test_a_server_that_dies_in_the_middle_is_replaced(node, delay):
    before, successor = node.child, Successor(node)
    time.sleep(delay * random.uniform(0.8, 1.2))
    before.signal(signal.SIGKILL)
    before.process.wait(5)
    # Where it died before its sockets were passed on, the next process has other ones.
    successor.begins_anew(node)
    Successor(node).taken(node)
    is_whole(node)


def test_a_stopped_server_is_not_taken_over_and_goes_on(node):
    node.child.signal(signal.SIGSTOP)
    successor = Successor(node)
    code = successor.wait(20)
    node.child.signal(signal.SIGCONT)
    assert code == 1 and "has not answered for" in successor.err() and "it goes on" in successor.err(), successor.output()
    is_whole(node)
    Successor(node).taken(node)


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_does_not_fit_or_sends_nonsense_is_refused(node):
    path = node.dir / SOCKET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    welcome = Visitor(node)
    versions = welcome.hello(protocol=1)
    assert versions["files"]["overrides.json"] == 1 and versions["process"] == node.child.pid
    welcome.send(message="refused", why="\x1b[31mno\n")
    wait_until(lambda: "goes on" in node.child.err(), 5)
    assert "\x1b" not in node.child.err()
    welcome.die()
    for octets in [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\2{}", struct.pack("!I", 60000) + b"{" * 60000, os.urandom(300)]:
        visitor = Visitor(node)
        visitor.socket.sendall(octets)
        assert is_closed(visitor.socket)
        visitor.die()
    is_whole(node)
    Successor(node).taken(node)


def test_without_a_running_server_it_starts_as_usual(node):
    node.child.end()
    assert not (node.dir / SOCKET).exists(), "an orderly end removes it"
    Successor(node).begins_anew(node)


def test_a_stop_answers_what_has_arrived(node):
    """A message whose second half comes after the signal, and connections that were not accepted yet."""
    query = dns.message.make_query(NAME, "A").to_wire()
    framed = struct.pack("!H", len(query)) + query
    with socket.create_connection(node.udp, timeout=5) as begun, socket.create_connection(node.udp, timeout=5) as used:
        begun.sendall(framed[:7])
        used.sendall(framed)
        assert used.recv(4096)
        # The server has read the first half when it has answered a later query.
        assert node.addresses(NAME) == ["192.0.2.1"] and ask(node.udp, NAME, tcp=True).answer
        node.child.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in node.child.err(), 5)
        begun.sendall(framed[7:])
        reply = begun.recv(4096)
        assert dns.message.from_wire(reply[2:]).answer
        assert begun.recv(1) == b"" and used.recv(1) == b"", "closed at the end of a message"
    assert node.child.wait(10) == 0


@encrypted.pytestmark
def test_encrypted_transports_are_taken_over(dir):
    """The same ports, and the next connection is served, whatever the transport."""
    encrypted.new_certificate(dir / "node")
    with Node(dir, encrypted.ZONES, settings=encrypted.ENCRYPTED) as node:
        successor = Successor(node)
        ready = successor.wait_line(READY, 30)
        more = dict(word.split("=") for word in ready[4].split())
        assert {what: [split_address(address)] for what, address in more.items()} == node.encrypted
        assert node.child.wait(10) == 0, node.child.output()
        node.child = successor
        for way in ("tcp", "tls", "https", "quic"):
            assert "192.0.2.10" in encrypted.kdig(node, way, "www.svc.example.", "A"), way
