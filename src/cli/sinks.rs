//! The sinks of events in `portolan status`.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::text;
use crate::sinks::{LostRange, SinkReport, SinkState, WaitingEvents};

/// Most endpoints whose waiting events have a line (judgment: they have a cause in common).
const MAX_WAITING: usize = 3;

/// A row for each sink, and what is wrong with those that take nothing. Empty without a sink.
pub(super) fn human(sinks: &[SinkReport], now: f64) -> String {
    if sinks.is_empty() {
        return String::new();
    }
    let row = |sink: &SinkReport| {
        let SinkReport { name, kind, to, state, behind, delivered, dead_letters, lost, .. } = sink;
        let counts = [behind, delivered, dead_letters, lost].map(u64::to_string);
        [vec![name.clone(), kind.clone(), to.clone(), state.as_str().to_owned()], counts.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = sinks.iter().map(row).collect();
    let heads = ["SINK", "TYPE", "TO", "STATE", "BEHIND", "DELIVERED", "REFUSED", "LOST"];
    let mut shown = format!("\nevents\n{}", text::table(&heads, &rows));
    for sink in sinks {
        describe(sink, now, &mut shown);
    }
    shown
}

fn describe(sink: &SinkReport, now: f64, shown: &mut String) {
    let name = &sink.name;
    let error = sink.last_error.as_ref();
    let error = error.map_or_else(String::new, |error| format!(": {} ({})", error.why, error.hint));
    match sink.state {
        SinkState::Ok | SinkState::Waiting => {}
        SinkState::Retrying => {
            let _ = writeln!(shown, "{name} TAKES NO EVENTS{}{error}", next_try(sink.next_try, now));
        }
        SinkState::Off => {
            let _ = writeln!(shown, "{name} IS OFF until a restart{error}");
        }
    }
    for WaitingEvents { subject, events, since, next_try: at, why, hint } in sink.waiting.iter().take(MAX_WAITING) {
        let of = if subject.is_empty() { "without a subject" } else { "of" };
        let (count, wait) =
            if *events == 1 { ("1 event".to_owned(), "waits") } else { (format!("{events} events"), "wait") };
        let (since, next_try) = (text::span(span(now - since)), next_try(*at, now));
        let subject = if subject.is_empty() { String::new() } else { format!(" {subject}") };
        let _ = writeln!(shown, "{name}: {count} {of}{subject} {wait} since {since} ago{next_try}: {why} ({hint})");
    }
    let more = sink.waiting_endpoints.saturating_sub(sink.waiting.len().min(MAX_WAITING) as u64);
    if more > 0 {
        let _ = writeln!(shown, "{name}: events of {more} more endpoints wait");
    }
    if let Some(LostRange { first, last }) = sink.lost_range {
        let count = sink.lost;
        let _ = writeln!(
            shown,
            "{name} never gets {count} events, the last of them between numbers {first} and {last}: it was away so \
             long that the log no longer had them"
        );
    }
    if let Some(dead) = sink.last_dead_letters.last() {
        let (ago, id) = (text::span(span(now - dead.at)), &dead.id);
        let _ = writeln!(shown, "{name} refused event {id} for good, {ago} ago: {}", dead.why);
    }
}

fn next_try(at: Option<f64>, now: f64) -> String {
    at.map_or_else(String::new, |at| format!(", the next try is in {}", text::span(span(at - now))))
}

fn span(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::{DeadLetter, SinkError};

    #[test]
    fn a_sink_is_a_row_and_a_line_for_each_thing_that_is_wrong() {
        let sink = SinkReport {
            name: "audit".into(),
            kind: "webhook".into(),
            to: "http://127.0.0.1:9000/events".into(),
            behind: 7,
            delivered: 12,
            ..SinkReport::default()
        };
        let row = |text: &str| text.lines().nth(3).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let well = human(std::slice::from_ref(&sink), 100.0);
        assert_eq!(row(&well), "audit webhook http://127.0.0.1:9000/events ok 7 12 0 0");
        assert_eq!(well.lines().count(), 4, "{well}");
        let wrong = SinkReport {
            state: SinkState::Retrying,
            next_try: Some(104.0),
            last_error: Some(SinkError { at: 99.0, why: "HTTP status 503".into(), hint: "read its log".into() }),
            lost: 5,
            lost_range: Some(LostRange { first: 1, last: 5 }),
            last_dead_letters: vec![DeadLetter { id: "ns1/9".into(), at: 40.0, why: "HTTP status 400".into() }],
            ..sink.clone()
        };
        let text = human(&[wrong], 100.0);
        for line in [
            "audit TAKES NO EVENTS, the next try is in 4.0 s: HTTP status 503 (read its log)",
            "audit never gets 5 events, the last of them between numbers 1 and 5: it was away so long that the log no \
             longer had them",
            "audit refused event ns1/9 for good, 60 s ago: HTTP status 400",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let waits = |subject: &str, events, next_try| {
            let (why, hint) = ("HTTP status 404".into(), "compare url".into());
            WaitingEvents { subject: subject.into(), events, since: 40.0, next_try, why, hint }
        };
        let waiting =
            vec![waits("q", 2, Some(3700.0)), waits("", 1, None), waits("r", 3, Some(101.0)), waits("s", 1, None)];
        let state = SinkState::Waiting;
        let text = human(&[SinkReport { state, waiting, waiting_endpoints: 9, ..sink.clone() }], 100.0);
        assert_eq!(row(&text), "audit webhook http://127.0.0.1:9000/events waiting 7 12 0 0");
        for line in [
            "audit: 2 events of q wait since 60 s ago, the next try is in 60 m: HTTP status 404 (compare url)",
            "audit: 1 event without a subject waits since 60 s ago: HTTP status 404 (compare url)",
            "audit: events of 6 more endpoints wait",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let off = human(&[SinkReport { state: SinkState::Off, ..sink }], 100.0);
        assert!(off.ends_with("audit IS OFF until a restart\n"), "{off}");
        assert_eq!(human(&[], 0.0), "");
    }
}
