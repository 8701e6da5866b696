//! The numbered log of events. Each event gets its id here. The last events are retained for clients that connect
//! again, for the stream of the fleet, for sinks, and for `portolan status`. There is one journal in a process; the
//! steering task, the leases, the sources and the failback handler append, everybody may read.
//!
//! An event that was appended is *visible* once it is in the file of the log, so that a crash can't make a number that
//! somebody has seen that of another event. A disk that fails or does not answer holds events up for a moment only: see
//! [`Journal::written`]. In a node of a fleet, numbers begin when the last one in the stream of the fleet is known.

mod event;
mod journal_reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

pub use event::JournalEvent;
pub(super) use journal_reader::{Since, Subscription};

/// Most retained events: the fall and the return of 4,000 endpoints, twice; about 6 MiB (judgment).
pub const MAX_EVENTS: usize = 16_384;

/// Most events that a subscriber may have waiting: the fall of 4,000 endpoints (judgment).
pub const MAX_BEHIND: usize = 4096;

/// Most events in a response of `/v1/transitions`: a screen or two.
pub const RECENT_TRANSITIONS: usize = 64;

/// The log.
#[derive(Debug)]
pub struct Journal {
    node: Arc<str>,
    recent: Mutex<RecentEvents>,
    sender: broadcast::Sender<Arc<JournalEvent>>,
    /// Changes when events wait for the file of the log.
    unwritten: watch::Sender<()>,
    /// Changes when events become visible.
    shown: watch::Sender<()>,
}

/// What a journal begins with: what the log has from before the start.
#[derive(Debug, Default)]
pub struct JournalStart {
    /// The number of the last event.
    pub last: u64,
    /// The last events of the node with their numbers, oldest first.
    pub events: Vec<(u64, JournalEvent)>,
    /// Whether a task writes the file of the log.
    pub is_written: bool,
    /// Whether numbers wait for [`Journal::begin`].
    pub is_held: bool,
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    event: Arc<JournalEvent>,
}

#[derive(Debug)]
struct RecentEvents {
    /// The number of the last event; 0 before the first.
    last: u64,
    /// That at the start of the process.
    begun: u64,
    /// No event with this number or a lower one is retained.
    floor: u64,
    /// The visible events, oldest first.
    visible: VecDeque<Numbered>,
    /// Later ones that wait for the file of the log; none where there is no file.
    unwritten: VecDeque<Numbered>,
    is_written: bool,
    /// Events that have no number yet; `None`: numbers have begun.
    held: Option<VecDeque<JournalEvent>>,
}

impl RecentEvents {
    /// The next number is the one after `number`.
    fn skip_to(&mut self, number: u64) {
        self.last = number;
        if self.visible.is_empty() {
            self.floor = number;
        }
    }
}

impl Journal {
    /// An empty log of `node` without a file. `behind` is the number of events that a subscriber may have waiting;
    /// `last` is the number of the last event before this start.
    pub fn new(node: &str, behind: usize, last: u64) -> Journal {
        Journal::from(node, behind, JournalStart { last, ..JournalStart::default() })
    }

    /// The node whose events they are.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// A log of `node` that goes on after `start`.
    pub fn from(node: &str, behind: usize, start: JournalStart) -> Journal {
        let JournalStart { last, events, is_written, is_held } = start;
        let visible: VecDeque<_> =
            events.into_iter().map(|(number, event)| Numbered { number, event: Arc::new(event) }).collect();
        let recent = RecentEvents {
            last,
            begun: last,
            floor: visible.front().map_or(last, |first| first.number - 1),
            visible,
            unwritten: VecDeque::new(),
            is_written,
            held: is_held.then(VecDeque::new),
        };
        Journal {
            node: node.into(),
            recent: Mutex::new(recent),
            sender: broadcast::channel(behind).0,
            unwritten: watch::channel(()).0,
            shown: watch::channel(()).0,
        }
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.recent().last
    }

    /// The number of the last event before this start.
    pub fn begun(&self) -> u64 {
        self.recent().begun
    }

    /// Gives an event its id and retains it. Never waits.
    pub fn append(&self, event: JournalEvent) {
        let mut recent = self.recent();
        match &mut recent.held {
            Some(held) => {
                // Numbers begin within seconds.
                if held.len() == MAX_EVENTS {
                    held.pop_front();
                }
                held.push_back(event);
            }
            None => self.number(&mut recent, event),
        }
    }

    /// Numbers begin, after `last` at least. Later calls only skip numbers: see [`Journal::continue_after`].
    pub fn begin(&self, last: u64) {
        let mut recent = self.recent();
        let Some(held) = recent.held.take() else { return };
        if last > recent.last {
            recent.skip_to(last);
            recent.begun = last;
        }
        held.into_iter().for_each(|event| self.number(&mut recent, event));
    }

    /// Whether numbers have not begun.
    pub fn is_held(&self) -> bool {
        self.recent().held.is_some()
    }

    /// The numbers up to `number` are those of other events: the state directory was lost, or is an old copy. The
    /// events of this process after `known` get new numbers.
    pub fn continue_after(&self, number: u64, known: u64) {
        let mut recent = self.recent();
        if number <= recent.last {
            return;
        }
        let known = known.max(recent.begun);
        let at = recent.visible.partition_point(|event| event.number <= known);
        let visible = recent.visible.split_off(at);
        let again = visible.into_iter().chain(std::mem::take(&mut recent.unwritten)).map(|event| event.event);
        recent.skip_to(number);
        for event in again.collect::<Vec<_>>() {
            self.number(&mut recent, JournalEvent::clone(&event));
        }
    }

    fn number(&self, recent: &mut RecentEvents, event: JournalEvent) {
        recent.last += 1;
        let number = recent.last;
        let event = Arc::new(JournalEvent { id: format!("{}/{number}", self.node), ..event });
        if !recent.is_written {
            self.show(recent, Numbered { number, event });
            return;
        }
        recent.unwritten.push_back(Numbered { number, event });
        // A disk that does not answer must not cost memory without bound.
        if recent.unwritten.len() > MAX_EVENTS
            && let Some(oldest) = recent.unwritten.pop_front()
        {
            self.show(recent, oldest);
        }
        self.unwritten.send_replace(());
    }

    fn show(&self, recent: &mut RecentEvents, event: Numbered) {
        if recent.visible.len() == MAX_EVENTS
            && let Some(oldest) = recent.visible.pop_front()
        {
            recent.floor = oldest.number;
        }
        // Sending fails if nobody subscribes, which is no error.
        let _ = self.sender.send(event.event.clone());
        recent.visible.push_back(event);
        self.shown.send_replace(());
    }

    /// Changes when events wait for the file.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.unwritten.subscribe()
    }

    /// The events after `number` that wait for the file, oldest first.
    pub fn unwritten(&self, number: u64) -> Vec<(u64, Arc<JournalEvent>)> {
        let recent = self.recent();
        let later = recent.unwritten.iter().filter(|event| event.number > number);
        later.map(|event| (event.number, event.event.clone())).collect()
    }

    /// The events up to `number` are in the file, or can't be written for now: they are visible from now on.
    pub fn written(&self, number: u64) {
        let mut recent = self.recent();
        let written = recent.unwritten.partition_point(|event| event.number <= number);
        for event in recent.unwritten.drain(..written).collect::<Vec<_>>() {
            self.show(&mut recent, event);
        }
    }

    fn recent(&self) -> MutexGuard<'_, RecentEvents> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
