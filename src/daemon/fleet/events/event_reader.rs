//! Reads the stream of events: all of it at the start, and then what is new, when a message announces it, after each
//! reconnection, and from time to time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::{FleetEvents, MAX_EVENTS};
use crate::daemon::fleet::events::EventBoard;
use crate::fleet::nats::{EventStream, Nats, NatsLink, NatsSubscription, StreamInfo};
use crate::model::Moment;

/// How often the stream is read when nothing announces a message (judgment).
const READ_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked at whether the stream is still the same one.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// After an announced message: when it is looked for. It may take some time until all copies of the stream have it.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];
/// The time from a read that failed to the next one (judgment).
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads the events of all servers.
pub(in crate::daemon::fleet) struct ReadEvents {
    pub(in crate::daemon::fleet) nats: Nats,
    pub(in crate::daemon::fleet) events: Arc<FleetEvents>,
    pub(in crate::daemon::fleet) board: Arc<EventBoard>,
}

/// Where the reader is.
#[derive(Default)]
struct Place {
    /// When the stream was made; `None`: it was not looked at.
    created: Option<String>,
    /// The sequence of the next message.
    next: u64,
    looked_at: Option<Moment>,
}

impl ReadEvents {
    pub(in crate::daemon::fleet) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.read_on() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Ends with the connection.
    async fn read_on(&self) {
        let stream = EventStream::of(&self.nats);
        let Some(mut announced) = stream.announced().await else { return };
        let (mut connection, mut seen) = (self.nats.changes(), self.nats.status().connections);
        let mut place = Place::default();
        loop {
            let read = self.read(&stream, &mut place).await;
            let problem = read.as_ref().err().map(String::as_str);
            if self.events.note_read(problem) && self.nats.status().is_connected {
                tracing::warn!(why = problem, "the events of the fleet can't be read");
            }
            let wait = if read.is_ok() {
                READ_EVERY
            } else {
                place.looked_at = None;
                RETRY_AFTER
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.board.written.notified() => self.look_soon(&stream, &mut place, &mut announced).await,
                message = announced.next() => match message {
                    Some(_) => self.look_soon(&stream, &mut place, &mut announced).await,
                    None => return,
                },
                again = NatsLink::connected_again(&mut connection, &mut seen) => match again {
                    // What is there now may be another stream.
                    Some(()) => place.looked_at = None,
                    None => return,
                },
            }
        }
    }

    /// Reads after an announced message until something new is there, as long as that is likely. The caller reads
    /// again, and reports how it went.
    async fn look_soon(&self, stream: &EventStream, place: &mut Place, announced: &mut NatsSubscription) {
        let before = place.next;
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            // Whatever else is announced by now is read together.
            while announced.next().now_or_never().is_some_and(|message| message.is_some()) {}
            if self.read(stream, place).await.is_err() || place.next != before {
                return;
            }
        }
        // JetStream has refused the message, or it is in another stream.
        place.looked_at = None;
    }

    /// Reads what is new. The text says why that is not possible.
    async fn read(&self, stream: &EventStream, place: &mut Place) -> Result<(), String> {
        let now = clock::now();
        if place.looked_at.is_none_or(|at| now.since(at) >= LOOK_EVERY) {
            place.adopt(stream.open().await?);
            place.looked_at = Some(now);
        }
        loop {
            let found = stream.read(place.next).await?;
            let is_empty = found.messages.is_empty();
            for (sequence, node, payload) in found.messages {
                if sequence < place.next {
                    continue;
                }
                place.next = sequence + 1;
                match node {
                    Some(node) => self.events.take(&node, &payload),
                    // The stream has no other subjects, so the name is no token.
                    None => self.events.take("", &payload),
                }
            }
            if is_empty || !found.has_more {
                return Ok(());
            }
            // Others of this thread go on between two reads of a long stream.
            tokio::task::yield_now().await;
        }
    }
}

impl Place {
    /// Notices another stream under the same name, which is read from its beginning. The archive ignores what it has.
    fn adopt(&mut self, info: StreamInfo) {
        let is_same = self.created.as_ref() == Some(&info.created) && self.next <= info.last + 1;
        if !is_same {
            // The archive has no room for more.
            self.next = info.first.max((info.last + 1).saturating_sub(MAX_EVENTS as u64));
            self.created = Some(info.created);
        }
    }
}
