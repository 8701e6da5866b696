//! `portolan status`: what each name is answered with, and the health of every endpoint as each vantage observes it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::cli::args::ServerArg;
use crate::cli::{Failure, Format, fleet, follows, names, overrides, sinks, sources, text};
use crate::clock;
use crate::control::JournalEvent;
use crate::control::idle::{IdleOverride, MOST_IDLE};
use crate::control::leases::LeaseReport;
use crate::control::names::NameReport;
use crate::control::overrides::OverrideReport;
use crate::control::regions::{RegionReport, basis_why};
use crate::control::status::{CheckReport, EndpointStatus, FilesStatus, Status, ZoneStatus};
use crate::control::unsaved::UnsavedFile;
use crate::source::Severity;

/// The most transitions that are shown: they fit below the tables of a small site.
const SHOWN_TRANSITIONS: usize = 10;

/// The most targets that are named as the overriders of one override.
const SHOWN_TARGETS: usize = 3;

/// A load that has been running for this long is shown (judgment).
const SHOWN_LOAD_SECS: f64 = 5.0;

/// Show what each name is answered with now, the health of every endpoint as each vantage observes it, the overrides
/// and the last transitions
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan status --server http://127.0.0.1:8053")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    server: ServerArg,
    /// The output format; json is the answer of /v1/status
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let body = args.server.server().get("/v1/status")?;
    match args.format {
        Format::Json => text::print_json(&body),
        Format::Human => {
            let transitions: Vec<JournalEvent> = text::parsed(&args.server.server().get("/v1/transitions")?)?;
            let status: Status = text::parsed(&body)?;
            let names = names::fetch(&args.server.server(), &status)?;
            text::print(&human(&status, &names, &transitions, clock::unix_seconds()));
        }
    }
    Ok(())
}

/// The status as text. `now` is in Unix seconds.
fn human(status: &Status, names: &[NameReport], transitions: &[JournalEvent], now: f64) -> String {
    let mut shown = format!("generation {}, {}\n", status.generation, reload(status, now));
    let vantages: Vec<Vec<String>> =
        status.vantages.iter().map(|v| vec![v.name.clone(), v.region.clone(), v.state.clone()]).collect();
    let _ = write!(shown, "\n{}", text::table(&["VANTAGE", "REGION", "STATE"], &vantages));
    for vantage in &status.vantages {
        if let Some(age) = vantage.age_ms {
            let ago = text::span(Duration::from_millis(age));
            let _ = writeln!(shown, "{} is stale: its last report came {ago} ago", vantage.name);
        } else if let Some(why) = &vantage.why {
            let _ = writeln!(shown, "{} is blind, and its verdicts stay as they were: {why}", vantage.name);
        }
    }
    if let Some(fleet) = &status.fleet {
        shown.push_str(&fleet::human(fleet, &status.vantages));
    }
    shown.push_str(&sources::human(&status.sources));
    for zone in &status.zones {
        shown.push_str(&zone_table(zone, names, now));
    }
    shown.push_str(&all_overrides(status, now));
    for unsaved in &status.unsaved {
        let UnsavedFile { file, content, since, .. } = unsaved;
        let (ago, why) = (span_since(*since, now), unsaved.why());
        let _ = writeln!(shown, "\nNOT ON DISK for {ago}: {content} ({file}: {why}); a restart would lose changes");
    }
    shown.push_str(&sinks::human(&status.sinks, now));
    shown.push_str(&follows::human(&status.follows));
    shown.push_str(&last_transitions(transitions, now));
    shown
}

fn reload(status: &Status, now: f64) -> String {
    let reload = &status.reload;
    let ago = span_since(reload.at, now);
    let mut text = match (reload.ok, reload.problems.is_empty()) {
        (true, true) => format!("files loaded {ago} ago"),
        (true, false) => format!("files loaded {ago} ago, with warnings:"),
        (false, _) => format!("NOT ALL FILES WERE LOADED ({ago} ago):"),
    };
    for problem in &reload.problems {
        // Below errors, what is only a warning says so.
        let mark = if !reload.ok && problem.severity == Severity::Warning.as_str() { "warning: " } else { "" };
        let _ = write!(text, "\n  {}:{}:{}: {mark}{}", problem.file, problem.line, problem.column, problem.message);
    }
    // A short load is no news.
    if let Some(since) = reload.running_since.filter(|since| now - since > SHOWN_LOAD_SECS) {
        let _ = write!(text, "\nthe files have been loading for {}", span_since(since, now));
    }
    if let Some(why) = &reload.unnoticed {
        let _ = write!(text, "\nchanges of the files are noticed only after some seconds: {why}");
    }
    text
}

