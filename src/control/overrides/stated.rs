//! The overrides that a source states: what changes in the book when it states something else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::control::command::StatedTarget;
use crate::control::overrides::{Book, MAX_OF_ZONES, MAX_OVERRIDES, MAX_WITH_ZONES, OverrideError, is_within};
use crate::control::target::Target;
use crate::model::{Override, OverrideState};
use crate::wire::Name;

/// An override before and after a change.
pub(crate) type BeforeAndNow = (Option<Arc<Override>>, Option<Arc<Override>>);

impl Book {
    /// Makes `wanted` the overrides of `who` that count in `zone`. Returns what changed: nothing for those that are in
    /// force as they are wanted, so the same statements after a restart change nothing, and nothing for those that are
    /// not new, because an operator has cleared them. Returns also the targets for which there is no room.
    ///
    /// The targets match endpoints of the zone. Those of other zones that a region has are not affected, because the
    /// overrides count in this zone only.
    pub(crate) fn state(
        &mut self,
        who: &str,
        zone: &Name,
        wanted: &[StatedTarget],
    ) -> (Vec<BeforeAndNow>, Vec<String>) {
        let zones: Arc<[Name]> = Arc::from([zone.clone()]);
        let is_own = |entry: &Override| entry.who == who && entry.zones.as_deref() == Some(&zones[..]);
        let set: HashMap<Target, OverrideState> =
            wanted.iter().filter_map(|of| Some((Target::parse(&of.target), of.state?))).collect();
        let stay: HashSet<String> = wanted
            .iter()
            .filter(|of| of.state.is_none())
            .map(|of| Target::parse(&of.target).name().to_owned())
            .collect();
        let (mut edits, mut unmade, mut in_force) = (Vec::new(), Vec::new(), HashSet::new());
        self.entries.retain(|entry| {
            if !is_own(entry) {
                return true;
            }
            let target = Target::parse(&entry.target);
            match set.get(&target) {
                Some(state) => {
                    if *state == entry.state {
                        in_force.insert(target);
                    }
                    true
                }
                None if stay.contains(target.name()) => true,
                None => {
                    edits.push((Some(entry.clone()), None));
                    false
                }
            }
        });
        for StatedTarget { target, state, is_new, why } in wanted {
            let Some(state) = *state else { continue };
            if !is_new || in_force.contains(&Target::parse(target)) {
                continue;
            }
            let (target, why, who) = (target.clone(), why.clone(), who.to_owned());
            let entry = Override { target, state, why, who, until: None, zones: Some(zones.clone()) };
            match self.insert(entry.clone()) {
                Ok(before) => edits.push((before, Some(Arc::new(entry)))),
                Err(error) => {
                    let Override { target, who, .. } = entry;
                    tracing::warn!(target, who, %error, "an override that a source states is not made");
                    unmade.push(target);
                }
            }
        }
        (edits, unmade)
    }

