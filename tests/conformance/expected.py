"""The list of expected differences (expected.toml), and which of them explains a case."""
import tomllib
from dataclasses import dataclass
from pathlib import Path

import dns.name

CNAME, DNAME = 5, 39
LIST = Path(__file__).resolve().parent / "expected.toml"


@dataclass(frozen=True)
class Difference:
    """One entry of the list."""

    id: str
    rfc: str
    why: str
    when: str
    aspects: frozenset
    worlds: tuple = ()  # "SEED/WORLD": queried in every run, for a difference that the default seed doesn't have

    def matches(self, case):
        """Whether this entry explains all of a case. It never explains a fault of Portolan's own reply."""
        differs = {aspect for name in ("knot", "nsd") for aspect in case.differs[name]}
        return not case.faults and differs <= self.aspects and CONDITIONS[self.when](case)


def load():
    entries = tomllib.loads(LIST.read_text())["difference"]
    made = {"aspects": frozenset, "worlds": tuple}
    return [Difference(**{key: made.get(key, str)(value) for key, value in entry.items()}) for entry in entries]


def a_dname_grows(case):
    """A DNAME, alone or with others, leads to ever longer names below itself."""
    return any(reply is not None and grows(reply.answer) for reply in case.replies.values())


def grows(answer):
    dnames = [dns.name.from_text(owner) for owner, rtype, _, _ in answer if rtype == DNAME]
    cnames = [dns.name.from_text(owner) for owner, rtype, _, _ in answer if rtype == CNAME]
    for above in dnames:
        lengths = [len(name.to_wire()) for name in cnames if name != above and name.is_subdomain(above)]
        if len(lengths) > 1 and lengths[-1] > lengths[0]:
            return True
    return False


def a_loop_is_whole(case):
    """Our answer is a chain of CNAMEs that ends with a name that it went through, and named has the same records."""
    ours, named = case.replies["portolan"], case.replies["named"]
    cnames = [record for record in ours.answer if record[1] == CNAME] if ours else []
    owners = {dns.name.from_text(owner) for owner, *_ in cnames}
    targets = [dns.name.from_wire(content, 0)[0] for *_, contents in cnames[-1:] for content in contents]
    return bool(cnames) and owners.issuperset(targets) and named is not None and named.answer == ours.answer


def above_a_served_zone(case):
    """The question, or the chain's end, is at or below a name that only exists because a zone below it is served too."""
    ours = case.replies["portolan"]
    names = [dns.name.from_wire(case.question.name, 0)[0]]
    for _, rtype, _, contents in ours.answer if ours else ():
        names += [dns.name.from_wire(content, 0)[0] for content in contents if rtype == CNAME]
    return any(
        name.is_subdomain(between) for name in names for zone in case.world.zones for between in only_above(zone, case.world)
    )


def only_above(zone, world):
    """The names between a zone and the one above it, where that one has no delegation to it."""
    parents = [other for other in world.zones if other is not zone and zone.apex.is_subdomain(other.apex)]
    parent = max(parents, key=lambda other: len(other.apex), default=None)
    if parent is None or parent.get(zone.apex, "NS"):
        return
    between = zone.apex.parent()
    while between != parent.apex:
        if not any(owner.is_subdomain(between) for owner in parent.owners()):
            yield between
        between = between.parent()


CONDITIONS = {condition.__name__: condition for condition in (a_dname_grows, a_loop_is_whole, above_a_served_zone)}
