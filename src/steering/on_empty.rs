//! What is given when nothing is left that is up, drained or not. The entries of `on_empty` are taken in their order: each
//! while something of it is up, the last one in any case. It relaxes health, and `drain` for want of anything better; never
//! `disabled`, never `force-down`, never the fence. `all` is every endpoint of the name's pool, whichever branch it is in;
//! `last_good` is only of what was a candidate of the client; and a client without any candidate gets none of it.

use std::collections::HashSet;

use crate::model::{EndpointId, MemberRef, OnEmpty};
use crate::steering::operator::{is_barred, is_drained, objection};
use crate::steering::reach::{Reach, reach};
use crate::steering::sieve::{Admit, Sieved, sieve};
use crate::steering::spread::{Branches, spread};
use crate::steering::{
    Decision, Distribution, Given, Prospects, Reason, Scene, Share, Sides, Stage, Tier, distribution, interest, pool,
};

/// Fills in what the policy's `on_empty` gives, with its stage. `sieved` is of the name's own pool, which gives nothing.
pub(super) fn fill(
    scene: &Scene,
    sieved: &Sieved,
    last_good: Option<&Distribution>,
    decision: &mut Decision,
    prospects: &mut Prospects,
) {
    let reach = reach(scene, scene.policy.root, &sieved.candidates);
    decision.looks_at_client |= !reach.is_for_everyone;
    let mut empty = Empty { scene: *scene, sieved, reach, last_good, passed: Vec::new() };
    if empty.reach.endpoints.is_empty() {
        let note = "nothing with a record of this type is for this client: the answer is empty".to_owned();
        decision.stages.last_mut().into_iter().for_each(|stage| stage.note = Some(note.clone()));
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
        empty.passed.pop();
        empty.take(*last, decision, prospects);
    }
}

/// A policy whose pools give nothing.
struct Empty<'a> {
    scene: Scene<'a>,
    sieved: &'a Sieved,
    /// What of the name's own pool is for these clients.
    reach: Reach,
    last_good: Option<&'a Distribution>,
    /// Entries of which nothing is up, in words.
    passed: Vec<String>,
}

