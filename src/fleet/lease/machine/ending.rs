//! How a machine ends promotions and orders of operators before they have succeeded.

use crate::fleet::lease::machine::{LeaseMachine, Order, Promotion, PromotionStage};
use crate::fleet::lease::{Lease, LeaseAction, LeaseEvent};
use crate::model::{ActiveEndpoint, Moment};

impl LeaseMachine {
    /// The promotion failed: the endpoint stays, and another candidate may be tried.
    pub(super) fn fail(&mut self, why: &str, now: Moment) {
        if let Some(promotion) = &self.promotion {
            self.members.failed(&promotion.run.to, now);
        }
        self.break_off(why);
    }

    /// Ends the promotion, and its hook if it runs.
    pub(super) fn break_off(&mut self, why: &str) {
        let Some(Promotion { run, order, stage, .. }) = self.promotion.take() else { return };
        let is_sent = [&self.write, &self.lost].into_iter().flatten().any(|of| of.lease.active.epoch == run.epoch);
        let why = match is_sent {
            true => format!("{why}; its write had no reply, so that {} may become active all the same", run.to),
            false => why.to_owned(),
        };
        match stage {
            PromotionStage::Running(_) => self.actions.push_back(LeaseAction::KillHook { epoch: run.epoch }),
            PromotionStage::Announcing | PromotionStage::Finishing => {}
        }
        if let Some(order) = order {
            self.end_order(&order, Err(format!("the promotion of {} was broken off: {why}", run.to)));
        }
        self.actions.push_back(LeaseAction::Report(LeaseEvent::BrokenOff { run, why }));
    }

    pub(super) fn give_up_order(&mut self, order: &Order) {
        let why = match (&self.store, self.lease()) {
            (None, _) => "the store of leases is not connected, so nobody can promote".to_owned(),
            (Some(_), Some(Lease { promoting: Some(to), holder, .. })) => {
                format!("{holder} is promoting {}; try again when that has ended", to.endpoint)
            }
            (Some(_), _) => "the lease could not be taken over in time".to_owned(),
        };
        self.end_order(order, Err(why));
    }

    pub(super) fn end_order(&mut self, order: &Order, result: Result<ActiveEndpoint, String>) {
        self.actions.push_back(LeaseAction::Report(LeaseEvent::OrderEnded { order: order.number, result }));
    }
}
