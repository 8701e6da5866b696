//! What the tasks of the events know, for the API, metrics and each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::control::fleet::{EventsReport, NodeEventsReport};
use crate::control::{FleetEvents, Journal, Reading};
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
        let Reading { has_read, problem } = events.reading();
        let state = self.state();
        let problem = state.write_problem.clone().or(problem);
        EventsReport {
            state: match (&problem, has_read) {
                (Some(_), _) => "away",
                (None, false) => "waiting",
                (None, true) => "current",
            }
            .to_owned(),
            problem: problem.map(|why| escaped(&why).into_owned()),
            last,
            acknowledged: state.acknowledged,
            waiting: journal.count_after(state.acknowledged) as u64,
            lost: state.lost,
            nodes,
            refused,
        }
    }
}
