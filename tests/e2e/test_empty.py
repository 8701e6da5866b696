"""What each `on_empty` gives when nothing is eligible."""
import dns.rcode
import pytest

from portolan import MASTER, Node, answers, ede
from processes import wait_until

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[monitor.web]
type = "http"
interval = "200ms"
timeout = "150ms"

[endpoint.one]
addresses = ["192.0.2.1"]
probe = "{one}"
monitor = "web"

[endpoint.two]
addresses = ["192.0.2.2"]
probe = "{two}"
monitor = "web"

[endpoint.standby]
addresses = ["192.0.2.3"]
probe = "{two}"
monitor = "web"
weight = 0

[endpoint.sorry]
addresses = ["192.0.2.50"]

[pool.web]
members = ["one", "two", "standby"]
steer = "{steer}"

[pool.backup]
members = ["sorry"]

[pool.doomed]
members = ["two"]

[name.lastgood]
pool = "web"

[name.lastgood-named]
pool = "web"
on_empty = "last_good"

[name.all]
pool = "web"
on_empty = "all"
answers = 8

[name.static]
pool = "web"
on_empty = "static"

[name.nodata]
pool = "web"
on_empty = "nodata"

[name.pool]
pool = "web"
on_empty = "backup"

[name.endpoint]
pool = "web"
on_empty = "sorry"

[name.doomed]
pool = "web"
on_empty = "doomed"
"""

ZONE = MASTER + """
static 0 IN A 203.0.113.5
static 0 IN A 203.0.113.6
"""

STALE_ANSWER = 3


@pytest.fixture
def world_down(dir, endpoints):
    """A node whose endpoints were up and are all down now, and the answer of `lastgood` while they were up."""
    one, two = endpoints("one"), endpoints("two")
    policy = POLICY.format(one=one.at, two=two.at, steer="failover")
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": ZONE}) as node:
        for name in ("lastgood", "all", "static", "nodata", "pool", "endpoint", "doomed"):
            assert "192.0.2.1" in node.addresses(f"{name}.svc.example."), f"{name} while all is well"
        assert ede(node.ask("lastgood.svc.example.")) == []
        one.kill()
        wait_until(lambda: node.addresses("lastgood.svc.example.") == ["192.0.2.2"], 10)
        two.kill()
        wait_until(lambda: node.addresses("nodata.svc.example.") == [], 10)
        yield node


def is_nodata(reply):
    return reply.rcode() == dns.rcode.NOERROR and not reply.answer and "SOA" in reply.authority[0].to_text()


def test_each_on_empty(world_down):
    node = world_down
    ask = lambda name, **how: node.ask(f"{name}.svc.example.", **how)

    for name in ("lastgood", "lastgood-named"):
        stale = ask(name)
        assert set(answers(stale)) <= {"192.0.2.2", "192.0.2.3"} and answers(stale), f"{name}: what was good last, not older"
        assert ede(stale) == [STALE_ANSWER], "in the reply if the query had OPT"
        plain = ask(name, edns=False)
        assert answers(plain) == answers(stale) and plain.edns == -1, "no OPT in the query, none in the reply"
        assert ede(ask(name, tcp=True)) == [STALE_ANSWER]

    assert answers(ask("all")) == ["192.0.2.1"], "a failover pool gives one, the first that is listed"
    assert ede(ask("all")) == []
    assert answers(ask("static")) == ["203.0.113.5", "203.0.113.6"]
    reported = next(of for of in node.json("/v1/names?search=static")[0]["classes"] if of["type"] == "A")
    assert reported["ttl"] == ask("static").answer[0].ttl == 0, "that of the zone file, which is lower"
    assert is_nodata(node.ask("static.svc.example.", "AAAA")), "the zone file has no RRset of that type"
    assert is_nodata(ask("nodata"))
    assert answers(ask("pool")) == ["192.0.2.50"]
    assert answers(ask("endpoint")) == ["192.0.2.50"]
    assert answers(ask("doomed")) == ["192.0.2.2"], "the named pool is answered, up or not"


def test_explain_says_why(world_down):
    node = world_down
    found = node.json("/v1/explain?name=nodata.svc.example.&type=A&client=127.0.0.1")
    assert found["answers"] == []
    dropped = {d["endpoint"]: d["why"] for stage in found["stages"] for d in stage["dropped"]}
    assert {"one", "two", "standby"} <= set(dropped), dropped
    found = node.json("/v1/explain?name=pool.svc.example.&type=A&client=127.0.0.1")
    assert [(a["rdata"], a["endpoint"], a["probability"]) for a in found["answers"]] == [("192.0.2.50", "sorry", 1.0)]


def test_all_comes_back(dir, endpoints):
    """After everything was down, the first endpoint that is up is answered again."""
    one, two = endpoints("one"), endpoints("two")
    policy = POLICY.format(one=one.at, two=two.at, steer="weighted")
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": ZONE}) as node:
        one.kill()
        two.kill()
        wait_until(lambda: ede(node.ask("lastgood.svc.example.")) == [STALE_ANSWER], 10)
        two.start()
        wait_until(lambda: ede(node.ask("lastgood.svc.example.")) == [], 10)
        assert node.addresses("lastgood.svc.example.") == ["192.0.2.2"]


def test_the_first_start_with_all_down_answers_something(dir, endpoints):
    """Nothing was ever up, so `last_good` chooses among all endpoints. The ready line is printed nevertheless."""
    one, two = endpoints("one"), endpoints("two")
    one.kill()
    two.kill()
    policy = POLICY.format(one=one.at, two=two.at, steer="weighted")
    with Node(dir, {"svc.example.policy.toml": policy, "svc.example.zone": ZONE}) as node:
        assert node.health("one") == "down"
        assert set(node.addresses("lastgood.svc.example.")) <= {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
        assert node.addresses("lastgood.svc.example.")
        assert "there was no good answer yet" in node.command("explain", "lastgood.svc.example").stdout
        assert is_nodata(node.ask("nodata.svc.example."))
