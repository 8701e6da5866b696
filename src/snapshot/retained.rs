//! What a restart restores of a snapshot, by name: choices that resist change, and recoveries whose ramp is under way.
//! Without the first a restart would do the failback that an operator has to do; without the second it would give an
//! endpoint that is still cold its full weight.

use serde::{Deserialize, Serialize};

use crate::model::{Facet, MemberRef, Model, Moment, PolicyId, PoolId, SteeredName, Zone};
use crate::snapshot::remap::{ANY, PolicySet};
use crate::snapshot::{NamedAnswer, NamedRecovery, Snapshot};
use crate::steering::{Challenger, Decision, Standing, Waiting};

/// What outlives a restart of the server. It is made from a [`Snapshot`] or read from the state directory, and
/// [`Publisher::begin`](super::Publisher::begin) restores it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SteeringState {
    /// Choices that resist change, in no order of meaning.
    pub standings: Vec<NamedStanding>,
    /// The last good answers, for names of which nothing is up.
    pub answers: Vec<NamedAnswer>,
    /// Endpoints that recovered and are not at their full weight yet.
    pub recoveries: Vec<NamedRecovery>,
}

/// One choice that resists change, of one name, facet and class of clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedStanding {
    /// The zone, with its final dot.
    pub zone: String,
    /// The name as the policy file writes it.
    pub name: String,
    /// Which question it answers: `A`, `AAAA`, `CNAME` and so on.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Which clients it is for: `any`, or the words of their class (`region=eu-west -unknown`).
    pub class: String,
    /// The pool whose choice it is.
    pub pool: String,
    /// The members that were chosen, at least one.
    pub members: Vec<String>,
    /// The members that will be chosen once they have been up for the time of `failback`, and since when they are up.
    #[serde(skip)]
    pub waiting: Vec<(String, Moment)>,
}

/// A choice with its challenger. The challenger of a band outlives a reload only: after a restart its time begins
/// again.
pub(crate) struct NamedChoice {
    pub(crate) standing: NamedStanding,
    challenger: Option<NamedChallenger>,
}

struct NamedChallenger {
    members: Vec<String>,
    since: Moment,
    due: Option<Moment>,
}

impl From<NamedStanding> for NamedChoice {
    fn from(standing: NamedStanding) -> NamedChoice {
        NamedChoice { standing, challenger: None }
    }
}

impl NamedChoice {
    /// The choice in the ids of a model, without the members that are no longer in the pool; `None` where all are gone.
    pub(crate) fn in_ids(&self, pool: PoolId, model: &Model) -> Option<Standing> {
        let listed = |names: &[String]| -> Vec<MemberRef> {
            let members = model.pool(pool).members.iter().map(|member| member.to);
            members.filter(|to| names.iter().any(|name| name == model.member_name(*to))).collect()
        };
        let incumbents = Some(listed(&self.standing.members)).filter(|members| !members.is_empty())?;
        // A challenger that lost a member is another one, whose time begins again.
        let challenger = self.challenger.as_ref().and_then(|NamedChallenger { members, since, due }| {
            let remapped = listed(members);
            (remapped.len() == members.len()).then_some(Challenger { members: remapped, since: *since, due: *due })
        });
        let member = |name: &str| model.pool(pool).members.iter().find(|member| name == model.member_name(member.to));
        let waiting = self.standing.waiting.iter();
        let waiting = waiting.filter_map(|(name, since)| Some(Waiting { member: member(name)?.to, since: *since }));
        Some(Standing { pool, incumbents, challenger, waiting: waiting.collect() })
    }
}

impl Snapshot {
    /// Every choice that resists change, one for each name that it is made for.
    pub fn standings_by_name(&self) -> Vec<NamedStanding> {
        self.choices_by_name(&PolicySet::All).into_iter().map(|choice| choice.standing).collect()
    }

    /// Those of the policies in `wanted`, with the challengers. Cheap where there is no such choice.
    pub(crate) fn choices_by_name(&self, wanted: &PolicySet) -> Vec<NamedChoice> {
        let mut choices = Vec::new();
        if self.resisting.is_empty() {
            return choices;
        }
        let names = |members: &[MemberRef]| -> Vec<String> {
            members.iter().map(|member| self.model.member_name(*member).to_owned()).collect()
        };
        let challenger = |challenger: &Challenger| {
            let Challenger { members, since, due } = challenger;
            NamedChallenger { members: names(members), since: *since, due: *due }
        };
        let waiting = |standing: &Standing| -> Vec<(String, Moment)> {
            let next = standing.challenger.iter().filter(|challenger| challenger.due.is_some());
            let next = next.flat_map(|next| next.members.iter().map(|member| (*member, next.since)));
            let all = next.chain(standing.waiting.iter().map(|waiting| (waiting.member, waiting.since)));
            match self.model.pool(standing.pool).steering.has_failback() {
                true => all.map(|(member, since)| (self.model.member_name(member).to_owned(), since)).collect(),
                false => Vec::new(),
            }
        };
        let is_wanted = |policy: PolicyId| wanted.has(policy) && self.resisting.has(policy);
        self.each_named_cell(is_wanted, |zone, name, facet, class, decision| {
            choices.extend(decision.standings.iter().map(|standing| NamedChoice {
                standing: NamedStanding {
                    zone: zone.apex.to_string(),
                    name: name.label.clone(),
                    rtype: facet.as_str().to_owned(),
                    class: class.to_owned(),
                    pool: self.model.pool(standing.pool).name.clone(),
                    members: names(&standing.incumbents),
                    waiting: waiting(standing),
                },
                challenger: standing.challenger.as_ref().map(challenger),
            }));
        });
        choices
    }

    /// Calls `each` for every cell of the names whose policy is wanted, in the order of the files: with the zone, the
    /// name, the facet, the words of the class, and the decision.
    pub(crate) fn each_named_cell(
        &self,
        is_wanted: impl Fn(PolicyId) -> bool,
        mut each: impl FnMut(&Zone, &SteeredName, Facet, &str, &Decision),
    ) {
        for zone in &self.model.zones {
            for name in zone.steered.iter().filter(|name| is_wanted(name.policy)) {
                let labels = &self.classes.locals(name.policy).labels;
                for facet in self.policies.get(name.policy).into_iter().flat_map(|cells| &**cells) {
                    for (cell, label) in facet.cells.iter().zip(labels) {
                        let class = if facet.cells.len() == 1 { ANY } else { label };
                        each(zone, name, facet.facet, class, cell.decision());
                    }
                }
            }
        }
    }

    /// Whether `before`, a snapshot of the same generation, has the same choices that resist change. It may be false
    /// where they are the same, never true where they differ.
    pub fn has_standings_of(&self, before: &Snapshot) -> bool {
        self.generation == before.generation && std::sync::Arc::ptr_eq(&self.resisting, &before.resisting)
    }
}
