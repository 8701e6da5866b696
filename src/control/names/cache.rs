//! The state of each policy: how many endpoints are eligible, whether `on_empty` answers, and whether the policy
//! gives what it prefers.
//!
//! The states are cached: a policy whose cells did not change has the same state. Readers compute them on their own
//! threads, never on the thread of the steering task. The cache does not hold the cells: after a reload those of the
//! generation before are freed, whether or not there is another call.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::model::{Facet, Model, PolicyId, WorldView};
use crate::snapshot::{Cell, LocalClass, PolicyCells, Snapshot};
use crate::steering::preference::{self, is_plainly_preferred, is_preferred, preferred};
use crate::steering::{Decision, NameKind};

/// The state of a steered name, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameState {
    /// How many endpoints of its own pool are eligible for any client.
    pub eligible: usize,
    /// Whether `on_empty` answers any class of clients for any type.
    pub on_empty: bool,
    /// Whether every class of clients gets what the policy prefers.
    pub preferred: bool,
}

/// The cache.
#[derive(Debug, Default)]
pub struct NameStateCache {
    cached: Mutex<CachedStates>,
}

#[derive(Debug, Default)]
struct CachedStates {
    model: Weak<Model>,
    /// By [`PolicyId`]: the cells for which the state was computed, and the state.
    states: Vec<(Weak<PolicyCells>, NameState)>,
}

impl NameStateCache {
    /// The state of each policy of a snapshot, by [`PolicyId`]. It computes the policies that changed since the last
    /// call. The first call after a start or a reload computes all of them, so call it on a thread that may block.
    pub fn states(&self, snapshot: &Snapshot) -> Vec<NameState> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_of(&cached.model, &snapshot.model) {
            *cached = CachedStates { model: Arc::downgrade(&snapshot.model), states: Vec::new() };
        }
        let ideal = OnceCell::new();
        for (at, cells) in (0..snapshot.model.policies.len()).filter_map(|at| Some((at, of(snapshot, at)?))) {
            match cached.states.get_mut(at) {
                Some((old, _)) if is_of(old, cells) => {}
                Some(state) => *state = (Arc::downgrade(cells), compute(snapshot, &ideal, PolicyId(at as u32), cells)),
                None => {
                    cached.states.push((Arc::downgrade(cells), compute(snapshot, &ideal, PolicyId(at as u32), cells)));
                }
            }
        }
        cached.states.iter().map(|(_, state)| *state).collect()
    }
}

/// Whether both are of the same value. While there is a weak reference no other value gets the address.
pub(in crate::control) fn is_of<T: ?Sized>(weak: &Weak<T>, value: &Arc<T>) -> bool {
    std::ptr::addr_eq(weak.as_ptr(), Arc::as_ptr(value))
}

fn of(snapshot: &Snapshot, policy: usize) -> Option<&Arc<PolicyCells>> {
    snapshot.cells_of(PolicyId(policy as u32))
}

fn compute(snapshot: &Snapshot, ideal: &OnceCell<WorldView>, id: PolicyId, cells: &PolicyCells) -> NameState {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let ideal = || ideal.get_or_init(|| preference::ideal(view));
    let all = || answers(cells);
    NameState {
        eligible: preference::eligible(model, id, view),
        on_empty: all().any(|(_, cell)| cell.decision().is_on_empty()),
        preferred: all()
            .all(|(class, cell)| preferences(snapshot, &ideal, id, class, cell).iter().all(ClassPreference::is_met)),
    }
}

/// The cells that answer clients, each with its class; `None` is the class of all clients. A name that can be an
/// alias or have addresses has its alias once, for all types, and only where the alias is given.
pub(super) fn answers(cells: &PolicyCells) -> impl Iterator<Item = (Option<LocalClass>, &Cell)> {
    cells.iter().flat_map(|of| {
        of.by_class().filter(|(_, cell)| match cell.decision().kind {
            None => true,
            Some(NameKind::Alias) => of.facet == Facet::Alias,
            Some(NameKind::Addresses | NameKind::ByNet) => of.facet != Facet::Alias,
        })
    })
}

/// What the policy prefers for clients that get the decision that is served.
pub(super) struct ClassPreference {
    /// The class of the clients; `None` is all of them.
    pub(super) class: Option<LocalClass>,
    /// The preferred decision; `None` if they get it already.
    pub(super) better: Option<Decision>,
}

impl ClassPreference {
    fn is_met(&self) -> bool {
        self.better.is_none()
    }
}

/// What the policy prefers in place of a cell that serves `class`, or all clients if `class` is `None`. Clients that
/// all get the same answer now may have different preferred answers: then the result has one entry for each class.
pub(super) fn preferences<'v>(
    snapshot: &Snapshot,
    ideal: &dyn Fn() -> &'v WorldView,
    policy: PolicyId,
    class: Option<LocalClass>,
    cell: &Cell,
) -> Vec<ClassPreference> {
    let (model, view, served) = (&*snapshot.model, &*snapshot.view, cell.decision());
    if is_plainly_preferred(model, policy, view, served) {
        return vec![ClassPreference { class, better: None }];
    }
    let mut preferences = Vec::new();
    for (at, members) in snapshot.local_classes(policy).enumerate() {
        let local = LocalClass(at as u16);
        if class.is_some_and(|class| class != local) {
            continue;
        }
        let best = preferred(model, policy, [view, ideal()], members, served);
        let is_for_all = class.is_none() && !best.looks_at_client;
        let better = (!is_preferred(model, view, served, &best)).then_some(best);
        preferences.push(ClassPreference { class: if is_for_all { None } else { Some(local) }, better });
        if is_for_all {
            break;
        }
    }
    preferences
}
