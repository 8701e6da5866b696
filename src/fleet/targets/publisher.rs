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
//! The parts come first and then the manifest, which is written only over the revision that was read. So of two servers
//! that write at the same time one wins. If parts of a manifest are missing or wrong, each server that has the checks
//! of the manifest writes them again. `differs.NODE` has the zones in which this server differs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::fleet::nats::token;
use crate::fleet::targets::zone::{Manifest, ZoneTargets, manifest_key, part_key};
use crate::fleet::targets::{TargetBook, is_newer};

/// Most zones that a server lists as differing: enough to see what is wrong (judgment).
const MAX_DIFFERING: usize = 64;
/// The version of the value.
const VERSION: u32 = 1;
/// Longest name of a zone, as text.
const MAX_ZONE: usize = 1024;

/// A zone in which a server differs from the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Differing {
    /// The zone.
    pub zone: String,
    /// The serial that this server has.
    pub serial: u32,
    /// The serial that is probed. If it is the same, the policy files differ.
    pub fleet: u32,
}

/// What is written under `differs.NODE`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WrittenDifferences {
    v: u32,
    zones: Vec<Differing>,
}

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
pub struct Publisher {
    node: String,
    zones: Vec<ZoneTargets>,
    /// Zones whose checks changed by a reload, until the bucket has them or something newer: with the revision of the
    /// manifest that they are newer than.
    changed: BTreeSet<String>,
    /// Zones that a reload removed.
    removed: BTreeSet<String>,
}

impl Publisher {
    /// A server that has these zones from its start.
    pub fn new(node: &str, zones: Vec<ZoneTargets>) -> Publisher {
        Publisher { node: node.to_owned(), zones, changed: BTreeSet::new(), removed: BTreeSet::new() }
    }

    /// Replaces the zones after a reload.
    pub fn adopt(&mut self, zones: Vec<ZoneTargets>) {
        for before in &self.zones {
            match zones.iter().find(|after| after.zone == before.zone) {
                Some(after) if after.parts != before.parts => _ = self.changed.insert(after.zone.clone()),
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
        for at in 0..self.zones.len() {
            let zone = &self.zones[at];
            let (manifest, revision) = book.manifest_of(&zone.zone);
            match stand(zone, manifest, self.changed.contains(&zone.zone), |node| {
                node != self.node
                    && is_live(node)
                    && book.differences_of(node).iter().all(|other| other.zone != zone.zone)
            }) {
                Stand::Write => return Some(self.write(at, book, revision)),
                Stand::Same => {
                    if let Some(write) = repair(zone, book) {
                        return Some(write);
                    }
                    self.changed.remove(&zone.zone.clone());
                }
                Stand::Differs(fleet) => {
                    differing.push(Differing { zone: zone.zone.clone(), serial: zone.serial, fleet });
                    self.changed.remove(&zone.zone.clone());
                }
                Stand::Nothing => {}
            }
        }
        self.remove_zone(book).or_else(|| self.differences(differing, book))
    }

    /// The next write of a zone whose manifest is to be replaced: its parts, and at last the manifest.
    fn write(&self, at: usize, book: &TargetBook, revision: u64) -> Write {
        let zone = &self.zones[at];
        let wanted = zone.manifest.parts.iter().zip(&zone.parts).enumerate();
        let mut missing = wanted.filter(|(number, (digest, _))| book.part_digest(&zone.zone, *number) != Some(digest));
        match missing.next() {
            Some((number, (_, part))) => {
                Write { key: part_key(&zone.zone, number), value: Some(part.to_string()), expected: None }
            }
            None => {
                Write { key: manifest_key(&zone.zone), value: Some(zone.manifest.to_value()), expected: Some(revision) }
            }
        }
    }

    /// Deletes the manifest of a zone that this server does not have any more: one that a reload removed, or that it
    /// wrote before its start. Servers that have the zone write it again, and vantages wait for a minute.
    fn remove_zone(&mut self, book: &TargetBook) -> Option<Write> {
        let has = |zone: &str| self.zones.iter().any(|own| own.zone == zone);
        let own = book.zones_by(&self.node).find(|zone| !has(zone)).map(str::to_owned);
        let zone = own.or_else(|| self.removed.pop_first())?;
        self.removed.remove(&zone);
        let (manifest, revision) = book.manifest_of(&zone);
        manifest.map(|_| Write { key: manifest_key(&zone), value: None, expected: Some(revision) })
    }

    /// Writes in which zones this server differs, if that is another list than before.
    fn differences(&self, mut differing: Vec<Differing>, book: &TargetBook) -> Option<Write> {
        differing.sort();
        differing.truncate(MAX_DIFFERING);
        if book.differences_of(&self.node) == differing {
            return None;
        }
        let key = format!("differs.{}", token(&self.node));
        let value = (!differing.is_empty()).then(|| {
            // Such plain data always serialises.
            serde_json::to_string(&WrittenDifferences { v: VERSION, zones: differing }).unwrap_or_default()
        });
        Some(Write { key, value, expected: None })
    }
}

/// How a zone of this server stands to its manifest.
enum Stand {
    /// The server's own is the newer one.
    Write,
    /// They are the same.
    Same,
    /// The manifest has this serial, and counts.
    Differs(u32),
    /// There is nothing to probe, and nothing in the bucket.
    Nothing,
}

fn stand(
    zone: &ZoneTargets,
    manifest: Option<&Manifest>,
    is_changed: bool,
    is_supported_by: impl Fn(&str) -> bool,
) -> Stand {
    let Some(manifest) = manifest else {
        return if zone.parts.is_empty() { Stand::Nothing } else { Stand::Write };
    };
    let is_same = zone.has_the_checks_of(manifest);
    if zone.serial == manifest.serial && is_same {
        Stand::Same
    } else if is_newer(zone.serial, manifest.serial) {
        Stand::Write
    } else if zone.serial == manifest.serial && (is_changed || !is_supported_by(&manifest.node)) {
        Stand::Write
    } else {
        Stand::Differs(manifest.serial)
    }
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

impl WrittenDifferences {
    pub(super) fn read(value: &[u8]) -> Result<Vec<Differing>, &'static str> {
        let read: WrittenDifferences = serde_json::from_slice(value).map_err(|_| "not a list of differences")?;
        let is_short = |differing: &Differing| differing.zone.len() <= MAX_ZONE;
        if read.v != VERSION || read.zones.len() > MAX_DIFFERING || !read.zones.iter().all(is_short) {
            return Err("not a list of differences");
        }
        Ok(read.zones)
    }
}
