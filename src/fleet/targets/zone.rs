//! The checks of one zone as values of the bucket: parts, and the manifest that lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::Value as Json;

use crate::fleet::nats::token;
use crate::fleet::targets::{check_hash, from_json, hash, to_json};
use crate::model::{Answerable, CheckId, CheckKey, Model, Zone};
use crate::wire::code::rtype;

/// The version of all values. Another one is refused.
const VERSION: u32 = 1;
/// Most octets of a part, with some room below the most that the bucket takes; few in tests, so that small zones have
/// several.
const MAX_PART: usize = if cfg!(test) { 512 } else { 240 << 10 };
/// Most octets of one check (judgment: a hundred times a usual one). A longer one stays with its server.
const MAX_CHECK: usize = 64 << 10;
/// Most parts of a zone: together as many octets as the bucket may have.
pub(super) const MAX_PARTS: usize = 256;
/// Most checks of a zone, and of a plan (judgment: a vantage can't probe more in a second).
pub(super) const MAX_CHECKS: usize = 100_000;
/// Longest name of a zone, as text: 255 octets, each as `\DDD`.
pub(super) const MAX_ZONE: usize = 1024;
/// Longest name of a region or a node, as in the settings.
const MAX_NAME: usize = 255;

/// One check that vantages are to make.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetTarget {
    /// What identifies it.
    pub hash: u64,
    /// What is probed, with the default quorum.
    pub key: Arc<CheckKey>,
    /// The region of its endpoint, to find out which regions a blind vantage does not see.
    pub region: Option<Arc<str>>,
}

/// The checks of one zone as a server has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneTargets {
    /// The zone, with the final dot.
    pub zone: String,
    /// The serial of its SOA record.
    pub serial: u32,
    /// How many checks there are.
    pub checks: usize,
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

/// What is written under `part.ZONE.N`.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenPart {
    v: u32,
    checks: Vec<Json>,
}

/// One check of a part.
#[derive(Debug, Deserialize)]
struct WrittenTarget {
    #[serde(default)]
    region: Option<String>,
    check: Json,
}

/// A part that was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub(super) digest: String,
    pub(super) targets: Vec<FleetTarget>,
    /// Checks that can't be made here: how many, and why not the first of them.
    pub(super) refused: usize,
    pub(super) why: Option<&'static str>,
}

impl ZoneTargets {
    /// The checks of each zone of `model` that is served, as `node` writes them. Takes some milliseconds with
    /// thousands.
    pub fn of(model: &Model, node: &str) -> Vec<ZoneTargets> {
        let mut by_zone: Vec<BTreeSet<String>> = model.zones.iter().map(|_| BTreeSet::new()).collect();
        for endpoint in &model.endpoints {
            let region = endpoint.region.map(|region| model.region(region).name.as_str());
            let mut below: Vec<CheckId> = endpoint.answerables.iter().flat_map(Answerable::checks).collect();
            while let Some(id) = below.pop() {
                let Some(check) = model.checks.get(id.0 as usize) else { continue };
                below.extend(&check.parts);
                let Some(text) = to_json(&check.key).filter(|text| text.len() <= MAX_CHECK) else { continue };
                let region = region.map_or_else(String::new, |region| format!("\"region\":{},", Json::from(region)));
                by_zone[endpoint.zone.0 as usize].insert(format!("{{{region}\"check\":{text}}}"));
            }
        }
        let served = model.zones.iter().zip(by_zone).filter(|(zone, _)| zone.is_served());
        served.map(|(zone, checks)| ZoneTargets::new(zone.apex.to_string(), serial(zone), node, &checks)).collect()
    }

    fn new(zone: String, serial: u32, node: &str, checks: &BTreeSet<String>) -> ZoneTargets {
        let mut parts: Vec<Arc<str>> = Vec::new();
        let mut part = String::new();
        for check in checks.iter().take(MAX_CHECKS) {
            if !part.is_empty() && part.len() + check.len() > MAX_PART {
                parts.push(closed(&part));
                part.clear();
            }
            part.push_str(if part.is_empty() { "" } else { "," });
            part.push_str(check);
        }
        if !part.is_empty() {
            parts.push(closed(&part));
        }
        parts.truncate(MAX_PARTS);
        let digests = parts.iter().map(|part| digest(part.as_bytes())).collect();
        let count = checks.len().min(MAX_CHECKS);
        let manifest = ZoneManifest {
            v: VERSION,
            zone: zone.clone(),
            serial,
            node: node.to_owned(),
            checks: count,
            parts: digests,
        };
        ZoneTargets { zone, serial, checks: count, parts, manifest }
    }

    /// A zone with these entries.
    #[cfg(test)]
    pub(super) fn test(zone: &str, serial: u32, node: &str, checks: &BTreeSet<String>) -> ZoneTargets {
        ZoneTargets::new(zone.to_owned(), serial, node, checks)
    }

    /// Whether another server wrote the same checks.
    pub(super) fn has_the_checks_of(&self, manifest: &ZoneManifest) -> bool {
        self.manifest.parts == manifest.parts
    }
}

fn closed(checks: &str) -> Arc<str> {
    format!("{{\"v\":{VERSION},\"checks\":[{checks}]}}").into()
}

/// The serial of a zone's SOA record: after the two names in it (RFC 1035, 3.3.13). 0 for a zone without one, which is
/// not served.
fn serial(zone: &Zone) -> u32 {
    let soa = zone.rrsets.iter().find(|set| set.rtype == rtype::SOA && set.owner == zone.apex);
    let rdata = soa.and_then(|soa| soa.rdatas.first());
    let numbers = rdata.and_then(|rdata| rdata.len().checked_sub(20).and_then(|at| rdata.get(at..at + 4)));
    numbers.and_then(|octets| octets.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// 64 bits in hexadecimal.
pub(super) fn digest(text: &[u8]) -> String {
    format!("{:016x}", hash(text))
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
        if read.node.len() > MAX_NAME || !read.parts.iter().all(is_digest) {
            return Err("not a manifest");
        }
        Ok(read)
    }
}

impl Part {
    /// Reads a part. Checks that this release can't make are left out; an error is that nothing can be read.
    pub(super) fn read(value: &[u8]) -> Result<Part, &'static str> {
        let written: WrittenPart = serde_json::from_slice(value).map_err(|_| "not a part")?;
        if written.v != VERSION {
            return Err("another version");
        }
        if written.checks.len() > MAX_CHECKS {
            return Err("too many checks");
        }
        let mut part = Part { digest: digest(value), ..Part::default() };
        // The regions are few, and the checks are many.
        let mut regions: BTreeMap<String, Arc<str>> = BTreeMap::new();
        for check in written.checks {
            match target(check, &mut regions) {
                Ok(target) => part.targets.push(target),
                Err(why) => {
                    part.refused += 1;
                    part.why.get_or_insert(why);
                }
            }
        }
        Ok(part)
    }
}

fn target(written: Json, regions: &mut BTreeMap<String, Arc<str>>) -> Result<FleetTarget, &'static str> {
    let WrittenTarget { region, check } = serde_json::from_value(written).map_err(|_| "not a check")?;
    if region.as_ref().is_some_and(|region| region.len() > MAX_NAME) {
        return Err("a region with a long name");
    }
    let key = from_json(&check)?;
    let hash = check_hash(&key).ok_or("a check that nobody probes")?;
    let region = region.map(|name| Arc::clone(regions.entry(name).or_insert_with_key(|name| name.as_str().into())));
    Ok(FleetTarget { hash, key: Arc::new(key), region })
}
