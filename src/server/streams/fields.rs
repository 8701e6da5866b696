//! What the header fields of a connection of DoH have in memory. HTTP/2's library has up to 4 KiB of fields in a table
//! (HPACK, RFC 7541), but paths, hosts and schemes with the whole buffer that they were received in: 107 paths of one
//! octet, with other frames between them, are 2 MiB of a connection. What the library announces does not limit it, as
//! clients need not obey. So this file reads along which fields go to the table. A connection whose fields have too
//! much gets a GOAWAY; one that goes on is cut off. The content of fields is not looked at.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Above this the connection gets a GOAWAY. Judgment: clients that put every path into the table have half of it.
const RENEWED_ABOVE: usize = 64 << 10;

/// Above this it is cut off.
const MOST: usize = 96 << 10;

/// The table's size, and what a field takes of it in addition to its octets (RFC 7541, 4.1 and 4.2).
const TABLE: usize = 4096;
const FIELD: usize = 32;

/// Octets that one octet from the client has in memory at most: a buffer of 4 KiB for decoded text is left for a new
/// one when a text of 1,230 octets does not fit.
const BUFFERED: usize = 5;

/// Most octets that one field has: the rest of a read buffer of 8 KiB, and one for the longest frame.
const LARGEST: usize = 24 << 10;

/// The least octets that a text of Huffman code has decoded, in parts of its own: its longest code has 30 bits.
const HUFFMAN: usize = 4;

/// The octets before the first frame (RFC 9113, 3.4), and the head of a frame (4.1).
const PREFACE: usize = 24;
const HEAD: usize = 9;

/// A frame that begins a header block, and one that continues it; flags of the first (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// A stream that is read along. After too much it is an error to read on.
pub(super) struct Watched<S> {
    stream: S,
    fields: FieldWatch,
    limits: FieldLimits,
}

/// What the fields of a connection have reached.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldLimits {
    /// Is cancelled when the connection should end.
    pub(super) renew: CancellationToken,
    /// Is cancelled when nothing more is read.
    pub(super) cut_off: CancellationToken,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S) -> Watched<S> {
        Watched { stream, fields: FieldWatch::default(), limits: FieldLimits::default() }
    }

    pub(super) fn limits(&self) -> FieldLimits {
        self.limits.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let octets = this.fields.observe(&buf.filled()[before..]);
        if octets > RENEWED_ABOVE {
            this.limits.renew.cancel();
        }
        if octets > MOST {
            this.limits.cut_off.cancel();
            return Poll::Ready(Err(io::Error::other("the fields of this connection take too much memory")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads frames along, and reckons what the fields in the table have. It reckons with more rather than less.
#[derive(Debug, Default)]
struct FieldWatch {
    /// Octets of the preface that were received.
    preface: usize,
    frame: Frame,
    block: Block,
    /// Octets since the last field that went to the table with its buffer.
    since: usize,
    /// The fields in the table, the oldest first: what each takes of the table at least, and what it has in memory.
    fields: VecDeque<(usize, usize)>,
    in_table: usize,
    in_memory: usize,
}

/// The frame that is being received.
#[derive(Debug, Default)]
struct Frame {
    head: [u8; HEAD],
    /// Octets of the head that were received.
    received: usize,
    /// Octets of the payload that were not received.
    left: usize,
    /// Of these, octets before the header block.
    before_block: usize,
    /// Whether the next octet is the length of the padding.
    has_padding: bool,
    /// Octets of padding, at the end of the payload.
    padding: usize,
}

impl FieldWatch {
    /// Reads along; returns how many octets the fields have in memory.
    fn observe(&mut self, mut octets: &[u8]) -> usize {
        self.since = self.since.saturating_add(octets.len());
        let preface = octets.len().min(PREFACE - self.preface);
        self.preface += preface;
        octets = &octets[preface..];
        while !octets.is_empty() {
            if self.frame.received < HEAD || self.frame.left == 0 {
                octets = self.frame.begin(octets);
                continue;
            }
            let (part, rest) = octets.split_at(octets.len().min(self.frame.left));
            octets = rest;
            let fields = self.frame.fields(part);
            self.walk(fields);
        }
        self.in_memory
    }

    fn walk(&mut self, mut fields: &[u8]) {
        while !fields.is_empty() {
            let (used, field) = self.block.step(fields);
            fields = &fields[used..];
            if let Some(field) = field {
                self.add(field);
            }
        }
    }

    fn add(&mut self, field: TableField) {
        let in_table = FIELD.saturating_add(field.octets);
        let has = match field.has_buffer {
            true => std::mem::take(&mut self.since).saturating_mul(BUFFERED).min(LARGEST),
            false => 0,
        };
        self.fields.push_back((in_table, has));
        self.in_table += in_table;
        self.in_memory += has;
        while self.in_table > TABLE
            && let Some((in_table, has)) = self.fields.pop_front()
        {
            self.in_table -= in_table;
            self.in_memory -= has;
        }
    }
}

impl Frame {
    /// Takes octets of the next head, and returns the rest.
    fn begin<'o>(&mut self, octets: &'o [u8]) -> &'o [u8] {
        if self.received >= HEAD {
            *self = Frame::default();
        }
        let (head, rest) = octets.split_at(octets.len().min(HEAD - self.received));
        self.head[self.received..self.received + head.len()].copy_from_slice(head);
        self.received += head.len();
        if self.received == HEAD {
            let [high, mid, low, kind, flags, ..] = self.head;
            self.left = u32::from_be_bytes([0, high, mid, low]) as usize;
            self.has_padding = kind == HEADERS && flags & PADDED != 0;
            self.before_block = if kind == HEADERS && flags & PRIORITY != 0 { 5 } else { 0 };
        }
        rest
    }

    /// Of a part of the payload, what belongs to a header block.
    fn fields<'o>(&mut self, part: &'o [u8]) -> &'o [u8] {
        let (mut part, mut left) = (part, self.left);
        self.left -= part.len();
        if !matches!(self.head[3], HEADERS | CONTINUATION) {
            return &[];
        }
        if std::mem::take(&mut self.has_padding)
            && let [padding, rest @ ..] = part
        {
            self.padding = usize::from(*padding);
            (part, left) = (rest, left - 1);
        }
        let before = part.len().min(self.before_block);
        self.before_block -= before;
        (part, left) = (&part[before..], left - before);
        &part[..part.len().min(left.saturating_sub(self.padding))]
    }
}

