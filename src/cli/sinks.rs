//! The sinks of events in `portolan status`.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::text;
use crate::sinks::{LostRange, SinkReport, SinkState};

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
        SinkState::Ok => {}
        SinkState::Retrying => {
            let wait = sink.next_try.map_or(0.0, |at| at - now);
            let wait = text::span(Duration::try_from_secs_f64(wait).unwrap_or_default());
            let _ = writeln!(shown, "{name} TAKES NO EVENTS, the next try is in {wait}{error}");
        }
        SinkState::Off => {
            let _ = writeln!(shown, "{name} IS OFF until a restart{error}");
        }
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
        let (ago, id) = (text::span(Duration::try_from_secs_f64(now - dead.at).unwrap_or_default()), &dead.id);
        let _ = writeln!(shown, "{name} refused event {id} for good, {ago} ago: {}", dead.why);
    }
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
        let off = human(&[SinkReport { state: SinkState::Off, ..sink }], 100.0);
        assert!(off.ends_with("audit IS OFF until a restart\n"), "{off}");
        assert_eq!(human(&[], 0.0), "");
    }
}
