//! What a decision gets from the one before it: the last good answer, and the choices that resist change.
//!
//! - Within a generation both are in the cell that is decided again ([`of_cell`]).
//! - Over a reload the choices come from the snapshot before by name, and the last good answer by [`Remap`].
//! - After a restart both come from the state directory by name.

use std::borrow::Cow;

use crate::model::{Facet, Model, PolicyId, PoolId};
use crate::snapshot::answers::{self, NamedAnswer, last_good};
use crate::snapshot::classes::LocalClasses;
use crate::snapshot::policies::PolicyCells;
use crate::snapshot::remap::{ANY, Map, Names, PolicySet, Remap};
use crate::snapshot::retained::NamedChoice;
use crate::snapshot::{LocalClass, NamedStanding, Snapshot};
use crate::steering::{Distribution, Memory, Standing};

/// What one policy, facet and class gets from the decision before.
#[derive(Default)]
pub(crate) struct CellMemory<'a> {
    last_good: Option<Cow<'a, Distribution>>,
    standings: Cow<'a, [Standing]>,
}

impl CellMemory<'_> {
    /// The same without the choices of the pools in question that have a challenger.
    pub(crate) fn without_incumbents(mut self, is_in_question: impl Fn(PoolId) -> bool) -> Self {
        let stays = |standing: &Standing| standing.challenger.is_none() || !is_in_question(standing.pool);
        self.standings = self.standings.iter().filter(|standing| stays(standing)).cloned().collect();
        self
    }

    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory { last_good: self.last_good.as_deref(), standings: &self.standings }
    }
}

/// What the cells of the same model have for the next decision.
pub(crate) fn of_cell(cells: &PolicyCells, facet: Facet, class: LocalClass) -> CellMemory<'_> {
    let cell = cells.iter().find(|of| of.facet == facet).and_then(|of| of.cell(class));
    let of = |decision| CellMemory {
        last_good: last_good(decision).map(Cow::Borrowed),
        standings: Cow::Borrowed(&decision.standings),
    };
    cell.map(|cell| of(cell.decision())).unwrap_or_default()
}

/// What a new model starts with, in its ids. What it no longer has is left out.
#[derive(Default)]
pub(crate) struct ModelMemory<'a> {
    /// With the words of the class that each choice is for.
    standings: Map<(PolicyId, Facet), Vec<(String, Standing)>>,
    /// After a restart: the last good answers, with the words of the class that each is for.
    answers: Map<(PolicyId, Facet), Vec<(String, Distribution)>>,
    before: Option<(&'a Snapshot, &'a Remap)>,
}

impl<'a> ModelMemory<'a> {
    /// After a restart.
    pub(crate) fn from_files(
        standings: &[NamedStanding],
        answers: &[NamedAnswer],
        model: &Model,
    ) -> ModelMemory<'static> {
        let choices = standings.iter().map(|standing| NamedChoice::from(standing.clone())).collect();
        let (standings, answers) = (in_ids(choices, model, &PolicySet::All), answers::in_ids(answers, model));
        ModelMemory { standings, answers, before: None }
    }

    /// Over a reload: what all policies start with.
    pub(crate) fn from_snapshot(before: &'a Snapshot, model: &Model, remap: &'a Remap) -> ModelMemory<'a> {
        ModelMemory::of_some(before, model, remap, [&PolicySet::All, &PolicySet::All])
    }

    /// Over a reload: what the policies in the second set start with. Only the policies in the first set, of the model
    /// of `before`, can have choices for them.
    pub(crate) fn of_some(
        before: &'a Snapshot,
        model: &Model,
        remap: &'a Remap,
        [old, new]: [&PolicySet; 2],
    ) -> ModelMemory<'a> {
        let standings = in_ids(before.choices_by_name(old), model, new);
        ModelMemory { standings, answers: Map::default(), before: Some((before, remap)) }
    }

    /// What one cell of the new model starts with.
    pub(crate) fn memory(
        &self,
        policy: PolicyId,
        locals: &LocalClasses,
        facet: Facet,
        class: LocalClass,
    ) -> CellMemory<'static> {
        let last_good = self.before.and_then(|(before, remap)| {
            let old = last_good(remap.decision(before, policy, facet, class)?)?;
            remap.distribution(old)
        });
        let label = &locals.labels[usize::from(class.0)];
        let of_file = || {
            let mut answers = self.answers.get(&(policy, facet))?.iter();
            answers.find(|(of, _)| is_for_class(of, label)).map(|(_, good)| good.clone())
        };
        let last_good = last_good.or_else(of_file);
        let standings = self.standings(policy, facet, label);
        CellMemory { last_good: last_good.map(Cow::Owned), standings: Cow::Owned(standings) }
    }

    fn standings(&self, policy: PolicyId, facet: Facet, class: &str) -> Vec<Standing> {
        let of_facet = |facet| self.standings.get(&(policy, facet)).map(Vec::as_slice);
        let standings = match facet {
            // Older files have this choice by address type: it was not yet made once for all types.
            Facet::Alias => of_facet(facet).or_else(|| of_facet(Facet::V4)).or_else(|| of_facet(Facet::V6)),
            Facet::V4 | Facet::V6 | Facet::Srv | Facet::Https | Facet::Svcb => of_facet(facet),
        };
        let of_class = standings.unwrap_or_default().iter().filter(|(of, _)| is_for_class(of, class));
        of_class.map(|(_, standing)| standing.clone()).collect()
    }
}

/// Whether what was stored for the class `of` is for `class`.
fn is_for_class(of: &str, class: &str) -> bool {
    of == class || of == ANY
}

/// Choices of the policies in `wanted` by policy and facet, in the ids of a model.
fn in_ids(
    choices: Vec<NamedChoice>,
    model: &Model,
    wanted: &PolicySet,
) -> Map<(PolicyId, Facet), Vec<(String, Standing)>> {
    let mut standings: Map<(PolicyId, Facet), Vec<(String, Standing)>> = Map::default();
    if choices.is_empty() {
        return standings;
    }
    let names = Names::of(model, wanted);
    for choice in choices {
        let NamedStanding { zone, name, rtype, class, pool, .. } = &choice.standing;
        let remapped = names.policy_and_pool(zone, name, pool).and_then(|(policy, pool)| {
            let facet = model.policy(policy).decided_facets().find(|facet| facet.as_str() == rtype)?;
            Some(((policy, facet), choice.in_ids(pool, model)?))
        });
        let Some((key, standing)) = remapped else { continue };
        let of_facet = standings.entry(key).or_default();
        // Names that share a policy have a row each.
        if !of_facet.iter().any(|(of, known)| of == class && known.pool == standing.pool) {
            of_facet.push((class.clone(), standing));
        }
    }
    standings
}
