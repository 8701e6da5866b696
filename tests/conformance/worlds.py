"""Small zones made from a seed. A world is a zone, and in some cases zones below it on the same server. It consists of
features (a wildcard, a delegation, a DNAME...) at random names of the zone, so that they are combined in unexpected ways.
Knot, NSD and BIND load every zone: Zone.add() leaves out records that would make it invalid."""
import random
import re

import dns.name

import contents

# Few labels, so that names meet often.
LABELS = [b"a", b"b", b"c", b"d", b"www", b"mail", b"x1"]
# Labels that a wrong comparison, escape or character set changes.
ODD = [
    b"\x00", b"a.b", b"a b", b"\\", b'"', b"@", b"$x", b"a*", b"*a", b"**", b"_tcp", b"-", b"\xff", b"\xc3\xa9", b"A",
    b"WwW", b"1", b";(", b"z" * 63, b"\x01*", b"[", b"{", b"`", b"\xe9", b"\xc9",
]
STAR = b"*"
# Zone names that also do as file names and in every server's configuration.
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,200}")
TTLS = [0, 1, 30, 60, 300, 3600, 86400]
OUTSIDE = [dns.name.from_text(text) for text in ("www.example.net.", "a.b.c.example.org.", "example.")]


class Zone:
    """RRsets by (owner, type): [ttl, contents]. Names compare without case; the first spelling stays. `family` are the
    zones of its world, itself included: NSD 4.6 has one tree of names, and holds the rules on DNAME across zones."""

    def __init__(self, apex, family):
        self.apex = apex
        self.family = family
        self.sets = {}
        self.types_at = {}
        self.dnames = set()

    def add(self, owner, rtype, content, ttl):
        """Adds a record unless it would make the zone invalid; returns whether it was added."""
        if not owner.is_subdomain(self.apex) or not self._allowed(owner, rtype):
            return False
        ttl, known = self.sets.setdefault((owner, rtype), (ttl, []))
        if content not in known:
            known.append(content)
        self.types_at.setdefault(owner, set()).add(rtype)
        if rtype == "DNAME":
            self.dnames.add(owner)
        return True

    def _allowed(self, owner, rtype):
        there = self.types_at.get(owner, set())
        if "CNAME" in there or (rtype == "CNAME" and there) or (rtype in ("DNAME", "SOA") and rtype in there):
            return False  # RFC 2181, 10.1; RFC 6672, 2.4
        if any(owner != above and owner.is_subdomain(above) for zone in self.family for above in zone.dnames):
            return False  # RFC 6672, 2.4: nothing below a DNAME
        if rtype == "DNAME" and any(name != owner and name.is_subdomain(owner) for name in self.family_names()):
            return False
        if owner != self.apex and {rtype} | there >= {"NS", "DNAME"}:
            return False  # RFC 6672, 2.3
        if rtype == "DS" and (owner == self.apex or "NS" not in there):
            return False
        if owner.is_wild() and rtype in ("NS", "DS", "DNAME"):
            return False  # RFC 4592, 4.2 and 4.4: not defined, and the three servers differ
        return True

    def family_names(self):
        return (name for zone in self.family for name in zone.types_at)

    def get(self, owner, rtype):
        """(ttl, contents) or None."""
        return self.sets.get((owner, rtype))

    def owners(self):
        return list(self.types_at)

    def cuts(self):
        return [owner for owner, types in self.types_at.items() if "NS" in types and owner != self.apex]

    def text(self):
        """The master file."""
        lines = ["$TTL 3600"]
        for (owner, rtype), (ttl, known) in self.sets.items():
            lines += [f"{contents.written(owner)} {ttl} IN {rtype} {content}" for content in known]
        return "\n".join(lines) + "\n"


