//! The view of the matrix: each endpoint with its verdict, and what each region with a vantage observes of it.

use ratatui::layout::Rect;

use super::paint::{Canvas, Toned, plain, toned};
use super::tone::Tone;
use super::{details, millis_ago, percent};
use crate::cli::top::digest::{Digest, EndpointPlace, own_checks};
use crate::cli::top::state::{TopState, TopView};
use crate::control::regions::{RegionReport, basis_why};
use crate::control::status::{CheckReport, EndpointStatus, Status};

/// Draws the view.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect) {
    let Some(readout) = state.readout.take() else { return };
    let status = &readout.status;
    let shown = shown(state, status);
    let selected = state.selected(TopView::Matrix, shown.len());
    let digest = &state.digest;
    let about = shown.get(selected).map(|at| about(digest, status, *at)).unwrap_or_default();
    let table = details(canvas, area, &about);
    let from: Vec<String> = digest.from.iter().map(|region| format!("FROM {}", region.to_uppercase())).collect();
    let headings: Vec<&str> =
        ["ENDPOINT", "REGION", "VERDICT"].into_iter().chain(from.iter().map(String::as_str)).collect();
    match (shown.is_empty(), digest.endpoints.is_empty()) {
        (true, true) => canvas.line(table, 0, &[toned("There are no endpoints.", Tone::Soft)]),
        (true, false) => canvas.line(table, 0, &[toned("No endpoint has this text.", Tone::Soft)]),
        (false, _) => {
            canvas.table(table, (&headings, &[0, 2]), (shown.len(), selected), |at| line(digest, status, shown[at]));
        }
    }
    state.readout = Some(readout);
}

/// The endpoints that pass the filter, in the order of the digest.
fn shown(state: &TopState, status: &Status) -> Vec<usize> {
    let passes = |at: &usize| {
        let Some((zone, endpoint)) = state.digest.endpoint(status, *at) else { return false };
        let addresses = endpoint.verdicts.iter().map(|check| check.address.as_str());
        let texts = [endpoint.name.as_str(), zone, endpoint.region.as_deref().unwrap_or_default()];
        state.filter.is_empty() || state.passes(texts.into_iter().chain(addresses))
    };
    (0..state.digest.endpoints.len()).filter(passes).collect()
}

fn line(digest: &Digest, status: &Status, at: usize) -> Vec<Toned> {
    let Some((_, endpoint)) = digest.endpoint(status, at) else { return Vec::new() };
    let (verdict, tone) = verdict(&digest.endpoints[at], endpoint);
    let region = endpoint.region.clone().unwrap_or_else(|| "-".to_owned());
    let first = [plain(endpoint.name.clone()), toned(region, Tone::Soft), toned(verdict, tone)];
    first.into_iter().chain(digest.from.iter().map(|from| seen(endpoint, from))).collect()
}

fn verdict(place: &EndpointPlace, endpoint: &EndpointStatus) -> (String, Tone) {
    let mut text = endpoint.health.clone();
    let mut tone = Tone::of_health(&endpoint.health);
    if endpoint.basis.is_some() {
        text.push_str(", last known");
        tone = Tone::Warning;
    }
    if !place.out.is_empty() {
        text.push_str(&format!(", {}", place.out));
        tone = Tone::Operator;
    }
    if let Some(ramp) = endpoint.ramps.iter().min_by(|a, b| a.share.total_cmp(&b.share)) {
        text.push_str(&format!(", {} of its weight", percent(ramp.share)));
    }
    (text, tone)
}

/// What a region observes of an endpoint.
fn seen(endpoint: &EndpointStatus, from: &str) -> Toned {
    let report = endpoint.regions.iter().find(|of| of.region == from);
    let all: Vec<&CheckReport> = own_checks(endpoint, from).collect();
    let measured = report.and_then(|of| of.rtt_ms).or(all.iter().find_map(|check| check.rtt_ms));
    let rtt = measured.map(|ms| format!("{ms:.1} ms"));
    let bad: Vec<&&CheckReport> = all.iter().filter(|check| check.health != "up").collect();
    let why = |check: &CheckReport| check.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    match (all.is_empty(), bad.first()) {
        (true, _) => toned("-", Tone::Soft),
        (false, Some(check)) => {
            let which = if bad.len() < all.len() { format!("{} ", check.address) } else { String::new() };
            let age = check.age_ms.map_or(String::new(), |age| format!(", {} ago", millis_ago(age)));
            let tone = if bad.len() < all.len() { Tone::Warning } else { Tone::of_health(&check.health) };
            toned(format!("{which}{}{}{age}", check.health, why(check)), tone)
        }
        (false, None) if report.is_some_and(|of| !of.reachable) => toned("out of reach", Tone::Warning),
        (false, None) => match all.iter().find_map(|check| check.why.as_ref()) {
            Some(why) => {
                toned(format!("{}last probe: {why}", rtt.map_or(String::new(), |rtt| rtt + " ")), Tone::Warning)
            }
            None => toned(rtt.unwrap_or_else(|| "up".to_owned()), Tone::Good),
        },
    }
}

/// Everything that is known of an endpoint.
fn about(digest: &Digest, status: &Status, at: usize) -> Vec<Toned> {
    let Some((zone, endpoint)) = digest.endpoint(status, at) else { return Vec::new() };
    let (verdict, tone) = verdict(&digest.endpoints[at], endpoint);
    let mut texts = vec![toned(format!("{} in {zone}: {verdict}", endpoint.name), tone)];
    if let Some(entry) = &endpoint.overridden {
        texts.push(toned(format!("override of {} by {}: {}", entry.target, entry.who, entry.why), Tone::Operator));
    } else if let Some(state) = &endpoint.state {
        texts.push(toned(format!("state = \"{state}\" in the policy file"), Tone::Operator));
    }
    if let Some(basis) = &endpoint.basis {
        texts.push(toned(basis_why(basis), Tone::Warning));
    }
    for RegionReport { region, .. } in endpoint.regions.iter().filter(|of| !of.reachable) {
        texts.push(toned(format!("out of reach for {region}: not for clients of that region"), Tone::Warning));
    }
    if endpoint.verdicts.is_empty() {
        texts.push(toned("not probed", Tone::Soft));
    }
    // Those that are not up come first.
    let mut checks: Vec<&CheckReport> = endpoint.verdicts.iter().collect();
    checks.sort_by_key(|check| check.health == "up");
    texts.extend(checks.into_iter().map(sight));
    texts
}

fn sight(check: &CheckReport) -> Toned {
    let CheckReport { vantage, region, address, health, .. } = check;
    let by = check.monitor.as_ref().map_or(String::new(), |monitor| format!(" by monitor {monitor}"));
    let rtt = check.rtt_ms.map_or(String::new(), |ms| format!(", {ms:.1} ms"));
    let age = check.age_ms.map_or(", not probed yet".to_owned(), |age| format!(", {} ago", millis_ago(age)));
    let hold = check.hold.as_ref().map_or(String::new(), |hold| format!(", connection {hold}"));
    let why = check.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    toned(format!("{vantage} ({region}): {address} {health}{by}{rtt}{age}{hold}{why}"), Tone::of_health(health))
}