    /// Adds an override in place of that of the same target and zones, if there is room.
    pub(super) fn insert(&mut self, entry: Override) -> Result<Option<Arc<Override>>, OverrideError> {
        let at = self.position_of(&entry);
        if self.entries.len() - usize::from(at.is_some()) >= MAX_OVERRIDES {
            return Err(OverrideError::Full);
        }
        if let Some(zones) = entry.zones.as_deref() {
            let others = self.entries.iter().enumerate().filter(|(place, _)| Some(*place) != at);
            let with_zones = others.filter_map(|(_, known)| known.zones.as_deref());
            let count =
                |(all, same): (usize, usize), known: &[Name]| (all + 1, same + usize::from(is_within(known, zones)));
            let (all, same) = with_zones.fold((0, 0), count);
            if all >= MAX_WITH_ZONES || same >= MAX_OF_ZONES {
                return Err(OverrideError::FullForZones);
            }
        }
        let before = at.map(|at| self.entries.remove(at));
        self.entries.push(Arc::new(entry));
        Ok(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: &str = "discover.primary (etcd)";

    fn zone() -> Name {
        Name::parse("svc.example.").unwrap()
    }

    fn stated(target: &str, state: impl Into<Option<OverrideState>>) -> StatedTarget {
        StatedTarget { target: target.to_owned(), state: state.into(), is_new: true, why: "a key".to_owned() }
    }

    fn shown(edits: &[BeforeAndNow]) -> Vec<String> {
        let of = |of: &Option<Arc<Override>>| of.as_ref().map_or("-", |of| of.state.as_str());
        let target = |(before, now): &BeforeAndNow| now.as_ref().or(before.as_ref()).unwrap().target.clone();
        edits.iter().map(|edit| format!("{}: {} {}", target(edit), of(&edit.0), of(&edit.1))).collect()
    }

    #[test]
    fn statements_become_the_overrides_of_their_source_and_the_same_ones_change_nothing() {
        use OverrideState::{Down, Drain};
        let mut book = Book::default();
        let mut state = |wanted: &[StatedTarget]| shown(&book.state(WHO, &zone(), wanted).0);
        assert_eq!(state(&[stated("a", Down), stated("region:eu", Drain)]), ["a: - down", "region:eu: - drain"]);
        assert_eq!(state(&[stated("a", Down), stated("region:eu", Drain)]), [""; 0]);
        assert_eq!(
            state(&[stated("a", Drain), stated("pool:p", Down)]),
            ["region:eu: drain -", "a: down drain", "pool:p: - down"]
        );
        assert_eq!(state(&[stated("a", None), stated("p", None)]), [""; 0], "what can't be read stays");
        assert_eq!(state(&[]), ["a: drain -", "pool:p: down -"]);
    }

    #[test]
    fn what_an_operator_cleared_comes_back_only_when_it_is_stated_anew() {
        use OverrideState::{Down, Drain};
        let before = |target, state| StatedTarget { is_new: false, ..stated(target, state) };
        let mut book = Book::default();
        book.state(WHO, &zone(), &[stated("a", Down), stated("b", Down)]);
        book.entries.retain(|entry| entry.target != "a");
        let mut state = |wanted: &[StatedTarget]| shown(&book.state(WHO, &zone(), wanted).0);
        assert_eq!(state(&[before("a", Down), before("b", Down), stated("c", Drain)]), ["c: - drain"]);
        assert_eq!(state(&[before("a", Down), before("b", Down)]), ["c: drain -"]);
        assert_eq!(state(&[stated("a", Down), before("b", Down)]), ["a: - down"]);
    }

    #[test]
    fn targets_without_room_are_returned() {
        let all: Vec<StatedTarget> =
            (0..MAX_OF_ZONES + 2).map(|at| stated(&format!("e{at:05}"), OverrideState::Down)).collect();
        let mut book = Book::default();
        let (edits, unmade) = book.state(WHO, &zone(), &all);
        assert_eq!(edits.len(), MAX_OF_ZONES);
        assert_eq!(unmade, [format!("e{:05}", MAX_OF_ZONES), format!("e{:05}", MAX_OF_ZONES + 1)]);
    }

    #[test]
    fn overrides_of_others_are_not_touched() {
        let of = |who: &str, zones: Option<Arc<[Name]>>| {
            let (target, why, who) = ("a".to_owned(), "x".to_owned(), who.to_owned());
            Override { target, state: OverrideState::Down, why, who, until: None, zones }
        };
        let other: Arc<[Name]> = Arc::from([Name::parse("other.example.").unwrap()]);
        let mut book = Book::of(vec![of("alice", None), of(WHO, Some(other))]).unwrap();
        assert_eq!(book.state(WHO, &zone(), &[]), (Vec::new(), Vec::new()));
        assert_eq!(shown(&book.state(WHO, &zone(), &[stated("a", OverrideState::Drain)]).0), ["a: - drain"]);
        assert_eq!(book.entries().len(), 3);
    }
}
