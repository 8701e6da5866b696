//! What is given when the name's pool has nothing that is up, drained or not. It is the first entry of `on_empty` of
//! which something is up and in service; else the first other pool of which something drained is up; else the last
//! entry, although it is down. Nothing that is disabled, forced down or outside the fence is ever given. `all` is every
//! endpoint of the name's pool, in every branch of `geo` pools; `last_good` has only endpoints that the client can get.
//! A client that can get none has an empty answer.

use std::collections::HashSet;

use crate::model::{EndpointId, MemberRef, OnEmpty};
use crate::steering::operator::{is_barred, is_drained, out_of_service};
use crate::steering::reach::{Reach, reach};
use crate::steering::sieve::{Admit, Sieved, sieve};
use crate::steering::spread::{Branches, spread};
use crate::steering::why::{Despite, Fallback};
use crate::steering::{
    AnswerSource, Decision, Distribution, Note, Prospects, Reason, Scene, Share, Sides, Stage, StageName, Tier, Why,
    choice, distribution, interest,
};

/// Fills in what the policy's `on_empty` gives, with its stage. `sieved` is of the name's own pool, which gives
/// nothing.
pub(super) fn fill(
    scene: &Scene,
    sieved: &Sieved,
    last_good: Option<&Distribution>,
    decision: &mut Decision,
    prospects: &mut Prospects,
) {
    let reach = reach(scene, scene.policy.root, &sieved.candidates);
    scene.client.count(!reach.is_for_everyone);
    let mut empty = Empty { scene: *scene, sieved, reach, last_good, skipped: 0 };
    if empty.reach.endpoints.is_empty() {
        decision.stages.last_mut().into_iter().for_each(|stage| stage.note = Some(Note::NothingForClient));
        return;
    }
    let entries = &scene.policy.on_empty;
    for entry in entries {
        if empty.take_up(*entry, decision, prospects) {
            return;
        }
    }
    for other in entries.iter().filter_map(OnEmpty::other) {
        if empty.fall_back(other, Admit::UpOrDrained, decision, prospects) {
            return;
        }
    }
    if let Some(last) = entries.last() {
        empty.skipped = entries.len() - 1;
        empty.take(*last, decision, prospects);
    }
}

/// A policy whose pools give nothing.
struct Empty<'a> {
    scene: Scene<'a>,
    sieved: &'a Sieved,
    /// The part of the name's own pool that is for these clients.
    reach: Reach,
    last_good: Option<&'a Distribution>,
    /// How many entries before the one that is given have nothing that is up.
    skipped: usize,
}

