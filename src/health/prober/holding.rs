//! The held connections of one prober: when each is opened, by whom its end is heard of. What an end means is judged in
//! `held`; the socket is `probe::hold`'s.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::health::SlotId;
use crate::health::held::{ConnectionEnd, Held, Wish};
use crate::health::probe::{self, ProbeClients};
use crate::model::{CheckKey, Health, Hold, Moment};

/// Connections are opened this far apart: 2,000 a second, so that ten thousand are not a burst for anyone.
const OPEN_STEP: Duration = Duration::from_micros(500);
/// What a timer that came late may catch up with.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The connections that one prober holds.
pub(super) struct Holding {
    clients: Arc<ProbeClients>,
    max: usize,
    held: HashMap<SlotId, Line>,
    /// When which is to be opened.
    due: BTreeSet<(Moment, SlotId)>,
    /// No connection is opened before.
    next_open: Moment,
    connections: usize,
    serial: u64,
    tell: mpsc::UnboundedSender<News>,
}

/// One check whose connection is held.
struct Line {
    key: Arc<CheckKey>,
    held: Held,
    /// As it stands in `due`.
    due: Option<Moment>,
    connection: Option<Connection>,
}

/// A connection, open or opening; dropped, it ends unheard.
struct Connection {
    serial: u64,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What happened to a connection.
pub(super) struct News {
    slot: SlotId,
    serial: u64,
    what: What,
}

enum What {
    Opened,
    Failed,
    Ended(ConnectionEnd),
}

impl Holding {
    /// Holds nothing yet, and `max` connections at most. The receiver hears what happens to them, for
    /// [`Holding::hear`].
    pub(super) fn new(clients: Arc<ProbeClients>, max: usize) -> (Holding, mpsc::UnboundedReceiver<News>) {
        // Two from each connection at most, which are bounded.
        let (tell, told) = mpsc::unbounded_channel();
        let holding = Holding {
            clients,
            max,
            held: HashMap::new(),
            due: BTreeSet::new(),
            next_open: Moment::START,
            connections: 0,
            serial: 0,
            tell,
        };
        (holding, told)
    }

    /// Holds a connection for this check from its first success on, if its monitor says so.
    pub(super) fn add(&mut self, slot: SlotId, key: &Arc<CheckKey>) {
        if key.monitor.hold {
            let line = Line { key: Arc::clone(key), held: Held::default(), due: None, connection: None };
            self.held.insert(slot, line);
        }
    }

    /// Lets go of a check.
    pub(super) fn remove(&mut self, slot: SlotId) {
        if let Some(line) = self.held.remove(&slot) {
            self.connections -= usize::from(line.connection.is_some());
            if let Some(due) = line.due {
                self.due.remove(&(due, slot));
            }
        }
    }

    /// Takes in a probe that is evidence, and the verdict after it.
    pub(super) fn probed(&mut self, slot: SlotId, measurement: (Moment, bool), health: Health, now: Moment) {
        let Some(line) = self.held.get_mut(&slot) else { return };
        let (began, is_ok) = measurement;
        let before = line.held.word();
        match line.held.probed(began, is_ok, health == Health::Up, now) {
            Wish::Nothing => {}
            Wish::Drop => self.connections -= usize::from(line.connection.take().is_some()),
        }
        line.tell_change(before);
        self.reschedule(slot);
    }

    /// Opens what is due.
    pub(super) fn launch(&mut self, now: Moment) {
        while let Some((due, slot)) = self.due.first().copied()
            && due.max(self.next_open) <= now
        {
            self.open(slot, now);
            self.reschedule(slot);
        }
    }

    /// When [`Holding::launch`] next has something to do.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| (*due).max(self.next_open))
    }

    /// Takes in what happened to a connection; the check that this makes suspect.
    pub(super) fn hear(&mut self, news: &News, now: Moment) -> Option<SlotId> {
        let slot = news.slot;
        let line = self.held.get_mut(&slot)?;
        // Of a connection that was dropped meanwhile nothing counts.
        line.connection.as_ref().filter(|connection| connection.serial == news.serial)?;
        let before = line.held.word();
        let is_suspect = match news.what {
            What::Opened => {
                line.held.opened(now);
                false
            }
            What::Failed => {
                line.held.failed(now);
                false
            }
            What::Ended(end) => line.held.ended(end, now),
        };
        match news.what {
            What::Opened => {}
            What::Failed | What::Ended(_) => {
                line.connection = None;
                self.connections -= 1;
            }
        }
        line.tell_change(before);
        self.reschedule(slot);
        is_suspect.then_some(slot)
    }

    /// What is said of a check's connection; nothing where none is wanted.
    pub(super) fn word(&self, slot: SlotId) -> Option<Hold> {
        self.held.get(&slot).map(|line| line.held.word())
    }

    fn open(&mut self, slot: SlotId, now: Moment) {
        let Some(line) = self.held.get_mut(&slot) else { return };
        if self.connections >= self.max {
            let before = line.held.word();
            line.held.no_room(now);
            line.tell_change(before);
            return;
        }
        self.next_open = self.next_open.max(now - CATCH_UP) + OPEN_STEP;
        self.connections += 1;
        self.serial += 1;
        line.held.opening();
        let (serial, tell) = (self.serial, self.tell.clone());
        let task = tokio::spawn(hold(Arc::clone(&self.clients), Arc::clone(&line.key), move |what| {
            // The prober may have stopped: then nobody wants to know.
            let _ = tell.send(News { slot, serial, what });
        }));
        line.connection = Some(Connection { serial, task: task.abort_handle() });
    }

    /// Brings `due` in line with what the check wants.
    fn reschedule(&mut self, slot: SlotId) {
        let Some(line) = self.held.get_mut(&slot) else { return };
        let wanted = line.held.due();
        if wanted == line.due {
            return;
        }
        if let Some(due) = line.due {
            self.due.remove(&(due, slot));
        }
        if let Some(due) = wanted {
            self.due.insert((due, slot));
        }
        line.due = wanted;
    }
}

impl Line {
    /// Logs what a person should know who relies on `hold`.
    fn tell_change(&self, before: Hold) {
        let after = self.held.word();
        match after {
            Hold::NotOpen | Hold::Open => {}
            Hold::ClosedByServer | Hold::ServerTalks | Hold::NoRoom if before != after => {
                tracing::info!(target = %self.key.target, from = before.as_str(), to = after.as_str(), "held connection");
            }
            Hold::ClosedByServer | Hold::ServerTalks | Hold::NoRoom => {}
        }
    }
}

async fn hold(clients: Arc<ProbeClients>, key: Arc<CheckKey>, tell: impl Fn(What)) {
    match probe::keep_open::open(&clients, &key).await {
        Ok(stream) => {
            tell(What::Opened);
            tell(What::Ended(probe::keep_open::wait_for_end(&stream).await));
        }
        Err(_) => tell(What::Failed),
    }
}
