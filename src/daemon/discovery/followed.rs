//! One source that is followed: its set, what it states, and what is logged of it.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::sources::{SourceEntry, SourceReport};
use crate::daemon::discovery::HubParts;
use crate::daemon::discovery::keeper::OverrideProblem;
use crate::daemon::discovery::listing::{NoticePlace, SourceNotices};
use crate::discovery::{Restated, SourceState, TrackedSource, Trouble, TroubleState};
use crate::model::{Moment, SourceSpec};

/// A source that is followed.
pub(super) struct Followed {
    pub(super) tracked: TrackedSource,
    /// When it sent a list or a change last, or replied that nothing has changed.
    pub(super) read_at: Option<Moment>,
    /// What the log and the events have of it.
    pub(super) notices: SourceNotices,
    /// Its state when it was looked at last; before its first reply a source is away.
    pub(super) last_state: SourceState,
    /// When its state or what it lists changed last, in Unix seconds; `None`: not since the start.
    pub(super) changed_at: Option<f64>,
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
        let (served, at, now) = (parts.links.snapshots.load_full(), clock::now(), clock::unix_seconds());
        let Some(restated) = self.tracked.restate((&served.model, &served.view), at, now) else { return false };
        let Restated { came, went, fell, rose } = &restated;
        let place = NoticePlace::of(&self.tracked.spec, parts);
        for (names, states) in
            [(came, ("gone", "listed")), (went, ("listed", "gone")), (fell, ("up", "down")), (rose, ("down", "up"))]
        {
            self.notices.listed(&place, names.iter().map(String::as_str).collect(), states, at);
        }
        self.changed_at = Some(now);
        true
    }

    /// Logs a state or a problem that is another than before, and what repeated.
    pub(super) fn log(&mut self, parts: &HubParts) {
        let (place, now) = (NoticePlace::of(&self.tracked.spec, parts), clock::now());
        let is_awaited =
            !self.tracked.set.is_known() && !self.tracked.set.has_failed() && self.override_problem().is_none();
        if !is_awaited {
            let is = (self.state(), self.problem(), self.tracked.set.len());
            if self.last_state != is.0 {
                (self.last_state, self.changed_at) = (is.0, Some(clock::unix_seconds()));
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
        match (self.tracked.set.state(), self.override_problem()) {
            (SourceState::Ok, Some(Trouble { state: TroubleState::Away, .. })) => SourceState::Away,
            (SourceState::Ok, Some(Trouble { state: TroubleState::Bad, .. })) => SourceState::Bad,
            (_, _) => self.tracked.state(clock::now()),
        }
    }

    /// What is wrong with its instances, and with its overrides.
    fn problem(&self) -> Option<String> {
        let mut problems = self.tracked.problems(clock::now());
        let of_overrides = self.override_problem().map(|trouble| trouble.problem);
        // Both have the same servers.
        problems.extend(of_overrides.filter(|problem| Some(problem) != self.tracked.set.problem().as_ref()));
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    pub(super) fn entry(&self, now: Moment) -> SourceEntry {
        let TrackedSource { spec, set, stating, .. } = &self.tracked;
        let problems: Vec<String> = [self.problem(), stating.stated.refused.shown()].into_iter().flatten().collect();
        // What is requested at intervals is as old as the last whole reply, also while a request waits for its reply.
        let is_requested = matches!(spec.source, SourceSpec::Http(_) | SourceSpec::Dns(_));
        let is_well = matches!(set.state(), SourceState::Ok | SourceState::Held) && set.is_known();
        let is_followed = is_well && !is_requested;
        let of_reply = self.read_at.filter(|_| is_requested).map(|at| now.since(at));
        let age = of_reply.or_else(|| set.age(now));
        SourceEntry {
            state: self.state(),
            known_at: age.filter(|_| !is_followed).map(|age| now - age),
            withdrawn: self.tracked.withdrawn(),
            report: SourceReport {
                name: spec.shown(),
                zone: spec.zone.to_string(),
                of: spec.source.as_str().to_owned(),
                state: self.state().as_str().to_owned(),
                age_ms: is_followed.then_some(0),
                endpoints: 0,
                left_out: set.left_out() + stating.stated.refused.total(),
                changed_at: self.changed_at,
                problem: (!problems.is_empty()).then(|| problems.join("; ")),
            },
        }
    }
}
