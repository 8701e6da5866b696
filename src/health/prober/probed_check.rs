//! One check that a prober probes: its detector, and what is reported besides the verdict.

use std::sync::Arc;

use crate::health::blindness::{PathEvidence, PathState};
use crate::health::detector::{Detector, DetectorEvent, DetectorState};
use crate::health::observation::{CheckState, Observation, RetainedCheck};
use crate::health::probe::{Failure, Measurement};
use crate::health::{Injection, Rtt};
use crate::model::{CheckKey, Doubt, Health, Moment};
use crate::printable::escaped;

/// One check that is probed.
#[derive(Clone)]
pub(super) struct ProbedCheck {
    pub(super) key: Arc<CheckKey>,
    pub(super) detector: Detector,
    /// The health that is reported: the verdict of the detector, unless blindness delays it.
    pub(super) reported: Health,
    /// The number of its region, from 0.
    pub(super) region: usize,
    /// Whether the last probe failed.
    pub(super) is_failing: bool,
    /// What the probes show about the path.
    pub(super) path: PathState,
    pub(super) probed_at: Option<Moment>,
    pub(super) why: Option<Arc<str>>,
    /// Until when a restored state counts; `None` once this prober has evidence of its own.
    restored_until: Option<Moment>,
    /// Whether the first round need not wait for this check: it is tried and verified, or can't be probed from here.
    pub(super) is_settled: bool,
    /// While a drill counts this check as lost: what it is without the drill.
    real: Option<Box<ProbedCheck>>,
}

impl ProbedCheck {
    /// A check that continues from its retained state, if there is one.
    pub(super) fn new(key: Arc<CheckKey>, retained: Option<RetainedCheck>) -> ProbedCheck {
        let saved = retained.and_then(|check| Some((check.observation.state?, check)));
        let (detector, probed_at, why, restored_until) = match saved {
            Some((CheckState::Probed(state), RetainedCheck { observation, at, until })) => {
                let detector = Detector::restore(&key.monitor, &state, at);
                (detector, observation.probed_at, observation.why, Some(until))
            }
            Some((CheckState::Heartbeat(_), _)) | None => (Detector::new(&key.monitor), None, None, None),
        };
        let reported = detector.health();
        ProbedCheck {
            key,
            detector,
            reported,
            region: 0,
            is_failing: false,
            path: PathState::default(),
            probed_at,
            why,
            restored_until,
            is_settled: false,
            real: None,
        }
    }

    /// A new check of a host that was up, for a vantage that is blind: a monitor was changed. The host stays up
    /// although the new check can't be probed.
    pub(super) fn assumed_up(key: Arc<CheckKey>, now: Moment) -> ProbedCheck {
        let state = DetectorState { health: Health::Up, ..DetectorState::default() };
        let detector = Detector::restore(&key.monitor, &state, now);
        ProbedCheck { detector, reported: Health::Up, ..ProbedCheck::new(key, None) }
    }

    /// Takes in a measurement. Returns when a verifying probe is wanted, and whether the verdict changed.
    pub(super) fn judge(&mut self, measurement: Measurement) -> (Option<Moment>, bool) {
        let evidence = measurement.path_evidence();
        let is_silence = matches!(evidence, PathEvidence::Silence { .. } | PathEvidence::Hang { .. });
        let Measurement { began, ended, result, .. } = measurement;
        let event = match result {
            Ok(rtt) => {
                self.why = None;
                DetectorEvent::Success { rtt }
            }
            Err(_) if self.detector.is_outdated(began) => return (self.detector.deadline(), false),
            Err(_) if is_silence && self.detector.is_contradicted(began) => {
                self.detector.step(DetectorEvent::Silence { began }, ended);
                return (self.detector.deadline(), false);
            }
            Err(failure) => {
                let text = escaped(&failure.to_string()).into_owned();
                if self.why.as_deref() != Some(&*text) {
                    self.why = Some(text.into());
                }
                if !failure.is_evidence() {
                    self.is_settled = true;
                    return (None, false);
                }
                match (failure.is_doubtful(), is_silence) {
                    (true, _) => DetectorEvent::Doubtful { began },
                    (false, true) => DetectorEvent::Silence { began },
                    (false, false) => DetectorEvent::Failure { began },
                }
            }
        };
        self.probed_at = Some(ended);
        self.restored_until = None;
        self.is_failing = evidence != PathEvidence::Success;
        self.path.update(evidence, ended);
        let transition = self.detector.step(event, ended);
        self.is_settled |= self.detector.is_tried() && !self.detector.is_verifying();
        (self.detector.deadline(), transition.is_some())
    }

