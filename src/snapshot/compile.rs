//! From model and world view to a snapshot. [`compile`] does all of it, on load and reload; [`refresh`] only what a
//! changed view touches. Pure: the world and the time are arguments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{ClientClass, Facet, Model, PolicyId, WorldView, ZoneId};
use crate::snapshot::classes::{LocalClasses, PolicyClasses};
use crate::snapshot::policies::{FacetCells, PolicyCells, PolicyTable};
use crate::snapshot::postponed::Postponed;
use crate::snapshot::remap::{PolicySet, Remap};
use crate::snapshot::restore::{CellMemory, ModelMemory, of_cell};
use crate::snapshot::touched::{Dependencies, Resisting, Touched, standings, touched};
use crate::snapshot::{Cell, Identity, LocalClass, Snapshot, SteeringState, TallyRun, TallyTable, ZoneTable};
use crate::steering;

/// Compiles a whole model. It takes over the counter ids of `previous`, the snapshot that it replaces, its last good
/// answers, and its choices that resist change.
pub fn compile(
    model: Arc<Model>,
    view: Arc<WorldView>,
    identity: Arc<Identity>,
    generation: u64,
    previous: Option<&Snapshot>,
) -> Snapshot {
    let classes = PolicyClasses::of(&model);
    match previous {
        Some(previous) => {
            let remap = Remap::between(previous, &model, &classes);
            compile_next(previous, &remap, classes, &model, view, identity, generation)
        }
        None => compile_after(&ModelMemory::default(), classes, Arc::default(), &model, view, identity, generation),
    }
}

/// Compiles a whole model after `previous`; `remap` goes from its model to the new one.
pub(super) fn compile_next(
    previous: &Snapshot,
    remap: &Remap,
    classes: PolicyClasses,
    model: &Arc<Model>,
    view: Arc<WorldView>,
    identity: Arc<Identity>,
    generation: u64,
) -> Snapshot {
    let restored = ModelMemory::from_snapshot(previous, model, remap);
    compile_after(&restored, classes, previous.tallies.clone(), model, view, identity, generation)
}

/// Compiles a whole model as [`compile`] does without a snapshot before it, and restores the choices that resist
/// change as [`Snapshot::standings_by_name`] gave them before a restart, and the last good answers as
/// [`Snapshot::last_good_by_name`] did. A name that the model doesn't have is left out.
pub fn restore(
    model: Arc<Model>,
    view: Arc<WorldView>,
    identity: Arc<Identity>,
    generation: u64,
    retained: &SteeringState,
) -> Snapshot {
    let classes = PolicyClasses::of(&model);
    let restored = ModelMemory::from_files(&retained.standings, &retained.answers, &model);
    compile_after(&restored, classes, Arc::default(), &model, view, identity, generation)
}

fn compile_after(
    restored: &ModelMemory<'_>,
    classes: PolicyClasses,
    mut tallies: Arc<TallyTable>,
    model: &Arc<Model>,
    view: Arc<WorldView>,
    identity: Arc<Identity>,
    generation: u64,
) -> Snapshot {
    let table = Arc::make_mut(&mut tallies);
    let labels = Labels::of(model);
    let mut zones = ZoneTable::build(model, &mut |zone, index| table.run(labels.run(model, zone, index)));
    zones.write_epochs(&view.leases);
    let zones = Arc::new(zones);
    let policies = (0..model.policies.len() as u32).map(PolicyId).map(|policy| {
        let locals = classes.locals(policy);
        let memory = |facet, class| restored.memory(policy, locals, facet, class);
        cells(model, &view, policy, &classes, None, &memory)
    });
    let policies: PolicyTable = policies.collect();
    Snapshot {
        generation,
        classes: Arc::new(classes),
        dependencies: Arc::new(Dependencies::of(model)),
        resisting: Arc::new(Resisting::of(policies.iter())),
        postponed: Postponed::none(),
        policies,
        tallies,
        zones,
        identity,
        view,
        model: model.clone(),
    }
}

