//! One source that is followed: its set, what it states, and what is logged of it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::sources::{SourceEntry, SourceReport};
use crate::daemon::discovery::HubParts;
use crate::daemon::discovery::keeper::OverrideProblem;
use crate::daemon::discovery::listing::{NoticePlace, SourceNotices};
use crate::discovery::endpoints::{StatedEndpoints, endpoints_of};
use crate::discovery::{Leaving, Served, SourceSet, SourceState, SourceStating, Trouble, TroubleState};
use crate::model::{DiscoveredPool, Moment, SourceSpec};

/// A source that is followed.
pub(super) struct Followed {
    pub(super) spec: Arc<DiscoveredPool>,
    pub(super) set: SourceSet,
    /// When it sent a list or a change last, or replied that nothing has changed.
    pub(super) read_at: Option<Moment>,
    /// What is not listed any more, and stays until another instance is up.
    pub(super) leaving: Leaving,
    pub(super) stating: Arc<SourceStating>,
    /// Whether the set has changed since `stating` was made of it.
    pub(super) is_changed: bool,
    /// Whether an operator has confirmed that change.
    pub(super) is_confirmed: bool,
    /// What the log and the events have of it.
    pub(super) notices: SourceNotices,
    /// Its last state, and when that or what it lists changed, in Unix seconds; `None`: not since the start.
    pub(super) changed: (SourceState, Option<f64>),
    pub(super) driver: Driver,
}

