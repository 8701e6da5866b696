//! The steered names on the page: what each class of clients gets now.

use std::fmt::Write;

use super::escape;
use crate::control::names::{AnswerRow, ClassReport, NameReport, merge};

/// Most answers in a cell.
const SHOWN: usize = 6;

/// Writes the section; writes nothing if there are no steered names.
pub(super) fn write(html: &mut String, names: &[NameReport], all: usize) {
    if names.is_empty() {
        return;
    }
    html.push_str(
        "<section class=\"names\">\n<h2>Names</h2>\n<table>\n<thead><tr><th>Name<th>Clients<th>Type<th>Get now\
         <th>As preferred</tr></thead>\n<tbody>\n",
    );
    for name in names {
        for answer in merge(&name.classes) {
            row(html, name, &answer);
        }
    }
    html.push_str("</tbody>\n</table>\n");
    if all > names.len() {
        let _ = writeln!(html, "<p>and {} more names: <code>/v1/names</code> has all.</p>", all - names.len());
    }
    html.push_str("</section>\n");
}

fn row(html: &mut String, name: &NameReport, AnswerRow { types, classes, report }: &AnswerRow<'_>) {
    let (state, label) = match (report.preferred, report.on_empty) {
        (true, _) => ("up", "yes"),
        (false, false) => ("warning", "no"),
        (false, true) => ("down", "no: on_empty"),
    };
    let zone = name.zone.trim_end_matches('.');
    let full = if name.name == "@" { zone.to_owned() } else { format!("{}.{zone}", name.name) };
    let _ = writeln!(
        html,
        "<tr class=\"{state}\"><td data-label=\"Name\">{}<td data-label=\"Clients\">{}<td data-label=\"Type\">{}\
         <td data-label=\"Get now\">{}<td data-label=\"As preferred\">\
         <span class=\"badge {state}\">{label}</span></tr>",
        escape(&full),
        escape(&classes.join(", ")),
        escape(&types.join(", ")),
        escape(&gets(report, types.len() == 1)),
    );
}

/// `fra1 (192.0.2.10) 70 %, fra2 (192.0.2.11) 30 %`; without the data if it differs between the types.
fn gets(class: &ClassReport, with_data: bool) -> String {
    let each = class.answers.iter().take(SHOWN).map(|answer| {
        let part =
            if answer.probability < 0.9995 { format!(" {:.0} %", answer.probability * 100.0) } else { String::new() };
        match &answer.endpoint {
            Some(endpoint) if with_data => format!("{endpoint} ({}){part}", answer.rdata),
            Some(endpoint) => format!("{endpoint}{part}"),
            None => format!("zone file ({})", answer.rdata),
        }
    });
    let mut each: Vec<String> = each.collect();
    if let Some(more) = class.answers.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        each.push(format!("{more} more"));
    }
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}
