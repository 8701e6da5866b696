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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fleet::nats::token;
use crate::fleet::targets::differing::{Differing, MAX_DIFFERING, WrittenDifferences};
use crate::fleet::targets::zone::{ZoneManifest, ZoneTargets, manifest_key, part_key};
use crate::fleet::targets::{TargetBook, is_newer};
use crate::model::Moment;

/// How long a node does not report until what it wrote is deleted. Judgment: longer than an upgrade, and no vantage
/// should probe for days what nobody needs.
pub(super) const ABSENT_AFTER: Duration = Duration::from_secs(3600);
/// How often the writers are looked at (judgment: it costs a look at every zone).
const LOOK_AT_WRITERS_EVERY: Duration = Duration::from_secs(10);

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
    /// Writers that do not report, since when.
    absent: BTreeMap<String, Moment>,
    /// When the writers were looked at.
    looked_at: Option<Moment>,
}

impl TargetPublisher {
    /// A server that has these zones from its start.
    pub fn new(node: &str, zones: Vec<ZoneTargets>) -> TargetPublisher {
        let [changed, claimed, removed] = Default::default();
        let (node, absent) = (node.to_owned(), BTreeMap::new());
        TargetPublisher { node, zones, changed, claimed, removed, absent, looked_at: None }
    }

    /// Replaces the zones after a reload.
    pub fn adopt(&mut self, zones: Vec<ZoneTargets>) {
        for before in &self.zones {
            match zones.iter().find(|after| after.zone == before.zone) {
                Some(after) if after.parts != before.parts => {
                    self.changed.insert(after.zone.clone());
                    self.claimed.remove(&after.zone);
                }
                Some(_) => {}
                None => _ = self.removed.insert(before.zone.clone()),
            }
        }
        self.removed.retain(|zone| zones.iter().all(|now| now.zone != *zone));
        self.changed.retain(|zone| zones.iter().any(|now| now.zone == *zone));
        self.zones = zones;
    }

    /// The next write, if there is one. `book` must have everything that is in the bucket. `is_live`: whether a node
    /// reports at present.
    pub fn next_write(&mut self, book: &TargetBook, now: Moment, is_live: impl Fn(&str) -> bool) -> Option<Write> {
        let mut differing = Vec::new();
        for zone in &self.zones {
            let name = zone.zone.clone();
            let (manifest, revision) = book.manifest_of(&name);
            let stands_for_it = |node: &str| {
                let differs = || book.differences_of(node).iter().any(|other| other.zone == name);
                self.claimed.contains(&name) || (node != self.node && is_live(node) && !differs())
            };
            match stand(zone, manifest, self.changed.contains(&name), stands_for_it) {
                Stand::Newer => return Some(manifest_over(zone, revision)),
                Stand::Unclaimed => {
                    let write = manifest_over(zone, revision);
                    self.claimed.insert(name);
                    return Some(write);
                }
                Stand::Same => {
                    if let Some(write) = repair(zone, book) {
                        return Some(write);
                    }
                    self.changed.remove(&name);
                }
                Stand::Differs(fleet) => {
                    differing.push(Differing { zone: name.clone(), serial: zone.serial, fleet });
                    self.changed.remove(&name);
                }
                Stand::Nothing => {}
            }
        }
        self.remove_zone(book)
            .or_else(|| book.orphaned_part(now).map(|(zone, number, revision)| delete_part(zone, number, revision)))
            .or_else(|| self.replace_absent(book, now, is_live))
            .or_else(|| self.differences(differing, book))
    }

    /// Deletes the manifest of a zone that this server does not have any more: one that a reload removed, or that it
    /// wrote before its start. Servers that have the zone write it again, and vantages wait for a minute.
    fn remove_zone(&mut self, book: &TargetBook) -> Option<Write> {
        // Without a manifest there is nothing to delete.
        self.removed.retain(|zone| book.manifest_of(zone).0.is_some());
        let has = |zone: &str| self.zones.iter().any(|own| own.zone == zone);
        let own = book.zones_by(&self.node).find(|zone| !has(zone)).map(str::to_owned);
        let zone = own.or_else(|| self.removed.pop_first())?;
        self.removed.remove(&zone);
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
        let write = self.take_over(book).or_else(|| self.delete_of_absent(book, now));
        self.looked_at = write.is_none().then_some(now);
        write
    }

    fn take_over(&mut self, book: &TargetBook) -> Option<Write> {
        let is_left = |manifest: &ZoneManifest| self.absent.contains_key(&manifest.node);
        let mut own = self.zones.iter().filter(|zone| !self.claimed.contains(&zone.zone));
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
            if let Some(zone) = book.zones_by(node).find(|zone| !has(zone)) {
                let (_, revision) = book.manifest_of(zone);
                return Some(Write { key: manifest_key(zone), value: None, expected: Some(revision) });
            }
            let differs = !book.differences_of(node).is_empty();
            differs.then(|| Write { key: differs_key(node), value: None, expected: None })
        })
    }

    /// Writes in which zones this server differs, if that is another list than before.
    fn differences(&self, mut differing: Vec<Differing>, book: &TargetBook) -> Option<Write> {
        differing.sort();
        differing.truncate(MAX_DIFFERING);
        if book.differences_of(&self.node) == differing {
            return None;
        }
        let value = (!differing.is_empty()).then(|| WrittenDifferences::to_value(differing));
        Some(Write { key: differs_key(&self.node), value, expected: None })
    }
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
