//! A report of a vantage: its state and a part of its observations. Its fixed fields: boot id, number.
//!
//! | section | content |
//! |---|---|
//! | 1 blind | the text of why the vantage is blind; absent while it is not |
//! | 2 texts | a count, and as many texts: the reasons of the observations |
//! | 3 slice | the first and the last hash (8 octets each), a count, observations in the order of their hashes |
//! | 4 changes | a count, observations in the order of their hashes |
//! | 5 resent | the number after which this message and those before it have repeated all changes |
//! | 6 uptime | the time since the boot, in milliseconds |
//! | 7 goodbye | nothing: the process stops in order, and this is its last message |

use std::sync::Arc;
use std::time::Duration;

use crate::fleet::message::octets::{Reader, Writer};
use crate::fleet::message::wire_observation::{self, LEAST_OCTETS};
use crate::fleet::message::{
    CheckHash, MAX_OBSERVATIONS, MAX_SECTIONS, MAX_TEXT, MAX_TEXTS, UnreadableMessage, WireObservation,
};
use crate::printable::cut;

const KIND: u8 = b'r';
const BLIND: u8 = 1;
const TEXTS: u8 = 2;
const SLICE: u8 = 3;
const CHANGES: u8 = 4;
const RESENT: u8 = 5;
const UPTIME: u8 = 6;
const GOODBYE: u8 = 7;

/// One message of a vantage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportMessage {
    /// A random number of the vantage's process.
    pub boot: u64,
    /// The number of this message since the boot; the first is 1.
    pub number: u64,
    /// Why the vantage is blind, if it is; at most [`MAX_TEXT`] octets.
    pub blind: Option<Arc<str>>,
    /// The reasons that observations refer to; at most [`MAX_TEXTS`].
    pub texts: Vec<Arc<str>>,
    /// A part of all observations.
    pub slice: Option<Slice>,
    /// Observations that changed, in the order of their hashes; each hash once.
    pub changes: Vec<WireObservation>,
    /// All changes since this message number have been repeated, after a receiver asked for them.
    pub resent_after: Option<u64>,
    /// How long the process ran when it sent this, in whole milliseconds. `None` from an earlier release.
    pub uptime: Option<Duration>,
    /// The process stops in order, and this is its last message. A release without it reads an empty report.
    pub is_goodbye: bool,
}

/// All observations of a range of hashes. A check of the range without one is not observed by the vantage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The first hash of the range.
    pub first: CheckHash,
    /// The last hash of the range, which is in it.
    pub last: CheckHash,
    /// The observations, in the order of their hashes; each hash once.
    pub observations: Vec<WireObservation>,
}

