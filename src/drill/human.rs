//! The plan and the report of a drill as text for a terminal.

use std::fmt::Write;

use crate::drill::{DrillPlan, DrillReport, DrilledServer, QuestionReport, ShareMove};

/// Most endpoints and questions in a list; the JSON has all (judgment: one screen).
const SHOWN: usize = 20;

/// The plan: what is lost, who would go where, and what the client repeats.
pub fn planned(plan: &DrillPlan) -> String {
    let DrillPlan { drill, target, for_secs, lost, lost_vantages, moves, questions, qps, demand, notes, .. } = plan;
    let mut text = format!("drill: lose {} for {for_secs} s\n", drill.subject(target));
    let names: Vec<&str> = lost.iter().map(|lost| lost.endpoint.as_str()).collect();
    list(&mut text, "lost endpoints", &names);
    list(&mut text, "lost vantages", &lost_vantages.iter().map(String::as_str).collect::<Vec<_>>());
    let _ = writeln!(text, "demand: {demand}");
    write_moves(&mut text, moves);
    if qps.is_none() {
        text.push_str("capacity: not checked before the drill, because the queries a second are not known\n");
    }
    for question in questions {
        let client = question.client.map_or_else(String::new, |client| format!(" for {client}"));
        let percent = question.probability * 100.0;
        let _ = writeln!(
            text,
            "asked: {} {}{client} (class {}): {percent:.1} % of its answers have a lost endpoint",
            question.name, question.rtype, question.class
        );
    }
    notes.iter().for_each(|note| _ = writeln!(text, "note: {note}"));
    text
}

/// The report: the result first, then what was measured.
pub fn human(report: &DrillReport) -> String {
    let mut text = String::new();
    let result = match (&report.aborted, report.ok) {
        (Some(_), _) => "ABORTED",
        (None, true) => "PASSED",
        (None, false) => "FAILED",
    };
    let _ = writeln!(text, "drill {} {}: {result}", report.drill.as_str(), report.target);
    report.problems.iter().for_each(|problem| _ = writeln!(text, "  {problem}"));
    let is_measured = report.servers.iter().filter(|server| !server.resolver).all(DrilledServer::is_measured);
    let _ = writeln!(text, "recovery  {} (rto {})", recovery(report.recovery_ms, is_measured), seconds(report.rto_ms));
    for (what, ms) in [("detect", report.detect_ms), ("decide", report.decide_ms), ("publish", report.publish_ms)] {
        let _ = writeln!(text, "{what:9} {}", ms.map_or_else(|| not_until_end(report).to_owned(), seconds));
    }
    for server in &report.servers {
        write_server(&mut text, server);
    }
    write_moves(&mut text, &report.moves);
    report.notes.iter().for_each(|note| _ = writeln!(text, "note: {note}"));
    text
}

fn write_server(text: &mut String, server: &DrilledServer) {
    let what = if server.resolver { "resolver" } else { "server" };
    let last = match (server.recovery_ms, server.is_measured()) {
        (_, false) => "recovery not measured".to_owned(),
        (None, true) => "no stale answer".to_owned(),
        (Some(ms), true) => format!("last stale answer after {}", seconds(ms)),
    };
    let _ = writeln!(text, "{what} {}: {last}", server.server);
    for question in &server.questions {
        let QuestionReport { name, rtype, class, sent, timed_out, stale, back_ms, .. } = question;
        let recovery = match (question.recovery_ms, question.recovered) {
            (_, None) => "not measured".to_owned(),
            (_, Some(false)) => "did not recover".to_owned(),
            (None, Some(true)) => "no stale answer".to_owned(),
            (Some(ms), Some(true)) => format!("recovered in {}", seconds(ms)),
        };
        let back = back_ms.map_or("not answered again".to_owned(), |ms| format!("back in {}", seconds(ms)));
        let _ = writeln!(
            text,
            "  {name} {rtype} (class {class}): {recovery}, {back}; {sent} questions, {stale} stale, {timed_out} lost"
        );
    }
}

/// A time to recover, or why there is none.
pub(super) fn recovery(ms: Option<f64>, is_measured: bool) -> String {
    match (ms, is_measured) {
        (_, false) => "not measured".to_owned(),
        (None, true) => "no stale answer".to_owned(),
        (Some(ms), true) => seconds(ms),
    }
}

/// What is shown for a time that did not come.
pub(super) fn not_until_end(report: &DrillReport) -> &'static str {
    if report.aborted.is_some() { "not before it was aborted" } else { "not at all" }
}

fn write_moves(text: &mut String, moves: &[ShareMove]) {
    for ShareMove { endpoint, before, after, qps, capacity, .. } in moves.iter().take(SHOWN) {
        let load = match (qps, capacity) {
            (Some(qps), Some(capacity)) => format!(", {qps:.0} of {capacity} a second"),
            (Some(qps), None) => format!(", {qps:.0} a second"),
            (None, Some(_)) | (None, None) => String::new(),
        };
        let _ = writeln!(text, "  {endpoint}: {:.1} % of the answers -> {:.1} %{load}", before * 100.0, after * 100.0);
    }
    if moves.len() > SHOWN {
        let _ = writeln!(text, "  and {} more endpoints", moves.len() - SHOWN);
    }
}

fn list(text: &mut String, what: &str, names: &[&str]) {
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = writeln!(text, "{what}: {}{more}", names[..names.len().min(SHOWN)].join(", "));
}

/// `3.2 s`, or milliseconds below one second.
pub(super) fn seconds(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1000.0) }
}
