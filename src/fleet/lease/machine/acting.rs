//! What a machine writes to the store: makes, takes over, renews, promotes.

use std::sync::Arc;

use crate::fleet::lease::machine::{LeaseMachine, Order, PendingWrite, Promotion, PromotionStage};
use crate::fleet::lease::promotion::Wanted;
use crate::fleet::lease::value::{MAX_EPOCH, SHORTEST};
use crate::fleet::lease::{
    EPOCHS_AFTER_LOSS, HookRun, Lease, LeaseAction, LeaseEvent, LeaseSettings, LeaseWrite, ORDER_PATIENCE, Promoting,
    StoredLease,
};
use crate::model::{ActiveEndpoint, Moment};

impl LeaseMachine {
    /// Writes what this server should write to the store, if anything. The watch is live, and no write is pending.
    pub(super) fn act(&mut self, now: Moment) {
        let Some(known) = &self.store else { return };
        match known.content.clone() {
            StoredLease::Unreadable(_) => {}
            StoredLease::Nothing => self.make(now),
            StoredLease::Lease(lease) => match self.active.clone().filter(|active| active.epoch > lease.active.epoch) {
                Some(active) => self.correct(&lease, active, now),
                None if self.tenure.is_some() => self.hold(&lease, now),
                None => self.watch(&lease, now),
            },
        }
    }

    /// Makes the lease of a name that has none.
    fn make(&mut self, now: Moment) {
        let active = match &self.active {
            Some(active) => with_epochs_left_out(active, active.highest),
            None => {
                let Some(endpoint) = self.members.first() else { return };
                ActiveEndpoint { endpoint, epoch: 1, highest: 1 }
            }
        };
        let LeaseSettings { node, instance, duration, .. } = self.settings.clone();
        let lease = Lease { active, holder: node, instance, serial: 0, duration, promoting: None, why: "".into() };
        self.write(lease, now);
    }

    /// The store has an older epoch than this server knows: it was made anew, or an old state of it was restored. The
    /// endpoint of the highest epoch is put back.
    fn correct(&mut self, lease: &Lease, active: ActiveEndpoint, now: Moment) {
        self.break_off("the store has lost what it had");
        let active = with_epochs_left_out(&active, lease.active.highest);
        self.write(Lease { active, why: "the store had an older epoch".into(), ..self.own(lease) }, now);
    }

    /// Takes a lease over that was not renewed in time; for an operator's order also one that was.
    fn watch(&mut self, lease: &Lease, now: Moment) {
        let is_over = self.store.as_ref().is_some_and(|known| known.since + lease.duration <= now);
        if is_over {
            return self.write(self.own(lease), now);
        }
        // While its holder promotes, an order waits.
        if lease.promoting.is_some() {
            return;
        }
        let Some(order) = self.order.clone() else { return };
        match self.members.ordered(&lease.active.endpoint, &order.who, now) {
            Ok(Some(_)) => return self.write(self.own(lease), now),
            Ok(None) => self.end_order(&order, Ok(lease.active.clone())),
            Err(why) => self.end_order(&order, Err(why)),
        }
        self.order = None;
    }

    /// What the holder does: it goes on with a promotion, begins one, or renews.
    fn hold(&mut self, lease: &Lease, now: Moment) {
        match self.promotion.clone() {
            Some(Promotion { run, why, stage: PromotionStage::Finishing, .. }) => {
                let highest = lease.active.highest.max(run.epoch);
                let active = ActiveEndpoint { endpoint: run.to, epoch: run.epoch, highest };
                self.write(Lease { active, why, ..self.own(lease) }, now);
            }
            Some(Promotion { stage: PromotionStage::Running(_), .. }) => self.renew(lease, now),
            Some(Promotion { stage: PromotionStage::Announcing, order, .. }) => {
                // The announcement was not stored, so nothing has begun: it is decided again.
                self.promotion = None;
                self.order = self.order.take().or(order);
                self.begin_or_renew(lease, now);
            }
            // What another holder's promotion left, or one that was broken off, goes with the next write.
            None if lease.promoting.is_some() => self.write(self.own(lease), now),
            None => self.begin_or_renew(lease, now),
        }
    }

    fn begin_or_renew(&mut self, lease: &Lease, now: Moment) {
        match self.next(lease, now) {
            Some((wanted, order)) => self.promote(lease, wanted, order, now),
            None => self.renew(lease, now),
        }
    }

    fn renew(&mut self, lease: &Lease, now: Moment) {
        if self.tenure.as_ref().is_some_and(|tenure| self.renewal(tenure) <= now) {
            let promoting = lease.promoting.clone().filter(|_| self.promotion.is_some());
            self.write(Lease { promoting, ..self.own(lease) }, now);
        }
    }

