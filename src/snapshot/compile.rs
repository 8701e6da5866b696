//! From model and world view to a snapshot. [`compile`] does all of it, on load and reload; [`refresh`] only what a
//! changed view touches. Pure: the world and the time are arguments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::client_table::ClientTable;
use crate::model::{
    CheckView, ClassId, ClientClass, Endpoint, Facet, MemberRef, Model, OnEmpty, Policy, PolicyId, PoolId, Steering,
    WorldView, ZoneId,
};
use crate::snapshot::last_good::{Heritage, last_good};
use crate::snapshot::{
    Cell, ClientTables, Dependencies, Identity, PolicyCells, Snapshot, TallyLabels, TallyTable, ZoneTable,
};
use crate::steering::{self, Distribution, Memory};

/// Compiles a whole model. `previous`, the snapshot that it replaces, hands down counter ids and last good answers.
pub fn compile(
    model: Arc<Model>,
    view: Arc<WorldView>,
    identity: Arc<Identity>,
    generation: u64,
    previous: Option<&Snapshot>,
) -> Snapshot {
    let mut tallies = previous.map(|p| TallyTable::clone(&p.tallies)).unwrap_or_default();
    let zones = Arc::new(ZoneTable::build(&model, &mut |zone, index| tallies.run(labels(&model, zone, index))));
    let heritage = previous.map(|p| Heritage::between(p, &model));
    let policies = (0..model.policies.len() as u32).map(PolicyId).map(|policy| {
        let last = |class, facet| heritage.as_ref()?.last_good(policy, class, facet);
        Arc::new(cells(&model, &view, policy, None, &last))
    });
    Snapshot {
        generation,
        policies: policies.collect(),
        clients: Arc::new(client_tables(&model)),
        dependencies: Arc::new(dependencies(&model)),
        tallies: Arc::new(tallies),
        zones,
        identity,
        view,
        model,
    }
}

/// The snapshot for a changed view of the same model. Policies that the change doesn't touch, and cells whose decision
/// came out the same, are shared with `previous`.
pub fn refresh(previous: &Snapshot, view: Arc<WorldView>) -> Snapshot {
    let model = &previous.model;
    let mut policies = previous.policies.clone();
    for policy in touched(previous, &view) {
        let old = &previous.policies[policy.0 as usize];
        let last = |class, facet| last_good(previous, policy, class, facet).cloned();
        let new = cells(model, &view, policy, Some(old), &last);
        if !new.is_same(old) {
            policies[policy.0 as usize] = Arc::new(new);
        }
    }
    Snapshot { policies, view, ..previous.clone() }
}

/// The policies whose decisions could differ under `view`.
fn touched(previous: &Snapshot, view: &WorldView) -> Vec<PolicyId> {
    let mut touched = HashSet::new();
    for (at, (old, new)) in previous.view.checks.iter().zip(&view.checks).enumerate() {
        let of_check = &previous.dependencies.by_check[at];
        if old.is_eligible() != new.is_eligible() || whole_seconds(old) != whole_seconds(new) {
            touched.extend(of_check.iter().map(|&(policy, _)| policy));
        } else if rtts_differ(old, new) {
            touched.extend(of_check.iter().filter(|&&(_, ranks)| ranks).map(|&(policy, _)| policy));
        }
    }
    touched.into_iter().collect()
}

/// What a TTL sees of a change to come: the rest differs with every probe, and touches nobody.
fn whole_seconds(check: &CheckView) -> Option<u64> {
    check.may_change_in.map(|time| time.as_secs())
}

fn rtts_differ(old: &CheckView, new: &CheckView) -> bool {
    old.rtts != new.rtts
}

