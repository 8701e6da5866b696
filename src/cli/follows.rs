//! The streams that are followed in `portolan status`.

use std::fmt::Write;

use crate::cli::text;
use crate::control::follow::{FollowReport, FollowState};

/// A row for each stream, and what is wrong. Empty without one.
pub(super) fn human(follows: &[FollowReport]) -> String {
    if follows.is_empty() {
        return String::new();
    }
    let row = |follow: &FollowReport| {
        let FollowReport { name, kind, from, state, behind, applied, refused, missed, .. } = follow;
        let counts = [behind, applied, refused, missed].map(u64::to_string);
        [vec![name.clone(), kind.clone(), from.clone(), state.as_str().to_owned()], counts.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = follows.iter().map(row).collect();
    let heads = ["FOLLOWED", "TYPE", "FROM", "STATE", "BEHIND", "CHANGES", "REFUSED", "MISSED"];
    let mut shown = format!("\n{}", text::table(&heads, &rows));
    for FollowReport { name, state, problem, last_refused, .. } in follows {
        if let Some(problem) = problem {
            let what = match state {
                FollowState::Away => "CAN'T BE FOLLOWED, what it has set stays",
                FollowState::Gap => "EVENTS WERE MISSED",
                FollowState::Ok | FollowState::Waiting => "is followed",
            };
            let _ = writeln!(shown, "{name} {what}: {problem}");
        }
        if let Some(refused) = last_refused.last() {
            let _ = writeln!(shown, "{name}: event {} could not be used: {}", refused.id, refused.why);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::follow::RefusedEvent;

    #[test]
    fn a_stream_is_a_row_and_a_line_for_each_thing_that_is_wrong() {
        assert_eq!(human(&[]), "");
        let well = FollowReport {
            name: "primary".into(),
            kind: "nats".into(),
            from: "portolan.events on nats://127.0.0.1:4222".into(),
            state: FollowState::Ok,
            applied: 3,
            ..FollowReport::default()
        };
        let text = human(std::slice::from_ref(&well));
        let row = text.lines().nth(2).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "primary nats portolan.events on nats://127.0.0.1:4222 ok 0 3 0 0");
        assert_eq!(text.lines().count(), 3, "{text}");
        let wrong = FollowReport {
            state: FollowState::Gap,
            problem: Some("2 messages are lost".into()),
            last_refused: vec![RefusedEvent { id: "ns2/7".into(), at: 1.0, why: "it is no CloudEvent".into() }],
            ..well
        };
        let text = human(&[wrong]);
        for line in [
            "primary EVENTS WERE MISSED: 2 messages are lost",
            "primary: event ns2/7 could not be used: it is no CloudEvent",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
