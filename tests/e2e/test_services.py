"""SRV, HTTPS and SVCB of the real server: as dig and kdig print them, during a failover, and for HAProxy, which finds its
servers by these SRV records and has no health checks of its own."""
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time

import dns.rdatatype
import pytest

from portolan import MASTER, Node
from processes import Child, wait_until

POLICY = """
zone = "svc.example."

[defaults]
ttl = "5s"

[monitor.web]
type = "http"
interval = "100ms"
damping  = false
timeout = "100ms"
fall = 2

[endpoint.fra1]
addresses = ["{fra1.host}"]
probe = "{fra1.at}"
monitor = "web"
weight = 80

[endpoint.ams1]
addresses = ["{ams1.host}"]
probe = "{ams1.at}"
monitor = "web"
weight = 20

[pool.both]
members = ["fra1", "ams1"]

[pool.first]
members = ["fra1", "ams1"]
steer = "failover"

[name."_http._tcp.both"]
pool = "both"
types = ["SRV"]

[name."_http._tcp.first"]
pool = "first"
types = ["SRV"]

[name.www]
pool = "first"
types = ["A", "HTTPS"]
alpn = ["h2", "h3"]
port = 8443
"""


@pytest.fixture
def node(dir, endpoints):
    """A node with two endpoints on their own addresses, which respond with their names."""
    fra1 = endpoints("fra1", host="127.0.0.10", body="fra1")
    ams1 = endpoints("ams1", host="127.0.0.20", body="ams1")
    files = {"svc.example.policy.toml": POLICY.format(fra1=fra1, ams1=ams1), "svc.example.zone": MASTER}
    with Node(dir, files) as node:
        node.fra1, node.ams1 = fra1, ams1
        yield node


def short(tool, node, *arguments):
    """The output of `dig +short` or a similar command, sorted."""
    host, port = node.udp
    argv = [tool, "+short", "+norecurse", f"@{host}", "-p", str(port), *arguments]
    return sorted(subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines())


@pytest.mark.skipif(not shutil.which("dig"), reason="needs dig (bind9-dnsutils)")
def test_dig_prints_the_services(node):
    fra1, ams1 = node.fra1, node.ams1
    both = [f"0 16384 {ams1.port} ams1.endpoints.svc.example.", f"0 65535 {fra1.port} fra1.endpoints.svc.example."]
    assert short("dig", node, "SRV", "_http._tcp.both.svc.example.") == both
    assert short("dig", node, "A", "fra1.endpoints.svc.example.") == ["127.0.0.10"], "the target resolves"
    assert short("dig", node, "A", "www.svc.example.") == ["127.0.0.10"]
    assert short("dig", node, "HTTPS", "www.svc.example.") == ['1 . alpn="h2,h3" port=8443 ipv4hint=127.0.0.10']
    assert short("dig", node, "A", "_http._tcp.both.svc.example.") == []

    fra1.kill()
    node.wait_health("fra1", "down")
    assert short("dig", node, "SRV", "_http._tcp.both.svc.example.") == [f"0 65535 {ams1.port} ams1.endpoints.svc.example."]
    assert short("dig", node, "SRV", "_http._tcp.first.svc.example.") == [f"0 65535 {ams1.port} ams1.endpoints.svc.example."]
    assert short("dig", node, "HTTPS", "www.svc.example.") == ['1 . alpn="h2,h3" port=8443 ipv4hint=127.0.0.20']
    fra1.start()
    node.wait_health("fra1", "up")
    assert short("dig", node, "SRV", "_http._tcp.both.svc.example.") == both


@pytest.mark.skipif(not shutil.which("kdig"), reason="needs kdig (knot-dnsutils)")
def test_kdig_prints_the_same(node):
    srv = short("kdig", node, "SRV", "_http._tcp.both.svc.example.")
    assert srv == short("kdig", node, "+tcp", "SRV", "_http._tcp.both.svc.example.") and len(srv) == 2
    assert short("kdig", node, "HTTPS", "www.svc.example.") == ["1 . alpn=h2,h3 port=8443 ipv4hint=127.0.0.10"]


