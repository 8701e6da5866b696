"""The connection of a node to the NATS servers of its fleet: it is made in the background, and again after every fault."""
import json

import pytest

from nats import NatsServer, free_ports
from portolan import SETTINGS, Node, command, files, policy, write_files
from processes import wait_until

ZONE = files(policy(endpoint={"fra1": {"addresses": ["192.0.2.1"]}}, name={"www": {"pool": "fra1"}}))


def fleet(*urls, node="ns1", more=""):
    """The settings of a node of the fleet `prod`."""
    settings = SETTINGS.replace('node = "ns1"', f"node = {json.dumps(node)}")
    return f'{settings}\n[fleet]\nnats = {json.dumps(list(urls))}\ncluster = "prod"\n{more}\n'


def nats_state(node):
    return node.status()["fleet"]["nats"]


def wait_state(node, state, bound=30):
    wait_until(lambda: nats_state(node)["state"] == state, bound, 0.05)


def test_a_node_serves_without_nats_and_connects_once_it_is_there(dir):
    [port] = free_ports(1)
    with Node(dir, ZONE, settings=fleet(f"nats://127.0.0.1:{port}")) as node:
        assert node.addresses("www.svc.example.") == ["192.0.2.1"]
        assert nats_state(node)["state"] == "away" and node.metric("portolan_fleet_connected") == 0
        shown = node.command("status").stdout
        assert "fleet prod: NO CONNECTION TO NATS" in shown, shown
        with NatsServer(dir, port=port) as nats:
            wait_state(node, "connected")
            assert nats_state(node)["server"] == "nats"
            assert node.metric("portolan_fleet_connected") == 1
            assert "fleet prod: connected to NATS at nats" in node.command("status").stdout
            nats.kill()
            wait_state(node, "away")
            assert node.addresses("www.svc.example.") == ["192.0.2.1"]
            nats.start()
            wait_state(node, "connected")
            assert node.metric("portolan_fleet_connections_total") == 2
            lines = node.child.err()
    assert lines.count("connected to NATS") == 2 and lines.count("no connection to NATS: this node goes on alone") == 1, lines


def test_wrong_credentials_are_in_the_status_and_right_ones_need_no_restart(dir):
    accounts = 'authorization { users = [ { user: "ns1", password: "right" } ] }'
    secret = dir / "ns1.secret"
    secret.write_text("ns1 wrong\n")
    with NatsServer(dir, config=accounts) as nats:
        more = f"credentials = {json.dumps(str(secret))}"
        with Node(dir, ZONE, settings=fleet(nats.url, more=more)) as node:
            wait_until(lambda: "authorization violation" in nats_state(node).get("problem", ""), 20, 0.05)
            assert nats_state(node)["state"] == "away"
            secret.write_text("ns1 right\n")
            wait_state(node, "connected")
            assert "problem" not in nats_state(node)
    assert "wrong" not in node.child.err() + json.dumps(node.child.out())


def test_a_user_and_a_password_may_be_in_the_address(dir):
    accounts = 'authorization { users = [ { user: "ns1", password: "s3cr/et" } ] }'
    with NatsServer(dir, config=accounts) as nats:
        url = nats.url.replace("nats://", "nats://ns1:s3cr%2Fet@")
        with Node(dir, ZONE, settings=fleet(url)) as node:
            wait_state(node, "connected")
            assert "s3cr" not in node.get("/v1/status")[1] + node.child.err()


@pytest.mark.parametrize(
    "lines, expected",
    [
        ('cluster = "prod"', "[fleet] has no `nats`"),
        ('nats = ["nats://h"]', "[fleet] has no `cluster`"),
        ('nats = ["http://h"]\ncluster = "prod"', "`http` is not a scheme of NATS servers here"),
        ('nats = ["nats://h", "h"]\ncluster = "prod"', "this NATS server is listed twice"),
        ('nats = ["nats://u:geheim@h/x"]\ncluster = "prod"', "nothing may follow the port"),
        ('nats = []\ncluster = "prod"', "`nats` must list 1 to 16 servers"),
        ('nats = ["h"]\ncluster = "a.b"', "`cluster` must be 1 to 32 letters"),
        ('nats = ["h"]\ncluster = "a"\nreplicas = 6', "`replicas` must be a whole number from 1 to 5"),
        ('nats = ["h"]\ncluster = "a"\ncredentials = "none.creds"', "`credentials`: can't read"),
        ('nats = ["h"]\ncluster = "a"\ntls = { ca = "none.pem" }', "can't read"),
        ('nats = ["h"]\ncluster = "a"\ntls = { ca = "portolan.toml" }', "no certificate in the form of PEM"),
        ('nats = ["h"]\ncluster = "a"\nhooks = { on_promote = ["promote"] }', "must begin with the absolute path"),
    ],
)
def test_wrong_settings_are_problems_with_their_place(dir, lines, expected):
    settings = write_files(dir, f"{SETTINGS}\n[fleet]\n{lines}\n", ZONE)
    checked = command("check", "--config", settings)
    assert checked.returncode == 1 and expected in checked.stdout + checked.stderr, checked
    assert "geheim" not in checked.stdout.replace(lines.splitlines()[0], "") + checked.stderr
