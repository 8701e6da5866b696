//! The heartbeat checks of one prober: passes beats and the time to each [`Heartbeat`], and makes the observations. A
//! value: it gets the time and the beats. The prober owns one; the HTTP API sends beats by [`BeatSender`].

mod loss;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::health::{CheckState, Heartbeat, Observation, RetainedCheck, Sign, VerdictChange};
use crate::model::{CheckKey, Doubt, Health, HeartbeatSpec, Moment};

use loss::LostService;

/// The most beats that wait for a prober. Further ones are refused, and their senders try again. Judgment: more than a
/// hundred ms of a prober's work, and a second of beats of a large region.
const MAX_WAITING: usize = 4096;

/// If the prober advances a check this much too late, this process was stopped or waited for a processor. Beats of that
/// time may not be received yet, so silence is not evidence. This counts once between two beats of a service: a prober
/// that is always late must find dead services too. Judgment: longer than a thread waits on a busy machine.
const LATE_AFTER: Duration = Duration::from_millis(500);

/// One beat, or a goodbye.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The check that it is for.
    pub key: Arc<CheckKey>,
    /// The message.
    pub sign: Sign,
}

/// Sends beats to the probers of this process.
#[derive(Debug, Clone, Default)]
pub struct BeatSender(Vec<mpsc::Sender<Beat>>);

/// Too many beats are waiting. The beat was not accepted by all probers, and should be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyBeats;

impl BeatSender {
    /// A sender to one prober, and the receiver of that prober.
    pub(super) fn channel() -> (BeatSender, mpsc::Receiver<Beat>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (BeatSender(vec![sender]), receiver)
    }

    /// One sender to several probers.
    pub fn to_all(all: impl IntoIterator<Item = BeatSender>) -> BeatSender {
        BeatSender(all.into_iter().flat_map(|beats| beats.0).collect())
    }

    /// Sends a beat to every prober. Never waits. A beat that only some have accepted may be sent again.
    pub fn send(&self, beat: &Beat) -> Result<(), TooManyBeats> {
        self.0.iter().try_for_each(|to| match to.try_send(beat.clone()) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(TooManyBeats),
            // The prober has stopped.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        })
    }
}

/// All heartbeat checks of a plan.
#[derive(Debug, Default)]
pub struct Heartbeats {
    /// The services, in the order of the plan.
    services: Vec<Service>,
    index: HashMap<Arc<CheckKey>, usize>,
    /// When time alone may change a verdict, and which.
    due: BTreeSet<(Moment, usize)>,
}

#[derive(Debug)]
struct Service {
    key: Arc<CheckKey>,
    heartbeat: Heartbeat,
    /// Its entry in `Heartbeats::due`.
    due: Option<Moment>,
    /// While a drill counts the service as lost.
    lost: Option<Box<LostService>>,
}

impl Heartbeats {
    /// Replaces the checks by the heartbeat checks among `checks`. Services that stay keep their state, even if their
    /// monitor has changed.
    pub fn adopt(&mut self, checks: &[Arc<CheckKey>], now: Moment) {
        let before = std::mem::take(self);
        let by_name: HashMap<_, &Service> =
            before.services.iter().filter_map(|service| Some((spec_of(&service.key)?.service(), service))).collect();
        for key in checks {
            let Some(spec) = spec_of(key).filter(|_| !self.index.contains_key(key)) else { continue };
            let same = before.index.get(key).map(|nth| &before.services[*nth]);
            let heartbeat = match (same, by_name.get(&spec.service())) {
                // What a drill counts as lost stays lost: its key is the same.
                (Some(service), _) => service.heartbeat.with_monitor(&key.monitor),
                (None, Some(service)) => service.real().with_monitor(&key.monitor),
                (None, None) => Heartbeat::new(&key.monitor, spec.ttl, now),
            };
            let lost = same.and_then(|service| service.lost.clone());
            let nth = self.services.len();
            self.index.insert(Arc::clone(key), nth);
            self.services.push(Service { key: Arc::clone(key), heartbeat, due: None, lost });
            self.reschedule(nth);
        }
    }

