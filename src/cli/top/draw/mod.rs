//! The picture of a state, for any size of the window. Pure.

mod charts;
mod feeds;
mod header;
mod matrix;
mod names;
mod paint;
mod timeline;
mod tone;
mod world;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::cli::text;
use crate::cli::top::state::{TopState, TopView};
use crate::model::Moment;
use paint::{Canvas, plain, toned};
use tone::{Palette, Tone};

/// A window of fewer lines has a short header and no line of keys (judgment: the body needs most of it).
const SHORT: u16 = 12;

/// From this size on, the first view has the map and the events next to the names.
const WIDE: (u16, u16) = (150, 40);

/// The keys, for the help.
const KEYS: [(&str, &str); 10] = [
    ("1 2 3 4 5 6", "names, map, matrix, timeline, charts, sources and events"),
    ("Tab, right", "the next view"),
    ("Shift-Tab, left", "the previous view"),
    ("up, down, j, k", "choose a line; the lines at the end are about it"),
    ("PgUp, PgDn", "ten lines further"),
    ("Home, End", "the first line, the last line"),
    ("/", "show only what has this text; Enter ends typing"),
    ("Escape", "show everything again"),
    ("Ctrl-L, Ctrl-Z", "draw anew; back to the shell until `fg`"),
    ("q, Ctrl-C", "end"),
];

/// Draws the picture at `now`.
pub(super) fn draw(state: &mut TopState, area: Rect, buffer: &mut Buffer, now: Moment) {
    let palette = Palette { has_colour: state.has_colour };
    let mut canvas = Canvas { buffer, palette };
    let header = header::draw(&mut canvas, state, area, now);
    let has_keys = area.height >= SHORT;
    let footer = u16::from(has_keys);
    let body =
        Rect { y: area.y + header.min(area.height), height: area.height.saturating_sub(header + footer), ..area };
    if has_keys {
        keys(&mut canvas, state, Rect { y: area.y + area.height - 1, height: 1, ..area });
    }
    if state.has_help {
        return help(&mut canvas, body);
    }
    if state.readout.is_none() {
        let why = match &state.away {
            Some(_) => "Nothing is known yet: it will be here when the server answers.".to_owned(),
            None => format!("Waiting for {}", state.server),
        };
        canvas.wrapped(body, &why, Tone::Soft);
        return;
    }
    match state.view {
        TopView::Names if area.width >= WIDE.0 && area.height >= WIDE.1 => overview(&mut canvas, state, body, now),
        TopView::Names => names::draw(&mut canvas, state, body),
        TopView::Map => world::draw(&mut canvas, state, body),
        TopView::Matrix => matrix::draw(&mut canvas, state, body),
        TopView::Timeline => timeline::draw(&mut canvas, state, body, now),
        TopView::Charts => charts::draw(&mut canvas, state, body),
        TopView::Sources => feeds::draw(&mut canvas, state, body),
    }
}

/// Names on the left, map and events on the right.
fn overview(canvas: &mut Canvas<'_>, state: &mut TopState, body: Rect, now: Moment) {
    let left = body.width / 2;
    let right = Rect { x: body.x + left + 1, width: body.width - left - 1, ..body };
    let map = right.height * 3 / 5;
    names::draw(canvas, state, Rect { width: left, ..body });
    world::draw(canvas, state, Rect { height: map, ..right });
    timeline::draw(canvas, state, Rect { y: right.y + map, height: right.height - map, ..right }, now);
}

fn keys(canvas: &mut Canvas<'_>, state: &TopState, area: Rect) {
    if state.is_typing {
        let hint = toned("  Enter: done, Escape: show all", Tone::Soft);
        return canvas.line(area, 0, &[toned(format!("/{}_", state.filter), Tone::Strong), hint]);
    }
    let filter = match state.filter.is_empty() {
        true => plain(""),
        false => toned(format!("  only with `{}`, Escape shows all", state.filter), Tone::Warning),
    };
    canvas.line(area, 0, &[toned("1-6 Tab view  up/down line  / filter  ? help  q quit", Tone::Soft), filter]);
}

fn help(canvas: &mut Canvas<'_>, area: Rect) {
    for ((keys, what), row) in KEYS.iter().zip(0..) {
        canvas.line(area, row, &[toned(format!("{keys:<16}"), Tone::Strong), plain(*what)]);
    }
}

/// The lines about the chosen thing, at the end of an area of a view. Returns the area above them.
fn details(canvas: &mut Canvas<'_>, area: Rect, texts: &[paint::Toned]) -> Rect {
    /// Fewer lines than that are for the table alone.
    const LEAST: u16 = 9;
    if area.height < LEAST || texts.is_empty() {
        return area;
    }
    let height = (texts.len() as u16).saturating_add(2).min(area.height / 3);
    let above = Rect { height: area.height - height - 1, ..area };
    let mut left = Rect { y: area.y + above.height + 1, height, ..area };
    for text in texts {
        let taken = canvas.wrapped(left, &text.text, text.tone);
        left = Rect { y: left.y + taken, height: left.height - taken, ..left };
    }
    above
}

/// A number of queries or answers a second.
fn rate(value: f32) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn percent(share: f64) -> String {
    match share {
        share if share > 0.0 && share < 0.01 => "<1 %".to_owned(),
        share => format!("{:.0} %", share * 100.0),
    }
}

fn millis_ago(ms: u64) -> String {
    text::span(std::time::Duration::from_millis(ms))
}
