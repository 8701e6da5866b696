//! The overrides that this server shares with its fleet. The steering task changes them and follows them; the task of
//! the fleet ([`crate::daemon::fleet`]) passes values between them and the bucket; the API reads how far they are.
//!
//! Nothing waits here for NATS: a change is in force on this server at once, and pending until the bucket has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::clock;
use crate::control::command::SharedOutcome;
use crate::control::target::Target;
use crate::daemon::clocks::WallClock;
use crate::daemon::overrides::OverrideEdit;
use crate::fleet::overrides::{
    FleetOverride, OverrideEffect, OverrideMerge, OverrideRead, OverrideWrite, SavedMerge, StoredAt, TakenBook,
    TakenMessage, TimedOverride, WriteEnd, millis_of,
};
use crate::model::{Moment, Override};
use crate::printable::escaped;
use crate::wire::Name;

/// Whether the bucket can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum BucketState {
    /// It was not read yet.
    #[default]
    Waiting,
    /// It is read.
    Current,
    /// It can't be read now: why.
    Away(String),
}

/// See the comment of this file. All servers have the same changes in it once they have read the bucket.
#[derive(Debug)]
pub(crate) struct Sharing {
    pub(super) node: Arc<str>,
    shared: Mutex<Shared>,
    /// Something has to be written or published.
    wanted: watch::Sender<()>,
    /// The changes of others have to be served, or the state has to be saved.
    arrived: watch::Sender<()>,
    /// Whether the bucket was read since the start.
    complete: watch::Sender<bool>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) merge: OverrideMerge,
    pub(super) state: BucketState,
    /// Something has changed that the steering task does not know yet.
    is_news: bool,
    /// All changes up to this revision are served.
    pub(super) served: u64,
    pub(super) taken: TakenBook,
    waiting: Vec<WaitingChange>,
    pub(super) write_problem: Option<String>,
    pub(super) refused_why: Option<String>,
    pub(super) refused_messages: u64,
}

/// A command that waits until the bucket has its changes.
#[derive(Debug)]
struct WaitingChange {
    changes: Vec<(String, u64)>,
    reply: oneshot::Sender<Result<(), String>>,
}

/// Most commands that wait at a time; of a further one the reply is that it is not shared yet. Their callers wait for
/// some seconds at most (judgment).
const MAX_WAITING: usize = 256;

/// How long a start waits for the fleet's overrides before it answers. Judgment: a connection and a read take less, and
/// what was drained while this server was off must not be answered.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// The overrides in force by the changes of all servers, the oldest first, each with its key.
pub(super) struct FleetBook {
    pub(super) overrides: Vec<(String, TimedOverride)>,
    /// The highest revision that was read.
    pub(super) highest: u64,
}