impl ReportMessage {
    /// The octets. Their order must be as the fields require, and their counts within the limits.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Writer::new(KIND);
        message.fixed(self.boot);
        message.number(self.number);
        if let Some(why) = &self.blind {
            let mut section = Writer::section();
            section.octets(cut(why, MAX_TEXT).as_bytes());
            message.tagged(BLIND, section);
        }
        if !self.texts.is_empty() {
            let mut section = Writer::section();
            section.number(self.texts.len() as u64);
            for text in &self.texts {
                section.text(cut(text, MAX_TEXT));
            }
            message.tagged(TEXTS, section);
        }
        if let Some(slice) = &self.slice {
            let mut section = Writer::section();
            section.fixed(slice.first.0);
            section.fixed(slice.last.0);
            write_all(&mut section, &slice.observations, slice.first.0);
            message.tagged(SLICE, section);
        }
        if !self.changes.is_empty() {
            let mut section = Writer::section();
            write_all(&mut section, &self.changes, 0);
            message.tagged(CHANGES, section);
        }
        if let Some(number) = self.resent_after {
            let mut section = Writer::section();
            section.number(number);
            message.tagged(RESENT, section);
        }
        if let Some(uptime) = self.uptime {
            let mut section = Writer::section();
            section.number(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX));
            message.tagged(UPTIME, section);
        }
        if self.is_goodbye {
            message.tagged(GOODBYE, Writer::section());
        }
        message.finish()
    }

    /// Reads a message.
    pub fn decode(octets: &[u8]) -> Result<ReportMessage, UnreadableMessage> {
        let mut from = Reader::of(octets, KIND)?;
        let (boot, number) = (from.fixed()?, from.number()?);
        if number == 0 {
            return Err(UnreadableMessage::Malformed);
        }
        let sections = sections(from)?;
        let mut message = ReportMessage { boot, number, ..ReportMessage::default() };
        if let Some(section) = sections[usize::from(BLIND)] {
            message.blind = Some(blind(section)?);
        }
        if let Some(section) = sections[usize::from(TEXTS)] {
            message.texts = texts(section)?;
        }
        let texts = message.texts.len();
        if let Some(mut section) = sections[usize::from(SLICE)] {
            let (first, last) = (CheckHash(section.fixed()?), CheckHash(section.fixed()?));
            let observations = read_all(section, texts, first.0)?;
            let end = observations.last().map_or(first, |observation| observation.check);
            if last < first || last < end {
                return Err(UnreadableMessage::Malformed);
            }
            message.slice = Some(Slice { first, last, observations });
        }
        if let Some(section) = sections[usize::from(CHANGES)] {
            message.changes = read_all(section, texts, 0)?;
        }
        if let Some(mut section) = sections[usize::from(RESENT)] {
            message.resent_after = Some(section.number_to(number - 1)?);
            section.end()?;
        }
        if let Some(mut section) = sections[usize::from(UPTIME)] {
            message.uptime = Some(Duration::from_millis(section.number()?));
            section.end()?;
        }
        if let Some(section) = sections[usize::from(GOODBYE)] {
            section.end()?;
            message.is_goodbye = true;
        }
        let count = message.changes.len() + message.slice.as_ref().map_or(0, |slice| slice.observations.len());
        if count > MAX_OBSERVATIONS { Err(UnreadableMessage::Malformed) } else { Ok(message) }
    }
}

/// The known sections by their tags.
fn sections(mut from: Reader<'_>) -> Result<[Option<Reader<'_>>; GOODBYE as usize + 1], UnreadableMessage> {
    let mut found = [None; GOODBYE as usize + 1];
    for _section in 0..MAX_SECTIONS {
        if from.is_empty() {
            break;
        }
        let (tag, content) = from.section()?;
        if let Some(section) = found.get_mut(usize::from(tag)) {
            if tag == 0 || section.is_some() {
                return Err(UnreadableMessage::Malformed);
            }
            *section = Some(content);
        }
    }
    from.end()?;
    Ok(found)
}

fn blind(mut section: Reader<'_>) -> Result<Arc<str>, UnreadableMessage> {
    let octets = section.octets(section.left())?;
    let text = std::str::from_utf8(octets).map_err(|_| UnreadableMessage::Malformed)?;
    if cut(text, MAX_TEXT) == text { Ok(text.into()) } else { Err(UnreadableMessage::Malformed) }
}

fn texts(mut section: Reader<'_>) -> Result<Vec<Arc<str>>, UnreadableMessage> {
    let count = section.count(1, MAX_TEXTS)?;
    let texts = (0..count).map(|_| section.text(MAX_TEXT).map(Arc::from)).collect::<Result<_, _>>()?;
    section.end()?;
    Ok(texts)
}

fn write_all(section: &mut Writer, observations: &[WireObservation], mut base: u64) {
    section.number(observations.len() as u64);
    for observation in observations {
        wire_observation::write(section, observation, base);
        base = observation.check.0.wrapping_add(1);
    }
}

fn read_all(mut section: Reader<'_>, texts: usize, base: u64) -> Result<Vec<WireObservation>, UnreadableMessage> {
    let count = section.count(LEAST_OCTETS, MAX_OBSERVATIONS)?;
    let mut observations = Vec::with_capacity(count);
    let mut base = Some(base);
    for _ in 0..count {
        // After the greatest hash there is none.
        let from = base.ok_or(UnreadableMessage::Malformed)?;
        let observation = wire_observation::read(&mut section, from, texts)?;
        base = observation.check.0.checked_add(1);
        observations.push(observation);
    }
    section.end()?;
    Ok(observations)
}
