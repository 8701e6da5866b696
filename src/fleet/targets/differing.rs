//! In which zones a server differs from the manifests: the values under `differs.NODE`.

use serde::{Deserialize, Serialize};

use crate::fleet::targets::zone::MAX_ZONE;

/// Most zones that a server lists as differing: enough to see what is wrong (judgment).
pub(super) const MAX_DIFFERING: usize = 64;
/// The version of the value.
const VERSION: u32 = 1;

/// A zone in which a server differs from the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Differing {
    /// The zone.
    pub zone: String,
    /// The serial that this server has; 0 if it does not have the zone.
    pub serial: u32,
    /// The serial that is probed. If it is the same, the policy files differ.
    pub fleet: u32,
    /// Whether this server does not have the zone. An earlier release reads the serial 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_missing: bool,
}

/// What is written under `differs.NODE`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WrittenDifferences {
    v: u32,
    zones: Vec<Differing>,
}

impl WrittenDifferences {
    pub(super) fn to_value(zones: Vec<Differing>) -> String {
        // Such plain data always serialises.
        serde_json::to_string(&WrittenDifferences { v: VERSION, zones }).unwrap_or_default()
    }

    pub(super) fn read(value: &[u8]) -> Result<Vec<Differing>, &'static str> {
        let read: WrittenDifferences = serde_json::from_slice(value).map_err(|_| "not a list of differences")?;
        let is_short = |differing: &Differing| differing.zone.len() <= MAX_ZONE;
        if read.v != VERSION || read.zones.len() > MAX_DIFFERING || !read.zones.iter().all(is_short) {
            return Err("not a list of differences");
        }
        Ok(read.zones)
    }
}