impl Empty<'_> {
    /// Gives an entry if something of it is up.
    fn take_up(&mut self, entry: OnEmpty, decision: &mut Decision, prospects: &mut Prospects) -> bool {
        let is_up = |endpoint: EndpointId| self.sieved.eligible.contains(&endpoint);
        let something = match entry {
            OnEmpty::Other(other) => return self.fall_back(other, Admit::Up, decision, prospects),
            OnEmpty::Static => {
                decision.looks_at_client |= self.scene.policy.fence.is_some();
                self.scene.held_by().is_none()
            }
            OnEmpty::Nodata => true,
            OnEmpty::All => self.whole().into_iter().any(is_up),
            OnEmpty::LastGood => {
                // What was last given may differ from class to class, whoever it was that looked.
                decision.looks_at_client |= !interest::of(self.scene.model, self.scene.policy).is_none();
                self.last().iter().flat_map(Tier::endpoints).any(is_up)
            }
        };
        if something {
            self.take(entry, decision, prospects);
        } else {
            self.passed.push(words(&self.scene, entry));
        }
        something
    }

    /// Gives an entry, up or not.
    fn take(&self, entry: OnEmpty, decision: &mut Decision, prospects: &mut Prospects) {
        match entry {
            OnEmpty::Static => self.give_static(decision),
            OnEmpty::Nodata => decision.stages.push(self.note(0, "nodata: the answer is empty")),
            OnEmpty::All => {
                let whole = self.whole();
                let tiers = spread(&self.scene, &whole, Branches::All);
                self.give(tiers, &whole, "all: every endpoint of the pool", decision);
            }
            OnEmpty::LastGood => {
                decision.stale = true;
                decision.looks_at_client |= !interest::of(self.scene.model, self.scene.policy).is_none();
                let last = self.last();
                let (tiers, why) = if last.is_empty() {
                    (self.never_good(), "last_good: nothing was ever up, so every endpoint of the pool")
                } else {
                    (last, "last_good: what was given while something was last up")
                };
                self.give(tiers, &self.own(), why, decision);
                decision.stale = decision.given != Given::Nodata;
            }
            OnEmpty::Other(other) => {
                let found = [Admit::InService, Admit::Any]
                    .into_iter()
                    .any(|admit| self.try_other(other, admit, decision, prospects));
                if !found {
                    let name = self.scene.name(other);
                    let why = format!("\"{name}\", where nothing may be given: nodata");
                    let out = sieve(&self.scene, other, Admit::Any);
                    let dropped: Vec<Reason> = out.stages.into_iter().flat_map(|stage| stage.dropped).collect();
                    let note = self.note(dropped.len(), &why);
                    decision.stages.push(Stage { left: 0, dropped, ..note });
                }
            }
        }
    }

    fn give_static(&self, decision: &mut Decision) {
        // Clients that the fence holds are given nothing, others the zone file's records.
        decision.looks_at_client |= self.scene.policy.fence.is_some();
        if let Some(fence) = self.scene.held_by() {
            let fence = &fence.name;
            let why =
                format!("static, but nobody can tell whether the zone file's records are inside \"{fence}\": nodata");
            decision.stages.push(self.note(0, &why));
        } else if self.scene.sides == Sides::Addresses {
            decision.stages.push(self.note(0, "static, but nothing stands beside the CNAME of the zone file: nodata"));
        } else {
            decision.given = Given::Static;
            decision.stages.push(self.note(0, "static: the zone file's records of this name"));
        }
    }

    fn note(&self, entered: usize, why: &str) -> Stage {
        let what =
            if self.sieved.eligible.is_empty() { "nothing is eligible" } else { "no pool gives what is eligible" };
        let passed: String =
            self.passed.iter().map(|entry| format!("{entry}, of which nothing is up; then ")).collect();
        Stage { note: Some(format!("{what}; on_empty = {passed}{why}")), ..Stage::new("on_empty", entered, Vec::new()) }
    }

    /// Gives `tiers`, drawn from `allowed`.
    fn give(&self, tiers: Vec<Tier>, allowed: &[EndpointId], why: &str, decision: &mut Decision) {
        let given: HashSet<EndpointId> = tiers.iter().flat_map(Tier::endpoints).collect();
        let own = self.scene.endpoints_below(self.scene.policy.root);
        let inside = own.into_iter().filter(|endpoint| self.sieved.inside.contains(endpoint));
        let (kept, dropped): (Vec<_>, Vec<_>) = inside.partition(|endpoint| given.contains(endpoint));
        let entered = kept.len() + dropped.len();
        let kept_why = |endpoint: &EndpointId| match self.sieved.eligible.contains(endpoint) {
            true => "given though its pool counts as out",
            false => "given though it is not eligible",
        };
        decision.stages.push(Stage {
            left: kept.len(),
            dropped: dropped
                .into_iter()
                .map(|endpoint| Reason::new(endpoint, self.unused(endpoint, allowed)))
                .collect(),
            kept: kept.into_iter().map(|endpoint| Reason::new(endpoint, kept_why(&endpoint))).collect(),
            ..self.note(entered, why)
        });
        if !tiers.is_empty() {
            decision.given = Given::Endpoints(distribution(self.scene.policy, tiers));
        }
    }

    /// The candidates of the name's own pool, of every branch, that nothing forbids to give to these clients.
    fn whole(&self) -> Vec<EndpointId> {
        self.sieved.inside.iter().copied().filter(|endpoint| !is_barred(&self.scene, *endpoint)).collect()
    }

    /// Those of them that are in a branch of these clients.
    fn own(&self) -> Vec<EndpointId> {
        self.whole().into_iter().filter(|endpoint| self.reach.endpoints.contains(endpoint)).collect()
    }

    fn unused(&self, endpoint: EndpointId, allowed: &[EndpointId]) -> String {
        if is_barred(&self.scene, endpoint) {
            objection(&self.scene, endpoint).unwrap_or_default()
        } else if !allowed.contains(&endpoint) {
            "not for this client".to_owned()
        } else if is_drained(&self.scene, endpoint) {
            "drained: something else is given".to_owned()
        } else {
            "not what is given now".to_owned()
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

    /// Everything, what is drained only where there is nothing else.
    fn never_good(&self) -> Vec<Tier> {
        let own = self.own();
        let in_service: Vec<EndpointId> =
            own.iter().copied().filter(|endpoint| !is_drained(&self.scene, *endpoint)).collect();
        spread(&self.scene, if in_service.is_empty() { &own } else { &in_service }, Branches::OfClient)
    }

    /// As [`Empty::try_other`]; remembers an entry of which nothing is up.
    fn fall_back(
        &mut self,
        other: MemberRef,
        admit: Admit,
        decision: &mut Decision,
        prospects: &mut Prospects,
    ) -> bool {
        let found = self.try_other(other, admit, decision, prospects);
        if !found && admit == Admit::Up {
            self.passed.push(words(&self.scene, OnEmpty::Other(other)));
        }
        found
    }

    /// Gives what `other` gives in its own order of what `admit` lets through, if it gives anything.
    fn try_other(&self, other: MemberRef, admit: Admit, decision: &mut Decision, prospects: &mut Prospects) -> bool {
        let scene = &self.scene;
        let sieved = sieve(scene, other, admit);
        decision.looks_at_client |= sieved.looks_at_client;
        prospects.considered.extend(&sieved.considered);
        prospects.inside.extend(&sieved.inside);
        let mut choice = pool::choose(scene, other, &sieved);
        let mut stages = sieved.stages;
        stages.extend(choice.stages(scene, &sieved.eligible));
        let tiers = choice.hand_over(decision, prospects);
        if tiers.is_empty() {
            return false;
        }
        let (entered, left) =
            (stages.first().map_or(0, |stage| stage.entered), stages.last().map_or(0, |stage| stage.left));
        let how = match admit {
            Admit::Up => "",
            Admit::UpOrDrained => ", drained or not",
            Admit::InService | Admit::Any => ", up or not",
        };
        let why = format!("\"{}\"{how}", scene.name(other));
        let kept = stages.iter_mut().flat_map(|stage| std::mem::take(&mut stage.kept)).collect();
        let dropped = stages.into_iter().flat_map(|stage| stage.dropped).collect();
        decision.stages.push(Stage { left, kept, dropped, ..self.note(entered, &why) });
        decision.given = Given::Endpoints(distribution(scene.policy, tiers));
        true
    }
}

/// An entry as the policy file has it.
fn words(scene: &Scene, entry: OnEmpty) -> String {
    match entry {
        OnEmpty::LastGood => "last_good".to_owned(),
        OnEmpty::All => "all".to_owned(),
        OnEmpty::Static => "static".to_owned(),
        OnEmpty::Nodata => "nodata".to_owned(),
        OnEmpty::Other(other) => format!("\"{}\"", scene.name(other)),
    }
}
