//! What the vantages agree on, brought up to date by each report. Pure.
//!
//! The work is that of what changed: a report costs its observations, and a verdict is counted again only after one of
//! its ballots changed, or the right of a vantage to vote. A check of which only a round-trip time changed is counted
//! again at its turn, every half a second. So a fleet of 50 vantages with 10,000 checks costs some milliseconds a
//! second while nothing happens.

mod layout;
mod leaving;
mod pending;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::ballots::{Ballots, Effect, KeyCache, Slot, VantageBallots};
use crate::fleet::composite;
use crate::fleet::quorum::{self, VoteRight, Voter, agree_on, rtt_from};
use crate::fleet::report::Extent;
use crate::fleet::{Received, Report, Vantage};
use crate::model::monitor::composite::Rule;
use crate::model::quorum::{MAX_STALE_AFTER, STALE_AFTER};
use crate::model::{
    CheckId, CheckTable, CheckView, Evidence, EvidenceBook, EvidenceSource, Health, Model, Moment, RegionId,
    VantageState, VantageView, WorldView,
};
use layout::Layout;
use pending::PendingChecks;

/// Most vantages. Judgment: twenty in each of fifty regions; each has a column of ballots.
pub const MAX_VANTAGES: usize = 1000;
/// A vantage that was silent for so long is forgotten, if another one reports. Judgment: no monitor counts an older
/// report; and hosts with new names at each start must not be listed for ever.
const FORGOTTEN_AFTER: Duration = MAX_STALE_AFTER;

/// What the vantages agree on for the checks of one model.
#[derive(Debug)]
pub struct Agreement {
    ballots: Ballots,
    cache: KeyCache,
    layout: Layout,
    /// By vantage, then by the layout's `stale_after` times.
    rights: Vec<Vec<VoteRight>>,
    views: CheckTable,
    pending: PendingChecks,
}

impl Agreement {
    /// For the checks of `model`, without vantages.
    pub fn new(model: &Model) -> Agreement {
        Agreement::after(&Ballots::default(), model)
    }

    /// For the checks of `model`, with what vantages reported before.
    pub fn after(ballots: &Ballots, model: &Model) -> Agreement {
        let ballots = ballots.remap(model);
        let layout = Layout::of(model);
        let rights = ballots.vantages.iter().map(|_| layout.no_rights()).collect();
        let pending = PendingChecks::all(model.checks.len());
        let views = model.checks.iter().map(|_| CheckView::default()).collect();
        Agreement { ballots, cache: KeyCache::default(), layout, rights, views, pending }
    }

    /// Goes over to the checks of another model. Takes some milliseconds with 100,000 ballots.
    pub fn adopt(&mut self, model: &Model) {
        *self = Agreement::after(&self.ballots, model);
    }

    /// What the vantages reported, for other readers.
    pub fn ballots(&self) -> &Ballots {
        &self.ballots
    }

    /// Takes in a report that arrived at `now`. Returns false if it is refused: there are [`MAX_VANTAGES`] others, and
    /// none of them is stale or has left.
    pub fn receive(&mut self, report: &Report, now: Moment) -> bool {
        if report.extent == Extent::End {
            self.leave(report, now);
            return true;
        }
        let Some(at) = self.seat(&report.vantage, now) else { return false };
        let Agreement { ballots: Ballots { keys, vantages }, cache, pending, .. } = self;
        let vantage = &mut vantages[at];
        vantage.left = None;
        match report.extent {
            Extent::Whole | Extent::Part => {
                vantage.received_at = vantage.received_at.max(now);
                vantage.blind = report.blind.clone();
            }
            // No vote that it did not have.
            Extent::Behind | Extent::End => vantage.blind = report.blind.clone().or(vantage.blind.take()),
        }
        let region = vantage.region;
        let mut missing = match report.extent {
            Extent::Whole => vec![true; keys.len()],
            Extent::Part | Extent::Behind | Extent::End => Vec::new(),
        };
        for observation in &report.observations {
            let slot = cache.enter(keys, &observation.key);
            pending.note(slot, vantage.put(slot, observation.into()), region);
            if let Some(is_missing) = missing.get_mut(slot.index()) {
                *is_missing = false;
            }
        }
        let not_reported = missing.iter().enumerate().filter(|(_, is_missing)| **is_missing);
        let removed = report.removed.iter().filter_map(|key| keys.slot(key));
        for slot in not_reported.map(|(index, _)| Slot::of(index)).chain(removed) {
            if vantage.remove(slot) {
                pending.note(slot, Effect::Verdict, region);
            }
        }
        true
    }