    /// Restores those of which this prober received no beat yet, from what an earlier prober of this vantage observed.
    pub fn restore(&mut self, all: &[RetainedCheck], now: Moment) {
        for RetainedCheck { observation, at, until } in all {
            let (Some(CheckState::Heartbeat(saved)), Some(nth)) = (observation.state, self.index.get(&observation.key))
            else {
                continue;
            };
            let (nth, service) = (*nth, &mut self.services[*nth]);
            if let (Some(spec), None) = (service.key.monitor.kind.heartbeat(), service.heartbeat.last()) {
                service.heartbeat = Heartbeat::restore(&service.key.monitor, spec, &saved, [*at, *until], now);
                self.reschedule(nth);
            }
        }
    }

    /// Takes in a beat that came at `now`. Returns whether it changed a verdict. A beat for an unknown check is
    /// ignored.
    pub fn receive(&mut self, beat: &Beat, now: Moment) -> bool {
        let Some(nth) = self.index.get(&beat.key).copied() else { return false };
        let service = &mut self.services[nth];
        if let Some(lost) = &mut service.lost {
            lost.real.receive(beat.sign, now);
            return false;
        }
        let changed = service.heartbeat.receive(beat.sign, now);
        self.reschedule(nth);
        self.log_change(nth, changed, now)
    }

    /// Advances the time of all checks to `now`. Returns whether that changed a verdict.
    pub fn advance(&mut self, now: Moment) -> bool {
        let mut has_changed = false;
        while let Some((due, nth)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, nth));
            let service = &mut self.services[nth];
            service.due = None;
            if now.since(due) > LATE_AFTER && !service.heartbeat.is_ttl_restarted() {
                service.heartbeat.restart_ttl(now);
            }
            let changed = service.heartbeat.advance(now);
            self.reschedule(nth);
            has_changed |= self.log_change(nth, changed, now);
        }
        has_changed
    }

    /// Restarts the ttl of all services that are Up: see [`Heartbeat::restart_ttl`].
    pub fn restart_ttls(&mut self, now: Moment) {
        for nth in 0..self.services.len() {
            let service = &mut self.services[nth];
            service.heartbeat.restart_ttl(now);
            if let Some(lost) = &mut service.lost {
                lost.real.restart_ttl(now);
            }
            self.reschedule(nth);
        }
    }

    /// When to call [`Heartbeats::advance`] next.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The observations of all checks at `now`.
    pub fn observations(&self, now: Moment) -> impl Iterator<Item = Observation> {
        self.services.iter().map(move |service| service.observation(now))
    }

    /// Updates `due` after a change of a service.
    fn reschedule(&mut self, nth: usize) {
        let service = &mut self.services[nth];
        if let Some(due) = service.due.take() {
            self.due.remove(&(due, nth));
        }
        service.due = service.heartbeat.deadline();
        self.due.extend(service.due.map(|due| (due, nth)));
    }

    /// Logs a change of a verdict. Returns whether there was one.
    fn log_change(&self, nth: usize, changed: Option<VerdictChange>, now: Moment) -> bool {
        if let Some(VerdictChange { from, to }) = changed {
            let service = &self.services[nth];
            let endpoint = spec_of(&service.key).map_or("", |spec| &spec.endpoint);
            let why = service.why(now).unwrap_or_else(|| "it beats".into());
            // The transition of an endpoint is logged elsewhere, once for all vantages.
            tracing::debug!(
                check = "heartbeat",
                endpoint,
                from = from.as_str(),
                to = to.as_str(),
                why,
                "this vantage's verdict changed"
            );
        }
        changed.is_some()
    }
}

