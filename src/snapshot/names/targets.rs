//! Where the names are that records lead to, and which ends the names in an RRset share: found when the zones are
//! compiled, so that a step of a chain looks nothing up.

use super::{Below, LookupResult, NONE, NodeKind, NodeRef, RrsetRef, ZoneTable, hash_of};
use crate::model::{AnswerRdata, Facet, Model, Policy, ZoneId};
use crate::wire::code::rtype;
use crate::wire::reply::least_len;
use crate::wire::{MadeName, NameBuf, PREPARED_HEAD, common_end, compressed_names, parent, share_ends};

/// Where a name is, seen from one zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The node of the name or of its closest ancestor in this zone; [`NONE`] of a name outside it.
    node: u32,
    /// Whether the node has the name itself.
    is_exact: bool,
    /// Whether the name is in a zone below this one: then the node is where that begins.
    is_below_zone: bool,
}

/// A load compares a name with the targets of so many endpoints at most, so that it does not take long; targets of a
/// name with more are compared when they are drawn. Judgment: few names have as many aliases.
const MOST_ALIASES: usize = 64;

/// No targets, where the place of the first is meant.
pub const NO_TARGETS: u32 = u32::MAX;

/// A name that a record leads to.
#[derive(Debug, Clone, Copy)]
pub struct RecordTarget {
    /// Where it is, seen from the zone of the record.
    pub position: Position,
    /// [`hash_of`] it, in lower case.
    pub hash: u64,
    /// The static CNAME, its own or a wildcard's, that answers every type there but CNAME, ANY, DS, RRSIG and NSEC.
    pub alias: AliasPlace,
    /// Whether the record has it without upper-case letters.
    pub is_lower: bool,
}

/// The node whose first record is the CNAME of a name, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AliasPlace(u32);

impl AliasPlace {
    /// There is none, or it is not known.
    pub const NONE: AliasPlace = AliasPlace(NONE);

    /// [`NodeRef::id`] of its node.
    pub fn node_id(self) -> u32 {
        self.0
    }
}

impl Position {
    const OUTSIDE: Position = Position { node: NONE, is_exact: false, is_below_zone: false };

    /// Whether the name is outside the zone.
    pub fn is_outside(&self) -> bool {
        self.node == NONE
    }
}

impl ZoneTable {
    /// Where `name` is, seen from `zone`.
    pub fn position_in(&self, zone: ZoneId, name: &NameBuf) -> Position {
        let Some(head) = self.zones.get(zone.0 as usize) else { return Position::OUTSIDE };
        if !name.is_within(self.name_of(head.apex)) {
            return Position::OUTSIDE;
        }
        match self.closest(name) {
            Some((node, is_exact)) => self.position_of(zone, node, is_exact, name.as_wire().len()),
            None => Position::OUTSIDE,
        }
    }

    /// The position, seen from `zone`, of a name of `len` octets whose closest ancestor is `node`, or its own.
    fn position_of(&self, zone: ZoneId, mut node: u32, mut is_exact: bool, len: usize) -> Position {
        let mut is_below_zone = false;
        while self.nodes[node as usize].zone != zone.0 {
            let Some(inner) = self.zones.get(self.nodes[node as usize].zone as usize) else { return Position::OUTSIDE };
            is_exact = self.name_of(inner.apex).len() == len;
            node = self.nodes[inner.apex as usize].link;
            is_below_zone = true;
            if node == NONE {
                return Position::OUTSIDE;
            }
        }
        Position { node, is_exact, is_below_zone }
    }

    /// Where a name is that a DNAME of `zone` has made: `prefix` octets, then the DNAME's target, which is at `above`.
    pub fn position_of_made(&self, zone: ZoneId, above: Option<Position>, name: &MadeName, prefix: usize) -> Position {
        let name = name.as_wire();
        if let Some(position) = above.and_then(|above| self.position_below(above, name.get(..prefix)?)) {
            return position;
        }
        let found = match above.filter(|above| !above.is_outside()) {
            Some(above) => Some(above.node),
            // An ancestor of the zone, or nothing above it.
            None => self.lookup(name.get(prefix..).unwrap_or_default()),
        };
        found.map_or(Position::OUTSIDE, |found| self.position_among(zone, found, name, prefix))
    }

