"""A NATS server with TLS, and credentials in files: what a node says while they are wrong, and that right ones need no restart."""
import json

import trustme

from fleet import settings
from nats import NatsServer
from nkeys import USER, Nkey, Operator, creds
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


def test_a_certificate_of_another_authority_is_refused_and_the_right_one_works_at_once(dir):
    ours, theirs = trustme.CA(organization_name="ours"), trustme.CA(organization_name="theirs")
    certificate = ours.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(dir / "nats.pem"))
    ours.cert_pem.write_to_path(str(dir / "ours.pem"))
    theirs.cert_pem.write_to_path(str(dir / "ca.pem"))
    for name, authority in (("ns1", ours), ("stranger", theirs)):
        authority.issue_cert(f"{name}.example").private_key_and_cert_chain_pem.write_to_path(str(dir / f"{name}.pem"))
    (dir / "client.pem").write_bytes((dir / "stranger.pem").read_bytes())
    config = (
        f'tls {{ cert_file: "{dir}/nats.pem", key_file: "{dir}/nats.pem", ca_file: "{dir}/ours.pem", verify: true, timeout: 5 }}'
    )
    fleet = f'tls = {{ ca = "{dir}/ca.pem", cert = "{dir}/client.pem", key = "{dir}/client.pem" }}\n'
    with NatsServer(dir, config=config) as nats, serve(dir, nats, nats.url.replace("nats:", "tls:"), fleet) as node:
        wait_problem(node, "tls handshake", "certificate")
        (dir / "ca.pem").write_bytes((dir / "ours.pem").read_bytes())
        (dir / "client.pem").write_bytes((dir / "ns1.pem").read_bytes())
        wait_shared(node)
        assert nats_state(node)["server"] == "nats"


def test_a_creds_file_of_an_operator_works_and_a_wrong_key_is_named(dir):
    operator, user = Operator(), Nkey(USER)
    file = dir / "ns1.creds"
    file.write_text(creds(operator.user(user), Nkey(USER)))
    with NatsServer(dir, config=operator.config) as nats:
        with serve(dir, nats, fleet=f"credentials = {json.dumps(str(file))}\n") as node:
            wait_problem(node, "authorization violation")
            file.write_text(operator.user(user))
            wait_problem(node, str(file).lower(), "no credentials")
            # Another operator's token.
            file.write_text(creds(Operator().user(user), user))
            wait_problem(node, "authorization violation")
            file.write_text(creds(operator.user(user), user))
            wait_shared(node)
    assert user.seed not in node.child.err()


def test_an_nkey_in_a_file_works_and_another_one_is_refused(dir):
    user, file = Nkey(USER), dir / "ns1.nk"
    file.write_text(Nkey(USER).seed + "\n")
    with NatsServer(dir, config=f"authorization {{ users = [ {{ nkey: {user.public} }} ] }}") as nats:
        with serve(dir, nats, fleet=f"credentials = {json.dumps(str(file))}\n") as node:
            wait_problem(node, "authorization violation")
            file.write_text(f"# the server\n{user.seed}\n")
            wait_shared(node)
    assert user.seed not in node.child.err() + json.dumps(node.child.out())
