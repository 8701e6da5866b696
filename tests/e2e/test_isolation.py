"""Control work delays neither answers nor steering: clients that loop on the calls that cost most, and a reload
of many names, while an endpoint is killed and other clients ask."""
import concurrent.futures
import json
import time
import urllib.request

import pytest
from endpoint import Endpoint
from loops import Loops
from portolan import MASTER, Node, ask, policy, tcp_monitor
from processes import processor_seconds, wait_until
from steady import Steady, last_naming, stall
from test_operator import ALICE, write_tokens

# So many that the calls take long in a debug build; they have no monitor, so that probing them costs nothing.
ENDPOINTS = 4000
NAMES = 6000
FIRST, SECOND = "127.0.0.1", "127.0.0.2"
# What the monitor needs: its interval and its time-out, `fall` times; and as much again for a machine that is busy.
FAILOVER = 1.5
QUIET = 0.5


def small(port):
    """The zone with the endpoint that is killed."""
    return policy(
        "svc.example.",
        defaults={"ttl": "1s"},
        monitor={"m": tcp_monitor(port)},
        endpoint={"a": {"addresses": [FIRST], "monitor": "m"}, "b": {"addresses": [SECOND]}},
        pool={"web": {"steer": "failover", "members": ["a", "b"]}},
        name={"www": {"pool": "web"}},
    )


def large(endpoints, names, ttl="5s"):
    """A zone with so many endpoints and names."""
    lines = [f'zone = "many.example."\n[defaults]\nttl = "{ttl}"\n']
    lines += [f'[endpoint.e{n}]\naddresses = ["10.{n >> 16}.{n >> 8 & 255}.{n & 255}"]\n' for n in range(endpoints)]
    for n in range(names):
        members = ", ".join(f'"e{(4 * n + turn) % endpoints}"' for turn in range(4))
        lines.append(f"[pool.p{n}]\nmembers = [{members}]\n[name.n{n}]\npool = \"p{n}\"\n")
    return "".join(lines)


def node_with(dir, port, endpoints, names):
    zones = {
        "svc.example.policy.toml": small(port),
        "svc.example.zone": MASTER,
        "many.example.policy.toml": large(endpoints, names),
        "many.example.zone": MASTER,
    }
    return Node(dir, zones, bound=120)


def failover_takes(node, endpoint, client):
    """How long the answers name a killed endpoint. It is up again at the end."""
    node.wait_health("a", "up", 60)
    client.wait_for(lambda reply: reply.answers == [FIRST], 30, since=time.time())
    killed = time.time()
    endpoint.kill()
    client.wait_for(lambda reply: reply.answers == [SECOND], 60, since=killed)
    took = last_naming(client.replies(), FIRST, killed)
    late = stall(client.replies(), killed, killed + took)
    endpoint.start()
    return took, late


def seconds(call):
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def slowest(call, times):
    return max(seconds(call) for _ in range(times))


@pytest.fixture
def endpoint(dir):
    endpoint = Endpoint(dir, "a", FIRST)
    yield endpoint
    endpoint.end()


def test_clients_that_loop_on_costly_calls_delay_neither_a_failover_nor_another_client(dir, endpoint):
    calls = {"GET /metrics": 16, "GET /v1/status": 8, "POST /v1/simulate": 8, "GET /v1/names": 4, "GET /": 4}
    with (
        node_with(dir, endpoint.port, ENDPOINTS, NAMES) as node,
        Steady(node.dir, node.udp, "www.svc.example.", per_second=50) as client,
    ):
        alone, late_alone = failover_takes(node, endpoint, client)
        node.wait_health("a", "up", 60)
        client.wait_for(lambda reply: reply.answers == [FIRST], 30, since=time.time())
        with Loops(node.dir, node.http, calls) as loops:
            killed = time.time()
            endpoint.kill()
            tcp = slowest(lambda: ask(node.udp, "www.svc.example.", tcp=True, timeout=30), 20)
            healthz = slowest(lambda: node.get("/healthz"), 20)
            client.wait_for(lambda reply: reply.answers == [SECOND], 60, since=killed)
            took = last_naming(client.replies(), FIRST, killed)
            late = stall(client.replies(), killed, time.time())
            statuses = loops.finish()["statuses"]
        assert took < alone + late_alone + late + FAILOVER, f"a failover takes {alone:.2f} s, during the calls {took:.2f} s"
        assert tcp < QUIET + 2 * late, f"an answer over TCP took {tcp:.2f} s"
        assert healthz < QUIET + 2 * late, f"/healthz took {healthz:.2f} s"
        assert statuses.keys() <= {"200", "429", "503"} and statuses["200"] > 0, statuses
        assert {r.rcode for r in client.finish()} == {"NOERROR"}


