//! The overrides that events of a stream change, one by one: unlike a source, a stream has no whole state.

use std::sync::Arc;

use crate::control::command::FollowedChange;
use crate::control::overrides::stated::BeforeAndNow;
use crate::control::overrides::{Book, OverrideError, is_inside, matching, names_of, zone_set};
use crate::control::target::Target;
use crate::model::{Model, Override};

/// Times of ends that differ by less are the same, in seconds: they are written with milliseconds in some places.
const SAME_END: f64 = 0.01;

impl Book {
    /// Makes changes of `who`, in this order. Returns which overrides changed, and why some changes were refused, with
    /// their places in the list. What is in force already does not change, so events may be made again.
    ///
    /// An override that is made replaces that of the same target and zones, whoever made it, as one of the API does.
    /// One that ends must be of `who`: an operator's stays.
    pub(crate) fn follow(
        &mut self,
        who: &str,
        changes: &[FollowedChange],
        model: &Model,
    ) -> (Vec<BeforeAndNow>, Vec<(usize, OverrideError)>) {
        let (mut edits, mut refused) = (Vec::new(), Vec::new());
        for (at, change) in changes.iter().enumerate() {
            let Some(state) = change.state else {
                edits.extend(self.end_followed(who, change).map(|ended| (Some(ended), None)));
                continue;
            };
            let FollowedChange { target, state: _, why, until, zones } = change.clone();
            let entry = Override { target, state, why, who: who.to_owned(), until, zones };
            if self.position_of(&entry).is_some_and(|place| is_same(&self.entries[place], &entry)) {
                continue;
            }
            match self.put_inside(entry.clone(), model) {
                Ok(before) => edits.push((before, Some(Arc::new(entry)))),
                Err(error) => refused.push((at, error)),
            }
        }
        (edits, refused)
    }

    /// Adds an override that counts in its zones, whatever else its target matches.
    fn put_inside(&mut self, entry: Override, model: &Model) -> Result<Option<Arc<Override>>, OverrideError> {
        let found = matching(&entry, model)?;
        match &entry.zones {
            Some(zones) if !found.iter().any(|id| is_inside(&entry, *id, model)) => {
                let why = format!("`{}` matches no endpoint in {}", entry.target, names_of(zones));
                Err(OverrideError::OutsideZones(why))
            }
            Some(_) | None => self.insert(entry),
        }
    }

    fn end_followed(&mut self, who: &str, change: &FollowedChange) -> Option<Arc<Override>> {
        let (target, zones) = (Target::parse(&change.target), zone_set(change.zones.as_deref()));
        let ends = |entry: &Arc<Override>| {
            entry.who == who && target.is_written(&entry.target) && zone_set(entry.zones.as_deref()) == zones
        };
        let at = self.entries.iter().position(ends)?;
        Some(self.entries.remove(at))
    }
}

/// Whether an override is in force as it is wanted.
fn is_same(known: &Override, wanted: &Override) -> bool {
    let is_same_end = match (known.until, wanted.until) {
        (Some(known), Some(wanted)) => (known - wanted).abs() < SAME_END,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    is_same_end && (known.state, &known.why, &known.who) == (wanted.state, &wanted.why, &wanted.who)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::model;
    use crate::model::OverrideState;
    use crate::wire::Name;

    const WHO: &str = "follow.primary (nats)";

    fn change(target: &str, state: impl Into<Option<OverrideState>>) -> FollowedChange {
        FollowedChange { target: target.to_owned(), state: state.into(), why: "x".into(), until: None, zones: None }
    }

    fn shown(edits: &[BeforeAndNow]) -> Vec<String> {
        let of = |of: &Option<Arc<Override>>| of.as_ref().map_or("-", |of| of.state.as_str());
        let target = |(before, now): &BeforeAndNow| now.as_ref().or(before.as_ref()).unwrap().target.clone();
        edits.iter().map(|edit| format!("{}: {} {}", target(edit), of(&edit.0), of(&edit.1))).collect()
    }

    #[test]
    fn events_make_and_end_overrides_and_the_same_ones_change_nothing() {
        use OverrideState::{Down, Drain};
        let (mut book, model) = (Book::default(), model());
        let mut follow = |changes: &[FollowedChange]| {
            let (edits, refused) = book.follow(WHO, changes, &model);
            (shown(&edits), refused.len())
        };
        let none = || (Vec::new(), 0);
        assert_eq!(follow(&[change("fra1", Drain)]), (vec!["fra1: - drain".into()], 0));
        assert_eq!(follow(&[change("fra1", Drain)]), none());
        let until = |until| FollowedChange { until: Some(until), ..change("fra1", Down) };
        assert_eq!(follow(&[until(50.0)]), (vec!["fra1: drain down".into()], 0));
        assert_eq!(follow(&[until(50.004)]), none());
        assert_eq!(follow(&[change("nowhere", Down), change("fra1", None)]), (vec!["fra1: down -".into()], 1));
        assert_eq!(follow(&[change("fra1", None), change("nowhere", None)]), none());
    }

    #[test]
    fn an_override_counts_in_its_zones_whatever_else_its_target_matches() {
        let (mut book, model) = (Book::default(), model());
        let own = model.zones[0].apex.clone();
        let within = |target: &str, zone: Name| FollowedChange {
            zones: Some([zone].into()),
            ..change(target, OverrideState::Drain)
        };
        let (edits, refused) = book.follow(WHO, &[within("*", own)], &model);
        assert_eq!((shown(&edits), refused.len()), (vec!["*: - drain".to_owned()], 0));
        assert!(!book.resolve(&model).is_empty());
        let (_, refused) = book.follow(WHO, &[within("fra1", Name::parse("nowhere.example.").unwrap())], &model);
        let [(0, OverrideError::OutsideZones(why))] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!(why, "`fra1` matches no endpoint in nowhere.example.");
    }

    #[test]
    fn an_override_of_an_operator_is_replaced_and_not_ended() {
        let (mut book, model) = (Book::default(), model());
        let of_alice = Override {
            target: "fra1".into(),
            state: OverrideState::Up,
            why: "x".into(),
            who: "alice".into(),
            until: None,
            zones: None,
        };
        book.put(of_alice.clone(), &model).unwrap();
        assert!(book.follow(WHO, &[change("fra1", None)], &model).0.is_empty());
        assert_eq!(shown(&book.follow(WHO, &[change("fra1", OverrideState::Down)], &model).0), ["fra1: up down"]);
        book.put(of_alice, &model).unwrap();
        assert!(book.follow(WHO, &[change("fra1", None)], &model).0.is_empty());
    }
}
