//! Checks and control targets as the rule of blindness sees them. Pure.

use crate::health::blindness::path::PathState;
use crate::model::{Health, Moment};

/// What is known about one check.
#[derive(Debug, Clone, Copy)]
pub struct ExaminedCheck {
    /// The number of its region, from 0.
    pub region: usize,
    /// The number of its host, from 0. The checks of one host fail together.
    pub host: usize,
    /// Its health in the last report.
    pub reported: Health,
    /// The verdict of its detector.
    pub judged: Health,
    /// When its last probe ended.
    pub probed: Option<Moment>,
    /// What its probes show about the path.
    pub path: PathState,
}

impl ExaminedCheck {
    /// Whether it was Up in the last report and its detector says Down.
    pub fn is_newly_down(&self) -> bool {
        self.reported == Health::Up && self.judged == Health::Down
    }

    /// Whether it is newly Down and none of its failures was an answer. Then the report of Down must wait.
    pub fn must_wait(&self) -> bool {
        self.is_newly_down() && !self.path.is_proven()
    }
}

/// What is known about one control target.
#[derive(Debug, Clone, Copy)]
pub struct ExaminedControl {
    /// When the last attempt to reach it ended.
    pub probed: Option<Moment>,
    /// When it last answered. A refusal is an answer.
    pub answered: Option<Moment>,
}
