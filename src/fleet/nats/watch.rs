//! Follows all keys of a bucket, without a consumer in JetStream: a reader needs only the right to read, and nothing is
//! left behind in JetStream when it goes.
//!
//! A watch reads whatever has a higher revision than the last one that it knows: at the start, after each reconnection,
//! in regular intervals, and at once when a message on a key's subject announces a write. That message itself is not
//! believed: JetStream may refuse what it announces. A read that the copies of the bucket answer late is repeated soon.
//!
//! If the bucket itself was made anew, its revisions begin again: the watch reports [`BucketEvent::Lost`] and reads all
//! of it. A node that may look at the bucket itself compares when it was made. One that may only read looks whether the
//! last entry that it knows is still there, or a later one of the same key; after a reconnection it reads all again. Of
//! overrides each server compares both.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::fleet::nats::bucket::{Bucket, BucketInfo, BucketKind};
use crate::fleet::nats::bucket_event::{BucketEntry, BucketEvent, StoredTime, millis_of_stamp};
use crate::fleet::nats::jetstream::{ApiError, BatchPart, NOT_FOUND, UNUSABLE, batch_part};
use crate::fleet::nats::{ConnectionStatus, NatsLink, NatsSubscription};
use crate::model::Moment;

/// The events of a bucket. The watch ends when this is dropped.
pub struct BucketWatch {
    events: mpsc::Receiver<BucketEvent>,
    created: watch::Receiver<Option<Arc<str>>>,
}

impl BucketWatch {
    /// The next event. Nothing is lost when this is dropped and called again. `None` after the end of the connection.
    pub async fn next(&mut self) -> Option<BucketEvent> {
        self.events.recv().await
    }

    /// When the bucket was made that is read now; `None` where this node can't know.
    pub fn created(&self) -> Option<Arc<str>> {
        self.created.borrow().clone()
    }

    /// An event that has come already; `Some(None)` after the end of the connection.
    pub fn try_next(&mut self) -> Option<Option<BucketEvent>> {
        match self.events.try_recv() {
            Ok(event) => Some(Some(event)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(None),
        }
    }
}

impl Bucket {
    /// Follows all keys from the first on: see [`BucketWatch`]. `makes_it`: the bucket is made where there is none,
    /// which servers may do. Must be called within a tokio runtime.
    pub fn watch(&self, makes_it: bool) -> BucketWatch {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        let (created, known) = watch::channel(None);
        let bucket = self.clone();
        let watcher = Watcher {
            connections: bucket.nats.status().connections,
            bucket,
            makes_it,
            events: sender,
            created,
            time: None,
            in_step: None,
            revisions: None,
            last: None,
            doubts: 0,
            away: None,
        };
        tokio::spawn(watcher.run());
        BucketWatch { events, created: known }
    }
}

/// Most events that wait for the reader; a read waits meanwhile (judgment).
const MAX_WAITING: usize = 256;
/// Most entries and octets of one read. More follow in the next one.
const MAX_BATCH: u64 = 256;
const MAX_BATCH_OCTETS: u64 = 8 << 20;
/// After an announced write: when it is looked for. It may take some time until all copies of the bucket have it.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];
/// Least time between two reads: many writes are read together.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// The time from a read that failed to the next one; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(5);
/// After so many reads without the last known entry the bucket is another one. A copy of the bucket that is late lacks
/// it too, but not for seconds.
const MAX_DOUBTS: u32 = 3;
/// How often a watch looks whether the bucket is still the same one.
const LOOK_AT_BUCKET_EVERY: Duration = Duration::from_secs(20);

/// How often a bucket is read when nothing announces a write. Leases are read often, because the silence of a holder
/// counts only while the bucket can be read.
fn read_every(kind: BucketKind) -> Duration {
    match kind {
        BucketKind::Leases => Duration::from_millis(500),
        BucketKind::Overrides => Duration::from_secs(2),
        BucketKind::Targets => Duration::from_secs(5),
    }
}

struct Watcher {
    bucket: Bucket,
    makes_it: bool,
    events: mpsc::Sender<BucketEvent>,
    /// When the bucket was made whose entries were reported; `None` where this node can't know.
    created: watch::Sender<Option<Arc<str>>>,
    /// A moment, and the time of NATS then.
    time: Option<(Moment, i64)>,
    /// See [`BucketEvent::Current`].
    in_step: Option<Moment>,
    /// The first and the last revision, when this node last looked at the bucket itself. `None`: a majority of its
    /// copies was away then.
    revisions: Option<(u64, u64)>,
    /// The last entry that was reported.
    last: Option<LastEntry>,
    /// Reads one after another in which that entry was missing.
    doubts: u32,
    /// Why the bucket can't be read, as it was reported last.
    away: Option<String>,
    /// How often the connection had been made at the last [`Woken::Connected`].
    connections: u64,
}

/// Where the next read begins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LastEntry {
    key: String,
    revision: u64,
    /// When it was written, as JetStream has it.
    stamp: String,
}

