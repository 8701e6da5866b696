//! Why the brokers did not do what was wanted, and what to do about it.

use rskafka::client::error::{Error, ProtocolError};

use crate::printable::{cut, escaped};

/// Longest text of the library that is shown, in octets (judgment: two lines).
const MAX_SHOWN: usize = 300;

/// Most partitions of a topic that are followed. Each may have a reply of the longest kind in memory (judgment: topics
/// for the events of a fleet have a few).
pub(super) const MAX_PARTITIONS: usize = 64;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaFailure {
    /// The brokers do not take this record: they refuse it again and again.
    Record(String),
    /// There is no such topic.
    NoTopic,
    /// This node has no right to use the topic.
    NoRight(String),
    /// The partition has no record of this offset: it begins later, or ends before.
    OutOfRange,
    /// The topic has this many partitions, more than [`MAX_PARTITIONS`].
    ManyPartitions(usize),
    /// The brokers do not answer, or can't do it now.
    Away(String),
}

impl KafkaFailure {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            KafkaFailure::Record(_) => "raise max.message.bytes of the topic",
            KafkaFailure::NoTopic => {
                "make the topic: kafka-topics.sh --bootstrap-server BROKER --create --topic TOPIC --partitions 3"
            }
            KafkaFailure::NoRight(_) => "the principal of this node needs READ or WRITE, and DESCRIBE, on the topic",
            KafkaFailure::OutOfRange => "raise retention.ms or retention.bytes of the topic",
            KafkaFailure::ManyPartitions(_) => "write the events into a topic with fewer partitions",
            KafkaFailure::Away(_) => "look whether the brokers work, and compare brokers and tls",
        }
    }
}

impl std::fmt::Display for KafkaFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KafkaFailure::Record(why) | KafkaFailure::NoRight(why) | KafkaFailure::Away(why) => f.write_str(why),
            KafkaFailure::NoTopic => f.write_str("the brokers have no such topic"),
            KafkaFailure::OutOfRange => f.write_str("the topic no longer has the next record"),
            KafkaFailure::ManyPartitions(count) => {
                write!(f, "the topic has {count} partitions, and at most {MAX_PARTITIONS} are followed")
            }
        }
    }
}

impl From<Error> for KafkaFailure {
    fn from(error: Error) -> KafkaFailure {
        let Error::ServerError { protocol_error, .. } = &error else {
            return KafkaFailure::Away(shown(&error));
        };
        let refused = |what: &str| format!("{what} ({protocol_error:?})");
        match protocol_error {
            ProtocolError::UnknownTopicOrPartition => KafkaFailure::NoTopic,
            ProtocolError::OffsetOutOfRange => KafkaFailure::OutOfRange,
            ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge => {
                KafkaFailure::Record(refused("the record is longer than the topic allows"))
            }
            ProtocolError::TopicAuthorizationFailed | ProtocolError::ClusterAuthorizationFailed => {
                KafkaFailure::NoRight(refused("the brokers refuse the use of the topic"))
            }
            _ => KafkaFailure::Away(refused("the brokers reply with an error")),
        }
    }
}

/// What the library says, without the names of its own layers.
fn shown(error: &Error) -> String {
    let whole = error.to_string();
    let cause = whole.rsplit_once("Source: ").map_or(whole.as_str(), |(_, cause)| cause);
    escaped(cut(cause, MAX_SHOWN)).into_owned()
}
