"""Tests of judge.py: each case is a reply, a changed copy of it, and the differences that must be found."""
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import judge
from questions import Question
from report import Case
from worlds import World, Zone

OWNER = "a.w.test."
SOA = ("w.test.", 30, "SOA", "ns1.w.test. h.w.test. 1 2 3 4 30")
ADDRESSES = (OWNER, 60, "A", "192.0.2.1", "192.0.2.2")
REFERRAL = ("d.w.test.", 60, "NS", "ns.d.w.test.")
GLUE = ("ns.d.w.test.", 60, "A", "192.0.2.9")


@pytest.fixture
def world():
    world = World.__new__(World)
    world.seed = world.index = 0
    zone = Zone(dns.name.from_text("w.test."), world.__dict__.setdefault("zones", []))
    world.zones.append(zone)
    for owner, ttl, rtype, *contents in (SOA, ADDRESSES, REFERRAL, GLUE):
        for content in contents:
            zone.add(dns.name.from_text(owner), rtype, content, ttl)
    return world


def question(world, name=OWNER):
    return Question(world, dns.name.from_text(name).to_wire(), 1, 0, None, False)


def reply(query, answer=(), authority=(), additional=(), rcode=0, flags=dns.flags.AA):
    message = dns.message.make_response(dns.message.from_wire(query.packet(0)))
    message.flags = message.flags & 0xFFF0 | flags | rcode
    for section, rrsets in ((message.answer, answer), (message.authority, authority), (message.additional, additional)):
        for owner, ttl, rtype, *contents in rrsets:
            section.append(dns.rrset.from_text(owner, ttl, "IN", rtype, *contents))
    return judge.read(message.to_wire(), query, query.limit())


def test_the_order_within_a_set_and_case_in_content_do_not_count(world):
    query = question(world)
    one, other = ADDRESSES, (*ADDRESSES[:3], *reversed(ADDRESSES[3:]))
    assert judge.differences(reply(query, [one]), reply(query, [other]), query) == []


@pytest.mark.parametrize(
    "spoiled, aspects",
    [
        (dict(rcode=3), ["rcode"]),
        (dict(flags=0), ["aa"]),
        (dict(flags=dns.flags.AA | dns.flags.TC), ["tc"]),
        (dict(answer=[(OWNER, 61, "A", "192.0.2.1", "192.0.2.2")]), ["answer"]),
        (dict(answer=[(OWNER, 60, "A", "192.0.2.1")]), ["answer"]),
        (dict(answer=[]), ["answer"]),
        (dict(authority=[SOA]), ["authority"]),
    ],
)
def test_a_spoiled_reply_differs(world, spoiled, aspects):
    query = question(world)
    assert judge.differences(reply(query, **{"answer": [ADDRESSES], **spoiled}), reply(query, [ADDRESSES]), query) == aspects


def test_the_ttl_of_a_negative_answer_counts(world):
    query = question(world, "no.w.test.")
    ours = reply(query, authority=[("w.test.", 31, *SOA[2:])], rcode=3)
    assert judge.differences(ours, reply(query, authority=[SOA], rcode=3), query) == ["authority"]


def test_missing_glue_and_strange_additionals_are_faults(world):
    query = question(world, "x.d.w.test.")

    def faults(*additional):
        return judge.own_faults(reply(query, authority=[REFERRAL], additional=additional, flags=0), query, world)

    assert faults(GLUE) == []
    assert faults() == ["glue is missing: ns.d.w.test. A"]
    assert faults(GLUE, (OWNER, 60, "A", "192.0.2.1", "192.0.2.2")) != []
    assert faults((*GLUE[:1], 61, *GLUE[2:])) != []


def test_what_knot_and_nsd_agree_on_goes_before_named(world):
    query = question(world)
    right, wrong = reply(query, [ADDRESSES]), reply(query, rcode=3)
    verdict = lambda **others: Case(query, "udp", {"portolan": right, **others}, {}).verdict()  # noqa: E731
    assert verdict(knot=right, nsd=right, named=right) == "as all"
    assert verdict(knot=right, nsd=right, named=wrong) == "as knot and nsd"
    assert verdict(knot=wrong, nsd=wrong, named=right) == "different"
    assert verdict(knot=wrong, nsd=right, named=right) == "as nsd and named"
    assert verdict(knot=wrong, nsd=None, named=wrong) == "different"


def test_what_others_truncate_is_held_against_their_reply_over_tcp(world):
    query = question(world)
    right, wrong = reply(query, [ADDRESSES]), reply(query, [ADDRESSES[:4]])
    cut = reply(query, flags=dns.flags.AA | dns.flags.TC)
    others = {"knot": cut, "nsd": cut, "named": cut}
    verdict = lambda ours, **whole: Case(query, "udp", {"portolan": ours, **others}, whole).verdict()  # noqa: E731
    assert verdict(right, knot=right, nsd=right, named=right) == "as all"
    assert verdict(wrong, knot=right, nsd=right, named=right) == "different"
    assert verdict(right, knot=right, nsd=wrong, named=right) == "as knot and named"
    assert verdict(cut, knot=right, nsd=wrong, named=right) == "as all"


def test_zones_are_the_same_for_the_same_seed():
    texts = [[zone.text() for zone in World(5, 3).zones] for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0] != [zone.text() for zone in World(6, 3).zones]
