//! Builds the table of names from the model's zones. Parents come before their children, so that a node that hides a
//! name is known before that name is added.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use super::{
    Below, NONE, NameIndex, Node, NodeKind, Span, SteeredNode, StoredExtra, StoredRrset, ZoneHead, ZoneTable, hash_of,
};
use crate::model::{Facet, Model, PolicyId, Rrset, Zone, ZoneId};
use crate::wire::code::{rtype, target_offset};
use crate::wire::{Name, name_len, parent, put_prepared};

type NameMap<V> = HashMap<Name, V, FixedState>;
/// Every zone's apex in wire form, and the zone's index.
type Apexes<'m> = HashMap<&'m [u8], usize, FixedState>;

pub(super) fn build(model: &Model, tally_base: &mut dyn FnMut(ZoneId, Option<usize>) -> u32) -> ZoneTable {
    let mut builder = Builder { table: ZoneTable::default(), indexed: Vec::new() };
    let apexes: Apexes<'_> = model.zones.iter().enumerate().map(|(at, zone)| (zone.apex.as_wire(), at)).collect();
    let above: Vec<Option<usize>> =
        model.zones.iter().map(|zone| own_zone(parent(zone.apex.as_wire())?, &apexes)).collect();
    let mut below = vec![Vec::new(); model.zones.len()];
    for (zone, above) in model.zones.iter().zip(&above) {
        if let Some(above) = above {
            below[*above].push(&zone.apex);
        }
    }
    let mut node_maps: Vec<NameMap<u32>> = Vec::with_capacity(model.zones.len());
    for (at, zone) in model.zones.iter().enumerate() {
        let contents = contents_of(model, zone, &below[at]);
        node_maps.push(builder.add_zone(model, ZoneId(at as u32), contents, &apexes, tally_base));
    }
    for (at, above) in above.iter().enumerate() {
        let apex = &model.zones[at].apex;
        let link = above.and_then(|above| node_maps[above].get(apex));
        if let (Some(&own), Some(&link)) = (node_maps[at].get(apex), link) {
            builder.table.nodes[own as usize].link = link;
        }
    }
    builder.add_void(&apexes);
    builder.finish(model)
}

struct Builder {
    table: ZoneTable,
    /// Nodes that queries find by name.
    indexed: Vec<u32>,
}

/// What a zone has at one name.
#[derive(Default)]
struct Content<'m> {
    rrsets: Vec<&'m Rrset>,
    /// Index in the zone's `steered`.
    steered: Option<usize>,
    /// The policy of the exclusive name whose epoch is here.
    epoch_of: Option<PolicyId>,
}

impl Builder {
    fn add_zone(
        &mut self,
        model: &Model,
        id: ZoneId,
        contents: NameMap<Content<'_>>,
        apexes: &Apexes<'_>,
        tally_base: &mut dyn FnMut(ZoneId, Option<usize>) -> u32,
    ) -> NameMap<u32> {
        let zone = model.zone(id);
        let names = contents.into_iter().map(|(name, content)| (name.labels().count(), name, content));
        let mut names: Vec<_> = names.collect();
        names.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut nodes = NameMap::with_capacity_and_hasher(names.len(), FixedState::default());
        for (_, name, content) in names {
            let at = self.add_node((model, id), &name, &content, &nodes);
            if let Some(index) = content.steered {
                self.steer(model, at, zone, index, tally_base(id, Some(index)));
            }
            if own_zone(name.as_wire(), apexes) == Some(id.0 as usize) {
                self.indexed.push(at);
            }
            nodes.insert(name, at);
        }
        self.add_extras(zone, &nodes);
        let soa = zone.rrsets.iter().find(|rrset| rrset.rtype == rtype::SOA && rrset.owner == zone.apex);
        let apex = nodes.get(&zone.apex).copied().unwrap_or(NONE);
        let (negative_ttl, counter) = (soa.map_or(0, negative_ttl), tally_base(id, None));
        let is_served = zone.is_served();
        self.table.zones.push(ZoneHead { apex, ecs: zone.ecs, negative_ttl, is_served, counter });
        nodes
    }

