//! Choices that resist change, by name: what a restart must not forget, or a failback that an operator was to do by hand
//! would be done by the restart. Told from a snapshot, and given back to [`compile::restore`](super::compile::restore).

use serde::{Deserialize, Serialize};

use crate::model::{MemberRef, Model, PoolId};
use crate::snapshot::Snapshot;
use crate::steering::Standing;

/// The class of a choice that holds for every client.
pub(crate) const ANY: &str = "any";

/// One choice that resists change, of one name, facet and class of clients. Who challenges it is not told: after a
/// restart that begins anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedStanding {
    /// The zone, with its final dot.
    pub zone: String,
    /// The name as the policy file writes it.
    pub name: String,
    /// Which question it answers: `A`, `AAAA`, `CNAME` and so on.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Which clients it is for: `any`, or what their policy asks about them in words (`region=eu-west -unknown`).
    pub class: String,
    /// The pool whose choice it is.
    pub pool: String,
    /// The members that were chosen, at least one.
    pub members: Vec<String>,
}

impl Snapshot {
    /// Every choice that resists change, each of every name that it is made for; in no order of meaning. Costs nothing
    /// to speak of where there is none.
    pub fn standings_by_name(&self) -> Vec<NamedStanding> {
        let mut told = Vec::new();
        if self.resisting.is_empty() {
            return told;
        }
        for zone in &self.model.zones {
            for name in zone.steered.iter().filter(|name| self.resisting.has(name.policy)) {
                let words = &self.placing.locals(name.policy).words;
                for facet in self.policies.get(name.policy).into_iter().flat_map(|cells| &**cells) {
                    for (cell, words) in facet.cells.iter().zip(words) {
                        let class = if facet.cells.len() == 1 { ANY } else { words };
                        told.extend(cell.decision().standings.iter().map(|standing| NamedStanding {
                            zone: zone.apex.to_string(),
                            name: name.label.clone(),
                            rtype: facet.facet.as_str().to_owned(),
                            class: class.to_owned(),
                            pool: self.model.pool(standing.pool).name.clone(),
                            members: standing.incumbents.iter().map(|to| name_of(&self.model, *to)).collect(),
                        }));
                    }
                }
            }
        }
        told
    }

    /// Whether `before`, a snapshot of the same generation, has the same choices that resist change: for who writes
    /// them down, and would not do so for nothing. Never true by mistake.
    pub fn has_standings_of(&self, before: &Snapshot) -> bool {
        self.generation == before.generation && std::sync::Arc::ptr_eq(&self.resisting, &before.resisting)
    }
}

/// A choice in the ids of a model, without the members that are gone from its pool; none when all are.
pub(crate) fn in_ids(told: &NamedStanding, pool: PoolId, model: &Model) -> Option<Standing> {
    let members = model.pool(pool).members.iter().map(|member| member.to);
    let incumbents: Vec<MemberRef> = members.filter(|to| told.members.contains(&name_of(model, *to))).collect();
    (!incumbents.is_empty()).then_some(Standing { pool, incumbents, challenger: None })
}

fn name_of(model: &Model, member: MemberRef) -> String {
    match member {
        MemberRef::Endpoint(id) => model.endpoint(id).name.clone(),
        MemberRef::Pool(id) => model.pool(id).name.clone(),
    }
}
