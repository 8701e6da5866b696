//! How long a change takes from the first server that has it to the last. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Moment;

/// Most changes that are not on all servers yet; the oldest is forgotten (judgment: as many as the demo has endpoints,
/// several times over).
const MAX_OPEN: usize = 64;

/// The changes that some servers have and others don't.
pub(crate) struct Spread {
    servers: usize,
    open: VecDeque<Change>,
}

struct Change {
    what: String,
    since: Moment,
    seen_by: Vec<usize>,
}

impl Spread {
    /// Of this many servers.
    pub(crate) fn new(servers: usize) -> Spread {
        Spread { servers, open: VecDeque::new() }
    }

    /// A server has a change. Returns how long it took from the first to the last one if this is the last.
    pub(crate) fn note(&mut self, server: usize, what: &str, now: Moment) -> Option<Duration> {
        let at = self.open.iter().position(|change| change.what == what);
        match at.and_then(|at| self.open.get_mut(at)) {
            Some(change) if !change.seen_by.contains(&server) => change.seen_by.push(server),
            // The same server has it again: it was undone meanwhile.
            Some(change) => (change.since, change.seen_by) = (now, vec![server]),
            None => {
                if self.open.len() >= MAX_OPEN {
                    self.open.pop_front();
                }
                self.open.push_back(Change { what: what.to_owned(), since: now, seen_by: vec![server] });
            }
        }
        let at = self.open.iter().position(|change| change.what == what && change.seen_by.len() >= self.servers)?;
        self.open.remove(at).map(|change| now.since(change.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_change_is_on_all_servers_once_each_has_it() {
        let mut spread = Spread::new(3);
        assert_eq!(spread.note(0, "a -> down", at(100)), None);
        assert_eq!(spread.note(1, "b -> down", at(101)), None);
        assert_eq!(spread.note(2, "a -> down", at(110)), None);
        assert_eq!(spread.note(2, "a -> down", at(200)), None, "again: from here on");
        assert_eq!(spread.note(0, "a -> down", at(205)), None);
        assert_eq!(spread.note(1, "a -> down", at(230)), Some(Duration::from_millis(30)));
        assert_eq!(spread.note(1, "a -> down", at(300)), None, "the next one");
    }

    #[test]
    fn changes_that_never_arrive_everywhere_are_bounded() {
        let mut spread = Spread::new(2);
        (0..10_000).for_each(|n| assert_eq!(spread.note(0, &n.to_string(), at(n)), None));
        assert_eq!(spread.open.len(), MAX_OPEN);
        assert_eq!(spread.note(1, "0", at(10_001)), None, "forgotten");
    }
}
