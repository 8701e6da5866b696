//! Parts: up to 256 KiB of the checks of a zone. A part has each monitor and each region once, and its checks refer to
//! them by number, so a long text is not written again for each endpoint.
//!
//! ```text
//! {"v":2,"regions":["eu"],"monitors":[{"type":"http"}],"checks":[[0,"192.0.2.1:80",0,null]]}
//! ```
//!
//! A check has the number of its monitor, its target, the number of its region or `null`, and for a program the name of
//! the endpoint. Version 1 had the whole monitor in each check. A release that knows one version refuses the other.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::Value as Json;

use crate::fleet::targets::check::{check_of, monitor_from_json};
use crate::fleet::targets::{check_hash, hash};
use crate::model::{CheckKey, Digested, MAX_NODE_NAME, MAX_ZONE_CHECKS, Monitor};

/// The version of parts. Another one is refused.
const VERSION: u32 = 2;
/// Most octets of a part, with some room below the most that the bucket takes; few in tests, so that small zones have
/// several.
const MAX_PART: usize = if cfg!(test) { 256 } else { 240 << 10 };
/// Most octets of the checks of a part as single texts, in which each has its whole monitor: a reader digests them, so
/// a part of few octets must not cost much. Judgment: some tens of milliseconds.
const MAX_TEXTS: usize = 8 << 20;

/// Most checks of all zones.
pub(super) const MAX_CHECKS: usize = MAX_ZONE_CHECKS;

/// One check of a zone, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TargetEntry {
    pub(super) target: String,
    /// Of a program.
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<Arc<str>>,
    /// Its monitor as JSON. All checks of a monitor share it, so it comes last: entries are seldom compared by it.
    pub(super) monitor: Arc<str>,
}

impl TargetEntry {
    /// The octets of the check as a single text, with its monitor.
    pub(super) fn octets(&self) -> usize {
        /// For the names of its keys.
        const MORE: usize = 32;
        self.monitor.len() + self.target.len() + self.endpoint.as_ref().map_or(0, String::len) + MORE
    }
}

/// Checks of a zone that vantages do not probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub checks: usize,
    /// Why not the first of them.
    pub why: &'static str,
}

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

/// A part that was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub(super) digest: String,
    pub(super) targets: Vec<FleetTarget>,
    /// Checks that can't be made here: how many, and why not the first of them.
    pub(super) refused: usize,
    pub(super) why: Option<&'static str>,
}

#[derive(Debug, Deserialize)]
struct WrittenPart {
    v: u32,
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default)]
    monitors: Vec<Json>,
    checks: Vec<Json>,
}

/// The numbers of monitor and region, the target, and the endpoint of a program.
#[derive(Debug, Deserialize)]
struct WrittenTarget(usize, String, Option<usize>, Option<String>);

/// A part that is being written.
#[derive(Default)]
struct Draft {
    regions: Vec<String>,
    monitors: Vec<Arc<str>>,
    checks: Vec<String>,
    /// Its length as a value.
    octets: usize,
    /// The length of its checks as single texts.
    texts: usize,
}

/// The values of at most `most` parts with these checks, in their order, and how many checks are in them.
pub(super) fn write(entries: &[TargetEntry], most: usize) -> (Vec<Arc<str>>, usize) {
    let (mut parts, mut written) = (Vec::new(), 0);
    let mut draft = Draft::default();
    for entry in entries {
        if !draft.add(entry) {
            written += draft.checks.len();
            parts.push(std::mem::take(&mut draft).value());
            if parts.len() == most {
                return (parts, written);
            }
            // The first check of a part is always added.
            draft.add(entry);
        }
    }
    if !draft.checks.is_empty() {
        written += draft.checks.len();
        parts.push(draft.value());
    }
    (parts, written)
}