    fn add_node(
        &mut self,
        (model, id): (&Model, ZoneId),
        name: &Name,
        content: &Content<'_>,
        nodes: &NameMap<u32>,
    ) -> u32 {
        let (table, zone) = (&mut self.table, model.zone(id));
        let at = table.nodes.len() as u32;
        let above = parent(name.as_wire()).filter(|_| *name != zone.apex);
        let parent = above.and_then(|above| nodes.get(above).copied());
        let cover = parent.and_then(|parent| cover_below(&table.nodes[parent as usize], parent));
        let has = |rtype| content.rrsets.iter().any(|rrset| rrset.rtype == rtype);
        let kind = match (parent, cover) {
            (None, _) => NodeKind::Apex,
            (Some(_), Some(_)) => NodeKind::Hidden,
            (Some(_), None) if has(rtype::NS) => NodeKind::Cut,
            (Some(_), None) => NodeKind::Plain,
        };
        if let Some(parent) = parent {
            let parent = &mut table.nodes[parent as usize];
            if name.is_wildcard() {
                parent.wildcard = at;
            }
            parent.below = match parent.below {
                Below::Nothing | Below::Wildcard if name.is_wildcard() => Below::Wildcard,
                Below::Nothing | Below::Wildcard | Below::Names => Below::Names,
                Below::Redirected => Below::Redirected,
            };
        }
        let span = put(&mut table.bytes, name.as_wire());
        let first_rrset = table.rrsets.len() as u32;
        for rrset in &content.rrsets {
            let records = put_records(&mut table.bytes, rrset);
            table.rrsets.push(StoredRrset {
                rtype: rrset.rtype,
                ttl: rrset.ttl,
                records,
                first_extra: 0,
                first_end: NONE,
                least_len: 0,
                extras: 0,
            });
        }
        table.nodes.push(Node {
            name: span,
            zone: id.0,
            first_rrset,
            rrsets: content.rrsets.len() as u16,
            kind,
            below: if has(rtype::DNAME) { Below::Redirected } else { Below::Nothing },
            link: cover.unwrap_or(NONE),
            wildcard: NONE,
            steered: NONE,
        });
        if let Some(policy) = content.epoch_of {
            table.add_epoch(at, model, policy);
        }
        at
    }

    fn steer(&mut self, model: &Model, at: u32, zone: &Zone, index: usize, tally_base: u32) {
        let policy = zone.steered[index].policy;
        let facets = &model.policy(policy).facets;
        self.table.nodes[at as usize].steered = self.table.steered.len() as u32;
        self.table.steered.push(SteeredNode {
            policy,
            tally_base,
            index,
            aliases: NONE,
            alias_ends: NONE,
            services: NONE,
            has_v4: facets.contains(&Facet::V4),
            has_v6: facets.contains(&Facet::V6),
            has_alias: facets.contains(&Facet::Alias) || model.policy(policy).is_mixed,
            has_srv: facets.contains(&Facet::Srv),
            has_https: facets.contains(&Facet::Https),
            has_svcb: facets.contains(&Facet::Svcb),
        });
    }