def test_one_rendering_serves_all_that_wait_for_it_and_none_is_older_than_its_request(dir, endpoint):
    with node_with(dir, endpoint.port, ENDPOINTS, NAMES) as node:
        # Many, because the kernel counts processor time in hundredths of a second.
        one = cpu_of(node, lambda: [node.get("/metrics") for _ in range(50)]) / 50
        counts = []

        def many():
            with Loops(node.dir, node.http, {"GET /metrics": 16}) as loops:
                time.sleep(2)
                counts.extend(loops.finish()["done"]["GET /metrics"])

        each = cpu_of(node, many) / sum(counts)
        assert each < one / 2, f"a scrape costs {one:.3f} s, one of sixteen at a time {each:.3f} s"
        with Loops(node.dir, node.http, {"GET /metrics": 4}):
            for _ in range(5):
                before = node.metric("portolan_answers_total", name="www", zone="svc.example.")
                node.ask("www.svc.example.")
                assert node.metric("portolan_answers_total", name="www", zone="svc.example.") == before + 1


def cpu_of(node, call):
    """The processor time of the node during a call."""
    before = processor_seconds(node.child.pid)
    call()
    return processor_seconds(node.child.pid) - before


def put_override(node, target, state):
    """Overrides an endpoint. The response comes after the change is served: it counts how the answers moved."""
    body = json.dumps({"state": state, "why": "an exercise", "confirm": True}).encode()
    headers = {"Authorization": f"Bearer {ALICE}", "Content-Type": "application/json"}
    call = urllib.request.Request(f"{node.url}/v1/overrides/{target}", body, headers, method="PUT")
    with urllib.request.urlopen(call, timeout=60) as reply:
        assert reply.status == 200, reply.status


def test_steering_goes_on_while_a_large_generation_is_compiled_and_nothing_is_lost(dir, endpoint):
    write_tokens(dir)
    with (
        node_with(dir, endpoint.port, ENDPOINTS, 4 * NAMES) as node,
        Steady(node.dir, node.udp, "www.svc.example.") as client,
        concurrent.futures.ThreadPoolExecutor(1) as operator,
    ):
        node.wait_health("a", "up", 60)
        node.write("many.example.policy.toml", large(ENDPOINTS, 4 * NAMES, ttl="7s"))
        begun = time.time()
        node.hup()
        took, wanted = [], [(SECOND, "drain"), (FIRST, "up")]
        while node.get("/readyz")[1].split()[-1] == str(node.first_generation):
            address, state = wanted[len(took) % 2]
            put = operator.submit(put_override, node, "a", state)
            took.append(seconds(lambda: wait_until(lambda: node.addresses("www.svc.example.") == [address], 60)))
            put.result()
        late = stall(client.replies(), begun, time.time())
        assert len(took) > 2 and max(took) < QUIET + 2 * late, f"an override is served after {max(took):.2f} s, {took}"
        assert node.addresses("www.svc.example.") == [address], "the last one before the new generation is not lost"
        assert node.ask("n1.many.example.").answer[0].ttl == 7
        assert {r.rcode for r in client.finish()} == {"NOERROR"}
