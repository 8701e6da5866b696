//! The verdict on each policy: how many endpoints it may answer with, whether `on_empty` answers, whether that is what it
//! prefers. Kept from one reading to the next: a policy whose cells are the same has the same verdict. Works in the
//! thread of whoever reads, never in that of steering.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Facet, Model, PolicyId, WorldView};
use crate::snapshot::{Cell, LocalClass, PolicyCells, Snapshot};
use crate::steering::preference::{self, is_plainly_preferred, is_preferred, preferred};
use crate::steering::{Decision, Kind};

/// What is said of a steered name in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameState {
    /// Endpoints of its own pool that may be answered with, to whichever clients.
    pub eligible: usize,
    /// Whether `on_empty` answers some class of clients, for some type.
    pub on_empty: bool,
    /// Whether every class of clients gets what the policy prefers.
    pub preferred: bool,
}

/// Keeps the verdicts.
#[derive(Debug, Default)]
pub struct NameStateCache {
    known: Mutex<CachedStates>,
}

#[derive(Debug, Default)]
struct CachedStates {
    model: Option<Arc<Model>>,
    /// By [`PolicyId`]; with the cells that it is about.
    verdicts: Vec<(Arc<PolicyCells>, NameState)>,
}

impl NameStateCache {
    /// The verdict on each policy of a snapshot, by [`PolicyId`]. What it takes is the policies that changed since it was last
    /// asked, so the first call after a start or a reload looks at all: call it where blocking for that is no harm.
    pub fn states(&self, snapshot: &Snapshot) -> Vec<NameState> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.model.as_ref().is_some_and(|model| Arc::ptr_eq(model, &snapshot.model)) {
            *known = CachedStates { model: Some(snapshot.model.clone()), verdicts: Vec::new() };
        }
        let ideal = OnceCell::new();
        for (at, cells) in (0..snapshot.model.policies.len()).filter_map(|at| Some((at, of(snapshot, at)?))) {
            match known.verdicts.get_mut(at) {
                Some((old, _)) if Arc::ptr_eq(old, cells) => {}
                Some(verdict) => *verdict = (cells.clone(), judge(snapshot, &ideal, PolicyId(at as u32), cells)),
                None => known.verdicts.push((cells.clone(), judge(snapshot, &ideal, PolicyId(at as u32), cells))),
            }
        }
        known.verdicts.iter().map(|(_, state)| *state).collect()
    }
}

fn of(snapshot: &Snapshot, policy: usize) -> Option<&Arc<PolicyCells>> {
    snapshot.cells_of(PolicyId(policy as u32))
}

fn judge(snapshot: &Snapshot, ideal: &OnceCell<WorldView>, id: PolicyId, cells: &PolicyCells) -> NameState {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let ideal = || ideal.get_or_init(|| preference::ideal(view));
    let all = || answers(cells);
    NameState {
        eligible: preference::eligible(model, id, view),
        on_empty: all().any(|(_, cell)| cell.decision().is_on_empty()),
        preferred: all()
            .all(|(class, cell)| wishes(snapshot, &ideal, id, class, cell).iter().all(ClassPreference::is_granted)),
    }
}

/// The cells that answer clients, each with the class that it is for. Of a name that can be an alias or have addresses, the
/// alias is there once, for all types, and only where it is given.
pub(super) fn answers(cells: &PolicyCells) -> impl Iterator<Item = (Option<LocalClass>, &Cell)> {
    cells.iter().flat_map(|of| {
        of.by_class().filter(|(_, cell)| match cell.decision().kind {
            None => true,
            Some(Kind::Alias) => of.facet == Facet::Alias,
            Some(Kind::Addresses | Kind::ByNet) => of.facet != Facet::Alias,
        })
    })
}

/// What the policy would rather give to some clients who are given `served`.
pub(super) struct ClassPreference {
    /// Who they are; `None`: all that are given it.
    pub(super) class: Option<LocalClass>,
    /// What they should be given; `None`: they are given it.
    pub(super) better: Option<Decision>,
}

impl ClassPreference {
    fn is_granted(&self) -> bool {
        self.better.is_none()
    }
}

/// What the policy would rather give in place of a cell that is given to `class`, or to all. Who all get the same now may be
/// meant to get different answers: then there is one wish for each class.
pub(super) fn wishes<'v>(
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
    let mut wishes = Vec::new();
    for (at, members) in snapshot.local_classes(policy).enumerate() {
        let local = LocalClass(at as u16);
        if class.is_some_and(|class| class != local) {
            continue;
        }
        let best = preferred(model, policy, [view, ideal()], members, served);
        let is_for_all = class.is_none() && !best.looks_at_client;
        let better = (!is_preferred(model, view, served, &best)).then_some(best);
        wishes.push(ClassPreference { class: if is_for_all { None } else { Some(local) }, better });
        if is_for_all {
            break;
        }
    }
    wishes
}
