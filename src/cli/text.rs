//! Text and tables for a terminal. Colours are used only if the stream is a terminal and NO_COLOR is not set. If the
//! reader of a pipe ends (`portolan status | head`), the rest of the output is dropped, and the command goes on.

use std::fmt::Write as _;

use std::time::Duration;

/// Writes to standard output.
pub(super) fn print(text: &str) {
    write_all(anstream::stdout(), text);
}

/// Writes a line to standard error.
pub(super) fn complain(line: &str) {
    write_all(anstream::stderr(), &format!("{line}\n"));
}

fn write_all(mut stream: impl std::io::Write, text: &str) {
    // This fails only if the reader of a pipe has ended, which is no error of the command.
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

/// A table with headings. Each column is as wide as its widest cell; two spaces separate columns.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = line(headings.iter().copied(), &widths);
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str), &widths));
    }
    text
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.zip(widths) {
        let _ = write!(text, "{:width$}  ", cell);
        colour_last_health(&mut text, cell);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Colours the last cell of `text` if it is a health. The colour codes don't count for its width.
fn colour_last_health(text: &mut String, cell: &str) {
    let code = match cell {
        "up" => "32",
        "down" => "31",
        "unknown" | "blind" | "stale" | "no" => "33",
        _ => return,
    };
    let end = text.trim_end().len();
    text.insert_str(end, "\x1b[0m");
    text.insert_str(end - cell.len(), &format!("\x1b[{code}m"));
}

/// A time span in the largest suitable unit: `0.4 s`, `12 s`, `3 m`, `5 h`, `2 d`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        secs @ 10..120 => format!("{secs} s"),
        secs @ 120..7200 => format!("{} m", secs / 60),
        secs @ 7200..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_their_headings() {
        let rows = [vec!["fra1".to_owned(), "x".to_owned()], vec!["a".to_owned(), "long cell".to_owned()]];
        assert_eq!(table(&["NAME", "WHAT"], &rows), "NAME  WHAT\nfra1  x\na     long cell\n");
    }

    #[test]
    fn colours_do_not_count_for_the_width() {
        let rows = [vec!["up".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["HEALTH", "B"], &rows), "HEALTH  B\n\x1b[32mup\x1b[0m      x\n");
    }

    #[test]
    fn spans_have_a_suitable_unit() {
        for (secs, expected) in [(0.42, "0.4 s"), (75.0, "75 s"), (600.0, "10 m"), (9000.0, "2 h"), (200_000.0, "2 d")]
        {
            assert_eq!(span(Duration::from_secs_f64(secs)), expected);
        }
    }
}
