//! The endpoints on the page, by region: the health of each, why, and what each vantage reports.

use std::fmt::Write;

use super::escape;
use crate::control::overrides::{OverrideReport, utc};
use crate::control::regions::{RegionReport, basis_why};
use crate::control::status::{CheckReport, EndpointStatus, RampReport, Status};

/// Most endpoints of a region on the page (judgment). Endpoints with a problem come first.
const SHOWN: usize = 200;

/// Writes the section of one region, or of the endpoints without a region; writes nothing if it has no endpoints.
pub(super) fn write(html: &mut String, status: &Status, region: Option<&str>) {
    let zones = status.zones.iter();
    let mut here: Vec<(&str, &EndpointStatus)> = zones
        .flat_map(|zone| zone.endpoints.iter().map(|endpoint| (zone.zone.as_str(), endpoint)))
        .filter(|(_, endpoint)| endpoint.region.as_deref() == region)
        .collect();
    if here.is_empty() {
        return;
    }
    let health = health_of_all(here.iter().map(|(_, endpoint)| endpoint.health.as_str()));
    let is_drained = here.iter().all(|(_, endpoint)| taken_out(endpoint).is_some());
    let (attribute, title) = match region {
        Some(region) => (format!(" data-region=\"{}\"", escape(region)), escape(region)),
        None => (String::new(), "without a region".to_owned()),
    };
    let drained = if is_drained { " data-drained" } else { "" };
    let _ = writeln!(
        html,
        "<section{attribute} data-health=\"{health}\"{drained}>\n\
         <h2>{title} <span class=\"badge {health}\">{health}</span>{}</h2>",
        if is_drained { " <span class=\"badge drained\">drained: gets no new answers</span>" } else { "" }
    );
    html.push_str(
        "<table>\n<thead><tr><th>Endpoint<th>Zone<th>Health<th>Why, and as each vantage sees it</tr></thead>\n\
         <tbody>\n",
    );
    here.sort_by_key(|(_, endpoint)| is_well(endpoint));
    for (zone, endpoint) in here.iter().take(SHOWN) {
        row(html, zone, endpoint);
    }
    html.push_str("</tbody>\n</table>\n");
    if let Some(more) = here.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(html, "<p>and {more} more endpoints: <code>/v1/status</code> has all.</p>");
    }
    html.push_str("</section>\n");
}

fn is_well(endpoint: &EndpointStatus) -> bool {
    endpoint.health == "up" && endpoint.overridden.is_none() && endpoint.state.is_none()
}

fn row(html: &mut String, zone: &str, endpoint: &EndpointStatus) {
    let (health, name) = (&endpoint.health, escape(&endpoint.name));
    let out =
        taken_out(endpoint).map_or(String::new(), |state| format!(" <span class=\"badge drained\">{state}</span>"));
    let _ = write!(
        html,
        "<tr class=\"{health}\"><td data-label=\"Endpoint\">{name}<td data-label=\"Zone\">{}<td data-label=\"Health\">\
         <span class=\"badge {health}\">{health}</span>{out}<td data-label=\"Why\">",
        escape(zone)
    );
    if let Some(why) = why_down(endpoint) {
        let _ = write!(html, "<div class=\"why\">{}</div>", escape(&why));
    }
    if let Some(basis) = &endpoint.basis {
        let _ = write!(html, "<div class=\"why\">{}</div>", basis_why(basis));
    }
    for of in endpoint.regions.iter().filter(|of| !of.reachable) {
        let region = escape(&of.region);
        let _ = write!(html, "<div class=\"why\">out of reach for {region}: not for clients of that region</div>");
    }
    if let Some(entry) = &endpoint.overridden {
        let _ = write!(html, "<div class=\"override\">{}</div>", escape(&override_text(entry)));
    } else if let Some(state) = &endpoint.state {
        let _ = write!(html, "<div class=\"override\">state = \"{}\" in the policy file</div>", escape(state));
    }
    for ramp in &endpoint.ramps {
        let _ = write!(html, "<div class=\"ramp\">{}</div>", escape(&ramp_text(ramp)));
    }
    if endpoint.regions.len() > 1 {
        let _ = write!(html, "<div class=\"rtts\">{}</div>", escape(&rtts_text(&endpoint.regions)));
    }
    if endpoint.verdicts.is_empty() {
        html.push_str("not probed");
    }
    for report in &endpoint.verdicts {
        let _ = write!(html, "<div>{}</div>", escape(&report_text(report)));
    }
    html.push_str("</tr>\n");
}

