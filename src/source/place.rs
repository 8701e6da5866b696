//! The text of a file, with the name that the user knows, and places in it: lines and columns.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
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

/// A file that has places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Its name as the user would type it.
    pub(crate) shown: PathBuf,
    /// Whether there are secrets in it.
    pub(crate) is_secret: bool,
}

/// A place in a file, as messages show it. It is small, because there is one for each key and each value of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) file: Arc<SourceFile>,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
    /// Line and column after the last character, if the end is known.
    pub(crate) end: Option<(NonZeroU32, u32)>,
}

impl Place {
    /// The first character of a file, or the file as a whole.
    pub(crate) fn start_of(file: &Path) -> Place {
        let file = SourceFile { shown: file.to_path_buf(), is_secret: false };
        Place { file: Arc::new(file), line: 1, column: 1, end: None }
    }

    /// Whether the value comes from a flag of the command line.
    pub(crate) fn is_flag(&self) -> bool {
        self.file.shown.to_string_lossy().starts_with("flag ")
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

/// Octets of a block: counting in it takes about as long as a search in all lines.
const BLOCK: usize = 512;

/// A place in a text, from 1.
#[derive(Debug, Clone, Copy)]
struct LineAndColumn {
    line: u32,
    column: u32,
}

impl LineAndColumn {
    const FIRST: LineAndColumn = LineAndColumn { line: 1, column: 1 };

    /// The place after these octets, and where its line begins in them, if it does.
    fn after(self, octets: &[u8]) -> (LineAndColumn, Option<usize>) {
        /// Few octets take less time one by one than in three searches (judgment: a line or so).
        const FEW: usize = 48;
        if octets.len() <= FEW {
            return octets.iter().enumerate().fold((self, None), |(place, begin), (at, octet)| match octet {
                b'\n' => (LineAndColumn { line: place.line + 1, column: 1 }, Some(at + 1)),
                _ => (LineAndColumn { column: place.column + u32::from(octet & 0xC0 != 0x80), ..place }, begin),
            });
        }
        let line_feeds = octets.iter().filter(|octet| **octet == b'\n').count() as u32;
        // A character counts once, at its first byte. The other bytes are continuations (RFC 3629, 3).
        let characters = |octets: &[u8]| octets.iter().filter(|octet| **octet & 0xC0 != 0x80).count() as u32;
        let begin = octets.iter().rposition(|octet| *octet == b'\n').map(|last| last + 1);
        let column = match begin {
            Some(begin) => 1 + characters(octets.get(begin..).unwrap_or_default()),
            None => self.column + characters(octets),
        };
        (LineAndColumn { line: self.line + line_feeds, column }, begin)
    }
}

/// A text file in memory. It has bytes, because master files may be in another encoding than UTF-8.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    file: Arc<SourceFile>,
    bytes: &'a [u8],
    /// The place of the first octet of each block of [`BLOCK`] octets. In a file of empty lines, the offsets of all
    /// lines would take eight times the room of the file.
    blocks: Vec<LineAndColumn>,
    /// The last offset with its place, and an offset before it: where its line or its block begins. The next offset is
    /// mostly near, and that of the head of a table comes after that of its key.
    last: Cell<[(usize, LineAndColumn); 2]>,
}

impl<'a> Source<'a> {
    /// A text with the name that problems show.
    pub(crate) fn new(file: &Path, bytes: &'a [u8]) -> Source<'a> {
        Source::of(SourceFile { shown: file.to_path_buf(), is_secret: false }, bytes)
    }

    /// A text with secrets, whose lines are never shown.
    pub(crate) fn secret(file: &Path, bytes: &'a [u8]) -> Source<'a> {
        Source::of(SourceFile { shown: file.to_path_buf(), is_secret: true }, bytes)
    }

    fn of(file: SourceFile, bytes: &'a [u8]) -> Source<'a> {
        let next = |place: &mut LineAndColumn, block: &[u8]| {
            let first = *place;
            *place = place.after(block).0;
            Some(first)
        };
        let blocks = bytes.chunks(BLOCK).scan(LineAndColumn::FIRST, next).collect();
        Source { file: Arc::new(file), bytes, blocks, last: Cell::new([(0, LineAndColumn::FIRST); 2]) }
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
        Place { file: Arc::clone(&self.file), line, column, end: None }
    }

    /// The place of a text between two byte offsets.
    pub(crate) fn span(&self, start: usize, end: usize) -> Place {
        let start_place = self.place(start);
        if end <= start {
            return start_place;
        }
        let (line, column) = self.line_and_column(end);
        Place { end: NonZeroU32::new(line).map(|line| (line, column)), ..start_place }
    }

    fn line_and_column(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.bytes.len());
        let block = (offset / BLOCK).min(self.blocks.len().saturating_sub(1));
        let of_block = (block * BLOCK, self.blocks.get(block).copied().unwrap_or(LineAndColumn::FIRST));
        let last = self.last.get();
        let known = last.into_iter().find(|(at, _)| (of_block.0..=offset).contains(at));
        let (from, near) = known.unwrap_or(of_block);
        let (place, begin) = near.after(self.bytes.get(from..offset).unwrap_or_default());
        let before = match begin {
            Some(begin) => (from + begin, LineAndColumn { column: 1, ..place }),
            None if from == of_block.0 => of_block,
            None => last[1],
        };
        self.last.set([(offset, place), before]);
        (place.line, place.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns_in_characters_in_any_order() {
        let source = Source::new(Path::new("f"), "ab\nß=1\n".as_bytes());
        let places = [(0, 1, 1), (2, 1, 3), (3, 2, 1), (5, 2, 2), (8, 3, 1), (99, 3, 1)];
        for (first, ..) in places {
            for (offset, line, column) in places {
                source.place(first);
                let place = source.place(offset);
                assert_eq!((place.line, place.column), (line, column), "{offset} after {first}");
            }
        }
    }

    #[test]
    fn places_are_right_in_every_block() {
        let text = "a long line of some thirty octets\n\n\nb\n".repeat(200);
        let source = Source::new(Path::new("f"), text.as_bytes());
        let (mut line, mut column) = (1, 1);
        for (offset, byte) in text.bytes().enumerate() {
            let place = source.place(offset);
            assert_eq!((place.line, place.column), (line, column), "{offset}");
            assert_eq!(
                source.place(offset / 2).line,
                Source::new(Path::new("f"), text.as_bytes()).place(offset / 2).line
            );
            (line, column) = if byte == b'\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        assert_eq!((source.place(text.len()).line, Source::new(Path::new("f"), b"").place(0).line), (801, 1));
    }

    #[test]
    fn spans_end_after_their_last_character() {
        let source = Source::new(Path::new("f"), "ab\nß=1\n".as_bytes());
        let end = |(start, end)| source.span(start, end).end.map(|(line, column)| (line.get(), column));
        let ends = [(0, 2), (3, 6), (1, 5), (4, 4)].map(end);
        assert_eq!(ends, [Some((1, 3)), Some((2, 3)), Some((2, 2)), None]);
    }
}
