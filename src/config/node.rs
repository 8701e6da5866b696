//! A tree of values with their places: what TOML files and settings from elsewhere both become, so that one set of
//! readers (`fields`) serves both. Knows TOML; knows nothing of what the keys mean.

use std::collections::HashSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::Problems;
use crate::config::source::{At, Place, Source};

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
    /// A text from the environment or a flag, which stands for whatever is wanted.
    Loose(String),
    /// A whole number; those beyond the 64 bits are the nearest that fit, and no range holds them.
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

/// Parses a TOML text. All syntax errors are reported; with one of them there is no tree, for what follows a
/// syntax error is guesswork.
pub(super) fn parse(file: &Path, bytes: &[u8], problems: &mut Problems) -> Option<Node> {
    let source = Source::new(file, bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(bad) => {
            problems.error(&source.place(bad.valid_up_to()), "this is not UTF-8, and TOML has to be");
            return None;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    tell(&source, text, &errors, problems);
    let kind = Kind::Table(entries(&source, table.get_ref()));
    errors.is_empty().then(|| Node { place: source.place(0), kind })
}

/// Tells syntax errors: the first of each line, for the others follow from it, and of a table that is written twice
/// only its head.
fn tell(source: &Source<'_>, text: &str, errors: &[toml::de::Error], problems: &mut Problems) {
    let mut told_lines = HashSet::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        let place = source.place(span.start);
        let twice = error.message() == "duplicate key";
        let head = if twice { text.get(..span.start).and_then(|before| before.rfind("\n[")) } else { None };
        let in_told_table = head.is_some_and(|at| told_lines.contains(&source.place(at + 1).line));
        if !told_lines.insert(place.line) || in_told_table {
            continue;
        }
        if twice {
            let key = text.get(span).unwrap_or("this key");
            problems.error(&place, format!("`{key}` is written twice")).hint("remove one, or give it another name");
        } else {
            problems.error(&place, format!("not TOML: {}", error.message().replace('\n', ", ")));
        }
    }
}

/// The entries of a table in the order they are written.
fn entries(source: &Source<'_>, table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<(usize, Entry)> = table
        .iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let key = At { value: key.get_ref().to_string(), place: source.place(start) };
            (start, Entry { key, value: node(source, value) })
        })
        .collect();
    entries.sort_by_key(|(start, _)| *start);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn node(source: &Source<'_>, value: &Spanned<DeValue<'_>>) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => Kind::Integer(integer(number.as_str(), number.radix())),
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(is) => Kind::Bool(*is),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(list) => Kind::List(list.iter().map(|item| node(source, item)).collect()),
        DeValue::Table(table) => Kind::Table(entries(source, table)),
    };
    Node { place: source.place(value.span().start), kind }
}

/// The number, or the end of the range on its side.
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
    fn all_syntax_errors_are_told() {
        let mut problems = Problems::default();
        assert!(parse(Path::new("f"), b"a = \nb = 1\nb = 2\n", &mut problems).is_none());
        assert_eq!(problems.into_sorted().iter().map(|p| p.line).collect::<Vec<_>>(), [1, 3]);
    }
}
