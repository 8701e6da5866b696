//! A simulation as text on one screen: what was lost, each endpoint's share of the answers before and after, which
//! capacities are exceeded, and which clients have no eligible endpoint.

use std::fmt::Write;

use crate::cli::text;
use crate::control::simulate::{EmptyAnswer, EmptyClass, EndpointReport, SimulationReport, SimulationResult};

/// The most rows of a table, so that the whole fits a screen. The JSON has all.
const SHOWN: usize = 20;

/// Shares that differ by less than this are shown as equal.
const SAME: f64 = 0.0005;

/// The result as text. Every line ends with a line feed.
pub(super) fn human(outcome: &SimulationResult) -> String {
    match outcome {
        SimulationResult::One(report) => one(report),
        SimulationResult::Pairs(reports) => pairs(reports),
    }
}

fn one(report: &SimulationReport) -> String {
    let mut shown = String::new();
    // Writing to a String does not fail.
    let listed = |lost: &[String]| if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") };
    let _ = writeln!(shown, "lost      {}", listed(&report.lost));
    if !report.overrides.is_empty() {
        let _ = writeln!(shown, "override  {}", report.overrides.join(", "));
    }
    let _ = writeln!(shown, "demand    {}", report.demand);
    shown.push('\n');
    shown.push_str(&endpoints(report));
    shown.push_str(&others(report));
    shown.push_str(&exceeded(report));
    shown.push_str(&empty(&report.empty, report.empty_left_out));
    if !report.unanswered.is_nobody() {
        let _ = writeln!(shown, "\n{}", report.unanswered.sentence("would get"));
    }
    for note in &report.notes {
        let _ = writeln!(shown, "\nnote: {note}");
    }
    shown
}

/// The shares of the endpoints, those that change most first.
fn endpoints(report: &SimulationReport) -> String {
    let mut rows: Vec<&EndpointReport> = report.endpoints.iter().collect();
    let change = |row: &EndpointReport| row.after - row.before;
    rows.sort_by(|a, b| change(b).abs().total_cmp(&change(a).abs()).then(b.after.total_cmp(&a.after)));
    let has_capacity = report.qps.is_some() && rows.iter().any(|row| row.capacity.is_some());
    let several_zones = rows.iter().any(|row| row.zone != rows[0].zone);
    let mut headings = vec!["ENDPOINT", "REGION", "BEFORE", "AFTER", "CHANGE"];
    if several_zones {
        headings.insert(1, "ZONE");
    }
    if report.qps.is_some() {
        headings.push("QUERIES/S");
    }
    if has_capacity {
        headings.extend(["CAPACITY", "USED"]);
    }
    let cells = |row: &&EndpointReport| {
        let mut cells = vec![
            row.endpoint.clone(),
            row.region.clone().unwrap_or_else(|| "-".to_owned()),
            percent(row.before),
            percent(row.after),
            points(change(row)),
        ];
        if several_zones {
            cells.insert(1, row.zone.clone());
        }
        if let Some(qps) = row.qps_after {
            cells.push(number(qps));
        }
        if let (true, Some(capacity), Some(qps)) = (has_capacity, row.capacity, row.qps_after) {
            cells.extend([capacity.to_string(), used(qps, capacity)]);
        }
        cells
    };
    let table: Vec<Vec<String>> = rows.iter().take(SHOWN).map(cells).collect();
    let mut shown = text::table(&headings, &table);
    if let Some(left) = rows.get(SHOWN..).filter(|left| !left.is_empty()) {
        let most = left.iter().map(|row| change(row).abs()).fold(0.0, f64::max);
        let _ =
            writeln!(shown, "and {} more that change by {} at most; --format json has all", left.len(), percent(most));
    }
    shown
}

/// The shares of answers without an endpoint, if there are any.
fn others(report: &SimulationReport) -> String {
    let mut shown = String::new();
    for (what, share) in [
        ("answered with the zone file's records", report.fixed),
        ("not answered (NODATA)", report.nodata),
        ("answered with what was last good", report.stale),
    ] {
        if share.before > 0.0 || share.after > 0.0 {
            let _ = writeln!(shown, "{what}: {} before, {} after", percent(share.before), percent(share.after));
        }
    }
    shown
}