/// Decides every facet and class of a policy. Decisions equal to those of `old` keep their cells.
fn cells(
    model: &Arc<Model>,
    view: &WorldView,
    policy: PolicyId,
    old: Option<&PolicyCells>,
    last_good: &dyn Fn(ClassId, Facet) -> Option<Distribution>,
) -> PolicyCells {
    let facets = model.policy(policy).facets.iter().enumerate();
    let cells = facets.map(|(at, &facet)| {
        let cell_of = |(class_at, class): (usize, &ClientClass)| {
            let last = last_good(ClassId(class_at as u16), facet);
            let standings = old.and_then(|old| Some(&old.cells.get(at)?.get(class_at)?.decision().standings[..]));
            let memory = Memory { last_good: last.as_ref(), standings: standings.unwrap_or_default() };
            let decision = steering::decide(model, policy, view, class, facet, memory);
            match old.and_then(|old| old.cells.get(at)?.get(class_at)) {
                Some(cell) if *cell.decision() == decision => cell.clone(),
                Some(_) | None => Arc::new(Cell::prepare(model, model.policy(policy), Arc::new(decision))),
            }
        };
        let mut classes = model.clients.classes.iter().enumerate();
        let mut by_class: Vec<Arc<Cell>> = classes.by_ref().take(1).map(cell_of).collect();
        // One cell is enough where the client is not looked at; `Snapshot::cell` gives it to every class.
        if by_class.iter().any(|cell| cell.looks_at_client()) {
            by_class.extend(classes.map(cell_of));
        }
        by_class
    });
    PolicyCells { cells: cells.collect() }
}

impl PolicyCells {
    fn is_same(&self, other: &PolicyCells) -> bool {
        let all = |cells: &PolicyCells| cells.cells.iter().flatten().map(Arc::as_ptr).collect::<Vec<_>>();
        all(self) == all(other)
    }
}

fn labels(model: &Model, zone: ZoneId, index: usize) -> Vec<TallyLabels> {
    let of_zone = model.zone(zone);
    let steered = &of_zone.steered[index];
    let (zone, name): (Arc<str>, Arc<str>) = (of_zone.apex.to_string().into(), steered.label.as_str().into());
    let endpoints = model.policy(steered.policy).endpoints.iter();
    endpoints
        .map(|&id| TallyLabels {
            zone: zone.clone(),
            name: name.clone(),
            endpoint: model.endpoint(id).name.as_str().into(),
        })
        .collect()
}

fn client_tables(model: &Model) -> ClientTables {
    let mut shared: HashMap<(u8, u8), Arc<ClientTable>> = HashMap::new();
    let mut of_zone = |cutoff: (u8, u8)| {
        let compiled = || Arc::new(ClientTable::compile(&model.clients, None, Some(cutoff)));
        shared.entry(cutoff).or_insert_with(compiled).clone()
    };
    ClientTables {
        whole: Arc::new(ClientTable::compile(&model.clients, None, None)),
        by_ecs: model.zones.iter().map(|zone| of_zone((zone.ecs.v4, zone.ecs.v6))).collect(),
    }
}

fn dependencies(model: &Model) -> Dependencies {
    let mut by_check = vec![Vec::new(); model.checks.len()];
    for (at, policy) in model.policies.iter().enumerate() {
        let id = PolicyId(at as u32);
        let ranks = roots(policy).any(|root| ranks_by_rtt(model, root));
        let mut checks: Vec<_> = policy.endpoints.iter().flat_map(|&e| checks_of(model.endpoint(e))).collect();
        checks.sort_unstable();
        checks.dedup();
        for check in checks {
            by_check[check].push((id, ranks));
        }
    }
    Dependencies { by_check }
}

fn checks_of(endpoint: &Endpoint) -> impl Iterator<Item = usize> {
    endpoint.answerables.iter().filter_map(|answerable| answerable.check).map(|check| check.0 as usize)
}

/// Where a policy's endpoints come from: its own pool, and what it falls back on.
fn roots(policy: &Policy) -> impl Iterator<Item = MemberRef> {
    let other = match policy.on_empty {
        OnEmpty::Other(other) => Some(other),
        OnEmpty::LastGood | OnEmpty::All | OnEmpty::Static | OnEmpty::Nodata => None,
    };
    [Some(policy.root), other].into_iter().flatten()
}

/// Whether a `latency` pool is anywhere below. Pools don't contain themselves, so this ends.
fn ranks_by_rtt(model: &Model, root: MemberRef) -> bool {
    fn pool_ranks(model: &Model, pool: PoolId) -> bool {
        let pool = model.pool(pool);
        pool.steering == Steering::Latency || pool.members.iter().any(|member| ranks_by_rtt(model, member.to))
    }
    match root {
        MemberRef::Endpoint(_) => false,
        MemberRef::Pool(pool) => pool_ranks(model, pool),
    }
}
