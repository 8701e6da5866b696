"""Credentials in files: what a node says while they are wrong, and that right ones need no restart."""
import json

from fleet import settings
from nats import NatsServer
from nkeys import USER, Nkey
from portolan import Node
from processes import wait_until
from test_fleet_nats import ZONE, nats_state, wait_state


def serve(dir, nats, url=None, fleet=""):
    return Node(dir, ZONE, settings=settings(url or nats.url, "ns1", "eu-west", fleet=fleet))


def wait_problem(node, *words):
    """The status and the log name the problem."""
    def is_there():
        problem = nats_state(node).get("problem", "")
        return all(word in problem.lower() for word in words)

    try:
        wait_until(is_there, 20, 0.05)
    except AssertionError:
        raise AssertionError(f"expected {words}, found {nats_state(node)}") from None
    assert nats_state(node)["state"] == "away" and node.addresses("www.svc.example.") == ["192.0.2.1"]
    problem = nats_state(node)["problem"]
    wait_until(lambda: problem in node.child.err(), 10, 0.05)
    assert problem in node.command("status").stdout


def wait_shared(node):
    """It is connected, and JetStream takes what it writes."""
    wait_state(node, "connected")
    wait_until(lambda: node.status()["fleet"]["events"]["state"] == "current", 30, 0.05)
    assert "problem" not in nats_state(node), nats_state(node)


def test_an_nkey_in_a_file_works_and_another_one_is_refused(dir):
    user, file = Nkey(USER), dir / "ns1.nk"
    file.write_text(Nkey(USER).seed + "\n")
    with NatsServer(dir, config=f"authorization {{ users = [ {{ nkey: {user.public} }} ] }}") as nats:
        with serve(dir, nats, fleet=f"credentials = {json.dumps(str(file))}\n") as node:
            wait_problem(node, "authorization violation")
            file.write_text(f"# the server\n{user.seed}\n")
            wait_shared(node)
    assert user.seed not in node.child.err() + json.dumps(node.child.out())
