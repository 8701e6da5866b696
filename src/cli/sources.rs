//! The sources of endpoints that come and go, as a part of `portolan status`.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::text;
use crate::control::sources::SourceReport;

/// The sources of endpoints, each problem below them.
pub(super) fn human(sources: &[SourceReport]) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let age = |source: &SourceReport| match source.age_ms {
        Some(0) => "followed".to_owned(),
        Some(age) => format!("{} old", text::span(Duration::from_millis(age))),
        None => "never listed".to_owned(),
    };
    let row = |of: &SourceReport| {
        vec![of.name.clone(), of.of.clone(), of.zone.clone(), of.state.clone(), of.endpoints.to_string(), age(of)]
    };
    let rows: Vec<Vec<String>> = sources.iter().map(row).collect();
    let headings = ["SOURCE", "TYPE", "ZONE", "STATE", "ENDPOINTS", "LIST"];
    let mut shown = format!("\n{}", text::table(&headings, &rows));
    for source in sources {
        if let Some(problem) = &source.problem {
            let _ = writeln!(shown, "{}: {problem}", source.name);
        }
    }
    shown
}
