//! As much of Rust as the checks need: which text is code, which words it has, which items and files are for tests only.
//! It works on text and knows comments, strings, characters and attributes, not the grammar.

use crate::sources::Source;
use std::collections::BTreeSet;

/// The text with comments, strings and characters blanked out; lines stay where they were.
pub(crate) fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(len) = raw_string(rest, &out) {
            len
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_char_literal(rest) {
            quoted(rest, '\'')
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let newlines = rest[..skipped].matches('\n').count();
        out.push(' ');
        out.extend(std::iter::repeat_n('\n', newlines));
        rest = &rest[skipped..];
    }
    out
}

/// Length of the (nested) block comment at the start of `text`.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of the raw string at the start of `text`, if one starts here: `r"..."`, `br#"..."#`.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inner = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - inner.len();
    Some(inner.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// Length of the literal at the start of `text`, between two `quote`s, escapes skipped.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Whether the `'` at the start of `text` opens a character rather than a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    match after.next() {
        Some('\\') => true,
        Some(_) => after.next() == Some('\''),
        None => false,
    }
}

/// The code without items marked `#[cfg(test)]`: tests may use what they like.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let len = item_len(item);
        out.extend(std::iter::repeat_n('\n', item[..len].matches('\n').count()));
        rest = &item[len..];
    }
    out + rest
}

/// Length of the item at the start of `code`: to its `;`, or to the brace that closes its first one.
fn item_len(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth <= 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Files of modules that are declared `#[cfg(test)] mod NAME;`.
pub(crate) fn test_only_files(sources: &[Source]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for source in sources {
        let code = code_of(&source.text);
        for (at, mark) in code.match_indices("#[cfg(test)]") {
            let item = code[at + mark.len()..].trim_start();
            let item = item.strip_prefix("pub(crate) ").or(item.strip_prefix("pub(super) ")).unwrap_or(item);
            let Some(name) = item.strip_prefix("mod ").and_then(|m| m.split_once(';')).map(|(n, _)| n.trim()) else {
                continue;
            };
            if name.contains('{') {
                continue;
            }
            let dir = match source.path.strip_suffix("mod.rs") {
                Some(dir) => dir.to_owned(),
                None if matches!(source.path.as_str(), "lib.rs" | "main.rs") => String::new(),
                None => format!("{}/", source.path.trim_end_matches(".rs")),
            };
            files.insert(format!("{dir}{name}.rs"));
            files.insert(format!("{dir}{name}/mod.rs"));
        }
    }
    files
}

/// Each word of `code` with its line, counted from 1, and the code before it.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    let mut line = 1;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let len = code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        line += code[at..start].matches('\n').count();
        at = start + len;
        Some((line, &code[start..at], &code[..start]))
    })
}

/// Whether `line` has `word` with no letter on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joined(line[..at].chars().next_back()) && !joined(line[at + word.len()..].chars().next())
    })
}

#[test]
fn comments_strings_and_characters_are_blanked() {
    let cases = [
        ("a // b\nc", "a  \nc"),
        ("a /* b /* c */ d */ e", "a   e"),
        ("f(\"x \\\" y\") g", "f( ) g"),
        ("r#\"a \" b\"# c", "  c"),
        ("let c = '\\''; d", "let c =  ; d"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("for r in x", "for r in x"),
    ];
    for (text, expected) in cases {
        assert_eq!(code_of(text), expected, "of {text:?}");
    }
}
