//! The text of a file, with the name that the user knows, and places in it: lines and columns.

use std::path::Path;
use std::sync::Arc;

/// Some editors write it before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The content of a file without the byte order mark. Every file of the user passes through this function.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// As [`without_mark`], for a string.
pub(crate) fn text_without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A place in a file, as messages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file's name as the user would type it.
    pub(crate) file: Arc<Path>,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
    /// Line and column after the last character, if the end is known.
    pub(crate) end: Option<(u32, u32)>,
    /// Whether there are secrets in the file.
    pub(crate) is_secret: bool,
}

impl Place {
    /// The first character of a file, or the file as a whole.
    pub(crate) fn start_of(file: &Path) -> Place {
        Place { file: Arc::from(file), line: 1, column: 1, end: None, is_secret: false }
    }

    /// Whether the value comes from a flag of the command line.
    pub(crate) fn is_flag(&self) -> bool {
        self.file.to_string_lossy().starts_with("flag ")
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Its place.
    pub(crate) place: Place,
}

impl<T> At<T> {
    /// Another value with the same place.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), place: self.place }
    }
}

/// A text file in memory. It has bytes, because master files may be in another encoding than UTF-8.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    file: Arc<Path>,
    bytes: &'a [u8],
    /// Byte offset of each line's first character.
    lines: Vec<usize>,
    is_secret: bool,
}

impl<'a> Source<'a> {
    /// A text with the name that problems show.
    pub(crate) fn new(file: &Path, bytes: &'a [u8]) -> Source<'a> {
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Source { file: Arc::from(file), bytes, lines: std::iter::once(0).chain(starts).collect(), is_secret: false }
    }

    /// A text with secrets, whose lines are never shown.
    pub(crate) fn secret(file: &Path, bytes: &'a [u8]) -> Source<'a> {
        Source { is_secret: true, ..Source::new(file, bytes) }
    }

    /// The bytes between two offsets.
    pub(crate) fn bytes(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The text between two byte offsets, for messages. Bytes that are not UTF-8 become U+FFFD, and a long text is cut.
    pub(crate) fn text(&self, start: usize, end: usize) -> String {
        /// More than this makes a message unreadable (judgment).
        const SHOWN: usize = 64;
        let text = String::from_utf8_lossy(self.bytes.get(start..end).unwrap_or_default()).into_owned();
        match text.char_indices().nth(SHOWN) {
            Some((cut, _)) => format!("{}...", &text[..cut]),
            None => text,
        }
    }

    /// The place of a byte offset. An offset after the end is the end.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let (line, column) = self.line_and_column(offset);
        Place { file: Arc::clone(&self.file), line, column, end: None, is_secret: self.is_secret }
    }

    /// The place of a text between two byte offsets.
    pub(crate) fn span(&self, start: usize, end: usize) -> Place {
        Place { end: (end > start).then(|| self.line_and_column(end)), ..self.place(start) }
    }

    fn line_and_column(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.bytes.len());
        let line = self.lines.partition_point(|&start| start <= offset).saturating_sub(1);
        let before = self.bytes.get(self.lines[line]..offset).unwrap_or_default();
        // A character counts once, at its first byte. The other bytes are continuations (RFC 3629, 3).
        let column = before.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        (line as u32 + 1, column as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns_in_characters() {
        let source = Source::new(Path::new("f"), "ab\nß=1\n".as_bytes());
        for (offset, line, column) in [(0, 1, 1), (2, 1, 3), (3, 2, 1), (5, 2, 2), (8, 3, 1), (99, 3, 1)] {
            let place = source.place(offset);
            assert_eq!((place.line, place.column), (line, column), "{offset}");
        }
    }

    #[test]
    fn spans_end_after_their_last_character() {
        let source = Source::new(Path::new("f"), "ab\nß=1\n".as_bytes());
        let ends: Vec<_> = [(0, 2), (3, 6), (1, 5), (4, 4)].iter().map(|(a, b)| source.span(*a, *b).end).collect();
        assert_eq!(ends, [Some((1, 3)), Some((2, 3)), Some((2, 2)), None]);
    }
}
