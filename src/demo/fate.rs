//! What has become of a region's process: noticed, reported, and started again. Works on real processes; what answers
//! name is looked up in what is served and in what was seen on the wire.

use std::time::Duration;

use crate::clock;
use crate::daemon::RunningNode;
use crate::demo::children::{Life, Region};
use crate::demo::scene::State;
use crate::demo::story::Story;
use crate::demo::watch::Seen;
use crate::model::Moment;
use crate::steering::Given;

/// A killed region is started again after this: long enough to see it gone from `dig`, and from caches.
const RESTART_AFTER: Duration = Duration::from_secs(20);

/// A region counts as out of the answers when no answer named it for this long.
const SETTLED: Duration = Duration::from_millis(300);

/// What has become of one region's process.
#[derive(Default)]
pub(crate) struct Fate {
    went: Option<Moment>,
    is_gone: bool,
    is_reported: bool,
    /// How long the demo itself wants it to stay away.
    pause: Option<Duration>,
}

impl Fate {
    /// Notices that the region went or came back, reports how long answers went on naming it, starts it again.
    pub(crate) async fn follow(&mut self, region: &mut Region, node: &RunningNode, story: &mut Story, seen: &Seen) {
        let (now, life) = (clock::now(), region.life());
        match (life, self.went) {
            (Life::Running, Some(_)) => {
                story.say(&format!("{} runs again", region.name));
                *self = Fate::default();
            }
            (Life::Stopped | Life::Gone, None) => {
                *self = Fate { went: Some(now), is_gone: life == Life::Gone, is_reported: false, pause: self.pause };
                let how = match self.is_gone {
                    true => format!("is gone; it will be started again in {} s", self.pause().as_secs()),
                    false => "is stopped".to_owned(),
                };
                story.say(&format!("{}: its process {how}", region.name));
            }
            (Life::Gone, Some(_)) => self.is_gone = true,
            (Life::Running, None) | (Life::Stopped, Some(_)) => {}
        }
        let Some(went) = self.went else { return };
        let is_settled = || now.since(seen.of(&region.addresses).unwrap_or(went)) > SETTLED;
        if !self.is_reported && !names_any(node, region) && is_settled() {
            self.is_reported = true;
            let last = seen.of(&region.addresses).map_or(Duration::ZERO, |last| last.since(went));
            let ms = last.as_millis();
            story.say(&format!("{}: the last answer that named it came {ms} ms after it went", region.name));
        }
        if self.is_gone && now.since(went) >= self.pause() {
            match region.start().await {
                Ok(()) => {
                    story.print(&region.line());
                    *self = Fate::default();
                }
                Err(error) => {
                    story.say(&error);
                    self.went = Some(now);
                }
            }
        }
    }

    /// Whether the process runs, as far as was noticed.
    pub(crate) fn runs(&self) -> bool {
        self.went.is_none()
    }

    /// The demo takes the region down itself, for this long.
    pub(crate) fn pause_for(&mut self, pause: Duration) {
        self.pause = Some(pause);
    }

    /// For the terminal.
    pub(crate) fn state(&self, region: &Region, now: Moment) -> State {
        match (self.went, region.pid()) {
            (None, Some(pid)) => State::Runs { pid },
            (Some(_), Some(pid)) if !self.is_gone => State::Stopped { pid },
            (went, _) => {
                let away = went.map_or(Duration::ZERO, |went| now.since(went));
                State::Gone { back_in: self.pause().saturating_sub(away) }
            }
        }
    }

    fn pause(&self) -> Duration {
        self.pause.unwrap_or(RESTART_AFTER)
    }
}

/// Whether any decision that is being served gives one of the region's endpoints.
fn names_any(node: &RunningNode, region: &Region) -> bool {
    let snapshot = node.snapshot();
    snapshot.decisions().any(|decision| match &decision.given {
        Given::Endpoints(distribution) => {
            let given = distribution.tiers.first().into_iter().flat_map(|tier| &tier.shares);
            given.flat_map(|share| &share.endpoints).any(|id| {
                let of = snapshot.model.endpoint(*id).region;
                of.is_some_and(|of| snapshot.model.region(of).name == region.name)
            })
        }
        Given::Static | Given::Nodata => false,
    })
}