/// A field that goes to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TableField {
    /// The least octets of its texts, decoded.
    octets: usize,
    /// Whether the library may have it with its buffer: `:authority`, `:path`, `:scheme`, or a name that is not known
    /// here.
    has_buffer: bool,
}

/// A header block that is being received (RFC 7541, 6).
#[derive(Debug, Default)]
struct Block {
    place: Place,
    /// Texts of the field that were not received.
    texts: u8,
    goes_to_table: bool,
    has_buffer: bool,
    /// The least octets of its texts, decoded.
    octets: usize,
    is_huffman: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// At the beginning of a field.
    #[default]
    Field,
    /// In the further octets of a number that does not matter.
    Number,
    /// At the length of a text.
    Length,
    /// In the further octets of that length.
    LongLength { length: usize, shift: u32 },
    /// In a text, with so many octets left.
    Text(usize),
}

impl Block {
    /// Takes some octets, at least one; returns how many, and the field that goes to the table at its end.
    fn step(&mut self, octets: &[u8]) -> (usize, Option<TableField>) {
        let [first, ..] = *octets else { return (0, None) };
        match self.place {
            Place::Field => {
                // Indexed; literal for the table; the table's size; literal that is not for the table.
                let (bits, texts, goes_to_table) = match first {
                    0x80.. => (7, 0, false),
                    0x40.. => (6, 1, true),
                    0x20.. => (5, 0, false),
                    _ => (4, 1, false),
                };
                let most = (1 << bits) - 1;
                let number = first & most;
                // Without a number the name is a text, too.
                let texts = if texts == 1 && number == 0 { 2 } else { texts };
                // The numbers of these names in the static table (RFC 7541, A), and names that came before.
                let has_buffer = matches!(number, 0 | 1 | 4..=7 | 62..);
                *self = Block { texts, goes_to_table, has_buffer, ..Block::default() };
                match number == most {
                    true => self.place = Place::Number,
                    false => self.after_number(),
                }
                (1, None)
            }
            Place::Number => {
                if first & 0x80 == 0 {
                    self.after_number();
                }
                (1, None)
            }
            Place::Length => {
                self.is_huffman = first & 0x80 != 0;
                match usize::from(first & 0x7f) {
                    0x7f => {
                        self.place = Place::LongLength { length: 0x7f, shift: 0 };
                        (1, None)
                    }
                    length => (1, self.begin_text(length)),
                }
            }
            Place::LongLength { length, shift } => {
                let more = usize::from(first & 0x7f).checked_shl(shift).unwrap_or(usize::MAX);
                let length = length.saturating_add(more);
                if first & 0x80 == 0 {
                    return (1, self.begin_text(length));
                }
                self.place = Place::LongLength { length, shift: shift.saturating_add(7) };
                (1, None)
            }
            Place::Text(left) => {
                let used = left.min(octets.len());
                if used < left {
                    self.place = Place::Text(left - used);
                    return (used, None);
                }
                (used, self.end_text())
            }
        }
    }

    fn after_number(&mut self) {
        self.place = if self.texts == 0 { Place::Field } else { Place::Length };
    }

    fn begin_text(&mut self, length: usize) -> Option<TableField> {
        self.octets = self.octets.saturating_add(if self.is_huffman { length / HUFFMAN } else { length });
        self.place = Place::Text(length);
        if length == 0 { self.end_text() } else { None }
    }

    fn end_text(&mut self) -> Option<TableField> {
        self.texts = self.texts.saturating_sub(1);
        self.place = if self.texts == 0 { Place::Field } else { Place::Length };
        let field = TableField { octets: self.octets, has_buffer: self.has_buffer };
        (self.texts == 0 && self.goes_to_table).then_some(field)
    }
}

#[cfg(test)]
mod tests;
