//! What is wrong, in sentences, the worst first. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::overrides::effect;
use crate::cli::text;
use crate::control::feeds::{FeedLevel, counted, feeds};
use crate::control::names::NameReport;
use crate::control::overrides::{OverrideReport, OverrideSpread, utc};
use crate::control::status::{EndpointStatus, Status};
use crate::drill::DrillStatus;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlertLevel {
    Bad,
    Note,
    Drill,
    Override,
}

impl AlertLevel {
    /// The label of a sentence, for readers who see no colour.
    pub(super) fn label(self) -> &'static str {
        match self {
            AlertLevel::Bad => "Bad",
            AlertLevel::Note => "Note",
            AlertLevel::Drill => "Drill",
            AlertLevel::Override => "Override",
        }
    }
}

/// A problem and its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) level: AlertLevel,
    pub(super) text: String,
}

/// All problems of a status. `away` are the names that are not as preferred, `down` the regions that are down, with the
/// number of their endpoints.
pub(super) fn problems(status: &Status, away: &[NameReport], down: &[(&str, usize)]) -> Vec<Alert> {
    let mut all = Vec::new();
    let mut add = |level, text| all.push(Alert { level, text });
    vantages(status, &mut add);
    if let Some(fleet) = status.fleet.as_ref().filter(|fleet| !fleet.nats.is_connected()) {
        let why = fleet.nats.problem.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let since = text::span(Duration::from_millis(fleet.nats.for_ms));
        add(AlertLevel::Note, format!("no connection to NATS for {since}{why}"));
    }
    files(status, &mut add);
    for feed in feeds(status) {
        let level = if feed.level == FeedLevel::Bad { AlertLevel::Bad } else { AlertLevel::Note };
        if let Some(text) = feed.sentence() {
            add(level, text);
        }
    }
    for (region, all) in down {
        add(AlertLevel::Bad, format!("region {region} is down: {}", counted(*all as u64, "endpoint")));
    }
    for name in away {
        let level = if name.on_empty { AlertLevel::Bad } else { AlertLevel::Note };
        name.notes.iter().for_each(|note| add(level, format!("{note} [{}]", name.zone)));
    }
    if let Some(drill) = status.drill.as_ref().filter(|drill| drill.restored_at.is_none()) {
        let DrillStatus { target, who, ends_at, phase, .. } = drill;
        let (what, until) = (drill.drill.as_str(), utc(*ends_at));
        let only = "its endpoints count as lost only for the drill";
        add(AlertLevel::Drill, format!("{what} {target} by {who}, {phase}, until {until}: {only}"));
    }
    overrides(status, &mut add);
    all.sort_by_key(|alert| alert.level);
    all
}

fn vantages(status: &Status, add: &mut impl FnMut(AlertLevel, String)) {
    for vantage in status.vantages.iter().filter(|vantage| vantage.state != "up") {
        let (name, region) = (&vantage.name, &vantage.region);
        let why = vantage.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let last = vantage.age_ms.map(|age| text::span(Duration::from_millis(age)));
        let last = last.map_or(String::new(), |age| format!(", the last one {age} ago"));
        add(
            AlertLevel::Bad,
            match vantage.state == "blind" {
                true => format!("vantage {name} ({region}) is blind, so its verdicts stay as they were{why}"),
                false => format!("vantage {name} ({region}) sends no reports{last}"),
            },
        );
    }
}

fn files(status: &Status, add: &mut impl FnMut(AlertLevel, String)) {
    if !status.reload.ok {
        let all = &status.reload.problems;
        let first = all.iter().find(|problem| problem.severity == "error").or(all.first());
        let which =
            first.map_or(String::new(), |at| format!(": {}:{}:{}: {}", at.file, at.line, at.column, at.message));
        add(AlertLevel::Bad, format!("the files have problems and an earlier generation is served{which}"));
    }
    for zone in &status.zones {
        let what = match zone.files.state.as_str() {
            "kept" => "its last good version is served",
            "unserved" => "it is not served",
            "vanished" => "it has disappeared from the files and is still served",
            _ => continue,
        };
        add(AlertLevel::Bad, format!("zone {}: {what}", zone.zone));
    }
    for unsaved in &status.unsaved {
        let (since, content, file) = (utc(unsaved.since), &unsaved.content, &unsaved.file);
        add(AlertLevel::Bad, format!("not on disk since {since}: {content} ({file}: {})", unsaved.why()));
    }
}

/// What operators and files took out of service, once for each target.
fn overrides(status: &Status, add: &mut impl FnMut(AlertLevel, String)) {
    let all = || status.zones.iter().flat_map(|zone| &zone.endpoints);
    let entries = all().filter_map(|endpoint| endpoint.overridden.as_ref());
    let by_target: BTreeMap<&str, &OverrideReport> = entries.map(|entry| (entry.target.as_str(), entry)).collect();
    for (target, entry) in by_target {
        let state = effect(&entry.state);
        let until = entry.until.map_or(String::new(), |until| format!(", until {}", utc(until)));
        let spread = entry.fleet.as_ref().and_then(OverrideSpread::problem);
        let spread = spread.map_or(String::new(), |why| format!(" ({why})"));
        let OverrideReport { who, why, .. } = entry;
        add(AlertLevel::Override, format!("{target} is {state} by {who}: {why}{until}{spread}"));
    }
    let by_file = |endpoint: &&EndpointStatus| endpoint.state.is_some() && endpoint.overridden.is_none();
    for endpoint in all().filter(by_file) {
        let state = endpoint.state.as_deref().unwrap_or_default();
        let state = if state == "drain" { "drained" } else { state };
        add(AlertLevel::Override, format!("{} is {state} by the policy file", endpoint.name));
    }
}
