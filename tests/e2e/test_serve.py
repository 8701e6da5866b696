"""One node that serves: shares, clients and their scopes, transports, sizes, and packets of garbage."""
import ipaddress
import random
import socket

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from flood import flood
from portolan import MASTER, SETTINGS, Node, answers, ask, scope
from processes import wait_until

WEIGHTED = """
zone = "svc.example."

[endpoint.heavy]
addresses = ["192.0.2.80", "2001:db8::80"]
weight = 80

[endpoint.light]
addresses = ["192.0.2.20", "2001:db8::20"]
weight = 20

[endpoint.spare]
addresses = ["192.0.2.99"]
weight = 0

[pool.web]
members = ["heavy", "light", "spare"]

[name.www]
pool = "web"
"""


def test_answers_follow_the_weights_and_are_counted(dir, figure):
    """100,000 answers of an 80:20 name: the shares, and the same numbers in the metric."""
    queried = 100_000
    with Node(dir, {"svc.example.policy.toml": WEIGHTED, "svc.example.zone": MASTER}) as node:
        answered = flood(node.udp, "www.svc.example.", queried)
        share = 100 * answered["192.0.2.80"] / queried
        figure("share of the weight 80", share, "%")
        assert set(answered) == {"192.0.2.80", "192.0.2.20"}, answered
        assert abs(share - 80) <= 1, answered

        def counted():
            labels = dict(zone="svc.example.", name="www")
            return [node.metric("portolan_answers_total", endpoint=e, **labels) for e in ("heavy", "light")]

        wanted = [answered["192.0.2.80"], answered["192.0.2.20"]]
        wait_until(lambda: counted() == wanted, 5)
        assert node.metric("portolan_queries_total", transport="udp", rcode="NOERROR") == queried
        assert node.metric("portolan_answers_total", endpoint="spare") in (None, 0)


REGIONS = SETTINGS.split("[regions", maxsplit=1)[0] + """
[clients]
default_region = "us-east"

[regions.us-east]
location = [39.0, -77.5]
nets = ["127.1.0.0/16", "2001:db8:1::/48"]

[regions.eu-west]
location = [53.34, -6.26]
nets = ["127.2.0.0/16", "2001:db8:2::/48"]

[regions.ap-south]
location = [19.08, 72.88]
nets = ["127.3.0.0/16", "127.2.7.0/24"]
"""

NEAREST = """
zone = "svc.example."
{ecs}

[endpoint.use1]
addresses = ["192.0.2.1", "2001:db8:f::1"]
region = "us-east"

[endpoint.euw1]
addresses = ["192.0.2.2", "2001:db8:f::2"]
region = "eu-west"

[endpoint.aps1]
addresses = ["192.0.2.3", "2001:db8:f::3"]
region = "ap-south"

[pool.world]
members = ["use1", "euw1", "aps1"]
steer = "nearest"

[pool.plain]
members = ["use1", "euw1"]

[name.www]
pool = "world"

[name.any]
pool = "plain"
"""

US, EU, AP = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def serve_nearest(dir, ecs=""):
    files = {"svc.example.policy.toml": NEAREST.format(ecs=ecs), "svc.example.zone": MASTER}
    return Node(dir, files, settings=REGIONS)


def test_the_source_address_determines_the_region(dir):
    with serve_nearest(dir) as node:
        for source, expected in (("127.1.0.1", US), ("127.2.0.1", EU), ("127.3.9.9", AP), ("127.2.7.5", AP), ("127.9.0.1", US)):
            for tcp in (False, True):
                reply = node.ask("www.svc.example.", source=source, tcp=tcp)
                assert answers(reply) == [expected], f"client {source}, {'TCP' if tcp else 'UDP'}"
                assert scope(reply) is None, "no ECS in the query, none in the reply"


def test_the_subnet_determines_the_region_and_the_scope_is_exact(dir):
    with serve_nearest(dir) as node:

        def queried(subnet, name="www.svc.example.", rdtype="A"):
            reply = node.ask(name, rdtype, subnet=subnet, source="127.3.0.1")
            address, source, wide = scope(reply)
            assert f"{address}/{source}" == subnet, "address and source prefix come back as they were"
            return answers(reply), wide

        assert queried("127.3.0.0/16") == ([AP], 16)
        assert queried("127.1.5.0/24") == ([US], 16) or queried("127.1.5.0/24")[1] < 16, "the default region is us-east too"
        found, wide = queried("127.2.0.0/24")
        assert (found, wide) == ([EU], 22), "127.2.7.0/24 is another region's, so 127.2.0.0/22 is the widest that is alike"
        assert queried("127.2.128.0/24") == ([EU], 17)
        assert queried("127.2.7.0/24") == ([AP], 24)
        assert queried("2001:db8:2::/56", rdtype="AAAA")[0] == ["2001:db8:f::2"]
        assert queried("2001:db8:2::/56", rdtype="AAAA")[1] == 48
        assert queried("127.2.0.0/24", name="any.svc.example.")[1] == 0, "a weighted answer doesn't look at the client"
        assert queried("127.2.0.0/24", name="ns1.svc.example.")[1] == 0, "nor does a static one"
        assert queried("0.0.0.0/0")[0] in ([AP], [US]), "no subnet in the query: its own address counts, or none"


