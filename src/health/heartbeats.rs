//! All heartbeats that one prober hears: who beats, when which of them ends, and what is believed of each, in the form
//! that probed checks have. A value: it is told the time and what was said. The prober owns one; [`Beats`] is the way
//! in, from the HTTP API.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::health::{Heartbeat, Observation, Sign, Transition};
use crate::model::{CheckKey, Health, HeartbeatSpec, Moment};

/// Beats that wait for a prober at a time; further ones are refused, and their senders try again. Judgment: more than a
/// hundred ms of a prober's work, and a second of beats of a large region.
const MAX_WAITING: usize = 4096;

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

    /// Takes in what was said at `now`; whether that changed a verdict. What nobody waits for is not heard.
    pub fn hear(&mut self, beat: &Beat, now: Moment) -> bool {
        let Some(nth) = self.index.get(&beat.key).copied() else { return false };
        let changed = self.known[nth].heartbeat.hear(beat.sign, now);
        self.settle(nth);
        self.tell(nth, changed)
    }

    /// Looks at all that time may have changed by `now`; whether it did.
    pub fn wake(&mut self, now: Moment) -> bool {
        let mut has_changed = false;
        while let Some((due, nth)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, nth));
            self.known[nth].due = None;
            let changed = self.known[nth].heartbeat.wake(now);
            self.settle(nth);
            has_changed |= self.tell(nth, changed);
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

    /// What is believed of each.
    pub fn observations(&self) -> impl Iterator<Item = Observation> {
        self.known.iter().map(Known::observation)
    }

    fn settle(&mut self, nth: usize) {
        let known = &mut self.known[nth];
        if let Some(due) = known.due.take() {
            self.due.remove(&(due, nth));
        }
        known.due = known.heartbeat.deadline();
        self.due.extend(known.due.map(|due| (due, nth)));
    }

    fn tell(&self, nth: usize, changed: Option<Transition>) -> bool {
        if let Some(Transition { from, to }) = changed {
            let known = &self.known[nth];
            let endpoint = spec_of(&known.key).map_or("", |spec| &spec.endpoint);
            let why = known.why().unwrap_or_else(|| "a heartbeat came".into());
            tracing::info!(
                check = "heartbeat",
                endpoint,
                from = from.as_str(),
                to = to.as_str(),
                why,
                "health changed"
            );
        }
        changed.is_some()
    }
}

impl Known {
    fn observation(&self) -> Observation {
        Observation {
            key: Arc::clone(&self.key),
            health: self.heartbeat.health(),
            tried: self.heartbeat.health() != Health::Unknown,
            srtt: None,
            rttvar: None,
            probed_at: self.heartbeat.last().map(|(at, _)| at),
            // The service may say goodbye at any moment.
            may_change_in: Duration::ZERO,
            why: self.why().map(Into::into),
            hold: None,
        }
    }

    /// Why it isn't up.
    fn why(&self) -> Option<String> {
        match (self.heartbeat.health(), self.heartbeat.last()) {
            (Health::Up, _) => None,
            (_, None) => Some("no heartbeat was heard yet".to_owned()),
            (_, Some((_, Sign::Goodbye))) => Some("it said goodbye".to_owned()),
            (_, Some((_, Sign::Alive { ttl }))) => {
                Some(format!("no heartbeat within the {} that the last one was for", humantime::format_duration(ttl)))
            }
        }
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
        let kind = ProbeKind::Heartbeat(HeartbeatSpec { zone, endpoint, ttl, longest: ttl });
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
        let health = |heartbeats: &Heartbeats| heartbeats.observations().map(|o| o.health).collect::<Vec<_>>();
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
        heartbeats.observations().map(|o| (o.health, o.why.as_deref().map(str::to_owned))).collect()
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