def test_targets_are_in_the_reply_and_are_counted(node):
    reply = node.ask("_http._tcp.both.svc.example.", "SRV")
    extra = {str(rrset.name): rrset[0].to_text() for rrset in reply.additional if rrset.rdtype == dns.rdatatype.A}
    assert extra == {"fra1.endpoints.svc.example.": "127.0.0.10", "ams1.endpoints.svc.example.": "127.0.0.20"}
    labels = dict(zone="svc.example.", name="_http._tcp.both")
    for endpoint in ("fra1", "ams1"):
        wait_until(lambda: node.metric("portolan_answers_total", endpoint=endpoint, **labels) == 1, 5)


def test_explain_shows_the_records(node):
    explained = node.command("explain", "_http._tcp.both.svc.example.", "SRV", "--format", "json")
    assert explained.returncode == 0, explained.stderr
    answers = {a["endpoint"]: (a["rdata"], a["probability"]) for a in json.loads(explained.stdout)["answers"]}
    assert answers == {
        "fra1": (f"0 65535 {node.fra1.port} fra1.endpoints.svc.example.", 1.0),
        "ams1": (f"0 16384 {node.ams1.port} ams1.endpoints.svc.example.", 1.0),
    }
    explained = node.command("explain", "www.svc.example.", "https", "--format", "json")
    assert [a["rdata"] for a in json.loads(explained.stdout)["answers"]] == ['1 . alpn="h2,h3" port=8443 ipv4hint=127.0.0.10']


HAPROXY = """
global
    stats socket unix@{dir}/admin.sock mode 600 level admin

defaults
    mode http
    retries 0
    timeout connect 1s
    timeout client 5s
    timeout server 5s

resolvers portolan
    nameserver ns1 {dns}
    accepted_payload_size 1232
    resolve_retries 3
    timeout resolve 200ms
    timeout retry 200ms
    hold valid 200ms
    hold obsolete 0s
    hold nx 0s
    hold timeout 30s
    hold refused 30s
    hold other 30s

frontend www
    bind unix@{dir}/both.sock
    bind unix@{dir}/first.sock
    default_backend both
    use_backend first if {{ so_id 2 }}

backend both
    balance roundrobin
    server-template web 4 _http._tcp.both.svc.example. resolvers portolan resolve-prefer ipv4 init-addr none

backend first
    server-template web 4 _http._tcp.first.svc.example. resolvers portolan resolve-prefer ipv4 init-addr none
"""


class HaProxy:
    """A real HAProxy, which listens on Unix sockets, so that it needs no port."""

    def __init__(self, dir, node):
        self.dir = dir
        config = dir / "haproxy.cfg"
        config.write_text(HAPROXY.format(dir=dir, dns="{}:{}".format(*node.udp)))
        self.child = Child([shutil.which("haproxy"), "-db", "-f", config], dir, "haproxy")
        try:
            wait_until(lambda: not self.child.is_running() or (dir / "admin.sock").exists(), 20)
            assert self.child.is_running(), self.child.output()
        except BaseException:
            self.child.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()

    def say(self, command):
        """A response of its admin socket."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(5)
            admin.connect(str(self.dir / "admin.sock"))
            admin.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()

    def servers(self, backend):
        """{address: (port, weight)} of the servers that it sends requests to."""
        lines = self.say(f"show servers state {backend}").splitlines()[1:]
        names = lines[0].removeprefix("# ").split()
        rows = [dict(zip(names, line.split(), strict=False)) for line in lines[1:] if line]
        up = [row for row in rows if row["srv_op_state"] == "2" and row["srv_addr"] != "-"]
        return {row["srv_addr"]: (int(row["srv_port"]), int(row["srv_uweight"])) for row in up}

    def get(self, backend):
        """Which endpoint responds to a request; None if none does."""
        with socket.socket(socket.AF_UNIX) as to:
            to.settimeout(5)
            to.connect(str(self.dir / f"{backend}.sock"))
            connection = http.client.HTTPConnection("www.svc.example")
            connection.sock = to
            connection.request("GET", "/")
            reply = connection.getresponse()
            body = reply.read().decode()
            return body if reply.status == 200 else None


def shown(when, haproxy):
    print(f"\n== {when}")
    for command in ("show servers state first", "show servers state both", "show resolvers portolan"):
        print(f"$ {command}\n{haproxy.say(command).rstrip()}")


@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs haproxy")
def test_haproxy_follows_a_failover_by_srv(dir, node, figure):
    fra1, ams1 = node.fra1, node.ams1
    with HaProxy(dir, node) as haproxy:
        # The weights of HAProxy are at most 256: 65,535 and 16,384 are 256 and 65.
        both = {"127.0.0.10": fra1.port, "127.0.0.20": ams1.port}
        wait_until(lambda: {ip: port for ip, (port, _) in haproxy.servers("both").items()} == both, 20)
        wait_until(lambda: haproxy.get("first") == "fra1", 20)
        weights = {ip: weight for ip, (_, weight) in haproxy.servers("both").items()}
        assert weights["127.0.0.10"] / weights["127.0.0.20"] == pytest.approx(4, rel=0.05), weights
        assert list(haproxy.servers("first")) == ["127.0.0.10"]
        shown("both up", haproxy)

        killed = time.monotonic()
        fra1.kill()
        wait_until(lambda: haproxy.get("first") == "ams1", 20)
        figure("HAProxy serves from the other after", time.monotonic() - killed, "s")
        wait_until(lambda: list(haproxy.servers("both")) == ["127.0.0.20"], 20)
        assert {haproxy.get("both") for _ in range(8)} == {"ams1"}
        assert list(haproxy.servers("first")) == ["127.0.0.20"]
        shown("fra1 killed", haproxy)

        fra1.start()
        wait_until(lambda: haproxy.get("first") == "fra1", 20)
        wait_until(lambda: set(haproxy.servers("both")) == set(both), 20)
        wait_until(lambda: {haproxy.get("both") for _ in range(16)} == {"fra1", "ams1"}, 20)
        shown("fra1 started again", haproxy)


SHARES = """
zone = "svc.example."

