//! The checks of one zone as values of the bucket: parts, and the manifest that lists them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fleet::nats::token;
use crate::fleet::targets::check::{monitor_to_json, shared};
use crate::fleet::targets::part::{self, LeftOut, MAX_CHECKS, TargetEntry, digest};
use crate::fleet::targets::share::share;
use crate::model::{Answerable, CheckId, CheckKey, Digested, MAX_NODE_NAME, Model, Monitor, Zone};
use crate::wire::code::rtype;

/// The version of manifests. Another one is refused. Parts have a version of their own: a server of another release
/// must be able to read which serial the fleet probes, or it would write its own zones over newer ones.
const VERSION: u32 = 1;
/// Most octets of one check as a text. Judgment: more than the longest request has, and one fits into a part.
const MAX_CHECK: usize = 200 << 10;
/// Most octets of all checks of all zones as single texts. A part has each monitor only once, so it is no more in the
/// bucket, which has 64 MiB: there is room for parts that replace others.
const MAX_TEXTS: usize = 56 << 20;
/// Why checks are not written.
const TOO_LONG: &str = "their monitor has too long texts";
const TOO_MANY: &str = "too many checks";
const TOO_MUCH: &str = "too many octets of texts";
/// Most parts of a zone. Two that follow each other have more octets than one may have, so 500 are more than the bucket
/// may have.
pub(super) const MAX_PARTS: usize = 1024;
/// Longest name of a zone, as text: 255 octets, each as `\DDD`.
pub(super) const MAX_ZONE: usize = 1024;
/// The checks of one zone as a server has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneTargets {
    /// The zone, with the final dot.
    pub zone: String,
    /// The serial of its SOA record.
    pub serial: u32,
    /// How many checks are written.
    pub checks: usize,
    /// Those that are not.
    pub left_out: Option<LeftOut>,
    /// The values of the parts.
    pub(super) parts: Vec<Arc<str>>,
    pub(super) manifest: ZoneManifest,
}

/// What is written under `zone.ZONE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ZoneManifest {
    v: u32,
    pub(super) zone: String,
    pub(super) serial: u32,
    /// The server that wrote it.
    pub(super) node: String,
    pub(super) checks: usize,
    /// A digest of each part, in hexadecimal.
    pub(super) parts: Vec<String>,
}

impl ZoneTargets {
    /// The checks of each zone of `model` that is served, as `node` writes them. Takes some milliseconds with
    /// thousands.
    pub fn of(model: &Model, node: &str) -> Vec<ZoneTargets> {
        let texts = MonitorTexts::of(model);
        let mut by_zone: Vec<BTreeSet<(usize, TargetEntry)>> = model.zones.iter().map(|_| BTreeSet::new()).collect();
        let mut too_long: Vec<BTreeSet<CheckId>> = vec![BTreeSet::new(); by_zone.len()];
        let regions: Vec<Arc<str>> = model.regions.iter().map(|region| region.name.as_str().into()).collect();
        for endpoint in &model.endpoints {
            let zone = endpoint.zone.0 as usize;
            let region = endpoint.region.and_then(|region| regions.get(usize::from(region.0)));
            let mut below: Vec<CheckId> = endpoint.answerables.iter().flat_map(Answerable::checks).collect();
            while let Some(id) = below.pop() {
                let Some(check) = model.checks.get(id.0 as usize) else { continue };
                below.extend(&check.parts);
                match texts.entry(&check.key, region) {
                    Some((_, entry)) if entry.octets() > MAX_CHECK => _ = too_long[zone].insert(id),
                    Some(entry) => _ = by_zone[zone].insert(entry),
                    None => {}
                }
            }
        }
        let served = model.zones.iter().zip(by_zone.into_iter().zip(too_long)).filter(|(zone, _)| zone.is_served());
        let zones = served.map(|(zone, (entries, too_long))| ZoneEntries {
            zone: zone.apex.to_string(),
            serial: serial(zone),
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            left_out: (!too_long.is_empty()).then_some(LeftOut { checks: too_long.len(), why: TOO_LONG }),
        });
        shared_out(zones.collect(), MAX_CHECKS, MAX_TEXTS, node)
    }

    /// `left_out`: what could not be written before the parts are bounded.
    fn new(
        zone: String,
        serial: u32,
        node: &str,
        entries: &[TargetEntry],
        mut left_out: Option<LeftOut>,
    ) -> ZoneTargets {
        let (parts, checks) = part::write(entries, MAX_PARTS);
        if checks < entries.len() {
            left_out.get_or_insert(LeftOut { checks: 0, why: TOO_MANY }).checks += entries.len() - checks;
        }
        let digests = parts.iter().map(|part| digest(part.as_bytes())).collect();
        let (v, node) = (VERSION, node.to_owned());
        let manifest = ZoneManifest { v, zone: zone.clone(), serial, node, checks, parts: digests };
        ZoneTargets { zone, serial, checks, left_out, parts, manifest }
    }

    /// A zone with these checks.
    #[cfg(test)]
    pub(super) fn test(zone: &str, serial: u32, node: &str, entries: &[TargetEntry]) -> ZoneTargets {
        ZoneTargets::new(zone.to_owned(), serial, node, entries, None)
    }

