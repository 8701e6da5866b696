//! Supervises the process of a region: detects that it went, reports for how long answers still had its addresses, and
//! starts it again. Whether answers have an address is read from the snapshot and from the answers on the wire.

use std::time::Duration;

use crate::clock;
use crate::daemon::RunningNode;
use crate::demo::children::{Life, RegionProcess};
use crate::demo::output::DemoOutput;
use crate::demo::scene::ProcessState;
use crate::demo::watch::AnswerLog;
use crate::model::Moment;
use crate::steering::AnswerSource;

/// A killed region is started again after this time (judgment: long enough to see with `dig` that it is gone, also from
/// caches).
const RESTART_AFTER: Duration = Duration::from_secs(20);

/// After this time without an answer that has its addresses, a region counts as removed from the answers.
const SETTLED: Duration = Duration::from_millis(300);

/// What is known of the process of one region.
#[derive(Default)]
pub(crate) struct Supervisor {
    /// Since when it does not run.
    went: Option<Moment>,
    is_gone: bool,
    /// Whether the last answer with its addresses was reported.
    is_reported: bool,
    /// How long it stays away, if the demo has killed it.
    pause: Option<Duration>,
}

impl Supervisor {
    /// Detects that the region went or came back, reports the last answer that had its addresses, and starts it again.
    pub(crate) async fn check(
        &mut self,
        region: &mut RegionProcess,
        node: &RunningNode,
        output: &mut DemoOutput,
        log: &AnswerLog,
    ) {
        let (now, life) = (clock::now(), region.life());
        match (life, self.went) {
            (Life::Running, Some(_)) => {
                output.report(&format!("{} runs again", region.name));
                *self = Supervisor::default();
            }
            (Life::Stopped | Life::Gone, None) => {
                *self =
                    Supervisor { went: Some(now), is_gone: life == Life::Gone, is_reported: false, pause: self.pause };
                let how = match self.is_gone {
                    true => format!("is gone; it will be started again in {} s", self.pause().as_secs()),
                    false => "is stopped".to_owned(),
                };
                output.report(&format!("{}: its process {how}", region.name));
            }
            (Life::Gone, Some(_)) => self.is_gone = true,
            (Life::Running, None) | (Life::Stopped, Some(_)) => {}
        }
        let Some(went) = self.went else { return };
        let is_settled = || now.since(log.of(&region.addresses).unwrap_or(went)) > SETTLED;
        if !self.is_reported && !names_any(node, region) && is_settled() {
            self.is_reported = true;
            let last = log.of(&region.addresses).map_or(Duration::ZERO, |last| last.since(went));
            let ms = last.as_millis();
            output.report(&format!("{}: the last answer that named it came {ms} ms after it went", region.name));
        }
        if self.is_gone && now.since(went) >= self.pause() {
            match region.start().await {
                Ok(()) => {
                    output.print(&region.line());
                    *self = Supervisor::default();
                }
                Err(error) => {
                    output.report(&error);
                    self.went = Some(now);
                }
            }
        }
    }

    /// Whether the process ran at the last check.
    pub(crate) fn is_running(&self) -> bool {
        self.went.is_none()
    }

    /// Sets how long the region stays away after the demo has killed it.
    pub(crate) fn pause_for(&mut self, pause: Duration) {
        self.pause = Some(pause);
    }

    /// The state for the terminal.
    pub(crate) fn state(&self, region: &RegionProcess, now: Moment) -> ProcessState {
        match (self.went, region.pid()) {
            (None, Some(pid)) => ProcessState::Runs { pid },
            (Some(_), Some(pid)) if !self.is_gone => ProcessState::Stopped { pid },
            (went, _) => {
                let away = went.map_or(Duration::ZERO, |went| now.since(went));
                ProcessState::Gone { back_in: self.pause().saturating_sub(away) }
            }
        }
    }

    fn pause(&self) -> Duration {
        self.pause.unwrap_or(RESTART_AFTER)
    }
}

/// Whether any decision that is being served has one of the region's endpoints.
fn names_any(node: &RunningNode, region: &RegionProcess) -> bool {
    let snapshot = node.snapshot();
    snapshot.decisions().any(|decision| match &decision.source {
        AnswerSource::Endpoints(distribution) => {
            let shares = distribution.tiers.first().into_iter().flat_map(|tier| &tier.shares);
            shares.flat_map(|share| &share.endpoints).any(|id| {
                let of = snapshot.model.endpoint(*id).region;
                of.is_some_and(|of| snapshot.model.region(of).name == region.name)
            })
        }
        AnswerSource::Static | AnswerSource::Nodata => false,
    })
}
