//! Drills in the steering task: they begin, end, and are followed by what restores the choices of failover pools.

use crate::clock;
use crate::control::drill::DrillOrder;
use crate::daemon::drill::DrillWake;
use crate::daemon::steer::Steer;
use crate::drill::DrillEnd;
use crate::model::WorldView;

impl Steer {
    /// Begins a drill, or replies why not.
    pub(super) fn begin_drill(&mut self, order: DrillOrder) {
        let served = self.publisher.snapshots().load_full();
        if let Some(event) = self.drills.begin(order, &served, &mut self.vantages) {
            tracing::warn!(drill = event.endpoint, who = event.who, why = event.why, "a drill begins");
            self.journal.append(event);
        }
    }

    /// Follows what woke a drill.
    pub(super) fn wake_drill(&mut self, wake: DrillWake) {
        let served = self.publisher.snapshots().load_full();
        let end = self.drills.wake(wake, &served, &mut self.vantages);
        self.finish_drill(end);
    }

    /// If a drill is over, returns the failover pools to their members from before, and reports the end.
    pub(super) fn finish_drill(&mut self, end: Option<DrillEnd>) {
        if end != Some(DrillEnd::Over) {
            return;
        }
        for policy in self.drills.moved(&self.publisher.snapshots().load_full()) {
            let before = self.publisher.snapshots().load_full();
            let now = WorldView { at: clock::now(), ..WorldView::clone(&before.view) };
            let next = self.publisher.preview_failback(now, policy);
            let transitions = self.publisher.publish_preview(next, clock::unix_seconds());
            // A failure is in the log.
            drop(self.save_steering(&before));
            self.report_transitions(&transitions);
        }
        if let Some(event) = self.drills.finish(&self.publisher.snapshots().load_full()) {
            tracing::warn!(drill = event.endpoint, who = event.who, why = event.why, "the drill is over");
            self.journal.append(event);
            self.steering_files.save_now(&self.publisher.snapshots().load_full(), &self.state_dir);
        }
    }
}
