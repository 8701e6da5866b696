//! What the tasks of the events know, for the API, metrics and each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::control::fleet::{EventsReport, NodeEventsReport};
use crate::control::{FleetEvents, Journal};
use crate::fleet::events::EventOutbox;
use crate::printable::escaped;

/// Shared by the tasks of the events.
#[derive(Debug, Default)]
pub(in crate::daemon::fleet) struct EventBoard {
    state: Mutex<EventState>,
    /// A message of this server was stored.
    pub(super) written: Notify,
}

#[derive(Debug, Default)]
struct EventState {
    acknowledged: u64,
    lost: u64,
    write_problem: Option<String>,
    read_problem: Option<String>,
    /// Whether everything was read at some time.
    has_read: bool,
}

impl EventBoard {
    fn state(&self) -> MutexGuard<'_, EventState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over where the writer is. Returns whether the problem is a new one.
    pub(super) fn note_write(&self, outbox: &EventOutbox, problem: Option<&str>) -> bool {
        let mut state = self.state();
        (state.acknowledged, state.lost) = (outbox.acknowledged(), outbox.lost());
        let is_new = problem.is_some() && state.write_problem.as_deref() != problem;
        state.write_problem = problem.map(str::to_owned);
        is_new
    }

    /// Takes over how a read ended. Returns whether the problem is a new one.
    pub(super) fn note_read(&self, problem: Option<&str>) -> bool {
        let mut state = self.state();
        let is_new = problem.is_some() && state.read_problem.as_deref() != problem;
        state.read_problem = problem.map(str::to_owned);
        state.has_read |= problem.is_none();
        is_new
    }

    /// Whether the stream was read to its end.
    pub(super) fn is_current(&self) -> bool {
        let state = self.state();
        state.has_read && state.read_problem.is_none()
    }

    /// For the API and metrics.
    pub(in crate::daemon::fleet) fn report(&self, journal: &Journal, events: &FleetEvents) -> EventsReport {
        let last = journal.last();
        let (nodes, refused) = {
            let archive = events.archive();
            let nodes = archive.nodes().map(|(node, known)| NodeEventsReport {
                node: escaped(node).into_owned(),
                last: known.last,
                missing: known.missing,
            });
            let refused = archive.refused().map(|(why, count)| (why.as_str().to_owned(), count));
            (nodes.collect(), refused.collect())
        };
        let state = self.state();
        let problem = state.write_problem.as_ref().or(state.read_problem.as_ref());
        EventsReport {
            state: match (problem, state.has_read) {
                (Some(_), _) => "away",
                (None, false) => "waiting",
                (None, true) => "current",
            }
            .to_owned(),
            problem: problem.map(|why| escaped(why).into_owned()),
            last,
            acknowledged: state.acknowledged,
            waiting: last.saturating_sub(state.acknowledged),
            lost: state.lost,
            nodes,
            refused,
        }
    }
}
