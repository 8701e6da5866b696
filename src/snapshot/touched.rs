//! Which policies a changed world affects: those with a check whose verdict or RTT changed, those with an endpoint
//! whose override changed, exclusive names whose lease changed, those with an endpoint whose weight grows, those whose
//! choice has a challenger that is due now, and those whose TTL is another one because something of this comes nearer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Answerable, CheckId, CheckView, Endpoint, EndpointId, Growth, Model, Moment, Policy, PolicyId, Pool, RankedBy,
    Recovery, Stated, WorldView,
};
use crate::snapshot::Snapshot;
use crate::snapshot::policies::PolicyCells;
use crate::snapshot::postponed::PolicyBits;
use crate::steering::Standing;
use crate::wire::Name;

/// Which policies depend on a check or an endpoint.
#[derive(Debug)]
pub(crate) struct Dependencies {
    /// By check: the policies that have it, and whether they rank by RTT.
    by_check: Vec<Vec<(PolicyId, bool)>>,
    /// By endpoint.
    by_endpoint: Vec<Vec<PolicyId>>,
    /// The exclusive names.
    exclusive: Vec<(Name, PolicyId)>,
    /// By check: the endpoints that it judges.
    judged: Vec<Vec<EndpointId>>,
    /// By check: the ramps of the endpoints that it judges, each once; the longest first.
    ramps: Vec<Vec<Duration>>,
}

impl Dependencies {
    pub(crate) fn of(model: &Model) -> Dependencies {
        let mut by_check = vec![Vec::new(); model.checks.len()];
        let mut by_endpoint = vec![Vec::new(); model.endpoints.len()];
        let mut checks = Vec::new();
        for (at, policy) in model.policies.iter().enumerate() {
            let id = PolicyId(at as u32);
            let ranks = model.pools_below(policy.roots()).any(|id| ranks_by_rtt(model.pool(id)));
            checks.clear();
            checks.extend(policy.endpoints.iter().flat_map(|&endpoint| {
                let sides = model.endpoint(endpoint).answerables.iter();
                sides.filter_map(move |side| policy.check_of(endpoint, side)).map(|check| check.0 as usize)
            }));
            checks.sort_unstable();
            checks.dedup();
            checks.iter().for_each(|check: &usize| by_check[*check].push((id, ranks)));
            policy.endpoints.iter().for_each(|endpoint| by_endpoint[endpoint.0 as usize].push(id));
        }
        let exclusive = model.policies.iter().zip(0..).filter_map(|(policy, at)| {
            policy.exclusive.as_ref().map(|exclusive| (exclusive.owner.clone(), PolicyId(at)))
        });
        let mut judged = vec![Vec::new(); model.checks.len()];
        for (endpoint, id) in model.endpoints.iter().zip(0..) {
            checks_of(endpoint).for_each(|check| judged[check].push(EndpointId(id)));
        }
        Dependencies { by_check, by_endpoint, exclusive: exclusive.collect(), judged, ramps: ramps(model) }
    }

    /// The longest ramp of what a check judges; 0 where there is none.
    pub(crate) fn longest_ramp(&self, check: usize) -> Duration {
        self.ramps.get(check).and_then(|ramps| ramps.first().copied()).unwrap_or_default()
    }

    /// When a check that recovered gives an endpoint more of its weight, for each ramp that is under way.
    fn growing(&self, check: CheckId, view: &WorldView) -> impl Iterator<Item = Moment> {
        let ramps = self.ramps.get(check.0 as usize).into_iter().flatten();
        let (recovery, now) = (view.recovery(check), view.at);
        ramps.filter_map(move |ramp| Some(Growth::of(*ramp, recovery, now)?.next))
    }

    /// The endpoints that these checks judge, in order, each once.
    pub(crate) fn endpoints_of(&self, checks: impl Iterator<Item = usize>) -> BTreeSet<EndpointId> {
        checks.filter_map(|check| self.judged.get(check)).flatten().copied().collect()
    }
}

fn ranks_by_rtt(pool: &Pool) -> bool {
    pool.steering.ranked_by() == Some(RankedBy::Rtt)
}

/// The policies whose decisions could differ under another view.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Those for which round-trip times changed. They can be in the other set too.
    pub(crate) by_rtt: PolicyBits,
    /// Those for which anything else did.
    pub(crate) otherwise: HashSet<PolicyId>,
}

