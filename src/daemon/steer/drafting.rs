//! Works out changes of the overrides, one after the other. With many globs and endpoints that takes long, so it is
//! done on another thread, and the steering task goes on meanwhile. A change whose draft was made from another book or
//! another model than those in force is worked out again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock;
use crate::control::command::{AppliedChange, MAX_WAITING, OverrideChange};
use crate::control::overrides::{Book, OverrideError};
use crate::daemon::overrides::Draft;
use crate::daemon::steer::Steer;
use crate::model::{Model, Moment};

/// Up to so many pairs of an override and an endpoint the steering task works a change out by itself (judgment: some
/// milliseconds, less than a round of another thread on a busy machine).
const FEW_PAIRS: usize = 100_000;

/// How long after a draft that broke off the end of overrides is tried again (judgment: an error of the program does
/// not go away by itself, and an override must not stay for hours).
const EXPIRY_RETRY: Duration = Duration::from_secs(60);

/// The reply to an operator.
type Reply = oneshot::Sender<Result<AppliedChange, OverrideError>>;

/// A change that is wanted.
pub(super) enum WantedChange {
    Operators(OverrideChange, Reply),
    /// Overrides whose time is over end.
    Expiry,
    /// The overrides become those of the fleet.
    Fleet,
}

/// The result of a draft; `None`: it broke off.
pub(super) type DraftResult = Option<MadeDraft>;

/// A draft; `None`: there is nothing to change. An error is for the operator.
type MadeDraft = Result<Option<Draft>, OverrideError>;

/// The changes that wait, and the one that is being worked out.
pub(crate) struct Drafting {
    waiting: VecDeque<WantedChange>,
    running: Option<Running>,
    threads: Handle,
    /// When the end of overrides may be worked out again, after it broke off.
    expiry_after: Option<Moment>,
}

struct Running {
    change: WantedChange,
    book: Arc<Book>,
    model: Arc<Model>,
    draft: JoinHandle<MadeDraft>,
}

impl Drafting {
    /// On these threads.
    pub(crate) fn on(threads: Handle) -> Drafting {
        Drafting { waiting: VecDeque::new(), running: None, threads, expiry_after: None }
    }

    /// Whether a further change can wait.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Whether a change is being worked out or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || !self.waiting.is_empty()
    }

    /// Whether overrides whose time is over may end now.
    pub(super) fn may_expire(&self, now: Moment) -> bool {
        !self.is_busy() && self.expiry_after.is_none_or(|at| at <= now)
    }

    /// A draft broke off. The sender of an operator's request sees that the reply was dropped, and the overrides of the
    /// fleet are taken over with their next change. The end of overrides is tried again, but not at once: it would
    /// break off again, without end.
    fn broke_off(&mut self, change: &WantedChange, now: Moment) {
        match change {
            WantedChange::Operators(..) | WantedChange::Fleet => {}
            WantedChange::Expiry => {
                tracing::error!("an override whose time is over could not be ended: it is tried again in a minute");
                self.expiry_after = Some(now + EXPIRY_RETRY);
            }
        }
    }

    /// Waits for the draft that is being made. Nothing is lost when this is dropped and called again.
    pub(super) async fn drafted(&mut self) -> DraftResult {
        match &mut self.running {
            // An error is a panic, which has been printed.
            Some(running) => (&mut running.draft).await.ok(),
            None => std::future::pending().await,
        }
    }
}

impl Steer {
    /// The changes of the fleet have arrived.
    pub(super) fn want_fleet(&mut self, model: &Arc<Model>) {
        // One that waits takes in everything that has arrived when it begins.
        if !self.drafting.waiting.iter().any(|change| matches!(change, WantedChange::Fleet)) {
            self.want_change(WantedChange::Fleet, model);
        }
    }

    /// Makes a change after those that wait.
    pub(super) fn want_change(&mut self, change: WantedChange, model: &Arc<Model>) {
        self.drafting.waiting.push_back(change);
        self.next_change(model);
    }

    /// Serves the change whose draft has been made, and begins the next one.
    pub(super) fn drafted(&mut self, draft: DraftResult, model: &Arc<Model>) {
        let Some(Running { change, book, model: of, .. }) = self.drafting.running.take() else { return };
        let is_valid = Arc::ptr_eq(&book, &self.overrides.book().load_full()) && Arc::ptr_eq(&of, model);
        match draft {
            None => self.drafting.broke_off(&change, clock::now()),
            Some(draft) if is_valid => self.end_change(change, draft),
            Some(_) => self.drafting.waiting.push_front(change),
        }
        self.next_change(model);
    }

    fn next_change(&mut self, model: &Arc<Model>) {
        while self.drafting.running.is_none() {
            let Some(change) = self.drafting.waiting.pop_front() else { return };
            let (drafter, model) = (self.overrides.drafter(), model.clone());
            let (operators, is_fleet) = match &change {
                WantedChange::Operators(change, _) => (Some(change.clone()), false),
                WantedChange::Expiry => (None, false),
                WantedChange::Fleet => (None, true),
            };
            let (book, of) = (drafter.book().clone(), model.clone());
            let more = operators.as_ref().map_or(0, OverrideChange::targets)
                + if is_fleet { self.overrides.shared_by_others() } else { 0 };
            let pairs = (book.entries().len() + more) * model.endpoints.len();
            let work = move || match operators {
                // What a source states may be in force already.
                Some(change) => drafter.draft(change, &model).map(|draft| Some(draft).filter(Draft::is_change)),
                None if is_fleet => Ok(drafter.fleet(&model)),
                None => Ok(Some(drafter.expiry(&model))),
            };
            match pairs <= FEW_PAIRS {
                true => self.end_change(change, work()),
                false => {
                    let draft = self.drafting.threads.spawn_blocking(work);
                    self.drafting.running = Some(Running { change, book, model: of, draft });
                }
            }
        }
    }

    fn end_change(&mut self, change: WantedChange, draft: MadeDraft) {
        match (change, draft) {
            (WantedChange::Operators(change, reply), draft) => {
                let applied = draft.and_then(|draft| draft.map(|draft| self.apply_change(&change, draft)).transpose());
                // The sender of the request may have gone; the change is made all the same. Without a draft there is
                // nothing to change, and the sender of the reply is dropped.
                if let Some(applied) = applied.transpose() {
                    let _ = reply.send(applied);
                }
            }
            (WantedChange::Expiry, Ok(Some(draft))) => self.apply_expiry(draft),
            (WantedChange::Fleet, Ok(Some(draft))) => self.apply_fleet(draft),
            // An end and the fleet's overrides are never refused.
            (WantedChange::Expiry | WantedChange::Fleet, Ok(None) | Err(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_of_overrides_that_broke_off_is_tried_again_after_a_minute_and_not_at_once() {
        let mut drafting = Drafting::on(Handle::current());
        let at = |secs| Moment::from_start(Duration::from_secs(secs));
        assert!(drafting.may_expire(at(0)));
        let (reply, _) = oneshot::channel();
        let clear = OverrideChange::Clear { targets: Vec::new(), who: "alice".into(), zones: None };
        drafting.broke_off(&WantedChange::Operators(clear, reply), at(0));
        assert!(drafting.may_expire(at(0)));
        drafting.broke_off(&WantedChange::Expiry, at(100));
        assert!(!drafting.may_expire(at(100)) && !drafting.may_expire(at(159)) && drafting.may_expire(at(160)));
        drafting.waiting.push_back(WantedChange::Expiry);
        assert!(!drafting.may_expire(at(200)), "another change is under way");
    }
}
