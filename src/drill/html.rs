//! The report of a drill as one HTML page to print: no script, nothing to load.

use std::fmt::Write;

use crate::drill::human::{not_until_end, recovery, seconds};
use crate::drill::{DrillReport, DrilledServer, QuestionReport};
use crate::printable::escaped_html;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#111;background:#fff;max-width:60em;margin:2em auto;\
                     padding:0 1em}table{border-collapse:collapse;width:100%;margin:0 0 1.5em}th,td{text-align:left;\
                     padding:.3em .6em;border-bottom:1px solid #999;overflow-wrap:anywhere}.result{font-weight:700;\
                     padding:.4em .8em;border:2px solid}.passed{color:#14532d}.failed{color:#7f1d1d}\
                     @media print{body{margin:0}table{page-break-inside:avoid}}";

/// The page. `at` is the time of the drill as text.
pub fn html(report: &DrillReport, at: &str) -> String {
    let (word, class) = match (&report.aborted, report.ok) {
        (Some(_), _) => ("aborted", "failed"),
        (None, true) => ("passed", "passed"),
        (None, false) => ("failed", "failed"),
    };
    let title = format!("Drill {} {}", report.drill.as_str(), report.target);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n<body><h1>{0}</h1>\n\
         <p class=\"result {class}\">{word}</p>\n",
        escaped_html(title.trim_end())
    );
    if !report.problems.is_empty() {
        let items: String =
            report.problems.iter().map(|problem| format!("<li>{}</li>", escaped_html(problem))).collect();
        let _ = writeln!(page, "<h2>Problems</h2><ul>{items}</ul>");
    }
    let or = |ms: Option<f64>, none: &str| ms.map_or(none.to_owned(), seconds);
    let (never, is_measured) = (not_until_end(report), report.servers.iter().all(DrilledServer::is_measured));
    let facts = [
        ("When", at.to_owned()),
        ("Who", report.who.clone()),
        ("Lasted", format!("{} s", report.for_secs)),
        ("Generation", report.generation.to_string()),
        ("Recovery: from the loss to the last stale answer", recovery(report.recovery_ms, is_measured)),
        ("Accepted (rto)", seconds(report.rto_ms)),
        ("A vantage had detected the loss after", or(report.detect_ms, never)),
        ("The vantages had agreed after", or(report.decide_ms, never)),
        ("Answers without the lost endpoints were published after", or(report.publish_ms, never)),
        ("Lost endpoints", joined(report.lost.iter().map(|lost| lost.endpoint.as_str()))),
        ("Lost vantages", joined(report.lost_vantages.iter().map(String::as_str))),
    ];
    page.push_str("<h2>Result</h2><table>");
    for (what, value) in facts {
        let _ = write!(page, "<tr><th scope=\"row\">{what}</th><td>{}</td></tr>", escaped_html(&value));
    }
    page.push_str("</table>\n");
    for server in &report.servers {
        let what = if server.resolver { "Resolver" } else { "Server" };
        let heads = ["Name", "Type", "Clients", "Recovery", "Back after the drill", "Questions", "Stale", "Lost"];
        let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
        let _ = write!(page, "<h2>{what} {}</h2><table><tr>{heads}</tr>", escaped_html(&server.server));
        for question in &server.questions {
            let QuestionReport { name, rtype, class, recovery_ms, recovered, back_ms, sent, stale, timed_out, .. } =
                question;
            let recovery = match recovered {
                Some(false) => "not at all".to_owned(),
                Some(true) | None => recovery(*recovery_ms, recovered.is_some()),
            };
            let cells = [
                name.clone(),
                rtype.clone(),
                class.clone(),
                recovery,
                or(*back_ms, "not at all"),
                sent.to_string(),
                stale.to_string(),
                timed_out.to_string(),
            ];
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped_html(cell))).collect();
            let _ = write!(page, "<tr>{cells}</tr>");
        }
        page.push_str("</table>\n");
    }
    if !report.moves.is_empty() {
        page.push_str(
            "<h2>Shares of the answers</h2><table><tr><th scope=\"col\">Endpoint</th><th scope=\"col\">Before</th>\
             <th scope=\"col\">During</th></tr>",
        );
        for of in &report.moves {
            let (before, after) = (of.before * 100.0, of.after * 100.0);
            let name = escaped_html(&of.endpoint);
            let _ = write!(page, "<tr><td>{name}</td><td>{before:.1} %</td><td>{after:.1} %</td></tr>");
        }
        page.push_str("</table>\n");
    }
    for note in &report.notes {
        let _ = writeln!(page, "<p>{}</p>", escaped_html(note));
    }
    page.push_str("</body></html>\n");
    page
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_never_markup() {
        assert_eq!(escaped_html("<b a=\"x\">'&"), "&lt;b a=&quot;x&quot;&gt;&#39;&amp;");
    }
}