/// The policies whose decisions could differ under `view`.
pub(crate) fn touched(previous: &Snapshot, view: &WorldView) -> Touched {
    let (mut touched, mut by_rtt, before) = (HashSet::new(), PolicyBits::default(), &previous.view);
    let policies_of = |check: usize| previous.dependencies.by_check[check].iter();
    for (at, old, new) in view.checks.changed_since(&before.checks) {
        let is_other = old.is_eligible() != new.is_eligible() || old.unreachable_from != new.unreachable_from;
        if is_other || whole_seconds(old) != whole_seconds(new) {
            touched.extend(policies_of(at).map(|&(policy, _)| policy));
        } else if old.rtts != new.rtts {
            policies_of(at).filter(|&&(_, ranks)| ranks).for_each(|&(policy, _)| by_rtt.insert(policy));
        }
    }
    for check in with_ramp(before).chain(with_ramp(view)).collect::<BTreeSet<_>>() {
        touched.extend(growing(previous, view, check));
        // Down and up again between the two views.
        let recoveries = (before.recovery(check), view.recovery(check));
        if matches!(recoveries, (Recovery::Since(old), Recovery::Since(new)) if old != new) {
            touched.extend(policies_of(check.0 as usize).map(|&(policy, _)| policy));
        }
    }
    for endpoint in changed_overrides(&previous.view, view).into_iter().chain(changed_statements(before, view)) {
        let of_endpoint = previous.dependencies.by_endpoint.get(endpoint.0 as usize);
        touched.extend(of_endpoint.into_iter().flatten().copied());
    }
    for (endpoint, own) in view.overrides.iter() {
        let ends = [before, view].map(|view| view.override_ends_in(own));
        let of_endpoint = previous.dependencies.by_endpoint.get(endpoint.0 as usize).into_iter().flatten();
        // While the end of the override limits a TTL.
        touched.extend(of_endpoint.copied().filter(|policy| {
            let [old, new] = ends.map(|left| left.map(|left| ttl_until(left, previous.model.policy(*policy))));
            old != new
        }));
    }
    touched.extend(changed_leases(previous, view));
    touched.extend(previous.resisting.due(before.at, view.at, &previous.model));
    Touched { by_rtt, otherwise: touched }
}

/// The checks that recovered and may have a ramp.
fn with_ramp(view: &WorldView) -> impl Iterator<Item = CheckId> {
    view.recoveries.iter().filter(|(_, recovery)| matches!(recovery, Recovery::Since(_))).map(|(check, _)| *check)
}

/// The policies of a check that recovered whose endpoints have grown since, or will grow within a TTL.
fn growing(previous: &Snapshot, view: &WorldView, check: CheckId) -> impl Iterator<Item = PolicyId> {
    let dependencies = &previous.dependencies;
    let dues = |view: &WorldView| dependencies.growing(check, view).collect::<Vec<_>>();
    let (old, new) = (dues(&previous.view), dues(view));
    let ends_in = move |policy: PolicyId, dues: &[Moment], now: Moment| {
        let policy = previous.model.policy(policy);
        dues.iter().map(|due| ttl_until(due.since(now), policy)).collect::<Vec<_>>()
    };
    let (before, now) = (previous.view.at, view.at);
    let of_check = dependencies.by_check[check.0 as usize].iter().map(|&(policy, _)| policy);
    of_check.filter(move |policy| old != new || ends_in(*policy, &old, before) != ends_in(*policy, &new, now))
}

/// Of every check, the ramps of the endpoints that it judges.
fn ramps(model: &Model) -> Vec<Vec<Duration>> {
    let mut ramps = vec![Vec::new(); model.checks.len()];
    for endpoint in model.endpoints.iter().filter(|endpoint| !endpoint.ramp.is_zero()) {
        for check in checks_of(endpoint) {
            let of_check: &mut Vec<Duration> = &mut ramps[check];
            of_check.push(endpoint.ramp);
            of_check.sort_unstable_by(|a, b| b.cmp(a));
            of_check.dedup();
        }
    }
    ramps
}

