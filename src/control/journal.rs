//! The numbered log of events of endpoints. Each event gets its id here. The last events are retained for clients
//! that connect again, and for `portolan status`. There is one journal in a process; the steering task and the
//! failback handler append, everybody may read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::snapshot::Transition;

/// Most retained events: the fall and the return of 2,000 endpoints, about 1 MiB. Judgment: a client that was away
/// for longer reads `/v1/status`.
pub const MAX_EVENTS: usize = 4096;

/// Most events in a response of `/v1/transitions`: a screen or two.
pub const RECENT_TRANSITIONS: usize = 64;

/// An event as the API sends it: a transition of an endpoint, a change of its override, or the failback or the
/// promotion of a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEvent {
    /// NODE/NUMBER. The numbers of a node increase by one. The journal sets it.
    pub id: String,
    /// When, in Unix seconds.
    pub at: f64,
    /// The endpoint's zone, with the final dot.
    pub zone: String,
    /// The endpoint.
    pub endpoint: String,
    /// The health before: `up`, `down` or `unknown`; for an override `drained`, `forced-up` or `forced-down`.
    pub from: String,
    /// The health after.
    pub to: String,
    /// Why, as a sentence.
    pub why: String,
    /// The generation that was served.
    pub generation: u64,
    /// The monitor, if the health is that of a name's own monitor. The health of the endpoint did not change then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// The endpoint's region, for readers in this process.
    #[serde(skip)]
    pub region: Option<String>,
}

impl From<&Transition> for JournalEvent {
    fn from(transition: &Transition) -> JournalEvent {
        JournalEvent {
            id: String::new(),
            at: transition.at,
            zone: transition.zone.clone(),
            endpoint: transition.endpoint.clone(),
            from: transition.from.as_str().to_owned(),
            to: transition.to.as_str().to_owned(),
            why: transition.why.clone(),
            generation: transition.generation,
            region: transition.region.clone(),
            monitor: transition.monitor.clone(),
        }
    }
}

/// The log.
#[derive(Debug)]
pub struct Journal {
    node: Arc<str>,
    recent: Mutex<RecentEvents>,
    sender: broadcast::Sender<Arc<JournalEvent>>,
}

#[derive(Debug)]
struct RecentEvents {
    /// The number of the last event; 0 before the first.
    last: u64,
    /// Oldest first. The steering task waits while readers copy from here: they copy references.
    events: VecDeque<Arc<JournalEvent>>,
}

/// What a client receives that connects (again).
pub(super) struct Subscription {
    /// How many of the events after its last one are no longer retained.
    pub(super) lost: u64,
    /// The retained events after its last one.
    pub(super) missed: Vec<Arc<JournalEvent>>,
    /// All later events.
    pub(super) incoming: broadcast::Receiver<Arc<JournalEvent>>,
}

impl Journal {
    /// An empty log of `node`. `behind` is the number of events that a subscriber may have waiting; `last` is the
    /// number of the last event before this start.
    pub fn new(node: &str, behind: usize, last: u64) -> Journal {
        let recent = Mutex::new(RecentEvents { last, events: VecDeque::new() });
        Journal { node: node.into(), recent, sender: broadcast::channel(behind).0 }
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.recent().last
    }

    /// Sets the id of an event, retains it and sends it to all subscribers.
    pub fn append(&self, event: JournalEvent) {
        let mut recent = self.recent();
        recent.last += 1;
        let event = Arc::new(JournalEvent { id: format!("{}/{}", self.node, recent.last), ..event });
        if recent.events.len() == MAX_EVENTS {
            recent.events.pop_front();
        }
        recent.events.push_back(event.clone());
        // Sending fails if nobody subscribes, which is no error.
        let _ = self.sender.send(event);
    }

    /// All events after this call.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<JournalEvent>> {
        self.sender.subscribe()
    }

    /// All events after the one with this id; without an id, the events after this call. An id of another node, or
    /// one that this process has not used, is from before the start: then every event is new.
    pub(super) fn follow(&self, id: Option<&str>) -> Subscription {
        let recent = self.recent();
        let incoming = self.sender.subscribe();
        let Some((node, number)) = id.and_then(|id| id.rsplit_once('/')) else {
            return Subscription { lost: 0, missed: Vec::new(), incoming };
        };
        let number = number.parse().ok().filter(|number| node == &*self.node && *number <= recent.last).unwrap_or(0);
        let wanted = recent.last - number;
        let missed: Vec<_> = recent.events.iter().rev().take(wanted as usize).rev().cloned().collect();
        Subscription { lost: wanted - missed.len() as u64, missed, incoming }
    }

    /// The last events, newest first; at most [`RECENT_TRANSITIONS`].
    pub(super) fn newest_first(&self) -> Vec<Arc<JournalEvent>> {
        self.recent().events.iter().rev().take(RECENT_TRANSITIONS).cloned().collect()
    }

    fn recent(&self) -> MutexGuard<'_, RecentEvents> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::transition;

    fn journal(events: u64) -> Journal {
        let journal = Journal::new("ns1", 4, 0);
        (0..events).for_each(|_| journal.append(JournalEvent::from(&transition())));
        journal
    }

    fn ids(events: &[Arc<JournalEvent>]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn numbers_rise_by_one_and_the_newest_comes_first() {
        assert_eq!(ids(&journal(3).newest_first()), ["ns1/3", "ns1/2", "ns1/1"]);
    }

    #[test]
    fn events_that_are_no_longer_retained_are_counted_and_the_rest_is_sent() {
        let journal = journal(MAX_EVENTS as u64 + 10);
        let followed = journal.follow(Some("ns1/4"));
        assert_eq!((followed.lost, followed.missed.len()), (6, MAX_EVENTS));
        assert_eq!(ids(&followed.missed[..1]), ["ns1/11"]);
    }

    #[test]
    fn what_happened_before_the_start_is_lost_and_counted() {
        let journal = Journal::new("ns1", 4, 7);
        journal.append(JournalEvent::from(&transition()));
        let followed = journal.follow(Some("ns1/5"));
        assert_eq!((followed.lost, ids(&followed.missed)), (2, vec!["ns1/8"]));
    }

    #[test]
    fn an_id_from_before_the_start_misses_everything() {
        for id in ["ns1/99", "ns2/1", "ns1/x", "ns1/"] {
            assert_eq!(ids(&journal(2).follow(Some(id)).missed), ["ns1/1", "ns1/2"], "{id}");
        }
        for id in [None, Some(""), Some("what")] {
            assert!(journal(2).follow(id).missed.is_empty(), "{id:?}");
        }
    }
}
