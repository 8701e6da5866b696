"""The result: the class of every case, examples of unexpected differences, and the table at the end."""
import collections
import dataclasses

import expected
import judge
from questions import Question


@dataclasses.dataclass
class Case:
    """A query, the reply of each server, and how the reply of Portolan differs from the others."""

    question: Question
    transport: str
    replies: dict  # name of the server: judge.Reply, or None for silence
    whole: dict  # the same over TCP, if any reply was truncated
    differs: dict = dataclasses.field(init=False)
    faults: list = dataclasses.field(init=False)

    def __post_init__(self):
        ours = self.replies["portolan"]
        self.faults = judge.own_faults(ours, self.question, self.world)
        self.differs = {
            name: judge.differences(ours, self.held_against(name), self.question)
            for name in self.replies
            if name != "portolan"
        }

    def held_against(self, name):
        """The reply that ours is compared with. If only the other server truncated its reply, it is its reply over TCP."""
        ours, theirs = self.replies["portolan"], self.replies[name]
        is_cut_short = ours is not None and theirs is not None and theirs.tc and not ours.tc
        return self.whole.get(name, theirs) if is_cut_short else theirs

    @property
    def world(self):
        return self.question.world

    def verdict(self):
        """The class of the case. Where knot and nsd agree, Portolan must agree with them, whatever named replies."""
        if self.faults:
            return "fault"
        alike = [name for name, aspects in self.differs.items() if not aspects]
        if len(alike) == len(self.differs):
            return "as all"
        if {"knot", "nsd"} <= set(alike):
            return "as knot and nsd"
        if alike and judge.differences(self.held_against("knot"), self.held_against("nsd"), self.question):
            return "as " + " and ".join(alike)
        return "different"

    def signature(self):
        """A name for cases with the same kind of difference."""
        if self.faults:
            return "fault: " + self.faults[0].split(":")[0]
        replies = [
            f"{name} {reply.rcode if reply else 'silence'} ({' '.join(self.differs.get(name, ())) or 'same'})"
            for name, reply in self.replies.items()
        ]
        return ", ".join(replies).replace(" (same)", "", 1)

    def __str__(self):
        lines = [f"--- seed {self.world.seed}/{self.world.index}, {self.transport}: {self.question}"]
        for name, reply in self.replies.items():
            aspects = self.differs.get(name)
            note = f" [not ours: {', '.join(aspects)}]" if aspects else ""
            lines.append(f"  {name}:{note} " + str(reply).replace("\n", "\n    "))
        return "\n".join(lines + [f"  fault of ours: {fault}" for fault in self.faults])


class Report:
    """Counts, and what is printed at the end. `is_whole`: the default run, in which every listed difference must occur."""

    def __init__(self, is_whole, keep_splits):
        self.is_whole, self.keep_splits = is_whole, keep_splits
        self.listed = {entry: 0 for entry in expected.load()}
        self.classes = collections.Counter()
        self.unexpected = collections.defaultdict(list)
        self.splits = collections.defaultdict(list)
        self.refused, self.not_loaded = [], []
        self.zones = self.pairs = 0

    def worlds(self):
        """(seed, number) of the worlds that listed differences need."""
        return [tuple(map(int, text.split("/"))) for entry in self.listed for text in entry.worlds]

    def add(self, case):
        verdict = case.verdict()
        if verdict in ("different", "fault"):
            entry = next((entry for entry in self.listed if entry.matches(case)), None)
            if entry is None:
                self.unexpected[case.signature()].append(case)
            else:
                self.listed[entry] += 1
                verdict = "different, and listed"
        elif verdict != "as all" and self.keep_splits:
            self.splits[case.signature()].append(case)
        self.classes[verdict] += 1

    def stale(self):
        """Listed differences that did not occur."""
        return [entry.id for entry, count in self.listed.items() if not count] if self.is_whole else []

    def is_good(self):
        return not (self.unexpected or self.refused or self.not_loaded or self.stale())

    def print(self, show, seed, seconds):
        for title, groups in (("split", self.splits), ("unexpected", self.unexpected)):
            for name, cases in sorted(groups.items(), key=lambda pair: -len(pair[1])):
                print(f"\n== {title}, {len(cases)} times: {name}")
                # The smallest worlds are the easiest to read.
                for case in sorted(cases, key=lambda case: sum(len(zone.sets) for zone in case.world.zones))[:show]:
                    print(case)
        for title, zones in (("refused by portolan check", self.refused), ("not loaded", self.not_loaded)):
            if zones:
                print(f"\n== {title}: {len(zones)}", *zones[:show], sep="\n")
        print(f"\n{seed}: {self.pairs} pairs in {self.zones} zones, {seconds:.0f} s; over UDP, and TCP where truncated:")
        for name, count in self.classes.most_common():
            print(f"  {count:6}  {name}")
        for entry, count in self.listed.items():
            print(f"  {count:6}  listed: {entry.id} ({entry.rfc})")
        print(f"  {len(self.refused):6}  worlds with a valid zone that portolan check refuses")
        print(f"  {len(self.not_loaded):6}  zones that a server did not load")
        if self.stale():
            print(f"not met any more, delete from expected.toml: {', '.join(self.stale())}")
        print("conformance: " + ("ok" if self.is_good() else "FAILED"))