impl Sharing {
    /// Shares these changes. `node` is this server.
    pub(super) fn new(node: &str, merge: OverrideMerge) -> Sharing {
        let shared = Shared {
            merge,
            state: BucketState::Waiting,
            is_news: false,
            served: 0,
            taken: TakenBook::default(),
            waiting: Vec::new(),
            write_problem: None,
            refused_why: None,
            refused_messages: 0,
        };
        let (wanted, arrived, complete) = (watch::channel(()).0, watch::channel(()).0, watch::channel(false).0);
        Sharing { node: node.into(), shared: Mutex::new(shared), wanted, arrived, complete }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when something has to be written or published.
    pub(crate) fn wanted(&self) -> watch::Receiver<()> {
        marked(self.wanted.subscribe())
    }

    /// Changes when changes of others have arrived.
    pub(crate) fn arrived(&self) -> watch::Receiver<()> {
        marked(self.arrived.subscribe())
    }

    /// Returns when the bucket was read, or after a moment.
    pub(crate) async fn read_soon(&self) {
        let mut complete = self.complete.subscribe();
        if tokio::time::timeout(READ_WITHIN, complete.wait_for(|is_complete| *is_complete)).await.is_err() {
            tracing::warn!("the overrides of the fleet were not read yet: those from before the start are in force");
        }
    }

    /// Takes the changes of a command that this server serves now. Returns the key and the id of each. The receiver
    /// gets `Ok` once the bucket has them all, or why it does not yet.
    pub(super) fn change(&self, edits: &[OverrideEdit], clock: &WallClock) -> (Vec<(String, u64)>, SharedOutcome) {
        let now = clock::now();
        let mut shared = self.shared();
        let mut changes = Vec::new();
        for edit in edits {
            let Some(who) = &edit.who else { continue };
            let (of, effect) = match (&edit.now, &edit.before) {
                (Some(made), _) => (made, OverrideEffect::Set(made.state)),
                (None, Some(ended)) => (ended, OverrideEffect::Clear),
                (None, None) => continue,
            };
            let left = of.until.filter(|_| edit.now.is_some()).map(|until| until - clock.unix(now));
            let change = change_of(of, effect, who, &self.node);
            let end = left.map(|left| millis_of(now).saturating_add((left * 1e3).round() as i64));
            let id = change.id;
            changes.push((shared.merge.change(change, end, millis_of(now)), id));
        }
        let (reply, outcome) = oneshot::channel();
        let ids = changes.clone();
        match shared.why_away() {
            Some(why) => _ = reply.send(Err(why)),
            None if shared.waiting.len() >= MAX_WAITING => _ = reply.send(Err("too many commands wait".to_owned())),
            None => shared.waiting.push(WaitingChange { changes, reply }),
        }
        drop(shared);
        self.wanted.send_replace(());
        (ids, outcome)
    }

    /// What is in force by the changes of all servers.
    pub(super) fn in_force(&self, now: Moment) -> FleetBook {
        let shared = self.shared();
        let all = shared.merge.in_force(millis_of(now));
        let overrides = all.into_iter().map(|(key, timed)| (key.to_owned(), timed.clone())).collect();
        FleetBook { overrides, highest: shared.merge.highest() }
    }

    /// How many changes there are at most.
    pub(super) fn count(&self) -> usize {
        self.shared().merge.count()
    }

    /// The keys of overrides.
    pub(super) fn keys_of(&self, all: &[Arc<Override>]) -> Vec<String> {
        let shared = self.shared();
        all.iter().map(|of| shared.merge.key_of(&of.target, sorted(of.zones.as_deref()).as_deref())).collect()
    }

    /// Who ended the override of this key: the operator and the server; `None`: its time is over.
    pub(super) fn cleared_by(&self, key: &str) -> Option<String> {
        let shared = self.shared();
        let last = &shared.merge.last_of(key)?.change;
        (last.effect == OverrideEffect::Clear).then(|| self.by(last))
    }

    /// Whether the last change of this key was made at another server, or is no longer known.
    pub(super) fn is_of_other(&self, key: &str) -> bool {
        self.shared().merge.last_of(key).is_none_or(|last| *last.change.node != *self.node)
    }

    /// The operator of a change, and the server if it is another one.
    pub(super) fn by(&self, change: &FleetOverride) -> String {
        match *change.node == *self.node {
            true => change.who.clone(),
            false => format!("{} at {}", change.who, change.node),
        }
    }

    /// All changes up to this revision are served.
    pub(super) fn serves(&self, revision: u64) {
        let mut shared = self.shared();
        let is_new = std::mem::replace(&mut shared.served, revision) != revision;
        drop(shared);
        if is_new {
            self.wanted.send_replace(());
        }
    }

    /// All changes, for the state directory.
    pub(super) fn saved(&self, now: Moment) -> SavedMerge {
        self.shared().merge.saved(millis_of(now))
    }

    /// Sets whether the bucket can be read.
    pub(crate) fn set_state(&self, state: BucketState) {
        let mut shared = self.shared();
        shared.state = state;
        if let Some(why) = shared.why_away() {
            for waiting in shared.waiting.drain(..) {
                // Whoever waited may have gone.
                let _ = waiting.reply.send(Err(why.clone()));
            }
        }
    }

    /// Takes a value of the bucket. [`Sharing::taken_in`] ends a run of them.
    pub(crate) fn read(&self, key: &str, value: Option<&[u8]>, at: StoredAt, bucket: Option<&str>) {
        let mut shared = self.shared();
        bucket.into_iter().for_each(|bucket| shared.merge.bucket_is(bucket));
        let result = shared.merge.read(key, value, at, millis_of(clock::now()));
        shared.is_news |= result != OverrideRead::Nothing;
        if let OverrideRead::Refused(why) = &result {
            let text = format!("{}: {why}", escaped(key));
            // One line for a bucket full of them.
            if shared.refused_why.is_none() {
                tracing::warn!(key = %escaped(key), %why, "an override of the fleet can't be used");
            }
            shared.refused_why = Some(text);
        }
        drop(shared);
        self.log(&result);
    }

    fn log(&self, result: &OverrideRead) {
        let by = |change: &FleetOverride| escaped(&self.by(change)).into_owned();
        match result {
            OverrideRead::Taken(newer, Some(older)) if *older.node == *self.node => {
                let target = &*escaped(&newer.target);
                tracing::info!(target, by = by(newer), "a newer change replaces the one that was made here");
            }
            OverrideRead::Older(newer, older) => {
                let (target, of) = (&*escaped(&newer.target), by(older));
                tracing::info!(target, by = by(newer), of, "the change that was made here is newer than the fleet's");
            }
            OverrideRead::Taken(..)
            | OverrideRead::Nothing
            | OverrideRead::Confirmed
            | OverrideRead::Forgotten
            | OverrideRead::Refused(_) => {}
        }
    }

    /// The bucket was lost or is read anew.
    pub(crate) fn read_anew(&self) {
        self.shared().merge.read_anew();
    }

    /// Everything that was in the bucket at `began` was read; see [`OverrideMerge::complete`].
    pub(crate) fn complete(
        &self,
        began: Moment,
        (in_step, revisions): (Option<Moment>, Option<(u64, u64)>),
        bucket: Option<&str>,
    ) {
        let mut shared = self.shared();
        bucket.into_iter().for_each(|bucket| shared.merge.bucket_is(bucket));
        shared.is_news |= shared.merge.complete(millis_of(began), in_step.map(millis_of), revisions);
        shared.state = BucketState::Current;
    }

    /// A run of values has been read: the steering task follows them.
    pub(crate) fn taken_in(&self, is_complete: bool) {
        let mut shared = self.shared();
        shared.answer_waiting();
        let is_news = std::mem::take(&mut shared.is_news);
        drop(shared);
        if is_news {
            self.arrived.send_replace(());
        }
        if is_complete {
            self.complete.send_replace(true);
        }
    }

    /// What has to be written now.
    pub(crate) fn writes(&self, most: usize) -> Vec<OverrideWrite> {
        self.shared().merge.writes(most, millis_of(clock::now()))
    }

    /// A write has ended, with a problem or without one.
    pub(crate) fn written(&self, write: &OverrideWrite, end: WriteEnd, problem: Option<String>) {
        let mut shared = self.shared();
        shared.merge.written(write, end, millis_of(clock::now()));
        if problem.is_some() || end != WriteEnd::Failed {
            shared.write_problem = problem;
        }
        shared.answer_waiting();
        drop(shared);
        // What is not pending any more is saved.
        if end != WriteEnd::Failed {
            self.arrived.send_replace(());
        }
    }

    /// How many milliseconds from now the next write is due; `None`: nothing waits.
    pub(crate) fn next_write_in(&self) -> Option<u64> {
        let due = self.shared().merge.next_due()?;
        Some(u64::try_from(due.saturating_sub(millis_of(clock::now()))).unwrap_or(0))
    }

    /// What this server has taken.
    pub(crate) fn own_taken(&self) -> TakenMessage {
        self.shared().own_taken()
    }

    /// Takes what another server has taken.
    pub(crate) fn note_taken(&self, server: Option<&str>, payload: &[u8]) {
        let message = TakenMessage::decode(payload).zip(server.filter(|server| **server != *self.node));
        let mut shared = self.shared();
        let is_used = message.is_some_and(|(message, of)| shared.taken.note(of, message, millis_of(clock::now())));
        if !is_used {
            shared.refused_messages += 1;
        }
    }
}

impl Shared {
    pub(super) fn own_taken(&self) -> TakenMessage {
        TakenMessage::new(self.merge.bucket(), self.served, self.merge.pending())
    }

