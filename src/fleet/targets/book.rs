//! What is in the bucket `targets`, as one node has read it, and the plan that follows from it. A value: it gets the
//! keys of the bucket in the order of their revisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::nats::name_of;
use crate::fleet::targets::FleetTarget;
use crate::fleet::targets::differing::{Differing, WrittenDifferences};
use crate::fleet::targets::part::{LeftOut, MAX_CHECKS, Part};
use crate::fleet::targets::share::share;
use crate::fleet::targets::zone::{MAX_PARTS, ZoneManifest};
use crate::model::{CheckKey, Moment};

/// Most zones, and most servers that differ (judgment).
const MAX_ZONES: usize = 10_000;
const MAX_SERVERS: usize = 1000;
/// Most values that can't be used whose keys are remembered (judgment: enough to see that something is wrong).
const MAX_REFUSED: usize = 1000;
/// Longest part of a key that is remembered for them, in characters (judgment: enough to find it).
const SHOWN_KEY: usize = 80;
/// How long a zone is still probed that disappeared from the bucket. Judgment: the servers write a bucket that was made
/// anew within seconds, and an endpoint that nobody needs any more is probed for a minute in vain.
const RETAIN: Duration = Duration::from_secs(60);
/// How long the parts of a zone without a manifest stay in the bucket. Judgment: a server that still has the zone
/// writes the manifest again within a second or two, and then needs no part written again.
pub(super) const ORPHANED_AFTER: Duration = Duration::from_secs(5);

/// What is to be probed, as far as this node has read it.
#[derive(Debug, Default)]
pub struct TargetBook {
    zones: BTreeMap<String, ZoneEntry>,
    differences: BTreeMap<String, Vec<Differing>>,
    refused: RefusedTargets,
    /// Whether they are others since the last [`TargetBook::take_differences`].
    has_new_differences: bool,
    /// Whether the plan is another one since the last [`TargetBook::take_plan`].
    is_changed: bool,
}

/// Which values of the bucket can't be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedTargets {
    /// How many there were since the start.
    pub values: u64,
    /// The key of each that is there now, and why not; at most [`MAX_REFUSED`], and the first characters of a key.
    pub now: BTreeMap<String, &'static str>,
    /// The last one.
    pub last: Option<(String, &'static str)>,
}

/// One zone in the bucket.
#[derive(Debug, Default)]
struct ZoneEntry {
    /// The revision of the manifest's key, also where it was deleted.
    revision: u64,
    manifest: Option<ZoneManifest>,
    /// Whether the manifest's key has a value, also one that can't be read.
    has_value: bool,
    /// With the revision of each; `None`: the key has a value that can't be read.
    parts: BTreeMap<usize, (u64, Option<Arc<Part>>)>,
    /// The parts of the last manifest of which all were there.
    complete: Vec<Arc<Part>>,
    /// Since when there is no manifest.
    gone_at: Option<Moment>,
}

/// What one node is to probe.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetPlan {
    /// The checks, each once.
    pub targets: Vec<FleetTarget>,
    /// Checks of programs that this node's settings do not allow.
    pub not_allowed: usize,
    /// Checks that this release can't make.
    pub refused: usize,
    /// Why not the first of them.
    pub why: Option<&'static str>,
    /// Zones with more checks than there is room for: those that are not probed.
    pub left_out: BTreeMap<String, LeftOut>,
}

impl TargetBook {
    /// Takes in a key of the bucket; `None` as its value: it was deleted.
    pub fn apply(&mut self, key: &str, revision: u64, value: Option<&[u8]>, now: Moment) {
        let shown: String = key.chars().take(SHOWN_KEY).collect();
        let result = self.try_apply(key, revision, value, now);
        self.refused.now.remove(&shown);
        // Where a key was deleted, nothing is there that could be of use.
        let (Err(why), Some(_)) = (result, value) else { return };
        self.refused.values += 1;
        if self.refused.now.len() < MAX_REFUSED {
            self.refused.now.insert(shown.clone(), why);
        }
        self.refused.last = Some((shown, why));
    }