/// How an operator or the policy file took an endpoint out of service: `drained`, `forced down`, `disabled`.
fn taken_out(endpoint: &EndpointStatus) -> Option<&'static str> {
    match (endpoint.state.as_deref(), endpoint.overridden.as_ref().map(|entry| entry.state.as_str())) {
        (Some("disabled"), _) => Some("disabled"),
        (_, Some("down")) => Some("forced down"),
        (_, Some("drain")) | (Some("drain"), None) => Some("drained"),
        (_, _) => None,
    }
}

/// Why an endpoint is not up: the reason of the first vantage that has one.
fn why_down(endpoint: &EndpointStatus) -> Option<String> {
    if endpoint.health == "up" {
        return None;
    }
    // A name's own monitor judges the name, not the endpoint.
    let own = endpoint.verdicts.iter().filter(|verdict| verdict.monitor.is_none());
    let seen = own.filter(|verdict| verdict.health == endpoint.health);
    let (why, vantage) = seen.clone().find_map(|verdict| Some((verdict.why.as_ref()?, &verdict.vantage)))?;
    Some(format!("{} because: {why}, as {vantage} sees it", endpoint.health))
}

/// An override as text, with its reason.
pub(super) fn override_text(entry: &OverrideReport) -> String {
    let state = match entry.state.as_str() {
        "drain" => "drained",
        "up" => "forced up",
        "down" => "forced down",
        other => other,
    };
    let until = entry.until.map_or(String::new(), |until| format!(" until {}", utc(until)));
    format!("{state}{until} by {}: {}", entry.who, entry.why)
}

/// The ramp of an address as text.
pub(super) fn ramp_text(ramp: &RampReport) -> String {
    let (share, left) = (ramp.share * 100.0, ramp.full_in_ms.div_ceil(1000));
    format!("ramping: {} has {share:.0} % of its weight, all of it in {left} s", ramp.address)
}

/// `round trips: eu 12.0 ms, us 80.5 ms`
fn rtts_text(regions: &[RegionReport]) -> String {
    let text = |of: &RegionReport| {
        let rtt = of.rtt_ms.map_or("not measured".to_owned(), |ms| format!("{ms:.1} ms"));
        format!("{} {rtt}", of.region)
    };
    format!("round trips: {}", regions.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn report_text(report: &CheckReport) -> String {
    let rtt = report.rtt_ms.map_or(String::new(), |ms| format!(", {ms:.1} ms"));
    let age = report.age_ms.map_or(", not probed yet".to_owned(), |ms| format!(", {:.1} s ago", ms as f64 / 1e3));
    let hold = report.hold.as_ref().map_or(String::new(), |hold| format!(", connection {hold}"));
    let why = report.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let of = report.monitor.as_ref().map_or(String::new(), |monitor| format!(" by monitor {monitor}"));
    let CheckReport { vantage, region, address, health, .. } = report;
    format!("{vantage} ({region}): {address} {health}{of}{rtt}{age}{hold}{why}")
}

/// The health of several endpoints: up while any is up, else down while any is down. An endpoint's own health follows
/// from its addresses in the same way.
pub(super) fn health_of_all<'a>(healths: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    let any = |wanted| healths.clone().any(|health| health == wanted);
    ["up", "down"].into_iter().find(|health| any(*health)).unwrap_or("unknown")
}
