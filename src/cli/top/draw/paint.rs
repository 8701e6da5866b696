//! Writes texts and tables into the cells of a window.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::tone::{Palette, Tone};

/// What replaces the end of a text that has no room.
const CUT: &str = "\u{2026}";

/// The least width of a column that is not the last (judgment: some letters and the sign that more follow).
const LEAST_COLUMN: usize = 5;

/// In an area of fewer columns a table has only the most important columns (judgment).
const NARROW: u16 = 45;

/// The characters of a chart, from low to high.
const BARS: [char; 8] =
    ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];

/// A text with its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toned {
    pub(super) text: String,
    pub(super) tone: Tone,
}

pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Toned {
    Toned { text: text.into(), tone }
}

pub(super) fn plain(text: impl Into<String>) -> Toned {
    toned(text, Tone::Plain)
}

/// How many cells a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, cut at its end where it takes more than `room` cells.
pub(super) fn fit(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let Some(room) = room.checked_sub(1) else { return String::new() };
    let mut fitted = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += width(c.encode_utf8(&mut [0; 4]));
        if taken > room {
            break;
        }
        fitted.push(c);
    }
    fitted + CUT
}

/// A window and the styles of its terminal.
pub(super) struct Canvas<'b> {
    pub(super) buffer: &'b mut Buffer,
    pub(super) palette: Palette,
}

impl Canvas<'_> {
    /// Writes texts one after the other into a line of `area`; what has no room is cut.
    pub(super) fn line(&mut self, area: Rect, row: u16, texts: &[Toned]) {
        if row >= area.height {
            return;
        }
        let mut left = usize::from(area.width);
        let mut x = area.x;
        for Toned { text, tone } in texts {
            let fitted = fit(text, left);
            let taken = width(&fitted).min(left);
            self.buffer.set_stringn(x, area.y + row, &fitted, left, self.palette.style(*tone));
            left -= taken;
            x += taken as u16;
            if left == 0 {
                break;
            }
        }
    }

    /// Writes a text over several lines, broken between words. Returns how many lines it took.
    pub(super) fn wrapped(&mut self, area: Rect, text: &str, tone: Tone) -> u16 {
        let lines = wrap(text, usize::from(area.width));
        let shown = lines.len().min(usize::from(area.height));
        for (row, line) in (0..area.height).zip(&lines) {
            let cut = if usize::from(row) + 1 == shown && lines.len() > shown { CUT } else { "" };
            let text = fit(&format!("{line}{cut}"), usize::from(area.width));
            self.line(area, row, &[toned(text, tone)]);
        }
        shown as u16
    }

    /// Draws a table: headings, and the lines around the selected one. `line` makes one of `count` lines. In a narrow
    /// area it has only the columns that `narrow` lists.
    pub(super) fn table(
        &mut self,
        area: Rect,
        (headings, narrow): (&[&str], &[usize]),
        (count, selected): (usize, usize),
        line: impl Fn(usize) -> Vec<Toned>,
    ) {
        if area.width < NARROW && narrow.len() < headings.len() {
            let headings: Vec<&str> = narrow.iter().map(|at| headings[*at]).collect();
            let all: Vec<usize> = (0..narrow.len()).collect();
            let short = |at| {
                let line = line(at);
                narrow.iter().filter_map(|at| line.get(*at).cloned()).collect()
            };
            return self.table(area, (&headings, &all), (count, selected), &short as &dyn Fn(usize) -> Vec<Toned>);
        }
        let Some(room) = usize::from(area.height).checked_sub(1) else { return };
        let first = selected.saturating_sub(room / 2).min(count.saturating_sub(room));
        let shown: Vec<(usize, Vec<Toned>)> = (first..count.min(first + room)).map(|at| (at, line(at))).collect();
        let widths =
            column_widths(headings, shown.iter().map(|(_, line)| line), usize::from(area.width).saturating_sub(2));
        let heads: Vec<Toned> = headings.iter().map(|heading| toned(*heading, Tone::Strong)).collect();
        self.columns(area, 0, "  ", &heads, &widths);
        for ((at, line), row) in shown.iter().zip(1..) {
            self.columns(area, row, if *at == selected { "> " } else { "  " }, line, &widths);
        }
    }

    fn columns(&mut self, area: Rect, row: u16, mark: &str, texts: &[Toned], widths: &[usize]) {
        let mut line = vec![toned(mark, Tone::Strong)];
        for (Toned { text, tone }, room) in texts.iter().zip(widths) {
            let fitted = fit(text, *room);
            let gap = room + 2 - width(&fitted).min(*room);
            line.push(toned(fitted, *tone));
            line.push(plain(" ".repeat(gap)));
        }
        line.pop();
        self.line(area, row, &line);
    }
}

