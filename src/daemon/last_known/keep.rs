//! The task that writes what the vantages believe to the state directory: every two seconds, sooner when a verdict
//! changes, and at an orderly stop. It reads the reports as they lie on the exchange; no prober waits for it, and no
//! answer.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::last_known::{FILE, Now, text};
use crate::daemon::store::put;
use crate::fleet::Received;
use crate::model::Moment;
use crate::telemetry::Metrics;

/// From one writing to the next while no verdict changes. Judgment: a fifth of the time that it can be used for. With
/// 10,000 checks a writing takes 7 ms of a core (measured), so that this costs 0.4 % of one.
const EVERY: Duration = Duration::from_secs(2);
/// And when one did: so many times as long as the last writing took, so that an outage of thousands costs a twentieth
/// of a core at most.
const PAUSE: u32 = 20;
/// Though never less than this: what changes together is written together.
const LEAST: Duration = Duration::from_millis(50);
/// A writing that takes longer is trouble: what is on the disk is soon too old to be used. Judgment: half that time.
const SLOW: Duration = Duration::from_secs(5);

/// Writes until `stop`, and then once more.
pub(crate) async fn keep(
    mut reports: watch::Receiver<Vec<Received>>,
    dir: PathBuf,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut keeper = Keeper { dir, metrics, kept: None, at: clock::now(), took: Duration::ZERO, is_in_trouble: false };
    loop {
        let latest = reports.borrow_and_update().clone();
        let due = keeper.due(verdicts(&latest));
        let now = clock::now();
        if now >= due {
            keeper.write(latest).await;
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(due.since(now)) => {}
            told = reports.changed() => if told.is_err() {
                break;
            }
        }
    }
    let latest = reports.borrow().clone();
    keeper.write(latest).await;
}

struct Keeper {
    dir: PathBuf,
    metrics: Arc<Metrics>,
    /// The verdicts that were written last.
    kept: Option<u64>,
    /// When, and how long that took.
    at: Moment,
    took: Duration,
    is_in_trouble: bool,
}

impl Keeper {
    /// When to write next, as the verdicts are now.
    fn due(&self, verdicts: u64) -> Moment {
        let pause = if self.kept == Some(verdicts) { EVERY } else { LEAST };
        self.at + pause.max(self.took * PAUSE).min(EVERY.max(self.took))
    }

    async fn write(&mut self, reports: Vec<Received>) {
        let began = clock::now();
        let is_empty = reports.iter().all(|received| received.report.observations.is_empty());
        let kept = verdicts(&reports);
        if is_empty && self.kept.is_none_or(|before| before == kept) {
            // Nothing is watched: nothing need be made for that.
            (self.kept, self.at) = (Some(kept), began);
            return;
        }
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || put(&dir, &FILE, &text(&reports, Now::read()))).await;
        let outcome = match written {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.at = clock::now();
        self.took = self.at.since(began);
        self.kept = Some(kept);
        self.tell(outcome);
    }

    /// Tells once that it can't be kept, and once that it can again.
    fn tell(&mut self, outcome: Result<(), String>) {
        self.metrics.health_kept(outcome.is_ok());
        let trouble = match outcome {
            Err(error) => Some(error),
            Ok(()) if self.took > SLOW => Some(format!("writing takes {} s", self.took.as_secs())),
            Ok(()) => None,
        };
        let was_in_trouble = std::mem::replace(&mut self.is_in_trouble, trouble.is_some());
        let file = self.dir.join(FILE.name);
        match trouble {
            Some(error) if !was_in_trouble => {
                tracing::warn!(file = %file.display(), error, "the last known health can't be written: a restart would begin without it");
            }
            None if was_in_trouble => tracing::info!(file = %file.display(), "the last known health is written again"),
            Some(_) | None => {}
        }
    }
}

/// What changes when a verdict does.
fn verdicts(reports: &[Received]) -> u64 {
    let mut hasher = SipHasher13::new();
    for observation in reports.iter().flat_map(|received| &received.report.observations) {
        observation.health.hash(&mut hasher);
    }
    hasher.finish()
}