    /// The place of a vantage among those that reported; a new one if it is new.
    fn seat(&mut self, vantage: &Vantage, now: Moment) -> Option<usize> {
        let known = self.ballots.vantages.iter().position(|known| known.vantage.name == vantage.name);
        if let Some(at) = known {
            let known = &mut self.ballots.vantages[at];
            if known.vantage.region != vantage.region {
                // It moved: its votes count elsewhere.
                known.vantage = vantage.clone();
                known.region = self.layout.region(&vantage.region);
                known.slots().for_each(|slot| self.pending.note(slot, Effect::Verdict, None));
            }
            return Some(at);
        }
        if self.ballots.vantages.len() >= MAX_VANTAGES {
            let vantages = self.ballots.vantages.iter().enumerate();
            let (oldest, silent) = vantages.min_by_key(|(_, vantage)| (vantage.left.is_none(), vantage.received_at))?;
            if silent.left.is_none() && now.since(silent.received_at) <= STALE_AFTER {
                return None;
            }
            self.forget(oldest);
        }
        let region = self.layout.region(&vantage.region);
        self.ballots.vantages.push(VantageBallots::new(vantage.clone(), region, now));
        self.rights.push(self.layout.no_rights());
        Some(self.ballots.vantages.len() - 1)
    }

    fn forget(&mut self, at: usize) {
        let gone = self.ballots.vantages.remove(at);
        self.rights.remove(at);
        gone.slots().for_each(|slot| self.pending.note(slot, Effect::Verdict, None));
    }

    /// What is agreed on at `now`, without overrides. Round-trip times alone may be those of half a second ago. Costs
    /// what changed since the last call; the view shares the rest with the one before. A vantage whose region is not in
    /// the model is left out.
    pub fn view(&mut self, model: &Model, now: Moment) -> WorldView {
        self.update(model, now);
        WorldView {
            at: now,
            checks: self.views.clone(),
            vantages: vantages(&self.ballots, now),
            evidence: EvidenceBook::Reported(Arc::new(self.ballots.clone())),
            ..WorldView::default()
        }
    }

    fn update(&mut self, model: &Model, now: Moment) {
        self.forget_silent(now);
        self.forget_left(now);
        self.follow_rights(now);
        let changes = self.pending.take(now);
        let mut wholes = BTreeSet::new();
        for (check, region) in changes.rtts {
            let view = &self.views[index(check)];
            let found = rtt_from(self.voters_in(Some(region), check), view);
            let place = view.rtts.binary_search_by_key(&region, |(of, _)| *of);
            if place.ok().map(|at| view.rtts[at].1) == found {
                continue;
            }
            let view = &mut self.views[index(check)];
            match (place, found) {
                (Ok(at), Some(rtt)) => view.rtts[at].1 = rtt,
                (Ok(at), None) => {
                    view.rtts.remove(at);
                }
                (Err(at), Some(rtt)) => view.rtts.insert(at, (region, rtt)),
                (Err(_), None) => {}
            }
            wholes.extend(self.layout.wholes(check));
        }
        for check in changes.verdicts {
            if !self.layout.is_composite(check) {
                let voters: Vec<Voter<'_>> = self.voters_in(None, check).collect();
                let view = agree_on(self.layout.quorum(check), &voters, self.layout.is_regional);
                self.replace(check, view, &mut wholes);
            } else {
                wholes.insert(check);
            }
        }
        // The parts of a composite come before it in the model.
        while let Some(check) = wholes.pop_first() {
            let Some(rule) = self.layout.composite(check) else { continue };
            let parts: Vec<&CheckView> =
                self.layout.parts(check).iter().map(|part| &self.views[index(*part)]).collect();
            let mut view = composite::compose(rule, &parts);
            if view.health == Health::Down && rule.rule == Rule::Not {
                // The part is Up: any vantage that sees it Up is as good as another one.
                let mut evidence = evidence_of(model, &self.ballots, check, now).into_iter();
                view.cause =
                    evidence.find_map(|one| Some((one.why.filter(|_| one.health == Health::Down)?, one.vantage)));
            }
            self.replace(check, view, &mut wholes);
        }
    }

    fn replace(&mut self, check: CheckId, view: CheckView, wholes: &mut BTreeSet<CheckId>) {
        if !is_same(&self.views[index(check)], &view) {
            self.views[index(check)] = view;
            wholes.extend(self.layout.wholes(check));
        }
    }

    /// Finds the vantages that became stale or blind, or report again.
    fn follow_rights(&mut self, now: Moment) {
        for (vantage, rights) in self.ballots.vantages.iter().zip(&mut self.rights) {
            let found: Vec<_> = self.layout.times().map(|time| VoteRight::of(vantage, time, now)).collect();
            let has_changed: Vec<bool> = found.iter().zip(&*rights).map(|(new, old)| new != old).collect();
            *rights = found;
            if !has_changed.contains(&true) {
                continue;
            }
            for slot in vantage.slots() {
                if self.layout.time_of(slot).is_some_and(|time| has_changed[time]) {
                    self.pending.note(slot, Effect::Verdict, None);
                }
            }
        }
    }

