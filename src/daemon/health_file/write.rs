//! The task that writes the reports of the vantages to the state directory: every two seconds, sooner when a verdict
//! changes, and at an orderly stop. It reads the reports from the exchange; no prober waits for it, and no answer.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::clocks::Now;
use crate::daemon::health_file::{FILE, text};
use crate::daemon::state::{STOP_WAIT, StateDir};
use crate::fleet::Received;
use crate::model::Moment;
use crate::telemetry::Metrics;

/// From one writing to the next while no verdict changes. Judgment: a fifth of the time for which the file can be used.
/// With 10,000 checks a writing takes 7 ms of a core (measured), so this costs 0.4 % of one.
const EVERY: Duration = Duration::from_secs(2);
/// From one writing to the next when a verdict changed: so many times as long as the last writing took. So an outage of
/// thousands costs a twentieth of a core at most.
const PAUSE: u32 = 20;
/// But never less than this: what changes together is written together.
const LEAST: Duration = Duration::from_millis(50);
/// A writing that takes longer is reported: what is on the disk is soon too old to be used. Judgment: half that time.
const SLOW: Duration = Duration::from_secs(5);

/// Writes until `stop`, and then once more.
pub(crate) async fn write_reports(
    mut reports: watch::Receiver<Vec<Received>>,
    state: StateDir,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut writer =
        ReportWriter { state, metrics, verdicts: None, at: clock::now(), took: Duration::ZERO, is_slow: false };
    loop {
        let latest = reports.borrow_and_update().clone();
        let due = writer.due(verdicts(&latest));
        let now = clock::now();
        if now >= due {
            writer.write(latest).await;
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(due.since(now)) => {}
            changed = reports.changed() => if changed.is_err() {
                break;
            }
        }
    }
    let latest = reports.borrow().clone();
    writer.write(latest).await;
}

struct ReportWriter {
    state: StateDir,
    metrics: Arc<Metrics>,
    /// The verdicts that were written last.
    verdicts: Option<u64>,
    /// When, and how long that took.
    at: Moment,
    took: Duration,
    is_slow: bool,
}

impl ReportWriter {
    /// When to write next, as the verdicts are now.
    fn due(&self, verdicts: u64) -> Moment {
        let pause = if self.verdicts == Some(verdicts) { EVERY } else { LEAST };
        self.at + pause.max(self.took * PAUSE).min(EVERY.max(self.took))
    }

    async fn write(&mut self, reports: Vec<Received>) {
        let began = clock::now();
        let is_empty = reports.iter().all(|received| received.report.observations.is_empty());
        let verdicts = verdicts(&reports);
        if is_empty && self.verdicts.is_none_or(|before| before == verdicts) {
            // There are no checks, so there is nothing to write.
            (self.verdicts, self.at) = (Some(verdicts), began);
            return;
        }
        let is_ok = match tokio::task::spawn_blocking(move || text(&reports, Now::read())).await {
            // A disk that does not answer must not hold up the stop.
            Ok(text) => matches!(timeout(STOP_WAIT, self.state.put_text(&FILE, text)).await, Ok(Ok(Ok(())))),
            // The text was not made: a panic, which has been printed, or the threads have ended.
            Err(_) => false,
        };
        self.metrics.health_written(is_ok);
        self.at = clock::now();
        self.took = self.at.since(began);
        self.verdicts = Some(verdicts);
        self.note_slow();
    }

    /// Logs once that the disk is slow, and once that it is not any more.
    fn note_slow(&mut self) {
        let was_slow = std::mem::replace(&mut self.is_slow, self.took > SLOW);
        let secs = self.took.as_secs();
        match (was_slow, self.is_slow) {
            (false, true) => {
                tracing::warn!(secs, "writing the last known health takes long: a restart may find it too old");
            }
            (true, false) => tracing::info!(secs, "the last known health is written in time again"),
            (false, false) | (true, true) => {}
        }
    }
}

/// A hash that changes when a verdict does.
fn verdicts(reports: &[Received]) -> u64 {
    let mut hasher = SipHasher13::new();
    for observation in reports.iter().flat_map(|received| &received.report.observations) {
        observation.health.hash(&mut hasher);
    }
    hasher.finish()
}
