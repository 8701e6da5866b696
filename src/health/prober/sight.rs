//! What the prober believes, as against what its detectors say: the same, unless it is blind or is looking into that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::health::blindness::{Control, Look, Sight};
use crate::health::prober::{Prober, Watched};
use crate::health::{Detector, Past};
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
        if self.blindness.why().is_none()
            && !self.plan.iter().filter_map(|slot| self.watched.get(slot)).any(is_lost)
            && !self.blindness.is_looking()
        {
            return self.believe(|_| true);
        }
        let was_blind = self.blindness.why().is_some();
        let (looks, controls) = (self.looks(), self.control_looks());
        match self.blindness.look(&looks, &controls, now) {
            Sight::Clear => self.believe(|_| true),
            Sight::Looking { settled, ask, ask_controls } => {
                self.believe(|watched| {
                    !is_lost(watched) || settled.is_some_and(|until| watched.failing_since.is_none_or(|at| at <= until))
                });
                for slot in ask.into_iter().filter_map(|at| self.plan.get(at)) {
                    self.schedule.want(*slot, Some(now));
                }
                for slot in self.controls.iter().filter(|_| ask_controls) {
                    self.schedule.want(*slot, Some(now));
                }
            }
            Sight::Blind if was_blind => {}
            Sight::Blind => {
                let why = self.blindness.why().unwrap_or_default();
                tracing::warn!(why, "this vantage is blind: its verdicts stay as they were");
                self.blind_why = Some(why.into());
            }
            Sight::Thawed => {
                tracing::info!("this vantage sees again: every verdict is looked at afresh");
                self.blind_why = None;
                self.heartbeats.forgive(now);
                self.begin_afresh(now);
            }
        }
    }

    /// Takes over the verdicts of the detectors where `may` says so.
    fn believe(&mut self, may: impl Fn(&Watched) -> bool) {
        for watched in self.watched.values_mut() {
            let (from, to) = (watched.believed, watched.detector.health());
            if from == to || !may(watched) {
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

    /// What failed while this vantage was blind was no evidence: those checks that were up are so again, with a
    /// clean record, and are probed anew.
    fn begin_afresh(&mut self, now: Moment) {
        let mut at = now;
        for (slot, watched) in &mut self.watched {
            // One that answered once and isn't Up by that has its failures against it still.
            let is_well = watched.failing_since.is_none() && watched.detector.health() == Health::Up;
            if is_well || watched.believed == Health::Down {
                continue;
            }
            let past = Past { health: watched.believed, rtt: *watched.detector.rtt(), ..Past::default() };
            watched.detector = Detector::resume(&watched.key.monitor, &past, now);
            watched.failing_since = None;
            self.schedule.back_off(*slot, 1, now);
            self.schedule.want(*slot, Some(at));
            at = at + FRESH_ROUND_STEP;
        }
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
                heard: watched.probed_at,
                failing_since: watched.failing_since,
            }
        };
        watched.map(look).collect()
    }

    fn control_looks(&self) -> Vec<Control> {
        let watched = self.controls.iter().filter_map(|slot| self.watched.get(slot));
        watched
            .map(|watched| Control { heard: watched.probed_at, is_failing: watched.failing_since.is_some() })
            .collect()
    }
}