class World:
    """Zones that belong together, and names to query in addition to those of the zones."""

    def __init__(self, seed, index):
        self.seed, self.index = seed, index
        self.rng = random.Random(f"{seed}/{index}")
        self.zones = []
        self.hints = []
        top = self._zone(dns.name.from_text(f"w{index}.{self.rng.choice(['test', 'example.test', 'A.Test'])}."))
        if self.rng.random() < 0.35:
            self._fill_at_random(top)
        else:
            self._fill_with_features(top)
        for _ in range(self.rng.choice([0, 0, 0, 1, 1, 2])):
            self._add_child(self.rng.choice(self.zones))

    def child(self, parent, label):
        """`label`.`parent`, or the parent itself where that would be too long."""
        try:
            return dns.name.Name((label,) + parent.labels)
        except dns.name.NameTooLong:
            return parent

    def _zone(self, apex):
        """A zone with SOA and NS."""
        rng, zone = self.rng, Zone(apex, self.zones)
        self.zones.append(zone)
        server, second = self.child(apex, b"ns1"), self.child(apex, b"ns2")
        soa = f"{contents.written(server)} hostmaster.{contents.written(apex)} 1 7200 900 1209600 {rng.choice(TTLS)}"
        zone.add(apex, "SOA", soa, rng.choice(TTLS))
        ttl = rng.choice(TTLS)
        for name in (server, rng.choice([server, OUTSIDE[0]]), rng.choice([server, second])):
            zone.add(apex, "NS", contents.written(name), ttl)
        zone.add(server, "A", "192.0.2.53", rng.choice(TTLS))
        zone.add(second, "A", "192.0.2.54", rng.choice(TTLS))
        return zone

    def _add_child(self, parent):
        """A zone on the same server as the one above it, which delegates it in most cases, with other NS records."""
        cuts = [cut for cut in parent.cuts() if all(zone.apex != cut for zone in self.zones)]
        if cuts and self.rng.random() < 0.8:
            apex = self.rng.choice(cuts)
        else:
            apex = self.child(self.rng.choice(parent.owners()), self.rng.choice(LABELS))
            if any(zone.apex == apex for zone in self.zones):
                return
        if not PLAIN.fullmatch(apex.to_text()):
            return
        if any(apex.is_subdomain(above) for zone in self.zones for above in zone.dnames):
            return
        self.hints.append(apex)
        self._fill_with_features(self._zone(apex), most=3)

    # --- names ---------------------------------------------------------------------------------------------------

    def site(self, zone):
        """A name to put a feature under: mostly the apex, often one that exists."""
        return zone.apex if self.rng.random() < 0.5 else self.rng.choice(zone.owners())

    def fresh(self, zone, depth=None):
        """A name below a site, of one label or more."""
        name = self.site(zone)
        for _ in range(depth or self.rng.choice([1, 1, 1, 2, 3])):
            name = self.child(name, self.rng.choice(ODD if self.rng.random() < 0.12 else LABELS))
        return name

    def target(self, zone):
        """A name for a record to point at: one that exists, is made up by a wildcard, is delegated, missing, elsewhere."""
        dice = self.rng.random()
        if dice < 0.12:
            return self.rng.choice(OUTSIDE)
        if dice < 0.22:
            return self.rng.choice(self.rng.choice(self.zones).owners())
        if dice < 0.45:
            return self.fresh(zone)
        owner = self.rng.choice(zone.owners())
        if owner.is_wild() and self.rng.random() < 0.8:
            return self.child(owner.parent(), self.rng.choice(LABELS))
        return owner

    # --- records -------------------------------------------------------------------------------------------------

    def put(self, zone, owner, rtype, target=None):
        """Adds a record with made-up contents, pointing to `target` if its type points to a name."""
        pointed = target or (self.target(zone) if rtype in contents.POINTING else None)
        return zone.add(owner, rtype, contents.make(self.rng, rtype, pointed), self.rng.choice(TTLS))

    def put_some(self, zone, owner, most=3):
        """A few records of a few types."""
        for rtype in self.rng.sample(contents.COMMON + contents.RARE, self.rng.randint(1, most)):
            for _ in range(self.rng.choice([1, 1, 1, 2, 4])):
                self.put(zone, owner, rtype)

    def _fill_with_features(self, zone, most=7):
        for feature in self.rng.choices(FEATURES, k=self.rng.randint(1, most)):
            feature(self, zone)

    def _fill_at_random(self, zone):
        """Records under names of very few labels, `*` among them, anywhere."""
        rng, labels = self.rng, [b"a", b"b", b"c", STAR]
        for _ in range(rng.randint(4, 22)):
            name = zone.apex
            for _ in range(rng.choice([1, 1, 2, 2, 3, 4])):
                name = self.child(name, rng.choices(labels, [4, 4, 2, 2])[0])
            rtype = rng.choices(["A", "TXT", "MX", "CNAME", "NS", "DNAME", "SRV"], [6, 3, 2, 6, 2, 2, 1])[0]
            target = self._random_name(zone.apex, labels) if rng.random() < 0.75 else None
            self.put(zone, name, rtype, target)

    def _random_name(self, name, labels):
        for _ in range(self.rng.choice([1, 1, 2, 2, 3])):
            name = self.child(name, self.rng.choices(labels, [4, 4, 2, 1])[0])
        return name


