//! Text that may come from a stranger, in a form that is safe to print. A file, an endpoint or a server can contain
//! characters that a terminal obeys, that change the order of the text, or that nobody sees. Every printer uses these
//! functions: problems, the log, the commands and the page.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Whether the character must not be printed as it is: a control character (C0, DEL, C1), a separator of lines, a mark
/// that changes the direction of text (Unicode Standard Annex 9, 2), or a character without width.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // The soft hyphen.
            '\u{ad}'
            // Marks of direction.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Spaces and joiners without width, invisible operators, the byte order mark, annotations and tags.
            | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text on one line, with escapes such as `\n` and `\u{1b}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    with_escapes(text, is_unprintable, |c, safe| safe.extend(c.escape_default()))
}

/// As [`escaped`], but line feeds stay.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    with_escapes(text, |c| c != '\n' && is_unprintable(c), |c, safe| safe.extend(c.escape_default()))
}

/// A JSON text with the escapes of JSON (RFC 8259, 7). Line feeds stay: the encoder has escaped those of strings.
pub fn escaped_json(text: &str) -> Cow<'_, str> {
    let escape = |c: char, safe: &mut String| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String can't fail.
            let _ = write!(safe, "\\u{unit:04x}");
        }
    };
    with_escapes(text, |c| c != '\n' && is_unprintable(c), escape)
}

/// A value as JSON on one line, in which strings have the escapes of [`escaped_json`]. Every JSON text that another
/// program receives from the server is made here.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    add_json(&mut text, value);
    text
}

/// As [`json`], at the end of `text`.
pub fn add_json(text: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to memory does not fail, and plain data always serialises.
    let _ = value.serialize(&mut Serializer::with_formatter(text, SafeFormatter));
}

/// Compact JSON without characters that must not be printed.
struct SafeFormatter;

impl Formatter for SafeFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(escaped_json(fragment).as_bytes())
    }
}

/// The beginning of a text with at most this many octets, cut between characters.
pub fn cut(text: &str, octets: usize) -> &str {
    let mut end = text.len().min(octets);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn with_escapes(text: &str, is_bad: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    // Nearly always, and many octets at a time.
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let Some(first) = text.find(&is_bad) else { return Cow::Borrowed(text) };
    let (good, rest) = text.split_at(first);
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(good);
    for c in rest.chars() {
        match is_bad(c) {
            true => escape(c, &mut safe),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Text as HTML text or attribute value.
pub fn escaped_html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, octets, expected) in [
            ("", 0, ""),
            ("abc", 9, "abc"),
            ("abc", 2, "ab"),
            ("aé", 3, "aé"),
            ("aé", 2, "a"),
            ("é", 1, ""),
            ("\u{1f600}x", 3, ""),
        ] {
            assert_eq!(cut(text, octets), expected, "{text} {octets}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_or_nobody_sees_is_left() {
        let bad = [
            '\0',
            '\x07',
            '\x08',
            '\t',
            '\n',
            '\r',
            '\x1b',
            '\x7f',
            '\u{80}',
            '\u{9b}',
            '\u{9d}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{fffb}',
            '\u{e0041}',
        ];
        for c in bad {
            let text = format!("a{c}b");
            for safe in [escaped(&text), escaped_json(&text).replace('\n', "\\n").into()] {
                assert!(!safe.chars().any(is_unprintable), "{c:?}: {safe:?}");
                assert!(safe.starts_with('a') && safe.ends_with('b') && safe.is_ascii(), "{safe:?}");
            }
        }
        assert_eq!(escaped("one\ntwo\x1b[2J\u{202e}"), "one\\ntwo\\u{1b}[2J\\u{202e}");
        assert_eq!(escaped_lines("one\ntwo\r"), "one\ntwo\\r");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in ["", "fra1", "Zürich", "日本", "a\\b \"c\"", "émoji \u{1f600}"] {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_means_the_same_with_escapes() {
        let value = serde_json::json!({"why\u{9b}": "\x1b[2J\u{202e}\u{e0041}\n\u{7f}"});
        let text = format!("{value:#}");
        let safe = escaped_json(&text);
        assert!(!safe.chars().any(|c| c != '\n' && is_unprintable(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        let text = String::from_utf8(json(&value)).unwrap();
        assert!(!text.chars().any(is_unprintable), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert_eq!(text, r#"{"why\u009b":"\u001b[2J\u202e\udb40\udc41\n\u007f"}"#);
    }

    proptest::proptest! {
        #[test]
        fn json_of_any_text_is_safe_and_means_the_same(
            key in "\\PC*|.*", text in ".{0,40}", other in 0..0x11_0000_u32
        ) {
            let text = format!("{text}{}", char::from_u32(other).unwrap_or('"'));
            let value = serde_json::json!({ key: [text.clone(), text] });
            let safe = String::from_utf8(json(&value)).unwrap();
            proptest::prop_assert!(!safe.chars().any(is_unprintable), "{}", safe);
            proptest::prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
