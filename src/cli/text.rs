//! Text and tables for a terminal. Colours are used only if the stream is a terminal and NO_COLOR is not set. If the
//! reader of a pipe ends (`portolan status | head`), the rest of the output is dropped, and the command goes on.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::printable::{escaped, escaped_json, escaped_lines};

/// The only sequences that reach a terminal: colours, and their end.
const COLOURS: [&str; 4] = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"];
const COLOUR_END: &str = "\x1b[0m";

/// Writes to standard output. Everything that a terminal obeys is escaped, except colours and line feeds.
pub(super) fn print(text: &str) {
    write_all(anstream::stdout(), safe(text).as_bytes());
}

/// Writes a JSON text and a line feed to standard output, with the escapes of JSON.
pub(super) fn print_json(text: &str) {
    write_all(anstream::stdout(), format!("{}\n", escaped_json(text)).as_bytes());
}

/// Writes a line to standard error, with escapes as [`print`] makes them.
pub(super) fn complain(line: &str) {
    write_all(anstream::stderr(), format!("{}\n", safe(line)).as_bytes());
}

fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, from) = rest.split_at(at);
        safe.push_str(&escaped_lines(before));
        let colour = COLOURS.iter().chain([&COLOUR_END]).find(|colour| from.starts_with(**colour));
        let length = colour.map_or(1, |colour| colour.len());
        match colour {
            Some(colour) => safe.push_str(colour),
            None => safe.push_str(&escaped("\x1b")),
        }
        rest = &from[length..];
    }
    safe.push_str(&escaped_lines(rest));
    safe
}

/// The content of a JSON text from a server, for people: every string in it is one printable line.
pub(super) fn parsed<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    let mut value = serde_json::from_str(json)?;
    escape_strings(&mut value);
    serde_json::from_value(value)
}

/// The same for a content that this process made of files.
pub(super) fn printable<T: Serialize + DeserializeOwned>(content: &T) -> serde_json::Result<T> {
    let mut value = serde_json::to_value(content)?;
    escape_strings(&mut value);
    serde_json::from_value(value)
}

/// Its depth is bounded by that of the parser.
fn escape_strings(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => *text = escaped(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(escape_strings),
        Value::Object(fields) => fields.values_mut().for_each(escape_strings),
    }
}

/// Writes octets as they are.
pub(super) fn write_all(mut stream: impl std::io::Write, octets: &[u8]) {
    // This fails only if the reader of a pipe has ended, which is no error of the command.
    let _ = stream.write_all(octets);
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
    text.insert_str(end, COLOUR_END);
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
    fn only_colours_reach_the_terminal() {
        let text = "a\x1b[31mb\x1b[0m\nc\x1b[2J\x1b]0;x\x07\u{9b}2J\u{202e}\r\x1b";
        let expected = "a\x1b[31mb\x1b[0m\nc\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{202e}\\r\\u{1b}";
        assert_eq!(safe(text), expected);
    }

    #[test]
    fn what_a_server_sends_has_no_colours_and_no_lines_of_its_own() {
        let read: Vec<String> = parsed(r#"["a\u001b[31mb\nready"]"#).unwrap();
        assert_eq!(read, ["a\\u{1b}[31mb\\nready"]);
        assert_eq!(printable(&vec!["a\r".to_owned()]).unwrap(), ["a\\r"]);
    }

    #[test]
    fn spans_have_a_suitable_unit() {
        for (secs, expected) in [(0.42, "0.4 s"), (75.0, "75 s"), (600.0, "10 m"), (9000.0, "2 h"), (200_000.0, "2 d")]
        {
            assert_eq!(span(Duration::from_secs_f64(secs)), expected);
        }
    }
}
