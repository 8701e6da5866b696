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

use std::collections::BTreeSet;

use crate::fleet::nats::token;
use crate::fleet::targets::differing::{Differing, MAX_DIFFERING, WrittenDifferences};
use crate::fleet::targets::zone::{ZoneManifest, ZoneTargets, manifest_key, part_key};
use crate::fleet::targets::{TargetBook, is_newer};

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
}

impl TargetPublisher {
    /// A server that has these zones from its start.
    pub fn new(node: &str, zones: Vec<ZoneTargets>) -> TargetPublisher {
        let [changed, claimed, removed] = Default::default();
        TargetPublisher { node: node.to_owned(), zones, changed, claimed, removed }
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
    pub fn next_write(&mut self, book: &TargetBook, is_live: impl Fn(&str) -> bool) -> Option<Write> {
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
        self.remove_zone(book).or_else(|| self.differences(differing, book))
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

    /// Writes in which zones this server differs, if that is another list than before.
    fn differences(&self, mut differing: Vec<Differing>, book: &TargetBook) -> Option<Write> {
        differing.sort();
        differing.truncate(MAX_DIFFERING);
        if book.differences_of(&self.node) == differing {
            return None;
        }
        let key = format!("differs.{}", token(&self.node));
        let value = (!differing.is_empty()).then(|| WrittenDifferences::to_value(differing));
        Some(Write { key, value, expected: None })
    }
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
    let number = book.leftover_part(&zone.zone)?;
    Some(Write { key: part_key(&zone.zone, number), value: None, expected: None })
}
