//! All heartbeats that one prober hears: who beats, when which of them ends, and what is believed of each, in the form
//! that probed checks have. A value: it is told the time and what was said. The prober owns one; [`Beats`] is the way
//! in, from the HTTP API.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::health::{CheckState, Heartbeat, Observation, RetainedCheck, Sign, Transition};
use crate::model::{CheckKey, Doubt, Health, HeartbeatSpec, Moment};

/// Beats that wait for a prober at a time; further ones are refused, and their senders try again. Judgment: more than a
/// hundred ms of a prober's work, and a second of beats of a large region.
const MAX_WAITING: usize = 4096;

/// Who wakes this much too late was stopped, or waited for a processor: beats of that time may still be waiting to be
/// heard, so silence says nothing. Once between two beats of a service, so that being late for ever hides no death.
/// Judgment: longer than a busy machine lets a thread wait.
const STOPPED: Duration = Duration::from_millis(500);

/// One sign of life, or goodbye.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The check that it is for.
    pub key: Arc<CheckKey>,
    /// What was said.
    pub sign: Sign,
}

/// Where beats are handed in; every prober of the process hears them.
#[derive(Debug, Clone, Default)]
pub struct Beats(Vec<mpsc::Sender<Beat>>);

/// Too many beats wait: nothing was taken, and it should be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Beats {
    /// A way in for one prober, and the prober's end of it.
    pub(super) fn channel() -> (Beats, mpsc::Receiver<Beat>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Beats(vec![sender]), receiver)
    }

    /// One way in to several probers.
    pub fn to_all(all: impl IntoIterator<Item = Beats>) -> Beats {
        Beats(all.into_iter().flat_map(|beats| beats.0).collect())
    }

    /// Hands in a beat. Never waits. One that some took and others did not may be sent again.
    pub fn send(&self, beat: &Beat) -> Result<(), Busy> {
        self.0.iter().try_for_each(|to| match to.try_send(beat.clone()) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Busy),
            // A prober that has stopped hears nothing more.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        })
    }
}

/// Every heartbeat of a plan.
#[derive(Debug, Default)]
pub struct Heartbeats {
    /// In the plan's order.
    known: Vec<Known>,
    index: HashMap<Arc<CheckKey>, usize>,
    /// When time alone may change which of them.
    due: BTreeSet<(Moment, usize)>,
}

#[derive(Debug)]
struct Known {
    key: Arc<CheckKey>,
    heartbeat: Heartbeat,
    due: Option<Moment>,
}

impl Heartbeats {
    /// Makes the heartbeats among `checks` the ones that are heard. Those that are already keep their history, also
    /// where only their monitor changed.
    pub fn adopt(&mut self, checks: &[Arc<CheckKey>], now: Moment) {
        let before = std::mem::take(self);
        let services: HashMap<_, &Known> =
            before.known.iter().filter_map(|known| Some((spec_of(&known.key)?.service(), known))).collect();
        for key in checks {
            let Some(spec) = spec_of(key).filter(|_| !self.index.contains_key(key)) else { continue };
            let same = before.index.get(key).map(|nth| &before.known[*nth]);
            let heartbeat = match same.or_else(|| services.get(&spec.service()).copied()) {
                Some(known) => known.heartbeat.judged_by(&key.monitor),
                None => Heartbeat::new(&key.monitor, spec.ttl, now),
            };
            let nth = self.known.len();
            self.index.insert(Arc::clone(key), nth);
            self.known.push(Known { key: Arc::clone(key), heartbeat, due: None });
            self.settle(nth);
        }
    }

    /// Restores those of which this prober received no beat yet, from what an earlier prober of this vantage observed.
    pub fn restore(&mut self, all: &[RetainedCheck], now: Moment) {
        for RetainedCheck { observation, at, until } in all {
            let (Some(CheckState::Heartbeat(saved)), Some(nth)) = (observation.state, self.index.get(&observation.key))
            else {
                continue;
            };
            let (nth, known) = (*nth, &mut self.known[*nth]);
            if let (Some(spec), None) = (known.key.monitor.kind.heartbeat(), known.heartbeat.last()) {
                known.heartbeat = Heartbeat::restore(&known.key.monitor, spec, &saved, [*at, *until], now);
                self.settle(nth);
            }
        }
    }

