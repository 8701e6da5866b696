//! An explanation as text that fits one screen: the question, the answers, each stage with the endpoints that it
//! dropped, and the evidence of the vantages.

use std::fmt::Write;

use crate::control::explain::reason::UP;
use crate::control::explain::{AnswerReport, Explanation, ReasonReport, StageReport};
use crate::control::overrides::utc;

/// Most lines under one heading; further ones are counted. Judgment: six such stages fit a large screen, and the JSON
/// has all lines.
const SHOWN: usize = 12;

/// The explanation as text. Every line ends with a line feed.
pub fn human(explanation: &Explanation) -> String {
    let e = explanation;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "{} {}   (\"{}\" of {}, generation {})", e.name, e.rtype, e.policy, e.zone, e.generation);
    let client = if e.client.is_empty() { "any" } else { &e.client };
    let _ = writeln!(text, "client    {client}, class {}: {}", e.class, e.class_why);
    let _ = writeln!(text, "ttl       {} s", e.ttl);
    let _ = writeln!(text, "scope     /{}: {}", e.scope, e.scope_why);
    if let Some(why) = &e.affinity_why {
        let _ = writeln!(text, "affinity  {why}");
        let share = |answer: &AnswerReport| format!("{} {}", percent(answer.probability), whose(answer));
        let shares: Vec<String> = e.overall.iter().take(SHOWN).map(share).collect();
        let more = match e.overall.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "          over all clients: {}{more}", shares.join(", "));
    }
    lines_of(
        &mut text,
        "ramp      ",
        e.ramps.iter().map(|ramp| {
            let (share, left) = (percent(ramp.share), span(ramp.full_in_ms));
            format!("{} ({}) has {share} of its weight, all of it in {left}", ramp.endpoint, ramp.address)
        }),
    );
    let unvoted = e.last_verdicts.iter().map(|of| format!("{}: {}", of.endpoint, of.why));
    lines_of(&mut text, "verdict   ", unvoted);
    let listed = e.sources.iter().map(|of| {
        let since = of.since.map_or_else(String::new, |at| format!(", since {}", utc(at)));
        let age = match of.age_ms {
            Some(0) => ", followed".to_owned(),
            Some(age) => format!(", in a list that is {} old", span(age)),
            None => String::new(),
        };
        let state = of.state.as_ref().map_or_else(String::new, |state| format!("; the source is {state}"));
        if of.withdrawn {
            return format!("{} is withdrawn by {}, stays until a new one is up{state}", of.endpoint, of.source);
        }
        format!("{} is listed by {}{since}{age}{state}", of.endpoint, of.source)
    });
    lines_of(&mut text, "source    ", listed);
    if e.stale {
        text.push_str("stale     nothing is eligible: replies carry EDE 3 (Stale Answer)\n");
    }
    text.push_str("\nanswers\n");
    if e.answers.is_empty() {
        text.push_str("  none: the reply is empty (NODATA)\n");
    }
    lines(
        &mut text,
        e.answers
            .iter()
            .map(|answer| format!("{:>6}  {:<24} {}", percent(answer.probability), answer.rdata, whose(answer))),
    );
    text.push_str("\nstages                 in  out\n");
    e.stages.iter().for_each(|stage| stage_lines(&mut text, stage));
    if !e.evidence.is_empty() {
        text.push_str("\nevidence\n");
        lines(
            &mut text,
            e.evidence.iter().map(|evidence| {
                let rtt = evidence.rtt_ms.map_or_else(|| "no rtt".to_owned(), |rtt| format!("{rtt:.1} ms"));
                let age =
                    evidence.age_ms.map_or_else(|| "not probed yet".to_owned(), |age| format!("{} ago", span(age)));
                let why = evidence.why.as_ref().map_or_else(String::new, |why| format!("  {why}"));
                let who = format!("{} ({})", evidence.vantage, evidence.region);
                format!("{:<14} {:<8} {who:<22} {rtt:>9}  {age}{why}", evidence.endpoint, evidence.health)
            }),
        );
    }
    text
}

fn whose(answer: &AnswerReport) -> &str {
    answer.endpoint.as_deref().unwrap_or("zone file")
}

fn stage_lines(text: &mut String, stage: &StageReport) {
    let note = stage.note.as_ref().map_or_else(String::new, |note| format!("  {note}"));
    let _ = writeln!(text, "  {:<18} {:>4} {:>4}{note}", stage.stage, stage.entered, stage.left);
    grouped(text, "-", &stage.dropped);
    // An endpoint that is up needs no line here: the evidence shows it.
    let passed: Vec<ReasonReport> = stage.passed.iter().filter(|reason| reason.why != UP).cloned().collect();
    grouped(text, "+", &passed);
}

/// The reasons. Endpoints with the same reason share a line.
fn grouped(text: &mut String, sign: &str, reasons: &[ReasonReport]) {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for reason in reasons {
        match groups.iter_mut().find(|(why, _)| *why == reason.why) {
            Some((_, endpoints)) => endpoints.push(&reason.endpoint),
            None => groups.push((&reason.why, vec![&reason.endpoint])),
        }
    }
    lines(text, groups.iter().map(|(why, endpoints)| format!("  {sign} {}: {why}", names(endpoints))));
}

fn names(endpoints: &[&str]) -> String {
    match endpoints.len() {
        0..=SHOWN => endpoints.join(", "),
        more => format!("{} and {} more", endpoints[..SHOWN].join(", "), more - SHOWN),
    }
}

fn lines(text: &mut String, lines: impl ExactSizeIterator<Item = String>) {
    lines_of(text, "  ", lines);
}

fn lines_of(text: &mut String, head: &str, lines: impl ExactSizeIterator<Item = String>) {
    let more = lines.len().saturating_sub(SHOWN);
    for line in lines.take(SHOWN) {
        let _ = writeln!(text, "{head}{line}");
    }
    if more > 0 {
        let _ = writeln!(text, "{head}and {more} more; --format json has all");
    }
}

/// A probability in percent: `100 %`, `33.3 %`. A probability over 0 is never shown as 0.
fn percent(probability: f64) -> String {
    let percent = probability * 100.0;
    if percent < 0.1 {
        "<0.1 %".to_owned()
    } else if percent > 99.9 && percent < 100.0 - 1e-7 {
        ">99.9 %".to_owned()
    } else if (percent - percent.round()).abs() < 0.05 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// A time in milliseconds, as text in a suitable unit.
fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}
