//! Why the messages of a vantage are refused, and how often.

use std::time::Duration;

use crate::fleet::Vantage;
use crate::fleet::message::UnreadableMessage;
use crate::model::Moment;

/// Least time between two lines of the log about one vantage.
const LOG_APART: Duration = Duration::from_secs(60);

/// Why a message of a vantage is refused. Nothing of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unaccepted {
    /// It has more octets than any message.
    TooLong,
    /// It has the version of another release.
    Version,
    /// It is not what a vantage writes.
    Malformed,
    /// The vantage sends too much.
    Rate,
    /// There are too many vantages already.
    TooManyVantages,
    /// Another vantage or server has the name of this node.
    OwnName,
    /// A second process has the name of this vantage.
    SecondProcess,
    /// The message, or a later one, was received before.
    Repeated,
    /// It was under way for too long: what it reports is old.
    Late,
    /// It is of a process that has stopped, or is the goodbye of a process that another one has replaced.
    Ended,
}

impl Unaccepted {
    /// All reasons, in the order of their positions.
    pub const ALL: [Unaccepted; 10] = [
        Unaccepted::TooLong,
        Unaccepted::Version,
        Unaccepted::Malformed,
        Unaccepted::Rate,
        Unaccepted::TooManyVantages,
        Unaccepted::OwnName,
        Unaccepted::SecondProcess,
        Unaccepted::Repeated,
        Unaccepted::Late,
        Unaccepted::Ended,
    ];

    /// Its name in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Unaccepted::TooLong => "too_long",
            Unaccepted::Version => "version",
            Unaccepted::Malformed => "malformed",
            Unaccepted::Rate => "rate",
            Unaccepted::TooManyVantages => "too_many_vantages",
            Unaccepted::OwnName => "own_name",
            Unaccepted::SecondProcess => "second_process",
            Unaccepted::Repeated => "repeated",
            Unaccepted::Late => "late",
            Unaccepted::Ended => "ended",
        }
    }

    /// Its text in the log: what is wrong, and what to do where a setting is the cause.
    pub fn why(self) -> &'static str {
        match self {
            Unaccepted::TooLong => "it is too long",
            Unaccepted::Version => "it has the version of another release: upgrade the older node",
            Unaccepted::Malformed => "it is malformed",
            Unaccepted::Rate => "the vantage sends too much",
            Unaccepted::TooManyVantages => "there are too many vantages",
            Unaccepted::OwnName => "it has the name of this node: give each node its own `node`",
            Unaccepted::SecondProcess => "two processes report with this name: give each node its own `node`",
            Unaccepted::Repeated => "the message, or a later one, was received before",
            Unaccepted::Late => "the message was under way for more than 3 s longer than others",
            Unaccepted::Ended => "its process has stopped, or another one has replaced it",
        }
    }
}

impl From<UnreadableMessage> for Unaccepted {
    fn from(unreadable: UnreadableMessage) -> Unaccepted {
        match unreadable {
            UnreadableMessage::TooLong => Unaccepted::TooLong,
            UnreadableMessage::Version(_) => Unaccepted::Version,
            UnreadableMessage::Malformed => Unaccepted::Malformed,
        }
    }
}

/// Refused messages by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedMessages([u64; Unaccepted::ALL.len()]);

impl RefusedMessages {
    pub(super) fn count(&mut self, why: Unaccepted) {
        for (number, _) in self.0.iter_mut().zip(Unaccepted::ALL).filter(|(_, known)| *known == why) {
            *number += 1;
        }
    }

    /// How many were refused, by reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (Unaccepted, u64)> {
        Unaccepted::ALL.into_iter().zip(self.0)
    }

    /// How many were refused.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Refused messages of one vantage that are to be logged in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedBurst {
    /// The vantage of the subject.
    pub vantage: Vantage,
    /// Why the last one was refused.
    pub why: Unaccepted,
    /// How many were refused since the line before.
    pub count: u64,
}

/// What is not logged yet.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    waiting: Option<RefusedBurst>,
    log_at: Moment,
}

impl RefusalLog {
    /// Takes note of a refused message. One that is repeated, or comes after the end, is not logged: networks repeat
    /// and delay messages.
    pub(super) fn add(&mut self, vantage: &Vantage, why: Unaccepted) {
        if !matches!(why, Unaccepted::Repeated | Unaccepted::Ended) {
            let count = self.waiting.as_ref().map_or(0, |burst| burst.count) + 1;
            self.waiting = Some(RefusedBurst { vantage: vantage.clone(), why, count });
        }
    }

    /// What to log now.
    pub(super) fn take(&mut self, now: Moment) -> Option<RefusedBurst> {
        let burst = self.waiting.take_if(|_| now >= self.log_at)?;
        self.log_at = now + LOG_APART;
        Some(burst)
    }
}