    /// Takes in what was said at `now`; whether that changed a verdict. What nobody waits for is not heard.
    pub fn hear(&mut self, beat: &Beat, now: Moment) -> bool {
        let Some(nth) = self.index.get(&beat.key).copied() else { return false };
        let changed = self.known[nth].heartbeat.hear(beat.sign, now);
        self.settle(nth);
        self.tell(nth, changed, now)
    }

    /// Looks at all that time may have changed by `now`; whether it did.
    pub fn wake(&mut self, now: Moment) -> bool {
        let mut has_changed = false;
        while let Some((due, nth)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, nth));
            let known = &mut self.known[nth];
            known.due = None;
            if now.since(due) > STOPPED && !known.heartbeat.is_forgiven() {
                known.heartbeat.forgive(now);
            }
            let changed = known.heartbeat.wake(now);
            self.settle(nth);
            has_changed |= self.tell(nth, changed, now);
        }
        has_changed
    }

    /// Nobody could have been heard until `now`, so that silence said nothing: see [`Heartbeat::forgive`].
    pub fn forgive(&mut self, now: Moment) {
        for nth in 0..self.known.len() {
            self.known[nth].heartbeat.forgive(now);
            self.settle(nth);
        }
    }

    /// When [`Heartbeats::wake`] is to be called next.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is believed of each at `now`.
    pub fn observations(&self, now: Moment) -> impl Iterator<Item = Observation> {
        self.known.iter().map(move |known| known.observation(now))
    }

    fn settle(&mut self, nth: usize) {
        let known = &mut self.known[nth];
        if let Some(due) = known.due.take() {
            self.due.remove(&(due, nth));
        }
        known.due = known.heartbeat.deadline();
        self.due.extend(known.due.map(|due| (due, nth)));
    }

    fn tell(&self, nth: usize, changed: Option<Transition>, now: Moment) -> bool {
        if let Some(Transition { from, to }) = changed {
            let known = &self.known[nth];
            let endpoint = spec_of(&known.key).map_or("", |spec| &spec.endpoint);
            let why = known.why(now).unwrap_or_else(|| "it beats".into());
            // What this changes for an endpoint is logged as its transition.
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

impl Known {
    fn observation(&self, now: Moment) -> Observation {
        Observation {
            key: Arc::clone(&self.key),
            health: self.heartbeat.health(),
            tried: self.heartbeat.health() != Health::Unknown,
            srtt: None,
            rttvar: None,
            probed_at: self.heartbeat.last().map(|(at, _)| at),
            // The service may say goodbye at any moment, which is nothing new of one that is held down.
            may_change_in: self.heartbeat.damping().left(now),
            why: self.why(now).or_else(|| self.suspicion(now)).map(Into::into),
            hold: None,
            doubt: match (self.heartbeat.damping().is_held(), self.suspicion(now).is_some()) {
                (true, _) => Doubt::HeldDown,
                (false, true) => Doubt::Suspect,
                (false, false) => Doubt::None,
            },
            state: Some(CheckState::Heartbeat(self.heartbeat.state(now))),
        }
    }

    /// Why it isn't up.
    fn why(&self, now: Moment) -> Option<String> {
        if let Some(held) = self.heartbeat.damping().words(now) {
            return Some(held);
        }
        match (self.heartbeat.health(), self.heartbeat.last()) {
            (Health::Up, _) => None,
            (_, None) => Some("no heartbeat was heard yet".to_owned()),
            (_, Some((_, Sign::Goodbye))) => Some("it said goodbye".to_owned()),
            (_, Some((_, Sign::Alive { ttl }))) => Some(self.overdue(ttl).unwrap_or_else(|| {
                format!("no heartbeat within the {} that the last one was for", humantime::format_duration(ttl))
            })),
        }
    }

    /// That it was the rhythm and not the ttl that ended the last beat, if it was.
    fn overdue(&self, ttl: Duration) -> Option<String> {
        let phi = self.heartbeat.phi()?;
        let (mean, patience) = (phi.rhythm()?.mean, phi.patience()?);
        let is_sooner = patience < ttl && !self.heartbeat.is_forgiven();
        is_sooner.then(|| {
            let (silence, threshold) = (patience.as_secs_f64(), phi.threshold());
            format!("no heartbeat for {silence:.2} s, where one came every {mean:.2} s (phi {threshold})")
        })
    }

    /// How suspicious its silence is by now, where its rhythm is known: `phi 0.4 of 8, a beat every 1.00 s`.
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
        Arc::new(CheckKey { monitor, target: ProbeTarget::Nowhere })
    }

    #[test]
    fn who_could_not_be_heard_has_its_time_again() {
        let at = |secs| Moment::from_start(Duration::from_secs(secs));
        let (up, gone) = (key("up", 1), key("gone", 1));
        let mut heartbeats = Heartbeats::default();
        heartbeats.adopt(&[up.clone(), gone.clone()], at(0));
        for key in [&up, &gone] {
            assert!(heartbeats.hear(&Beat { key: key.clone(), sign: Sign::Alive { ttl: 5000 * MS } }, at(1)));
        }
        assert!(heartbeats.hear(&Beat { key: gone.clone(), sign: Sign::Goodbye }, at(2)));
        heartbeats.forgive(at(60));
        assert!(!heartbeats.wake(at(64)), "silence until then said nothing");
        let health = |heartbeats: &Heartbeats| heartbeats.observations(at(66)).map(|o| o.health).collect::<Vec<_>>();
        assert_eq!(health(&heartbeats), [Health::Up, Health::Down], "a goodbye stays one");
        assert!(heartbeats.wake(at(66)), "and now it says something");
        assert_eq!(health(&heartbeats), [Health::Down, Health::Down]);
    }

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    fn alive(key: &Arc<CheckKey>, ms: u32) -> Beat {
        Beat { key: Arc::clone(key), sign: Sign::Alive { ttl: ms * MS } }
    }

    fn told(heartbeats: &Heartbeats) -> Vec<(Health, Option<String>)> {
        heartbeats.observations(at(9000)).map(|o| (o.health, o.why.as_deref().map(str::to_owned))).collect()
    }

    #[test]
    fn each_is_heard_and_ends_by_itself() {
        let [a, b] = ["a", "b"].map(|endpoint| key(endpoint, 1));
        let mut all = Heartbeats::default();
        all.adopt(&[a.clone(), b.clone(), a.clone()], at(0));
        assert_eq!(told(&all).len(), 2, "one that is listed twice is one");
        assert_eq!(all.next_due(), Some(at(5000)), "the first beat is waited for");
        assert!(all.hear(&alive(&a, 2000), at(10)) && all.hear(&alive(&b, 1000), at(20)));
        assert!(!all.hear(&alive(&a, 2000), at(500)), "a renewal changes nothing");
        assert!(!all.hear(&alive(&key("c", 1), 2000), at(500)), "nobody waits for that one");
        assert_eq!(all.next_due(), Some(at(1020)));
        assert!(!all.wake(at(1019)) && all.wake(at(1020)));
        let why = "no heartbeat within the 1s that the last one was for".to_owned();
        assert_eq!(told(&all), [(Health::Up, None), (Health::Down, Some(why))]);
        assert_eq!(all.next_due(), Some(at(2500)));
        assert!(all.hear(&Beat { key: a, sign: Sign::Goodbye }, at(2000)));
        assert_eq!(told(&all)[0], (Health::Down, Some("it said goodbye".to_owned())));
        assert_eq!(all.next_due(), None, "nothing is left to happen by itself");
    }

    /// As [`key`], judged by its rhythm too.
    fn rhythmic(endpoint: &str) -> Arc<CheckKey> {
        let (zone, endpoint) = ("svc.example.".to_owned(), endpoint.to_owned());
        let spec = HeartbeatSpec { zone, endpoint, ttl: 5000 * MS, longest: 5000 * MS, phi: Some(8) };
        let monitor = Monitor { rise: 1, ..Monitor::new(ProbeKind::Heartbeat(spec)) };
        Arc::new(CheckKey { monitor, target: ProbeTarget::Nowhere })
    }

    #[test]
    fn the_rhythm_is_told_and_ends_a_beat() {
        let key = rhythmic("a");
        let mut all = Heartbeats::default();
        all.adopt(std::slice::from_ref(&key), at(0));
        let why = |all: &Heartbeats, ms| all.observations(at(ms)).next().and_then(|o| o.why).map(|why| why.to_string());
        for beat in 0..=20 {
            assert_eq!(why(&all, beat * 1000).is_some(), beat == 0, "nothing to tell of one that is up: {beat}");
            all.hear(&alive(&key, 5000), at(beat * 1000));
        }
        assert_eq!(why(&all, 20_000).as_deref(), Some("phi 0.0 of 8, a beat every 1.00 s"));
        assert_eq!(why(&all, 21_500).as_deref(), Some("phi 1.6 of 8, a beat every 1.00 s"));
        assert!(!all.wake(at(22_402)) && all.wake(at(22_404)), "after 2.403 s");
        assert_eq!(why(&all, 23_000).as_deref(), Some("no heartbeat for 2.40 s, where one came every 1.00 s (phi 8)"));
    }

    #[test]
    fn who_was_stopped_itself_judges_nobody_by_that_time() {
        let (plain, by_rhythm) = (key("plain", 1), rhythmic("rhythm"));
        let mut all = Heartbeats::default();
        all.adopt(&[plain.clone(), by_rhythm.clone()], at(0));
        for beat in 0..=20 {
            for key in [&plain, &by_rhythm] {
                all.hear(&alive(key, 5000), at(beat * 1000));
            }
        }
        let health = |all: &Heartbeats| all.observations(at(0)).map(|o| o.health).collect::<Vec<_>>();
        // The process is stopped for a minute.
        assert!(!all.wake(at(80_000)));
        assert_eq!(health(&all), [Health::Up, Health::Up]);
        all.hear(&alive(&by_rhythm, 5000), at(80_010));
        let due = all.next_due().map(|due| due.from_first().as_millis());
        assert_eq!(due, Some(82_413), "that minute is no part of the rhythm");
        assert!(all.wake(at(82_414)) && all.wake(at(85_000)), "and now silence counts");
        assert_eq!(health(&all), [Health::Down, Health::Down]);
    }

    #[test]
    fn who_always_wakes_late_sees_the_dead_all_the_same() {
        let key = key("a", 1);
        let mut all = Heartbeats::default();
        all.adopt(std::slice::from_ref(&key), at(0));
        all.hear(&alive(&key, 1000), at(0));
        assert!(!all.wake(at(3000)) && all.wake(at(7000)), "forgiven once");
    }

    #[test]
    fn a_new_plan_keeps_what_was_heard() {
        let (a, stricter, b) = (key("a", 1), key("a", 3), key("b", 1));
        let mut all = Heartbeats::default();
        all.adopt(std::slice::from_ref(&a), at(0));
        all.hear(&alive(&a, 3000), at(10));
        // As on a reload: both for a while, then the new one alone.
        all.adopt(&[a, stricter.clone(), b], at(1000));
        assert_eq!(
            told(&all).iter().map(|(health, _)| *health).collect::<Vec<_>>(),
            [Health::Up, Health::Up, Health::Unknown]
        );
        all.adopt(&[stricter], at(1010));
        assert_eq!((told(&all), all.next_due()), (vec![(Health::Up, None)], Some(at(3010))));
    }

    #[test]
    fn too_many_beats_at_once_are_refused() {
        let (beats, mut heard) = Beats::channel();
        let beat = alive(&key("a", 1), 1000);
        for _ in 0..MAX_WAITING {
            assert_eq!(beats.send(&beat), Ok(()));
        }
        assert_eq!(beats.send(&beat), Err(Busy));
        heard.try_recv().unwrap();
        assert_eq!(beats.send(&beat), Ok(()));
        drop(heard);
        assert_eq!(beats.send(&beat), Ok(()), "a prober that stopped refuses nothing");
    }
}