    /// Finds, for each RRset whose records point at names of this zone, the nodes where their addresses are.
    fn add_extras(&mut self, zone: &Zone, nodes: &NameMap<u32>) {
        for rrset in &zone.rrsets {
            let Some(offset) = target_offset(rrset.rtype) else { continue };
            let Some(&owner) = nodes.get(&rrset.owner) else { continue };
            let is_cut = self.table.nodes[owner as usize].kind == NodeKind::Cut && rrset.rtype == rtype::NS;
            let first_extra = self.table.extras.len() as u32;
            let mut seen = HashSet::new();
            for (record, rdata) in rrset.rdatas.iter().enumerate() {
                let Some(target) = target_of(rrset, rdata.get(offset..).unwrap_or_default()) else { continue };
                let Some(node) = self.address_node(zone, &target, nodes) else { continue };
                if !seen.insert(target.clone()) {
                    continue;
                }
                let is_owner = target == rrset.owner && rdata.get(offset) == Some(&0);
                let name = match is_owner {
                    true => Span::default(),
                    false => put(&mut self.table.bytes, target.as_wire()),
                };
                let is_in_domain = is_cut && target.is_within(&rrset.owner);
                self.table.extras.push(StoredExtra { name, node, record: record as u16, is_in_domain });
            }
            let extras = (self.table.extras.len() - first_extra as usize) as u16;
            let node = &self.table.nodes[owner as usize];
            let own = node.first_rrset as usize..node.first_rrset as usize + usize::from(node.rrsets);
            if let Some(stored) = self.table.rrsets[own].iter_mut().find(|stored| stored.rtype == rrset.rtype) {
                (stored.first_extra, stored.extras) = (first_extra, extras);
            }
        }
    }

    /// The node with the addresses of `target`: its own, or that of the wildcard that covers it.
    fn address_node(&self, zone: &Zone, target: &Name, nodes: &NameMap<u32>) -> Option<u32> {
        let at = match nodes.get(target) {
            Some(&at) => at,
            None => {
                let mut above = target.parent();
                let encloser = loop {
                    let name = above.filter(|name| name.is_within(&zone.apex))?;
                    match nodes.get(&name) {
                        Some(&at) => break at,
                        None => above = name.parent(),
                    }
                };
                let encloser = &self.table.nodes[encloser as usize];
                let is_open =
                    matches!(encloser.kind, NodeKind::Apex | NodeKind::Plain) && encloser.below != Below::Redirected;
                Some(encloser.wildcard).filter(|wildcard| is_open && *wildcard != NONE)?
            }
        };
        let node = &self.table.nodes[at as usize];
        let is_visible = match node.kind {
            NodeKind::Apex | NodeKind::Plain | NodeKind::Cut => true,
            // Glue, unless it is a DNAME that hides it.
            NodeKind::Hidden => self.table.nodes[node.link as usize].kind == NodeKind::Cut,
            NodeKind::Void => false,
        };
        let own = &self.table.rrsets[node.first_rrset as usize..][..usize::from(node.rrsets)];
        let has_addresses = own.iter().any(|rrset| matches!(rrset.rtype, rtype::A | rtype::AAAA));
        (is_visible && (has_addresses || node.steered != NONE)).then_some(at)
    }

    /// Adds the names above all zones, up to the root.
    fn add_void(&mut self, apexes: &Apexes<'_>) {
        let mut voids = HashSet::new();
        for apex in apexes.keys() {
            let mut above = parent(apex);
            while let Some(name) = above.filter(|name| own_zone(name, apexes).is_none()) {
                above = parent(name);
                voids.insert(name);
            }
        }
        for name in voids {
            let name = put(&mut self.table.bytes, name);
            self.indexed.push(self.table.nodes.len() as u32);
            self.table.nodes.push(Node {
                name,
                zone: NONE,
                first_rrset: 0,
                rrsets: 0,
                kind: NodeKind::Void,
                below: Below::Names,
                link: NONE,
                wildcard: NONE,
                steered: NONE,
            });
        }
    }

    fn finish(self, model: &Model) -> ZoneTable {
        let mut table = self.table;
        let mut index = NameIndex::with_capacity(self.indexed.len());
        for node in self.indexed {
            index.insert(hash_of(table.name_of(node)), node);
        }
        table.index = index;
        table.find_targets(model);
        table
    }
}