fn exceeded(report: &SimulationReport) -> String {
    if report.exceeded.is_empty() {
        let judged = report.endpoints.iter().filter(|row| row.capacity.is_some()).count();
        return match report.qps.is_some() && judged > 0 {
            true => format!("\nover capacity: none of the {judged} that have one\n"),
            false => String::new(),
        };
    }
    let rows: Vec<Vec<String>> = report
        .exceeded
        .iter()
        .take(SHOWN)
        .map(|row| vec![row.endpoint.clone(), number(row.qps), row.capacity.to_string(), used(row.qps, row.capacity)])
        .collect();
    let mut shown = format!("\nOVER CAPACITY\n{}", text::table(&["ENDPOINT", "QUERIES/S", "CAPACITY", "USED"], &rows));
    count_rest(&mut shown, report.exceeded.len().saturating_sub(SHOWN));
    shown
}

fn empty(entries: &[EmptyClass], left_out: usize) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let row = |entry: &EmptyClass| {
        let answer = match entry.answer {
            EmptyAnswer::Nothing => "nothing (NODATA)",
            EmptyAnswer::Stale => "what was last good",
            EmptyAnswer::Static => "the zone file's records",
            EmptyAnswer::Fallback => "what on_empty says",
        };
        let mut note = Vec::new();
        if entry.partly {
            note.push("some of them".to_owned());
        }
        if let Some(fence) = &entry.fence {
            note.push(format!("limited by fence {fence}"));
        }
        if entry.already {
            note.push("already so now".to_owned());
        }
        let clients = entry.class.clone();
        vec![
            entry.name.clone(),
            clients,
            entry.types.join(" "),
            entry.on_empty.clone(),
            answer.to_owned(),
            note.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = entries.iter().take(SHOWN).map(row).collect();
    let headings = ["NAME", "CLIENTS", "TYPES", "ON_EMPTY", "THEY GET", ""];
    let mut shown = format!("\nNOTHING ELIGIBLE\n{}", text::table(&headings, &rows));
    count_rest(&mut shown, entries.len().saturating_sub(SHOWN) + left_out);
    shown
}

/// A line for each pair, the worst first.
fn pairs(reports: &[SimulationReport]) -> String {
    let mut shown = String::new();
    if let Some(first) = reports.first() {
        let _ = writeln!(shown, "demand  {}\n", first.demand);
    }
    let mut rows: Vec<(&SimulationReport, Option<&EndpointReport>)> =
        reports.iter().map(|report| (report, worst(report))).collect();
    let badness = |(report, worst): &(&SimulationReport, Option<&EndpointReport>)| {
        let empty = report.empty.len() + report.empty_left_out;
        (report.unanswered.share, (report.exceeded.len(), empty), worst.map_or(0.0, load))
    };
    rows.sort_by(|a, b| {
        let (a, b) = (badness(a), badness(b));
        b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.total_cmp(&a.2))
    });
    let cells = |(report, worst): &(&SimulationReport, Option<&EndpointReport>)| {
        let load = worst.map_or("-".to_owned(), |row| match (row.capacity, row.qps_after) {
            (Some(capacity), Some(qps)) => format!("{} {}", row.endpoint, used(qps, capacity)),
            (_, _) => format!("{} {} of the answers", row.endpoint, percent(row.after)),
        });
        let names: Vec<&str> = report.exceeded.iter().map(|row| row.endpoint.as_str()).collect();
        let empty = report.empty.len() + report.empty_left_out;
        vec![
            report.lost.join(" "),
            load,
            dash(names.join(" ")),
            dash(if empty > 0 { empty.to_string() } else { String::new() }),
            dash(if report.unanswered.is_nobody() { String::new() } else { percent(report.unanswered.share) }),
        ]
    };
    let table: Vec<Vec<String>> = rows.iter().take(SHOWN).map(cells).collect();
    let headings = ["LOST TOGETHER", "MOST LOADED", "OVER CAPACITY", "NOTHING ELIGIBLE", "NO ANSWER"];
    shown.push_str(&text::table(&headings, &table));
    count_rest(&mut shown, rows.len().saturating_sub(SHOWN));
    shown
}

/// The endpoint with the greatest load relative to its capacity. If none has a capacity, the one with the greatest
/// share.
fn worst(report: &SimulationReport) -> Option<&EndpointReport> {
    let has_capacity = |row: &&EndpointReport| row.capacity.is_some() && row.qps_after.is_some();
    let limited = report.endpoints.iter().filter(has_capacity).max_by(|a, b| load(a).total_cmp(&load(b)));
    limited.or_else(|| report.endpoints.iter().max_by(|a, b| a.after.total_cmp(&b.after)))
}

