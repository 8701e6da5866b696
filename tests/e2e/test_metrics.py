"""All of `/metrics`: the families that must not change, with their types and labels, and no others. All families are in the
documents."""
import re
import time
from pathlib import Path

from portolan import MASTER, Node, ask
from processes import wait_until
from test_operator import operate, write_tokens

HERE = Path(__file__).parents[2]
MANUAL = "".join(path.read_text() for path in [HERE / "zones/README.md", *(HERE / "docs").glob("*.md")])

PROMISED = {
    "portolan_queries_total": ("counter", {"transport", "rcode"}),
    "portolan_api_refused_total": ("counter", {"reason"}),
    "portolan_dropped_total": ("counter", {"reason"}),
    "portolan_endpoint_up": ("gauge", {"zone", "endpoint", "region"}),
    "portolan_rtt_seconds": ("gauge", {"vantage", "zone", "endpoint"}),
    "portolan_region_rtt_seconds": ("gauge", {"region", "zone", "endpoint"}),
    "portolan_probe_seconds": ("histogram", {"vantage", "kind"}),
    "portolan_probes_total": ("counter", {"vantage", "kind", "result"}),
    "portolan_transitions_total": ("counter", {"zone", "endpoint", "to"}),
    "portolan_answers_total": ("counter", {"zone", "name", "endpoint"}),
    "portolan_name_eligible": ("gauge", {"zone", "name"}),
    "portolan_name_on_empty": ("gauge", {"zone", "name"}),
    "portolan_name_preferred": ("gauge", {"zone", "name"}),
    "portolan_build_info": ("gauge", {"version"}),
    "portolan_generation": ("gauge", set()),
    "portolan_last_reload_ok": ("gauge", set()),
    "portolan_vantage_up": ("gauge", {"vantage", "region"}),
    "portolan_recv_queue_drops_total": ("counter", set()),
}
FURTHER = {
    "portolan_zone_queries_total": ("counter", {"zone"}),
    "portolan_truncated_total": ("counter", {"transport"}),
    "portolan_connections_total": ("counter", {"transport"}),
    "portolan_open_connections": ("gauge", {"transport"}),
    "portolan_handshakes_total": ("counter", {"transport", "result"}),
    "portolan_seats_taken": ("gauge", {"listener"}),
    "portolan_seats": ("gauge", {"listener"}),
    "portolan_waiting_bytes": ("gauge", {"listener"}),
    "portolan_waiting_bytes_limit": ("gauge", {"listener"}),
    "portolan_state_writes_total": ("counter", {"result"}),
    "portolan_endpoint_held_down": ("gauge", {"zone", "endpoint"}),
    "portolan_endpoint_suspect": ("gauge", {"zone", "endpoint"}),
    "process_cpu_seconds_total": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_virtual_memory_bytes": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
    "process_max_fds": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "portolan_vantage_blind": ("gauge", {"vantage", "region"}),
    "portolan_held_connections": ("gauge", {"vantage"}),
    "portolan_endpoint_overridden": ("gauge", {"zone", "endpoint", "state"}),
    "portolan_reloads_total": ("counter", {"result"}),
    "portolan_last_reload_timestamp_seconds": ("gauge", set()),
    "portolan_slipped_total": ("counter", set()),
    "portolan_zone_current": ("gauge", {"zone"}),
    "portolan_zone_version_timestamp_seconds": ("gauge", {"zone"}),
    "portolan_file_changes_noticed": ("gauge", set()),
}

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
interval = "200ms"
timeout = "10s"
hold = true

[monitor.door]
type = "tcp"
interval = "200ms"
timeout = "10s"
hold = true

[endpoint.one]
addresses = ["192.0.2.1"]
region = "eu-west"
probe = "{one}"
monitor = "web"

[endpoint.two]
addresses = ["192.0.2.2"]
probe = "{two}"
monitor = "door"

[pool.web]
members = ["one", "two"]

[name.www]
pool = "web"
"""


def families(text):
    """{family: (type, the sets of label names that its samples have)}"""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    found = {name: (kind, set()) for name, kind in types.items()}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, re.M):
        family = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        names = {label for label in re.findall(r'(\w+)="', labels) if label != "le"}
        found[family][1].add(frozenset(names))
    return found


def test_every_family_with_its_labels(dir, endpoints):
    one, two = endpoints("one"), endpoints("two")
    write_tokens(dir)
    policy = POLICY.format(one=one.at, two=two.at)
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}) as node:
        node.ask("www.svc.example.")
        ask(node.udp, "www.svc.example.", tcp=True)
        assert operate(node, "drain", "two", "--why", "metrics").returncode == 0
        found = families(node.get("/metrics")[1])
        assert node.metric("portolan_zone_queries_total", zone="svc.example.") == 2
        assert node.metric("portolan_connections_total", transport="tcp") == 1
        assert node.metric("portolan_state_writes_total", result="success") >= 1, "the drain"
        assert abs(node.metric("process_start_time_seconds") - time.time()) < 60
        expected = {**PROMISED, **FURTHER}
        for family, (kind, labels) in expected.items():
            assert found.get(family) == (kind, {frozenset(labels)}), family
        assert [name for name in found if name not in expected and name not in MANUAL] == [], "not in the manual"
        assert [name for name in FURTHER if name not in MANUAL] == [], "not in the manual"


def test_health_in_metrics(dir, endpoints):
    """What a killed endpoint and a held connection change."""
    one, two = endpoints("one"), endpoints("two")
    policy = POLICY.format(one=one.at, two=two.at)
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}) as node:
        held = lambda: node.metric("portolan_held_connections", vantage="ns1")
        wait_until(lambda: held() == 2, 20)
        assert node.metric("portolan_endpoint_up", endpoint="one", region="eu-west") == 1
        assert 0 < node.metric("portolan_rtt_seconds", vantage="ns1", endpoint="one") < 10
        two.kill()
        wait_until(lambda: node.metric("portolan_endpoint_up", endpoint="two", region="") == 0, 20)
        wait_until(lambda: held() == 1, 20)
        assert node.metric("portolan_transitions_total", endpoint="two", to="down") == 1
        assert node.metric("portolan_probes_total", vantage="ns1", kind="tcp", result="failure") >= 2
        count, total = (node.metric(f"portolan_probe_seconds_{what}", kind="http") for what in ("count", "sum"))
        assert count <= node.metric("portolan_probes_total", kind="http") and 0 < total / count < 10
