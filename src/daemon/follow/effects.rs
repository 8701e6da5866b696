//! What the events of a stream do here, whatever it is: the steering task makes their overrides, and the board has how
//! it went.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::control::command::{Command, OverrideChange, RefusedChanges};
use crate::control::follow::{
    EventUse, FollowBoard, FollowLedger, FollowReport, FollowRules, FollowState, FollowedEvent, RefusedEvent,
};
use crate::daemon::follow::positions::{FollowPositions, SavedFollow};
use crate::repeats::Repeats;

/// How long the position waits until the overrides are on the disk (judgment: a disk that works takes milliseconds).
const SAVED_WITHIN: Duration = Duration::from_secs(5);
/// Most refused events that are listed (judgment: the log has some more of them, the metrics count all).
const MAX_REFUSED: usize = 8;
/// Most refused events that have a line each in the log within a window; then they are counted. A stream may have
/// millions of them (judgment: enough to see what they have in common).
const REFUSALS_AT_ONCE: u32 = 32;

/// The effects of one stream.
pub(super) struct FollowEffects {
    /// Its place on the board.
    pub(super) at: usize,
    /// Its name in the settings.
    pub(super) name: String,
    pub(super) rules: FollowRules,
    /// Who makes the overrides.
    pub(super) who: String,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) positions: Arc<FollowPositions>,
    pub(super) board: Arc<FollowBoard>,
    pub(super) refusals: RefusedEventLog,
}

/// Which refused events have a line in the log.
pub(super) struct RefusedEventLog(Mutex<Repeats<(), ()>>);

impl Default for RefusedEventLog {
    fn default() -> RefusedEventLog {
        RefusedEventLog(Mutex::new(Repeats::new(REFUSALS_AT_ONCE, 1)))
    }
}

impl RefusedEventLog {
    /// Whether the next one has a line.
    fn note(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note((), (), clock::now())
    }

    /// How many had none, and within which time, when it is time for a summary.
    fn sum_up(&self) -> Option<(u64, Duration)> {
        let summary = self.0.lock().unwrap_or_else(PoisonError::into_inner).sum_up(clock::now())?;
        Some((summary.count(), summary.within))
    }
}

/// How far a reader is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadProgress<'a> {
    /// All messages up to this one have had their effect; `None`: it is not known.
    pub(super) position: Option<u64>,
    /// How many messages come after that, as far as it is known.
    pub(super) behind: u64,
    /// How many messages were missed at most, since the start.
    pub(super) missed: u64,
    /// What was missed, and what to do.
    pub(super) gap: Option<&'a str>,
}

impl FollowEffects {
    /// What was saved of the stream.
    pub(super) fn saved(&self) -> Option<SavedFollow> {
        self.positions.of_follow(&self.name)
    }

    /// Has the position written.
    pub(super) fn save(&self, saved: SavedFollow) {
        self.positions.put(&self.name, saved);
    }

    /// Makes the overrides of these messages, oldest first, each with the time at which it was stored, in Unix seconds,
    /// or 0. An error: the server stops.
    pub(super) async fn make_all<'a>(
        &self,
        ledger: &mut FollowLedger,
        messages: impl Iterator<Item = (f64, &'a [u8])>,
    ) -> Result<(), String> {
        let now = clock::unix_seconds();
        let (mut events, mut ignored) = (Vec::new(), 0);
        for (stored_at, payload) in messages {
            let stored_at = if stored_at > 0.0 { stored_at } else { now };
            for of in self.rules.uses_of(payload, stored_at, now) {
                match of {
                    EventUse::Change(event) => events.push(*event),
                    EventUse::Ignored(_) => ignored += 1,
                    EventUse::Refused(id, why) => self.refuse(id, why),
                }
            }
        }
        let count = events.len();
        let wanted = ledger.take(events);
        ignored += count - wanted.len();
        for group in groups(wanted) {
            let (applied, unchanged) = self.make(group).await?;
            ignored += unchanged;
            self.update(|report| report.applied += applied as u64);
        }
        self.update(|report| report.ignored += ignored as u64);
        Ok(())
    }

    /// Has the steering task make changes, and waits for the disk. Returns how many overrides changed, and how many
    /// events changed nothing.
    async fn make(&self, group: Vec<FollowedEvent>) -> Result<(usize, usize), String> {
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
        let applied = match done.await {
            Ok(Ok(applied)) => {
                // Whether they are on the disk then, the positions find out.
                let _ = tokio::time::timeout(SAVED_WITHIN, applied.saved).await;
                applied.targets.len()
            }
            Ok(Err(error)) => {
                group.iter().for_each(|event| self.refuse(event.id.clone(), error.to_string()));
                return Ok((0, 0));
            }
            // Without a reply there was nothing to change.
            Err(_) if self.commands.is_closed() => return Err(stopping()),
            Err(_) => 0,
        };
        let refused = refused.take();
        let unchanged = group.len().saturating_sub(applied + refused.len());
        for (at, why) in refused {
            self.refuse(group.get(at).map_or_else(String::new, |event| event.id.clone()), why);
        }
        Ok((applied, unchanged))
    }

    /// Changes what the board has of this stream.
    fn update(&self, change: impl FnOnce(&mut FollowReport)) {
        self.board.update(self.at, clock::unix_seconds(), change);
    }

    /// An event can't be used. It holds up no other.
    fn refuse(&self, id: String, why: String) {
        if self.refusals.note() {
            tracing::warn!(follow = &*self.name, event = id, why, "an event can't be used");
        }
        let at = clock::unix_seconds();
        self.board.update(self.at, at, |report| {
            report.refused += 1;
            report.last_refused.push(RefusedEvent { id, at, why });
            let extra = report.last_refused.len().saturating_sub(MAX_REFUSED);
            report.last_refused.drain(..extra);
        });
    }

    /// Reports how many messages are known that had no effect yet.
    pub(super) fn note_behind(&self, behind: u64) {
        self.update(|report| report.behind = behind);
    }

    /// Reports up to where messages had their effect.
    pub(super) fn note_position(&self, position: u64) {
        self.update(|report| report.position = position);
    }

    /// Logs that something was missed.
    pub(super) fn note_gap(&self, why: &str) {
        tracing::error!(follow = &*self.name, why, "events of a stream were missed");
    }

    /// Reports how a read went, and logs what is new.
    pub(super) fn note_read(&self, progress: ReadProgress<'_>, problem: Option<String>) {
        self.positions.write_due();
        if let Some((count, within)) = self.refusals.sum_up() {
            let seconds = within.as_secs();
            tracing::warn!(follow = &*self.name, count, seconds, "more events can't be used, without a line for each");
        }
        let ReadProgress { position, behind, missed, gap } = progress;
        let state = match (&problem, gap) {
            (Some(_), _) => FollowState::Away,
            (None, Some(_)) => FollowState::Gap,
            (None, None) => FollowState::Ok,
        };
        let (follow, mut before, mut is_other) = (&*self.name, FollowState::Waiting, false);
        self.update(|report| {
            before = std::mem::replace(&mut report.state, state);
            is_other = report.problem != problem;
            report.missed = missed;
            if let Some(position) = position {
                report.position = position;
            }
            report.behind = behind;
            report.problem = problem.clone().or_else(|| gap.map(str::to_owned));
        });
        match (before, state) {
            (_, FollowState::Away) if is_other => {
                tracing::warn!(follow, why = problem, "a stream can't be followed: what it has set stays");
            }
            (FollowState::Away | FollowState::Waiting, FollowState::Ok | FollowState::Gap) => {
                tracing::info!(follow, position, "a stream is followed");
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