/// The used part of the capacity; the share of the answers if the endpoint has no capacity.
fn load(row: &EndpointReport) -> f64 {
    match (row.capacity, row.qps_after) {
        (Some(capacity), Some(qps)) => qps / (capacity as f64).max(f64::MIN_POSITIVE),
        (_, _) => row.after,
    }
}

fn count_rest(text: &mut String, left: usize) {
    if left > 0 {
        let _ = writeln!(text, "and {left} more; --format json has all");
    }
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A change of a share in percentage points, with its sign.
fn points(change: f64) -> String {
    if change.abs() < SAME { "=".to_owned() } else { format!("{:+.1}", change * 100.0) }
}

fn number(qps: f64) -> String {
    if qps >= 100.0 || qps == qps.round() { format!("{qps:.0}") } else { format!("{qps:.1}") }
}

fn used(qps: f64, capacity: u64) -> String {
    if capacity == 0 { "-".to_owned() } else { format!("{:.0} %", qps / capacity as f64 * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::simulate::{OverloadedEndpoint, ShareChange};
    use crate::control::unanswered::UnansweredQuestions;

    fn row(endpoint: &str, before: f64, after: f64, capacity: Option<u64>) -> EndpointReport {
        EndpointReport {
            endpoint: endpoint.into(),
            before,
            after,
            zone: "svc.example.".into(),
            region: Some("eu-west".into()),
            capacity,
            qps_before: Some(before * 1000.0),
            qps_after: Some(after * 1000.0),
        }
    }

    fn report() -> SimulationReport {
        let none = ShareChange { before: 0.0, after: 0.0 };
        SimulationReport {
            endpoints: vec![
                row("fra1", 0.5, 0.0, None),
                row("ams", 0.25, 0.25, Some(400)),
                row("nyc", 0.25, 0.5, Some(400)),
            ],
            exceeded: vec![OverloadedEndpoint {
                endpoint: "nyc".into(),
                qps: 500.0,
                capacity: 400,
                zone: "svc.example.".into(),
            }],
            empty: vec![EmptyClass {
                name: "db".into(),
                class: "eu-west".into(),
                on_empty: "last_good".into(),
                answer: EmptyAnswer::Stale,
                fence: Some("eu_only".into()),
                types: vec!["A".into(), "AAAA".into()],
                zone: "svc.example.".into(),
                already: false,
                partly: false,
            }],
            empty_left_out: 0,
            unanswered: UnansweredQuestions::default(),
            moved: Some(0.25),
            lost: vec!["fra1".into()],
            overrides: vec![],
            demand: "1000 queries a second in 2 lines of demand".into(),
            qps: Some(1000.0),
            fixed: none,
            nodata: ShareChange { before: 0.0, after: 0.25 },
            stale: none,
            generation: 1,
            notes: vec!["fra1 has no monitor".into()],
        }
    }

    #[test]
    fn the_endpoints_that_change_most_come_first() {
        assert_eq!(
            human(&SimulationResult::One(Box::new(report()))),
            "lost      fra1
demand    1000 queries a second in 2 lines of demand

ENDPOINT  REGION   BEFORE  AFTER   CHANGE  QUERIES/S  CAPACITY  USED
fra1      eu-west  50.0 %  0.0 %   -50.0   0
nyc       eu-west  25.0 %  50.0 %  +25.0   500        400       125 %
ams       eu-west  25.0 %  25.0 %  =       250        400       62 %
not answered (NODATA): 0.0 % before, 25.0 % after

OVER CAPACITY
ENDPOINT  QUERIES/S  CAPACITY  USED
nyc       500        400       125 %

NOTHING ELIGIBLE
NAME  CLIENTS  TYPES   ON_EMPTY   THEY GET
db    eu-west  A AAAA  last_good  what was last good  limited by fence eu_only

note: fra1 has no monitor
"
        );
    }

    #[test]
    fn pairs_are_a_line_each_the_worst_first() {
        let fine = SimulationReport {
            lost: vec!["region:a".into(), "region:b".into()],
            exceeded: vec![],
            empty: vec![],
            endpoints: vec![row("fra1", 0.5, 1.0, None)],
            ..report()
        };
        let bad = SimulationReport { lost: vec!["region:a".into(), "region:c".into()], ..report() };
        assert_eq!(
            human(&SimulationResult::Pairs(vec![fine, bad])),
            "demand  1000 queries a second in 2 lines of demand

LOST TOGETHER      MOST LOADED                  OVER CAPACITY  NOTHING ELIGIBLE  NO ANSWER
region:a region:c  nyc 125 %                    nyc            1                 -
region:a region:b  fra1 100.0 % of the answers  -              -                 -
"
        );
    }
}
