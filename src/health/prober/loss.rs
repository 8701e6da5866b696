//! How a prober begins and ends the loss that a drill rehearses.

use crate::health::prober::Prober;
use crate::health::{DetectorEvent, Injection};
use crate::model::{Hold, Moment};

/// The loss that is in force.
pub(super) struct ActiveLoss {
    pub(super) injection: Injection,
    /// Probes that began earlier are judged by what they find.
    pub(super) since: Moment,
}

impl Prober {
    /// Replaces the loss in force. Checks that are lost no more continue as if they had never been.
    pub(super) fn lose(&mut self, injection: Option<Injection>, now: Moment) {
        self.end_loss(now);
        if let Some(injection) = injection {
            self.heartbeats.lose(&injection);
            for (key, slot) in self.slots.iter().filter(|(key, _)| injection.checks.contains(*key)) {
                let Some(check) = self.checks.get_mut(slot) else { continue };
                check.lose();
                // The loss of a host ends its connections, which is a reason to probe now.
                if self.held.status(*slot) == Some(Hold::Open) && key.monitor.hold {
                    check.detector.step(DetectorEvent::ConnectionEnded, now);
                    self.schedule.set_extra_turn(*slot, check.detector.deadline());
                }
            }
            self.loss = Some(ActiveLoss { injection, since: now });
        }
        self.report_soon();
    }

    fn end_loss(&mut self, now: Moment) {
        if self.loss.take().is_none() {
            return;
        }
        self.heartbeats.restore_lost(now);
        for (slot, check) in &mut self.checks {
            if check.restore_real() {
                self.schedule.back_off(*slot, check.detector.backoff(), now);
                self.schedule.set_extra_turn(*slot, check.detector.deadline());
            }
        }
    }

    /// Reports lost heartbeats that are really missing.
    pub(super) fn note_missing_beats(&mut self, now: Moment) {
        let Some(loss) = &self.loss else { return };
        for key in self.heartbeats.really_down(now) {
            (loss.injection.on_failure)(&key, "it sends no heartbeats");
        }
    }
}
