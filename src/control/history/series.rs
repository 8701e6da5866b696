//! The series of endpoints: answers a second, and the RTT of each region. An endpoint that a reload removed stays until
//! its last value is an hour old.

use std::collections::HashMap;
use std::time::Duration;

use super::ring::Ring;
use super::{Label, MAX_SERIES, SAMPLES, rate};
use crate::model::{Endpoint, Model};
use crate::snapshot::Snapshot;

/// What a series measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SeriesKind {
    /// How often an endpoint was in a reply, a second.
    Answers,
    /// RTT of a region to an endpoint, in milliseconds.
    Rtt,
}

impl SeriesKind {
    pub(super) const ALL: [SeriesKind; 2] = [SeriesKind::Answers, SeriesKind::Rtt];

    /// The word in the API.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            SeriesKind::Answers => "answers",
            SeriesKind::Rtt => "rtt",
        }
    }
}

/// Which series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SeriesKey {
    pub(super) kind: SeriesKind,
    /// The zone, with the final dot.
    pub(super) zone: Label,
    pub(super) endpoint: Label,
    /// For an RTT the region that measured it.
    pub(super) from: Option<Label>,
}

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    /// The endpoint's region at the last sample.
    pub(super) region: Option<Label>,
    pub(super) ring: Ring,
    /// The value of the next sample.
    pending: f32,
    /// The last reading of a counter.
    count: Option<u64>,
    /// Whether the sample that is being made has it.
    is_sampled: bool,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    series: HashMap<SeriesKey, Series>,
    /// How many series the last sample had no room for.
    pub(super) left_out: usize,
}

impl SeriesTable {
    /// Adds a value to each series. `steps` is how many steps after the last sample this one is, at least 1; `time` is
    /// how long ago that was.
    pub(super) fn sample(&mut self, snapshot: &Snapshot, picks: &[u64], steps: usize, time: Option<Duration>) {
        let (model, view) = (&*snapshot.model, &*snapshot.view);
        self.left_out = 0;
        let labels = Labels::of(model);
        let counts = &snapshot.tallies.by_endpoint(picks);
        for (endpoint, name) in model.endpoints.iter().zip(&labels.endpoints) {
            let zone = &labels.zones[endpoint.zone.0 as usize];
            let region = endpoint.region.map(|region| labels.regions[region.0 as usize].clone());
            let key = |kind, from| SeriesKey { kind, zone: zone.clone(), endpoint: name.clone(), from };
            if let Some(count) = counts.get(&(&**zone, &*endpoint.name)) {
                self.count(key(SeriesKind::Answers, None), &region, *count, time);
            }
            for (from, rtt) in view.rtts_of(endpoint) {
                let from = labels.regions[from.0 as usize].clone();
                let ms = (rtt.as_secs_f64() * 1000.0) as f32;
                if let Some(series) = self.series(key(SeriesKind::Rtt, Some(from)), &region) {
                    series.pending = ms;
                }
            }
        }
        self.series.retain(|_, series| {
            for _ in 1..steps.min(SAMPLES) {
                series.ring.push(f32::NAN);
            }
            series.ring.push(std::mem::replace(&mut series.pending, f32::NAN));
            if !std::mem::take(&mut series.is_sampled) {
                series.count = None;
            }
            series.count.is_some() || !series.ring.is_empty()
        });
    }

    fn count(&mut self, key: SeriesKey, region: &Option<Label>, count: u64, time: Option<Duration>) {
        if let Some(series) = self.series(key, region) {
            let before = series.count.replace(count);
            let value = before.zip(time).and_then(|(before, time)| rate(count, before, time));
            series.pending = value.unwrap_or(f32::NAN);
        }
    }

    fn series(&mut self, key: SeriesKey, region: &Option<Label>) -> Option<&mut Series> {
        if self.series.len() >= MAX_SERIES && !self.series.contains_key(&key) {
            self.left_out += 1;
            return None;
        }
        let new =
            || Series { region: None, ring: Ring::new(SAMPLES), pending: f32::NAN, count: None, is_sampled: false };
        let series = self.series.entry(key).or_insert_with(new);
        series.region.clone_from(region);
        series.is_sampled = true;
        Some(series)
    }

    /// Every series, in the order of their keys.
    pub(super) fn sorted(&self) -> Vec<(&SeriesKey, &Series)> {
        let mut all: Vec<_> = self.series.iter().collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }
}

/// The texts of a model, made once for each sample.
struct Labels {
    zones: Vec<Label>,
    regions: Vec<Label>,
    endpoints: Vec<Label>,
}

impl Labels {
    fn of(model: &Model) -> Labels {
        Labels {
            zones: model.zones.iter().map(|zone| zone.apex.to_string().into()).collect(),
            regions: model.regions.iter().map(|region| region.name.as_str().into()).collect(),
            endpoints: model.endpoints.iter().map(|Endpoint { name, .. }| name.as_str().into()).collect(),
        }
    }
}
