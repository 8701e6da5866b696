"""A sink of type kafka with a broker: each event is there at least once and in order for its endpoint, whatever is cut meanwhile;
and what status says of a topic that is missing, and of brokers that are away."""
import json
import os
import signal
import ssl

import pytest
import trustme

import portolan
from portolan import Node, command, write_files
from processes import wait_until
from test_operator import TOKENS
from test_sinks import BOUND, ENDPOINTS, local_ids, sink, turn, wait_sent, zone
from test_sinks_nats import check_order, turn_with_cuts

pytest.importorskip("confluent_kafka")
from kafka import KafkaBroker  # noqa: E402

HAS_KAFKA = "kafka" in os.environ.get("FEATURES", "").split(",")
needs_kafka = pytest.mark.skipif(not HAS_KAFKA, reason="this program is built without the feature kafka")
# Each turn has ENDPOINTS - 1 events: 2,000 in a usual run, with 42 turns 10,000.
TURNS = int(os.environ.get("SINK_TURNS", "8"))


def start(dir, address, more=""):
    """A server with the sink `log`. A second start in the same directory goes on with its state."""
    (dir / "node").mkdir(exist_ok=True)
    (dir / "node/tokens").write_text(TOKENS)
    (dir / "node/tokens").chmod(0o600)
    settings = f'\n[sink.log]\ntype = "kafka"\nbrokers = ["{address}"]\ntopic = "portolan"\nconcurrency = 16\ntimeout = "2s"\n{more}'
    return Node(dir, zone(), settings=portolan.SETTINGS + settings)


@needs_kafka
def test_each_event_is_there_and_in_order_though_the_broker_is_cut_off_three_times_and_the_server_restarts(dir):
    with KafkaBroker(dir) as kafka:
        kafka.make("portolan")
        turns = iter(range(TURNS))
        with start(dir, kafka.address) as node:
            turn_with_cuts(node, turns, max(3, TURNS // 2 - 1), kafka.cut, kafka.mend)
            node.child.signal(signal.SIGTERM)
            assert node.child.process.wait(60) == 0, node.child.err()
        with start(dir, kafka.address) as node:
            turn(node, turns)
            wait_sent(node, TURNS * (ENDPOINTS - 1))
            report, ids = sink(node), local_ids(node)
        records = kafka.records("portolan")
    assert (report["lost"], report["dead_letters"], report["type"]) == (0, 0, "kafka"), report
    events = [json.loads(record.value()) for record in records]
    print(f"{len(ids)} events: {len(records)} records, {len(records) - len({of['id'] for of in events})} twice")
    assert {event["id"] for event in events} == set(ids), "each is there, and no other"
    check_order(events)
    partitions = {}
    for record, event in zip(records, events):
        headers = {name: value.decode() for name, value in record.headers()}
        assert headers == {"content-type": "application/cloudevents+json", "ce_id": event["id"]}, headers
        assert record.key().decode() == event.get("subject", ""), event
        assert event["specversion"] == "1.0" and event["source"] == "/portolan/ns1", event
        partitions.setdefault(record.key(), set()).add(record.partition())
    assert all(len(of) == 1 for of in partitions.values()), "the events of an endpoint are in one partition"
    assert {at for of in partitions.values() for at in of} == {0, 1, 2}


@needs_kafka
def test_status_says_what_is_missing_and_events_arrive_when_it_is_there(dir):
    with KafkaBroker(dir) as kafka:
        kafka.make("other")
        kafka.cut()
        with start(dir, kafka.address) as node:
            turn(node, [0])
            wait_until(lambda: sink(node)["state"] == "retrying", BOUND)
            assert sink(node)["to"] == f"portolan on {kafka.address}"
            assert "compare brokers and tls" in node.command("status").stdout
            assert node.metric("portolan_sink_up", sink="log") == 0
            kafka.mend()
            wait_until(lambda: "no such topic" in sink(node)["last_error"]["why"], BOUND)
            assert "kafka-topics.sh" in node.command("status").stdout
            kafka.make("portolan", 1)
            wait_until(lambda: sink(node)["state"] == "ok" and sink(node)["behind"] == 0, BOUND)
            ids = [json.loads(record.value())["id"] for record in kafka.records("portolan", 1)]
            assert set(ids) == set(local_ids(node)) and len(set(ids)) == ENDPOINTS - 1


@needs_kafka
def test_tls_trusts_the_named_authority_only(dir):
    ours, theirs = trustme.CA(organization_name="ours"), trustme.CA(organization_name="theirs")
    for name, ca in (("ours.pem", ours), ("theirs.pem", theirs)):
        ca.cert_pem.write_to_path(dir / name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("127.0.0.1").configure_cert(tls)
    with KafkaBroker(dir, tls=tls) as kafka:
        kafka.settings |= {"security.protocol": "ssl", "ssl.ca.location": str(dir / "ours.pem")}
        kafka.make("portolan")
        ca = dir / "ca.pem"
        ca.write_bytes((dir / "theirs.pem").read_bytes())
        with start(dir, kafka.address, f'tls = {{ ca = "{ca}" }}\n') as node:
            turn(node, [0])
            wait_until(lambda: "UnknownIssuer" in (sink(node).get("last_error") or {}).get("why", ""), BOUND)
            # It is read again at each connection.
            ca.write_bytes((dir / "ours.pem").read_bytes())
            wait_until(lambda: sink(node)["state"] == "ok" and sink(node)["behind"] == 0, BOUND)
            assert len(kafka.records("portolan")) >= ENDPOINTS - 1


@pytest.mark.skipif(HAS_KAFKA, reason="this program is built with the feature kafka")
def test_a_program_without_the_feature_names_it(dir):
    text = portolan.SETTINGS + '\n[sink.log]\ntype = "kafka"\nbrokers = ["127.0.0.1:9092"]\ntopic = "portolan"\n'
    checked = command("check", "--config", write_files(dir, text, zone()))
    assert checked.returncode == 1 and "it was built without the feature `kafka`" in checked.stdout, checked
