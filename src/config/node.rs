//! A tree of values with their places. TOML files become such a tree, and so do settings from the environment and from
//! flags, so the same code reads both. Knows TOML, not the keys.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::{At, Place, Problems, Source, without_mark};

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it is written.
    pub(super) place: Place,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value can be.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A string.
    Text(String),
    /// A text from the environment or a flag, which can be the text form of any other type.
    Loose(String),
    /// A whole number. One that doesn't fit 64 bits is the nearest that does, which is outside every range.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or time.
    Date,
    /// A list.
    List(Vec<Node>),
    /// A table, in the order it is written.
    Table(Vec<Entry>),
}

/// One key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key, where it is written.
    pub(super) key: At<String>,
    /// Its value.
    pub(super) value: Node,
}

impl Kind {
    /// What it is, for messages.
    pub(super) fn described(&self) -> &'static str {
        match self {
            Kind::Text(_) | Kind::Loose(_) => "a string",
            Kind::Integer(_) => "a whole number",
            Kind::Float(_) => "a number with a fraction",
            Kind::Bool(_) => "true or false",
            Kind::Date => "a date or time",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }
}

/// Parses a TOML text. All syntax errors are reported. With an error there is no tree, because what follows a syntax
/// error is unreliable.
pub(super) fn parse(file: &Path, bytes: &[u8], problems: &mut Problems) -> Option<Node> {
    let bytes = without_mark(bytes);
    let source = Source::new(file, bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(bad) => {
            let place = source.place(bad.valid_up_to());
            let hint = "save the file as UTF-8";
            problems.error(&place, "this is not UTF-8, and TOML has to be").hint(hint);
            return None;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    report(&source, text, &errors, problems);
    // What was parsed is dropped part by part, so most of a large file is not in memory twice.
    errors.is_empty().then(|| Node { place: source.place(0), kind: Kind::Table(entries(&source, table.into_inner())) })
}

/// Reports the first syntax error of each line, because the others follow from it. Of a table that is written twice
/// only the head is reported.
fn report(source: &Source<'_>, text: &str, errors: &[toml::de::Error], problems: &mut Problems) {
    let mut reported_lines = HashSet::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        let place = source.span(span.start, span.end);
        let twice = error.message() == "duplicate key";
        let head = if twice { text.get(..span.start).and_then(|before| before.rfind("\n[")) } else { None };
        let in_reported_table = head.is_some_and(|at| reported_lines.contains(&source.place(at + 1).line));
        if !reported_lines.insert(place.line) || in_reported_table {
            continue;
        }
        if twice {
            let key = text.get(span.clone()).unwrap_or("this key");
            let problem = problems.error(&place, format!("`{key}` is written twice"));
            if let Some(first) = first_of(text, &span) {
                problem.label(&source.span(first.start, first.end), "first here");
            }
            problem.hint("remove one, or give it another name");
        } else {
            let (message, hint) = explain(&error.message().replace('\n', ", "), text, span.start);
            problems.error(&place, message).hint = hint;
        }
    }
}

/// Where the key at `again` is written first: the same head of a table, or the same key in the same table.
fn first_of(text: &str, again: &Range<usize>) -> Option<Range<usize>> {
    let key = text.get(again.clone())?;
    let before = text.get(..again.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let head = before.get(line_start..)?.trim_start();
    let is_head = head.starts_with('[');
    let mut end = line_start;
    while let Some(line) = text.get(..end)?.split_inclusive('\n').next_back() {
        end -= line.len();
        let code = line.trim_start();
        let rest = code.strip_prefix(if is_head { head } else { "" }).and_then(|code| code.strip_prefix(key));
        if rest.is_some_and(|rest| rest.trim_start().starts_with(if is_head { ']' } else { '=' })) {
            let start = end + (line.len() - code.len()) + if is_head { head.len() } else { 0 };
            return Some(start..start + key.len());
        }
        if !is_head && code.starts_with('[') {
            return None;
        }
    }
    None
}

/// The message for a syntax error, and what to do.
fn explain(error: &str, text: &str, offset: usize) -> (String, Option<String>) {
    if let Some((key, value)) = unquoted(text, offset) {
        let hint = format!("a text takes quotes: `{key} = \"{value}\"`");
        return (format!("not TOML: `{value}` is no value"), Some(hint));
    }
    let (words, hint) = match error {
        "invalid basic string, expected `\"`" => ("this text is not closed", "end it with `\"` on the same line"),
        "unclosed table, expected `]`" => ("the head of this table is not closed", "write it as `[name.www]`"),
        "unexpected key or value, expected newline, `#`" => {
            ("something follows where the line should end", "write one key a line; a quote within a text is `\\\"`")
        }
        other => return (format!("not TOML: {other}"), None),
    };
    (format!("not TOML: {words}"), Some(hint.to_owned()))
}

/// The key and the value of the line at `offset`, where the value looks like a text without quotes.
fn unquoted(text: &str, offset: usize) -> Option<(&str, &str)> {
    /// A longer text is hardly a forgotten quote (judgment).
    const LONGEST: usize = 64;
    let line_start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    let (key, value) = text.get(line_start..)?.lines().next()?.split_once('=')?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let is_bare = !value.is_empty() && value.len() <= LONGEST && !value.contains(['"', '\'', '[', '{', '=']);
    is_bare.then(|| (key.trim(), value))
}

/// The entries of a table in the order they are written.
fn entries(source: &Source<'_>, table: DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (Spanned<Cow<'_, str>>, _)| {
        let place = source.span(key.span().start, key.span().end);
        Entry { key: At { value: key.into_inner().into_owned(), place }, value: node(source, value) }
    };
    let mut entries: Vec<Entry> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|Entry { key: At { place, .. }, .. }| (place.line, place.column));
    entries
}

