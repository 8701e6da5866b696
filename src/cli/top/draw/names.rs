//! The view of the names: what is wrong, and what each class of clients gets now, problems first.

use ratatui::layout::Rect;

use super::paint::{Canvas, Toned, plain, toned};
use super::tone::Tone;
use super::{details, percent};
use crate::cli::names::gets;
use crate::cli::top::problems::AlertLevel;
use crate::cli::top::state::{Readout, TopState, TopView};
use crate::control::names::{AnswerRow, NameReport, merge};

/// Most classes of clients in a line.
const CLASSES: usize = 4;

/// Draws the view.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect) {
    let Some(readout) = state.readout.take() else { return };
    let below = problems(canvas, state, area);
    let rows = rows(state, &readout);
    let selected = state.selected(TopView::Names, rows.len());
    let about = rows.get(selected).map(|(name, row)| about(name, row)).unwrap_or_default();
    let table = details(canvas, below, &about);
    let total: usize = readout.status.zones.iter().map(|zone| zone.names.len()).sum();
    match (rows.is_empty(), total) {
        (true, 0) => canvas.line(table, 0, &[toned("There are no steered names.", Tone::Soft)]),
        (true, _) => canvas.line(table, 0, &[toned("No name has this text.", Tone::Soft)]),
        (false, _) => {
            let headings = ["NAME", "CLIENTS", "TYPE", "GETS NOW", "AS PREFERRED"];
            canvas.table(table, (&headings, &[0, 3]), (rows.len(), selected), |at| line(rows[at].0, &rows[at].1));
        }
    }
    drop(rows);
    state.readout = Some(readout);
}

/// The sentences on what is wrong, in at most a third of the area. Returns the area below them.
fn problems(canvas: &mut Canvas<'_>, state: &TopState, area: Rect) -> Rect {
    /// Below that many lines there is only the table.
    const LEAST: u16 = 3;
    if area.height < LEAST {
        return area;
    }
    let all = &state.digest.problems;
    let room = usize::from(area.height / 3).max(1);
    let shown = if all.len() > room { room - 1 } else { all.len() };
    let mut row = 0;
    for alert in &all[..shown] {
        let tone = match alert.level {
            AlertLevel::Bad => Tone::Bad,
            AlertLevel::Note | AlertLevel::Drill => Tone::Warning,
            AlertLevel::Override => Tone::Operator,
        };
        canvas.line(area, row, &[toned(format!("{}: ", alert.level.label()), tone), plain(alert.text.clone())]);
        row += 1;
    }
    if all.len() > shown {
        let more = all.len() - shown;
        let what = if shown > 0 { format!("and {more} more problems") } else { format!("{more} problems") };
        canvas.line(area, row, &[toned(what, Tone::Warning)]);
        row += 1;
    }
    if all.is_empty() {
        let calm = "Every name gives what its policy prefers; nothing is overridden.";
        canvas.line(area, row, &[toned(calm, Tone::Good)]);
        row += 1;
    }
    let taken = (row + u16::from(area.height >= 9)).min(area.height);
    Rect { y: area.y + taken, height: area.height - taken, ..area }
}

fn rows<'r>(state: &TopState, readout: &'r Readout) -> Vec<(&'r NameReport, AnswerRow<'r>)> {
    // The server has selected them by the filter of some time ago.
    let shown = readout.names.iter().filter(|name| state.passes([full_name(name).as_str()]));
    shown.flat_map(|name| merge(&name.classes).into_iter().map(move |row| (name, row))).collect()
}

fn line(name: &NameReport, row: &AnswerRow<'_>) -> Vec<Toned> {
    let AnswerRow { types, classes, report } = row;
    let (preferred, tone) = match (report.on_empty, report.preferred) {
        (true, _) => ("no: on_empty", Tone::Bad),
        (false, true) => ("yes", Tone::Good),
        (false, false) => ("no", Tone::Warning),
    };
    let more = classes.len().saturating_sub(CLASSES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let clients = classes.iter().take(CLASSES).copied().collect::<Vec<_>>().join(", ") + &more;
    vec![
        plain(full_name(name)),
        plain(clients),
        toned(types.join(", "), Tone::Soft),
        toned(gets(report), Tone::Strong),
        toned(preferred, tone),
    ]
}

/// What is known of a name and of one of its answers.
fn about(name: &NameReport, row: &AnswerRow<'_>) -> Vec<Toned> {
    let report = row.report;
    let answers = report.answers.iter().map(|answer| {
        let what = answer.endpoint.as_ref().map_or(String::new(), |endpoint| format!("{endpoint} "));
        format!("{what}{} {}", answer.rdata, percent(answer.probability))
    });
    let answers: Vec<String> = answers.collect();
    let answers = if answers.is_empty() { "nothing (NODATA)".to_owned() } else { answers.join(", ") };
    let clients = row.classes.join(", ");
    let mut texts =
        vec![toned(format!("{} for {clients}: {answers}; TTL {} s", full_name(name), report.ttl), Tone::Plain)];
    if !report.prefers.is_empty() {
        texts.push(toned(format!("The policy prefers {}.", report.prefers.join(", ")), Tone::Plain));
    }
    texts.extend(name.notes.iter().map(|note| toned(note.clone(), Tone::Warning)));
    if let Some(measured) = name.measured.as_ref().filter(|measured| !measured.answers.is_empty()) {
        let total: u64 = measured.answers.iter().map(|each| each.count).sum();
        let share = |count: u64| percent(count as f64 / total.max(1) as f64);
        let all = measured.answers.iter().map(|each| format!("{} {}", each.endpoint, share(each.count)));
        let all = all.collect::<Vec<_>>().join(", ");
        texts.push(toned(format!("Measured over {} s, all clients: {all}", measured.over_s), Tone::Soft));
    }
    texts
}

fn full_name(name: &NameReport) -> String {
    let apex = name.zone.trim_end_matches('.');
    if name.name == "@" { apex.to_owned() } else { format!("{}.{apex}", name.name) }
}
