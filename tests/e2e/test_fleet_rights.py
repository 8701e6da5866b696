"""The example of accounts in docker/nats: what a vantage may do through NATS, with the credentials of a stolen one."""
import json
import subprocess
from pathlib import Path

import pytest

from nats import PROGRAM, NatsClient, NatsServer
from processes import wait_until

CONFIG = (Path(__file__).parents[2] / "docker/nats/fleet.conf").read_text()
PASSWORDS = {"NS1": "one", "NS2": "two", "NS3": "six", "FRA1": "three", "NYC1": "four", "BOM1": "five"}
BUCKETS = ["targets", "overrides", "leases"]
CALLS = ["STREAM.DELETE", "STREAM.PURGE", "STREAM.UPDATE", "STREAM.MSG.GET", "CONSUMER.CREATE", "CONSUMER.LIST"]
READ = "$JS.API.DIRECT.GET.KV_portolan_prod_targets"
EVENTS = "portolan_prod_events"


@pytest.fixture
def nats(dir, monkeypatch):
    for name, password in PASSWORDS.items():
        monkeypatch.setenv(name, password)
    with NatsServer(dir, config=CONFIG) as server:
        yield server


@pytest.fixture
def server(nats):
    """A client with the credentials of a server, which has made the buckets with a key in each."""
    with NatsClient(nats, "ns1", "one") as client:
        for bucket in BUCKETS:
            config = {
                "name": f"KV_portolan_prod_{bucket}", "subjects": [f"$KV.portolan_prod_{bucket}.>"], "allow_direct": True,
                "max_msgs_per_subject": 1, "storage": "file", "num_replicas": 1, "allow_rollup_hdrs": True,
            }
            _, made = client.request(f"$JS.API.STREAM.CREATE.KV_portolan_prod_{bucket}", json.dumps(config).encode())
            assert b"error" not in made, made
            _, written = client.request(f"$KV.portolan_prod_{bucket}.zone.svc", b'{"v":1}')
            assert b'"seq":1' in written, written
        stream = {
            "name": EVENTS, "subjects": ["portolan.prod.event.*"], "allow_direct": True, "storage": "file", "num_replicas": 1,
        }
        _, made = client.request(f"$JS.API.STREAM.CREATE.{EVENTS}", json.dumps(stream).encode())
        assert b"error" not in made, made
        _, written = client.request("portolan.prod.event.ns1", b"secret")
        assert b'"seq":1' in written, written
        yield client


@pytest.fixture
def stolen(nats):
    """A client with the credentials of the vantage fra1."""
    with NatsClient(nats, "fra1", "three") as client:
        yield client


def last_revisions(server):
    """The revision of the last write in each bucket, and the sequence of the last event."""
    def last(stream):
        _, info = server.request(f"$JS.API.STREAM.INFO.{stream}")
        return json.loads(info)["state"]["last_seq"]

    return [last(stream) for stream in [*(f"KV_portolan_prod_{bucket}" for bucket in BUCKETS), EVENTS]]


def seen_by_server(server, stolen, attempt):
    """What reaches the servers of an attempt, up to a later report of the stolen vantage in its own name."""
    server.subscribe("portolan.>")
    server.subscribe("$KV.>")
    server.flush()
    attempt()
    stolen.publish("portolan.prod.report.eu-central.fra1", b"the end")
    wait_until(lambda: server.flush() or any(content == b"the end" for _, _, content in server.messages), 10)
    return [(subject, content) for subject, _, content in server.messages if content != b"the end"]


def test_a_vantage_reads_targets_and_reports_in_its_own_name(server, stolen):
    head, content = stolen.request(READ, json.dumps({"last_by_subj": "$KV.portolan_prod_targets.zone.svc"}).encode())
    assert content == b'{"v":1}' and "Nats-Sequence: 1" in head
    stolen.subscribe("$KV.portolan_prod_targets.>")
    stolen.subscribe("portolan.prod.ask.fra1")
    stolen.flush()
    server.request("$KV.portolan_prod_targets.zone.svc", b'{"v":2}')
    server.publish("portolan.prod.ask.fra1", b"ask")
    assert stolen.wait_message("$KV.portolan_prod_targets.zone.svc")[1] == b'{"v":2}'
    assert stolen.wait_message("portolan.prod.ask.fra1")[1] == b"ask"
    assert seen_by_server(server, stolen, lambda: None) == []