/// The end of the reader or of the connection.
struct Ended;

/// Why a pause ended.
enum Woken {
    /// It is time to read.
    Due,
    /// The connection was made again.
    Connected,
}

impl Watcher {
    async fn run(mut self) {
        let Some(mut announced) = self.bucket.nats.subscribe(self.bucket.subject(">")).await else { return };
        let (mut connection, mut own_writes) = (self.bucket.nats.changes(), self.bucket.nats.own_writes());
        let mut looked_at = None;
        let mut retry = FIRST_RETRY;
        loop {
            let began = clock::now();
            let read = self.look(&mut looked_at, began).await;
            let wait = match read {
                Ok(Ok(())) => {
                    retry = FIRST_RETRY;
                    self.away = None;
                    let event = BucketEvent::Current { began, in_step: self.in_step, revisions: self.revisions };
                    if self.events.send(event).await.is_err() {
                        return;
                    }
                    read_every(self.bucket.kind)
                }
                Ok(Err(error)) => {
                    looked_at = None;
                    if self.away(error).await.is_err() {
                        return;
                    }
                    retry = (retry * 2).min(MAX_RETRY);
                    retry / 2
                }
                Err(Ended) => return,
            };
            match self.pause(wait, &mut announced, (&mut connection, &mut own_writes)).await {
                // What is there now may be another bucket.
                Ok(Woken::Connected) => {
                    looked_at = None;
                    if !self.makes_it && self.begin_anew().await.is_err() {
                        return;
                    }
                }
                Ok(Woken::Due) => {}
                Err(Ended) => return,
            }
        }
    }

