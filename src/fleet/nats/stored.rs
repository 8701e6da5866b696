//! Publishes messages into streams of JetStream that somebody else has made, and waits until they are stored.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::fleet::nats::NatsLink;
use crate::fleet::nats::jetstream::{ApiError, UNUSABLE, parsed};
use crate::fleet::nats::link::NoReply;

/// JetStream refuses a message with one of these errors (`err_code`) because of what the message is: too large, or with
/// too large headers. All other errors are those of the stream or its server.
const OF_MESSAGE: [u64; 2] = [10_054, 10_097];
/// What the headers add to a message, in octets, at most.
const MAX_HEADERS: usize = 1024;

/// A message for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The subject. The stream is the one that has it.
    pub subject: String,
    /// `Nats-Msg-Id`: a message with an id that the stream has seen within its `duplicate_window` is stored once.
    pub id: String,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// The content.
    pub payload: Bytes,
}

/// Why it is not known that a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unstored {
    /// There is no connection: why, where that is known.
    NoConnection(Option<Arc<str>>),
    /// No stream has the subject, or its servers are away.
    NoStream,
    /// JetStream does not reply in time, or does not permit the message.
    NoReply,
    /// The message can't be stored: it is too large.
    Message(String),
    /// The stream does not store it now.
    Stream(String),
}

impl NatsLink {
    /// Publishes a message, and waits until a stream has it, for `within` at most.
    pub async fn store(&self, message: OutgoingMessage, within: Duration) -> Result<(), Unstored> {
        let OutgoingMessage { subject, id, media_type, payload } = message;
        if let Some(most) = self.max_payload().filter(|most| payload.len() + MAX_HEADERS > *most) {
            let size = payload.len();
            return Err(Unstored::Message(format!("{size} octets, and the NATS server accepts {most} with headers")));
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id.as_str());
        headers.insert("Content-Type", media_type);
        match self.request_within(within, subject, Some(headers), payload).await {
            Ok(reply) => judge(&reply),
            Err(NoReply::NoConnection(problem)) => Err(Unstored::NoConnection(problem)),
            Err(NoReply::NoResponder) => Err(Unstored::NoStream),
            Err(NoReply::TooLate) => Err(Unstored::NoReply),
            Err(NoReply::Other(why)) => Err(Unstored::Stream(why)),
        }
    }
}

/// What the reply of a stream means.
fn judge(reply: &[u8]) -> Result<(), Unstored> {
    match parsed(reply) {
        // One that was stored before has its sequence too.
        Ok(stored) if stored["seq"].as_u64().is_some() && stored["stream"].is_string() => Ok(()),
        Ok(_) => Err(Unstored::Stream("something replies on this subject that is no stream".to_owned())),
        Err(ApiError { code, why }) if OF_MESSAGE.contains(&code) => Err(Unstored::Message(why)),
        Err(ApiError { code: 0, .. }) => Err(Unstored::Stream(UNUSABLE.to_owned())),
        Err(ApiError { why, .. }) => Err(Unstored::Stream(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_stored_when_a_stream_replies_with_its_sequence() {
        for stored in [r#"{"stream":"EVENTS","seq":7}"#, r#"{"stream":"EVENTS","seq":7,"duplicate":true}"#] {
            assert_eq!(judge(stored.as_bytes()), Ok(()), "{stored}");
        }
        let error = |code: u64| format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"no"}}}}"#);
        assert_eq!(judge(error(10_054).as_bytes()), Err(Unstored::Message("no".into())));
        assert_eq!(judge(error(10_077).as_bytes()), Err(Unstored::Stream("no".into())));
        for foreign in ["", "+OK", "{}", "7", r#"{"seq":1}"#, r#"{"stream":"EVENTS"}"#] {
            assert!(matches!(judge(foreign.as_bytes()), Err(Unstored::Stream(_))), "{foreign}");
        }
    }
}