def test_a_stolen_vantage_cannot_speak_for_another_or_write_a_bucket(server, stolen):
    subjects = [
        "portolan.prod.report.us-east.nyc1", "portolan.prod.report.us-east.fra1", "portolan.prod.report.eu-central.fra2",
        "portolan.prod.beat", "portolan.prod.ask.nyc1", "portolan.prod.event.ns1",
        *(f"$KV.portolan_prod_{bucket}.zone.svc" for bucket in BUCKETS),
    ]
    before = last_revisions(server)

    def attempt():
        for subject in subjects:
            stolen.publish(subject, b"evil")
            stolen.publish(subject, b"", headers={"KV-Operation": "PURGE", "Nats-Rollup": "sub"})

    assert seen_by_server(server, stolen, attempt) == []
    assert last_revisions(server) == before


def test_jetstream_does_not_publish_for_a_stolen_vantage_either(server, stolen):
    """JetStream sends its replies wherever a request says, and a push consumer its messages: on such a way a vantage could write
    what it may not publish."""
    before = last_revisions(server)
    goals = ["portolan.prod.report.us-east.nyc1", *(f"$KV.portolan_prod_{bucket}.zone.svc" for bucket in BUCKETS)]

    def attempt():
        for goal in goals:
            stolen.publish(READ, json.dumps({"last_by_subj": "$KV.portolan_prod_targets.zone.svc"}).encode(), goal)
            stolen.publish(READ, b'{"seq":99}', goal)
            consumer = {"stream_name": "KV_portolan_prod_targets", "config": {"deliver_subject": goal, "ack_policy": "none"}}
            stolen.publish("$JS.API.CONSUMER.CREATE.KV_portolan_prod_targets", json.dumps(consumer).encode(), goal)

    assert seen_by_server(server, stolen, attempt) == []
    assert last_revisions(server) == before


def test_a_stolen_vantage_cannot_change_streams_or_read_other_buckets(server, stolen):
    server.subscribe("_INBOX.other.>")
    stolen.subscribe(">")
    stolen.flush()
    subjects = [f"$JS.API.{call}.KV_portolan_prod_{bucket}" for call in CALLS for bucket in BUCKETS]
    subjects += [f"$JS.API.DIRECT.GET.KV_portolan_prod_{bucket}" for bucket in ["overrides", "leases"]]
    subjects += [f"$JS.API.{call}.{EVENTS}" for call in [*CALLS, "DIRECT.GET"]]
    # NATS can read the request to make a consumer before it looks at the account, so that one is whole.
    consumer = json.dumps({"stream_name": "KV_portolan_prod_leases", "config": {"ack_policy": "none"}}).encode()
    for at, subject in enumerate(subjects):
        stolen.publish(subject, consumer if ".CONSUMER.CREATE." in subject else b'{"seq":1}', f"_INBOX.mine.{at}")
    # This one is allowed, and its reply comes after all others.
    assert stolen.request(READ, b'{"seq":1}')[1] == b'{"v":1}'
    replies = [content for subject, _, content in stolen.messages if subject.startswith("_INBOX.mine.")]
    assert all(reply == b"" or b"JetStream not enabled for account" in reply for reply in replies), replies
    assert last_revisions(server) == [1, 1, 1, 1]
    # What servers send each other, and the replies that they get.
    stolen.messages.clear()
    for subject in ["portolan.prod.beat", "portolan.prod.event.ns1", "$KV.portolan_prod_leases.zone.svc", "portolan.prod.ask.nyc1", "_INBOX.other.1"]:
        server.publish(subject, b"secret")
    server.publish("portolan.prod.ask.fra1", b"the end")
    assert stolen.wait_message("portolan.prod.ask.fra1")[1] == b"the end"
    assert [content for _, _, content in stolen.messages if content == b"secret"] == []


def test_the_example_of_a_cluster_is_a_valid_configuration(monkeypatch):
    routes = '["nats://nats1:6222", "nats://nats2:6222", "nats://nats3:6222"]'
    for name, text in {**PASSWORDS, "NAME": "nats1", "DATA": "/data", "ROUTES": routes}.items():
        monkeypatch.setenv(name, text)
    config = Path(__file__).parents[2] / "docker/nats/nats.conf"
    checked = subprocess.run([PROGRAM, "-t", "-c", config], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked
