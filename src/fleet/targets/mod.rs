//! What is to be probed, from the zones of the servers to the vantages: checks as values of the bucket `targets`. Pure.
//!
//! A server writes for each of its zones the checks that it needs ([`ZoneTargets`]), in parts under a manifest. A
//! vantage follows the bucket in a [`TargetBook`] and probes the plan that it has. All servers of a fleet have the same
//! files, but not at the same moment. So where they differ the newest zone serial wins (RFC 1982), and the others
//! report that they differ: [`TargetPublisher`] decides what a server writes.
//!
//! | key | value |
//! |---|---|
//! | `zone.ZONE` | the manifest: serial, the server that wrote it, a digest of each part |
//! | `part.ZONE.N` | up to 256 KiB of checks, each monitor once |
//! | `differs.NODE` | the zones of a server that differ from the manifests |
//!
//! The plan and the bucket are bounded, so zones share them: each has an equal part, and what a zone does not need is
//! for the others. Checks of a zone that are over its share are left out, which the server reports. A write that the
//! bucket refuses is tried again later, and holds up no other zone.
//!
//! Everything that is read is bounded and may be wrong: a value that can't be used is counted, and what was there
//! before stays. A zone that disappears is still probed for a minute, so that nobody notices a bucket that is lost and
//! written again.

mod book;
mod check;
mod differing;
mod part;
mod publisher;
mod refusals;
mod share;
#[cfg(test)]
mod tests;
mod zone;

pub use book::{RefusedTargets, TargetBook, TargetPlan};
pub use check::{from_json, to_json};
pub use differing::Differing;
pub use part::{FleetTarget, LeftOut};
pub use publisher::{TargetPublisher, Write};
pub use zone::ZoneTargets;

use ring::digest::{SHA256, digest};

use crate::model::CheckKey;

/// What identifies a check in messages: the first 64 bits of the SHA-256 of its JSON. `None` for heartbeats and
/// composites, which no vantage probes. Checks that differ in their quorum alone have the same hash.
pub fn check_hash(key: &CheckKey) -> Option<u64> {
    Some(hash(to_json(key)?.as_bytes()))
}

/// 64 bits of SHA-256. Nobody finds two texts of one hash by chance in a fleet of 100,000 checks: the chance is 1 in 4
/// billion.
fn hash(text: &[u8]) -> u64 {
    let digest = digest(&SHA256, text);
    digest.as_ref().iter().take(8).fold(0, |hash, octet| hash << 8 | u64::from(*octet))
}

/// Whether serial `a` is newer than `b` (RFC 1982, 3.2). Of two that are as far apart as possible neither is.
pub fn is_newer(a: u32, b: u32) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 1 << 31
}
