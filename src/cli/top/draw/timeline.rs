//! The view of the events, the newest first.

use ratatui::layout::Rect;

use super::details;
use super::paint::{Canvas, Toned, plain, toned};
use super::tone::Tone;
use crate::cli::top::state::{TopState, TopView};
use crate::control::JournalEvent;
use crate::fleet::events::{EventKind, rfc3339};
use crate::model::Moment;

/// Draws the view at `now`.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &mut TopState, area: Rect, now: Moment) {
    let today = date(state.server_time(now));
    let passes = |event: &&JournalEvent| state.passes([&*event.endpoint, &event.zone, &event.why]);
    let shown: Vec<JournalEvent> = state.events.iter().filter(passes).cloned().collect();
    if shown.is_empty() {
        let what = if state.events.is_empty() { "Nothing has changed yet." } else { "No event has this text." };
        return canvas.line(area, 0, &[toned(what, Tone::Soft)]);
    }
    let selected = state.selected(TopView::Timeline, shown.len());
    let about = shown.get(selected).map(about).unwrap_or_default();
    let table = details(canvas, area, &about);
    let headings = ["UTC", "WHAT", "OF", "CHANGE", "WHY"];
    canvas.table(table, (&headings, &[2, 3]), (shown.len(), selected), |at| line(&shown[at], &today));
}

fn line(event: &JournalEvent, today: &str) -> Vec<Toned> {
    let time = rfc3339(event.at);
    let time = match (date(event.at) == today, time.get(11..19)) {
        (true, Some(of_day)) => of_day.to_owned(),
        (_, _) => time.get(..16).unwrap_or(&time).replace('T', " "),
    };
    let by = event.monitor.as_ref().map_or(String::new(), |monitor| format!(" by monitor {monitor}"));
    let change = match (event.from.as_str(), event.to.as_str()) {
        ("", "") => String::new(),
        (from, to) => format!("{} -> {}", or_none(from), or_none(to)),
    };
    vec![
        toned(time, Tone::Soft),
        plain(kind(event.kind)),
        toned(format!("{}{by}", subject(event)), Tone::Strong),
        toned(change, tone(&event.to)),
        plain(event.why.clone()),
    ]
}

fn about(event: &JournalEvent) -> Vec<Toned> {
    let zone = if event.zone.is_empty() { String::new() } else { format!(" in {}", event.zone) };
    let who = event.who.as_ref().filter(|who| !event.why.contains(who.as_str()));
    let who = who.map_or(String::new(), |who| format!(", by {who}"));
    let id = if event.id.contains('/') { format!(" (event {})", event.id) } else { String::new() };
    vec![plain(format!("{} {}{zone}: {}{who}{id}", rfc3339(event.at), subject(event), event.why))]
}

fn subject(event: &JournalEvent) -> &str {
    match (event.endpoint.as_str(), event.zone.as_str()) {
        ("", "") if event.kind == EventKind::Reload => "the files",
        ("", "") => "the server",
        ("", zone) => zone,
        (endpoint, _) => endpoint,
    }
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Transition => "health",
        EventKind::Override
        | EventKind::Failback
        | EventKind::Promotion
        | EventKind::Reload
        | EventKind::Drill
        | EventKind::Discovery
        | EventKind::Source
        | EventKind::Lost => kind.as_str(),
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn tone(to: &str) -> Tone {
    match to {
        "up" | "forced-up" => Tone::Good,
        "down" | "forced-down" => Tone::Bad,
        "unknown" | "away" | "bad" | "kept" => Tone::Warning,
        "drained" => Tone::Operator,
        _ => Tone::Plain,
    }
}

/// The day of a Unix time: `2026-11-30`.
fn date(at: f64) -> String {
    rfc3339(at).get(..10).unwrap_or_default().to_owned()
}
