//! How the events of the journal are read.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::control::journal::{Journal, JournalEvent, Numbered, RECENT_TRANSITIONS, RecentEvents};
use crate::fleet::events::{EventKind, LogRange};

/// Where a client begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Since {
    /// With the events after this moment.
    Now,
    /// With the oldest event that is retained.
    Oldest,
    /// After the event with this number.
    Number(u64),
    /// After the event with this id of `Last-Event-ID`.
    Id(String),
}

impl Since {
    /// Reads `oldest`, a number, or NODE/NUMBER; empty: from now on.
    pub(in crate::control) fn parse(text: &str) -> Option<Since> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.trim() {
            "" => Some(Since::Now),
            "oldest" => Some(Since::Oldest),
            text if is_number(text) => text.parse().ok().map(Since::Number),
            text => {
                let (_, number) = text.rsplit_once('/')?;
                is_number(number).then(|| Since::Id(text.to_owned()))
            }
        }
    }
}

/// What a client receives that connects (again).
pub(in crate::control) struct Subscription {
    /// The events after its last one that the log does not have: the first and the last number of each range, rising.
    pub(in crate::control) lost: Vec<(u64, u64)>,
    /// Whether the journal never had the event that the client named. Then it gets all events.
    pub(in crate::control) is_unknown: bool,
    /// The number of the last event.
    pub(in crate::control) last: u64,
    /// The retained events after its last one.
    pub(in crate::control) missed: Vec<Arc<JournalEvent>>,
    /// All later events.
    pub(in crate::control) incoming: broadcast::Receiver<Arc<JournalEvent>>,
}

/// Most ranges of lost events that a client learns one by one (judgment: each is a line; a log with more is broken).
const MOST_RANGES: usize = 64;

impl RecentEvents {
    /// The visible events after `number`.
    fn visible_after(&self, number: u64) -> impl Iterator<Item = &Numbered> {
        self.visible.iter().skip(self.visible.partition_point(|event| event.number <= number))
    }

    /// The ranges of numbers after `after` whose events are neither visible nor wait for the file: they are older than
    /// what is retained, or a line of the file was torn or lost. The last of many ranges includes those after it.
    fn lost_after(&self, after: u64) -> Vec<(u64, u64)> {
        let mut lost: Vec<(u64, u64)> = Vec::new();
        let present = self.visible_after(after).chain(&self.unwritten).map(|event| event.number);
        let mut next = after + 1;
        for number in present.chain(std::iter::once(self.last + 1)) {
            if number > next {
                match lost.get_mut(MOST_RANGES - 1) {
                    Some((_, last)) => *last = number - 1,
                    None => lost.push((next, number - 1)),
                }
            }
            next = next.max(number + 1);
        }
        lost
    }
}

impl Journal {
    /// All events after this call.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<JournalEvent>> {
        self.sender.subscribe()
    }

    /// All events from `since` on. The journal doesn't have an id of another node, or one that it has not used: then
    /// every event is new.
    pub(in crate::control) fn follow(&self, since: &Since) -> Subscription {
        let recent = self.recent();
        let incoming = self.sender.subscribe();
        let last = recent.visible.back().map_or(recent.floor, |event| event.number);
        let own = |id: &str| {
            let (node, number) = id.rsplit_once('/')?;
            number.parse().ok().filter(|_| node == &*self.node)
        };
        let named = match since {
            Since::Now => {
                return Subscription { lost: Vec::new(), is_unknown: false, last, missed: Vec::new(), incoming };
            }
            Since::Oldest => Some(recent.floor),
            Since::Number(number) => Some(*number),
            Since::Id(id) => own(id),
        };
        let known = named.filter(|number| *number <= recent.last);
        let after = known.unwrap_or(0);
        Subscription {
            lost: recent.lost_after(after),
            is_unknown: known.is_none(),
            last,
            missed: recent.visible_after(after).map(|event| event.event.clone()).collect(),
            incoming,
        }
    }

    /// The last events of endpoints and names, newest first; at most [`RECENT_TRANSITIONS`]. Those of before the start
    /// are among them, as far as the log has them, and those that wait for its file. Those that have no number yet have
    /// no id.
    pub(in crate::control) fn newest_first(&self) -> Vec<Arc<JournalEvent>> {
        let recent = self.recent();
        let held = recent.held.iter().flatten().rev().cloned().map(Arc::new);
        let numbered = recent.unwritten.iter().rev().chain(recent.visible.iter().rev());
        let all = held.chain(numbered.map(|event| event.event.clone()));
        let of_endpoints = all.filter(|event| event.kind != EventKind::Reload);
        of_endpoints.take(RECENT_TRANSITIONS).collect()
    }

    /// Changes when events become visible.
    pub fn shown(&self) -> watch::Receiver<()> {
        self.shown.subscribe()
    }

    /// What is visible. `expired` is the number of the last event before `at`, in Unix seconds.
    pub fn range(&self, at: f64) -> LogRange {
        let recent = self.recent();
        let last = recent.visible.back().map_or(recent.floor, |event| event.number);
        // The wall clock may have been set, so times need not rise.
        let old = recent.visible.iter().take_while(|event| event.event.at < at).last();
        LogRange { floor: recent.floor, last, expired: old.map_or(recent.floor, |event| event.number) }
    }

    /// How many events after `number` are retained, visible or not.
    pub fn count_after(&self, number: u64) -> usize {
        let recent = self.recent();
        let visible = recent.visible.len() - recent.visible.partition_point(|event| event.number <= number);
        let unwritten = recent.unwritten.iter().filter(|event| event.number > number).count();
        visible + unwritten + recent.held.as_ref().map_or(0, |held| held.len())
    }

    /// The first visible events after `number`, at most `most`.
    pub fn visible(&self, number: u64, most: usize) -> Vec<Arc<JournalEvent>> {
        let recent = self.recent();
        recent.visible_after(number).take(most).map(|event| event.event.clone()).collect()
    }
}
