//! One check that a prober probes: its detector and what is told beside the verdict. And the plan that says which checks
//! those are, with what was last known of them before this process.

use std::sync::Arc;

use crate::health::blindness::{Contact, Found};
use crate::health::detector::{Detector, DetectorState, Event};
use crate::health::observation::CheckState;
use crate::health::probe::Measurement;
use crate::health::{Observation, Rtt};
use crate::model::{CheckKey, Doubt, Health, Moment};

/// What is to be probed, and where in the world each of it is.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The checks. One that is listed twice is probed once.
    pub checks: Vec<Arc<CheckKey>>,
    /// The region of each, from 0, in the same order; those beyond the list's end are of region 0.
    pub regions: Vec<usize>,
    /// The last observations of an earlier prober of this vantage. They count for checks that are new to this prober.
    pub retained: Vec<RetainedCheck>,
}

/// The last observation of a check by an earlier prober, which a new prober restores the check from.
#[derive(Debug, Clone)]
pub struct RetainedCheck {
    /// The observation, with the state of its check.
    pub observation: Observation,
    /// When it was made.
    pub at: Moment,
    /// It counts until then, unless a probe or a beat gives new evidence.
    pub until: Moment,
}

impl From<Vec<Arc<CheckKey>>> for Plan {
    fn from(checks: Vec<Arc<CheckKey>>) -> Plan {
        Plan { checks, ..Plan::default() }
    }
}

/// One check that is probed.
pub(super) struct Watched {
    pub(super) key: Arc<CheckKey>,
    pub(super) detector: Detector,
    /// What the reports say of it: the detector's verdict as far as this vantage can be trusted.
    pub(super) believed: Health,
    /// Its region, from 0.
    pub(super) region: usize,
    /// Whether the last probe failed.
    pub(super) is_failing: bool,
    /// What the probes found of the path.
    pub(super) contact: Contact,
    pub(super) probed_at: Option<Moment>,
    pub(super) why: Option<Arc<str>>,
    /// Until when a restored state counts; `None` once this prober has evidence of its own.
    restored_until: Option<Moment>,
    /// Whether the first round need not wait for it any more: it is tried and verified, or can't be probed from here.
    pub(super) is_settled: bool,
}

impl Watched {
    /// A check that continues from its retained state, if there is one.
    pub(super) fn new(key: Arc<CheckKey>, retained: Option<RetainedCheck>) -> Watched {
        let saved = retained.and_then(|check| Some((check.observation.state?, check)));
        let (detector, probed_at, why, restored_until) = match saved {
            Some((CheckState::Probed(state), RetainedCheck { observation, at, until })) => {
                let detector = Detector::restore(&key.monitor, &state, at);
                (detector, observation.probed_at, observation.why, Some(until))
            }
            Some((CheckState::Heartbeat(_), _)) | None => (Detector::new(&key.monitor), None, None, None),
        };
        let believed = detector.health();
        Watched {
            key,
            detector,
            believed,
            region: 0,
            is_failing: false,
            contact: Contact::default(),
            probed_at,
            why,
            restored_until,
            is_settled: false,
        }
    }

    /// A check of a host that was up, new to a vantage that is blind: a monitor was changed. That it can't be probed is
    /// no reason to take the host out.
    pub(super) fn assumed_up(key: Arc<CheckKey>, now: Moment) -> Watched {
        let state = DetectorState { health: Health::Up, ..DetectorState::default() };
        let detector = Detector::restore(&key.monitor, &state, now);
        Watched { detector, believed: Health::Up, ..Watched::new(key, None) }
    }

    /// Takes in a measurement; when a verifying probe is wanted, and whether the verdict changed.
    pub(super) fn judge(&mut self, measurement: Measurement) -> (Option<Moment>, bool) {
        let found = measurement.found();
        let Measurement { began, ended, result, .. } = measurement;
        let event = match result {
            Ok(rtt) => {
                self.why = None;
                Event::Success { rtt }
            }
            Err(_) if self.detector.is_past(began) => return (self.detector.deadline(), false),
            Err(failure) => {
                let words = failure.to_string();
                if self.why.as_deref() != Some(&*words) {
                    self.why = Some(words.into());
                }
                if !failure.is_evidence() {
                    self.is_settled = true;
                    return (None, false);
                }
                if failure.is_doubtful() { Event::Doubtful { began } } else { Event::Failure { began } }
            }
        };
        self.probed_at = Some(ended);
        self.restored_until = None;
        self.is_failing = found != Found::Success;
        self.contact.note(found, ended);
        let transition = self.detector.step(event, ended);
        self.is_settled |= self.detector.is_tried() && !self.detector.is_verifying();
        (self.detector.deadline(), transition.is_some())
    }

    /// Drops a restored state whose time is over and that no probe has confirmed.
    pub(super) fn forget_what_is_stale(&mut self, now: Moment) {
        if self.restored_until.is_some_and(|until| now >= until) {
            self.detector = Detector::new(&self.key.monitor);
            (self.restored_until, self.probed_at) = (None, None);
        }
    }

    /// What people are to know of it beside the verdict.
    fn why(&self, now: Moment) -> Option<Arc<str>> {
        let held = self.detector.damping().words(now).map(Arc::from);
        held.or_else(|| match &self.why {
            Some(why) if self.detector.is_suspect() => Some(format!("suspect: {why}").into()),
            why => why.clone(),
        })
    }

    /// All but what the connection is, which it doesn't know.
    pub(super) fn observation(&self, now: Moment) -> Observation {
        let rtt = self.key.monitor.kind.measures_rtt().then(|| self.detector.rtt());
        let is_believed = self.believed == self.detector.health();
        Observation {
            key: Arc::clone(&self.key),
            health: self.believed,
            tried: self.believed != Health::Unknown,
            srtt: rtt.and_then(Rtt::srtt),
            rttvar: rtt.and_then(Rtt::rttvar),
            probed_at: self.probed_at,
            may_change_in: if is_believed { self.detector.may_change_in(now) } else { Default::default() },
            why: self.why(now),
            hold: None,
            doubt: match (self.detector.damping().is_held(), self.detector.is_suspect()) {
                (true, _) => Doubt::HeldDown,
                (false, true) => Doubt::Suspect,
                (false, false) => Doubt::None,
            },
            state: self.check_state(is_believed, now),
        }
    }

    /// The state from which another prober can continue. A restored state that no probe has confirmed is not passed on: that
    /// would make it look younger than it is.
    fn check_state(&self, is_believed: bool, now: Moment) -> Option<CheckState> {
        let state = match is_believed {
            true => self.detector.state(now),
            // What speaks against it is no evidence, or not yet.
            false => DetectorState { health: self.believed, rtt: *self.detector.rtt(), ..DetectorState::default() },
        };
        self.restored_until.is_none().then_some(CheckState::Probed(state))
    }
}
