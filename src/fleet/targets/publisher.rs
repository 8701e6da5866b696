//! What one server writes into the bucket `targets`. A value: it compares the server's zones with a [`TargetBook`] and
//! returns one write at a time.
//!
//! For each zone, compared with its manifest:
//!
//! - the server's serial is newer, or there is no manifest: it writes its checks;
//! - the same serial and other checks: it writes them if they changed by a reload of its own (the newest word counts),
//!   or if the server that wrote the manifest is gone or differs itself. Otherwise it differs;
//! - the server's serial is older: it differs.
//!
//! A server also differs in each zone of the bucket that it does not have, as long as the node that wrote it reports.
//!
//! The manifest comes first, and only over the revision that was read: of two servers that write at the same time one
//! wins. Then each server that has the checks of the manifest writes the parts that are missing or wrong. Until all are
//! there, vantages probe what they had before. `differs.NODE` has the zones in which this server differs.
//!
//! The bucket is bounded, so nothing may stay in it for ever:
//!
//! - the manifest of a zone that this server does not have any more: it deletes it, and so does any server where the
//!   node that wrote it has not reported for an hour. As long as another server has the zone, that one becomes its
//!   writer;
//! - parts without a manifest, and those that the manifest does not have: any server deletes them;
//! - the differences of a node that has not reported for an hour.
//!
//! A key is deleted only over the revision that was read.
//!
//! A write that the bucket refuses is tried again later. Meanwhile the other zones are written, those with the fewest
//! parts first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::fleet::nats::token;
use crate::fleet::targets::differing::{Differing, MAX_DIFFERING, WrittenDifferences};
use crate::fleet::targets::part::LeftOut;
use crate::fleet::targets::refusals::{Refusals, scope};
use crate::fleet::targets::zone::{ZoneManifest, ZoneTargets, manifest_key, part_key};
use crate::fleet::targets::{TargetBook, is_newer};
use crate::model::Moment;

/// How long a node does not report until what it wrote is deleted. Judgment: longer than an upgrade, and no vantage
/// should probe for days what nobody needs.
pub(super) const ABSENT_AFTER: Duration = Duration::from_secs(3600);
/// How often the writers are looked at (judgment: it costs a look at every zone).
const LOOK_AT_WRITERS_EVERY: Duration = Duration::from_secs(10);

/// Why the checks of a zone are not in the bucket.
const REFUSED: &str = "the bucket refuses them";

/// A write into the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// Its value; `None`: it is deleted.
    pub value: Option<String>,
    /// Only over this revision; 0: only if it was never written.
    pub expected: Option<u64>,
}

/// Decides what one server writes.
#[derive(Debug)]
pub struct TargetPublisher {
    node: String,
    zones: Vec<ZoneTargets>,
    /// Zones whose checks changed by a reload, until the bucket has them or something newer.
    changed: BTreeSet<String>,
    /// Zones that it wrote because nobody stood for the manifest. Once is enough: of two servers that don't see each
    /// other, each would write for ever.
    claimed: BTreeSet<String>,
    /// Zones that a reload removed.
    removed: BTreeSet<String>,
    /// The one of them whose manifest was to be deleted by the last write.
    removing: Option<String>,
    refusals: Refusals,
    /// Writers that do not report, since when.
    absent: BTreeMap<String, Moment>,
    /// When the writers were looked at.
    looked_at: Option<Moment>,
}

impl TargetPublisher {
    /// A server that has these zones from its start.
    pub fn new(node: &str, zones: Vec<ZoneTargets>) -> TargetPublisher {
        let [changed, claimed, removed] = Default::default();
        let (node, absent, refusals) = (node.to_owned(), BTreeMap::new(), Refusals::default());
        let zones = small_first(zones);
        TargetPublisher { node, zones, changed, claimed, removed, removing: None, refusals, absent, looked_at: None }
    }

    /// Replaces the zones after a reload.
    pub fn adopt(&mut self, zones: Vec<ZoneTargets>) {
        let by_name: HashMap<&str, &ZoneTargets> = zones.iter().map(|zone| (zone.zone.as_str(), zone)).collect();
        for before in &self.zones {
            match by_name.get(before.zone.as_str()) {
                Some(after) if after.parts != before.parts => {
                    self.changed.insert(after.zone.clone());
                    self.claimed.remove(&after.zone);
                }
                Some(_) => {}
                None => _ = self.removed.insert(before.zone.clone()),
            }
        }
        self.removed.retain(|zone| !by_name.contains_key(zone.as_str()));
        self.changed.retain(|zone| by_name.contains_key(zone.as_str()));
        self.zones = small_first(zones);
    }

    /// The next write, if there is one. `book` must have everything that is in the bucket. `is_live`: whether a node
    /// reports at present.
    pub fn next_write(&mut self, book: &TargetBook, now: Moment, is_live: impl Fn(&str) -> bool) -> Option<Write> {
        let write = self.wanted(book, now, is_live);
        if write.is_none() {
            self.refusals.forget_ended(now);
        }
        write
    }