impl Draft {
    /// Adds a check. `false`: there is no room, except in an empty part.
    fn add(&mut self, entry: &TargetEntry) -> bool {
        // The checks of a monitor follow each other.
        let has_monitor = self.monitors.last().is_some_and(|last| *last == entry.monitor);
        let region = entry.region.as_ref().map(|name| self.regions.iter().position(|known| *known == **name));
        let (monitor, region_number) = match (has_monitor, region) {
            (true, region) => (self.monitors.len() - 1, region.map(|at| at.unwrap_or(self.regions.len()))),
            (false, region) => (self.monitors.len(), region.map(|at| at.unwrap_or(self.regions.len()))),
        };
        let check = Json::from(vec![
            Json::from(monitor),
            Json::from(entry.target.as_str()),
            Json::from(region_number),
            Json::from(entry.endpoint.as_deref()),
        ])
        .to_string();
        let new_region = entry.region.as_deref().filter(|_| region == Some(None));
        let region_text = new_region.map_or_else(String::new, |name| Json::from(name).to_string());
        let of_monitor = if has_monitor { 0 } else { entry.monitor.len() + 1 };
        let octets = self.octets + check.len() + 1 + of_monitor + region_text.len() + 1;
        let texts = self.texts + entry.octets();
        if !self.checks.is_empty() && (octets > MAX_PART || texts > MAX_TEXTS) {
            return false;
        }
        if !has_monitor {
            self.monitors.push(Arc::clone(&entry.monitor));
        }
        self.regions.extend(new_region.map(str::to_owned));
        self.checks.push(check);
        (self.octets, self.texts) = (octets, texts);
        true
    }

    fn value(self) -> Arc<str> {
        let Draft { regions, monitors, checks, .. } = self;
        let (regions, monitors, checks) = (Json::from(regions), monitors.join(","), checks.join(","));
        format!("{{\"v\":{VERSION},\"regions\":{regions},\"monitors\":[{monitors}],\"checks\":[{checks}]}}").into()
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
        let regions = written.regions.into_iter().map(Arc::from);
        let readable = Readable {
            regions: regions.collect(),
            monitors: written.monitors.iter().map(|monitor| monitor_from_json(monitor).map(Digested::from)).collect(),
            lengths: written.monitors.iter().map(|monitor| monitor.to_string().len()).collect(),
        };
        let mut part = Part { digest: digest(value), ..Part::default() };
        let mut texts = 0;
        for check in written.checks {
            match readable.target(check, &mut texts) {
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

/// What the checks of a part refer to.
struct Readable {
    regions: Vec<Arc<str>>,
    monitors: Vec<Result<Digested<Monitor>, &'static str>>,
    /// The octets of each monitor.
    lengths: Vec<usize>,
}

impl Readable {
    /// Reads a check. `texts` are the octets of all before it.
    fn target(&self, written: Json, texts: &mut usize) -> Result<FleetTarget, &'static str> {
        let WrittenTarget(monitor, target, region, endpoint) =
            serde_json::from_value(written).map_err(|_| "not a check")?;
        let region = match region {
            Some(number) => Some(self.regions.get(number).ok_or("a region that is not there")?),
            None => None,
        };
        if region.is_some_and(|region| region.len() > MAX_NODE_NAME) {
            return Err("a region with a long name");
        }
        *texts += self.lengths.get(monitor).ok_or("a monitor that is not there")?;
        if *texts > MAX_TEXTS {
            return Err("too many checks with long texts");
        }
        let monitor = self.monitors.get(monitor).ok_or("a monitor that is not there")?.as_ref().map_err(|why| *why)?;
        let key = check_of(monitor, &target, endpoint)?;
        let hash = check_hash(&key).ok_or("a check that nobody probes")?;
        Ok(FleetTarget { hash, key: Arc::new(key), region: region.cloned() })
    }
}

/// 64 bits in hexadecimal.
pub(super) fn digest(text: &[u8]) -> String {
    format!("{:016x}", hash(text))
}
