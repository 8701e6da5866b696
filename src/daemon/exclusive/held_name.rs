//! One exclusive name in this server: its machine, its hook, and how its events are reported.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::clock;
use crate::control::{Journal, JournalEvent};
use crate::daemon::exclusive::hook::RunningHook;
use crate::fleet::events::EventKind;
use crate::fleet::lease::{LeaseEvent, LeaseMachine, LeaseSituation, VERDICT_FRESH};
use crate::model::{ActiveEndpoint, LeaseView, Moment};
use crate::printable::escaped;
use crate::steering::PromotionBlock;
use crate::wire::Name;

/// Who waits for the end of an order.
pub(super) type OrderReply = oneshot::Sender<Result<ActiveEndpoint, String>>;

/// One exclusive name.
pub(super) struct HeldName {
    pub(super) owner: Name,
    /// The zone, with its final dot.
    pub(super) zone: String,
    /// The name, as it is written in the policy file.
    pub(super) label: String,
    pub(super) machine: LeaseMachine,
    pub(super) hook: Option<RunningHook>,
    /// By the number of the order.
    pub(super) orders: HashMap<u64, OrderReply>,
    /// The verdicts that its machine knows.
    pub(super) learned: Option<LeaseSituation>,
    /// The active endpoint is down, and too few vantages have a vote to promote another.
    pub(super) is_without_votes: bool,
}

impl HeldName {
    /// Takes over the newest verdicts. Returns whether the machine must act on them now: they are others, or those
    /// before were too old to act on.
    pub(super) fn learn(&mut self, situation: LeaseSituation) -> bool {
        let is_news = self.learned.as_ref().is_none_or(|before| {
            before.members != situation.members
                || before.failback != situation.failback
                || situation.at.since(before.at) > VERDICT_FRESH
        });
        self.learned = Some(situation.clone());
        self.machine.learn(situation);
        is_news
    }

    /// Reports once that too few votes block a promotion. What blocks the store is reported for all names together.
    pub(super) fn follow_block(&mut self, block: Option<PromotionBlock>) {
        let too_few = match block {
            Some(PromotionBlock::TooFewVotes { votes, known }) => Some((votes, known)),
            Some(PromotionBlock::ActiveUnknown | PromotionBlock::NoStore) | None => None,
        };
        let was_reported = std::mem::replace(&mut self.is_without_votes, too_few.is_some());
        if let Some((votes, known)) = too_few.filter(|_| !was_reported) {
            let (zone, name) = (&*self.zone, &*self.label);
            tracing::warn!(
                zone,
                name,
                votes,
                known,
                "nobody is promoted: the active endpoint is not up, and at most half of the known vantages vote"
            );
        }
    }

    /// The lease, for the views of the steering task; `None`: the name has none yet, and its first member is active.
    pub(super) fn view(&self, now: Moment) -> Option<LeaseView> {
        if self.machine.is_free() {
            return None;
        }
        let lease = self.machine.written_lease(now);
        Some(LeaseView {
            active: self.machine.active().cloned(),
            holder: lease.map(|lease| lease.holder.clone()),
            is_holder: self.machine.is_holder(now),
            promoting: lease.and_then(|lease| Some(lease.promoting.as_ref()?.endpoint.clone())),
        })
    }

    /// Reports an event to the log, and a move also to the journal.
    pub(super) fn report(&mut self, event: LeaseEvent, journal: &Journal, generation: u64) {
        let (zone, name) = (&*self.zone, &*self.label);
        match event {
            LeaseEvent::Moved { from, to, holder, why } => {
                let (from, to, holder, why) = (escaped(&from), to, escaped(&holder), escaped(&why));
                let endpoint = escaped(&to.endpoint);
                tracing::warn!(zone, name, %from, to = %endpoint, epoch = to.epoch, %holder, %why, "promoted");
                journal.append(JournalEvent {
                    // The journal sets it.
                    id: String::new(),
                    at: clock::unix_seconds(),
                    kind: EventKind::Promotion,
                    zone: self.zone.clone(),
                    endpoint: self.label.clone(),
                    from: from.into_owned(),
                    to: endpoint.clone().into_owned(),
                    why: format!("promoted by {holder}, epoch {}: {why}", to.epoch),
                    who: Some(holder.into_owned()),
                    generation,
                    monitor: None,
                    relayed: false,
                    of_override: None,
                    region: None,
                });
            }
            LeaseEvent::Taken { from: Some(from) } => {
                tracing::info!(zone, name, from = %escaped(&from), "this server took the lease over");
            }
            LeaseEvent::Taken { from: None } => tracing::info!(zone, name, "this server made the lease"),
            LeaseEvent::Lost => tracing::warn!(zone, name, "this server lost the lease"),
            LeaseEvent::Begun(run) => {
                let (from, to) = (escaped(&run.from), escaped(&run.to));
                tracing::warn!(zone, name, %from, %to, epoch = run.epoch, "promoting: the hook runs");
            }
            LeaseEvent::BrokenOff { run, why } => {
                let (to, why) = (escaped(&run.to), escaped(&why));
                tracing::error!(zone, name, %to, epoch = run.epoch, %why, "the promotion was broken off");
            }
            LeaseEvent::Unreadable(why) => {
                let why = escaped(&why);
                tracing::error!(zone, name, %why, "the lease in the store can't be read: it stays as it is");
            }
            LeaseEvent::OrderEnded { order, result } => {
                if let Some(reply) = self.orders.remove(&order) {
                    // Whoever waited may have gone.
                    let _ = reply.send(result);
                }
            }
        }
    }
}
