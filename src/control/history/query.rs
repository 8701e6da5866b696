//! The query of `/v1/history`, and the selection of series.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::IntoParams;

use super::report::{HistoryReport, SeriesReport};
use super::series::{Series, SeriesKey, SeriesKind};
use super::{History, HistoryData, Label, SAMPLES, STEP};
use crate::control::openapi::schemas;

/// Most series of a response: a megabyte (judgment: a chart with more lines can't be read).
pub(in crate::control) const MAX_LIMIT: usize = 400;

/// Series of a response without `limit` (judgment).
const LIMIT: usize = 100;

/// The query.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub(in crate::control) struct HistoryQuery {
    /// `answers` or `rtt`; empty: both.
    #[param(schema_with = kinds)]
    pub(super) kind: String,
    /// Only endpoints of this zone.
    pub(super) zone: String,
    /// Only endpoints of this region.
    pub(super) region: String,
    /// Only endpoints of this name.
    pub(super) endpoint: String,
    /// Only RTTs that this region measured.
    pub(super) from: String,
    /// `endpoint`, or `region` for one series for all endpoints of a region: the sum of answers, the median of RTTs.
    #[param(schema_with = parts)]
    pub(super) by: String,
    /// Most series.
    #[param(maximum = 400)]
    pub(super) limit: Option<usize>,
}

fn kinds() -> utoipa::openapi::Schema {
    let [first, second] = SeriesKind::ALL.map(SeriesKind::as_str);
    schemas::one_of("Only series of this kind", ["", first, second])
}

fn parts() -> utoipa::openapi::Schema {
    schemas::one_of("One series for each endpoint, or for all endpoints of a region", ["", "endpoint", "region"])
}

impl HistoryQuery {
    /// Whether the values are possible; the error says which are.
    pub(super) fn check(&self) -> Result<(), String> {
        let kinds = SeriesKind::ALL.map(SeriesKind::as_str);
        if !self.kind.is_empty() && !kinds.contains(&&*self.kind) {
            return Err(format!("kind is {}; found `{}`", kinds.join(" or "), self.kind));
        }
        if !["", "endpoint", "region"].contains(&&*self.by) {
            return Err(format!("by is endpoint or region; found `{}`", self.by));
        }
        match self.limit {
            Some(limit) if limit > MAX_LIMIT => Err(format!("limit is at most {MAX_LIMIT}; found {limit}")),
            Some(_) | None => Ok(()),
        }
    }

    fn matches(&self, key: &SeriesKey, series: &Series) -> bool {
        let is = |wanted: &str, known: &str| wanted.is_empty() || wanted == known;
        let is_zone = |wanted: &str| is(wanted.trim_end_matches('.'), key.zone.trim_end_matches('.'));
        is(&self.kind, key.kind.as_str())
            && is_zone(&self.zone)
            && is(&self.endpoint, &key.endpoint)
            && is(&self.region, series.region.as_deref().unwrap_or_default())
            && (key.from.is_none() || is(&self.from, key.from.as_deref().unwrap_or_default()))
    }
}

impl History {
    /// The series that a query selects.
    pub(super) fn report(&self, query: &HistoryQuery) -> HistoryReport {
        let data = self.data();
        let mut report = HistoryReport {
            end: data.last_sample.map(|(_, _, unix)| unix),
            step_s: STEP.as_secs(),
            qps: data.rates.values().map(present).collect(),
            not_stored: data.series.left_out,
            ..HistoryReport::default()
        };
        let mut series = match query.by == "region" {
            true => by_region(&data, query),
            false => by_endpoint(&data, query),
        };
        let limit = query.limit.unwrap_or(LIMIT);
        report.left_out = series.len().saturating_sub(limit);
        series.truncate(limit);
        report.series = series.into_iter().map(Selected::report).collect();
        report
    }
}

/// A series before its values are copied.
struct Selected<'d> {
    kind: SeriesKind,
    zone: Option<Label>,
    endpoint: Option<Label>,
    region: Option<Label>,
    from: Option<Label>,
    of: Vec<&'d Series>,
}

impl Selected<'_> {
    fn report(self) -> SeriesReport {
        let text = |label: Option<Label>| label.map(|label| label.to_string());
        let Selected { kind, zone, endpoint, region, from, of } = self;
        SeriesReport {
            kind: kind.as_str().to_owned(),
            zone: text(zone),
            endpoint: text(endpoint),
            region: text(region),
            from: text(from),
            values: joined(kind, &of),
        }
    }
}

fn by_endpoint<'d>(data: &'d HistoryData, query: &HistoryQuery) -> Vec<Selected<'d>> {
    let all = data.series.sorted().into_iter().filter(|(key, series)| query.matches(key, series));
    let selected = all.map(|(key, series)| Selected {
        kind: key.kind,
        zone: Some(key.zone.clone()),
        endpoint: Some(key.endpoint.clone()),
        region: series.region.clone(),
        from: key.from.clone(),
        of: vec![series],
    });
    selected.collect()
}

fn by_region<'d>(data: &'d HistoryData, query: &HistoryQuery) -> Vec<Selected<'d>> {
    let mut groups: BTreeMap<_, Vec<&Series>> = BTreeMap::new();
    for (key, series) in data.series.sorted().into_iter().filter(|(key, series)| query.matches(key, series)) {
        groups.entry((key.kind, series.region.clone(), key.from.clone())).or_default().push(series);
    }
    let selected = groups.into_iter().map(|((kind, region, from), of)| Selected {
        kind,
        zone: None,
        endpoint: None,
        region,
        from,
        of,
    });
    selected.collect()
}

/// The sum of answers or the median of RTTs, value by value.
fn joined(kind: SeriesKind, of: &[&Series]) -> Vec<Option<f32>> {
    if let [one] = of {
        return one.ring.values().map(present).collect();
    }
    let columns: Vec<Vec<f32>> = of.iter().map(|series| series.ring.values().collect()).collect();
    let at = |sample: usize| {
        let mut values: Vec<f32> =
            columns.iter().map(|column| column[sample]).filter(|value| !value.is_nan()).collect();
        values.sort_by(f32::total_cmp);
        match kind {
            _ if values.is_empty() => None,
            SeriesKind::Answers => present(values.iter().sum()),
            SeriesKind::Rtt => present(values[values.len() / 2]),
        }
    };
    (0..SAMPLES).map(at).collect()
}

/// A value with three decimals; `None` if it is missing.
fn present(value: f32) -> Option<f32> {
    value.is_finite().then(|| (value * 1000.0).round() / 1000.0)
}