/// The endpoints of which a source states something else.
fn changed_statements(old: &WorldView, new: &WorldView) -> Vec<EndpointId> {
    if Arc::ptr_eq(&old.stated, &new.stated) {
        return Vec::new();
    }
    let is_same = |old: Option<&Stated>, new: Option<&Stated>| match (old, new) {
        // What stays is answered with as if nothing were stated.
        (None | Some(Stated::Leaving { .. }), None | Some(Stated::Leaving { .. })) => true,
        (Some(Stated::Withdrawn { .. }), Some(Stated::Withdrawn { .. })) => true,
        (Some(Stated::Judged(old)), Some(Stated::Judged(new))) => old.health == new.health && old.rtts == new.rtts,
        (None | Some(_), None | Some(_)) => false,
    };
    let endpoints: BTreeSet<EndpointId> = old.stated.keys().chain(new.stated.keys()).copied().collect();
    endpoints.into_iter().filter(|id| !is_same(old.stated.get(id), new.stated.get(id))).collect()
}

/// Endpoints whose override is another than before.
fn changed_overrides(old: &WorldView, new: &WorldView) -> Vec<EndpointId> {
    if Arc::ptr_eq(&old.overrides, &new.overrides) {
        return Vec::new();
    }
    let endpoints: HashSet<EndpointId> = old.overrides.keys().chain(new.overrides.keys()).copied().collect();
    endpoints.into_iter().filter(|id| old.override_of(*id) != new.override_of(*id)).collect()
}

/// Exclusive names with another active endpoint or another epoch than before.
fn changed_leases(previous: &Snapshot, view: &WorldView) -> impl Iterator<Item = PolicyId> {
    let (old, new) = (&previous.view.leases, &view.leases);
    let exclusive = if Arc::ptr_eq(old, new) { &[] } else { &previous.dependencies.exclusive[..] };
    let is_other = move |name: &Name| {
        let [before, now] = [old, new].map(|leases| leases.get(name).map(|lease| &lease.active));
        before != now
    };
    exclusive.iter().filter(move |(name, _)| is_other(name)).map(|(_, policy)| *policy)
}

/// The TTL in seconds of a policy whose answer may change in this time.
fn ttl_until(left: Duration, policy: &Policy) -> u64 {
    left.max(policy.ttl.min).min(policy.ttl.max).as_secs()
}

/// Whole seconds until the verdict can change, as a TTL has them: fractions differ with every probe and affect nothing.
fn whole_seconds(check: &CheckView) -> Option<u64> {
    check.may_change_in.map(|time| time.as_secs())
}

fn checks_of(endpoint: &Endpoint) -> impl Iterator<Item = usize> {
    endpoint.answerables.iter().flat_map(Answerable::checks).map(|check| check.0 as usize)
}

/// The policies that have a choice which resists change, and when the first challenger of each is due.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resisting {
    dues: BTreeMap<PolicyId, Option<Moment>>,
}

impl Resisting {
    /// Those of all policies.
    pub(crate) fn of<'a>(all: impl Iterator<Item = &'a Arc<PolicyCells>>) -> Resisting {
        let mut resisting = Resisting::default();
        for (at, cells) in all.enumerate() {
            resisting.set(PolicyId(at as u32), cells);
        }
        resisting
    }

    /// Replaces the entry of a policy by what its cells have now.
    pub(crate) fn set(&mut self, policy: PolicyId, cells: &PolicyCells) {
        let mut standings = standings(cells).peekable();
        if standings.peek().is_none() {
            self.dues.remove(&policy);
            return;
        }
        let challengers = standings.filter_map(|standing| standing.challenger.as_ref());
        self.dues.insert(policy, challengers.filter_map(|challenger| challenger.due).min());
    }

    /// Whether a policy has such a choice.
    pub(crate) fn has(&self, policy: PolicyId) -> bool {
        self.dues.contains_key(&policy)
    }

    /// Whether no policy has.
    pub(crate) fn is_empty(&self) -> bool {
        self.dues.is_empty()
    }

    /// Those that are due at `now`, and those that are due so soon that the TTL is another one than at `before`.
    fn due(&self, before: Moment, now: Moment, model: &Model) -> impl Iterator<Item = PolicyId> {
        let is_touched = move |policy: PolicyId, due: Moment| {
            let ttl_at = |at: Moment| ttl_until(due.since(at), model.policy(policy));
            due <= now || ttl_at(before) != ttl_at(now)
        };
        let touched = self.dues.iter().filter(move |(policy, due)| due.is_some_and(|due| is_touched(**policy, due)));
        touched.map(|(policy, _)| *policy)
    }
}

/// Every choice of a policy that resists change.
pub(crate) fn standings(cells: &PolicyCells) -> impl Iterator<Item = &Standing> {
    cells.iter().flat_map(|facet| &facet.cells).flat_map(|cell| &cell.decision().standings)
}