impl Service {
    fn observation(&self, now: Moment) -> Observation {
        Observation {
            key: Arc::clone(&self.key),
            health: self.heartbeat.health(),
            tried: self.heartbeat.health() != Health::Unknown,
            srtt: None,
            rttvar: None,
            probed_at: self.heartbeat.last().map(|(at, _)| at),
            // The service may send a goodbye at any moment. That changes nothing while it is damped.
            may_change_in: self.heartbeat.damping().left(now),
            why: self.loss().or_else(|| Some(self.why(now).or_else(|| self.suspicion(now))?.into())),
            hold: None,
            doubt: match (self.heartbeat.damping().is_damped(), self.suspicion(now).is_some()) {
                (true, _) => Doubt::HeldDown,
                (false, true) => Doubt::Suspect,
                (false, false) => Doubt::None,
            },
            // A restart ends a drill.
            state: Some(CheckState::Heartbeat(self.real().state(now))),
        }
    }

    /// The reason why it is not Up.
    fn why(&self, now: Moment) -> Option<String> {
        if let Some(why) = self.heartbeat.damping().why(now) {
            return Some(why);
        }
        match (self.heartbeat.health(), self.heartbeat.last()) {
            (Health::Up, _) => None,
            (_, None) => Some("no heartbeat received yet".to_owned()),
            (_, Some((_, Sign::Goodbye))) => Some("it said goodbye".to_owned()),
            (_, Some((_, Sign::Alive { ttl }))) => Some(
                self.overdue(ttl)
                    .unwrap_or_else(|| format!("no heartbeat within the ttl of {}", humantime::format_duration(ttl))),
            ),
        }
    }

    /// The reason why it is not Up, if the rhythm and not the ttl decided that.
    fn overdue(&self, ttl: Duration) -> Option<String> {
        let phi = self.heartbeat.phi()?;
        let (mean, patience) = (phi.rhythm()?.mean, phi.patience()?);
        let is_sooner = patience < ttl && !self.heartbeat.is_ttl_restarted();
        is_sooner.then(|| {
            let (silence, threshold) = (patience.as_secs_f64(), phi.threshold());
            format!("no heartbeat for {silence:.2} s, usually one every {mean:.2} s (phi {threshold})")
        })
    }

    /// The suspicion at `now`, if the rhythm is known: `phi 0.4 of 8, a beat every 1.00 s`.
    fn suspicion(&self, now: Moment) -> Option<String> {
        let (phi, (last, _)) = (self.heartbeat.phi()?, self.heartbeat.last()?);
        let (by_now, mean, threshold) = (phi.after(now.since(last))?, phi.rhythm()?.mean, phi.threshold());
        Some(format!("phi {by_now:.1} of {threshold}, a beat every {mean:.2} s"))
    }
}