    fn try_apply(&mut self, key: &str, revision: u64, value: Option<&[u8]>, now: Moment) -> Result<(), &'static str> {
        let (kind, rest) = key.split_once('.').ok_or("an unknown key")?;
        match (kind, rest.split_once('.')) {
            ("zone", None) => self.manifest(&name_of(rest).ok_or("an unknown key")?, revision, value, now),
            ("part", Some((zone, number))) => {
                let zone = name_of(zone).ok_or("an unknown key")?;
                self.part(&zone, number.parse().map_err(|_| "an unknown key")?, revision, value, now)
            }
            ("differs", None) => self.difference(&name_of(rest).ok_or("an unknown key")?, value),
            _ => Err("an unknown key"),
        }
    }

    fn manifest(&mut self, zone: &str, revision: u64, value: Option<&[u8]>, now: Moment) -> Result<(), &'static str> {
        let manifest = value.map(|value| ZoneManifest::read(zone, value)).transpose();
        let is_refused = manifest.as_ref().err().copied();
        let entry = self.entry(zone)?;
        if revision < entry.revision {
            return Ok(());
        }
        entry.revision = revision;
        entry.has_value = value.is_some();
        // One that can't be read counts as none: a server that has the zone writes it again.
        entry.manifest = manifest.unwrap_or_default();
        match (&entry.manifest, entry.gone_at) {
            (Some(_), _) => entry.gone_at = None,
            (None, None) => entry.gone_at = Some(now),
            (None, Some(_)) => {}
        }
        let is_new = entry.complete();
        self.is_changed |= is_new;
        is_refused.map_or(Ok(()), Err)
    }

    fn part(
        &mut self,
        zone: &str,
        number: usize,
        revision: u64,
        value: Option<&[u8]>,
        now: Moment,
    ) -> Result<(), &'static str> {
        if number >= MAX_PARTS {
            return Err("too many parts");
        }
        let entry = self.entry(zone)?;
        if entry.parts.get(&number).is_some_and(|(known, _)| *known > revision) {
            return Ok(());
        }
        let part = value.map(Part::read).transpose();
        let is_refused = part.is_err();
        match part {
            Ok(Some(part)) => _ = entry.parts.insert(number, (revision, Some(Arc::new(part)))),
            Err(_) => _ = entry.parts.insert(number, (revision, None)),
            Ok(None) => _ = entry.parts.remove(&number),
        }
        if entry.manifest.is_none() {
            entry.gone_at.get_or_insert(now);
        }
        let is_new = entry.complete();
        self.is_changed |= is_new;
        if is_refused { Err("not a part") } else { Ok(()) }
    }

    fn difference(&mut self, node: &str, value: Option<&[u8]>) -> Result<(), &'static str> {
        let zones = match value {
            Some(value) => WrittenDifferences::read(value)?,
            None => Vec::new(),
        };
        self.has_new_differences = true;
        if zones.is_empty() {
            self.differences.remove(node);
        } else if self.differences.contains_key(node) || self.differences.len() < MAX_SERVERS {
            self.differences.insert(node.to_owned(), zones);
        } else {
            return Err("too many servers that differ");
        }
        Ok(())
    }

    fn entry(&mut self, zone: &str) -> Result<&mut ZoneEntry, &'static str> {
        if self.zones.len() >= MAX_ZONES && !self.zones.contains_key(zone) {
            return Err("too many zones");
        }
        Ok(self.zones.entry(zone.to_owned()).or_default())
    }

    /// The bucket was made anew: nothing is in it until it is reported again. What was probed is probed for a minute
    /// more.
    pub fn lost(&mut self, now: Moment) {
        for entry in self.zones.values_mut() {
            entry.revision = 0;
            entry.manifest = None;
            entry.has_value = false;
            entry.parts.clear();
            entry.gone_at.get_or_insert(now);
        }
        self.differences.clear();
        self.refused.now.clear();
        self.has_new_differences = true;
    }

    /// The plan, if it is another one since the last call. `allowed` are the programs that may run here.
    pub fn take_plan(&mut self, allowed: &[String], now: Moment) -> Option<TargetPlan> {
        let before = self.zones.len();
        self.zones.retain(|_, entry| {
            let is_over = entry.gone_at.is_some_and(|at| now.since(at) >= RETAIN);
            // A key that was deleted has a revision that the next writer must know, and parts are to be deleted.
            if is_over {
                self.is_changed |= !entry.complete.is_empty();
                entry.complete.clear();
            }
            !is_over || entry.revision > 0 || !entry.parts.is_empty()
        });
        self.is_changed |= self.zones.len() != before;
        std::mem::take(&mut self.is_changed).then(|| self.plan(allowed))
    }

    /// When a zone that disappeared is not probed any more; `None` if there is none.
    pub fn next_end(&self) -> Option<Moment> {
        let gone = self.zones.values().filter(|entry| !entry.complete.is_empty()).filter_map(|entry| entry.gone_at);
        gone.min().map(|at| at + RETAIN)
    }

    fn plan(&self, allowed: &[String]) -> TargetPlan {
        let mut plan = TargetPlan::default();
        let mut seen: HashMap<u64, Arc<CheckKey>> = HashMap::new();
        let most = share(self.zones.values().map(|entry| entry.targets().count()), MAX_CHECKS);
        for (zone, entry) in &self.zones {
            for part in &entry.complete {
                plan.refused += part.refused;
                plan.why = plan.why.or(part.why);
            }
            let over = entry.targets().count().saturating_sub(most);
            if over > 0 {
                plan.left_out.insert(zone.clone(), LeftOut { checks: over, why: "too many checks" });
            }
            for target in entry.targets().take(most) {
                match seen.get(&target.hash) {
                    Some(key) if *key == target.key => continue,
                    Some(_) => plan.refuse("two checks with one hash"),
                    None if !may_run(target, allowed) => plan.not_allowed += 1,
                    None => {
                        seen.insert(target.hash, Arc::clone(&target.key));
                        plan.targets.push(target.clone());
                    }
                }
            }
        }
        plan
    }

    /// How many zones have a manifest.
    pub fn zones(&self) -> usize {
        self.zones.values().filter(|entry| entry.manifest.is_some()).count()
    }

    /// What could not be read.
    pub fn refused(&self) -> &RefusedTargets {
        &self.refused
    }

    /// The differences, if they are others since the last call.
    pub fn take_differences(&mut self) -> Option<&BTreeMap<String, Vec<Differing>>> {
        std::mem::take(&mut self.has_new_differences).then_some(&self.differences)
    }

    /// The zones in which servers differ from the bucket, by server.
    pub fn differences(&self) -> &BTreeMap<String, Vec<Differing>> {
        &self.differences
    }

    /// The manifest of each zone, in the order of the zones.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &ZoneManifest> {
        self.zones.values().filter_map(|entry| entry.manifest.as_ref())
    }

    /// The manifest of a zone, and the revision of its key: 0 if it was never written.
    pub(super) fn manifest_of(&self, zone: &str) -> (Option<&ZoneManifest>, u64) {
        self.zones.get(zone).map_or((None, 0), |entry| (entry.manifest.as_ref(), entry.revision))
    }

    /// The number of the first part that is missing or is not the one of the manifest.
    pub(super) fn missing_part(&self, zone: &str) -> Option<usize> {
        let entry = self.zones.get(zone)?;
        let wanted = entry.manifest.as_ref()?;
        let has = |number: usize, digest: &String| entry.part_digest(number) == Some(digest);
        wanted.parts.iter().enumerate().find(|(number, digest)| !has(*number, digest)).map(|(number, _)| number)
    }

    /// The number of a part that the manifest of a zone does not have, and its revision.
    pub(super) fn leftover_part(&self, zone: &str) -> Option<(usize, u64)> {
        let entry = self.zones.get(zone)?;
        let count = entry.manifest.as_ref().map_or(0, |manifest| manifest.parts.len());
        entry.parts.iter().find(|(number, _)| **number >= count).map(|(number, (revision, _))| (*number, *revision))
    }

    /// A part whose zone has had no manifest for [`ORPHANED_AFTER`]: the zone, its number and its revision. A manifest
    /// that can't be read counts as one: it may be of a later release. Only of zones that `may` allows.
    pub(super) fn orphaned_part(&self, now: Moment, may: impl Fn(&str) -> bool) -> Option<(&str, usize, u64)> {
        let is_over = |at: Moment| now.since(at) >= ORPHANED_AFTER;
        self.zones.iter().filter(|(_, entry)| !entry.has_value && entry.gone_at.is_some_and(is_over)).find_map(
            |(zone, entry)| {
                let (number, (revision, _)) = entry.parts.first_key_value().filter(|_| may(zone))?;
                Some((zone.as_str(), *number, *revision))
            },
        )
    }

    /// The nodes that wrote a manifest, or in which zones they differ.
    pub(super) fn writers(&self) -> BTreeSet<&str> {
        let of_manifests = self.zones.values().filter_map(|entry| Some(entry.manifest.as_ref()?.node.as_str()));
        of_manifests.chain(self.differences.keys().map(String::as_str)).collect()
    }

    /// The zones whose manifest was written by `node`.
    pub(super) fn zones_by<'b>(&'b self, node: &'b str) -> impl Iterator<Item = &'b str> {
        let is_by = move |entry: &ZoneEntry| entry.manifest.as_ref().is_some_and(|manifest| manifest.node == node);
        self.zones.iter().filter(move |(_, entry)| is_by(entry)).map(|(zone, _)| zone.as_str())
    }

    /// The differences that `node` has written.
    pub(super) fn differences_of(&self, node: &str) -> &[Differing] {
        self.differences.get(node).map_or(&[], Vec::as_slice)
    }
}

