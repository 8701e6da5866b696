"""The list of expected differences (expected.toml), and which of them a case is."""
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

    def matches(self, case):
        """Whether this entry explains all of a case; a fault of our own is never explained."""
        differs = {aspect for name in ("knot", "nsd") for aspect in case.differs[name]}
        return not case.faults and differs <= self.aspects and CONDITIONS[self.when](case)


def load():
    entries = tomllib.loads(LIST.read_text())["difference"]
    return [Difference(**{**entry, "aspects": frozenset(entry["aspects"])}) for entry in entries]


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


CONDITIONS = {condition.__name__: condition for condition in (a_dname_grows,)}
