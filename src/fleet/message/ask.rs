//! A server asks a vantage to repeat what it did not receive. Fixed fields: boot id, number.

use crate::fleet::message::UnreadableMessage;
use crate::fleet::message::octets::{Reader, Writer};

const KIND: u8 = b'a';

/// What a server did not receive from a vantage. The request goes to one vantage; its answer is sent to all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The boot id of the vantage's last message. After a restart of the vantage it repeats everything.
    pub boot: u64,
    /// Repeat what changed after this message number. 0: everything.
    pub after: u64,
}

impl Ask {
    /// The octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Writer::new(KIND);
        message.fixed(self.boot);
        message.number(self.after);
        message.finish()
    }

    /// Reads a message.
    pub fn decode(octets: &[u8]) -> Result<Ask, UnreadableMessage> {
        let mut from = Reader::of(octets, KIND)?;
        let ask = Ask { boot: from.fixed()?, after: from.number()? };
        from.end()?;
        Ok(ask)
    }
}