    /// Why nothing can be shared now.
    fn why_away(&self) -> Option<String> {
        match &self.state {
            BucketState::Away(why) => Some(format!("NATS is away ({})", escaped(why))),
            BucketState::Waiting | BucketState::Current => None,
        }
    }

    /// Replies to the commands whose changes the bucket has. One that was replaced has been shared too: it was in the
    /// bucket, or another change of its target is.
    fn answer_waiting(&mut self) {
        let Shared { waiting, merge, .. } = self;
        let is_shared =
            |of: &WaitingChange| !of.changes.iter().any(|(key, id)| merge.is_pending(key, *id)) || of.reply.is_closed();
        for done in waiting.extract_if(.., |of| is_shared(of)) {
            // Whoever waited may have gone.
            let _ = done.reply.send(Ok(()));
        }
    }
}

/// What came before the subscription counts as new.
fn marked(mut receiver: watch::Receiver<()>) -> watch::Receiver<()> {
    receiver.mark_changed();
    receiver
}

/// The change of an override that this server made.
pub(super) fn change_of(of: &Override, effect: OverrideEffect, who: &str, node: &str) -> FleetOverride {
    FleetOverride {
        id: clock::entropy(),
        target: of.target.clone(),
        zones: sorted(of.zones.as_deref()),
        effect,
        who: who.to_owned(),
        why: of.why.clone(),
        node: node.to_owned(),
    }
}

/// The zones of an override in the order of keys.
pub(super) fn sorted(zones: Option<&[Name]>) -> Option<Vec<Name>> {
    let mut all = zones?.to_vec();
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// The one text of all forms of a target.
pub(super) fn canonical(target: &str) -> String {
    Target::parse(target).canonical()
}
