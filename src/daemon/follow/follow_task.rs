//! The task of one stream of JetStream that is followed: reads it, has the overrides of its events made, and stores the
//! position after that.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{FollowStart, NatsFollow, NatsServers};
use crate::daemon::follow::effects::FollowEffects;
use crate::daemon::follow::place::FollowPlace;
use crate::fleet::nats::{FollowedStream, LinkSettings, NatsLink, NatsSubscription, NatsUse, StoredMessage};
use crate::model::Moment;

/// How often the stream is read when nothing announces a message (judgment: a copy of a stream announces nothing).
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often the task checks whether the stream is still the same one (judgment).
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// The pauses before the reads after an announced message: it may take some time until the stream has it.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];
/// The time from a read that failed to the next one (judgment).
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long the start waits for a connection (judgment: a NATS server that works accepts one in less).
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// One stream.
pub(super) struct FollowTask {
    pub(super) effects: FollowEffects,
    pub(super) from: NatsFollow,
    pub(super) start: FollowStart,
    pub(super) servers: NatsServers,
    /// The name of the connection, and the beginning of the subjects of replies.
    pub(super) link: (String, String),
}

/// What the task knows of its stream.
struct StreamReader {
    link: NatsLink,
    place: FollowPlace,
    /// The stream, and whether it may be read directly; `None`: it must be found again.
    stream: Option<(FollowedStream, bool)>,
    looked_at: Moment,
}

impl FollowTask {
    /// Follows the stream until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.follow() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Ends if the settings allow no connection. Otherwise it does not end: a connection that is lost is made again.
    async fn follow(&self) {
        let (name, inbox) = self.link.clone();
        let opened = NatsLink::open(LinkSettings { servers: &self.servers, name, inbox, for_what: NatsUse::Follow });
        let link = match opened.await {
            Ok(link) => link,
            Err(error) => return self.effects.note_read(FollowPlace::default().progress(), Some(error.to_string())),
        };
        let Some(mut announced) = FollowedStream::announced(&link, &self.from.subject).await else { return };
        let mut connection = link.changes();
        let saved = self.effects.saved();
        let place = FollowPlace { saved, ..FollowPlace::default() };
        // That there is no connection yet is no news.
        let connected = connection.wait_for(|status| status.is_connected);
        let _ = tokio::time::timeout(CONNECTED_WITHIN, connected).await;
        let mut followed = StreamReader { link, place, stream: None, looked_at: clock::now() };
        loop {
            let read = self.read(&mut followed).await;
            let is_read = read.is_ok();
            self.effects.note_read(followed.place.progress(), read.err());
            if !is_read {
                followed.stream = None;
            }
            tokio::select! {
                () = tokio::time::sleep(if is_read { READ_EVERY } else { RETRY_AFTER }) => {}
                message = announced.next() => match message {
                    Some(_) => self.read_soon(&mut followed, &mut announced).await,
                    None => return,
                },
                changed = connection.changed() => match changed {
                    // What is there now may be another stream.
                    Ok(()) => followed.stream = None,
                    Err(_) => return,
                },
            }
        }
    }

    /// Reads after an announced message until something new is there, as long as that is likely. The caller reads
    /// again, and reports how it went.
    async fn read_soon(&self, followed: &mut StreamReader, announced: &mut NatsSubscription) {
        let before = followed.place.next();
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            // All messages that are announced by now are read together.
            while announced.next().now_or_never().is_some_and(|message| message.is_some()) {}
            if self.read(followed).await.is_err() || followed.place.next() != before {
                return;
            }
        }
        // It is in another stream, or in none.
        followed.stream = None;
    }

    /// Reads what is new, and makes it. The text says why that is not possible.
    async fn read(&self, followed: &mut StreamReader) -> Result<(), String> {
        let status = followed.link.status();
        if !status.is_connected {
            let why = status.problem.map_or_else(String::new, |problem| format!(": {problem}"));
            return Err(format!("no connection to NATS{why}: compare servers and credentials"));
        }
        if clock::now().since(followed.looked_at) >= LOOK_EVERY {
            followed.stream = None;
        }
        let (stream, is_direct) = match &followed.stream {
            Some(known) => known.clone(),
            None => self.look(followed).await?,
        };
        loop {
            let found = stream.read(followed.place.next(), is_direct).await?;
            let is_empty = found.messages.is_empty();
            self.take(&mut followed.place, found.messages).await?;
            if is_empty || !found.has_more {
                followed.place.last = followed.place.last.min(followed.place.next().saturating_sub(1));
                return Ok(());
            }
            self.effects.note_behind(followed.place.behind());
        }
    }

    /// Finds the stream, and what was missed of it.
    async fn look(&self, followed: &mut StreamReader) -> Result<(FollowedStream, bool), String> {
        let NatsFollow { subject, stream, .. } = &self.from;
        let stream = FollowedStream::find(&followed.link, stream.as_deref(), subject).await?;
        let (info, is_direct) = stream.info().await?;
        if followed.place.adopt(stream.name(), &info, self.start) {
            self.effects.note_gap(followed.place.gap.as_deref().unwrap_or_default());
        }
        followed.looked_at = clock::now();
        followed.stream = Some((stream.clone(), is_direct));
        Ok((stream, is_direct))
    }

    /// Makes the overrides of these messages, and stores the position. An error: the server stops.
    async fn take(&self, place: &mut FollowPlace, messages: Vec<StoredMessage>) -> Result<(), String> {
        let Some(last) = messages.last().map(|message| message.sequence) else { return Ok(()) };
        let Some(mut saved) = place.saved.clone() else { return Ok(()) };
        let wanted = messages.iter().filter(|message| message.sequence >= saved.next);
        let texts = wanted.map(|message| (message.stored_at, &*message.payload));
        self.effects.make_all(&mut saved.ledger, texts).await?;
        saved.next = last.saturating_add(1);
        // After the effect: what a crash repeats changes nothing.
        self.effects.save(saved.clone());
        place.saved = Some(saved);
        self.effects.note_position(last);
        Ok(())
    }
}
