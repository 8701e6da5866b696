"""A CNAME or addresses for all types alike, endpoints that are up but drained, and TTLs that end with an override."""
import re

import dns.rdatatype

from portolan import Node, answers, files, policy
from processes import wait_until
from test_operator import operate, write_tokens

POLICY = policy(
    defaults={"ttl": {"max": "42s", "min": "5s"}},
    endpoint={
        "four": {"addresses": ["192.0.2.1"]},
        "other": {"addresses": ["192.0.2.2"]},
        "cdn": {"cname": "edge.cdn.example."},
        "sorry": {"addresses": ["192.0.2.50"]},
    },
    pool={
        "either": {"steer": "failover", "members": ["four", "cdn"]},
        "pair": {"steer": "failover", "members": ["four", "other"]},
    },
    name={
        "either": {"pool": "either"},
        "pair": {"pool": "pair"},
        "list": {"pool": "pair", "on_empty": ["sorry", "nodata"]},
    },
)

TYPES = ("A", "AAAA", "CNAME", "TXT", "HTTPS", "ANY")


def start(dir):
    write_tokens(dir)
    return Node(dir, files(POLICY))


def kinds(node, name):
    """For each type, the types of the records that it is answered with."""
    kinds = {}
    for rtype in TYPES:
        reply = node.ask(f"{name}.svc.example.", rtype)
        kinds[rtype] = [dns.rdatatype.to_text(rrset.rdtype) for rrset in reply.answer]
    return kinds


def test_a_name_is_an_alias_for_every_type_or_for_none(dir):
    with start(dir) as node:
        addresses = {"A": ["A"], "ANY": ["A"]}
        assert kinds(node, "either") == {rtype: addresses.get(rtype, []) for rtype in TYPES}
        assert operate(node, "force-down", "four", "--why", "x", "--yes").returncode == 0
        wait_until(lambda: kinds(node, "either") == {rtype: ["CNAME"] for rtype in TYPES}, 5)
        assert operate(node, "clear", "four").returncode == 0
        wait_until(lambda: kinds(node, "either") == {rtype: addresses.get(rtype, []) for rtype in TYPES}, 5)


def test_drained_endpoints_are_answered_before_nothing_and_forced_down_ones_never(dir):
    with start(dir) as node:
        ask = lambda name: answers(node.ask(f"{name}.svc.example."))
        for target in ("four", "other"):
            assert operate(node, "drain", target, "--why", "x", "--yes").returncode == 0
        wait_until(lambda: ask("pair") == ["192.0.2.1"], 5)
        assert all(ask("pair") == ["192.0.2.1"] for _ in range(20)), "the first, and never both"
        assert ask("list") == ["192.0.2.1"]
        assert operate(node, "force-down", "four", "other", "--why", "x", "--yes").returncode == 0
        wait_until(lambda: ask("pair") == [], 5)
        assert ask("list") == ["192.0.2.50"]
        assert operate(node, "force-down", "sorry", "--why", "x", "--yes").returncode == 0
        wait_until(lambda: ask("list") == [], 5)


def test_the_ttl_ends_with_an_override(dir):
    with start(dir) as node:
        ttl = lambda: node.ask("pair.svc.example.").answer[0].ttl
        assert ttl() == 42
        assert operate(node, "drain", "four", "--why", "x", "--for", "33s").returncode == 0
        wait_until(lambda: 28 <= ttl() <= 33, 5)
        first = ttl()
        wait_until(lambda: ttl() < first, 10)
        why = node.json("/v1/explain?name=pair.svc.example.&type=A&client=127.0.0.1")["ttl_why"]
        assert re.fullmatch(r'\d+ s: the override of "four" ends in \d+\.\d s', why), why
        assert operate(node, "clear", "four").returncode == 0
        wait_until(lambda: ttl() == 42, 5)