    /// The bucket has taken a write.
    pub fn written(&mut self, key: &str) {
        self.refusals.forget(key);
        self.removing = None;
    }

    /// The bucket has refused a write, or did not reply. It is tried again later.
    pub fn refused(&mut self, key: &str, why: &str, now: Moment) {
        self.refusals.note(key, why, now);
        if key == manifest_key(&scope(key)) {
            self.claimed.remove(&scope(key));
        }
        self.removed.extend(self.removing.take().filter(|zone| *zone == scope(key)));
    }

    /// What the bucket refused: the zone, or the key where it is of no zone, and why.
    pub fn refusals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.refusals.all()
    }

    /// Zones of which not all checks are written, and zones that the bucket refuses; with the reason.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, LeftOut, Option<&str>)> {
        self.zones.iter().filter_map(|zone| {
            let refusal = self.refusals.of(&zone.zone);
            match (zone.left_out, refusal) {
                (_, Some(why)) => {
                    let left_out = LeftOut { checks: zone.all_checks(), why: REFUSED };
                    Some((zone.zone.as_str(), left_out, Some(why)))
                }
                (Some(left_out), None) => Some((zone.zone.as_str(), left_out, None)),
                (None, None) => None,
            }
        })
    }

    fn wanted(&mut self, book: &TargetBook, now: Moment, is_live: impl Fn(&str) -> bool) -> Option<Write> {
        let mut differing = Vec::new();
        for zone in &self.zones {
            let name = zone.zone.clone();
            let may_write = self.refusals.may_write(&name, now);
            let (manifest, revision) = book.manifest_of(&name);
            let stands_for_it = |node: &str| {
                let differs = || book.differences_of(node).iter().any(|other| other.zone == name);
                self.claimed.contains(&name) || (node != self.node && is_live(node) && !differs())
            };
            match stand(zone, manifest, self.changed.contains(&name), stands_for_it) {
                Stand::Newer | Stand::Unclaimed if !may_write => {}
                Stand::Newer => return Some(manifest_over(zone, revision)),
                Stand::Unclaimed => {
                    let write = manifest_over(zone, revision);
                    self.claimed.insert(name);
                    return Some(write);
                }
                Stand::Same => match repair(zone, book) {
                    Some(write) if may_write => return Some(write),
                    Some(_) => {}
                    None => _ = self.changed.remove(&name),
                },
                Stand::Differs(fleet) => {
                    differing.push(Differing { zone: name.clone(), serial: zone.serial, fleet, is_missing: false });
                    self.changed.remove(&name);
                }
                Stand::Nothing => {}
            }
        }
        differing.extend(self.missing(book, &is_live));
        let may_write = |zone: &str| self.refusals.may_write(zone, now);
        let orphan = book.orphaned_part(now, may_write);
        let orphan = orphan.map(|(zone, number, revision)| delete_part(zone, number, revision));
        self.remove_zone(book, now)
            .or(orphan)
            .or_else(|| self.replace_absent(book, now, &is_live))
            .or_else(|| self.differences(differing, book, now))
    }

    /// The zones of the bucket that this server does not have, and whose writer reports.
    fn missing(&self, book: &TargetBook, is_live: impl Fn(&str) -> bool) -> Vec<Differing> {
        let own: HashSet<&str> = self.zones.iter().map(|zone| zone.zone.as_str()).collect();
        let others = book.manifests().filter(|manifest| {
            !own.contains(manifest.zone.as_str()) && manifest.node != self.node && is_live(&manifest.node)
        });
        let missing = |manifest: &ZoneManifest| Differing {
            zone: manifest.zone.clone(),
            serial: 0,
            fleet: manifest.serial,
            is_missing: true,
        };
        others.take(MAX_DIFFERING).map(missing).collect()
    }

    /// Deletes the manifest of a zone that this server does not have any more: one that a reload removed, or that it
    /// wrote before its start. Servers that have the zone write it again, and vantages wait for a minute.
    fn remove_zone(&mut self, book: &TargetBook, now: Moment) -> Option<Write> {
        // Without a manifest there is nothing to delete.
        self.removed.retain(|zone| book.manifest_of(zone).0.is_some());
        let has = |zone: &str| self.zones.iter().any(|own| own.zone == zone);
        let may_write = |zone: &str| self.refusals.may_write(zone, now);
        let own = book.zones_by(&self.node).find(|zone| !has(zone) && may_write(zone)).map(str::to_owned);
        let zone = own.or_else(|| self.removed.iter().find(|zone| may_write(zone)).cloned())?;
        self.removing = self.removed.take(&zone);
        let (_, revision) = book.manifest_of(&zone);
        Some(Write { key: manifest_key(&zone), value: None, expected: Some(revision) })
    }

    /// Becomes the writer of a manifest whose writer does not report, where this server has its checks. Deletes what a
    /// node wrote that has not reported for [`ABSENT_AFTER`].
    fn replace_absent(&mut self, book: &TargetBook, now: Moment, is_live: impl Fn(&str) -> bool) -> Option<Write> {
        if self.looked_at.is_some_and(|at| now.since(at) < LOOK_AT_WRITERS_EVERY) {
            return None;
        }
        let absent = book.writers().into_iter().filter(|node| **node != self.node && !is_live(node));
        let since = |node: &str| self.absent.get(node).copied().unwrap_or(now);
        self.absent = absent.map(|node| (node.to_owned(), since(node))).collect();
        let write = self.take_over(book, now).or_else(|| self.delete_of_absent(book, now));
        self.looked_at = write.is_none().then_some(now);
        write
    }

    fn take_over(&mut self, book: &TargetBook, now: Moment) -> Option<Write> {
        let is_left = |manifest: &ZoneManifest| self.absent.contains_key(&manifest.node);
        let may_write = |zone: &str| self.refusals.may_write(zone, now);
        let mut own = self.zones.iter().filter(|zone| !self.claimed.contains(&zone.zone) && may_write(&zone.zone));
        let (zone, revision) = own.find_map(|zone| {
            let (manifest, revision) = book.manifest_of(&zone.zone);
            let is_same = |manifest: &ZoneManifest| zone.serial == manifest.serial && zone.has_the_checks_of(manifest);
            manifest.filter(|manifest| is_left(manifest) && is_same(manifest)).map(|_| (zone, revision))
        })?;
        self.claimed.insert(zone.zone.clone());
        Some(manifest_over(zone, revision))
    }

    fn delete_of_absent(&self, book: &TargetBook, now: Moment) -> Option<Write> {
        let has = |zone: &str| self.zones.iter().any(|own| own.zone == zone);
        let gone = self.absent.iter().filter(|(_, since)| now.since(**since) >= ABSENT_AFTER).map(|(node, _)| node);
        gone.into_iter().find_map(|node| {
            if let Some(zone) = book.zones_by(node).find(|zone| !has(zone) && self.refusals.may_write(zone, now)) {
                let (_, revision) = book.manifest_of(zone);
                return Some(Write { key: manifest_key(zone), value: None, expected: Some(revision) });
            }
            let key = differs_key(node);
            let differs = !book.differences_of(node).is_empty() && self.refusals.may_write(&key, now);
            differs.then_some(Write { key, value: None, expected: None })
        })
    }

    /// Writes in which zones this server differs, if that is another list than before.
    fn differences(&self, mut differing: Vec<Differing>, book: &TargetBook, now: Moment) -> Option<Write> {
        differing.sort();
        differing.truncate(MAX_DIFFERING);
        let key = differs_key(&self.node);
        if book.differences_of(&self.node) == differing || !self.refusals.may_write(&key, now) {
            return None;
        }
        let value = (!differing.is_empty()).then(|| WrittenDifferences::to_value(differing));
        Some(Write { key, value, expected: None })
    }
}

