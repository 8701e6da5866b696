//! Writes and reads the parts of messages. Reading never panics, and allocates nothing.

use std::time::Duration;

use crate::fleet::message::{MAX_MESSAGE, MAX_SPAN, UnreadableMessage, VERSION};

/// The message under construction.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A message of this kind.
    pub(super) fn new(kind: u8) -> Writer {
        Writer(vec![kind, VERSION])
    }

    /// Octets without the head of a message, for a section.
    pub(super) fn section() -> Writer {
        Writer(Vec::new())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn octet(&mut self, octet: u8) {
        self.0.push(octet);
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.octet(number as u8 | 0x80);
            number >>= 7;
        }
        self.octet(number as u8);
    }

    /// 8 octets.
    pub(super) fn fixed(&mut self, number: u64) {
        self.octets(&number.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.octets(text.as_bytes());
    }

    /// The duration in whole `unit`s, rounded down; at most [`MAX_SPAN`].
    pub(super) fn span(&mut self, span: Duration, unit: Duration) {
        self.number(units(span, unit));
    }

    /// A section with this tag.
    pub(super) fn tagged(&mut self, tag: u8, section: Writer) {
        let content = section.finish();
        self.octet(tag);
        self.number(content.len() as u64);
        self.octets(&content);
    }
}

/// How many whole units a span has, after a cut to [`MAX_SPAN`].
pub(super) fn units(span: Duration, unit: Duration) -> u64 {
    (span.min(MAX_SPAN).as_nanos() / unit.as_nanos().max(1)) as u64
}

/// The octets that are not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of what follows the head; the kind must be this one.
    pub(super) fn of(message: &'a [u8], kind: u8) -> Result<Reader<'a>, UnreadableMessage> {
        if message.len() > MAX_MESSAGE {
            return Err(UnreadableMessage::TooLong);
        }
        match message {
            [first, VERSION, rest @ ..] if *first == kind => Ok(Reader(rest)),
            [first, version, ..] if *first == kind => Err(UnreadableMessage::Version(*version)),
            [..] => Err(UnreadableMessage::Malformed),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many octets are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Fails if octets are left.
    pub(super) fn end(self) -> Result<(), UnreadableMessage> {
        if self.is_empty() { Ok(()) } else { Err(UnreadableMessage::Malformed) }
    }

    pub(super) fn octet(&mut self) -> Result<u8, UnreadableMessage> {
        let (first, rest) = self.0.split_first().ok_or(UnreadableMessage::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn octets(&mut self, count: usize) -> Result<&'a [u8], UnreadableMessage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(UnreadableMessage::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A varint in its shortest form.
    pub(super) fn number(&mut self) -> Result<u64, UnreadableMessage> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7f);
            if bits << shift >> shift != bits || (octet == 0 && shift > 0) {
                return Err(UnreadableMessage::Malformed);
            }
            number |= bits << shift;
            if octet < 0x80 {
                return Ok(number);
            }
        }
        Err(UnreadableMessage::Malformed)
    }

    /// A number that is at most `most`.
    pub(super) fn number_to(&mut self, most: u64) -> Result<u64, UnreadableMessage> {
        self.number().and_then(|number| if number <= most { Ok(number) } else { Err(UnreadableMessage::Malformed) })
    }

    /// A count of things that have at least `least` octets each: never more than the octets that are left can hold.
    pub(super) fn count(&mut self, least: usize, most: usize) -> Result<usize, UnreadableMessage> {
        let count = self.number_to(most as u64)? as usize;
        if count.saturating_mul(least) > self.left() { Err(UnreadableMessage::Malformed) } else { Ok(count) }
    }

    pub(super) fn fixed(&mut self) -> Result<u64, UnreadableMessage> {
        let octets = self.octets(8)?.try_into().map_err(|_| UnreadableMessage::Malformed)?;
        Ok(u64::from_le_bytes(octets))
    }

    /// A text of at most `most` octets.
    pub(super) fn text(&mut self, most: usize) -> Result<&'a str, UnreadableMessage> {
        let length = self.number_to(most as u64)? as usize;
        std::str::from_utf8(self.octets(length)?).map_err(|_| UnreadableMessage::Malformed)
    }

    /// A duration in `unit`s, at most [`MAX_SPAN`].
    pub(super) fn span(&mut self, unit: Duration) -> Result<Duration, UnreadableMessage> {
        let count = self.number_to(units(MAX_SPAN, unit))?;
        Ok(Duration::from_nanos(count * unit.as_nanos() as u64))
    }

    /// A section: its tag and its content.
    pub(super) fn section(&mut self) -> Result<(u8, Reader<'a>), UnreadableMessage> {
        let tag = self.octet()?;
        let length = self.count(1, MAX_MESSAGE)?;
        Ok((tag, Reader(self.octets(length)?)))
    }
}
