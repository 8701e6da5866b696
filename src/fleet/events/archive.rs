//! The events of the stream that a server has read. Bounded in events, octets and nodes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::fleet::events::cursor::MAX_NODES;
use crate::fleet::events::{
    CloudEvent, EventCursor, EventId, EventKind, EventRefusal, MAX_IN_MESSAGE, NEW_NUMBERING, events_of,
};

/// Most events: as many as the log of one server has.
const MAX_EVENTS: usize = 16_384;
/// Most octets of the messages that the events came in (judgment).
const MAX_OCTETS: usize = 16 << 20;

/// A server that has not yet read the last events of the stream may lack this many of a node that another server has
/// (judgment: seconds of a node whose endpoints flap).
const MAX_LAG: u64 = 256;

/// An event of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedEvent {
    /// Its id.
    pub id: EventId,
    /// Its content.
    pub event: CloudEvent,
    octets: usize,
}

/// What is known of the events of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvents {
    /// The number of the last one that was read.
    pub last: u64,
    /// How many are missing between those that were read: the stream discarded them before, or the node lost them.
    pub missing: u64,
    /// The archive has none with this number or a lower one any more.
    floor: u64,
}

/// Numbers of a node that can't be had any more, from the first to the last one.
pub type LostEvents = BTreeMap<Arc<str>, (u64, u64)>;

/// What a client gets that resumes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MissedEvents {
    /// Events after its cursor that can't be had any more.
    pub lost: LostEvents,
    /// The events after its cursor.
    pub events: Vec<Arc<ArchivedEvent>>,
}

/// The last events of all nodes.
#[derive(Debug, Default)]
pub struct EventArchive {
    nodes: BTreeMap<Arc<str>, NodeEvents>,
    /// In the order in which they were read.
    events: VecDeque<Arc<ArchivedEvent>>,
    octets: usize,
    refused: BTreeMap<EventRefusal, u64>,
}

impl EventArchive {
    /// Takes a message that `node` has written, as its subject says. Returns the events that are new; events that were
    /// read before are ignored, and what can't be used is counted.
    pub fn take(&mut self, node: &str, payload: &[u8]) -> Vec<Arc<ArchivedEvent>> {
        let events = match events_of(payload, node, MAX_IN_MESSAGE) {
            Ok(events) => events,
            Err(why) => {
                self.refuse(why);
                return Vec::new();
            }
        };
        let octets = payload.len() / events.len().max(1);
        let mut new = Vec::new();
        for event in events {
            match event.and_then(|(id, event)| self.enter(id, event, octets)) {
                Ok(entered) => new.extend(entered),
                Err(why) => self.refuse(why),
            }
        }
        new
    }

    /// Adds an event; `None`: it was read before.
    fn enter(
        &mut self,
        id: EventId,
        event: CloudEvent,
        octets: usize,
    ) -> Result<Option<Arc<ArchivedEvent>>, EventRefusal> {
        // The first number of what the event stands for.
        let first = match event.kind() {
            Some(EventKind::Lost) => event.data.from.parse().unwrap_or(id.number).clamp(1, id.number),
            Some(_) | None => id.number,
        };
        let has_room = self.nodes.len() < MAX_NODES;
        match self.nodes.get_mut(&*id.node) {
            Some(known) if id.number <= known.last => return Ok(None),
            Some(known) => {
                let gap = first.max(known.last + 1) - known.last - 1;
                known.missing = known.missing.saturating_add(if gap < NEW_NUMBERING { gap } else { 0 });
                if event.kind() == Some(EventKind::Lost) {
                    known.missing = known.missing.saturating_add(id.number - first.max(known.last + 1) + 1);
                }
                known.last = id.number;
            }
            None if !has_room => return Err(EventRefusal::TooManyNodes),
            None => {
                let known = NodeEvents { last: id.number, missing: 0, floor: first - 1 };
                self.nodes.insert(id.node.clone(), known);
            }
        }
        let event = Arc::new(ArchivedEvent { id, event, octets });
        self.octets += octets;
        self.events.push_back(event.clone());
        while self.events.len() > MAX_EVENTS || self.octets > MAX_OCTETS {
            let Some(oldest) = self.events.pop_front() else { break };
            self.octets -= oldest.octets;
            if let Some(known) = self.nodes.get_mut(&*oldest.id.node) {
                known.floor = oldest.id.number;
            }
        }
        Ok(Some(event))
    }

    /// Counts something that can't be used.
    pub fn refuse(&mut self, why: EventRefusal) {
        *self.refused.entry(why).or_default() += 1;
    }

    /// The events after a cursor. Nodes that are not in the cursor are new to the client: it gets all their events.
    pub fn after(&self, cursor: &EventCursor) -> MissedEvents {
        let lost = self.nodes.iter().filter_map(|(node, known)| {
            let has = cursor.of(node).filter(|has| *has < known.floor)?;
            Some((node.clone(), (has + 1, known.floor)))
        });
        let is_new = |event: &&Arc<ArchivedEvent>| event.id.number > cursor.of(&event.id.node).unwrap_or(0);
        MissedEvents { lost: lost.collect(), events: self.events.iter().filter(is_new).cloned().collect() }
    }

    /// Corrects the nodes of a cursor whose last event has a lower number than the cursor. Returns them with the
    /// numbers of their last events. A little lower: this server may be behind another one, and the client gets what
    /// comes after its last event, a few of them again. Much lower: the cursor is wrong, or their numbers have begun
    /// anew, and the client gets all events of the node. A node that the archive does not know stays: nothing of it is
    /// hidden, and a stream that is made anew gets its events again.
    pub fn correct(&self, cursor: &mut EventCursor) -> BTreeMap<Arc<str>, u64> {
        let mut beyond = BTreeMap::new();
        for (node, known) in &self.nodes {
            let Some(ahead) = cursor.of(node).and_then(|number| number.checked_sub(known.last)).filter(|n| *n > 0)
            else {
                continue;
            };
            cursor.forget(node);
            if ahead <= MAX_LAG {
                cursor.advance(&EventId { node: node.clone(), number: known.last });
            }
            beyond.insert(node.clone(), known.last);
        }
        beyond
    }

    /// The cursor of a client that has everything.
    pub fn cursor(&self) -> EventCursor {
        let mut cursor = EventCursor::default();
        for (node, known) in &self.nodes {
            cursor.advance(&EventId { node: node.clone(), number: known.last });
        }
        cursor
    }

    /// What is known of each node.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &NodeEvents)> {
        self.nodes.iter()
    }

    /// How much could not be used, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (EventRefusal, u64)> {
        self.refused.iter().map(|(why, count)| (*why, *count))
    }
}
