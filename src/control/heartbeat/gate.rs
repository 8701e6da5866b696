//! Finds the heartbeat checks of an endpoint, and bounds how often heartbeats of it are taken. A heartbeat costs about
//! the same whatever the model has: an index is made once for each model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::control::names::cache::is_of;
use crate::health::Sign;
use crate::model::{Answerable, Check, CheckId, CheckKey, Endpoint, HeartbeatSpec, Model, Moment};
use crate::rate::Rate;

/// How many heartbeats of an endpoint are taken. The shortest ttl is 100 ms; judgment: a service that needs all of it
/// sends ten in a ttl at most, through all its checks and processes. The burst is what waits in a network that was slow
/// for a second.
const BEATS: Rate = Rate::new(Duration::from_millis(10), 100);
/// How many of its goodbyes are taken. Each one can change the verdict at once, without damping, and a change is an
/// event in the log of events, which all endpoints share. Judgment: ten are enough for a service that is restarted
/// again and again by hand. One whose goodbye is refused counts as silent after its ttl.
const GOODBYES: Rate = Rate::new(Duration::from_secs(10), 10);

/// The messages of an endpoint come too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// After this time the next one is taken.
    pub(super) wait: Duration,
}

/// A heartbeat check, and what its monitor says.
pub(crate) type HeartbeatCheck<'a> = (&'a Arc<CheckKey>, &'a HeartbeatSpec);

/// The index and the rates, for the model that was served last.
#[derive(Debug, Default)]
pub(crate) struct BeatGate(Mutex<Option<Arc<EndpointIndex>>>);

impl BeatGate {
    /// The index of `model`. The first call for a model makes it, which takes some ms for 100,000 endpoints.
    pub(crate) fn index(&self, model: &Arc<Model>) -> Arc<EndpointIndex> {
        let mut latest = lock(&self.0);
        match &*latest {
            Some(index) if is_of(&index.model, model) => Arc::clone(index),
            Some(_) | None => Arc::clone(latest.insert(Arc::new(EndpointIndex::new(model)))),
        }
    }
}

/// The endpoints of a model by name.
#[derive(Debug)]
pub(crate) struct EndpointIndex {
    /// Weak: after a reload the model before is freed, whether or not there is another heartbeat.
    model: Weak<Model>,
    /// Positions of endpoints, in the order of their names.
    by_name: Vec<u32>,
    /// For each endpoint.
    free_at: Mutex<Vec<FreeAt>>,
}

/// The state of both rates.
#[derive(Debug, Clone, Copy)]
struct FreeAt {
    beats: Moment,
    goodbyes: Moment,
}

impl EndpointIndex {
    fn new(model: &Arc<Model>) -> EndpointIndex {
        let mut by_name: Vec<u32> = (0..model.endpoints.len() as u32).collect();
        by_name.sort_by_key(|position| &*model.endpoints[*position as usize].name);
        let free_at = Mutex::new(vec![FreeAt { beats: Moment::START, goodbyes: Moment::START }; by_name.len()]);
        EndpointIndex { model: Arc::downgrade(model), by_name, free_at }
    }

    /// The endpoints of this name, one for each zone that has it, with their positions. `model` is that of the index.
    pub(crate) fn named<'a>(
        &'a self,
        model: &'a Model,
        name: &'a str,
    ) -> impl Iterator<Item = (u32, &'a Endpoint)> + Clone {
        let endpoint = |position: u32| &model.endpoints[position as usize];
        let begin = self.by_name.partition_point(|position| endpoint(*position).name.as_str() < name);
        let rest = self.by_name[begin..].iter().map(move |position| (*position, endpoint(*position)));
        rest.take_while(move |(_, endpoint)| endpoint.name == name)
    }

    /// Counts a message of the endpoint at this position. The error: it is one too many, and is not to be taken.
    pub(crate) fn take(&self, position: u32, sign: &Sign, now: Moment) -> Result<(), TooOften> {
        let mut all = lock(&self.free_at);
        let Some(free_at) = all.get_mut(position as usize) else { return Ok(()) };
        let result = match sign {
            Sign::Alive { .. } => BEATS.take(&mut free_at.beats, now),
            Sign::Goodbye => GOODBYES.take(&mut free_at.goodbyes, now),
        };
        result.map_err(|wait| TooOften { wait })
    }
}

