//! How a driver reports: updates, through a channel whose memory is bounded whatever the source does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::discovery::instance::{Instance, InstanceList, RefusedInstances};
use crate::printable::escaped;

/// What a driver has learned. A resume point (an index, a revision) is the driver's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// All instances of the source.
    Whole(InstanceList),
    /// Some instances are new or other ones, and some have gone.
    Changes(InstanceChanges),
    /// The source can't be read, or what it sends can't be used. The instances stay.
    Away(Trouble),
    /// The source answers again, and nothing has changed: for a driver that resumes without a list.
    Back,
}

/// A part of a source's instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceChanges {
    /// By the key of an instance: how it is now, `None` if it has gone.
    pub by_key: HashMap<String, Option<Instance>>,
    /// All that the source lists now and the driver can't read. Such an instance has gone.
    pub refusals: RefusedInstances,
}

impl InstanceChanges {
    /// An instance is new, or another one than before.
    pub fn set(&mut self, instance: Instance) {
        self.by_key.insert(instance.key.clone(), Some(instance));
    }

    /// An instance has gone.
    pub fn remove(&mut self, key: &str) {
        self.by_key.insert(crate::discovery::instance::bounded(key), None);
    }
}

/// Why a source can't be used at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whether the source answers.
    pub state: TroubleState,
    /// What was expected, what was found, and what to do: one line, printable.
    pub problem: String,
}

/// Whether a source in trouble answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleState {
    /// It does not answer.
    Away,
    /// It answers, with something that can't be used: an error, or data of another form.
    Bad,
}

impl Trouble {
    /// It does not answer.
    pub fn away(problem: impl AsRef<str>) -> Trouble {
        Trouble::of(TroubleState::Away, problem.as_ref())
    }

    /// It answers with something that can't be used.
    pub fn bad(problem: impl AsRef<str>) -> Trouble {
        Trouble::of(TroubleState::Bad, problem.as_ref())
    }

    /// The same, at a server that `of` names.
    pub fn at(self, of: &str) -> Trouble {
        Trouble::of(self.state, &format!("{of}: {}", self.problem))
    }

    /// A part of the text may be that of a stranger.
    fn of(state: TroubleState, problem: &str) -> Trouble {
        Trouble { state, problem: escaped(problem).into_owned() }
    }
}

/// What has been sent and not yet received, as one update each: a newer whole list replaces everything before it, and
/// changes are merged by their keys.
#[derive(Debug, Default)]
struct Waiting {
    whole: Option<InstanceList>,
    changes: InstanceChanges,
    /// The last [`Update::Away`] or [`Update::Back`].
    trouble: Option<Option<Trouble>>,
}

/// What both ends share.
#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Most keys of changes that may wait.
    most: usize,
    sent: Notify,
    received: Notify,
    relist: Notify,
}

/// The driver's end.
#[derive(Debug, Clone)]
pub struct UpdateSender(Arc<Shared>);

/// The end of who follows the source.
#[derive(Debug)]
pub struct UpdateReceiver(Arc<Shared>);

/// A channel for a source with this `max`. At most one whole list, and changes of twice `max` keys, wait in it; an
/// update with more changes is taken while no others wait, so a driver has to bound it.
pub fn updates(max: usize) -> (UpdateSender, UpdateReceiver) {
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        most: 2 * max.max(1),
        sent: Notify::new(),
        received: Notify::new(),
        relist: Notify::new(),
    });
    (UpdateSender(shared.clone()), UpdateReceiver(shared))
}

impl UpdateSender {
    /// Sends an update. Waits while too many changes wait; a whole list never waits.
    pub async fn send(&self, update: Update) {
        let mut update = Some(update);
        loop {
            let room = self.0.received.notified();
            if let Some(taken) = update.take() {
                update = self.put(taken);
            }
            if update.is_none() {
                self.0.sent.notify_one();
                return;
            }
            room.await;
        }
    }

    /// Resolves when a new whole list is wanted, because changes could not be applied: more than `max` instances. To be
    /// awaited together with the source.
    pub async fn relist_wanted(&self) {
        self.0.relist.notified().await;
    }

    /// Puts the update to what waits; returns it where there is no room.
    fn put(&self, update: Update) -> Option<Update> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match update {
            Update::Whole(list) => {
                *waiting = Waiting { whole: Some(list), changes: InstanceChanges::default(), trouble: Some(None) };
            }
            Update::Changes(changes) => {
                let known = &waiting.changes.by_key;
                let more = changes.by_key.keys().filter(|key| !known.contains_key(*key)).count();
                if !known.is_empty() && known.len() + more > self.0.most {
                    return Some(Update::Changes(changes));
                }
                waiting.changes.by_key.extend(changes.by_key);
                waiting.changes.refusals = changes.refusals;
                waiting.trouble = Some(None);
            }
            Update::Away(trouble) => waiting.trouble = Some(Some(trouble)),
            Update::Back => waiting.trouble = Some(None),
        }
        None
    }
}

impl UpdateReceiver {
    /// Everything that was sent since the last call, in order: at most one of each kind.
    pub async fn receive(&self) -> Vec<Update> {
        loop {
            let sent = self.0.sent.notified();
            let Waiting { whole, changes, trouble } =
                std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let mut updates: Vec<Update> = whole.map(Update::Whole).into_iter().collect();
            if changes != InstanceChanges::default() {
                updates.push(Update::Changes(changes));
            }
            match trouble {
                Some(Some(trouble)) => updates.push(Update::Away(trouble)),
                Some(None) if updates.is_empty() => updates.push(Update::Back),
                Some(None) | None => {}
            }
            if !updates.is_empty() {
                self.0.received.notify_one();
                return updates;
            }
            sent.await;
        }
    }

    /// Has the driver send a whole list.
    pub fn want_list(&self) {
        self.0.relist.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(keys: &[&str]) -> Update {
        let mut changes = InstanceChanges::default();
        keys.iter().for_each(|key| changes.set(Instance::new(key, [], None)));
        Update::Changes(changes)
    }

    #[tokio::test]
    async fn a_newer_whole_list_replaces_what_waits_and_changes_are_merged() {
        let (sender, receiver) = updates(10);
        sender.send(changes(&["old"])).await;
        let mut list = InstanceList::new(10);
        list.push(Instance::new("a", [], None));
        sender.send(Update::Whole(list.clone())).await;
        sender.send(changes(&["b"])).await;
        sender.send(changes(&["b", "c"])).await;
        assert_eq!(receiver.receive().await, [Update::Whole(list), changes(&["b", "c"])]);
        sender.send(Update::Away(Trouble::away("x"))).await;
        sender.send(Update::Back).await;
        assert_eq!(receiver.receive().await, [Update::Back]);
    }

    #[tokio::test]
    async fn changes_wait_for_room_and_a_whole_list_does_not() {
        let (sender, receiver) = updates(1);
        sender.send(changes(&["a", "b"])).await;
        let waits = sender.clone();
        let mut sending = Box::pin(async move { waits.send(changes(&["c"])).await });
        assert!(futures_util::poll!(&mut sending).is_pending(), "two keys are the most");
        assert_eq!(receiver.receive().await, [changes(&["a", "b"])]);
        sending.await;
        sender.send(Update::Whole(InstanceList::new(1))).await;
        assert_eq!(receiver.receive().await, [Update::Whole(InstanceList::new(1))]);
    }
}
