//! What operators change: overrides and failbacks. A change is served when its function returns.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::info_span;

use crate::clock;
use crate::control::command::{AppliedChange, AppliedFailback, OverrideChange};
use crate::control::failback;
use crate::control::overrides::OverrideError;
use crate::control::simulate::{losses, promoted};
use crate::daemon::clocks::Now;
use crate::daemon::overrides::{Draft, OverrideEdit, Resolved, events};
use crate::daemon::retained::STANDINGS;
use crate::daemon::state::WriteOutcome;
use crate::daemon::steer::Steer;
use crate::model::{Model, WorldView};
use crate::telemetry::traces::{WORK, number};
use crate::wire::Name;

impl Steer {
    /// Makes the change of a draft; it is served when this returns. Nothing else is published between the preview of
    /// the change and the change.
    pub(super) fn apply_change(
        &mut self,
        change: &OverrideChange,
        draft: Draft,
    ) -> Result<AppliedChange, OverrideError> {
        let (action, who, target) = (change.action(), change.who(), change.first_target());
        let targets = number(change.targets());
        let span = info_span!(target: WORK, "override", action, who, target, targets, ok = false).entered();
        let needs_confirmation = change.needs_confirmation();
        let before = self.publisher.snapshots().load_full();
        let next = self.publisher.preview(draft.over(WorldView { at: clock::now(), ..WorldView::clone(&before.view) }));
        // An exclusive name moves when its active endpoint goes out of service, a moment after the change.
        let [expected_before, expected] = [&*before, &next].map(promoted);
        let compared = [expected_before.as_ref().unwrap_or(&before), expected.as_ref().unwrap_or(&next)];
        if let Some(unanswered) = losses(compared[0], compared[1]).filter(|_| needs_confirmation) {
            return Err(OverrideError::Unconfirmed(Box::new(unanswered)));
        }
        let resolved = self.overrides.resolved();
        let (edits, shared) = self.overrides.apply(draft);
        let transitions = self.publisher.publish_preview(next, clock::unix_seconds());
        // A failure is in the log.
        drop(self.save_steering(&before));
        self.report_transitions(&transitions);
        let saved = self.overrides.save(&self.state_dir);
        self.report_edits(&edits, &resolved);
        let compared = [
            expected_before.map_or(before, Arc::new),
            expected.map_or_else(|| self.publisher.snapshots().load_full(), Arc::new),
        ];
        let targets = OverrideEdit::into_replies(edits);
        span.record("ok", true);
        Ok(AppliedChange { targets, compared, saved, shared })
    }

    /// Returns a name to its first member that is up; the change is served when this returns.
    /// The name must be in one of `zones`; `None`: in any.
    pub(super) fn fail_back(
        &mut self,
        name: &str,
        zones: Option<&[Name]>,
        model: &Model,
    ) -> Result<AppliedFailback, failback::FailbackError> {
        let span = info_span!(target: WORK, "failback", name, ok = false).entered();
        let (policy, name) = failback::policy_of(model, name, zones)?;
        let before = self.publisher.snapshots().load_full();
        let now = WorldView { at: clock::now(), ..WorldView::clone(&before.view) };
        let next = self.publisher.preview_failback(now, policy);
        let transitions = self.publisher.publish_preview(next, clock::unix_seconds());
        let written = self.save_steering(&before);
        let saved = match self.drills.hinder() {
            Some(why) => Some(not_yet(&why)),
            // With nothing to write, an earlier write may still be due.
            None => written.or_else(|| self.state_dir.outcome_before(&STANDINGS)),
        };
        self.report_transitions(&transitions);
        let served = [before, self.publisher.snapshots().load_full()];
        span.record("ok", true);
        Ok(AppliedFailback { policy, name, served, saved })
    }

    /// If the wall clock was set, moves the ends of overrides and of vanished zones with it.
    pub(super) fn follow_clock(&mut self) {
        let Some(by) = self.overrides.follow_clock(Now::read()) else { return };
        let direction = if by > 0.0 { "forward" } else { "back" };
        tracing::warn!(
            seconds = by.abs().round(),
            "the wall clock was set {direction}; timed overrides and vanished zones have as much time left as before"
        );
        self.move_removals(by);
        if self.overrides.next_end().is_some() {
            self.serve_again();
            // A failure is in the log.
            drop(self.overrides.save(&self.state_dir));
        }
    }

    /// Ends the overrides whose time is over, by a draft.
    pub(super) fn apply_expiry(&mut self, draft: Draft) {
        if !draft.is_change() {
            return;
        }
        self.publish_draft(draft);
        // A failure is in the log; after a restart the time is over too.
        drop(self.overrides.save(&self.state_dir));
    }

    /// Serves the overrides as the fleet has them, by a draft. What is shared is saved also where nothing else changes.
    pub(super) fn apply_fleet(&mut self, draft: Draft) {
        if draft.is_change() {
            self.publish_draft(draft);
        } else {
            drop(self.overrides.apply(draft));
        }
        // A failure is in the log.
        drop(self.overrides.save(&self.state_dir));
    }

    /// Serves a draft that nobody waits for.
    fn publish_draft(&mut self, draft: Draft) {
        let before = self.overrides.resolved();
        let (edits, _) = self.overrides.apply(draft);
        self.serve_again();
        self.report_edits(&edits, &before);
    }

    /// Reports a change of the overrides to log and journal; `before` has the override of each endpoint before it.
    fn report_edits(&self, edits: &[OverrideEdit], before: &Resolved) {
        let snapshot = self.publisher.snapshots().load_full();
        let (at, generation) = (clock::unix_seconds(), snapshot.generation);
        edits.iter().for_each(|edit| edit.log(generation));
        let after = self.overrides.resolved();
        for event in events(&snapshot.model, &snapshot.view, before, &after, edits, (at, generation)) {
            self.journal.append(event);
        }
    }
}

/// The outcome of a write that waits for the end of a drill.
fn not_yet(why: &str) -> WriteOutcome {
    let (sender, outcome) = oneshot::channel();
    // The receiver is here.
    let _ = sender.send(Err(format!("not yet on disk: {why}; it is written when the drill ends")));
    outcome
}