/// A running driver; it ends with this.
pub(super) struct Driver {
    /// Distinguishes its updates from those of an earlier driver of the same source.
    pub(super) number: u64,
    pub(super) stop: CancellationToken,
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) want_list: mpsc::Sender<()>,
    /// What is wrong with the overrides that the source states; `None`: it states none.
    pub(super) overrides: Option<watch::Receiver<OverrideProblem>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Followed {
    /// Makes what the source states of its set, and logs what came and went. Returns whether that has changed.
    pub(super) fn restate(&mut self, parts: &HubParts) -> bool {
        let is_changed = std::mem::take(&mut self.is_changed);
        if !is_changed && self.leaving.is_empty() {
            return false;
        }
        let (served, at) = (parts.links.snapshots.load_full(), clock::now());
        let stated =
            if is_changed { endpoints_of(&self.spec, self.set.instances()) } else { self.stating.stated.clone() };
        let is_other = stated != self.stating.stated;
        let known = Served { model: &served.model, view: &served.view, spec: &self.spec };
        if is_other && !self.is_confirmed && !self.set.is_empty() {
            self.leaving.replace([&self.stating.stated, &stated], &known, at);
        }
        self.leaving.settle(&stated, &known, at);
        if self.set.is_empty() {
            self.leaving.clear();
        }
        self.is_confirmed = false;
        let leaving = self.leaving.endpoints();
        if !is_other && leaving == self.stating.leaving {
            return false;
        }
        let now = clock::unix_seconds();
        let before = &self.stating;
        let since = |name: &String| (name.clone(), before.since.get(name).copied().unwrap_or(now));
        let since: HashMap<String, f64> = stated.endpoints.iter().map(|of| since(&of.name)).collect();
        let is_new = |name: &&String| !before.since.contains_key(*name);
        let came = since.keys().filter(is_new).map(String::as_str).collect();
        let went = before.since.keys().filter(|name| !since.contains_key(*name)).map(String::as_str).collect();
        let stays = || since.keys().filter(|name| before.since.contains_key(*name));
        let down = |of: &StatedEndpoints, name: &String| of.down.contains_key(name);
        let fell = stays().filter(|name| down(&stated, name) && !down(&before.stated, name));
        let rose = stays().filter(|name| !down(&stated, name) && down(&before.stated, name));
        let place = NoticePlace::of(&self.spec, parts);
        self.notices.listed(&place, came, ("gone", "listed"), at);
        self.notices.listed(&place, went, ("listed", "gone"), at);
        self.notices.listed(&place, fell.map(String::as_str).collect(), ("up", "down"), at);
        self.notices.listed(&place, rose.map(String::as_str).collect(), ("down", "up"), at);
        self.stating = Arc::new(SourceStating { stated, since, leaving });
        self.changed.1 = Some(now);
        true
    }

    /// Logs a state or a problem that is another than before, and what repeated.
    pub(super) fn log(&mut self, parts: &HubParts) {
        let (place, now) = (NoticePlace::of(&self.spec, parts), clock::now());
        let is_awaited = !self.set.is_known() && !self.set.has_failed() && self.override_problem().is_none();
        if !is_awaited {
            let is = (self.state(), self.problem(), self.set.len());
            if self.changed.0 != is.0 {
                self.changed = (is.0, Some(clock::unix_seconds()));
            }
            self.notices.is_in(&place, is, now);
        }
        self.notices.sum_up(&place, now);
    }

    fn override_problem(&self) -> OverrideProblem {
        self.driver.overrides.as_ref().and_then(|problem| problem.borrow().clone())
    }

    /// The state of its instances, or else of its overrides.
    fn state(&self) -> SourceState {
        match (self.set.state(), self.override_problem()) {
            (SourceState::Ok, Some(Trouble { state: TroubleState::Away, .. })) => SourceState::Away,
            (SourceState::Ok, Some(Trouble { state: TroubleState::Bad, .. })) => SourceState::Bad,
            (SourceState::Ok, None) if self.leaving.overdue(clock::now()) > 0 => SourceState::Held,
            (state, _) => state,
        }
    }

    /// What is wrong with its instances, and with its overrides.
    fn problem(&self) -> Option<String> {
        let of_overrides = self.override_problem().map(|trouble| trouble.problem);
        // Both have the same servers.
        let of_overrides = of_overrides.filter(|problem| Some(problem) != self.set.problem().as_ref());
        let left = match self.leaving.overdue(clock::now()) {
            0 => None,
            left => Some(format!(
                "{left} instances that it no longer lists stay: less than `min_keep` of what it listed is left, and \
                 nothing new is up; correct the source, or confirm with `portolan reload --confirm-removal`"
            )),
        };
        let problems: Vec<String> = [self.set.problem(), left, of_overrides].into_iter().flatten().collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// The endpoints that stay although it does not list them.
    fn withdrawn(&self) -> Vec<String> {
        let held = endpoints_of(&self.spec, self.set.held()).endpoints;
        held.iter().chain(&self.stating.leaving).map(|of| of.name.clone()).collect()
    }

    pub(super) fn entry(&self, now: Moment) -> SourceEntry {
        let problems: Vec<String> =
            [self.problem(), self.stating.stated.refused.shown()].into_iter().flatten().collect();
        // What is requested at intervals is as old as the last whole reply, also while a request waits for its reply.
        let is_requested = matches!(self.spec.source, SourceSpec::Http(_) | SourceSpec::Dns(_));
        let is_well = matches!(self.set.state(), SourceState::Ok | SourceState::Held) && self.set.is_known();
        let is_followed = is_well && !is_requested;
        let of_reply = self.read_at.filter(|_| is_requested).map(|at| now.since(at));
        let age = of_reply.or_else(|| self.set.age(now));
        SourceEntry {
            state: self.state(),
            known_at: age.filter(|_| !is_followed).map(|age| now - age),
            withdrawn: self.withdrawn(),
            report: SourceReport {
                name: self.spec.shown(),
                zone: self.spec.zone.to_string(),
                of: self.spec.source.as_str().to_owned(),
                state: self.state().as_str().to_owned(),
                age_ms: is_followed.then_some(0),
                endpoints: 0,
                left_out: self.set.left_out() + self.stating.stated.refused.total(),
                changed_at: self.changed.1,
                problem: (!problems.is_empty()).then(|| problems.join("; ")),
            },
        }
    }
}