    /// How many checks there are, written or not.
    pub(super) fn all_checks(&self) -> usize {
        self.checks + self.left_out.map_or(0, |left_out| left_out.checks)
    }

    /// Whether another server wrote the same checks.
    pub(super) fn has_the_checks_of(&self, manifest: &ZoneManifest) -> bool {
        self.manifest.parts == manifest.parts
    }
}

/// The checks of a zone before the zones share what is bounded.
#[derive(Debug, Clone)]
pub(super) struct ZoneEntries {
    pub(super) zone: String,
    pub(super) serial: u32,
    pub(super) entries: Vec<TargetEntry>,
    pub(super) left_out: Option<LeftOut>,
}

/// The zones with as many checks as there is room for: each zone has its share of `checks` and of the `octets` of their
/// texts. What is over it is left out of that zone alone.
pub(super) fn shared_out(zones: Vec<ZoneEntries>, checks: usize, octets: usize, node: &str) -> Vec<ZoneTargets> {
    let most = share(zones.iter().map(|zone| zone.entries.len()), checks);
    let texts = |zone: &ZoneEntries| zone.entries.iter().take(most).map(TargetEntry::octets).sum::<usize>();
    let most_texts = share(zones.iter().map(texts), octets);
    let targets = |ZoneEntries { zone, serial, mut entries, mut left_out }: ZoneEntries| {
        let all = entries.len();
        entries.truncate(most);
        let why = if entries.len() < all { TOO_MANY } else { TOO_MUCH };
        let mut sum = 0;
        let fitting = entries.iter().take_while(|entry| {
            sum += entry.octets();
            sum <= most_texts
        });
        let fitting = fitting.count();
        entries.truncate(fitting);
        if fitting < all {
            left_out.get_or_insert(LeftOut { checks: 0, why }).checks += all - fitting;
        }
        ZoneTargets::new(zone, serial, node, &entries, left_out)
    };
    zones.into_iter().map(targets).collect()
}

/// The monitors of a model as texts, each made once, after its place in their order: servers write the checks of a zone
/// in the same order.
struct MonitorTexts(HashMap<Digested<Monitor>, (usize, Arc<str>)>);

impl MonitorTexts {
    fn of(model: &Model) -> MonitorTexts {
        let mut texts: HashMap<Digested<Monitor>, (usize, Arc<str>)> = HashMap::new();
        for check in &model.checks {
            let (monitor, _) = shared(&check.key.monitor);
            if !texts.contains_key(&monitor)
                && let Some(text) = monitor_to_json(&monitor)
            {
                texts.insert(monitor, (0, text.into()));
            }
        }
        let distinct: BTreeSet<Arc<str>> = texts.values().map(|(_, text)| Arc::clone(text)).collect();
        let distinct: Vec<Arc<str>> = distinct.into_iter().collect();
        // Monitors that differ in their quorum have one text.
        for (place, text) in texts.values_mut() {
            *place = distinct.partition_point(|other| *other < *text);
            if let Some(first) = distinct.get(*place) {
                *text = Arc::clone(first);
            }
        }
        MonitorTexts(texts)
    }

    /// A check as it is written, after the place of its monitor; `None`: no vantage probes it.
    fn entry(&self, key: &CheckKey, region: Option<&Arc<str>>) -> Option<(usize, TargetEntry)> {
        let (monitor, endpoint) = shared(&key.monitor);
        let (place, text) = self.0.get(&monitor)?;
        let (target, endpoint, region) = (key.target.to_string(), endpoint.map(str::to_owned), region.cloned());
        Some((*place, TargetEntry { target, endpoint, region, monitor: Arc::clone(text) }))
    }
}

/// The serial of a zone's SOA record: after the two names in it (RFC 1035, 3.3.13). 0 for a zone without one, which is
/// not served.
fn serial(zone: &Zone) -> u32 {
    let soa = zone.rrsets.iter().find(|set| set.rtype == rtype::SOA && set.owner == zone.apex);
    let rdata = soa.and_then(|soa| soa.rdatas.first());
    let numbers = rdata.and_then(|rdata| rdata.len().checked_sub(20).and_then(|at| rdata.get(at..at + 4)));
    numbers.and_then(|octets| octets.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The key of the manifest of a zone.
pub(super) fn manifest_key(zone: &str) -> String {
    format!("zone.{}", token(zone))
}

/// The key of a part.
pub(super) fn part_key(zone: &str, number: usize) -> String {
    format!("part.{}.{number}", token(zone))
}

impl ZoneManifest {
    pub(super) fn to_value(&self) -> String {
        // Such plain data always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the value of `zone`; an error is what is wrong.
    pub(super) fn read(zone: &str, value: &[u8]) -> Result<ZoneManifest, &'static str> {
        let read: ZoneManifest = serde_json::from_slice(value).map_err(|_| "not a manifest")?;
        let is_digest = |text: &String| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if read.v != VERSION {
            return Err("another version");
        }
        if read.zone != zone || read.zone.len() > MAX_ZONE {
            return Err("the manifest of another zone");
        }
        if read.parts.len() > MAX_PARTS || read.checks > MAX_CHECKS {
            return Err("too many checks");
        }
        if read.node.len() > MAX_NODE_NAME || !read.parts.iter().all(is_digest) {
            return Err("not a manifest");
        }
        Ok(read)
    }
}