    /// The promotion that an operator or the verdicts call for.
    fn next(&mut self, lease: &Lease, now: Moment) -> Option<(Wanted, Option<Order>)> {
        if !self.is_holder(now) || lease.active.highest >= MAX_EPOCH {
            return None;
        }
        let active = &lease.active.endpoint;
        if let Some(order) = self.order.take() {
            match self.members.ordered(active, &order.who, now) {
                Ok(Some(wanted)) => return Some((wanted, Some(Order { until: now + ORDER_PATIENCE, ..order }))),
                Ok(None) => self.end_order(&order, Ok(lease.active.clone())),
                Err(why) => self.end_order(&order, Err(why)),
            }
        }
        Some((self.members.wanted(active, now)?, None))
    }

    /// Begins a promotion. Without a hook one write is enough.
    fn promote(&mut self, lease: &Lease, wanted: Wanted, order: Option<Order>, now: Moment) {
        let epoch = lease.active.highest + 1;
        let why: Arc<str> = wanted.why.into();
        let run = HookRun { epoch, from: lease.active.endpoint.clone(), to: wanted.to.clone() };
        let next = match self.settings.hook_timeout {
            Some(_) => Lease {
                active: ActiveEndpoint { highest: epoch, ..lease.active.clone() },
                promoting: Some(Promoting { endpoint: wanted.to, epoch }),
                ..self.own(lease)
            },
            None => Lease {
                active: ActiveEndpoint { endpoint: wanted.to, epoch, highest: epoch },
                why: why.clone(),
                ..self.own(lease)
            },
        };
        self.promotion = Some(Promotion { run, why, order, stage: PromotionStage::Announcing });
        self.write(next, now);
    }

    /// Goes on with the promotion after a write was stored; another server may take the lease over after `until`.
    pub(super) fn advance(&mut self, lease: &Lease, until: Moment, now: Moment) {
        let Some(promotion) = &mut self.promotion else { return };
        let epoch = promotion.run.epoch;
        let is_announced = lease.promoting.as_ref().is_some_and(|of| of.epoch == epoch);
        match promotion.stage {
            PromotionStage::Announcing | PromotionStage::Finishing if lease.active.epoch == epoch => {
                let order = self.promotion.take().and_then(|promotion| promotion.order);
                self.members.succeeded(&lease.active.endpoint);
                if let Some(order) = order {
                    self.end_order(&order, Ok(lease.active.clone()));
                }
            }
            // Too late: another server may take the lease over, so the epoch is given up.
            PromotionStage::Announcing if until <= now => {}
            PromotionStage::Announcing if is_announced => {
                let end = now + self.settings.hook_timeout.unwrap_or_default();
                promotion.stage = PromotionStage::Running(end);
                let run = promotion.run.clone();
                self.actions.push_back(LeaseAction::Report(LeaseEvent::Begun(run.clone())));
                self.actions.push_back(LeaseAction::RunHook { run, until: until.min(end) });
            }
            PromotionStage::Running(end) => {
                self.actions.push_back(LeaseAction::Extend { epoch, until: until.min(end) });
            }
            PromotionStage::Announcing | PromotionStage::Finishing => {}
        }
    }

    /// Writes a lease that another server may take over soon.
    pub(super) fn give_up(&mut self, now: Moment) {
        let lease = self.lease().filter(|_| self.tenure.is_some()).cloned();
        if let (Some(lease), None, None) = (lease, &self.write, &self.reading) {
            self.write(Lease { duration: SHORTEST, ..self.own(&lease) }, now);
        }
    }

    /// The lease as this server would hold it, without a promotion.
    fn own(&self, lease: &Lease) -> Lease {
        let LeaseSettings { node, instance, duration, .. } = self.settings.clone();
        Lease { holder: node, instance, duration, promoting: None, ..lease.clone() }
    }

    fn write(&mut self, lease: Lease, now: Moment) {
        let Some(known) = &self.store else { return };
        self.writes += 1;
        let (id, expected) = (self.writes, known.number);
        let lease = Lease { serial: id, ..lease };
        self.actions.push_back(LeaseAction::Write(LeaseWrite { id, expected, lease: lease.clone() }));
        self.write = Some(PendingWrite { id, lease, sent_at: now });
    }
}

/// The same endpoint and epoch, but the next promotion gets an epoch that no other server has seen.
fn with_epochs_left_out(active: &ActiveEndpoint, highest: u64) -> ActiveEndpoint {
    let highest = active.highest.max(highest).saturating_add(EPOCHS_AFTER_LOSS).min(MAX_EPOCH);
    ActiveEndpoint { highest, ..active.clone() }
}