/// The heartbeat checks of an endpoint, each once.
pub(crate) fn heartbeats<'a>(model: &'a Model, endpoint: &Endpoint) -> Vec<HeartbeatCheck<'a>> {
    let mut found: Vec<HeartbeatCheck<'a>> = Vec::new();
    let mut left: Vec<CheckId> = endpoint.answerables.iter().flat_map(Answerable::checks).collect();
    while let Some(id) = left.pop() {
        let Check { key, parts } = &model.checks[id.0 as usize];
        left.extend(parts);
        let is_new = found.iter().all(|(known, _)| *known != key);
        found.extend(key.monitor.kind.heartbeat().filter(|_| is_new).map(|spec| (key, spec)));
    }
    found
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world;
    use crate::model::{Monitor, ProbeKind, ProbeTarget};

    /// `fra1` has a heartbeat monitor.
    fn model() -> Arc<Model> {
        let ttl = Duration::from_secs(5);
        let spec = HeartbeatSpec { zone: "svc.example.".into(), endpoint: "fra1".into(), ttl, longest: ttl, phi: None };
        let monitor = Monitor::new(ProbeKind::Heartbeat(spec));
        let mut model = test_world::model();
        model.checks[0] = Check::new(Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere }));
        Arc::new(model)
    }

    const ALIVE: Sign = Sign::Alive { ttl: Duration::from_secs(5) };

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn endpoints_are_found_by_name_with_their_heartbeat_checks() {
        let (gate, model) = (BeatGate::default(), model());
        let index = gate.index(&model);
        for (name, count) in [("fra1", 1), ("nyc", 0), ("plain", 0)] {
            let found: Vec<_> = index.named(&model, name).collect();
            let [(_, endpoint)] = found[..] else { panic!("{name}: {}", found.len()) };
            assert_eq!((endpoint.name.as_str(), heartbeats(&model, endpoint).len()), (name, count));
        }
        assert!(["", "fra", "fra11", "z"].iter().all(|name| index.named(&model, name).count() == 0));
        assert!(Arc::ptr_eq(&index, &gate.index(&model)), "made once for a model");
        assert!(!Arc::ptr_eq(&index, &gate.index(&self::model())));
    }

    #[test]
    fn one_endpoint_that_beats_too_often_takes_nothing_from_another() {
        let index = BeatGate::default().index(&model());
        let taken = |position, now, count| (0..count).filter(|_| index.take(position, &ALIVE, now).is_ok()).count();
        assert_eq!(taken(0, at(0), 1000), 100);
        assert_eq!(taken(1, at(0), 10), 10);
        assert_eq!(taken(0, at(1000), 1000), 100);
        let in_a_minute: usize = (0..60_000).map(|ms| taken(0, at(2000 + ms), 1)).sum();
        assert!((6000..=6100).contains(&in_a_minute), "{in_a_minute}");
    }

    #[test]
    fn goodbyes_have_a_rate_of_their_own_and_the_refusal_has_the_time_to_wait() {
        let index = BeatGate::default().index(&model());
        let goodbyes = |now, count| (0..count).filter(|_| index.take(0, &Sign::Goodbye, now).is_ok()).count();
        assert_eq!(goodbyes(at(0), 1000), 10);
        assert_eq!(index.take(0, &Sign::Goodbye, at(4000)), Err(TooOften { wait: Duration::from_secs(6) }));
        assert_eq!(index.take(0, &ALIVE, at(4000)), Ok(()), "heartbeats go on");
        assert_eq!(index.take(0, &Sign::Goodbye, at(10_000)), Ok(()));
        let in_an_hour: usize = (0..3600).map(|second| goodbyes(at(20_000 + second * 1000), 5)).sum();
        assert!((360..=370).contains(&in_an_hour), "{in_an_hour}");
    }
}