/// The zones in the order in which they are written.
fn small_first(mut zones: Vec<ZoneTargets>) -> Vec<ZoneTargets> {
    zones.sort_by_key(|zone| zone.parts.len());
    zones
}

fn differs_key(node: &str) -> String {
    format!("differs.{}", token(node))
}

/// How a zone of this server stands to its manifest.
enum Stand {
    /// The server's own is the newer one.
    Newer,
    /// It has the same serial as the server's own and other checks, and no server stands for it.
    Unclaimed,
    /// They are the same.
    Same,
    /// The manifest has this serial, and counts.
    Differs(u32),
    /// There is nothing to probe, and nothing in the bucket.
    Nothing,
}

fn stand(
    zone: &ZoneTargets,
    manifest: Option<&ZoneManifest>,
    is_changed: bool,
    is_supported_by: impl Fn(&str) -> bool,
) -> Stand {
    let Some(manifest) = manifest else {
        return if zone.parts.is_empty() { Stand::Nothing } else { Stand::Newer };
    };
    let is_same_serial = zone.serial == manifest.serial;
    if is_same_serial && zone.has_the_checks_of(manifest) {
        Stand::Same
    } else if is_newer(zone.serial, manifest.serial) || (is_same_serial && is_changed) {
        Stand::Newer
    } else if is_same_serial && !is_supported_by(&manifest.node) {
        Stand::Unclaimed
    } else {
        Stand::Differs(manifest.serial)
    }
}

/// The manifest of a zone, over the revision that was read.
fn manifest_over(zone: &ZoneTargets, revision: u64) -> Write {
    Write { key: manifest_key(&zone.zone), value: Some(zone.manifest.to_value()), expected: Some(revision) }
}

/// A part of a manifest that is missing, from a server that has it; or one too many.
fn repair(zone: &ZoneTargets, book: &TargetBook) -> Option<Write> {
    if let Some(number) = book.missing_part(&zone.zone) {
        let part = zone.parts.get(number)?;
        return Some(Write { key: part_key(&zone.zone, number), value: Some(part.to_string()), expected: None });
    }
    let (number, revision) = book.leftover_part(&zone.zone)?;
    Some(delete_part(&zone.zone, number, revision))
}

fn delete_part(zone: &str, number: usize, revision: u64) -> Write {
    Write { key: part_key(zone, number), value: None, expected: Some(revision) }
}
