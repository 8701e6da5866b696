//! The task of the bucket `overrides`, in a server. [`Sharing`] decides, this task passes values and messages.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::overrides::{BucketState, Sharing};
use crate::fleet::nats::{Bucket, BucketEntry, BucketEvent, BucketKind, BucketWatch, Nats, PutError};
use crate::fleet::overrides::{OverrideWrite, StoredAt, TAKEN_EVERY, TakenMessage, WriteEnd};
use crate::model::Moment;

/// Most values that are written at a time. Judgment: a command has at most 200, and each takes a round trip.
const WRITES_AT_ONCE: usize = 64;
/// The least time between two looks at what waits, so that an overdue write does not make the task busy.
const LEAST_WAIT: Duration = Duration::from_millis(10);

/// Follows the bucket until the fleet stops.
pub(super) struct OverrideTask {
    pub(super) nats: Nats,
    pub(super) sharing: Arc<Sharing>,
}

/// The writes that are under way. A store without a quorum replies late or never, and the task goes on meanwhile.
type Writes = JoinSet<(OverrideWrite, WriteEnd, Option<String>)>;

/// What was last published of what this server has taken.
struct Published {
    message: Option<TakenMessage>,
    due: Moment,
}

impl OverrideTask {
    pub(super) async fn run(self, stop: CancellationToken) {
        let bucket = Bucket::of(&self.nats, BucketKind::Overrides);
        let mut watch = bucket.watch(true);
        let Some(mut taken) = self.nats.subscribe(self.nats.subjects().all_taken()).await else { return };
        let mut wanted = self.sharing.wanted();
        let mut connection = self.nats.changes();
        let mut published = Published { message: None, due: clock::now() };
        let mut writes = Writes::new();
        loop {
            let next = self.sharing.next_write_in().filter(|_| writes.len() < WRITES_AT_ONCE);
            let until_write = next.map_or(TAKEN_EVERY, Duration::from_millis);
            let wait = published.due.since(clock::now()).min(until_write).max(LEAST_WAIT);
            tokio::select! {
                () = stop.cancelled() => return,
                event = watch.next() => match event {
                    Some(event) => if !self.take_all(event, &mut watch) { return },
                    None => return,
                },
                message = taken.next() => match message {
                    Some(message) => {
                        let server = self.nats.subjects().taken_by(&message.subject);
                        self.sharing.note_taken(server.as_deref(), &message.payload);
                    }
                    None => return,
                },
                Some(Ok((write, end, problem))) = writes.join_next() => self.sharing.written(&write, end, problem),
                // An error is the end of the connection, or of what is shared with this task.
                changed = wanted.changed() => if changed.is_err() { return },
                changed = connection.changed() => match changed {
                    Ok(()) => self.note_connection(&connection.borrow_and_update()),
                    Err(_) => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
            self.write(&bucket, &mut writes);
            self.publish(&mut published);
        }
    }

    /// Without a connection nothing is shared, which is known before the next read of the bucket fails.
    fn note_connection(&self, status: &crate::fleet::nats::ConnectionStatus) {
        if !status.is_connected {
            let why = status.problem.as_deref().unwrap_or("there is no connection");
            self.sharing.set_state(BucketState::Away(why.to_owned()));
        }
    }

    /// Takes in an event and all that have come after it. `false`: the connection has ended.
    fn take_all(&self, event: BucketEvent, watch: &mut BucketWatch) -> bool {
        let mut is_complete = self.take(event, watch);
        let mut has_ended = false;
        while let Some(next) = watch.try_next() {
            match next {
                Some(event) => is_complete |= self.take(event, watch),
                None => {
                    has_ended = true;
                    break;
                }
            }
        }
        self.sharing.taken_in(is_complete);
        !has_ended
    }

    /// Takes in an event. `true`: all of the bucket has been read.
    fn take(&self, event: BucketEvent, watch: &BucketWatch) -> bool {
        match event {
            BucketEvent::Entry(BucketEntry { key, revision, value, stored }) => {
                let at = StoredAt { revision, age: stored.age, stamp: stored.stamp };
                self.sharing.read(&key, value.as_deref(), at, stored.bucket.as_deref());
                false
            }
            BucketEvent::Current { began, in_step, revisions } => {
                self.sharing.complete(began, (in_step, revisions), watch.created().as_deref());
                true
            }
            BucketEvent::Lost => {
                self.sharing.read_anew();
                false
            }
            BucketEvent::Away(why) => {
                // Without a connection that is no news.
                if self.nats.status().is_connected {
                    tracing::warn!(why, "the overrides of the fleet can't be read: those that are known stay in force");
                }
                self.sharing.set_state(BucketState::Away(why));
                false
            }
        }
    }

    /// Begins to write what is pending.
    fn write(&self, bucket: &Bucket, under_way: &mut Writes) {
        for write in self.sharing.writes(WRITES_AT_ONCE.saturating_sub(under_way.len())) {
            let bucket = bucket.clone();
            under_way.spawn(async move {
                let (end, problem) = put(&bucket, &write).await;
                (write, end, problem)
            });
        }
    }

    /// Publishes what this server has taken, where that has changed, and from time to time.
    fn publish(&self, published: &mut Published) {
        let (message, now) = (self.sharing.own_taken(), clock::now());
        if published.message.as_ref() == Some(&message) && now < published.due {
            return;
        }
        let subject = self.nats.subjects().taken(self.nats.node());
        if self.nats.status().is_connected {
            self.nats.publish(subject, message.encode().into());
        }
        *published = Published { message: Some(message), due: now + TAKEN_EVERY };
    }
}

async fn put(bucket: &Bucket, write: &OverrideWrite) -> (WriteEnd, Option<String>) {
    let OverrideWrite { key, value, expected, .. } = write;
    let result = match value {
        Some(value) => bucket.put(key, value.clone().into(), Some(*expected)).await,
        None => bucket.delete(key, Some(*expected)).await,
    };
    match result {
        Ok(revision) => (WriteEnd::Stored(revision), None),
        // The watch shows what another server has written.
        Err(PutError::Conflict) => (WriteEnd::Failed, None),
        Err(PutError::Refused(why) | PutError::Unknown(why)) => (WriteEnd::Failed, Some(why)),
    }
}
