"""The list of expected differences (expected.toml), and which of them a case is."""
import tomllib
from dataclasses import dataclass
from pathlib import Path

import dns.name

DNAME = 39
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
    """A DNAME of the answer leads to a name below itself."""
    for owner, rtype, _, contents in case.replies["portolan"].answer:
        if rtype == DNAME:
            target, _ = dns.name.from_wire(next(iter(contents)), 0)
            if target.is_subdomain(dns.name.from_text(owner)):
                return True
    return False


CONDITIONS = {condition.__name__: condition for condition in (a_dname_grows,)}