/// The snapshot for a changed view of the same model. Policies that the change doesn't affect, and cells whose decision
/// is equal, are shared with `previous`. All that the change affects is decided again at once; what waited for its turn
/// before waits on.
pub fn refresh(previous: &Snapshot, view: Arc<WorldView>) -> Snapshot {
    let Touched { by_rtt, otherwise: mut again } = touched(previous, &view);
    again.extend(by_rtt.iter());
    let mut postponed = previous.postponed.clone();
    postponed.remove(&again);
    refreshed(previous, view, again, postponed)
}

/// The same, but policies for which only round-trip times changed wait for their turn.
pub(super) fn refresh_in_turns(previous: &Snapshot, view: Arc<WorldView>) -> Snapshot {
    let Touched { by_rtt, otherwise } = touched(previous, &view);
    let mut postponed = previous.postponed.clone();
    let again = postponed.follow(otherwise, &by_rtt, view.at);
    refreshed(previous, view, again, postponed)
}

fn refreshed(previous: &Snapshot, view: Arc<WorldView>, again: HashSet<PolicyId>, postponed: Postponed) -> Snapshot {
    let mut next = Snapshot { view, postponed, ..previous.clone() };
    follow_epochs(&mut next, &previous.view);
    for policy in again {
        let Some(old) = previous.policies.get(policy) else { continue };
        let memory = |facet, class| of_cell(old, facet, class);
        let new = cells(&previous.model, &next.view, policy, &previous.classes, Some(old), &memory);
        replace(&mut next, policy, old, new);
    }
    next
}

/// Brings the epochs of exclusive names up to date; `before` is the view that they are of.
pub(super) fn follow_epochs(next: &mut Snapshot, before: &WorldView) {
    let (old, new) = (&before.leases, &next.view.leases);
    // Only for another text: it copies the table of all names.
    if !Arc::ptr_eq(old, new) && next.zones.has_other_epochs(old, new) {
        let mut zones = ZoneTable::clone(&next.zones);
        zones.write_epochs(new);
        next.zones = Arc::new(zones);
    }
}

/// Decides some policies of `next`, a compiled snapshot, again: in its view, and after `restored`.
pub(super) fn decide_again(next: &mut Snapshot, restored: &ModelMemory<'_>, policies: &PolicySet) {
    let (model, view, classes) = (next.model.clone(), next.view.clone(), next.classes.clone());
    for policy in policies.iter(&model) {
        let Some(old) = next.policies.get(policy).cloned() else { continue };
        let locals = classes.locals(policy);
        let memory = |facet, class| restored.memory(policy, locals, facet, class);
        let new = cells(&model, &view, policy, &classes, Some(&old), &memory);
        replace(next, policy, &old, new);
    }
}

/// Puts `new` in place of `old`, the cells of a policy, unless they are the same.
fn replace(next: &mut Snapshot, policy: PolicyId, old: &PolicyCells, new: Arc<PolicyCells>) {
    if new.len() == old.len() && new.iter().zip(old).all(|(new, old)| new.has(&old.cells)) {
        return;
    }
    if !standings(&new).eq(standings(old)) {
        Arc::make_mut(&mut next.resisting).set(policy, &new);
    }
    next.policies.replace(policy, new);
}

/// The snapshot after a failback of one policy: its failover pools choose the first member that is up, whatever their
/// `failback` is.
pub fn fail_back(previous: &Snapshot, policy: PolicyId) -> Snapshot {
    let mut next = previous.clone();
    let Some(old) = previous.policies.get(policy) else { return next };
    let model = &previous.model;
    let is_failover = |pool| model.pool(pool).steering.has_failback();
    let memory = |facet, class| of_cell(old, facet, class).without_incumbents(is_failover);
    let new = cells(model, &next.view, policy, &previous.classes, Some(old), &memory);
    if !standings(&new).eq(standings(old)) {
        Arc::make_mut(&mut next.resisting).set(policy, &new);
        next.policies.replace(policy, new);
    }
    next
}

