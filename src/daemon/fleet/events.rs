//! The tasks of the events of the fleet: one writes the events of this server into the stream, one reads those of all
//! servers. [`EventOutbox`] and the archive of [`FleetEvents`] decide; the tasks pass messages. Nothing waits for them:
//! the log of this server is the source, and what is not yet in the stream is read from there again.

mod event_board;
mod event_reader;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::{FleetEvents, Journal, Reading};
use crate::daemon::event_number::HIGHEST_START;
use crate::fleet::events::{
    CloudEvent, EventId, EventOutbox, LogRange, MAX_AGE_SECS, MAX_IN_MESSAGE, MAX_MESSAGE, OutboxStep, StoredEvent,
    events_of, message_of,
};
use crate::fleet::nats::{EventStream, Nats, PutError};
use crate::model::Moment;
use crate::printable;

pub(super) use event_board::EventBoard;
pub(super) use event_reader::ReadEvents;

/// How long numbers wait at the start for the last number in the stream, without a connection. Judgment: a NATS server
/// that works answers within a second, and events must not wait long.
const ALONE_AFTER: Duration = Duration::from_secs(5);
/// How often the end of the stream is looked at when there is nothing to write: somebody may have deleted it.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// The time from a write that failed to the next one; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// Writes the events of this server into the stream.
pub(super) struct WriteEvents {
    pub(super) nats: Nats,
    pub(super) journal: Arc<Journal>,
    pub(super) events: Arc<FleetEvents>,
    pub(super) board: Arc<EventBoard>,
}

/// What a step did.
enum Stepped {
    /// It is known where the stream is. A write that failed may fail again.
    Learned,
    /// Something was written. There may be more to do.
    Written,
    /// Nothing is to be written.
    Idle,
    /// It failed: why.
    Failed(String),
}

