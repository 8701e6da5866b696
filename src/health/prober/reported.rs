//! Which health the prober reports: the verdicts of its detectors, except while this vantage is blind, or while it
//! examines whether it is.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::health::blindness::{ExaminedCheck, ExaminedControl};
use crate::health::prober::{ProbedCheck, Prober};
use crate::health::{Detector, DetectorState, SlotId};
use crate::model::{CheckKey, Health, Moment, Monitor, ProbeKind, ProbeTarget};

/// After blindness the checks that failed are probed again this far apart: 20,000 a second, as in a first round.
const NEW_ROUND_STEP: Duration = Duration::from_micros(50);

/// The check of a control target: a TCP handshake each second, as with the defaults of a `tcp` monitor.
pub fn control_check(target: std::net::SocketAddr) -> Arc<CheckKey> {
    let monitor = Monitor::new(ProbeKind::Tcp);
    Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(target) })
}

impl Prober {
    /// Updates the health that is reported for each check, as far as blindness allows.
    pub(super) fn update_reported(&mut self, now: Moment) {
        let is_newly_down =
            |check: &ProbedCheck| check.reported == Health::Up && check.detector.health() == Health::Down;
        for check in self.checks.values_mut() {
            check.drop_stale_state(now);
        }
        if self.blind_why.is_none()
            && !self.plan.iter().filter_map(|slot| self.checks.get(slot)).any(is_newly_down)
            && !self.blindness.is_examining()
        {
            return self.adopt_verdicts(|_| true);
        }
        let (checks, controls) = (self.check_views(), self.control_views());
        let limits = self.blindness.examine(&checks, &controls, now);
        let waiting: HashSet<SlotId> = self
            .plan
            .iter()
            .filter(|slot| self.checks.contains_key(slot))
            .zip(&checks)
            .filter(|(_, check)| !limits.allow(check))
            .map(|(slot, _)| *slot)
            .collect();
        self.adopt_verdicts(|slot| !waiting.contains(&slot));
        for slot in limits.probe_now.iter().filter_map(|at| self.plan.get(*at)) {
            self.schedule.set_extra_turn(*slot, Some(now));
        }
        for slot in self.controls.iter().filter(|_| limits.probe_controls) {
            self.schedule.set_extra_turn(*slot, Some(now));
        }
        self.begin_anew(&limits.reopened, now);
        self.update_blindness(now);
    }

    /// Logs and reports when blindness begins, changes and ends.
    fn update_blindness(&mut self, now: Moment) {
        let why = self.blindness.why();
        match (why, self.blind_why.as_deref()) {
            (Some(why), Some(before)) if why == before => {}
            (None, None) => {}
            // After a new plan the examination must end first.
            (None, Some(_)) if self.blindness.is_examining() => {}
            (Some(why), before) => {
                if before.is_none() {
                    tracing::warn!(why, "this vantage is blind: the verdicts of the silent regions stay as they were");
                } else {
                    tracing::warn!(why, "this vantage is still blind");
                }
                self.blind_why = Some(why.into());
            }
            (None, Some(_)) => {
                tracing::info!("this vantage sees again: every verdict is examined again");
                self.blind_why = None;
                self.heartbeats.restart_ttls(now);
            }
        }
    }

    /// Reports the verdicts of the detectors from now on, for the checks that `may` allows.
    fn adopt_verdicts(&mut self, may: impl Fn(SlotId) -> bool) {
        for (slot, check) in &mut self.checks {
            let (from, to) = (check.reported, check.detector.health());
            if from == to || !may(*slot) {
                continue;
            }
            check.reported = to;
            // The transition of an endpoint is logged elsewhere, once for all vantages.
            tracing::debug!(
                check = check.key.monitor.kind.as_str(),
                target = %check.key.target,
                from = from.as_str(),
                to = to.as_str(),
                why = check.why.as_deref().unwrap_or("answers as expected"),
                "this vantage's verdict changed"
            );
        }
    }

    /// Lets the checks of these regions begin anew. Failures during the silence of a region are not evidence: so the
    /// checks that were reported Up are Up without failures, and are probed at once.
    fn begin_anew(&mut self, regions: &[usize], now: Moment) {
        if regions.is_empty() {
            return;
        }
        let mut at = now;
        for slot in &self.plan {
            let Some(check) = self.checks.get_mut(slot) else { continue };
            // A check that answered once and is not Up yet still has its failures.
            let is_healthy = !check.is_failing && check.detector.health() == Health::Up;
            if is_healthy || check.reported == Health::Down || regions.binary_search(&check.region).is_err() {
                continue;
            }
            let state =
                DetectorState { health: check.reported, rtt: *check.detector.rtt(), ..DetectorState::default() };
            check.detector = Detector::restore(&check.key.monitor, &state, now);
            check.is_failing = false;
            check.path.forget_failures();
            self.schedule.back_off(*slot, 1, now);
            self.schedule.set_extra_turn(*slot, Some(at));
            at = at + NEW_ROUND_STEP;
        }
    }

    /// The hosts whose checks are all reported Up. Empty while this vantage is not blind.
    pub(super) fn hosts_up_while_blind(&self) -> HashSet<IpAddr> {
        if self.blind_why.is_none() {
            return HashSet::new();
        }
        let hosts = |is_up: bool| {
            let checks = self.checks.values().filter(move |check| (check.reported == Health::Up) == is_up);
            checks.filter_map(|check| check.key.target.ip()).collect::<HashSet<IpAddr>>()
        };
        &hosts(true) - &hosts(false)
    }

    /// The checks of the plan for the rule of blindness, in the order of the plan.
    fn check_views(&self) -> Vec<ExaminedCheck> {
        let mut hosts: HashMap<Option<IpAddr>, usize, FixedState> = HashMap::default();
        let checks = self.plan.iter().filter_map(|slot| self.checks.get(slot));
        let view = |check: &ProbedCheck| {
            let next = hosts.len();
            ExaminedCheck {
                region: check.region,
                host: *hosts.entry(check.key.target.ip()).or_insert(next),
                reported: check.reported,
                judged: check.detector.health(),
                probed: check.probed_at,
                path: check.path,
            }
        };
        checks.map(view).collect()
    }

    fn control_views(&self) -> Vec<ExaminedControl> {
        let checks = self.controls.iter().filter_map(|slot| self.checks.get(slot));
        checks.map(|check| ExaminedControl { probed: check.probed_at, answered: check.path.last_answer() }).collect()
    }
}
