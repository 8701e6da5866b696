//! Every name of every zone and its static records, compiled from the model on a reload and shared by all snapshots of
//! that generation. Looks a name up (RFC 1034, 4.3.2; RFC 4592; RFC 6672): the result is a node, a referral, a DNAME, a
//! wildcard, or nothing. Pure, and does not allocate after it is built.
//!
//! Each name that exists, empty non-terminals and the ancestors of apexes too, is in one index under the most specific
//! zone that holds it. So every ancestor of an indexed name is indexed, and the closest encloser of a name that doesn't
//! exist is found by bisection over its labels.

mod build;
mod epochs;
mod index;
mod lookup;
mod targets;

use crate::model::{Ecs, Model, PolicyId, ZoneId};
use crate::wire::code::rtype;
use crate::wire::reply::Naming;
use crate::wire::{Name, NameBuf, PREPARED_HEAD, SharedEnd, each_prepared};
use epochs::EpochSlot;
use index::NameIndex;
use index::hash_of;
pub use targets::{AliasPlace, NO_TARGETS, Position, RecordTarget};

/// No node.
const NONE: u32 = u32::MAX;
/// Up to this many RRsets of a node are passed one by one, which is as fast as a search.
const FEW: u16 = 8;

/// Every name of every zone.
#[derive(Debug, Default, Clone)]
pub struct ZoneTable {
    index: NameIndex,
    nodes: Vec<Node>,
    rrsets: Vec<StoredRrset>,
    extras: Vec<StoredExtra>,
    /// Of each CNAME and DNAME, and of the endpoints of each policy that gives names; `None` where there is no name.
    targets: Vec<Option<RecordTarget>>,
    /// Of each RRset whose names are compressed, in the order of the names.
    ends: Vec<SharedEnd>,
    /// Of steered names that can be aliases, how many octets at its end the target of each endpoint has in common with
    /// the name.
    alias_ends: Vec<u8>,
    steered: Vec<SteeredNode>,
    zones: Vec<ZoneHead>,
    /// The records with the epochs of exclusive names.
    epochs: Vec<EpochSlot>,
    /// Names and records in wire form, a node's records after its name.
    bytes: Vec<u8>,
}

/// One name of one zone.
#[derive(Debug, Clone)]
struct Node {
    name: Span,
    zone: u32,
    first_rrset: u32,
    rrsets: u16,
    kind: NodeKind,
    below: Below,
    /// Of a hidden node: the cut or DNAME that hides it. Of an apex: the node of the same name in the parent zone, if
    /// we serve that.
    link: u32,
    /// The node of `*` below this one.
    wildcard: u32,
    steered: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeKind {
    /// Above every zone.
    Void,
    /// A zone's apex.
    Apex,
    /// Authoritative data, or an empty non-terminal.
    Plain,
    /// NS below the apex: delegated from here on.
    Cut,
    /// Below a cut or a DNAME: never answered itself, glue at most.
    Hidden,
}

/// The names below a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// There is none, in this zone or in zones below it.
    Nothing,
    /// There is a wildcard, and perhaps names below that.
    Wildcard,
    /// There are others.
    Names,
    /// The node has a DNAME, which redirects all of them.
    Redirected,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: usize,
    len: u32,
}

#[derive(Debug, Clone)]
struct StoredRrset {
    rtype: u16,
    ttl: u32,
    records: Span,
    /// Of a CNAME or DNAME the place of its target, which has no extras.
    first_extra: u32,
    /// The place of the first of its shared ends.
    first_end: u32,
    /// Of one whose names share ends, the fewest octets that it takes.
    least_len: u32,
    extras: u16,
}

#[derive(Debug, Clone)]
struct StoredExtra {
    name: Span,
    node: u32,
    record: u16,
    is_in_domain: bool,
}

/// What all replies from one zone share.
#[derive(Debug, Clone)]
struct ZoneHead {
    apex: u32,
    ecs: Ecs,
    negative_ttl: u32,
    is_served: bool,
    /// The id of the counter of its replies.
    counter: u32,
}

/// How a steered name is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteeredNode {
    /// By which policy.
    pub policy: PolicyId,
    /// Counter id of the policy's first endpoint.
    pub tally_base: u32,
    /// Its place in its zone's `steered`.
    pub index: usize,
    /// What its CNAMEs lead to: for [`ZoneTable::steered_target`].
    pub aliases: u32,
    /// How much of their ends these targets share with the name: for [`ZoneTable::alias_end`].
    pub alias_ends: u32,
    /// What its SRV, HTTPS and SVCB records point at: for [`ZoneTable::steered_target`].
    pub services: u32,
    /// Whether the policy gives A records.
    pub has_v4: bool,
    /// Whether the policy gives AAAA records.
    pub has_v6: bool,
    /// Whether the policy can give a CNAME: then it decides about every type.
    pub has_alias: bool,
    /// Whether the policy gives SRV records.
    pub has_srv: bool,
    /// Whether the policy gives HTTPS records.
    pub has_https: bool,
    /// Whether the policy gives SVCB records.
    pub has_svcb: bool,
}

