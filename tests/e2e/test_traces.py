"""Traces of the control plane's work, as an OpenTelemetry collector gets them. They need the cargo feature otel."""
import os

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from portolan import SETTINGS, Node, files, policy
from processes import wait_until
from receiver import Receiver

TOKEN = "5f3c0d9a7be14c2891d0a6cc4fe2b713"
NOT_BUILT = "this program is built without the cargo feature otel"
ZONE = policy(endpoint={"fra1": {"addresses": ["192.0.2.1"]}, "fra2": {"addresses": ["192.0.2.2"]}},
              pool={"web": {"members": ["fra1", "fra2"]}}, name={"www": {"pool": "web", "answers": 2}})


class Collector(Receiver):
    """Takes spans by OTLP over HTTP; `status` is what it replies."""

    def __init__(self):
        super().__init__()
        self.status, self.resources, self.spans, self.requests = 200, [], [], 0

    def receive(self, path, headers, body):
        self.requests += 1
        if self.status == 200:
            assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(values(of_resource.resource))
                self.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
        return self.status, {}

    def named(self, name, **attributes):
        """The spans with this name and these attributes."""
        return [span for span in list(self.spans) if span.name == name and attributes.items() <= values(span).items()]


def values(of):
    """The attributes of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


def start(dir, collector, **more):
    (dir / "node").mkdir()
    (dir / "node" / "tokens").write_text(f"anna operate {TOKEN}\n")
    settings = SETTINGS + '\n[api]\ntoken_file = "tokens"\n'
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}", **more}
    return Node(dir, files(ZONE), settings, env=env)


def is_built(node):
    """Whether the program can send traces. Where it can't, the log says what is missing."""
    if NOT_BUILT not in node.child.err():
        return True
    assert "otel" not in os.environ.get("FEATURES", "").split(","), "this build should have it"
    return False


def test_a_reload_and_an_override_are_traces_with_their_steps(dir, collector):
    with start(dir, collector, OTEL_RESOURCE_ATTRIBUTES="team=edge") as node:
        if not is_built(node):
            return
        node.write("svc.example.policy.toml", ZONE.replace("192.0.2.2", "192.0.2.3"))
        wait_until(lambda: collector.named("reload", ok=True, cause="files changed"), 30)
        [reload] = collector.named("reload", ok=True, cause="files changed")
        assert values(reload)["generation"] == node.first_generation + 1 and not reload.parent_span_id
        wait_until(lambda: {"read files", "probe new checks", "compile", "publish"} <= steps(collector, reload), 30)
        assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in collector.spans)
        [resource] = {tuple(sorted(resource.items())) for resource in collector.resources}
        assert {("service.name", "portolan"), ("team", "edge")} <= set(resource)

        drained = node.command("drain", "fra1", "--why", "test", env={"PORTOLAN_TOKEN": TOKEN})
        assert drained.returncode == 0, drained.stderr
        wait_until(lambda: collector.named("override", action="set", target="fra1", who="anna", ok=True), 30)

        node.write("svc.example.policy.toml", ZONE + "wieght = 1\n")
        wait_until(lambda: collector.named("reload", ok=False), 30)


def steps(collector, span):
    """The names of the spans directly below one."""
    below = [each for each in list(collector.spans) if each.parent_span_id == span.span_id]
    assert all(each.trace_id == span.trace_id for each in below)
    return {each.name for each in below}


def test_a_collector_that_refuses_is_reported_once_and_holds_nothing_up(dir, collector):
    collector.status = 503
    with start(dir, collector) as node:
        if not is_built(node):
            return
        failed = lambda: node.child.err().count("takes no spans")
        wait_until(lambda: failed() == 1 and collector.requests >= 3, 30)
        assert failed() == 1 and node.addresses("www.svc.example.") == ["192.0.2.1", "192.0.2.2"]
        collector.status = 200
        wait_until(lambda: "takes spans again" in node.child.err() and collector.named("publish"), 30)


def test_a_wrong_address_is_an_error_in_the_log(dir, collector):
    with start(dir, collector, OTEL_EXPORTER_OTLP_ENDPOINT="-*/*-/*-") as node:
        if is_built(node):
            wait_until(lambda: "OTEL_EXPORTER_OTLP" in node.child.err(), 30)
        assert node.addresses("www.svc.example.") == ["192.0.2.1", "192.0.2.2"]
