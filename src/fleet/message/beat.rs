//! A heartbeat that one server received, for all others. Fixed fields: zone (text), endpoint (text), and the ttl in
//! ms, 0 for a goodbye.

use std::time::Duration;

use crate::fleet::message::UnreadableMessage;
use crate::fleet::message::octets::{Reader, Writer};
use crate::health::Sign;
use crate::model::heartbeat::{MAX_BEAT, MIN_BEAT};

const KIND: u8 = b'b';
/// Most octets of a name: a domain name of 255 octets has 1,009 characters at most when all are written as `\DDD`.
const MAX_NAME: usize = 1024;
const TTL_UNIT: Duration = Duration::from_millis(1);

/// A heartbeat, or a goodbye. Its ttl counts from the moment when each server receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatMessage {
    /// The zone of the endpoint, as its policy file names it.
    pub zone: String,
    /// The endpoint that beats.
    pub endpoint: String,
    /// The heartbeat; its ttl has whole ms.
    pub sign: Sign,
}

impl BeatMessage {
    /// The octets; `None` if a name is too long for a message, which no name of a zone or an endpoint is.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.zone.len() > MAX_NAME || self.endpoint.len() > MAX_NAME {
            return None;
        }
        let mut message = Writer::new(KIND);
        message.text(&self.zone);
        message.text(&self.endpoint);
        match self.sign {
            Sign::Alive { ttl } => message.span(ttl.clamp(MIN_BEAT, MAX_BEAT), TTL_UNIT),
            Sign::Goodbye => message.number(0),
        }
        Some(message.finish())
    }

    /// Reads a message.
    pub fn decode(octets: &[u8]) -> Result<BeatMessage, UnreadableMessage> {
        let mut from = Reader::of(octets, KIND)?;
        let (zone, endpoint) = (from.text(MAX_NAME)?.to_owned(), from.text(MAX_NAME)?.to_owned());
        let ttl = from.span(TTL_UNIT)?;
        from.end()?;
        let sign = match ttl {
            Duration::ZERO => Sign::Goodbye,
            ttl if (MIN_BEAT..=MAX_BEAT).contains(&ttl) => Sign::Alive { ttl },
            _absurd => return Err(UnreadableMessage::Malformed),
        };
        Ok(BeatMessage { zone, endpoint, sign })
    }
}