/// The result of looking a name up.
#[derive(Debug, Clone, Copy)]
pub enum LookupResult<'t> {
    /// The name is in no zone that was searched.
    Outside,
    /// The node of that name; without records it is an empty non-terminal.
    Exact(NodeRef<'t>),
    /// The wildcard that covers the name (RFC 4592, 3.3.1).
    Wildcard(NodeRef<'t>),
    /// A delegation, at the name or above it.
    Referral(NodeRef<'t>),
    /// The owner of a DNAME above the name.
    Redirected(NodeRef<'t>),
    /// The name does not exist in this zone: NXDOMAIN.
    Missing(ZoneId),
}

impl ZoneTable {
    /// Compiles the zones; `tally_base` gives the first counter id of a steered name (zone, index in its `steered`), or
    /// that of the zone itself.
    pub fn build(model: &Model, tally_base: &mut dyn FnMut(ZoneId, Option<usize>) -> u32) -> ZoneTable {
        build::build(model, tally_base)
    }

    /// The steered name that answers `name`: itself, or the wildcard that covers it, as (zone, index in its `steered`).
    pub fn steered(&self, name: &Name) -> Option<(ZoneId, usize)> {
        let (LookupResult::Exact(node) | LookupResult::Wildcard(node)) =
            self.find(&NameBuf::parse(name.as_wire())?, false)
        else {
            return None;
        };
        Some((node.zone(), node.steered()?.index))
    }

    /// Looks `name` up in the most specific zone. `for_ds`: DS belongs to the parent, so at a delegation or
    /// a child's apex the parent's node is found (RFC 4035, 3.1.4.1).
    pub fn find(&self, name: &NameBuf, for_ds: bool) -> LookupResult<'_> {
        match self.closest(name) {
            Some((node, is_exact)) => self.classify(node, is_exact, for_ds),
            None => LookupResult::Outside,
        }
    }

    /// As [`ZoneTable::find`], but only in `zone`, for a chain that began there: for a name in a child zone that we
    /// serve too, the result is `zone`'s delegation. The apex of `zone` is its own node, for DS too.
    pub fn find_within(&self, zone: ZoneId, name: &NameBuf, for_ds: bool) -> LookupResult<'_> {
        self.at(self.position_in(zone, name), for_ds)
    }

    fn name_of(&self, node: u32) -> &[u8] {
        self.slice(self.nodes[node as usize].name)
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.start..span.start + span.len as usize]
    }

    /// The apex of a zone; `None` when the id is of another table.
    pub fn apex(&self, zone: ZoneId) -> Option<NodeRef<'_>> {
        Some(NodeRef { table: self, at: self.zones.get(zone.0 as usize)?.apex })
    }

    /// The id of the counter of a zone's replies; `None` when the id is of another table.
    pub fn counter(&self, zone: ZoneId) -> Option<u32> {
        Some(self.zones.get(zone.0 as usize)?.counter)
    }

    /// How a zone uses client subnets.
    pub fn ecs(&self, zone: ZoneId) -> Ecs {
        self.zones.get(zone.0 as usize).map_or_else(Ecs::default, |head| head.ecs)
    }

    /// Whether a zone can be served; false also for an id of another table.
    pub fn is_served(&self, zone: ZoneId) -> bool {
        self.zones.get(zone.0 as usize).is_some_and(|head| head.is_served)
    }

    /// The TTL of a zone's negative answers, in seconds: the lesser of its SOA's TTL and MINIMUM (RFC 2308,
    /// 5).
    pub fn negative_ttl(&self, zone: ZoneId) -> u32 {
        self.zones.get(zone.0 as usize).map_or(0, |head| head.negative_ttl)
    }
}

/// A name of a zone, in its table.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'t> {
    table: &'t ZoneTable,
    at: u32,
}