impl Empty<'_> {
    /// Gives an entry if something of it is up.
    fn take_up(&mut self, entry: OnEmpty, decision: &mut Decision, prospects: &mut Prospects) -> bool {
        let is_up = |endpoint: EndpointId| self.sieved.eligible.contains(&endpoint);
        let something = match entry {
            OnEmpty::Other(other) => return self.fall_back(other, Admit::Up, decision, prospects),
            OnEmpty::Static => self.scene.held_by().is_none(),
            OnEmpty::Nodata => true,
            OnEmpty::All => self.whole().into_iter().any(is_up),
            OnEmpty::LastGood => {
                // If the client ever matters to the policy, each class has its own last good answer.
                self.scene.client.count(!interest::of(self.scene.model, self.scene.policy).is_none());
                self.last().iter().flat_map(Tier::endpoints).any(is_up)
            }
        };
        if something {
            self.take(entry, decision, prospects);
        } else {
            self.skipped += 1;
        }
        something
    }

    /// Gives an entry, up or not.
    fn take(&self, entry: OnEmpty, decision: &mut Decision, prospects: &mut Prospects) {
        match entry {
            OnEmpty::Static => self.give_static(decision),
            OnEmpty::Nodata => decision.stages.push(self.stage(0, Fallback::Nodata)),
            OnEmpty::All => {
                let whole = self.whole();
                let tiers = spread(&self.scene, &whole, Branches::All);
                self.give(tiers, &whole, Fallback::All, decision);
            }
            OnEmpty::LastGood => {
                decision.stale = true;
                self.scene.client.count(!interest::of(self.scene.model, self.scene.policy).is_none());
                let last = self.last();
                let (tiers, gives) = match last.is_empty() {
                    true => (self.never_good(), Fallback::NeverGood),
                    false => (last, Fallback::LastGood),
                };
                self.give(tiers, &self.own(), gives, decision);
                decision.stale = decision.source != AnswerSource::Nodata;
            }
            OnEmpty::Other(other) => {
                let found = [Admit::InService, Admit::Any]
                    .into_iter()
                    .any(|admit| self.try_other(other, admit, decision, prospects));
                if !found {
                    let out = sieve(&self.scene, other, Admit::Any);
                    let dropped: Vec<Reason> = out.stages.into_iter().flat_map(|stage| stage.dropped).collect();
                    let stage = self.stage(dropped.len(), Fallback::OtherWithout(other));
                    decision.stages.push(Stage { left: 0, dropped, ..stage });
                }
            }
        }
    }

    fn give_static(&self, decision: &mut Decision) {
        // Clients that the fence holds are given nothing, others the zone file's records.
        let gives = if self.scene.held_by().is_some() {
            Fallback::StaticOutsideFence
        } else if self.scene.sides == Sides::Addresses {
            Fallback::StaticIsAlias
        } else {
            decision.source = AnswerSource::Static;
            Fallback::Static
        };
        decision.stages.push(self.stage(0, gives));
    }

    fn stage(&self, entered: usize, gives: Fallback) -> Stage {
        let some_eligible = !self.sieved.eligible.is_empty();
        let note = Note::OnEmpty { some_eligible, skipped: self.skipped, gives };
        Stage { note: Some(note), ..Stage::new(StageName::OnEmpty, entered, Vec::new()) }
    }

    /// Gives `tiers`, drawn from `allowed`.
    fn give(&self, tiers: Vec<Tier>, allowed: &[EndpointId], gives: Fallback, decision: &mut Decision) {
        let given: HashSet<EndpointId> = tiers.iter().flat_map(Tier::endpoints).collect();
        let own = self.scene.model.endpoints_below(self.scene.policy.root);
        let inside = own.into_iter().filter(|endpoint| self.sieved.inside.contains(endpoint));
        let (passed, dropped): (Vec<_>, Vec<_>) = inside.partition(|endpoint| given.contains(endpoint));
        let entered = passed.len() + dropped.len();
        let why_given = |endpoint: EndpointId| match self.sieved.eligible.contains(&endpoint) {
            true => Why::GivenThoughForOthers,
            false => Why::GivenThoughIneligible,
        };
        let why_not = |endpoint| Reason::new(endpoint, self.unused(endpoint, allowed));
        let gives = if tiers.is_empty() { Fallback::NothingLeft } else { gives };
        decision.stages.push(Stage {
            left: passed.len(),
            dropped: dropped.into_iter().map(why_not).collect(),
            passed: passed.into_iter().map(|endpoint| Reason::new(endpoint, why_given(endpoint))).collect(),
            ..self.stage(entered, gives)
        });
        if !tiers.is_empty() {
            decision.source = AnswerSource::Endpoints(distribution(self.scene.policy, tiers));
        }
    }

    /// The candidates of the name's own pool, of every branch, that these clients may have.
    fn whole(&self) -> Vec<EndpointId> {
        self.sieved.inside.iter().copied().filter(|endpoint| !is_barred(&self.scene, *endpoint)).collect()
    }

    /// Those of them that are in a branch of these clients.
    fn own(&self) -> Vec<EndpointId> {
        self.whole().into_iter().filter(|endpoint| self.reach.endpoints.contains(endpoint)).collect()
    }

    fn unused(&self, endpoint: EndpointId, allowed: &[EndpointId]) -> Why {
        match out_of_service(&self.scene, endpoint) {
            Some(why) if is_barred(&self.scene, endpoint) => Why::OutOfService(why),
            Some(_) | None if !allowed.contains(&endpoint) => Why::NotForClient,
            Some(_) => Why::DrainedForOthers,
            None => Why::NotGivenNow,
        }
    }

    /// What was last given, without what has since gone from the pool or out of service.
    fn last(&self) -> Vec<Tier> {
        let Some(last) = self.last_good else { return Vec::new() };
        let own = self.own();
        let stays = |endpoint: &EndpointId| own.contains(endpoint) && !is_drained(&self.scene, *endpoint);
        let share = |share: &Share| {
            let endpoints: Vec<EndpointId> = share.endpoints.iter().copied().filter(stays).collect();
            (!endpoints.is_empty()).then(|| Share { endpoints, ..share.clone() })
        };
        let tiers = last.tiers.iter().map(|tier| Tier { shares: tier.shares.iter().filter_map(share).collect() });
        tiers.filter(|tier| !tier.shares.is_empty()).collect()
    }

    /// All that the client can get; drained endpoints only if there are no others.
    fn never_good(&self) -> Vec<Tier> {
        let own = self.own();
        let in_service: Vec<EndpointId> =
            own.iter().copied().filter(|endpoint| !is_drained(&self.scene, *endpoint)).collect();
        spread(&self.scene, if in_service.is_empty() { &own } else { &in_service }, Branches::OfClient)
    }

    /// As [`Empty::try_other`]; counts an entry of which nothing is up.
    fn fall_back(
        &mut self,
        other: MemberRef,
        admit: Admit,
        decision: &mut Decision,
        prospects: &mut Prospects,
    ) -> bool {
        let found = self.try_other(other, admit, decision, prospects);
        if !found && admit == Admit::Up {
            self.skipped += 1;
        }
        found
    }

    /// Gives what `other` gives of the endpoints that `admit` lets through, if it gives anything.
    fn try_other(&self, other: MemberRef, admit: Admit, decision: &mut Decision, prospects: &mut Prospects) -> bool {
        let scene = &self.scene;
        let sieved = sieve(scene, other, admit);
        if admit == Admit::Up
            && scene.has_one_out_of_reach(&sieved)
            && self.try_other(other, Admit::WithinReach, decision, prospects)
        {
            return true;
        }
        prospects.considered.extend(&sieved.considered);
        prospects.inside.extend(&sieved.inside);
        let mut choice = choice::choose(scene, other, &sieved);
        let mut stages = sieved.stages;
        stages.extend(choice.stages(scene, &sieved.eligible));
        let tiers = match admit {
            Admit::WithinReach if choice.tiers.is_empty() => return false,
            Admit::WithinReach => {
                // As for the name's own pool.
                choice::choose(scene, other, &sieve(scene, other, Admit::Up)).hand_over(decision, prospects);
                choice.for_now(prospects)
            }
            Admit::Up | Admit::UpOrDrained | Admit::InService | Admit::Any => choice.hand_over(decision, prospects),
        };
        if tiers.is_empty() {
            return false;
        }
        let (entered, left) =
            (stages.first().map_or(0, |stage| stage.entered), stages.last().map_or(0, |stage| stage.left));
        let despite = match admit {
            Admit::WithinReach | Admit::Up => Despite::Nothing,
            Admit::UpOrDrained => Despite::Drain,
            Admit::InService | Admit::Any => Despite::Health,
        };
        let passed = stages.iter_mut().flat_map(|stage| std::mem::take(&mut stage.passed)).collect();
        let dropped = stages.into_iter().flat_map(|stage| stage.dropped).collect();
        decision.stages.push(Stage { left, passed, dropped, ..self.stage(entered, Fallback::Other(other, despite)) });
        decision.source = AnswerSource::Endpoints(distribution(scene.policy, tiers));
        true
    }
}