/// Decides every facet and local class of a policy; of a mixed one, first what it is for all types. Decisions equal to
/// those of `old` keep their cells.
fn cells<'a>(
    model: &Model,
    view: &WorldView,
    policy: PolicyId,
    classes: &PolicyClasses,
    old: Option<&PolicyCells>,
    memory: &dyn Fn(Facet, LocalClass) -> CellMemory<'a>,
) -> Arc<PolicyCells> {
    let mut settled: Option<FacetCells> = None;
    let facets = model.policy(policy).decided_facets().map(|facet| {
        let of_facet = old.and_then(|old| old.iter().find(|of| of.facet == facet));
        let cell_of = |(at, class): (usize, &ClientClass)| {
            let before = memory(facet, LocalClass(at as u16));
            let kind = settled.as_ref().and_then(|of| of.cell(LocalClass(at as u16)));
            let decision = match kind {
                // A CNAME is that for every type.
                Some(kind) if steering::holds_for_all(kind.decision()) => return kind.clone(),
                Some(kind) => {
                    steering::decide_after(model, policy, view, class, facet, before.memory(), kind.decision())
                }
                None => steering::decide(model, policy, view, class, facet, before.memory()),
            };
            match of_facet.and_then(|of| of.cells.get(at)) {
                Some(cell) if *cell.decision() == decision => cell.clone(),
                Some(_) | None => Arc::new(Cell::prepare(model, model.policy(policy), Arc::new(decision))),
            }
        };
        let mut locals = classes.locals(policy).classes(model).enumerate();
        let mut cells: Vec<Arc<Cell>> = locals.by_ref().take(1).map(cell_of).collect();
        // One cell is enough where the client is not looked at; it is given to every class.
        if cells.iter().any(|cell| cell.looks_at_client()) {
            cells.extend(locals.map(cell_of));
        }
        let tables = match of_facet.filter(|of| of.has(&cells)) {
            Some(same) => same.tables.clone(),
            None if cells.len() > 1 => classes.tables(model, policy, &first_alike(&cells, classes.locals(policy))),
            None => None,
        };
        let cells = FacetCells { facet, cells: cells.into(), tables };
        if model.policy(policy).is_mixed && settled.is_none() {
            settled = Some(cells.clone());
        }
        cells
    });
    facets.collect()
}

/// For the cell of each local class, the first that answers like it and is for clients that differ only by reach.
fn first_alike(cells: &[Arc<Cell>], locals: &LocalClasses) -> Vec<LocalClass> {
    let mut firsts: HashMap<LocalClass, Vec<(LocalClass, &Cell)>> = HashMap::new();
    let mut all = Vec::with_capacity(cells.len());
    for ((cell, of), at) in cells.iter().zip(&locals.but_for_reach).zip(0..) {
        let firsts = firsts.entry(*of).or_default();
        let known = firsts.iter().find(|(_, first)| first.answers_as(cell)).map(|(class, _)| *class);
        if known.is_none() {
            firsts.push((LocalClass(at), cell));
        }
        all.push(known.unwrap_or(LocalClass(at)));
    }
    all
}

/// What counters are labelled with, each text once.
struct Labels {
    zones: Vec<Arc<str>>,
    endpoints: Vec<Arc<str>>,
}

impl Labels {
    fn of(model: &Model) -> Labels {
        Labels {
            zones: model.zones.iter().map(|zone| zone.apex.to_string().into()).collect(),
            endpoints: model.endpoints.iter().map(|endpoint| endpoint.name.as_str().into()).collect(),
        }
    }

    /// The labels of the counters of a steered name, or of the one counter of the zone.
    fn run(&self, model: &Model, zone: ZoneId, index: Option<usize>) -> TallyRun {
        let Some(index) = index else { return TallyRun::of_zone(self.zones[zone.0 as usize].clone()) };
        let steered = &model.zone(zone).steered[index];
        let endpoints = model.policy(steered.policy).endpoints.iter();
        TallyRun {
            zone: self.zones[zone.0 as usize].clone(),
            name: steered.label.as_str().into(),
            endpoints: endpoints.map(|endpoint| self.endpoints[endpoint.0 as usize].clone()).collect(),
        }
    }
}
