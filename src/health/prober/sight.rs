//! What the prober believes, as against what its detectors say: the same, unless it is blind or is looking into that.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::health::blindness::{Control, Look};
use crate::health::prober::{Prober, Watched};
use crate::health::{Detector, DetectorState, SlotId};
use crate::model::{CheckKey, Health, Moment, Monitor, ProbeKind, ProbeTarget};

/// After blindness the checks that failed are probed afresh this far apart: 20,000 a second, as in a first round.
const FRESH_ROUND_STEP: Duration = Duration::from_micros(50);

/// How a control target is reached: a TCP handshake each second, as a `tcp` monitor at its defaults makes it.
pub fn control_check(target: std::net::SocketAddr) -> Arc<CheckKey> {
    let monitor = Monitor::new(ProbeKind::Tcp);
    Arc::new(CheckKey { monitor, target: ProbeTarget::Socket(target) })
}

impl Prober {
    /// Brings what is believed up to date with what the detectors say, as far as this vantage can be trusted.
    pub(super) fn look_around(&mut self, now: Moment) {
        let is_lost = |watched: &Watched| watched.believed == Health::Up && watched.detector.health() == Health::Down;
        for watched in self.watched.values_mut() {
            watched.forget_what_is_stale(now);
        }
        if self.blind_why.is_none()
            && !self.plan.iter().filter_map(|slot| self.watched.get(slot)).any(is_lost)
            && !self.blindness.is_looking()
        {
            return self.believe(|_| true);
        }
        let (looks, controls) = (self.looks(), self.control_looks());
        let sight = self.blindness.look(&looks, &controls, now);
        let held: HashSet<SlotId> = self
            .plan
            .iter()
            .filter(|slot| self.watched.contains_key(slot))
            .zip(&looks)
            .filter(|(_, look)| !sight.lets_pass(look))
            .map(|(slot, _)| *slot)
            .collect();
        self.believe(|slot| !held.contains(&slot));
        for slot in sight.ask.iter().filter_map(|at| self.plan.get(*at)) {
            self.schedule.want(*slot, Some(now));
        }
        for slot in self.controls.iter().filter(|_| sight.ask_controls) {
            self.schedule.want(*slot, Some(now));
        }
        self.begin_afresh(&sight.reopened, now);
        self.note_blindness(now);
    }

    /// Logs and reports when blindness begins, changes and ends.
    fn note_blindness(&mut self, now: Moment) {
        let why = self.blindness.why();
        match (why, self.blind_why.as_deref()) {
            (Some(why), Some(before)) if why == before => {}
            (None, None) => {}
            // A new plan is looked at first.
            (None, Some(_)) if self.blindness.is_looking() => {}
            (Some(why), before) => {
                if before.is_none() {
                    tracing::warn!(why, "this vantage is blind: the verdicts of the silent regions stay as they were");
                } else {
                    tracing::warn!(why, "this vantage is still blind");
                }
                self.blind_why = Some(why.into());
            }
            (None, Some(_)) => {
                tracing::info!("this vantage sees again: every verdict is looked at afresh");
                self.blind_why = None;
                self.heartbeats.forgive(now);
            }
        }
    }

    /// Takes over the verdicts of the detectors where `may` allows it.
    fn believe(&mut self, may: impl Fn(SlotId) -> bool) {
        for (slot, watched) in &mut self.watched {
            let (from, to) = (watched.believed, watched.detector.health());
            if from == to || !may(*slot) {
                continue;
            }
            watched.believed = to;
            // What this changes for an endpoint is logged as its transition, once for all vantages.
            tracing::debug!(
                check = watched.key.monitor.kind.as_str(),
                target = %watched.key.target,
                from = from.as_str(),
                to = to.as_str(),
                why = watched.why.as_deref().unwrap_or("answers as expected"),
                "this vantage's verdict changed"
            );
        }
    }

    /// What failed while its region was silent was no evidence: those checks of these regions that were Up are so
    /// again, with a clean record, and are probed anew.
    fn begin_afresh(&mut self, regions: &[usize], now: Moment) {
        if regions.is_empty() {
            return;
        }
        let mut at = now;
        for slot in &self.plan {
            let Some(watched) = self.watched.get_mut(slot) else { continue };
            // One that answered once and isn't Up by that has its failures against it still.
            let is_well = !watched.is_failing && watched.detector.health() == Health::Up;
            if is_well || watched.believed == Health::Down || regions.binary_search(&watched.region).is_err() {
                continue;
            }
            let state =
                DetectorState { health: watched.believed, rtt: *watched.detector.rtt(), ..DetectorState::default() };
            watched.detector = Detector::restore(&watched.key.monitor, &state, now);
            watched.is_failing = false;
            watched.contact.begin_afresh();
            self.schedule.back_off(*slot, 1, now);
            self.schedule.want(*slot, Some(at));
            at = at + FRESH_ROUND_STEP;
        }
    }

    /// The hosts that this vantage believes to be up in all their checks; none while it isn't blind.
    pub(super) fn hosts_up_while_blind(&self) -> HashSet<IpAddr> {
        if self.blind_why.is_none() {
            return HashSet::new();
        }
        let hosts = |is_up: bool| {
            let of = self.watched.values().filter(move |watched| (watched.believed == Health::Up) == is_up);
            of.filter_map(|watched| watched.key.target.ip()).collect::<HashSet<IpAddr>>()
        };
        &hosts(true) - &hosts(false)
    }

    /// The plan's checks as they look now, in its order.
    fn looks(&self) -> Vec<Look> {
        let mut hosts: HashMap<Option<IpAddr>, usize, FixedState> = HashMap::default();
        let watched = self.plan.iter().filter_map(|slot| self.watched.get(slot));
        let look = |watched: &Watched| {
            let next = hosts.len();
            Look {
                region: watched.region,
                host: *hosts.entry(watched.key.target.ip()).or_insert(next),
                believed: watched.believed,
                judged: watched.detector.health(),
                probed: watched.probed_at,
                contact: watched.contact,
            }
        };
        watched.map(look).collect()
    }

    fn control_looks(&self) -> Vec<Control> {
        let watched = self.controls.iter().filter_map(|slot| self.watched.get(slot));
        watched.map(|watched| Control { probed: watched.probed_at, answered: watched.contact.answered() }).collect()
    }
}