    /// Reads what is new, and looks at the bucket itself from time to time.
    async fn look(&mut self, looked_at: &mut Option<Moment>, now: Moment) -> Result<Result<(), ApiError>, Ended> {
        if self.makes_it && looked_at.is_none_or(|at| now.since(at) >= LOOK_AT_BUCKET_EVERY) {
            let info = match self.bucket.info().await {
                Err(error) if error.code == NOT_FOUND => match self.bucket.create().await {
                    Ok(()) => self.bucket.info().await,
                    Err(error) => Err(error),
                },
                other => other,
            };
            match info {
                Ok(info) => {
                    // NATS replied between the two.
                    let middle = now + clock::now().since(now) / 2;
                    self.time = info.time.map(|time| (middle, time));
                    self.revisions = info.has_quorum.then_some((info.first, info.last));
                    if info.in_step {
                        self.in_step = Some(now);
                    }
                    if info.has_quorum {
                        self.adopt(info).await?;
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
            *looked_at = Some(now);
        }
        self.read().await
    }

    /// Notices another bucket under the same name.
    async fn adopt(&mut self, info: BucketInfo) -> Result<(), Ended> {
        let known = self.last.as_ref().map_or(0, |last| last.revision);
        let before = self.created.send_replace(Some(info.created.as_str().into()));
        let is_same = before.is_none_or(|created| *created == *info.created) && known <= info.last;
        if is_same { Ok(()) } else { self.begin_anew().await }
    }

    /// Reads everything again. What was reported before is gone.
    async fn begin_anew(&mut self) -> Result<(), Ended> {
        self.doubts = 0;
        if self.last.take().is_some() {
            tracing::info!(bucket = self.bucket.stream(), "reads all of a bucket of NATS again");
            self.events.send(BucketEvent::Lost).await.map_err(|_| Ended)?;
        }
        Ok(())
    }

    /// Reports the entries after the last one that is known.
    async fn read(&mut self) -> Result<Result<(), ApiError>, Ended> {
        let mut is_first = true;
        loop {
            let batch = match self.read_batch().await {
                Ok(batch) => batch,
                Err(error) => return Ok(Err(error)),
            };
            if is_first && self.compares_last() && !self.continues(&batch) {
                self.doubts += 1;
                if self.doubts >= MAX_DOUBTS {
                    self.begin_anew().await?;
                    continue;
                }
            }
            is_first = false;
            let (before, is_end) = (self.last.clone(), batch.entries.is_empty() || batch.pending == 0);
            for (mut entry, stamp) in batch.entries {
                if self.last.as_ref().is_none_or(|last| entry.revision > last.revision) {
                    entry.stored = self.stored_time(&stamp);
                    self.last = Some(LastEntry { key: entry.key.clone(), revision: entry.revision, stamp });
                    self.events.send(BucketEvent::Entry(entry)).await.map_err(|_| Ended)?;
                }
            }
            if is_end || self.last == before {
                return Ok(Ok(()));
            }
        }
    }

    /// Whether each read begins with the last entry that is known, to compare it. In a bucket of which an older state
    /// was restored, other servers may have used its revision again. Leases have epochs in place of that.
    fn compares_last(&self) -> bool {
        !self.makes_it || self.bucket.kind == BucketKind::Overrides
    }

    /// Whether a read that began with the last known entry has it, or a later one of its key.
    fn continues(&mut self, batch: &Batch) -> bool {
        let Some(last) = &self.last else { return true };
        let is_there = batch.entries.iter().any(|(entry, stamp)| {
            let is_it = entry.revision == last.revision && *stamp == last.stamp;
            is_it || (entry.revision > last.revision && entry.key == last.key)
        });
        let continues = is_there || batch.pending > 0;
        if continues {
            self.doubts = 0;
        }
        continues
    }

    /// When a revision with this stamp was stored.
    fn stored_time(&self, stamp: &str) -> StoredTime {
        let stamp = millis_of_stamp(stamp);
        let age = self.time.zip(stamp).map(|((at, time), stamp)| {
            let since = i64::try_from(clock::now().since(at).as_millis()).unwrap_or(i64::MAX);
            Duration::from_millis(u64::try_from(time.saturating_add(since).saturating_sub(stamp)).unwrap_or(0))
        });
        StoredTime { age, stamp: stamp.unwrap_or(0), bucket: self.created.borrow().clone() }
    }

    async fn read_batch(&self) -> Result<Batch, ApiError> {
        let last = self.last.as_ref().map_or(0, |last| last.revision);
        let from = if self.compares_last() { last.max(1) } else { last + 1 };
        let request = json!({
            "seq": from,
            "next_by_subj": self.bucket.subject(">"),
            "batch": MAX_BATCH,
            "max_bytes": MAX_BATCH_OCTETS,
        });
        let subject = format!("$JS.API.DIRECT.GET.{}", self.bucket.stream());
        let mut batch = Batch::default();
        let (bucket, nats) = (&self.bucket, &self.bucket.nats);
        let read = nats.request_many(subject, request.to_string().into(), |reply| batch.take(bucket, &reply)).await;
        read.map_err(|why| ApiError { code: 0, why })?;
        match batch.error.take() {
            None => Ok(batch),
            Some(error) => Err(error),
        }
    }

    /// Reports that the bucket can't be read, once for each reason: a server that is connected at last may have no
    /// JetStream.
    async fn away(&mut self, error: ApiError) -> Result<(), Ended> {
        let why = match error.code {
            NOT_FOUND => format!("there is no bucket {}", self.bucket.stream()),
            _ => error.why,
        };
        if self.away.as_ref() == Some(&why) {
            return if self.events.is_closed() { Err(Ended) } else { Ok(()) };
        }
        self.away = Some(why.clone());
        self.events.send(BucketEvent::Away(why)).await.map_err(|_| Ended)
    }

    /// Waits for this time, for an announced write, or for a connection.
    async fn pause(
        &mut self,
        wait: Duration,
        announced: &mut NatsSubscription,
        (connection, own_writes): (&mut watch::Receiver<ConnectionStatus>, &mut watch::Receiver<u64>),
    ) -> Result<Woken, Ended> {
        let until = clock::now() + wait;
        tokio::time::sleep(LEAST_PAUSE).await;
        tokio::select! {
            () = tokio::time::sleep(until.since(clock::now())) => Ok(Woken::Due),
            () = self.events.closed() => Err(Ended),
            again = NatsLink::connected_again(connection, &mut self.connections) => match again {
                Some(()) => Ok(Woken::Connected),
                None => Err(Ended),
            },
            // An error is the end of the connection, which `announced` reports.
            Ok(()) = own_writes.changed() => Ok(Woken::Due),
            message = announced.next() => match message {
                Some(_) => self.look_soon(announced).await.map(|()| Woken::Due),
                None => Err(Ended),
            },
        }
    }

    /// Reads after an announced write until something new is there, as long as that is likely.
    async fn look_soon(&mut self, announced: &mut NatsSubscription) -> Result<(), Ended> {
        let before = self.last.clone();
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            // Whatever else is announced by now is read together.
            while futures_util::FutureExt::now_or_never(announced.next()).is_some_and(|message| message.is_some()) {}
            match self.read().await? {
                Ok(()) if self.last == before => {}
                // The caller reads again, and reports how it went.
                Ok(()) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// The replies to one read.
#[derive(Default)]
struct Batch {
    /// With the time when each was written.
    entries: Vec<(BucketEntry, String)>,
    /// How many entries follow in the next read.
    pending: u64,
    error: Option<ApiError>,
}

impl Batch {
    /// Takes one reply, and returns whether another one follows.
    fn take(&mut self, bucket: &Bucket, reply: &Message) -> bool {
        let (key, revision, is_followed) = match batch_part(reply, "this bucket") {
            BatchPart::Message(subject, revision, is_followed) => match bucket.key(subject) {
                Some(key) => (key, revision, is_followed),
                None => {
                    self.error = Some(ApiError { code: 0, why: UNUSABLE.to_owned() });
                    return false;
                }
            },
            BatchPart::End(pending) => {
                self.pending = pending;
                return false;
            }
            BatchPart::Failed(error) => {
                self.error = Some(error);
                return false;
            }
        };
        let value = (!is_removal(reply.headers.as_ref())).then(|| reply.payload.clone());
        let stamp = reply.headers.as_ref().and_then(|headers| headers.get("Nats-Time-Stamp"));
        let stamp = stamp.map_or(String::new(), |stamp| stamp.as_str().to_owned());
        let entry = BucketEntry { key: key.to_owned(), revision, value, stored: StoredTime::default() };
        self.entries.push((entry, stamp));
        if !is_followed {
            self.pending = 1;
            return false;
        }
        (self.entries.len() as u64) < MAX_BATCH * 2
    }
}

/// Whether the last write of a key deleted it.
fn is_removal(headers: Option<&HeaderMap>) -> bool {
    let of = |name: &str| headers.and_then(|headers| headers.get(name)).map(|value| value.as_str());
    matches!(of("KV-Operation"), Some("DEL" | "PURGE")) || of("Nats-Marker-Reason").is_some()
}
