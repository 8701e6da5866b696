//! How the book of a server follows the changes of its fleet, and how the changes of the server get into the fleet.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock;
use crate::control::command::SharedOutcome;
use crate::control::overrides::Book;
use crate::daemon::overrides::sharing::{FleetBook, Sharing, canonical, change_of};
use crate::daemon::overrides::{Draft, DraftCause, Drafter, OverrideEdit, Overrides};
use crate::daemon::state::StateDir;
use crate::fleet::overrides::{OverrideEffect, OverrideMerge, SavedMerge, TimedOverride, millis_of};
use crate::model::{Model, Moment, Override};
use crate::source::Problem;

/// The id of the change that each override of a book is from, by the key of its target.
pub(super) type BookIds = Arc<HashMap<String, u64>>;

/// The changes of the file, which were written `since` milliseconds before `now`.
pub(super) fn restored(saved: SavedMerge, since: i64, now: Moment) -> Result<OverrideMerge, String> {
    let mut merge = OverrideMerge::new(canonical);
    merge.restore(saved, since, millis_of(now))?;
    Ok(merge)
}

impl Overrides {
    /// Begins to share the overrides with the fleet of this `node`. Those that the file has of the fleet are in force
    /// until the fleet is reached; an override that was made without a fleet is offered to it, and counts as older than
    /// anything that the fleet has. Returns a warning for each override that matches nothing in `model`.
    pub(crate) fn share(&mut self, node: &str, model: &Model, state: &StateDir) -> (Arc<Sharing>, Vec<Problem>) {
        let now = clock::now();
        let merge = self.restored.take().unwrap_or_else(|| {
            let mut merge = OverrideMerge::new(canonical);
            for entry in self.book.load().entries() {
                let left = entry.until.map(|until| ((until - self.clock.unix(now)) * 1e3).round() as i64);
                let end = left.map(|left| millis_of(now).saturating_add(left));
                let change = change_of(entry, OverrideEffect::Set(entry.state), &entry.who, node);
                merge.restore_undated(change, end, millis_of(now));
            }
            merge
        });
        let sharing = Arc::new(Sharing::new(node, merge));
        self.sharing = Some(sharing.clone());
        (sharing, self.follow_fleet(model, state))
    }

    /// Takes over what the fleet has by now, before anything is served.
    pub(crate) fn follow_fleet(&mut self, model: &Model, state: &StateDir) -> Vec<Problem> {
        let Some(draft) = self.drafter().fleet(model) else { return Vec::new() };
        drop(self.apply(draft));
        self.resolve(model, state)
    }

    /// How many overrides a draft of the fleet's ones may have in addition to those of the book.
    pub(crate) fn shared_by_others(&self) -> usize {
        self.sharing.as_ref().map_or(0, |sharing| sharing.count().saturating_sub(self.ids.len()))
    }

    /// Passes the edits of a command to the fleet.
    pub(super) fn share_edits(&mut self, edits: &[OverrideEdit], cause: DraftCause) -> Option<SharedOutcome> {
        let sharing = self.sharing.as_ref()?;
        match cause {
            DraftCause::Operator => {
                let (ids, outcome) = sharing.change(edits, &self.clock);
                Arc::make_mut(&mut self.ids).extend(ids);
                Some(outcome)
            }
            DraftCause::Expiry => None,
            DraftCause::Fleet { ids, highest, is_reordered: _ } => {
                self.ids = ids;
                sharing.serves(highest);
                None
            }
        }
    }
}

impl Drafter {
    /// The overrides as the fleet has them; `None` without a fleet. There is no edit if they are in force.
    pub(crate) fn fleet(&self, model: &Model) -> Option<Draft> {
        let sharing = self.sharing.as_ref()?;
        let now = clock::now();
        let FleetBook { overrides, highest } = sharing.in_force(now);
        let entries = self.book.entries();
        let mut present: HashMap<String, &Arc<Override>> = sharing.keys_of(entries).into_iter().zip(entries).collect();
        let (mut next, mut edits, mut ids) = (Vec::new(), Vec::new(), HashMap::new());
        for (key, timed) in overrides {
            let before = present.remove(&key);
            let is_same = self.ids.get(&key) == Some(&timed.change.id);
            match before.filter(|_| is_same) {
                Some(entry) => next.push(self.with_end_of(entry, &timed, now)),
                None => {
                    let Some(made) = self.override_of(&timed, now) else { continue };
                    let who = Some(sharing.by(&timed.change));
                    next.push(made.clone());
                    let (before, is_relayed) = (before.cloned(), sharing.is_of_other(&key));
                    edits.push(OverrideEdit { before, who, now: Some(Arc::new(made)), is_relayed });
                }
            }
            ids.insert(key, timed.change.id);
        }
        let mut ended: Vec<_> = present.into_iter().collect();
        ended.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (key, entry) in ended {
            let (before, who) = (Some(entry.clone()), sharing.cleared_by(&key));
            edits.push(OverrideEdit { before, now: None, who, is_relayed: sharing.is_of_other(&key) });
        }
        // There are never more than a book may have.
        let refused = |why: &String| tracing::error!(why, "the overrides of the fleet can't be served");
        let book = Book::of(next).inspect_err(refused).ok()?;
        let is_reordered = book != *self.book;
        let cause = DraftCause::Fleet { ids: Arc::new(ids), highest, is_reordered };
        let at_unix = self.clock.unix(now);
        Some(Draft { at_unix, resolved: Arc::new(book.resolve(model)), book, edits, cause })
    }

    /// The same override. Its end stays as it was written, unless its server has corrected the age of the change.
    fn with_end_of(&self, entry: &Override, timed: &TimedOverride, now: Moment) -> Override {
        /// Ends of one change differ by less on several servers, in seconds.
        const CORRECTED: f64 = 1.0;
        let until = self.override_of(timed, now).and_then(|of| of.until);
        let is_corrected = entry.until.zip(until).is_some_and(|(before, now)| (before - now).abs() > CORRECTED);
        Override { until: if is_corrected { until } else { entry.until }, ..entry.clone() }
    }

    fn override_of(&self, timed: &TimedOverride, now: Moment) -> Option<Override> {
        let TimedOverride { change, end, .. } = timed;
        let OverrideEffect::Set(state) = change.effect else { return None };
        let left = end.map(|end| (end - millis_of(now)) as f64 / 1e3);
        Some(Override {
            target: change.target.clone(),
            state,
            why: change.why.clone(),
            who: change.who.clone(),
            until: left.map(|left| ((self.clock.unix(now) + left) * 1e3).round() / 1e3),
            zones: change.zones.as_deref().map(Into::into),
        })
    }
}
