//! The sources of endpoints that come and go (`[discover.NAME]`), as the API and metrics show them.

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::discovery::{SourceState, Stating};
use crate::model::{Model, Moment};

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceReport {
    /// `discover.NAME`.
    pub name: String,
    /// The zone whose policy declares it, with the final dot.
    #[serde(default)]
    pub zone: String,
    /// `consul`, `etcd`, `dns` or `http`.
    #[serde(rename = "type")]
    pub of: String,
    /// `ok`; `away`: it does not answer; `kept`: too much disappeared at once, and stays; `bad`: what it sends can't be
    /// used.
    pub state: String,
    /// How long ago the endpoints were what it lists: of `http` and `dns` the time since the last whole reply, of the
    /// others 0 while it is followed. Absent if it never answered.
    pub age_ms: Option<u64>,
    /// How many endpoints it has in its pool.
    pub endpoints: usize,
    /// How many entries of its list are no endpoints: `problem` says why. Of these only those count for
    /// `min_keep` whose names another source has.
    #[serde(default)]
    pub left_out: usize,
    /// When its state or what it lists changed last, in Unix seconds; absent if neither did since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<f64>,
    /// What is wrong, and what to do; absent if nothing is.
    pub problem: Option<String>,
}

/// A source as the daemon knows it.
#[derive(Debug, Clone)]
pub struct SourceEntry {
    /// All but the age.
    pub report: SourceReport,
    /// The state.
    pub state: SourceState,
    /// When its endpoints were what it lists, where that is not now.
    pub known_at: Option<Moment>,
    /// Endpoints that stay although it does not list them.
    pub withdrawn: Vec<String>,
}

impl SourceEntry {
    /// How old its list is, in milliseconds; `None`: there was none.
    pub(crate) fn age_ms(&self, now: Moment) -> Option<u64> {
        self.report.age_ms.or(self.known_at.map(|at| now.since(at).as_millis() as u64))
    }
}

/// The sources in the running server.
#[derive(Debug, Default)]
pub struct SourceBoard {
    /// In the order of the model.
    pub entries: ArcSwap<Vec<SourceEntry>>,
    /// What they state.
    pub stating: ArcSwap<Stating>,
}

impl SourceBoard {
    /// All sources at `now`, with what of their endpoints is not in the model that is served.
    pub fn reports(&self, model: &Model, now: Moment) -> Vec<SourceReport> {
        let entries = self.entries.load();
        let report = |entry: &SourceEntry| {
            let SourceReport { name, zone, problem, .. } = &entry.report;
            let is_it = |source: &usize| {
                model.sources.get(*source).is_some_and(|of| of.shown() == *name && of.zone.to_string() == *zone)
            };
            let of_model = (0..model.sources.len()).find(is_it);
            let not_added = of_model.and_then(|source| model.not_added.get(&(source as u32)));
            let of_source = |of: &&crate::model::Endpoint| {
                of.discovered.as_ref().is_some_and(|of| Some(of.source as usize) == of_model)
            };
            let problems: Vec<&str> =
                [problem.as_deref(), not_added.map(|of| &*of.why)].into_iter().flatten().collect();
            SourceReport {
                age_ms: entry.age_ms(now),
                endpoints: model.endpoints.iter().filter(of_source).count(),
                left_out: entry.report.left_out + not_added.map_or(0, |of| of.count),
                problem: (!problems.is_empty()).then(|| problems.join("; ")),
                ..entry.report.clone()
            }
        };
        entries.iter().map(report).collect()
    }
}