impl WriteEvents {
    pub(super) async fn run(self, stop: CancellationToken) {
        let stream = EventStream::of(&self.nats);
        let mut outbox = EventOutbox::default();
        let (mut shown, mut connection) = (self.journal.shown(), self.nats.changes());
        let began = clock::now();
        let mut retry = FIRST_RETRY;
        loop {
            self.begin_alone(began);
            shown.borrow_and_update();
            let range = self.journal.range(clock::unix_seconds() - MAX_AGE_SECS as f64);
            let is_held = self.journal.is_held();
            let stepped = tokio::select! {
                stepped = self.step(&stream, &mut outbox, range) => stepped,
                // While numbers wait, the stream is only read: nothing is lost when that is broken off.
                () = tokio::time::sleep(began_left(began)), if is_held => continue,
                () = stop.cancelled() => return,
            };
            let (wait, is_idle) = match stepped {
                Stepped::Learned => continue,
                Stepped::Written => {
                    self.board.note_write(&outbox, None);
                    retry = FIRST_RETRY;
                    continue;
                }
                Stepped::Idle => {
                    self.board.note_write(&outbox, None);
                    retry = FIRST_RETRY;
                    (LOOK_EVERY, true)
                }
                Stepped::Failed(why) => {
                    outbox.unknown();
                    if self.board.note_write(&outbox, Some(&why)) && self.nats.status().is_connected {
                        tracing::warn!(why, "events of this server can't be written into the stream of the fleet");
                    }
                    retry = (retry * 2).min(MAX_RETRY);
                    (retry / 2, false)
                }
            };
            let wait = if self.journal.is_held() { wait.min(began_left(began)) } else { wait };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => if is_idle {
                    outbox.unknown();
                },
                // The journal lives as long as this task.
                _ = shown.changed(), if is_idle => {}
                changed = connection.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Does what the outbox wants.
    async fn step(&self, stream: &EventStream, outbox: &mut EventOutbox, range: LogRange) -> Stepped {
        match outbox.next(range) {
            OutboxStep::Wait => Stepped::Idle,
            OutboxStep::Read => match self.last_stored(stream, outbox).await {
                Ok(found) => {
                    self.learn(outbox, found, range);
                    Stepped::Learned
                }
                Err(why) => Stepped::Failed(why),
            },
            OutboxStep::SendLost(lost, expected) => {
                let node: Arc<str> = self.nats.node().into();
                let event = CloudEvent::lost(&node, lost, clock::unix_seconds(), 0);
                match self.send(stream, &[event], expected).await {
                    Ok(sequence) => {
                        let (first, last) = lost;
                        tracing::error!(first, last, "the log of this server no longer had these events for the fleet");
                        outbox.stored_lost(lost, sequence);
                        Stepped::Written
                    }
                    Err(error) => failed(outbox, error),
                }
            }
            OutboxStep::Send { after, expected } => {
                let events = self.next_events(after);
                let Some(last) = events.last().and_then(|event| EventId::parse(&event.id)) else {
                    return Stepped::Idle;
                };
                match self.send(stream, &events, expected).await {
                    Ok(sequence) => {
                        outbox.stored(last.number, sequence);
                        Stepped::Written
                    }
                    Err(error) => failed(outbox, error),
                }
            }
        }
    }

    /// Takes over where the stream is with this server.
    fn learn(&self, outbox: &mut EventOutbox, found: Option<StoredEvent>, range: LogRange) {
        let known = outbox.acknowledged();
        let ahead = outbox.learned(found, range);
        if let Some(number) = ahead.filter(|number| *number > HIGHEST_START) {
            tracing::error!(
                log = range.last,
                stream = number,
                "the stream of the fleet has an event of this server whose number is too high: numbers go on after the \
                 log"
            );
        }
        let ahead = ahead.filter(|number| *number <= HIGHEST_START);
        if let Some(number) = ahead {
            tracing::warn!(
                log = range.last,
                stream = number,
                "the stream of the fleet has more events of this server than its log: numbers go on after those"
            );
        }
        let is_held = self.journal.is_held();
        self.journal.begin(ahead.unwrap_or(0));
        if let Some(number) = ahead.filter(|_| !is_held) {
            self.journal.continue_after(number, known);
        }
    }

    /// Numbers begin without the stream, if it can't be read for long.
    fn begin_alone(&self, began: Moment) {
        if !self.journal.is_held() || !began_left(began).is_zero() {
            return;
        }
        // Without any log, numbers of this node may be in the stream. The time is higher than any of them.
        let last = if self.journal.last() == 0 { clock::unix_seconds() as u64 } else { 0 };
        self.journal.begin(last);
        let after = self.journal.last();
        tracing::warn!(after, "the events of this server get their numbers without the stream of the fleet");
    }

    /// The last message of this server in the stream. The text says why it is not known.
    async fn last_stored(&self, stream: &EventStream, outbox: &EventOutbox) -> Result<Option<StoredEvent>, String> {
        stream.open().await?;
        let Some((sequence, payload)) = stream.last_of_own().await? else { return Ok(None) };
        let node = self.nats.node();
        let read = events_of(&payload, node, MAX_IN_MESSAGE).unwrap_or_default();
        let number = read.into_iter().filter_map(|event| event.ok().map(|(id, _)| id.number)).max();
        if let Some(number) = number {
            return Ok(Some(StoredEvent { number, sequence }));
        }
        // Somebody else has written on the subject of this server.
        if self.events.reading() != (Reading { has_read: true, problem: None }) {
            return Err("the last message of this server in the stream can't be read".to_owned());
        }
        let archived = self.events.archive().nodes().find(|(of, _)| ***of == *node).map_or(0, |(_, known)| known.last);
        Ok(Some(StoredEvent { number: archived.max(outbox.acknowledged()), sequence }))
    }

    /// The next events of the log, as many as one message has.
    fn next_events(&self, after: u64) -> Vec<CloudEvent> {
        let mut octets = 0;
        let events = self.journal.visible(after, MAX_IN_MESSAGE);
        let events = events.iter().filter_map(|event| event.to_cloud_event());
        let fits = |event: &CloudEvent| {
            octets += printable::json(event).len() + 1;
            octets <= MAX_MESSAGE
        };
        events.take_while(fits).collect()
    }

    async fn send(&self, stream: &EventStream, events: &[CloudEvent], expected: u64) -> Result<u64, PutError> {
        let id = events.last().map_or("", |event| event.id.as_str());
        let sent = stream.publish(message_of(events), id, expected).await;
        if sent.is_ok() {
            // No message announces what this node has written itself.
            self.board.written.notify_one();
        }
        sent
    }
}

fn failed(outbox: &mut EventOutbox, error: PutError) -> Stepped {
    outbox.unknown();
    Stepped::Failed(error.to_string())
}

/// How long numbers still wait.
fn began_left(began: Moment) -> Duration {
    ALONE_AFTER.saturating_sub(clock::now().since(began))
}
