"""dns monitors of servers as they are in use: knot, nsd, named and unbound, over UDP and, where a response is truncated,
over TCP; and servers that do not repeat the question as it was asked. Forged packets change nothing."""
import importlib.util
import os
import socket
import threading
from pathlib import Path

import dns.name
import pytest

from portolan import MASTER, Node, policy
from processes import wait_until

_file = Path(__file__).parents[1] / "conformance" / "servers.py"
_spec = importlib.util.spec_from_file_location("zone_servers", _file)
zone_servers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(zone_servers)

LARGE = [f"text {at} " + "x" * 150 for at in range(9)] + ["the one"]
ZONE = MASTER + "www IN A 192.0.2.54\n" + "".join(f'large IN TXT "{text}"\n' for text in LARGE)


class Unbound(zone_servers.Server):
    program = "unbound"

    def configure(self, host, port):
        path = self.dir / "unbound.conf"
        large = "".join(f"  local-data: 'large.ok.example. TXT \"{text}\"'\n" for text in LARGE)
        path.write_text(f"""server:
  interface: {host}@{port}
  username: ""
  chroot: ""
  directory: "{self.dir}"
  pidfile: "{self.dir}/unbound.pid"
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  local-zone: "ok.example." static
  local-data: "ok.example. SOA ns1.ok.example. root.ok.example. 1 2 3 4 5"
  local-data: "www.ok.example. A 192.0.2.54"
{large}remote-control:
  control-enable: no
""")
        return [self.path(), "-d", "-p", "-c", path]


def monitor(name, port, **more):
    return {
        "type": "dns", "name": name, "port": port, "interval": "200ms", "timeout": "2s", "fall": 2, **more,
    }


def watch(dir, monitors):
    """A node with an endpoint on loopback for each monitor."""
    text = policy(
        defaults={"ttl": "5s"},
        monitor=monitors,
        endpoint={name: {"addresses": ["127.0.0.1"], "monitor": name} for name in monitors},
        name={"www": {"pool": next(iter(monitors))}},
    )
    return Node(dir, {"svc.example.policy.toml": text, "svc.example.zone": MASTER})


@pytest.mark.parametrize("kind", [zone_servers.Knot, zone_servers.Nsd, zone_servers.Named, Unbound])
def test_servers_in_use_are_up_over_udp_and_tcp(dir, kind):
    if kind.path() is None:
        assert os.environ.get("CI") != "true", f"{kind.program} is not installed"
        pytest.skip(f"{kind.program} is not installed")
    (dir / "zones").mkdir()
    (dir / "zones/ok.example.zone").write_text(ZONE)
    with kind(dir / "server", dir / "zones", [dns.name.from_text("ok.example.")]) as server:
        port = server.address[1]
        monitors = {
            "address": monitor("WwW.ok.Example.", port, expect={"rdata": "192.0.2.54"}),
            "large": monitor("large.ok.example.", port, qtype="TXT", expect={"rdata": "the one"}),
            "none": monitor("none.ok.example.", port, expect={"rcode": "NXDOMAIN"}),
            "wrong": monitor("www.ok.example.", port, expect={"rdata": "192.0.2.55"}),
        }
        with watch(dir, monitors) as node:
            for name in ("address", "large", "none"):
                node.wait_health(name, "up")
            node.wait_health("wrong", "down")


class Responder:
    """A server over UDP that sends what `make` makes of each question."""

    def __init__(self, make):
        self.make = make
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.questions = []

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def serve(self):
        while True:
            try:
                question, source = self.socket.recvfrom(512)
                self.questions.append((question, source[1]))
                for packet in self.make(question):
                    self.socket.sendto(packet, source)
            except OSError:
                return


def response(question, rcode=0, name=None):
    """A response without records."""
    section = question[12:] if name is None else name(question[12:-4]) + question[-4:]
    return question[:2] + bytes([0x84, rcode]) + question[4:6] + bytes(6) + section


def lower(name):
    return name.lower()


def test_servers_that_do_not_repeat_the_question_are_up(dir):
    with (
        Responder(lambda question: [response(question, name=lower)]) as lowering,
        Responder(lambda question: [response(question, name=bytes.upper)]) as raising,
        Responder(lambda question: [question[:2] + bytes([0x84, 5]) + bytes(8)]) as bare,
    ):
        monitors = {
            "lowering": monitor("www.ok.example.", lowering.port),
            "raising": monitor("www.ok.example.", raising.port),
            "bare": monitor("www.ok.example.", bare.port, expect={"rcode": "REFUSED"}),
        }
        with watch(dir, monitors) as node:
            for name in monitors:
                node.wait_health(name, "up")
            wait_until(lambda: len(lowering.questions) >= 20, 60)
            ids = {question[:2] for question, _ in lowering.questions}
            ports = {port for _, port in lowering.questions}
            names = {question[12:-4] for question, _ in lowering.questions}
            assert min(len(ids), len(ports), len(names)) > 8, (ids, ports, names)
            assert [node.health(name) for name in monitors] == ["up"] * 3


def test_packets_that_do_not_repeat_id_and_case_are_ignored(dir):
    def forged_and_right(question):
        swapped = response(question, 2, lambda name: bytes(b ^ 0x20 if chr(b).isalpha() else b for b in name))
        other_id = bytes([question[0] ^ 1]) + response(question, 2)[1:]
        other_type = response(question, 2)[:-3] + bytes([28]) + question[-2:]
        other_name = response(question, 2, lambda name: name[:1] + b"v" + name[2:])
        garbage = question[:2] + b"\xff" * 60
        # A question all in lower case is the second one, which packets in another case cause.
        is_second = question[12:-4] == question[12:-4].lower()
        of_case = [] if is_second else [swapped, response(question, 2, lower), garbage]
        return [*of_case, other_id, other_type, other_name, question, response(question)]

    with Responder(forged_and_right) as server:
        with watch(dir, {"web": monitor("wWw.ok.example.", server.port, fall=1)}) as node:
            node.wait_health("web", "up")
            wait_until(lambda: len(server.questions) >= 40, 60)
            assert node.health("web") == "up"
            assert node.metric("portolan_transitions_total", endpoint="web", to="down") == 0