impl TargetPlan {
    fn refuse(&mut self, why: &'static str) {
        self.refused += 1;
        self.why.get_or_insert(why);
    }
}

impl ZoneEntry {
    /// The checks that are probed.
    fn targets(&self) -> impl Iterator<Item = &FleetTarget> {
        self.complete.iter().flat_map(|part| &part.targets)
    }

    fn part_digest(&self, number: usize) -> Option<&String> {
        self.parts.get(&number)?.1.as_ref().map(|part| &part.digest)
    }

    /// Takes the parts of the manifest over, if all are there and one is new.
    fn complete(&mut self) -> bool {
        let Some(manifest) = &self.manifest else { return false };
        let part = |(number, digest): (usize, &String)| {
            let part = self.parts.get(&number)?.1.as_ref()?;
            (part.digest == *digest).then(|| Arc::clone(part))
        };
        let parts: Option<Vec<Arc<Part>>> = manifest.parts.iter().enumerate().map(part).collect();
        match parts {
            Some(parts) if parts.iter().map(|part| &part.digest).ne(self.complete.iter().map(|part| &part.digest)) => {
                self.complete = parts;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Whether a check needs no program, or one that the settings of this node allow.
fn may_run(target: &FleetTarget, allowed: &[String]) -> bool {
    target.key.monitor.kind.program().is_none_or(|program| allowed.iter().any(|allowed| allowed == program))
}
