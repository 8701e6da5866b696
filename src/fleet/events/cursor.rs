//! Where a client of the fleet's events is: the number of the last event that it has of each node. It means the same at
//! every server, and after the stream was made anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fleet::events::{EventId, MAX_NUMBER};
use crate::fleet::nats::{name_of, token};

/// Most nodes in a cursor: there are as many servers at most in an archive.
pub(super) const MAX_NODES: usize = 256;

/// The number of the last event of each node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventCursor(BTreeMap<Arc<str>, u64>);

impl EventCursor {
    /// Reads `NODE/NUMBER,NODE/NUMBER`, with each node as a token of NATS subjects (`=XX` for unusual octets) or as it
    /// is. `None`: it is no cursor, or has a node twice.
    pub fn parse(text: &str) -> Option<EventCursor> {
        let mut cursor = EventCursor::default();
        for part in text.split(',').map(str::trim) {
            let (node, number) = part.rsplit_once('/')?;
            let node = name_of(node).unwrap_or_else(|| node.to_owned());
            let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            let number = number.parse().ok().filter(|number| is_number && *number <= MAX_NUMBER)?;
            let is_new = !node.is_empty() && cursor.0.insert(node.into(), number).is_none();
            if !is_new || cursor.0.len() > MAX_NODES {
                return None;
            }
        }
        Some(cursor)
    }

    /// The number of the last event of a node; `None`: none is known.
    pub fn of(&self, node: &str) -> Option<u64> {
        self.0.get(node).copied()
    }

    /// The client has no event of this node.
    pub fn forget(&mut self, node: &str) {
        self.0.remove(node);
    }

    /// The client has this event, and those of its node before it.
    pub fn advance(&mut self, id: &EventId) {
        match self.0.get_mut(&*id.node) {
            Some(number) => *number = (*number).max(id.number),
            None => _ = self.0.insert(id.node.clone(), id.number),
        }
    }
}

impl std::fmt::Display for EventCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (node, number)) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { "," };
            write!(f, "{between}{}/{number}", token(node))?;
        }
        Ok(())
    }
}