[endpoint.a]
addresses = ["192.0.2.1"]

[endpoint.b]
addresses = ["192.0.2.2"]

[pool.weighted]
members = ["a", { to = "b", weight = 3 }]

[pool.by_net]
members = ["a", "b"]
steer = "affinity"

[name."_few._tcp"]
pool = "weighted"
types = ["SRV"]
answers = 1
port = 443

[name."_net._tcp"]
pool = "by_net"
types = ["SRV"]
answers = 1
port = 443
"""


def services(node, name, subnet=None):
    """(port, first label of the target) of each SRV record."""
    reply = node.ask(name, "SRV", subnet=subnet)
    return sorted((record.port, record.target.labels[0].decode()) for rrset in reply.answer for record in rrset)


def test_fewer_srv_records_than_endpoints_are_drawn_by_weight_and_by_the_clients_net(dir):
    with Node(dir, {"svc.example.policy.toml": SHARES, "svc.example.zone": MASTER}) as node:
        drawn = [services(node, "_few._tcp.svc.example.") for _ in range(200)]
        assert all(len(records) == 1 for records in drawn)
        # b has three quarters: half or less, or all, of 200 draws has a chance of 1 in 10^13.
        assert 100 < drawn.count([(443, "b")]) < 200
        of_net = lambda net: services(node, "_net._tcp.svc.example.", subnet=f"10.0.{net}.0/24")
        of_nets = {net: of_net(net) for net in range(60)}
        assert {records[0][1] for records in of_nets.values()} == {"a", "b"}
        assert all(of_net(net) == records for net, records in of_nets.items())


OWN_MONITOR = """
zone = "svc.example."

[monitor.web]
type = "tcp"
port = WEB

[monitor.api]
type = "tcp"
port = API

[endpoint.a]
addresses = ["127.0.0.1"]
monitor = "web"

[endpoint.b]
addresses = ["192.0.2.2"]
probe = "127.0.0.1:PROBE"

[pool.both]
members = ["a", "b"]

[name."_api._tcp"]
pool = "both"
types = ["SRV"]
monitor = "api"
"""


def test_an_srv_record_has_the_port_that_is_probed_for_its_name(dir):
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        web, api, probe = (each.getsockname()[1] for each in [closed, *listening])
        policy = OWN_MONITOR.replace("WEB", str(web)).replace("API", str(api)).replace("PROBE", str(probe))
        with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}) as node:
            assert services(node, "_api._tcp.svc.example.") == sorted([(api, "a"), (probe, "b")])
