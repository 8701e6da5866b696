//! The last change of each target that was taken from a stream. A stream may have an older event after a newer one: a
//! sink sends the events of different endpoints in any order, those of several servers too, and sends some twice. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::control::command::FollowedChange;
use crate::control::follow::rules::CLOCKS_DIFFER;
use crate::control::follow::{EventOrigin, FollowedEvent};
use crate::control::overrides::MAX_OVERRIDES;
use crate::control::target::Target;

/// Most targets that are known: twice as many as there can be overrides, because some have ended.
const MAX_TARGETS: usize = 2 * MAX_OVERRIDES;
/// How many of the oldest are forgotten when there are more.
const FORGOTTEN: usize = MAX_TARGETS / 10;

/// Longest key in octets: a target without zones is shorter. Of a longer one its digest is the key, so that the ledger
/// is bounded in octets too.
const MAX_KEY: usize = 1024;

/// The last change of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastChange {
    source: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    at: f64,
}

/// The last change of each target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FollowLedger {
    targets: BTreeMap<String, LastChange>,
}

impl FollowLedger {
    /// Takes the events of a read, oldest first. Returns those to make: the last of each target, if it is newer than
    /// what was taken before.
    pub fn take(&mut self, events: Vec<FollowedEvent>) -> Vec<FollowedEvent> {
        let mut wanted: Vec<Option<FollowedEvent>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for event in events {
            let key = key_of(&event.change);
            if !self.note(&key, &event.origin) {
                continue;
            }
            if let Some(before) = places.insert(key, wanted.len()) {
                wanted[before] = None;
            }
            wanted.push(Some(event));
        }
        wanted.into_iter().flatten().collect()
    }