def test_all_clients_inside_a_scope_get_the_same(dir):
    """For random clients: all clients inside the scope of a reply get the same answer."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with serve_nearest(dir) as node:
        for _ in range(60):
            first = chance.choice(["127.1", "127.2", "127.2", "127.3", "127.4", "10.0", "203.0"])
            net = ipaddress.ip_network(f"{first}.{chance.randrange(256)}.0/24")
            reply = node.ask("www.svc.example.", subnet=str(net))
            wide = ipaddress.ip_network((net.network_address, min(scope(reply)[2], 24)), strict=False)
            for _ in range(4):
                other = wide.network_address + chance.randrange(wide.num_addresses)
                other_net = ipaddress.ip_network((other, 24), strict=False)
                again = node.ask("www.svc.example.", subnet=str(other_net))
                assert answers(again) == answers(reply), f"{other_net} in {wide}, the scope for {net}; seed {seed}"


def test_ecs_that_is_off_or_coarse(dir):
    with serve_nearest(dir, ecs="[ecs]\nuse = false") as node:
        reply = node.ask("www.svc.example.", subnet="127.2.0.0/24", source="127.3.0.1")
        assert answers(reply) == [AP], "not used: the resolver's address is the client"
        assert scope(reply) == ("127.2.0.0", 24, 0)
    with serve_nearest(dir, ecs="[ecs]\nv4 = 12") as node:
        reply = node.ask("www.svc.example.", subnet="127.2.0.0/24", source="127.3.0.1")
        assert answers(reply) == [US], "/16 nets aren't seen for a client known by ECS: the default region"
        assert scope(reply)[2] <= 12
        assert node.addresses("www.svc.example.", source="127.2.0.1") == [EU], "its own address is seen whole"


MANY = """
zone = "svc.example."

{endpoints}

[pool.many]
steer = "all"
members = [{members}]

[name.many]
pool = "many"
answers = {answers}
"""


def many(count):
    endpoints = "\n".join(f'[endpoint.e{i}]\naddresses = ["192.0.2.{i}", "2001:db8::{i}"]' for i in range(1, count + 1))
    members = ", ".join(f'"e{i}"' for i in range(1, count + 1))
    return MANY.format(endpoints=endpoints, members=members, answers=count)


LONG = MASTER + "\n".join(f'long IN TXT "{i:02d} {"x" * 200}"' for i in range(20)) + """
a     IN A     198.51.100.1
alias IN CNAME a
box   IN MX    10 a
"""


def test_a_long_answer_is_truncated_and_complete_over_tcp(dir):
    with Node(dir, {"svc.example.policy.toml": many(40), "svc.example.zone": LONG}) as node:
        for name, rdtype, count in (("long", "TXT", 20), ("many", "A", 40)):
            name = f"{name}.svc.example."
            short = node.ask(name, rdtype, edns=False)
            assert short.flags & dns.flags.TC and len(short.to_wire()) <= 512
            short = node.ask(name, rdtype, payload=600)
            assert short.flags & dns.flags.TC and short.edns == 0, "OPT stays"
            assert not short.answer or len(short.answer[0]) == count, "no half RRset"
            whole = node.ask(name, rdtype, tcp=True)
            assert not whole.flags & dns.flags.TC and len(whole.answer[0]) == count
        largest = ask(node.udp, "long.svc.example.", "TXT", payload=65535)
        assert largest.flags & dns.flags.TC, "never more than 1232 octets over UDP, whatever the client says"


def test_tcp_and_udp_give_the_same(dir):
    questions = [
        ("a", "A"), ("alias", "A"), ("alias", "CNAME"), ("box", "MX"), ("many", "A"), ("many", "AAAA"), ("many", "TXT"), ("nothing", "A"),
        ("a", "AAAA"), ("@", "SOA"), ("@", "NS"), ("@", "A"),
    ]
    with Node(dir, {"svc.example.policy.toml": many(4), "svc.example.zone": LONG}) as node:
        for label, rdtype in questions:
            name = "svc.example." if label == "@" else f"{label}.svc.example."
            udp, tcp = node.ask(name, rdtype), node.ask(name, rdtype, tcp=True)

            def parts(reply):
                sections = [sorted(r.to_text() for r in s) for s in (reply.answer, reply.authority, reply.additional)]
                return reply.rcode(), reply.flags & ~dns.flags.TC, [sorted(" ".join(s).splitlines()) for s in sections]

            if label == "many" and rdtype != "TXT":
                assert answers(udp) == answers(tcp) and len(answers(udp)) == 4  # rotated: same set, any order
            else:
                assert parts(udp) == parts(tcp), f"{name} {rdtype}"
        assert node.ask("nothing.svc.example.").rcode() == dns.rcode.NXDOMAIN
        assert node.ask("nothing.svc.example.").authority, "a negative answer has the SOA"
        assert node.ask("a.svc.example.", "AAAA").rcode() == dns.rcode.NOERROR
        assert node.ask("elsewhere.example.").rcode() == dns.rcode.REFUSED
        authoritative = node.ask("a.svc.example.", rd=True)
        assert authoritative.flags & dns.flags.AA and not authoritative.flags & dns.flags.RA


def hostile(chance):
    """A random packet: noise, or a query that is changed, cut or extended."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(0, 600))
    good = dns.message.make_query("www.svc.example.", chance.choice(["A", "ANY", "TXT", "OPT"]), use_edns=chance.choice([0, False, 1]))
    wire = bytearray(good.to_wire())
    for _ in range(chance.randrange(1, 8)):
        wire[chance.randrange(len(wire))] = chance.randrange(256)
    wire = wire[: chance.randrange(len(wire) + 1)] if chance.random() < 0.3 else wire
    return bytes(wire) + (chance.randbytes(chance.randrange(50)) if chance.random() < 0.2 else b"")