impl<'t> NodeRef<'t> {
    fn node(&self) -> &'t Node {
        &self.table.nodes[self.at as usize]
    }

    /// Its number, which no other node of its table has.
    pub fn id(&self) -> u32 {
        self.at
    }

    /// Its name in lower-case wire form.
    pub fn name(&self) -> &'t [u8] {
        self.table.name_of(self.at)
    }

    /// Its zone.
    pub fn zone(&self) -> ZoneId {
        ZoneId(self.node().zone)
    }

    /// How it is steered, where it is.
    pub fn steered(&self) -> Option<&'t SteeredNode> {
        self.table.steered.get(self.node().steered as usize)
    }

    /// Its static RRsets, by rising type.
    pub fn rrsets(&self) -> impl Iterator<Item = RrsetRef<'t>> + use<'t> {
        let node = self.node();
        let first = node.first_rrset as usize;
        let table = self.table;
        table.rrsets[first..first + usize::from(node.rrsets)].iter().map(move |stored| RrsetRef { table, stored })
    }

    /// Its static RRset of one type.
    pub fn rrset(&self, rtype: u16) -> Option<RrsetRef<'t>> {
        if self.node().rrsets <= FEW {
            return self.rrsets().find(|rrset| rrset.rtype() == rtype);
        }
        self.searched(rtype)
    }

    /// Its static RRset of one type, or else its CNAME: in one pass, because a step of a chain asks for both. A name
    /// with a CNAME has no other types but those of DNSSEC (RFC 2181, 10.1).
    pub fn rrset_or_cname(&self, rtype: u16) -> Option<RrsetRef<'t>> {
        if self.node().rrsets <= FEW {
            return self.rrsets().find(|rrset| rrset.rtype() == rtype || rrset.rtype() == rtype::CNAME);
        }
        self.searched(rtype).or_else(|| self.searched(rtype::CNAME))
    }

    fn searched(&self, rtype: u16) -> Option<RrsetRef<'t>> {
        let (node, table) = (self.node(), self.table);
        let own = table.rrsets.get(node.first_rrset as usize..)?.get(..node.rrsets.into())?;
        let at = own.binary_search_by_key(&rtype, |stored| stored.rtype).ok()?;
        Some(RrsetRef { table, stored: own.get(at)? })
    }
}

/// A static RRset, in its table.
#[derive(Debug, Clone, Copy)]
pub struct RrsetRef<'t> {
    table: &'t ZoneTable,
    stored: &'t StoredRrset,
}

impl<'t> RrsetRef<'t> {
    /// Its type.
    pub fn rtype(&self) -> u16 {
        self.stored.rtype
    }

    /// Its TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.stored.ttl
    }

    /// Its prepared records, one after the other.
    pub fn records(&self) -> &'t [u8] {
        self.table.slice(self.stored.records)
    }

    /// The RDATA of each record, nothing in it compressed.
    pub fn rdatas(&self) -> impl Iterator<Item = &'t [u8]> + use<'t> {
        rdatas(self.records())
    }

    /// Its records, with how the names in them share their ends; `None` where they are not compressed.
    pub fn naming(&self) -> Option<Naming<'t>> {
        let ends = self.table.ends.get(self.stored.first_end as usize..)?;
        Some(Naming { records: self.records(), ends, least_len: self.stored.least_len as usize })
    }

    /// How the names in its records share their ends; empty where they are not compressed.
    pub fn ends(&self) -> &'t [SharedEnd] {
        self.table.ends.get(self.stored.first_end as usize..).unwrap_or_default()
    }

    /// What a CNAME or DNAME leads to; `None` of other types.
    pub fn target(&self) -> Option<RecordTarget> {
        match self.stored.rtype {
            rtype::CNAME | rtype::DNAME => self.table.targets.get(self.stored.first_extra as usize).copied().flatten(),
            _ => None,
        }
    }

    /// The names its records point at whose addresses belong into the additional section, each once.
    pub fn extras(&self) -> impl Iterator<Item = Extra<'t>> + use<'t> {
        let first = self.stored.first_extra as usize;
        let table = self.table;
        let own = table.extras.get(first..first + usize::from(self.stored.extras)).unwrap_or_default();
        own.iter().map(move |stored| Extra {
            name: (stored.name.len > 0).then(|| table.slice(stored.name)),
            node: NodeRef { table, at: stored.node },
            record: stored.record.into(),
            is_in_domain: stored.is_in_domain,
        })
    }
}

/// The RDATA of prepared records.
fn rdatas(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    each_prepared(records).filter_map(|record| record.get(PREPARED_HEAD..))
}

/// A name that a record points at (RFC 1034, 4.3.2 step 6), and the node its addresses are at: its own, or a
/// wildcard's.
#[derive(Debug, Clone, Copy)]
pub struct Extra<'t> {
    /// The name in wire form; `None`: the owner, which the record has as the root (RFC 9460, 2.5.2).
    pub name: Option<&'t [u8]>,
    /// Where its addresses are.
    pub node: NodeRef<'t>,
    /// The place of the record in its RRset, from 0.
    pub record: usize,
    /// Whether the name is at or below the delegation whose NS names it: without its addresses the delegation can't be
    /// followed (RFC 9471).
    pub is_in_domain: bool,
}