fn node(source: &Source<'_>, value: Spanned<DeValue<'_>>) -> Node {
    let place = source.span(value.span().start, value.span().end);
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Integer(number) => Kind::Integer(integer(number.as_str(), number.radix())),
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(is) => Kind::Bool(is),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(list) => Kind::List(list.into_iter().map(|item| node(source, item)).collect()),
        DeValue::Table(table) => Kind::Table(entries(source, table)),
    };
    Node { place, kind }
}

/// The number, or the nearest one that fits.
fn integer(digits: &str, radix: u32) -> i64 {
    let end = if digits.starts_with('-') { i64::MIN } else { i64::MAX };
    i64::from_str_radix(digits, radix).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_places() {
        let mut problems = Problems::default();
        let tree = parse(Path::new("f"), b"z = 1\n[a.b]\nx = [0x1F, 99999999999999999999]\n", &mut problems).unwrap();
        let Kind::Table(top) = tree.kind else { panic!("a table") };
        assert_eq!(top.iter().map(|e| e.key.value.as_str()).collect::<Vec<_>>(), ["z", "a"]);
        let Kind::Table(a) = &top[1].value.kind else { panic!("a table") };
        assert_eq!((a[0].key.place.line, a[0].key.place.column), (2, 4));
        let Kind::Table(b) = &a[0].value.kind else { panic!("a table") };
        let Kind::List(x) = &b[0].value.kind else { panic!("a list") };
        assert!(matches!((&x[0].kind, &x[1].kind), (Kind::Integer(31), Kind::Integer(i64::MAX))));
    }

    #[test]
    fn all_syntax_errors_are_reported() {
        let mut problems = Problems::default();
        assert!(parse(Path::new("f"), b"a = \nb = 1\nb = 2\n", &mut problems).is_none());
        assert_eq!(problems.into_sorted().iter().map(|p| p.line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_duplicate_is_reported_with_the_first() {
        for (text, first) in [
            ("[name.a]\nx = 1\n[name.b]\nx = 2\n x = 3\n", (4, 1)),
            ("[name.a]\nx = 1\n[pool.a]\n[name.a]\n", (1, 7)),
            ("a = 1\n\na = 2", (1, 1)),
        ] {
            let mut problems = Problems::default();
            assert!(parse(Path::new("f"), text.as_bytes(), &mut problems).is_none());
            let found = problems.into_sorted();
            let labels: Vec<(u32, u32)> = found[0].labels.iter().map(|label| (label.line, label.column)).collect();
            assert_eq!((found.len(), labels), (1, vec![first]), "{text}: {found:?}");
        }
    }
}