# --- features: each adds something to a zone that servers are known to answer wrongly --------------------------------

def hosts(world, zone):
    for _ in range(world.rng.randint(1, 4)):
        world.put_some(zone, world.fresh(zone))


def chain(world, zone):
    """A chain of CNAMEs, which ends anywhere."""
    name = world.fresh(zone)
    for _ in range(world.rng.choice([1, 1, 2, 3, 5, 8])):
        following = world.fresh(zone)
        world.put(zone, name, "CNAME", following)
        name = following
    world.put(zone, name, "CNAME") if world.rng.random() < 0.5 else world.put_some(zone, name)


def loop(world, zone):
    names = [world.fresh(zone) for _ in range(world.rng.choice([1, 2, 2, 3, 4]))]
    back = world.rng.choice(names)
    for name, following in zip(names, names[1:] + [back]):
        world.put(zone, name, "CNAME", following)


def wildcard(world, zone):
    below = world.fresh(zone) if world.rng.random() < 0.6 else world.site(zone)
    star = world.child(below, STAR)
    if world.rng.random() < 0.35:
        # Into the wildcard again, sometimes.
        world.put(zone, star, "CNAME", world.child(below, b"a") if world.rng.random() < 0.4 else None)
    else:
        world.put_some(zone, star)
    if world.rng.random() < 0.4:
        world.put_some(zone, world.child(below, world.rng.choice(LABELS)), most=1)  # blocks the wildcard
    if world.rng.random() < 0.3:
        world.put_some(zone, world.child(world.child(below, b"c"), b"d"), most=1)  # an empty non-terminal blocks too
    world.hints += [world.child(below, b"q"), world.child(world.child(below, b"q"), b"r"), world.child(star, b"q")]


def wildcard_nested(world, zone):
    star = world.child(world.fresh(zone, 1), STAR)
    world.put_some(zone, star)
    world.put_some(zone, world.child(world.child(star, world.rng.choice(LABELS)), STAR))
    world.put_some(zone, world.child(star, STAR), most=1)


def star_in_the_middle(world, zone):
    """`a.*.b`: an ordinary name, and `*.b` an empty non-terminal that makes up NODATA."""
    below = world.site(zone)
    world.put_some(zone, world.child(world.child(below, STAR), world.rng.choice(LABELS)))
    world.hints += [world.child(below, b"q"), world.child(world.child(below, b"q"), b"a")]


def empty_non_terminal(world, zone):
    world.put_some(zone, world.fresh(zone, 3), most=1)


def delegation(world, zone):
    """A delegation; its servers below it with or without glue, next to it, or elsewhere; and names that it hides."""
    rng, cut = world.rng, world.fresh(zone)
    places = [cut, world.child(cut, b"ns"), world.child(world.child(cut, b"b"), b"ns"), world.fresh(zone), OUTSIDE[0]]
    for server in rng.sample(places, rng.choice([1, 1, 2, 3, 4])):
        if world.put(zone, cut, "NS", server) and rng.random() < 0.8:
            world.put(zone, server, "A")
            if rng.random() < 0.5:
                world.put(zone, server, "AAAA")
    if rng.random() < 0.4:
        world.put(zone, cut, "DS")
    if rng.random() < 0.4:
        world.put_some(zone, rng.choice([cut, world.child(cut, b"a"), world.child(cut, STAR)]))
    if rng.random() < 0.25:
        world.put(zone, world.child(cut, b"a"), rng.choice(["NS", "CNAME", "DNAME"]))
    world.hints += [world.child(cut, b"q"), world.child(world.child(cut, b"a"), b"q")]


