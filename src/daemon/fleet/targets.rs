//! The task of the bucket `targets`. It reads what is to be probed; in a server it also writes what the server's zones
//! need. [`TargetPublisher`] and [`TargetBook`] decide, this task passes values.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::fleet::board::{Board, TargetState};
use crate::fleet::nats::{Bucket, BucketEvent, BucketKind, BucketWatch, Nats, PutError};
use crate::fleet::targets::{TargetBook, TargetPlan, TargetPublisher, Write, ZoneTargets};
use crate::model::quorum::STALE_AFTER;
use crate::model::{Model, Moment};
use crate::snapshot::Snapshot;

/// How often the zones are compared with the bucket when nothing happens (judgment: a reload reaches the vantages
/// within a second).
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time from a write that nobody replied to until the next one (judgment).
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// What a server has in addition: the zones that it writes.
pub(super) struct TargetWriter {
    pub(super) node: Arc<str>,
    pub(super) snapshots: Arc<ArcSwap<Snapshot>>,
}

/// Follows the bucket until the fleet stops.
pub(super) struct TargetTask {
    pub(super) nats: Nats,
    /// The programs that the fleet may run here.
    pub(super) allowed: Vec<String>,
    pub(super) writer: Option<TargetWriter>,
    /// Where the plan goes.
    pub(super) plan: watch::Sender<Arc<TargetPlan>>,
    pub(super) board: Arc<Board>,
}

/// The zones of a server, as they are written.
struct Writing {
    publisher: TargetPublisher,
    /// The model that they are of.
    model: Arc<Model>,
    retry_at: Option<Moment>,
}

impl TargetTask {
    pub(super) async fn run(self, stop: CancellationToken) {
        let bucket = Bucket::of(&self.nats, BucketKind::Targets);
        let mut watch = bucket.watch(self.writer.is_some());
        let mut book = TargetBook::default();
        let mut writing: Option<Writing> = None;
        let mut is_current = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = watch.next() => match event {
                    Some(event) => self.take(event, &mut book, &mut is_current),
                    None => return,
                },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if !self.drain(&mut watch, &mut book, &mut is_current) {
                return;
            }
            if let Some(writer) = &self.writer {
                self.follow_zones(writer, &mut writing).await;
                if let Some(writing) = writing.as_mut().filter(|_| is_current) {
                    is_current = self.write(&bucket, writing, &mut book).await;
                }
            }
            self.publish(&mut book, is_current);
        }
    }

    /// Takes in everything that has come. `false`: the connection has ended.
    fn drain(&self, watch: &mut BucketWatch, book: &mut TargetBook, is_current: &mut bool) -> bool {
        while let Some(event) = watch.try_next() {
            match event {
                Some(event) => self.take(event, book, is_current),
                None => return false,
            }
        }
        true
    }

    fn take(&self, event: BucketEvent, book: &mut TargetBook, is_current: &mut bool) {
        let now = clock::now();
        match event {
            BucketEvent::Entry(entry) => {
                *is_current = false;
                book.apply(&entry.key, entry.revision, entry.value.as_deref(), now);
            }
            BucketEvent::Lost => {
                *is_current = false;
                book.lost(now);
            }
            BucketEvent::Current { .. } => {
                *is_current = true;
                self.board.set_targets(TargetState::Current);
            }
            BucketEvent::Away(why) => {
                // Without a connection that is no news.
                if self.nats.status().is_connected {
                    tracing::warn!(why, "the targets of the fleet can't be read: what is probed stays as it is");
                }
                self.board.set_targets(TargetState::Away(why.into()));
            }
        }
    }

    /// Takes the zones of a new generation.
    async fn follow_zones(&self, writer: &TargetWriter, writing: &mut Option<Writing>) {
        let model = Arc::clone(&writer.snapshots.load().model);
        if writing.as_ref().is_some_and(|known| Arc::ptr_eq(&known.model, &model)) {
            return;
        }
        let (of_thread, node) = (Arc::clone(&model), Arc::clone(&writer.node));
        let Ok(zones) = tokio::task::spawn_blocking(move || ZoneTargets::of(&of_thread, &node)).await else { return };
        match writing {
            Some(known) => {
                known.publisher.adopt(zones);
                known.model = model;
            }
            None => {
                *writing = Some(Writing { publisher: TargetPublisher::new(&writer.node, zones), model, retry_at: None })
            }
        }
    }

    /// Writes what is missing. `false`: the bucket has something that was not read yet.
    async fn write(&self, bucket: &Bucket, writing: &mut Writing, book: &mut TargetBook) -> bool {
        if writing.retry_at.is_some_and(|at| clock::now() < at) {
            return true;
        }
        writing.retry_at = None;
        // After a connection it takes some seconds until all reports have come: until then every node counts as live.
        let status = self.nats.status();
        let is_settled = status.is_connected && clock::now().since(status.since) > STALE_AFTER;
        let is_live = |node: &str| !is_settled || self.board.is_live(node);
        while let Some(write) = writing.publisher.next_write(book, clock::now(), is_live) {
            let Write { key, value, expected } = write;
            let written = match &value {
                Some(text) => bucket.put(&key, text.clone().into(), expected).await,
                None => bucket.delete(&key, expected).await,
            };
            match written {
                Ok(revision) => {
                    writing.publisher.written(&key);
                    book.apply(&key, revision, value.as_ref().map(String::as_bytes), clock::now());
                }
                Err(PutError::Conflict) => return false,
                // Other zones may be accepted.
                Err(PutError::Refused(why)) => writing.publisher.refused(&key, &why, clock::now()),
                Err(PutError::Unknown(why)) => {
                    writing.publisher.refused(&key, &why, clock::now());
                    self.board.note_publisher(&writing.publisher);
                    writing.retry_at = Some(clock::now() + RETRY_AFTER);
                    return true;
                }
            }
        }
        self.board.note_publisher(&writing.publisher);
        true
    }

    /// Passes the plan on, if it is another one.
    fn publish(&self, book: &mut TargetBook, is_current: bool) {
        self.board.note_book(book);
        if let Some(plan) = book.take_plan(&self.allowed, clock::now()) {
            tracing::info!(
                checks = plan.targets.len(),
                not_allowed = plan.not_allowed,
                refused = plan.refused,
                why = plan.why,
                "what the fleet probes has changed"
            );
            self.board.note_plan(&plan);
            self.plan.send_replace(Arc::new(plan));
        }
        if is_current {
            self.board.has_plan.store(true, Ordering::Relaxed);
        }
    }
}