/// Each column is as wide as its widest text; if that is too much in all, the widest ones become narrower.
fn column_widths<'t>(headings: &[&str], lines: impl Iterator<Item = &'t Vec<Toned>>, room: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    for line in lines {
        for (widest, Toned { text, .. }) in widths.iter_mut().zip(line) {
            // A column that takes all the room is as wide as it gets.
            *widest = (*widest).max(width(text).min(room));
        }
    }
    let gaps = widths.len().saturating_sub(1) * 2;
    while widths.iter().sum::<usize>() + gaps > room {
        // The last of the widest: the first columns are the names.
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width).filter(|width| **width > LEAST_COLUMN) else {
            break;
        };
        *widest -= 1;
    }
    widths
}

/// The lines of a text that is broken between words, or inside a word that has no room on a line.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if room == 0 {
        return lines;
    }
    for word in text.split(' ') {
        if let Some(last) = lines.last_mut().filter(|last| width(last) + 1 + width(word) <= room) {
            last.push(' ');
            last.push_str(word);
            continue;
        }
        let mut part = String::new();
        for c in word.chars() {
            if width(&part) + width(c.encode_utf8(&mut [0; 4])) > room {
                lines.push(std::mem::take(&mut part));
            }
            part.push(c);
        }
        lines.push(part);
    }
    lines
}

/// Values as bars of so many cells, the newest at the end; each cell is the largest of its values. A value that is
/// missing is a space.
pub(super) fn bars(values: &[Option<f32>], room: usize) -> String {
    let per_cell = values.len().div_ceil(room.max(1)).max(1);
    let missing = (per_cell - values.len() % per_cell) % per_cell;
    let padded: Vec<Option<f32>> = std::iter::repeat_n(None, missing).chain(values.iter().copied()).collect();
    let cells = padded.chunks(per_cell).map(|cell| cell.iter().flatten().copied().fold(None, largest));
    let cells: Vec<Option<f32>> = cells.collect();
    let most = cells.iter().flatten().copied().fold(0.0, f32::max);
    let bar = |value: f32| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        BARS[((share * (BARS.len() - 1) as f32).round().max(0.0) as usize).min(BARS.len() - 1)]
    };
    cells.into_iter().map(|cell| cell.map_or(' ', bar)).collect()
}

fn largest(most: Option<f32>, value: f32) -> Option<f32> {
    Some(most.map_or(value, |most| most.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_cells_and_wrapped_between_words() {
        for (text, room, expected) in [
            ("eu-west", 7, "eu-west"),
            ("eu-west", 6, "eu-we\u{2026}"),
            ("\u{6771}\u{4eac}\u{90fd}", 5, "\u{6771}\u{4eac}\u{2026}"),
            ("\u{6771}\u{4eac}\u{90fd}", 4, "\u{6771}\u{2026}"),
            ("abc", 1, "\u{2026}"),
            ("abc", 0, ""),
        ] {
            assert_eq!(fit(text, room), expected, "{text} {room}");
            assert!(width(&fit(text, room)) <= room);
        }
        assert_eq!(wrap("region us-east is down", 10), ["region", "us-east is", "down"]);
        assert_eq!(wrap("abcdef", 4), ["abcd", "ef"]);
        assert!(wrap("abc", 0).is_empty());
    }

    #[test]
    fn the_widest_columns_become_narrower() {
        let line = ["a".repeat(30), "b".repeat(10), "c".repeat(40)].map(plain).to_vec();
        let widths = |room| column_widths(&["ONE", "TWO", "THREE"], [&line].into_iter(), room);
        assert_eq!(widths(100), [30, 10, 40]);
        assert_eq!(widths(54).iter().sum::<usize>() + 4, 54);
        assert!(widths(54)[1] == 10, "{:?}", widths(54));
        assert_eq!(widths(3), [3, 3, 5], "a column that can't be read is of no use");
    }

    #[test]
    fn bars_have_one_cell_for_several_values() {
        let some = |values: &[f32]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        assert_eq!(bars(&some(&[0.0, 7.0, 3.5]), 3), "\u{2581}\u{2588}\u{2585}");
        assert_eq!(bars(&some(&[1.0, 7.0, 3.5, 7.0]), 2), "\u{2588}\u{2588}");
        assert_eq!(bars(&[None, Some(1.0)], 2), " \u{2588}");
        assert_eq!(bars(&some(&[0.0, 0.0]), 2), "\u{2581}\u{2581}");
        assert_eq!((bars(&[], 5), bars(&some(&[1.0]), 0)), (String::new(), "\u{2588}".to_owned()));
    }
}
