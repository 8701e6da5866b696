//! One check that a prober probes: its detector and what is told beside the verdict. And the plan that says which checks
//! those are, with what was last known of them before this process.

use std::sync::Arc;

use crate::health::blindness::{Contact, Found};
use crate::health::detector::{Detector, Event, Past};
use crate::health::observation::History;
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
    /// What another prober of this place knew of some of them. Counts for those that are new to this one.
    pub last_known: Vec<LastKnown>,
}

/// What a prober that is no more observed last of a check.
#[derive(Debug, Clone)]
pub struct LastKnown {
    /// What it said.
    pub observation: Observation,
    /// When it said that.
    pub at: Moment,
    /// Until then it counts, if nothing is heard of the check.
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
    /// Until when what was last known before this prober counts; `None` once this one has evidence of its own.
    borrowed_until: Option<Moment>,
    /// Whether the first round need not wait for it any more: it is tried and verified, or can't be probed from here.
    pub(super) is_settled: bool,
}

impl Watched {
    /// A check that goes on from what was last known of it, if anything was.
    pub(super) fn new(key: Arc<CheckKey>, last_known: Option<LastKnown>) -> Watched {
        let past = last_known.and_then(|known| Some((known.observation.history?, known)));
        let (detector, probed_at, why, borrowed_until) = match past {
            Some((History::Probes(past), LastKnown { observation, at, until })) => {
                let detector = Detector::resume(&key.monitor, &past, at);
                (detector, observation.probed_at, observation.why, Some(until))
            }
            Some((History::Beats(_), _)) | None => (Detector::new(&key.monitor), None, None, None),
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
            borrowed_until,
            is_settled: false,
        }
    }

    /// A check of a host that was up, new to a vantage that is blind: a monitor was changed. That it can't be probed is
    /// no reason to take the host out.
    pub(super) fn assumed_up(key: Arc<CheckKey>, now: Moment) -> Watched {
        let past = Past { health: Health::Up, ..Past::default() };
        let detector = Detector::resume(&key.monitor, &past, now);
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
        self.borrowed_until = None;
        self.is_failing = found != Found::Success;
        self.contact.note(found, ended);
        let transition = self.detector.step(event, ended);
        self.is_settled |= self.detector.is_tried() && !self.detector.is_verifying();
        (self.detector.deadline(), transition.is_some())
    }

    /// What was last known before this prober, and no probe has told of since, is no longer known.
    pub(super) fn forget_what_is_stale(&mut self, now: Moment) {
        if self.borrowed_until.is_some_and(|until| now >= until) {
            self.detector = Detector::new(&self.key.monitor);
            (self.borrowed_until, self.probed_at) = (None, None);
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
            history: self.history(is_believed, now),
        }
    }

    /// What another prober could go on from. What was taken over and not confirmed is not handed on: it grows no younger.
    fn history(&self, is_believed: bool, now: Moment) -> Option<History> {
        let past = match is_believed {
            true => self.detector.past(now),
            // What speaks against it is no evidence, or not yet.
            false => Past { health: self.believed, rtt: *self.detector.rtt(), ..Past::default() },
        };
        self.borrowed_until.is_none().then_some(History::Probes(past))
    }
}