    /// Counts as lost from now on.
    pub(super) fn lose(&mut self) {
        if self.real.is_none() {
            self.real = Some(Box::new(self.clone()));
        }
    }

    /// Whether it counts as lost.
    pub(super) fn is_lost(&self) -> bool {
        self.real.is_some()
    }

    /// What it is without the drill, while it counts as lost.
    pub(super) fn real(&mut self) -> Option<&mut ProbedCheck> {
        self.real.as_deref_mut()
    }

    /// Counts as lost no more: continues as if it had never been. Returns whether it was.
    pub(super) fn restore_real(&mut self) -> bool {
        let Some(real) = self.real.take() else { return false };
        *self = ProbedCheck { region: self.region, ..*real };
        true
    }

    /// Takes in a measurement of a check that counts as lost: the measurement is judged for what the check really is,
    /// and here it is silence until `now`. Returns as [`ProbedCheck::judge`] does.
    pub(super) fn judge_lost(
        &mut self,
        measurement: Measurement,
        loss: &Injection,
        now: Moment,
    ) -> (Option<Moment>, bool) {
        let began = measurement.began;
        if let Some(real) = self.real.as_deref_mut() {
            let before = real.detector.health();
            real.judge(measurement);
            if before == Health::Up && real.detector.health() == Health::Down {
                (loss.on_failure)(&real.key, real.why.as_deref().unwrap_or("it is down"));
            }
        }
        let silence = Failure::TimedOut { after: now.since(began) };
        let judged = self.judge(Measurement { began, ended: now, result: Err(silence), granted: None });
        self.why = Some(loss.why.clone());
        judged
    }

    /// Drops a restored state whose time is over and that no probe has confirmed.
    pub(super) fn drop_stale_state(&mut self, now: Moment) {
        if let Some(real) = self.real.as_deref_mut() {
            real.drop_stale_state(now);
        }
        if self.restored_until.is_some_and(|until| now >= until) {
            self.detector = Detector::new(&self.key.monitor);
            (self.restored_until, self.probed_at) = (None, None);
        }
    }

    /// The reason of the verdict, for operators.
    fn why(&self, now: Moment) -> Option<Arc<str>> {
        let damped = self.detector.damping().why(now).map(Arc::from);
        damped.or_else(|| match &self.why {
            Some(why) if self.detector.is_suspect() => Some(format!("suspect: {why}").into()),
            why => why.clone(),
        })
    }

    /// The observation of this check, without its held connection.
    pub(super) fn observation(&self, now: Moment) -> Observation {
        let rtt = self.key.monitor.kind.measures_rtt().then(|| self.detector.rtt());
        let is_verdict = self.reported == self.detector.health();
        Observation {
            key: Arc::clone(&self.key),
            health: self.reported,
            tried: self.reported != Health::Unknown,
            srtt: rtt.and_then(Rtt::path),
            rttvar: rtt.and_then(Rtt::rttvar),
            probed_at: self.probed_at,
            may_change_in: if is_verdict { self.detector.may_change_in(now) } else { Default::default() },
            why: self.why(now),
            hold: None,
            doubt: match (self.detector.damping().is_damped(), self.detector.is_suspect()) {
                (true, _) => Doubt::HeldDown,
                (false, true) => Doubt::Suspect,
                (false, false) => Doubt::None,
            },
            // A restart ends a drill, so what outlives the process is what the check really is.
            state: match self.real.as_deref() {
                Some(real) => real.check_state(real.reported == real.detector.health(), now),
                None => self.check_state(is_verdict, now),
            },
        }
    }

    /// The state from which another prober can continue. A restored state that no probe has confirmed is not passed on:
    /// that would make it look younger than it is.
    fn check_state(&self, is_verdict: bool, now: Moment) -> Option<CheckState> {
        let state = match is_verdict {
            true => self.detector.state(now),
            // The failures of the detector are not evidence, or not yet.
            false => DetectorState { health: self.reported, rtt: *self.detector.rtt(), ..DetectorState::default() },
        };
        self.restored_until.is_none().then_some(CheckState::Probed(state))
    }
}