fn spec_of(key: &CheckKey) -> Option<&HeartbeatSpec> {
    key.monitor.kind.heartbeat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Monitor, ProbeKind, ProbeTarget};

    const MS: Duration = Duration::from_millis(1);

    fn key(endpoint: &str, rise: u32) -> Arc<CheckKey> {
        let ttl = 5000 * MS;
        let (zone, endpoint) = ("svc.example.".to_owned(), endpoint.to_owned());
        let kind = ProbeKind::Heartbeat(HeartbeatSpec { zone, endpoint, ttl, longest: ttl, phi: None });
        let monitor = Monitor { rise, ..Monitor::new(kind) };
        Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere })
    }

    #[test]
    fn after_a_time_without_reception_the_ttl_is_restarted() {
        let at = |secs| Moment::from_start(Duration::from_secs(secs));
        let (up, gone) = (key("up", 1), key("gone", 1));
        let mut heartbeats = Heartbeats::default();
        heartbeats.adopt(&[up.clone(), gone.clone()], at(0));
        for key in [&up, &gone] {
            assert!(heartbeats.receive(&Beat { key: key.clone(), sign: Sign::Alive { ttl: 5000 * MS } }, at(1)));
        }
        assert!(heartbeats.receive(&Beat { key: gone.clone(), sign: Sign::Goodbye }, at(2)));
        heartbeats.restart_ttls(at(60));
        assert!(!heartbeats.advance(at(64)), "the silence before is not evidence");
        let health = |heartbeats: &Heartbeats| heartbeats.observations(at(66)).map(|o| o.health).collect::<Vec<_>>();
        assert_eq!(health(&heartbeats), [Health::Up, Health::Down], "a goodbye stays one");
        assert!(heartbeats.advance(at(66)), "the silence after is");
        assert_eq!(health(&heartbeats), [Health::Down, Health::Down]);
    }

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_lost_service_stays_lost_when_the_checks_are_adopted_again() {
        let (lost, other) = (key("lost", 1), key("other", 1));
        let mut heartbeats = Heartbeats::default();
        heartbeats.adopt(std::slice::from_ref(&lost), at(0));
        assert!(heartbeats.receive(&alive(&lost, 60_000), at(1)));
        heartbeats.lose(&crate::health::Injection {
            checks: Arc::new([lost.clone()].into()),
            why: "drill of alice".into(),
            on_failure: Arc::new(|_, _| {}),
        });
        heartbeats.adopt(&[lost.clone(), other], at(2));
        heartbeats.receive(&alive(&lost, 60_000), at(3));
        heartbeats.advance(at(60_002));
        assert_eq!(
            reported(&heartbeats)[0],
            (Health::Down, Some("drill of alice".to_owned())),
            "its beats don't count"
        );
        heartbeats.restore_lost(at(60_002));
        assert_eq!(reported(&heartbeats)[0], (Health::Up, None), "as if it had never been lost");
    }

    fn alive(key: &Arc<CheckKey>, ms: u32) -> Beat {
        Beat { key: Arc::clone(key), sign: Sign::Alive { ttl: ms * MS } }
    }

    fn reported(heartbeats: &Heartbeats) -> Vec<(Health, Option<String>)> {
        heartbeats.observations(at(9000)).map(|o| (o.health, o.why.as_deref().map(str::to_owned))).collect()
    }

    #[test]
    fn each_service_has_its_own_beats_and_ttl() {
        let [a, b] = ["a", "b"].map(|endpoint| key(endpoint, 1));
        let mut all = Heartbeats::default();
        all.adopt(&[a.clone(), b.clone(), a.clone()], at(0));
        assert_eq!(reported(&all).len(), 2, "one that is listed twice counts once");
        assert_eq!(all.next_due(), Some(at(5000)), "the first beat is expected by then");
        assert!(all.receive(&alive(&a, 2000), at(10)) && all.receive(&alive(&b, 1000), at(20)));
        assert!(!all.receive(&alive(&a, 2000), at(500)), "a renewal changes nothing");
        assert!(!all.receive(&alive(&key("c", 1), 2000), at(500)), "an unknown check");
        assert_eq!(all.next_due(), Some(at(1020)));
        assert!(!all.advance(at(1019)) && all.advance(at(1020)));
        let why = "no heartbeat within the ttl of 1s".to_owned();
        assert_eq!(reported(&all), [(Health::Up, None), (Health::Down, Some(why))]);
        assert_eq!(all.next_due(), Some(at(2500)));
        assert!(all.receive(&Beat { key: a, sign: Sign::Goodbye }, at(2000)));
        assert_eq!(reported(&all)[0], (Health::Down, Some("it said goodbye".to_owned())));
        assert_eq!(all.next_due(), None, "time alone changes nothing more");
    }

    /// As [`key`], with a threshold of suspicion.
    fn rhythmic(endpoint: &str) -> Arc<CheckKey> {
        let (zone, endpoint) = ("svc.example.".to_owned(), endpoint.to_owned());
        let spec = HeartbeatSpec { zone, endpoint, ttl: 5000 * MS, longest: 5000 * MS, phi: Some(8) };
        let monitor = Monitor { rise: 1, ..Monitor::new(ProbeKind::Heartbeat(spec)) };
        Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere })
    }

    #[test]
    fn the_rhythm_is_reported_and_decides() {
        let key = rhythmic("a");
        let mut all = Heartbeats::default();
        all.adopt(std::slice::from_ref(&key), at(0));
        let why = |all: &Heartbeats, ms| all.observations(at(ms)).next().and_then(|o| o.why).map(|why| why.to_string());
        for beat in 0..=20 {
            assert_eq!(why(&all, beat * 1000).is_some(), beat == 0, "no reason while it is up: {beat}");
            all.receive(&alive(&key, 5000), at(beat * 1000));
        }
        assert_eq!(why(&all, 20_000).as_deref(), Some("phi 0.0 of 8, a beat every 1.00 s"));
        assert_eq!(why(&all, 21_500).as_deref(), Some("phi 1.6 of 8, a beat every 1.00 s"));
        assert!(!all.advance(at(22_402)) && all.advance(at(22_404)), "after 2.403 s");
        assert_eq!(why(&all, 23_000).as_deref(), Some("no heartbeat for 2.40 s, usually one every 1.00 s (phi 8)"));
    }

    #[test]
    fn the_time_in_which_this_process_was_stopped_is_not_evidence() {
        let (plain, by_rhythm) = (key("plain", 1), rhythmic("rhythm"));
        let mut all = Heartbeats::default();
        all.adopt(&[plain.clone(), by_rhythm.clone()], at(0));
        for beat in 0..=20 {
            for key in [&plain, &by_rhythm] {
                all.receive(&alive(key, 5000), at(beat * 1000));
            }
        }
        let health = |all: &Heartbeats| all.observations(at(0)).map(|o| o.health).collect::<Vec<_>>();
        // This process is stopped for a minute.
        assert!(!all.advance(at(80_000)));
        assert_eq!(health(&all), [Health::Up, Health::Up]);
        all.receive(&alive(&by_rhythm, 5000), at(80_010));
        let due = all.next_due().map(|due| due.from_first().as_millis());
        assert_eq!(due, Some(82_413), "that minute is no part of the rhythm");
        assert!(all.advance(at(82_414)) && all.advance(at(85_000)), "and now silence counts");
        assert_eq!(health(&all), [Health::Down, Health::Down]);
    }

    #[test]
    fn a_prober_that_is_always_late_finds_dead_services_too() {
        let key = key("a", 1);
        let mut all = Heartbeats::default();
        all.adopt(std::slice::from_ref(&key), at(0));
        all.receive(&alive(&key, 1000), at(0));
        assert!(!all.advance(at(3000)) && all.advance(at(7000)), "the ttl is restarted only once");
    }

    #[test]
    fn a_new_plan_keeps_the_state_of_services() {
        let (a, stricter, b) = (key("a", 1), key("a", 3), key("b", 1));
        let mut all = Heartbeats::default();
        all.adopt(std::slice::from_ref(&a), at(0));
        all.receive(&alive(&a, 3000), at(10));
        // As in a reload: both for a while, then only the new one.
        all.adopt(&[a, stricter.clone(), b], at(1000));
        assert_eq!(
            reported(&all).iter().map(|(health, _)| *health).collect::<Vec<_>>(),
            [Health::Up, Health::Up, Health::Unknown]
        );
        all.adopt(&[stricter], at(1010));
        assert_eq!((reported(&all), all.next_due()), (vec![(Health::Up, None)], Some(at(3010))));
    }

    #[test]
    fn too_many_beats_at_once_are_refused() {
        let (beats, mut receiver) = BeatSender::channel();
        let beat = alive(&key("a", 1), 1000);
        for _ in 0..MAX_WAITING {
            assert_eq!(beats.send(&beat), Ok(()));
        }
        assert_eq!(beats.send(&beat), Err(TooManyBeats));
        receiver.try_recv().unwrap();
        assert_eq!(beats.send(&beat), Ok(()));
        drop(receiver);
        assert_eq!(beats.send(&beat), Ok(()), "a prober that stopped refuses nothing");
    }
}