def test_garbage_gets_an_error_or_no_reply_and_does_no_harm(dir):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with Node(dir, {"svc.example.policy.toml": WEIGHTED, "svc.example.zone": MASTER}) as node:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.connect(node.udp)
        udp.setblocking(False)
        for round in range(50):
            for _ in range(100):
                udp.send(hostile(chance))
            assert node.ask("www.svc.example.").rcode() == dns.rcode.NOERROR, f"round {round}, seed {seed}"
            while True:
                try:
                    reply = udp.recv(4096)
                except BlockingIOError:
                    break
                assert len(reply) >= 12 and reply[2] & 0x80, f"not a reply: {reply.hex()}, seed {seed}"
        for _ in range(100):
            with socket.create_connection(node.udp, timeout=5) as tcp:
                tcp.sendall(hostile(chance))
        assert node.ask("www.svc.example.", tcp=True).rcode() == dns.rcode.NOERROR, f"seed {seed}"
        udp.close()
        assert "panicked" not in node.child.err(), f"seed {seed}\n{node.child.output()}"
        assert node.child.is_running()


def test_a_reply_gets_no_reply(dir):
    with Node(dir, {"svc.example.policy.toml": WEIGHTED, "svc.example.zone": MASTER}) as node:
        reply = dns.message.make_response(dns.message.make_query("www.svc.example.", "A"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(node.udp)
            udp.send(reply.to_wire())
            udp.send(dns.message.make_query("ns1.svc.example.", "A").to_wire())
            udp.settimeout(5)
            first = dns.message.from_wire(udp.recv(4096))
            assert first.question[0].name.to_text() == "ns1.svc.example.", "the packet with QR set got silence"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_only(dir, endpoints):
    """The server listens on [::1], probes an endpoint there, and has a verdict for each of its two addresses."""
    six = endpoints("six", host="::1")
    policy = f"""
    zone = "svc.example."
    [monitor.web]
    type = "http"
    port = {six.port}
    interval = "200ms"
    timeout = "150ms"
    [endpoint.six]
    addresses = ["::1", "127.0.0.77"]
    monitor = "web"
    [pool.web]
    members = ["six"]
    [name.www]
    pool = "web"
    on_empty = "nodata"
    """
    settings = SETTINGS.replace('["127.0.0.1:0"]', '["[::1]:0", "127.0.0.1:0"]')
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": MASTER}, settings=settings) as node:
        assert [host for host, _ in node.dns] == ["::1", "127.0.0.1"]
        for server in node.dns:
            for tcp in (False, True):
                assert answers(ask(server, "www.svc.example.", "AAAA", tcp=tcp)) == ["::1"]
        assert node.addresses("www.svc.example.", "A") == [], "nothing listens on its IPv4 address"
        assert node.health("six") == "up", "up while any address is"
        six.kill()
        wait_until(lambda: node.addresses("www.svc.example.", "AAAA") == [], 10)
        assert node.health("six") == "down"