    /// The position, seen from `zone`, of a name that has `prefix` octets before the name of the node `above`. Names
    /// between the two may have nodes.
    fn position_among(&self, zone: ZoneId, above: u32, name: &[u8], prefix: usize) -> Position {
        if let Some(node) = self.lookup(name) {
            return self.position_of(zone, node, true, name.len());
        }
        let first = 1 + usize::from(name.first().copied().unwrap_or(0));
        let found = match (prefix.checked_sub(first), name.get(first..)) {
            (Some(before), Some(parent)) if before > 0 => {
                self.lookup(parent).or_else(|| self.closest_above(parent, Some((above, before)))).unwrap_or(above)
            }
            _ => above,
        };
        self.position_of(zone, found, false, name.len())
    }

    /// The result of looking up, in the zone of the position, the name that is there. `for_ds` as in
    /// [`ZoneTable::find`], but the apex is its own node for DS too: a chain that has reached it stays in its zone.
    pub fn at(&self, position: Position, for_ds: bool) -> LookupResult<'_> {
        let Some(node) = self.nodes.get(position.node as usize) else { return LookupResult::Outside };
        if position.is_exact && node.kind == NodeKind::Apex {
            return LookupResult::Exact(NodeRef { table: self, at: position.node });
        }
        match self.classify(position.node, position.is_exact, for_ds) {
            // The zone below has no delegation, but this zone must not deny its names.
            LookupResult::Exact(_) | LookupResult::Wildcard(_) | LookupResult::Missing(_)
                if position.is_below_zone && !(for_ds && position.is_exact) =>
            {
                LookupResult::Outside
            }
            found => found,
        }
    }

    /// The static CNAME at a place of [`RecordTarget::alias`].
    pub fn alias(&self, place: AliasPlace) -> Option<RrsetRef<'_>> {
        let node = self.nodes.get(place.0 as usize)?;
        Some(RrsetRef { table: self, stored: self.rrsets.get(node.first_rrset as usize)? })
    }

    fn alias_at(&self, position: Position) -> AliasPlace {
        let (LookupResult::Exact(found) | LookupResult::Wildcard(found)) = self.at(position, false) else {
            return AliasPlace::NONE;
        };
        let node = found.node();
        let is_alias = self.rrsets.get(node.first_rrset as usize).is_some_and(|first| first.rtype == rtype::CNAME);
        let is_plain = node.kind == NodeKind::Plain && node.steered == NONE && node.rrsets > 0;
        if is_alias && is_plain { AliasPlace(found.at) } else { AliasPlace::NONE }
    }

    /// Where a name is that has `labels`, in lower-case wire form, before a name that is at `above`; `None` where it
    /// must be looked up.
    pub fn position_below(&self, above: Position, labels: &[u8]) -> Option<Position> {
        let node = self.nodes.get(above.node as usize)?;
        let is_alike = match node.kind {
            NodeKind::Void | NodeKind::Cut | NodeKind::Hidden => true,
            NodeKind::Apex | NodeKind::Plain if !above.is_exact || above.is_below_zone => true,
            NodeKind::Apex | NodeKind::Plain => match node.below {
                Below::Nothing | Below::Redirected => true,
                // Only names with this label can have an ancestor of their own.
                Below::Wildcard => !labels.ends_with(b"\x01*"),
                Below::Names => false,
            },
        };
        is_alike.then_some(Position { is_exact: false, ..above })
    }

    /// The target of the record that a policy gives with the endpoint of this place in its list.
    pub fn steered_target(&self, first: u32, slot: u16) -> Option<RecordTarget> {
        self.targets.get((first as usize).checked_add(slot.into())?).copied().flatten()
    }

    /// How many octets at its end the target of an alias shares with the name, by the endpoint's place in the policy's
    /// list; of a wildcard with the name above it. `None` where that was not found before.
    pub fn alias_end(&self, first: u32, slot: u16) -> Option<usize> {
        self.alias_ends.get((first as usize).checked_add(slot.into())?).map(|end| (*end).into())
    }

    /// Finds the targets of all CNAMEs, DNAMEs and steered records, and the ends that names in RDATA share. The index
    /// is complete.
    pub(super) fn find_targets(&mut self, model: &Model) {
        for node in 0..self.nodes.len() {
            let (zone, first) = (ZoneId(self.nodes[node].zone), self.nodes[node].first_rrset as usize);
            for rrset in first..first + usize::from(self.nodes[node].rrsets) {
                self.find_target(zone, rrset);
                self.find_ends(node, rrset);
            }
        }
        let mut firsts = vec![None; model.policies.len()];
        for steered in 0..self.steered.len() {
            let id = self.steered[steered].policy;
            let Some(first) = firsts.get_mut(id.0 as usize) else { continue };
            let found = *first.get_or_insert_with(|| {
                let policy = model.policy(id);
                (self.add_targets(policy, aliases(model, policy)), self.add_targets(policy, services(policy)))
            });
            (self.steered[steered].aliases, self.steered[steered].services) = found;
        }
        for node in 0..self.nodes.len() {
            self.find_alias_ends(model, node);
        }
    }

    fn find_alias_ends(&mut self, model: &Model, node: usize) {
        let steered = self.nodes[node].steered as usize;
        let Some(of) = self.steered.get(steered).filter(|of| of.aliases != NO_TARGETS) else { return };
        let policy = model.policy(of.policy);
        if policy.endpoints.len() > MOST_ALIASES {
            return;
        }
        let owner = NodeRef { table: self, at: node as u32 }.shared_owner();
        let end = |name: Option<&[u8]>| name.map_or(1, |name| common_end(owner, name) as u8);
        let ends: Vec<u8> = aliases(model, policy).map(end).collect();
        self.steered[steered].alias_ends = self.alias_ends.len() as u32;
        self.alias_ends.extend(ends);
    }

    fn find_target(&mut self, zone: ZoneId, rrset: usize) {
        if matches!(self.rrsets[rrset].rtype, rtype::CNAME | rtype::DNAME) {
            let records = self.slice(self.rrsets[rrset].records);
            let target = records.get(PREPARED_HEAD..).and_then(|name| self.target_at(zone, name));
            self.rrsets[rrset].first_extra = self.targets.len() as u32;
            self.targets.push(target);
        }
    }

    fn target_at(&self, zone: ZoneId, name: &[u8]) -> Option<RecordTarget> {
        let lower = NameBuf::parse(name)?;
        let position = self.position_in(zone, &lower);
        let (hash, is_lower) = (hash_of(lower.as_wire()), lower.as_wire() == name);
        Some(RecordTarget { position, hash, alias: self.alias_at(position), is_lower })
    }

    fn find_ends(&mut self, node: usize, rrset: usize) {
        let rtype = self.rrsets[rrset].rtype;
        self.rrsets[rrset].first_end = NONE;
        if compressed_names(rtype).1 == 0 {
            return;
        }
        let owner = NodeRef { table: self, at: node as u32 }.shared_owner();
        let rdatas: Vec<&[u8]> = super::rdatas(self.slice(self.rrsets[rrset].records)).collect();
        let ends = share_ends(owner, rtype, rdatas.into_iter());
        self.rrsets[rrset].least_len = least_len(self.slice(self.rrsets[rrset].records), &ends) as u32;
        self.rrsets[rrset].first_end = self.ends.len() as u32;
        self.ends.extend(ends);
    }

    /// Adds a target for each endpoint of a policy and returns the place of the first; [`NO_TARGETS`] where no endpoint
    /// has one.
    fn add_targets<'m>(&mut self, policy: &Policy, names: impl Iterator<Item = Option<&'m [u8]>>) -> u32 {
        let first = self.targets.len();
        let targets: Vec<Option<RecordTarget>> =
            names.map(|name| name.and_then(|name| self.target_at(policy.zone, name))).collect();
        if targets.iter().all(Option::is_none) {
            return NO_TARGETS;
        }
        self.targets.extend(targets);
        first as u32
    }
}

impl<'t> NodeRef<'t> {
    /// The end that all owners of its records have: its name, or of a wildcard the name above.
    fn shared_owner(&self) -> &'t [u8] {
        let name = self.name();
        if name.starts_with(b"\x01*") { parent(name).unwrap_or(name) } else { name }
    }
}

/// What each endpoint of a policy is an alias of.
fn aliases<'m>(model: &'m Model, policy: &'m Policy) -> impl Iterator<Item = Option<&'m [u8]>> {
    policy.endpoints.iter().map(|endpoint| match &model.endpoint(*endpoint).answerable(Facet::Alias)?.rdata {
        AnswerRdata::Cname(target) => Some(&target[..]),
        AnswerRdata::Address(_) => None,
    })
}

/// What the service records of each endpoint of a policy point at.
fn services(policy: &Policy) -> impl Iterator<Item = Option<&[u8]>> {
    policy.service.targets.iter().map(|target| Some(&target.name[..]))
}
