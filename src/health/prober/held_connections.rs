//! The held connections of one prober: opens them when they are due, and receives their ends. `held` decides what an
//! end means; `probe::keep_open` has the socket.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::health::SlotId;
use crate::health::held::{ConnectionEnd, HeldConnection};
use crate::health::probe::{self, ProbeClients};
use crate::model::{CheckKey, Health, Hold, Moment};

/// Connections are opened this far apart: 2,000 a second, so that ten thousand are not a burst.
const OPEN_STEP: Duration = Duration::from_micros(500);
/// The most delay of a timer that is caught up with.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The held connections of one prober.
pub(super) struct HeldConnections {
    clients: Arc<ProbeClients>,
    max: usize,
    checks: HashMap<SlotId, HeldCheck>,
    /// When to open the connection of which check.
    due: BTreeSet<(Moment, SlotId)>,
    /// No connection is opened before this.
    next_open: Moment,
    connections: usize,
    serial: u64,
    events: mpsc::UnboundedSender<ConnectionEvent>,
}

/// One check with a held connection.
struct HeldCheck {
    key: Arc<CheckKey>,
    state: HeldConnection,
    /// Its entry in `HeldConnections::due`.
    due: Option<Moment>,
    task: Option<ConnectionTask>,
}

/// The task of a connection that is open or being opened. Dropping it closes the connection without an event.
struct ConnectionTask {
    serial: u64,
    task: AbortHandle,
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something that happened to a connection.
pub(super) struct ConnectionEvent {
    slot: SlotId,
    serial: u64,
    change: Change,
}

enum Change {
    Opened,
    Failed,
    Ended(ConnectionEnd),
}

impl HeldConnections {
    /// No connections yet, and at most `max` later. The receiver gets the events, which the caller passes to
    /// [`HeldConnections::take_event`].
    pub(super) fn new(
        clients: Arc<ProbeClients>,
        max: usize,
    ) -> (HeldConnections, mpsc::UnboundedReceiver<ConnectionEvent>) {
        // Each connection sends at most two events, and the number of connections is bounded.
        let (events, receiver) = mpsc::unbounded_channel();
        let connections = HeldConnections {
            clients,
            max,
            checks: HashMap::new(),
            due: BTreeSet::new(),
            next_open: Moment::START,
            connections: 0,
            serial: 0,
            events,
        };
        (connections, receiver)
    }

    /// Adds a check, if its monitor wants a held connection. The connection is opened after the first success.
    pub(super) fn add(&mut self, slot: SlotId, key: &Arc<CheckKey>) {
        if key.monitor.hold {
            let check = HeldCheck { key: Arc::clone(key), state: HeldConnection::default(), due: None, task: None };
            self.checks.insert(slot, check);
        }
    }

    /// Removes a check and closes its connection.
    pub(super) fn remove(&mut self, slot: SlotId) {
        if let Some(check) = self.checks.remove(&slot) {
            self.connections -= usize::from(check.task.is_some());
            if let Some(due) = check.due {
                self.due.remove(&(due, slot));
            }
        }
    }

    /// Takes in a probe: when it began and whether it succeeded, and the verdict after it.
    pub(super) fn probed(&mut self, slot: SlotId, (began, is_ok): (Moment, bool), health: Health, now: Moment) {
        let Some(check) = self.checks.get_mut(&slot) else { return };
        let before = check.state.status();
        let must_close = check.state.probed(began, is_ok, health == Health::Up, now);
        if must_close {
            self.connections -= usize::from(check.task.take().is_some());
        }
        check.log_change(before);
        self.reschedule(slot);
    }

    /// Opens the connections that are due.
    pub(super) fn launch(&mut self, now: Moment) {
        while let Some((due, slot)) = self.due.first().copied()
            && due.max(self.next_open) <= now
        {
            self.open(slot, now);
            self.reschedule(slot);
        }
    }

    /// When [`HeldConnections::launch`] has something to do next.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| (*due).max(self.next_open))
    }

    /// Takes in an event. Returns the check, if the event makes it suspect.
    pub(super) fn take_event(&mut self, event: &ConnectionEvent, now: Moment) -> Option<SlotId> {
        let slot = event.slot;
        let check = self.checks.get_mut(&slot)?;
        // Events of a connection that was dropped meanwhile don't count.
        check.task.as_ref().filter(|task| task.serial == event.serial)?;
        let before = check.state.status();
        let is_suspect = match event.change {
            Change::Opened => {
                check.state.opened(now);
                false
            }
            Change::Failed => {
                check.state.failed(now);
                false
            }
            Change::Ended(end) => check.state.ended(end, now),
        };
        match event.change {
            Change::Opened => {}
            Change::Failed | Change::Ended(_) => {
                check.task = None;
                self.connections -= 1;
            }
        }
        check.log_change(before);
        self.reschedule(slot);
        is_suspect.then_some(slot)
    }

    /// The status of a check's connection. `None` if its monitor wants none.
    pub(super) fn status(&self, slot: SlotId) -> Option<Hold> {
        self.checks.get(&slot).map(|check| check.state.status())
    }

    fn open(&mut self, slot: SlotId, now: Moment) {
        let Some(check) = self.checks.get_mut(&slot) else { return };
        if self.connections >= self.max {
            let before = check.state.status();
            check.state.no_room(now);
            check.log_change(before);
            return;
        }
        self.next_open = self.next_open.max(now - CATCH_UP) + OPEN_STEP;
        self.connections += 1;
        self.serial += 1;
        check.state.opening();
        let (serial, events) = (self.serial, self.events.clone());
        let task = tokio::spawn(keep_open(Arc::clone(&self.clients), Arc::clone(&check.key), move |change| {
            // It fails if the prober has stopped.
            let _ = events.send(ConnectionEvent { slot, serial, change });
        }));
        check.task = Some(ConnectionTask { serial, task: task.abort_handle() });
    }

    /// Updates `due` after a change of the check's state.
    fn reschedule(&mut self, slot: SlotId) {
        let Some(check) = self.checks.get_mut(&slot) else { return };
        let wanted = check.state.due();
        if wanted == check.due {
            return;
        }
        if let Some(due) = check.due {
            self.due.remove(&(due, slot));
        }
        if let Some(due) = wanted {
            self.due.insert((due, slot));
        }
        check.due = wanted;
    }
}

impl HeldCheck {
    /// Logs when the connection is given up, for operators who rely on `hold`.
    fn log_change(&self, before: Hold) {
        let after = self.state.status();
        match after {
            Hold::NotOpen | Hold::Open => {}
            Hold::ClosedByServer | Hold::ServerTalks | Hold::NoRoom if before != after => {
                let (from, to) = (before.as_str(), after.as_str());
                tracing::info!(target = %self.key.target, from, to, "held connection");
            }
            Hold::ClosedByServer | Hold::ServerTalks | Hold::NoRoom => {}
        }
    }
}

/// Opens a connection and waits for its end.
async fn keep_open(clients: Arc<ProbeClients>, key: Arc<CheckKey>, report: impl Fn(Change)) {
    match probe::keep_open::open(&clients, &key).await {
        Ok(stream) => {
            report(Change::Opened);
            report(Change::Ended(probe::keep_open::wait_for_end(&stream).await));
        }
        Err(_) => report(Change::Failed),
    }
}
