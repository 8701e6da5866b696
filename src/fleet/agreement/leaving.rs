//! Vantages that stop in order: their votes are gone at once, and they are no longer known.
//!
//! A vantage that only restarts says goodbye too, as no process knows what comes after it. So nothing changes by the
//! goodbye alone until the votes would have become stale anyway: a ballot on which the verdict rests counts that
//! long. If the vantage reports again, all its ballots are there again.

use crate::fleet::Report;
use crate::fleet::agreement::Agreement;
use crate::fleet::ballots::{Effect, LeftVantage, Slot, VantageBallots};
use crate::fleet::quorum::{Voter, rests_on};
use crate::model::quorum::STALE_AFTER;
use crate::model::{Health, Moment};

impl Agreement {
    /// Takes in that a vantage has stopped in order.
    pub(super) fn leave(&mut self, report: &Report, now: Moment) {
        let same = self.ballots.vantages.iter().position(|known| known.vantage == report.vantage);
        let Some(at) = same else { return };
        if self.ballots.vantages[at].left.is_none() {
            // Of those that leave together, each must know of the one before.
            self.follow_rights(now);
            let held = self.held(at);
            self.ballots.vantages[at].left = Some(LeftVantage { at: now, held, is_settled: false });
        }
        for key in &report.removed {
            let Some(slot) = self.ballots.keys.slot(key) else { continue };
            if self.ballots.vantages[at].remove(slot) {
                self.pending.note(slot, Effect::Verdict, None);
            }
        }
    }

    /// The slots on which the verdict would be another one without this vantage.
    fn held(&self, at: usize) -> Vec<Slot> {
        let leaving = &self.ballots.vantages[at];
        let is_held = |slot: &Slot| {
            let Some(check) = self.layout.voted(*slot) else { return false };
            let voters: Vec<Voter<'_>> = self.voters_in(None, check).collect();
            rests_on(&leaving.vantage, self.layout.quorum(check), &voters, self.layout.is_regional)
        };
        leaving.slots().filter(is_held).collect()
    }

    /// Forgets the vantages that did not start again. It keeps the ballots without which a check would have no verdict.
    pub(super) fn forget_left(&mut self, now: Moment) {
        for at in (0..self.ballots.vantages.len()).rev() {
            let Some(left) = &self.ballots.vantages[at].left else { continue };
            if left.is_settled || now.since(left.at) <= STALE_AFTER {
                continue;
            }
            let slots: Vec<Slot> = self.ballots.vantages[at].slots().collect();
            let (needed, others): (Vec<Slot>, Vec<Slot>) = slots.into_iter().partition(|slot| self.is_last(at, *slot));
            if needed.is_empty() {
                self.forget(at);
                continue;
            }
            for slot in others {
                self.ballots.vantages[at].remove(slot);
                self.pending.note(slot, Effect::Verdict, None);
            }
            if let Some(left) = &mut self.ballots.vantages[at].left {
                left.is_settled = true;
            }
        }
    }

    /// Whether no other vantage has a verdict on a check of the model.
    fn is_last(&self, at: usize, slot: Slot) -> bool {
        let has_verdict = |(other, vantage): (usize, &VantageBallots)| {
            let has = vantage.ballot(slot).is_some_and(|ballot| ballot.health != Health::Unknown);
            other != at && vantage.region.is_some() && has
        };
        self.layout.voted(slot).is_some() && !self.ballots.vantages.iter().enumerate().any(has_verdict)
    }
}