    fn forget_silent(&mut self, now: Moment) {
        let is_silent = |vantage: &VantageBallots, time| now.since(vantage.received_at) > time;
        let vantages = &self.ballots.vantages;
        if vantages.iter().all(|vantage| is_silent(vantage, STALE_AFTER)) {
            return;
        }
        let gone: Vec<usize> =
            (0..vantages.len()).rev().filter(|at| is_silent(&vantages[*at], FORGOTTEN_AFTER)).collect();
        gone.into_iter().for_each(|at| self.forget(at));
    }

    /// The ballots on a check that is no composite, of the vantages of one region or of all.
    fn voters_in(&self, region: Option<RegionId>, check: CheckId) -> impl Iterator<Item = Voter<'_>> {
        let slot = Slot::of(index(check));
        let time = self.layout.time_of(slot).unwrap_or_default();
        let vantages = self.ballots.vantages.iter().zip(&self.rights);
        let of_region = vantages.filter(move |(vantage, _)| region.is_none() || vantage.region == region);
        of_region.filter_map(move |(vantage, rights)| voter(vantage, slot, *rights.get(time)?))
    }
}

fn voter(vantage: &VantageBallots, slot: Slot, right: VoteRight) -> Option<Voter<'_>> {
    // Where the verdict rests on its ballot, that counts as before.
    let right = if right == VoteRight::Left && vantage.holds(slot) { VoteRight::Votes } else { right };
    Some(Voter { vantage, region: vantage.region?, ballot: vantage.ballot(slot)?, right })
}

fn index(check: CheckId) -> usize {
    check.0 as usize
}

/// Whether nothing that matters is another. Fractions of a second until the next change affect no TTL.
fn is_same(old: &CheckView, new: &CheckView) -> bool {
    let seconds = |view: &CheckView| view.may_change_in.map(|time| time.as_secs());
    (old.health, old.tried, old.basis, seconds(old)) == (new.health, new.tried, new.basis, seconds(new))
        && old.rtts == new.rtts
        && old.unreachable_from == new.unreachable_from
        && old.cause == new.cause
}

impl EvidenceSource for Ballots {
    /// The ballots have to be in the ids of `model`.
    fn evidence(&self, model: &Model, check: CheckId, now: Moment) -> Vec<Evidence> {
        evidence_of(model, self, check, now)
    }
}

/// What each vantage reports of a check. `ballots` are in the ids of `model`.
fn evidence_of(model: &Model, ballots: &Ballots, check: CheckId, now: Moment) -> Vec<Evidence> {
    let Some(of_model) = model.checks.get(index(check)) else { return Vec::new() };
    if let Some(rule) = of_model.key.monitor.kind.composite() {
        // The parts come before the whole, so this ends.
        let of_parts = of_model.parts.iter().map(|part| evidence_of(model, ballots, *part, now)).collect();
        return composite::evidence(rule, of_parts);
    }
    let rule = &of_model.key.monitor.quorum;
    let right = |vantage| VoteRight::of(vantage, rule.stale_after, now);
    let voter = |vantage| voter(vantage, Slot::of(index(check)), right(vantage));
    let voters: Vec<Voter<'_>> = ballots.vantages.iter().filter_map(voter).collect();
    quorum::evidence(model, rule, &voters, now)
}

fn vantages(ballots: &Ballots, now: Moment) -> Vec<VantageView> {
    let view = |vantage: &VantageBallots| {
        let state = match VoteRight::of(vantage, STALE_AFTER, now) {
            VoteRight::Votes => VantageState::Up,
            VoteRight::Blind => VantageState::Blind,
            VoteRight::Left | VoteRight::Stale => VantageState::Stale,
        };
        let (name, why) = (vantage.vantage.name.clone(), vantage.blind.clone());
        Some(VantageView { name, region: vantage.region?, state, why, reported_at: vantage.received_at })
    };
    // One that has left is not known any more.
    ballots.vantages.iter().filter(|vantage| vantage.left.is_none()).filter_map(view).collect()
}

/// What vantages agree on for the checks of `model` by these reports alone, in the order of their arrival.
pub fn agree(model: &Model, reports: &[Received], now: Moment) -> WorldView {
    let mut agreement = Agreement::new(model);
    for received in reports {
        agreement.receive(&received.report, received.received_at);
    }
    agreement.view(model, now)
}

#[cfg(test)]
mod tests;
