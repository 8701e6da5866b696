//! The problems and warnings at the top of the page, one sentence each, the worst first.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::escape;
use super::regions::override_text;
use crate::control::feeds::{FeedLevel, feeds};
use crate::control::names::NameReport;
use crate::control::overrides::{OverrideReport, OverrideSpread, utc};
use crate::control::status::{EndpointStatus, Status};
use crate::control::unsaved::UnsavedFile;

/// Most sentences on the page; the rest is counted (judgment: `portolan status` shows more).
const SHOWN: usize = 30;

/// How bad a problem is. It is the CSS class of the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Down,
    Warning,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Down => "down",
            Level::Warning => "warning",
        }
    }

    /// The label of the sentence, for readers who see no colour.
    fn label(self) -> &'static str {
        match self {
            Level::Down => "Bad",
            Level::Warning => "Note",
        }
    }
}

/// Writes the sentences, or one sentence that all is well.
pub(super) fn write(html: &mut String, status: &Status, names: &[NameReport]) {
    let mut alerts = Vec::new();
    files(&mut alerts, status);
    unsaved(&mut alerts, status);
    vantages(&mut alerts, status);
    of_feeds(&mut alerts, status);
    of_names(&mut alerts, names);
    overrides(&mut alerts, status);
    if alerts.is_empty() {
        html.push_str("<p class=\"calm\">Every name gives what its policy prefers; nothing is overridden.</p>\n");
        return;
    }
    alerts.sort_by_key(|(level, _)| *level);
    html.push_str("<ul class=\"alerts\">\n");
    for (level, text) in alerts.iter().take(SHOWN) {
        let (class, label, text) = (level.as_str(), level.label(), escape(text));
        let _ = writeln!(html, "<li class=\"{class}\"><strong>{label}:</strong> {text}</li>");
    }
    if let Some(more) = alerts.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(html, "<li>and {more} more</li>");
    }
    html.push_str("</ul>\n");
}

type Alerts = Vec<(Level, String)>;

fn files(alerts: &mut Alerts, status: &Status) {
    if status.reload.ok {
        return;
    }
    let problem = status.reload.problems.iter().find(|problem| problem.severity == "error");
    let problem = problem.or(status.reload.problems.first());
    let which = problem.map_or(String::new(), |p| format!(": {}:{}:{}: {}", p.file, p.line, p.column, p.message));
    alerts.push((Level::Down, format!("the files have problems and an earlier generation is served{which}")));
}

fn unsaved(alerts: &mut Alerts, status: &Status) {
    for unsaved in &status.unsaved {
        let UnsavedFile { file, content, since, .. } = unsaved;
        let (since, why) = (utc(*since), unsaved.why());
        alerts.push((Level::Down, format!("not on disk since {since}: {content} ({file}: {why})")));
    }
}

fn vantages(alerts: &mut Alerts, status: &Status) {
    for vantage in &status.vantages {
        let (name, region) = (&vantage.name, &vantage.region);
        match (vantage.state.as_str(), &vantage.why, vantage.age_ms) {
            ("blind", why, _) => {
                let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                let text = format!("vantage {name} ({region}) is blind, so its verdicts stay as they were{why}");
                alerts.push((Level::Down, text));
            }
            ("stale", _, age) => {
                let age = age.map_or(String::new(), |age| format!(", the last one {} s ago", age / 1000));
                alerts.push((Level::Down, format!("vantage {name} ({region}) sends no reports{age}")));
            }
            _ => {}
        }
    }
}

/// Sources, sinks and followed streams.
fn of_feeds(alerts: &mut Alerts, status: &Status) {
    for feed in feeds(status) {
        let level = if feed.level == FeedLevel::Bad { Level::Down } else { Level::Warning };
        alerts.extend(feed.sentence().map(|text| (level, text)));
    }
}

fn of_names(alerts: &mut Alerts, names: &[NameReport]) {
    for name in names {
        let level = if name.on_empty { Level::Down } else { Level::Warning };
        alerts.extend(name.notes.iter().map(|note| (level, format!("{note} [{}]", name.zone))));
    }
}

/// What operators and the policy files took out of service, once for each target.
fn overrides(alerts: &mut Alerts, status: &Status) {
    let endpoints = || status.zones.iter().flat_map(|zone| &zone.endpoints);
    let by_target: BTreeMap<&str, &OverrideReport> = endpoints()
        .filter_map(|endpoint| endpoint.overridden.as_ref())
        .map(|entry| (entry.target.as_str(), entry))
        .collect();
    for (target, entry) in by_target {
        let what = match target.strip_prefix("region:") {
            Some(region) => format!("region {region}"),
            None => target.to_owned(),
        };
        let spread = entry.fleet.as_ref().and_then(OverrideSpread::problem);
        let spread = spread.map_or(String::new(), |why| format!(" ({why})"));
        alerts.push((Level::Warning, format!("{what} is {}{spread}", override_text(entry))));
    }
    let by_file = |endpoint: &&EndpointStatus| endpoint.state.is_some() && endpoint.overridden.is_none();
    for endpoint in endpoints().filter(by_file) {
        let state = endpoint.state.as_deref().unwrap_or_default();
        let state = if state == "drain" { "drained" } else { state };
        alerts.push((Level::Warning, format!("{} is {state} by the policy file", endpoint.name)));
    }
}
