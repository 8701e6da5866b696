//! Works out changes of the overrides, one after the other. With many globs and endpoints that takes long, so it is
//! done on another thread, and the steering task goes on meanwhile. A change whose draft was made from another book or
//! another model than those in force is worked out again.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::control::command::{AppliedChange, MAX_WAITING, OverrideChange};
use crate::control::overrides::{Book, OverrideError};
use crate::daemon::overrides::Draft;
use crate::daemon::steer::Steer;
use crate::model::Model;

/// Up to so many pairs of an override and an endpoint the steering task works a change out by itself (judgment: some
/// milliseconds, less than a round of another thread on a busy machine).
const FEW_PAIRS: usize = 100_000;

/// The reply to an operator.
type Reply = oneshot::Sender<Result<AppliedChange, OverrideError>>;

/// A change that is wanted.
pub(super) enum WantedChange {
    Operators(OverrideChange, Reply),
    /// Overrides whose time is over end.
    Expiry,
}

/// The result of a draft; `None`: it broke off.
pub(super) type DraftResult = Option<Result<Draft, OverrideError>>;

/// The changes that wait, and the one that is being worked out.
pub(crate) struct Drafting {
    waiting: VecDeque<WantedChange>,
    running: Option<Running>,
    threads: Handle,
}

struct Running {
    change: WantedChange,
    book: Arc<Book>,
    model: Arc<Model>,
    draft: JoinHandle<Result<Draft, OverrideError>>,
}

impl Drafting {
    /// On these threads.
    pub(crate) fn on(threads: Handle) -> Drafting {
        Drafting { waiting: VecDeque::new(), running: None, threads }
    }

    /// Whether a further change can wait.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Whether a change is being worked out or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || !self.waiting.is_empty()
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
            // The sender of an operator's request sees that the reply was dropped.
            None => {}
            Some(draft) if is_valid => self.end_change(change, draft),
            Some(_) => self.drafting.waiting.push_front(change),
        }
        self.next_change(model);
    }

    fn next_change(&mut self, model: &Arc<Model>) {
        while self.drafting.running.is_none() {
            let Some(change) = self.drafting.waiting.pop_front() else { return };
            let (drafter, model) = (self.overrides.drafter(), model.clone());
            let operators = match &change {
                WantedChange::Operators(change, _) => Some(change.clone()),
                WantedChange::Expiry => None,
            };
            let (book, of) = (drafter.book().clone(), model.clone());
            let pairs = (book.entries().len() + targets(operators.as_ref())) * model.endpoints.len();
            let work = move || match operators {
                Some(change) => drafter.draft(change, &model),
                None => Ok(drafter.expiry(&model)),
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

    fn end_change(&mut self, change: WantedChange, draft: Result<Draft, OverrideError>) {
        match (change, draft) {
            (WantedChange::Operators(change, reply), draft) => {
                let applied = draft.and_then(|draft| self.apply_change(&change, draft));
                // The sender of the request may have gone; the change is made all the same.
                let _ = reply.send(applied);
            }
            (WantedChange::Expiry, Ok(draft)) => self.apply_expiry(draft),
            // An end is never refused.
            (WantedChange::Expiry, Err(_)) => {}
        }
    }
}

/// How many targets a change has.
fn targets(change: Option<&OverrideChange>) -> usize {
    match change {
        Some(OverrideChange::Put { overrides, .. }) => overrides.len(),
        Some(OverrideChange::Clear { targets, .. }) => targets.len(),
        None => 0,
    }
}