/// The overrides, each once, and those that count for no endpoint with a mark.
fn all_overrides(status: &Status, now: f64) -> String {
    let of_endpoints = status.zones.iter().flat_map(|zone| &zone.endpoints);
    let entries = of_endpoints.filter_map(|endpoint| endpoint.overridden.as_ref());
    let by_target: BTreeMap<_, &OverrideReport> = entries.map(|row| ((&row.target, &row.zones), row)).collect();
    let mut rows: Vec<(OverrideReport, String)> =
        by_target.into_values().map(|row| (row.clone(), String::new())).collect();
    rows.extend(status.idle_overrides.iter().map(|idle| (idle.entry.clone(), overridden_by(idle))));
    if rows.is_empty() {
        return String::new();
    }
    let more = match status.idle_overrides.len() >= MOST_IDLE {
        true => "there may be more that count for no endpoint: `portolan overrides` lists all\n",
        false => "",
    };
    format!("\noverrides\n{}{more}", overrides::marked_table(&rows, now))
}

fn overridden_by(idle: &IdleOverride) -> String {
    let all = &idle.overridden_by;
    let more = all.len().saturating_sub(SHOWN_TARGETS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match all.is_empty() {
        true => " (no endpoint matches)".to_owned(),
        false => format!(" (overridden by {}{more})", all[..all.len().min(SHOWN_TARGETS)].join(", ")),
    }
}

/// Which version of a zone is served, if it is not the one in its files.
fn version(zone: &ZoneStatus, now: f64) -> String {
    let FilesStatus { state, since, until } = &zone.files;
    let loaded = since.map_or_else(String::new, |since| format!(", loaded {} ago", span_since(since, now)));
    match (&**state, until) {
        ("kept", _) => format!(" LAST GOOD VERSION{loaded}: its files have errors"),
        ("unserved", _) => " NOT SERVED: its files have errors".to_owned(),
        ("vanished", Some(until)) => {
            let left = text::span(Duration::try_from_secs_f64(until - now).unwrap_or_default());
            format!(" LAST GOOD VERSION{loaded}, for {left} more: it disappeared from the files")
        }
        _ => String::new(),
    }
}

fn zone_table(zone: &ZoneStatus, names: &[NameReport], now: f64) -> String {
    let version = version(zone, now);
    if zone.endpoints.is_empty() && (zone.names.is_empty() || zone.files.state == "unserved") {
        let what = if zone.files.state == "unserved" { "" } else { " (static)" };
        return format!("\n{}{what}{version}\n", zone.zone);
    }
    let rows: Vec<Vec<String>> = zone.endpoints.iter().flat_map(endpoint_rows).collect();
    let headings = ["ENDPOINT", "REGION", "HEALTH", "ADDRESS", "VANTAGE", "FROM", "SEES", "RTT", "PROBED", "WHY"];
    let names = names::table(&zone.zone, zone.names.len(), names);
    let gap = if names.is_empty() { "" } else { "\n" };
    let leases = leases(&zone.exclusive);
    format!("\n{}{version}\n{names}{gap}{leases}{}{}", zone.zone, text::table(&headings, &rows), region_table(zone))
}

/// The leases of the exclusive names of a zone.
fn leases(all: &[LeaseReport]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let row = |lease: &LeaseReport| {
        let epoch = lease.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let holder = match (&lease.holder, lease.is_holder) {
            (Some(holder), true) => format!("{holder} (this server)"),
            (Some(holder), false) => holder.clone(),
            (None, _) => "nobody: the store of leases is away or can't be written".to_owned(),
        };
        let promoting = lease.promoting.clone().unwrap_or_default();
        let endpoint: &str = if lease.endpoint.is_empty() { "not known yet" } else { &lease.endpoint };
        vec![lease.name.clone(), endpoint.to_owned(), epoch, holder, promoting]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    format!("{}\n", text::table(&["EXCLUSIVE", "ACTIVE", "EPOCH", "HOLDER", "PROMOTING"], &rows))
}

/// A row for each verdict. Only the first one names the endpoint.
fn endpoint_rows(endpoint: &EndpointStatus) -> Vec<Vec<String>> {
    let health = match &endpoint.overridden {
        Some(row) => format!("{} ({})", endpoint.health, overrides::effect(&row.state)),
        None => match endpoint.state.as_deref() {
            Some(state) => format!("{} ({state} in the policy file)", endpoint.health),
            None => format!("{}{}{}", endpoint.health, ramping(endpoint), as_regions_see(endpoint)),
        },
    };
    let region = endpoint.region.clone().unwrap_or_else(|| "-".to_owned());
    let first = [endpoint.name.clone(), region, health];
    if endpoint.verdicts.is_empty() {
        return vec![[&first[..], &["not probed".to_owned()]].concat()];
    }
    let heads = std::iter::once(first).chain(std::iter::repeat(<[String; 3]>::default()));
    heads.zip(&endpoint.verdicts).map(|(head, verdict)| [&head[..], &verdict_cells(verdict)].concat()).collect()
}

/// The ramp of an endpoint that came back: of its addresses the one with the smallest share.
fn ramping(endpoint: &EndpointStatus) -> String {
    let least = endpoint.ramps.iter().min_by(|a, b| a.share.total_cmp(&b.share));
    least.map_or_else(String::new, |ramp| {
        let left = text::span(Duration::from_millis(ramp.full_in_ms));
        format!(" (ramping: {:.0} % of its weight, all in {left})", ramp.share * 100.0)
    })
}

/// That the verdict is not of this moment, or not that of every region.
fn as_regions_see(endpoint: &EndpointStatus) -> String {
    if let Some(basis) = &endpoint.basis {
        return format!(" ({})", basis_why(basis));
    }
    let regions = endpoint.regions.iter().filter(|of| !of.reachable).map(|of| of.region.as_str());
    let regions: Vec<&str> = regions.collect();
    if regions.is_empty() { String::new() } else { format!(" (out of reach for {})", regions.join(", ")) }
}

/// The round-trip times of the endpoints of a zone by region; empty with less than two regions that measure.
fn region_table(zone: &ZoneStatus) -> String {
    let all = || zone.endpoints.iter().flat_map(|endpoint| &endpoint.regions);
    let regions: BTreeSet<&str> = all().map(|of| of.region.as_str()).collect();
    if regions.len() < 2 {
        return String::new();
    }
    let row = |endpoint: &EndpointStatus| {
        let cell = |region: &&str| match endpoint.regions.iter().find(|of| of.region == **region) {
            Some(RegionReport { reachable: false, .. }) => "out of reach".to_owned(),
            Some(RegionReport { rtt_ms: Some(ms), .. }) => format!("{ms:.1} ms"),
            Some(RegionReport { rtt_ms: None, .. }) | None => "-".to_owned(),
        };
        std::iter::once(endpoint.name.clone()).chain(regions.iter().map(cell)).collect::<Vec<_>>()
    };
    let measured = zone.endpoints.iter().filter(|endpoint| !endpoint.regions.is_empty());
    let rows: Vec<Vec<String>> = measured.map(row).collect();
    let heads: Vec<String> = regions.iter().map(|region| format!("FROM {}", region.to_uppercase())).collect();
    let heads: Vec<&str> = std::iter::once("ENDPOINT").chain(heads.iter().map(String::as_str)).collect();
    format!("\n{}", text::table(&heads, &rows))
}

fn verdict_cells(verdict: &CheckReport) -> [String; 7] {
    let rtt = verdict.rtt_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    let probed =
        verdict.age_ms.map_or("never".to_owned(), |ms| format!("{} ago", text::span(Duration::from_millis(ms))));
    let why = verdict.why.clone().unwrap_or_default();
    let probed = verdict.hold.iter().fold(probed, |probed, hold| format!("{probed}, connection {hold}"));
    let CheckReport { vantage, region, address, health, monitor, .. } = verdict;
    let sees = monitor.as_ref().map_or_else(|| health.clone(), |monitor| format!("{health} (monitor {monitor})"));
    [address.clone(), vantage.clone(), region.clone(), sees, rtt, probed, why]
}

fn last_transitions(transitions: &[JournalEvent], now: f64) -> String {
    if transitions.is_empty() {
        return "\nno transition since the server started\n".to_owned();
    }
    let row = |event: &JournalEvent| {
        let ago = format!("{} ago", span_since(event.at, now));
        let who = match &event.monitor {
            Some(monitor) => format!("{} (monitor {monitor})", event.endpoint),
            None => event.endpoint.clone(),
        };
        vec![ago, event.zone.clone(), who, event.from.clone(), event.to.clone(), event.why.clone()]
    };
    let rows: Vec<Vec<String>> = transitions.iter().take(SHOWN_TRANSITIONS).map(row).collect();
    format!("\nlast transitions\n{}", text::table(&["WHEN", "ZONE", "ENDPOINT", "FROM", "TO", "WHY"], &rows))
}

/// The time since `at`. Zero if `at` is in the future, because the clocks differ.
fn span_since(at: f64, now: f64) -> String {
    text::span(Duration::try_from_secs_f64(now - at).unwrap_or_default())
}
