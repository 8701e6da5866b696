//! The changes as a state file has them, so that a restart restores what is pending, and what has ended.

use serde::{Deserialize, Serialize};

use crate::fleet::overrides::slot::{InBucket, KnownOverride};
use crate::fleet::overrides::value::{effect_name, effect_of};
use crate::fleet::overrides::{FleetOverride, MAX_AGE, OverrideMerge, TimedOverride, millis};
use crate::wire::Name;

/// All changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedMerge {
    /// When the bucket was made that the revisions are of; absent if it was never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Each key's change.
    pub changes: Vec<SavedOverride>,
}

/// One change. Times are durations, so that a wall clock that is set while the server is off does little harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedOverride {
    id: String,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zones: Option<Vec<String>>,
    state: String,
    why: String,
    who: String,
    node: String,
    /// How old it was when the file was written.
    age_ms: i64,
    /// How much time was left then; below zero if it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_ms: Option<i64>,
    /// Where the bucket has it; absent: it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<SavedPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct SavedPlace {
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order_ms: Option<i64>,
}

impl OverrideMerge {
    /// All changes at `now`, in the order of their keys.
    pub fn saved(&self, now: i64) -> SavedMerge {
        let row = |known: &KnownOverride| {
            let KnownOverride { timed: TimedOverride { change, made, end }, stored, .. } = known;
            SavedOverride {
                id: format!("{:016x}", change.id),
                target: change.target.clone(),
                zones: change.zones.as_ref().map(|zones| zones.iter().map(Name::to_string).collect()),
                state: effect_name(change.effect).to_owned(),
                why: change.why.clone(),
                who: change.who.clone(),
                node: change.node.clone(),
                age_ms: now.saturating_sub(*made),
                left_ms: end.map(|end| end.saturating_sub(now)),
                stored: stored.map(|at| SavedPlace { revision: at.revision, order_ms: at.order }),
            }
        };
        let changes = self.changes.values().map(row).collect();
        SavedMerge { bucket: self.bucket.as_deref().map(str::to_owned), changes }
    }

    /// Takes over what was saved `since_saved` milliseconds before `now`. An error says what is wrong with it.
    pub fn restore(&mut self, saved: SavedMerge, since_saved: i64, now: i64) -> Result<(), String> {
        self.bucket = saved.bucket.map(Into::into);
        for row in saved.changes {
            let SavedOverride { id, target, zones, state, why, who, node, age_ms, left_ms, stored } = row;
            let effect = effect_of(&state).ok_or_else(|| format!("`{state}` is no state of an override"))?;
            let id = u64::from_str_radix(&id, 16).map_err(|_| format!("`{id}` is no id of an override"))?;
            let parse = |zone: &String| Name::parse(zone).map_err(|error| format!("`{zone}`: {error}"));
            let zones =
                zones.map(|zones| zones.iter().map(parse).collect::<Result<Vec<Name>, String>>()).transpose()?;
            let age = age_ms.saturating_add(since_saved.max(0)).clamp(0, millis(MAX_AGE));
            let timed = TimedOverride {
                made: now - age,
                end: left_ms.map(|left| now.saturating_add(left).saturating_sub(since_saved.max(0))),
                change: FleetOverride { id, target, zones, effect, who, why, node },
            };
            let in_bucket = |at: SavedPlace| InBucket { revision: at.revision, order: at.order_ms, is_read: false };
            self.put(timed, stored.map(in_bucket));
        }
        Ok(())
    }

    /// Takes over an override whose time is not known: every other change of its target is newer.
    pub fn restore_undated(&mut self, change: FleetOverride, end: Option<i64>, now: i64) {
        self.put(TimedOverride { change, made: now - millis(MAX_AGE), end }, None);
    }

    fn put(&mut self, timed: TimedOverride, stored: Option<InBucket>) {
        let key = self.key(&timed.change);
        self.changes.insert(key, KnownOverride::new(timed, stored));
    }
}