    /// Notes a change of a target; `false`: it is as old as the last one, or older.
    fn note(&mut self, key: &str, origin: &EventOrigin) -> bool {
        let EventOrigin { source, number, at } = origin;
        if let Some(last) = self.targets.get(key) {
            let is_older = match (number, last.number) {
                // A server that has lost its log begins again with its numbers, at a later time.
                (Some(number), Some(last_number)) if *source == last.source => *number <= last_number && *at <= last.at,
                // Of different servers the stream has the order, unless one of them was away.
                _ => *at < last.at - CLOCKS_DIFFER,
            };
            if is_older {
                return false;
            }
        }
        let (source, number, at) = (source.clone(), *number, *at);
        self.targets.insert(key.to_owned(), LastChange { source, number, at });
        if self.targets.len() > MAX_TARGETS {
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        let mut oldest: Vec<(f64, String)> = self.targets.iter().map(|(key, last)| (last.at, key.clone())).collect();
        oldest.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Many can have one time: a program may write all its overrides at once.
        for (_, key) in oldest.into_iter().take(FORGOTTEN) {
            self.targets.remove(&key);
        }
    }
}

/// What is the same for all events of an override: its target, and the zones in which it counts.
fn key_of(change: &FollowedChange) -> String {
    let mut key = Target::parse(&change.target).canonical();
    let mut zones: Vec<String> = change.zones.iter().flat_map(|zones| zones.iter()).map(ToString::to_string).collect();
    zones.sort_unstable();
    zones.dedup();
    for zone in zones {
        key.push(' ');
        key.push_str(&zone);
    }
    if key.len() > MAX_KEY {
        key = format!("sha256 {}", HEXLOWER.encode(digest(&SHA256, key.as_bytes()).as_ref()));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OverrideState;

    fn event(target: &str, source: &str, number: impl Into<Option<u64>>, at: f64) -> FollowedEvent {
        let change = FollowedChange {
            target: target.to_owned(),
            state: Some(OverrideState::Drain),
            why: "x".into(),
            until: None,
            zones: None,
        };
        let origin = EventOrigin { source: source.into(), number: number.into(), at };
        FollowedEvent { id: format!("{source}/{at}"), origin, change, is_confirmed: true }
    }

    fn taken(ledger: &mut FollowLedger, events: Vec<FollowedEvent>) -> Vec<String> {
        ledger.take(events).into_iter().map(|event| format!("{} {}", event.change.target, event.origin.at)).collect()
    }

    #[test]
    fn the_last_change_of_each_target_is_made_and_nothing_twice() {
        let mut ledger = FollowLedger::default();
        let all = || vec![event("a", "n1", 1, 10.0), event("b", "n1", 2, 10.0), event("a", "n1", 3, 11.0)];
        assert_eq!(taken(&mut ledger, all()), ["b 10", "a 11"]);
        assert_eq!(taken(&mut ledger, all()), [""; 0], "replayed");
        assert_eq!(taken(&mut ledger, vec![event("a", "n1", 2, 10.5)]), [""; 0], "an older one after it");
        assert_eq!(taken(&mut ledger, vec![event("a", "n1", 4, 11.0)]), ["a 11"], "in the same millisecond");
        assert_eq!(taken(&mut ledger, vec![event("a", "n1", 1, 12.0)]), ["a 12"], "numbers begin again");
    }

    #[test]
    fn of_different_sources_the_stream_has_the_order_unless_one_was_away() {
        let mut ledger = FollowLedger::default();
        assert_eq!(taken(&mut ledger, vec![event("a", "n1", 9, 100.0)]), ["a 100"]);
        assert_eq!(taken(&mut ledger, vec![event("a", "n2", 1, 97.0)]), ["a 97"], "its clock is late");
        assert_eq!(taken(&mut ledger, vec![event("a", "n1", 10, 101.0), event("a", "n2", 2, 60.0)]), ["a 101"]);
        assert_eq!(taken(&mut ledger, vec![event("a", "/ci", None, 101.0)]), ["a 101"]);
        assert_eq!(taken(&mut ledger, vec![event("a", "/ci", None, 50.0)]), [""; 0]);
    }

    #[test]
    fn one_target_may_be_written_in_several_ways_and_counts_apart_in_other_zones() {
        let mut ledger = FollowLedger::default();
        let zone = |name: &str| crate::wire::Name::parse(name).unwrap();
        let mut in_zone = event("fra1", "n1", 3, 9.0);
        in_zone.change.zones = Some([zone("b."), zone("a.")].into());
        let all = vec![event("SVC.example/fra1", "n1", 1, 9.0), event("svc.example./fra1", "n1", 2, 9.0), in_zone];
        assert_eq!(taken(&mut ledger, all).len(), 2);
    }

    #[test]
    fn a_target_in_many_zones_has_a_short_key_and_the_newest_of_one_time_stay() {
        let mut ledger = FollowLedger::default();
        let mut in_zones = event("fra1", "n1", 1, 9.0);
        let zones = (0..500).map(|at| crate::wire::Name::parse(&format!("{at}.{}.", "x".repeat(60))).unwrap());
        in_zones.change.zones = Some(zones.collect());
        assert_eq!(taken(&mut ledger, vec![in_zones.clone()]).len(), 1);
        assert_eq!(taken(&mut ledger, vec![in_zones]).len(), 0, "the same key again");
        assert!(ledger.targets.keys().all(|key| key.len() <= MAX_KEY));
        for at in 0..=MAX_TARGETS {
            ledger.take(vec![event(&format!("e{at}"), "n1", at as u64 + 1, 10.0)]);
        }
        assert_eq!(ledger.targets.len(), MAX_TARGETS + 2 - FORGOTTEN, "not all of one time");
    }

    #[test]
    fn what_is_known_is_bounded_and_outlives_a_restart() {
        let mut ledger = FollowLedger::default();
        for at in 0..MAX_TARGETS + 10 {
            ledger.take(vec![event(&format!("e{at}"), "n1", at as u64 + 1, at as f64)]);
            assert!(ledger.targets.len() <= MAX_TARGETS);
        }
        let last = event(&format!("e{}", MAX_TARGETS + 9), "n1", 1, 0.0);
        let text = serde_json::to_string(&ledger).unwrap();
        let mut restored: FollowLedger = serde_json::from_str(&text).unwrap();
        assert_eq!(taken(&mut restored, vec![last]), [""; 0]);
    }
}
