//! The status page at `/`: rendered here from the same data as `/v1/status`, so that it says something without
//! JavaScript; the script fetches it again on every transition and every few seconds and puts the new board in place
//! of the old. Everything that comes from files is escaped.

use std::fmt::Write;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use crate::clock;
use crate::control::State;
use crate::control::overrides::{Said, utc};
use crate::control::status::{self, EndpointStatus, RampReport, Status, Verdict};

/// `GET /`.
pub(super) async fn index(Shared(state): Shared<State>) -> Html<String> {
    let snapshot = state.snapshots.load();
    let seen = status::status(&snapshot, &state.reload.load(), clock::now());
    let regions: Vec<&str> = snapshot.model.regions.iter().map(|region| region.name.as_str()).collect();
    Html(include_str!("web/page.html").replacen("<!-- board -->", &board(&seen, &regions), 1))
}

/// `GET /page.css`.
pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("web/page.css")).into_response()
}

/// `GET /page.js`.
pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("web/page.js")).into_response()
}

/// The part of the page that changes: a line about the whole, then a section for each region that has endpoints.
fn board(seen: &Status, regions: &[&str]) -> String {
    let mut html = String::new();
    summary(&mut html, seen);
    for region in regions {
        section(&mut html, seen, Some(region));
    }
    section(&mut html, seen, None);
    html
}

fn summary(html: &mut String, seen: &Status) {
    let files = if seen.reload.ok {
        "files served as they are"
    } else {
        "the files have problems: an earlier generation is served"
    };
    let _ = write!(html, "<p class=\"summary\">Generation {}; {files}. Vantages: ", seen.generation);
    let vantages =
        seen.vantages.iter().map(|v| format!("{} ({}) {}", escape(&v.name), escape(&v.region), escape(&v.state)));
    let vantages: Vec<String> = vantages.collect();
    let _ = writeln!(html, "{}.</p>", if vantages.is_empty() { "none yet".to_owned() } else { vantages.join(", ") });
}

/// The section of one region, or of the endpoints without one; nothing when it has no endpoints.
fn section(html: &mut String, seen: &Status, region: Option<&str>) {
    let zones = seen.zones.iter();
    let here: Vec<(&str, &EndpointStatus)> = zones
        .flat_map(|zone| zone.endpoints.iter().map(|endpoint| (zone.zone.as_str(), endpoint)))
        .filter(|(_, endpoint)| endpoint.region.as_deref() == region)
        .collect();
    if here.is_empty() {
        return;
    }
    let health = together(here.iter().map(|(_, endpoint)| endpoint.health.as_str()));
    let (attribute, title) = match region {
        Some(region) => (format!(" data-region=\"{}\"", escape(region)), escape(region)),
        None => (String::new(), "without a region".to_owned()),
    };
    let _ = writeln!(
        html,
        "<section{attribute} data-health=\"{health}\">\n<h2>{title} <span class=\"health\">{health}</span></h2>"
    );
    html.push_str(
        "<table>\n<thead><tr><th>Endpoint<th>Zone<th>Health<th>As each vantage sees it</tr></thead>\n<tbody>\n",
    );
    for (zone, endpoint) in here {
        row(html, zone, endpoint);
    }
    html.push_str("</tbody>\n</table>\n</section>\n");
}

fn row(html: &mut String, zone: &str, endpoint: &EndpointStatus) {
    let health = &endpoint.health;
    let name = escape(&endpoint.name);
    let _ = write!(html, "<tr class=\"{health}\"><td>{name}<td>{}<td class=\"health\">{health}<td>", escape(zone));
    if let Some(said) = &endpoint.overridden {
        let _ = write!(html, "<div class=\"override\">{}</div>", escape(&override_in_words(said)));
    }
    for ramp in &endpoint.ramps {
        let _ = write!(html, "<div class=\"ramp\">{}</div>", escape(&ramp_in_words(ramp)));
    }
    if endpoint.verdicts.is_empty() {
        html.push_str("not probed");
    }
    for verdict in &endpoint.verdicts {
        let _ = write!(html, "<div>{}</div>", escape(&verdict_in_words(verdict)));
    }
    html.push_str("</tr>\n");
}

/// What an operator said, and why.
fn override_in_words(said: &Said) -> String {
    let word = match said.state.as_str() {
        "drain" => "drained",
        "up" => "forced up",
        "down" => "forced down",
        other => other,
    };
    let until = said.until.map_or(String::new(), |until| format!(" until {}", utc(until)));
    format!("{word}{until} by {}: {}", said.who, said.why)
}

/// How far an address that came back has come.
fn ramp_in_words(ramp: &RampReport) -> String {
    let (share, left) = (ramp.share * 100.0, ramp.full_in_ms.div_ceil(1000));
    format!("ramping: {} has {share:.0} % of its weight, all of it in {left} s", ramp.address)
}

fn verdict_in_words(verdict: &Verdict) -> String {
    let rtt = verdict.rtt_ms.map_or(String::new(), |ms| format!(", {ms:.1} ms"));
    let age = verdict.age_ms.map_or(", not probed yet".to_owned(), |ms| format!(", {:.1} s ago", ms as f64 / 1e3));
    let hold = verdict.hold.as_ref().map_or(String::new(), |hold| format!(", connection {hold}"));
    let Verdict { vantage, region, address, health, .. } = verdict;
    format!("{vantage} ({region}): {address} {health}{rtt}{age}{hold}")
}

/// The health of several: up while any is, else down while any is; as an endpoint's follows from its addresses.
fn together<'a>(healths: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    let any = |word| healths.clone().any(|health| health == word);
    ["up", "down"].into_iter().find(|word| any(*word)).unwrap_or("unknown")
}

/// `text` as HTML text or attribute value.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_up_while_any_endpoint_is() {
        for (healths, expected) in
            [(&["down", "up"][..], "up"), (&["unknown", "down"], "down"), (&["unknown"], "unknown")]
        {
            assert_eq!(together(healths.iter().copied()), expected, "{healths:?}");
        }
    }

    #[test]
    fn who_came_back_says_how_far_it_is() {
        let (endpoint, address) = ("fra1".to_owned(), "192.0.2.1".to_owned());
        let ramp = RampReport { endpoint, address, share: 0.15, full_in_ms: 40_200 };
        assert_eq!(ramp_in_words(&ramp), "ramping: 192.0.2.1 has 15 % of its weight, all of it in 41 s");
    }

    #[test]
    fn what_files_say_cannot_become_markup() {
        assert_eq!(escape("<b a=\"'&"), "&lt;b a=&quot;&#39;&amp;");
    }
}
