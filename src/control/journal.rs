//! The numbered log of what happened to endpoints: every event gets its id here, and the last ones are kept for clients that
//! come back and for `portolan status`. One journal a process; the steering task writes, everybody may read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::snapshot::Transition;

/// Most events that are kept: the fall and the return of 2,000 endpoints, about 1 MiB. Judgment: a client that was away
/// for longer reads `/v1/status`.
pub const MAX_EVENTS: usize = 4096;

/// Most events that `/v1/transitions` gives: a screen or two.
pub const RECENT_TRANSITIONS: usize = 64;

/// Something that happened to an endpoint, as the API tells it: a transition, or a change of its override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEvent {
    /// NODE/NUMBER; the numbers of a node rise by one. Given by the journal.
    pub id: String,
    /// When, in Unix seconds.
    pub at: f64,
    /// The endpoint's zone, with the final dot.
    pub zone: String,
    /// The endpoint.
    pub endpoint: String,
    /// Its health before: `up`, `down` or `unknown`; while it is overridden, `drained`, `forced-up` or `forced-down`.
    pub from: String,
    /// The same since.
    pub to: String,
    /// Why, in words.
    pub why: String,
    /// The generation that was being served.
    pub generation: u64,
    /// The monitor, where it is that of a name: the endpoint's own health is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// The endpoint's region, for those in this process.
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
    kept: Mutex<RecentEvents>,
    sender: broadcast::Sender<JournalEvent>,
}

#[derive(Debug)]
struct RecentEvents {
    /// The number of the last event; 0 before the first.
    last: u64,
    /// Oldest first.
    events: VecDeque<JournalEvent>,
}

/// What a client that comes (back) gets.
pub(super) struct Subscription {
    /// Events after the one that it has which are no longer kept.
    pub(super) lost: u64,
    /// Events after the one that it has.
    pub(super) missed: Vec<JournalEvent>,
    /// All later ones.
    pub(super) incoming: broadcast::Receiver<JournalEvent>,
}

impl Journal {
    /// An empty log of `node`, from whose followers `behind` events may wait to be read; `last` is the number of the last
    /// event before the start.
    pub fn new(node: &str, behind: usize, last: u64) -> Journal {
        let kept = Mutex::new(RecentEvents { last, events: VecDeque::new() });
        Journal { node: node.into(), kept, sender: broadcast::channel(behind).0 }
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.kept().last
    }

    /// Gives an event its id, keeps it and sends it to all followers.
    pub fn tell(&self, event: JournalEvent) {
        let mut kept = self.kept();
        kept.last += 1;
        let event = JournalEvent { id: format!("{}/{}", self.node, kept.last), ..event };
        if kept.events.len() == MAX_EVENTS {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Nobody need be listening.
        let _ = self.sender.send(event);
    }

    /// All events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<JournalEvent> {
        self.sender.subscribe()
    }

    /// All events after the one with this id; from now on without one. An id of another node, or one that was not given out since the
    /// start, is from before it: then everything is new.
    pub(super) fn follow(&self, id: Option<&str>) -> Subscription {
        let kept = self.kept();
        let incoming = self.sender.subscribe();
        let Some((node, number)) = id.and_then(|id| id.rsplit_once('/')) else {
            return Subscription { lost: 0, missed: Vec::new(), incoming };
        };
        let number = number.parse().ok().filter(|number| node == &*self.node && *number <= kept.last).unwrap_or(0);
        let wanted = kept.last - number;
        let missed: Vec<JournalEvent> = kept.events.iter().rev().take(wanted as usize).rev().cloned().collect();
        Subscription { lost: wanted - missed.len() as u64, missed, incoming }
    }

    /// The last events, newest first, [`RECENT_TRANSITIONS`] at most.
    pub(super) fn newest_first(&self) -> Vec<JournalEvent> {
        self.kept().events.iter().rev().take(RECENT_TRANSITIONS).cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, RecentEvents> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::transition;

    fn journal(events: u64) -> Journal {
        let journal = Journal::new("ns1", 4, 0);
        (0..events).for_each(|_| journal.tell(JournalEvent::from(&transition())));
        journal
    }

    fn ids(events: &[JournalEvent]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn numbers_rise_by_one_and_the_newest_comes_first() {
        assert_eq!(ids(&journal(3).newest_first()), ["ns1/3", "ns1/2", "ns1/1"]);
    }

    #[test]
    fn what_is_no_longer_kept_is_counted_and_the_rest_is_given() {
        let journal = journal(MAX_EVENTS as u64 + 10);
        let followed = journal.follow(Some("ns1/4"));
        assert_eq!((followed.lost, followed.missed.len()), (6, MAX_EVENTS));
        assert_eq!(ids(&followed.missed[..1]), ["ns1/11"]);
    }

    #[test]
    fn what_happened_before_the_start_is_lost_and_counted() {
        let journal = Journal::new("ns1", 4, 7);
        journal.tell(JournalEvent::from(&transition()));
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