def big_delegation(world, zone):
    """More glue than fits into 512 octets, or into 1232."""
    cut = world.fresh(zone)
    for at in range(world.rng.choice([6, 9, 13, 30])):
        server = world.child(cut, b"server-%d" % at)
        world.put(zone, cut, "NS", server)
        world.put(zone, server, "A")
        world.put(zone, server, "AAAA")
    world.hints += [world.child(cut, b"q")]


def dname(world, zone):
    owner = zone.apex if world.rng.random() < 0.06 else world.fresh(zone)
    if not world.put(zone, owner, "DNAME"):
        return
    if world.rng.random() < 0.4:
        world.put_some(zone, owner, most=2)
    world.hints += [world.child(owner, b"a"), world.child(world.child(owner, b"www"), b"a"), world.child(owner, STAR)]
    world.hints += [longest(world, owner, slack) for slack in (0, 1, 9, 20, 60)]


def dname_chain(world, zone):
    """A chain of DNAMEs with a CNAME in it; sometimes a loop, or an endlessly growing name."""
    rng = world.rng
    names = [world.fresh(zone) for _ in range(rng.choice([2, 2, 3]))]
    for name, following in zip(names, names[1:]):
        world.put(zone, name, "DNAME", following)
    last = names[-1]
    back = rng.choice([names[0], world.child(names[0], b"a"), world.child(last, b"x1"), world.target(zone)])
    world.put(zone, rng.choice([last, world.child(last, b"a")]), rng.choice(["DNAME", "CNAME"]), back)
    world.put(zone, world.fresh(zone), "CNAME", world.child(names[0], b"a"))
    world.hints += [world.child(name, b"a") for name in names] + [longest(world, names[0], 30)]


def odd_names(world, zone):
    for _ in range(world.rng.randint(2, 6)):
        name = world.child(world.site(zone), world.rng.choice(ODD))
        if world.rng.random() < 0.3:
            name = world.child(name, world.rng.choice(ODD + [STAR]))
        world.put_some(zone, name, most=2)


def long_names(world, zone):
    """Names of 255 octets, and somewhat less."""
    for _ in range(world.rng.randint(1, 3)):
        name = longest(world, world.site(zone), world.rng.choice([0, 0, 1, 2, 70]))
        world.put_some(zone, name, most=2) if world.rng.random() < 0.6 else world.put(zone, name, "CNAME")
        world.put(zone, world.fresh(zone), world.rng.choice(["CNAME", "MX", "DNAME"]), name)


def big_sets(world, zone):
    """RRsets about as long as a reply may be."""
    rng, name = world.rng, world.fresh(zone)
    if rng.random() < 0.5:
        for _ in range(rng.choice([20, 28, 29, 70, 76, 300])):
            world.put(zone, name, rng.choice(["A", "A", "AAAA"]))
    else:
        size = rng.choice([380, 440, 450, 480, 1100, 1160, 1180, 4000])
        zone.add(name, "TXT", contents.text_of(size), rng.choice(TTLS))
    if rng.random() < 0.4:
        world.put(zone, world.fresh(zone), rng.choice(["CNAME", "MX"]), name)


def longest(world, parent, slack):
    """A name below `parent` that is `slack` octets short of 255."""
    labels, room = [], 255 - slack - sum(len(label) + 1 for label in parent.labels)
    while room > 1:
        length = min(63, room - 1)
        if room - 1 - length == 1:
            length -= 1  # a single octet left over can't be a label
        labels.append(bytes(world.rng.choice(b"abcdefgh") for _ in range(length)))
        room -= 1 + length
    return dns.name.Name(tuple(labels) + parent.labels)


FEATURES = [
    hosts, hosts, chain, chain, loop, wildcard, wildcard, wildcard, wildcard_nested, star_in_the_middle,
    empty_non_terminal, delegation, delegation, delegation, big_delegation, dname, dname, dname_chain, odd_names,
    long_names, big_sets,
]
