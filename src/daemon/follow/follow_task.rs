//! The task of one stream that is followed: reads it, has the steering task make the overrides of its events, and
//! stores the position after that.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{FollowSettings, NatsServers};
use crate::control::command::{Command, OverrideChange, RefusedChanges};
use crate::control::follow::{EventUse, FollowBoard, FollowRules, FollowState, FollowedEvent, RefusedEvent};
use crate::daemon::follow::place::FollowPlace;
use crate::daemon::follow::positions::FollowPositions;
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
/// How long the position waits until the overrides are on the disk (judgment: a disk that works takes milliseconds).
const SAVED_WITHIN: Duration = Duration::from_secs(5);
/// Most refused events that are listed (judgment: the log has all of them).
const MAX_REFUSED: usize = 8;

/// One stream.
pub(super) struct FollowTask {
    pub(super) at: usize,
    pub(super) settings: FollowSettings,
    pub(super) rules: FollowRules,
    /// Who makes the overrides.
    pub(super) who: String,
    pub(super) servers: NatsServers,
    /// The name of the connection, and the beginning of the subjects of replies.
    pub(super) link: (String, String),
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) positions: Arc<FollowPositions>,
    pub(super) board: Arc<FollowBoard>,
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

    /// Ends with the connection, which is for ever.
    async fn follow(&self) {
        let (name, inbox) = self.link.clone();
        let opened = NatsLink::open(LinkSettings { servers: &self.servers, name, inbox, for_what: NatsUse::Follow });
        let link = match opened.await {
            Ok(link) => link,
            Err(error) => return self.note_read(&FollowPlace::default(), Some(error.to_string())),
        };
        let Some(mut announced) = FollowedStream::announced(&link, &self.settings.subject).await else { return };
        let mut connection = link.changes();
        let saved = self.positions.of_follow(&self.settings.name);
        let place = FollowPlace { saved, ..FollowPlace::default() };
        // That there is no connection yet is no news.
        let connected = connection.wait_for(|status| status.is_connected);
        let _ = tokio::time::timeout(CONNECTED_WITHIN, connected).await;
        let mut followed = StreamReader { link, place, stream: None, looked_at: clock::now() };
        loop {
            let read = self.read(&mut followed).await;
            let is_read = read.is_ok();
            self.note_read(&followed.place, read.err());
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
            self.board.update(self.at, |report| report.behind = followed.place.behind());
        }
    }

    /// Finds the stream, and what was missed of it.
    async fn look(&self, followed: &mut StreamReader) -> Result<(FollowedStream, bool), String> {
        let FollowSettings { name, subject, stream, start, .. } = &self.settings;
        let stream = FollowedStream::find(&followed.link, stream.as_deref(), subject).await?;
        let (info, is_direct) = stream.info().await?;
        if followed.place.adopt(stream.name(), &info, *start) {
            let why = followed.place.gap.as_deref().unwrap_or_default();
            tracing::error!(follow = name, why, "events of a stream were missed");
        }
        followed.looked_at = clock::now();
        followed.stream = Some((stream.clone(), is_direct));
        Ok((stream, is_direct))
    }

    /// Makes the overrides of these messages, and stores the position. An error: the server stops.
    async fn take(&self, place: &mut FollowPlace, messages: Vec<StoredMessage>) -> Result<(), String> {
        let Some(last) = messages.last().map(|message| message.sequence) else { return Ok(()) };
        let Some(mut saved) = place.saved.clone() else { return Ok(()) };
        let now = clock::unix_seconds();
        let (mut events, mut ignored) = (Vec::new(), 0);
        for message in messages.iter().filter(|message| message.sequence >= saved.next) {
            let stored_at = if message.stored_at > 0.0 { message.stored_at } else { now };
            for of in self.rules.uses_of(&message.payload, stored_at, now) {
                match of {
                    EventUse::Change(event) => events.push(*event),
                    EventUse::Ignored(_) => ignored += 1,
                    EventUse::Refused(id, why) => self.refuse(id, why),
                }
            }
        }
        let count = events.len();
        let wanted = saved.ledger.take(events);
        ignored += count - wanted.len();
        let mut is_saved = true;
        for group in groups(wanted) {
            let (applied, unchanged, is_on_disk) = self.make(group).await?;
            is_saved &= is_on_disk;
            ignored += unchanged;
            self.board.update(self.at, |report| report.applied += applied as u64);
        }
        saved.next = last + 1;
        // After the effect: what a crash repeats changes nothing.
        if is_saved {
            self.positions.put(&self.settings.name, saved.clone());
        }
        place.saved = Some(saved);
        self.board.update(self.at, |report| {
            report.ignored += ignored as u64;
            report.position = last;
        });
        Ok(())
    }

    /// Has the steering task make changes. Returns how many overrides changed, how many events changed nothing, and
    /// whether the overrides are on the disk.
    async fn make(&self, group: Vec<FollowedEvent>) -> Result<(usize, usize, bool), String> {
        let stopping = || "the server stops".to_owned();
        let (reply, done) = oneshot::channel();
        let refused = RefusedChanges::default();
        let is_confirmed = group.iter().all(|event| event.is_confirmed);
        let change = OverrideChange::Followed {
            who: self.who.clone(),
            changes: group.iter().map(|event| event.change.clone()).collect(),
            confirmed: is_confirmed,
            refused: refused.clone(),
        };
        self.commands.send(Command::Override(change, reply)).await.map_err(|_| stopping())?;
        let (applied, is_on_disk) = match done.await {
            Ok(Ok(applied)) => {
                let is_on_disk = match tokio::time::timeout(SAVED_WITHIN, applied.saved).await {
                    Ok(Ok(saved)) => saved.is_ok(),
                    Ok(Err(_)) | Err(_) => false,
                };
                (applied.targets.len(), is_on_disk)
            }
            Ok(Err(error)) => {
                group.iter().for_each(|event| self.refuse(event.id.clone(), error.to_string()));
                return Ok((0, 0, true));
            }
            // Without a reply there was nothing to change.
            Err(_) if self.commands.is_closed() => return Err(stopping()),
            Err(_) => (0, true),
        };
        let refused = refused.take();
        let unchanged = group.len().saturating_sub(applied + refused.len());
        for (at, why) in refused {
            self.refuse(group.get(at).map_or_else(String::new, |event| event.id.clone()), why);
        }
        Ok((applied, unchanged, is_on_disk))
    }

    /// An event can't be used. It holds up no other.
    fn refuse(&self, id: String, why: String) {
        tracing::warn!(follow = self.settings.name, event = id, why, "an event can't be used");
        let at = clock::unix_seconds();
        self.board.update(self.at, |report| {
            report.refused += 1;
            report.last_refused.push(RefusedEvent { id, at, why });
            let extra = report.last_refused.len().saturating_sub(MAX_REFUSED);
            report.last_refused.drain(..extra);
        });
    }

    /// Reports how a read went, and logs what is new.
    fn note_read(&self, place: &FollowPlace, problem: Option<String>) {
        let state = match (&problem, &place.gap) {
            (Some(_), _) => FollowState::Away,
            (None, Some(_)) => FollowState::Gap,
            (None, None) => FollowState::Ok,
        };
        let (follow, mut before, mut is_other) = (&*self.settings.name, FollowState::Waiting, false);
        self.board.update(self.at, |report| {
            before = std::mem::replace(&mut report.state, state);
            is_other = report.problem != problem;
            report.missed = place.missed;
            if let Some(saved) = &place.saved {
                report.position = saved.next.saturating_sub(1);
            }
            report.behind = place.behind();
            report.problem = problem.clone().or_else(|| place.gap.clone());
        });
        match (before, state) {
            (_, FollowState::Away) if is_other => {
                tracing::warn!(follow, why = problem, "a stream can't be followed: what it has set stays");
            }
            (FollowState::Away | FollowState::Waiting, FollowState::Ok | FollowState::Gap) => {
                tracing::info!(follow, next = place.next(), "a stream is followed");
            }
            _ => {}
        }
    }
}

/// Changes that are made together, in their order. One that nobody has confirmed is made alone, because it is refused
/// as a whole if some clients would get no answer any more.
fn groups(events: Vec<FollowedEvent>) -> Vec<Vec<FollowedEvent>> {
    let mut groups: Vec<Vec<FollowedEvent>> = Vec::new();
    for event in events {
        // Either all events of a group are confirmed, or it has only one. None is empty.
        match groups.last_mut().filter(|group| event.is_confirmed && group[0].is_confirmed) {
            Some(group) => group.push(event),
            None => groups.push(vec![event]),
        }
    }
    groups
}
