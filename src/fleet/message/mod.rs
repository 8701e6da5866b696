//! The messages that servers and vantages send each other on core subjects, as octets. Pure.
//!
//! | message | sender, subject | content |
//! |---|---|---|
//! | [`ReportMessage`] | a vantage, `portolan.CLUSTER.report.REGION.NODE` | its state and a part of its observations |
//! | [`Ask`] | a server, `portolan.CLUSTER.ask.NODE` | the request to repeat what the server did not receive |
//! | [`BeatMessage`] | a server, `portolan.CLUSTER.beat` | a heartbeat that this server received |
//!
//! The receiver takes the vantage's region and name from the subject and never from the message, so that the
//! permissions of NATS hold. Times are ages and remaining times, never timestamps: clocks of two hosts are not
//! compared. So a message must not wait: **publish only while connected**, and drop what can't be sent at once.
//!
//! # Form
//!
//! Integers are varints: 7 bits in each octet, the least significant first, the top bit set in all octets but the last.
//! Hashes and boot ids have 8 octets, little-endian. A text is its length in octets and UTF-8. A message has:
//!
//! - an octet for the kind (`r`, `a`, `b`) and one for the version, which is 1;
//! - fixed fields, which the type describes;
//! - in a report, *sections* to the end: a tag (one octet), a length, the content. A tag occurs at most once. A section
//!   with an unknown tag is ignored, so a later release can add sections without another version.
//!
//! A message that differs from its form in any way is refused as a whole: nothing of it is used.

mod ask;
mod beat;
mod octets;
mod report;
mod wire_observation;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use ask::Ask;
pub use beat::BeatMessage;
pub use report::{ReportMessage, Slice};
pub use wire_observation::{Observed, WireObservation};

/// The version of all messages. A receiver refuses another one.
pub const VERSION: u8 = 1;
/// Most octets of a message. A quarter of what NATS allows by default (`max_payload`, 1 MiB), so that a message also
/// passes a server with less.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// Most observations of a message. Each has less than 32 octets, so they fit into [`MAX_MESSAGE`] with all texts.
pub const MAX_OBSERVATIONS: usize = 6_000;
/// Most different texts of a message. Judgment: an outage has few reasons. The observations with further ones are sent
/// without a reason.
pub const MAX_TEXTS: usize = 128;
/// Most octets of a text. Judgment: a line on a screen and a half. A longer one is cut.
pub const MAX_TEXT: usize = 256;
/// Longest round trip, age or remaining time; the sender shortens longer ones. The longest interval and time-out of a
/// monitor is a day.
pub const MAX_SPAN: Duration = Duration::from_secs(86_400);
/// Most sections of a report. Judgment: there are seven, and twice as many for later releases is plenty.
const MAX_SECTIONS: usize = 16;

/// What identifies a check in messages: a hash of the canonical JSON of what is probed, how it is judged, and where.
/// All servers and all releases compute the same hash for the same check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckHash(pub u64);

/// Why a message can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnreadableMessage {
    /// It has more than [`MAX_MESSAGE`] octets.
    TooLong,
    /// It has the version of another release.
    Version(u8),
    /// It is not what the sender of this version writes.
    Malformed,
}

impl fmt::Display for UnreadableMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnreadableMessage::TooLong => write!(f, "it has more than {MAX_MESSAGE} octets"),
            UnreadableMessage::Version(version) => write!(f, "it has version {version}, this release reads {VERSION}"),
            UnreadableMessage::Malformed => f.write_str("it is malformed"),
        }
    }
}

impl std::error::Error for UnreadableMessage {}