/// The names of a zone: owners, the empty non-terminals above them, and the apexes of the zones `below` with the names
/// above them, so that a child without a delegation has ancestors too.
fn contents_of<'m>(model: &'m Model, zone: &'m Zone, below: &[&Name]) -> NameMap<Content<'m>> {
    let mut contents: NameMap<Content<'m>> =
        NameMap::with_capacity_and_hasher(zone.rrsets.len() + zone.steered.len() + 1, FixedState::default());
    contents.entry(zone.apex.clone()).or_default();
    for rrset in &zone.rrsets {
        contents.entry(rrset.owner.clone()).or_default().rrsets.push(rrset);
    }
    for (at, steered) in zone.steered.iter().enumerate() {
        contents.entry(steered.owner.clone()).or_default().steered = Some(at);
        if let Some(exclusive) = &model.policy(steered.policy).exclusive {
            contents.entry(exclusive.epoch_owner.clone()).or_default().epoch_of = Some(steered.policy);
        }
    }
    for apex in below {
        contents.entry((*apex).clone()).or_default();
    }
    let mut between = Vec::new();
    for owner in contents.keys().filter(|owner| **owner != zone.apex) {
        let mut above = parent(owner.as_wire());
        while let Some(name) = above.filter(|name| !contents.contains_key(*name) && is_below(name, &zone.apex)) {
            above = parent(name);
            between.extend(Name::from_wire(name));
        }
    }
    for name in between {
        contents.entry(name).or_default();
    }
    for content in contents.values_mut() {
        content.rrsets.sort_by_key(|rrset| rrset.rtype);
    }
    contents
}

/// The most specific zone that contains a name in wire form.
fn own_zone(name: &[u8], apexes: &Apexes<'_>) -> Option<usize> {
    let mut at = Some(name);
    while let Some(name) = at {
        if let Some(zone) = apexes.get(name) {
            return Some(*zone);
        }
        at = parent(name);
    }
    None
}

/// Whether a name in wire form is below an apex.
fn is_below(name: &[u8], apex: &Name) -> bool {
    let mut above = parent(name);
    while let Some(name) = above.filter(|name| name.len() > apex.as_wire().len()) {
        above = parent(name);
    }
    above == Some(apex.as_wire())
}

/// The node that hides the names below `node`, if there is one.
fn cover_below(node: &Node, at: u32) -> Option<u32> {
    match node.kind {
        NodeKind::Hidden => Some(node.link),
        NodeKind::Cut => Some(at),
        NodeKind::Apex | NodeKind::Plain if node.below == Below::Redirected => Some(at),
        NodeKind::Apex | NodeKind::Plain | NodeKind::Void => None,
    }
}

fn put(bytes: &mut Vec<u8>, data: &[u8]) -> Span {
    let start = bytes.len();
    bytes.extend_from_slice(data);
    Span { start, len: data.len() as u32 }
}

fn put_records(bytes: &mut Vec<u8>, rrset: &Rrset) -> Span {
    let start = bytes.len();
    for rdata in &rrset.rdatas {
        put_prepared(bytes, rrset.rtype, rrset.ttl, rdata);
    }
    Span { start, len: (bytes.len() - start) as u32 }
}

/// The lesser of a SOA's TTL and its last field, MINIMUM (RFC 2308, 5).
fn negative_ttl(soa: &Rrset) -> u32 {
    let minimum = soa.rdatas.first().and_then(|rdata| rdata.last_chunk::<4>()).map_or(0, |m| u32::from_be_bytes(*m));
    soa.ttl.min(minimum)
}

/// The name at the start of `wire`; for SVCB and HTTPS the root means the owner (RFC 9460, 2.5.2).
fn target_of(rrset: &Rrset, wire: &[u8]) -> Option<Name> {
    let target = Name::from_wire(wire.get(..name_len(wire))?)?;
    let is_own = matches!(rrset.rtype, rtype::SVCB | rtype::HTTPS) && target == Name::root();
    Some(if is_own { rrset.owner.clone() } else { target })
}
