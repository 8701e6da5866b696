//! The last observation of every vantage on every check, in little memory: a column of [`Ballot`]s for each vantage.
//! Pure.
//!
//! A clone shares the columns. The first change of a shared column copies it, so a reader that has a clone costs the
//! writer one copy of each column that changes (480 kB with 10,000 checks), however long it reads.

mod ballot;
mod keys;

use std::sync::Arc;

use crate::fleet::Vantage;
use crate::model::{Model, Moment, RegionId};

pub(crate) use ballot::{Ballot, Effect};
pub(crate) use keys::{KeyCache, KeyTable, Slot};

/// What every vantage observed last.
#[derive(Debug, Clone, Default)]
pub struct Ballots {
    pub(crate) keys: KeyTable,
    /// In the order of their first reports.
    pub(crate) vantages: Vec<VantageBallots>,
}

/// The ballots of one vantage.
#[derive(Debug, Clone)]
pub(crate) struct VantageBallots {
    pub(crate) vantage: Vantage,
    /// Its region in the model; `None` where the model does not have it. Then the vantage does not count.
    pub(crate) region: Option<RegionId>,
    pub(crate) blind: Option<Arc<str>>,
    /// When its last report arrived.
    pub(crate) received_at: Moment,
    /// It has stopped in order, and has not reported again.
    pub(crate) left: Option<LeftVantage>,
    column: Arc<Column>,
}

/// What still counts of a vantage that has stopped in order. If it starts again meanwhile, all its ballots count again.
#[derive(Debug, Clone)]
pub(crate) struct LeftVantage {
    pub(crate) at: Moment,
    /// The slots, sorted, of the ballots that count for a while as before: without them the verdict would be another
    /// one.
    pub(crate) held: Vec<Slot>,
    /// Whether only ballots are left without which a check has no verdict.
    pub(crate) is_settled: bool,
}

/// By slot.
type Column = Vec<Option<Ballot>>;

impl VantageBallots {
    /// A vantage without ballots.
    pub(crate) fn new(vantage: Vantage, region: Option<RegionId>, received_at: Moment) -> VantageBallots {
        VantageBallots { vantage, region, blind: None, received_at, left: None, column: Arc::default() }
    }

    /// Whether its ballot counts as before, although it has left.
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        self.left.as_ref().is_some_and(|left| left.held.binary_search(&slot).is_ok())
    }

    /// Its ballot on the check of a slot.
    pub(crate) fn ballot(&self, slot: Slot) -> Option<&Ballot> {
        self.column.get(slot.index())?.as_ref()
    }

    /// Puts a ballot in the place of the one before; returns what this changes.
    pub(crate) fn put(&mut self, slot: Slot, mut ballot: Ballot) -> Effect {
        let column = Arc::make_mut(&mut self.column);
        if column.len() <= slot.index() {
            column.resize(slot.index() + 1, None);
        }
        let place = &mut column[slot.index()];
        let effect = place.as_ref().map_or(Effect::Verdict, |before| ballot.follow(before));
        *place = Some(ballot);
        effect
    }

    /// Removes its ballot on the check of a slot; returns whether there was one.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let has = self.ballot(slot).is_some();
        if has && let Some(place) = Arc::make_mut(&mut self.column).get_mut(slot.index()) {
            *place = None;
        }
        has
    }

    /// The slots of its ballots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        let taken = self.column.iter().enumerate().filter(|(_, ballot)| ballot.is_some());
        taken.map(|(index, _)| Slot::of(index))
    }
}

impl Ballots {
    /// The same ballots in the ids of `model`: the check with id n has slot n. Checks that only vantages know have the
    /// slots after these. Takes some milliseconds with 100,000 ballots.
    pub(crate) fn remap(&self, model: &Model) -> Ballots {
        let mut keys = KeyTable::of(model);
        let mut moves = vec![None; self.keys.len()];
        for vantage in &self.vantages {
            for slot in vantage.slots() {
                if let (None, Some(key)) = (moves[slot.index()], self.keys.key(slot)) {
                    moves[slot.index()] = Some(keys.enter(key));
                }
            }
        }
        let remap = |of: &VantageBallots| {
            let mut column: Column = vec![None; keys.len()];
            for (ballot, to) in of.column.iter().zip(&moves) {
                if let Some(to) = to {
                    column[to.index()] = ballot.clone();
                }
            }
            let region = model.region_named(&of.vantage.region);
            let left = of.left.as_ref().map(|left| {
                let mut held: Vec<Slot> = left.held.iter().filter_map(|slot| moves[slot.index()]).collect();
                held.sort_unstable();
                LeftVantage { held, ..left.clone() }
            });
            VantageBallots { region, left, column: Arc::new(column), ..of.clone() }
        };
        let vantages = self.vantages.iter().map(remap).collect();
        Ballots { keys, vantages }
    }
}
