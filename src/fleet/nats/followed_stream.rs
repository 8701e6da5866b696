//! A stream of JetStream that somebody else has made, read without a consumer: nothing is left behind in it.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::json;

use crate::fleet::nats::copies::{NO_QUORUM, has_quorum};
use crate::fleet::nats::jetstream::{self, NO_MESSAGE, UNUSABLE, parsed};
use crate::fleet::nats::{NatsLink, NatsSubscription, StreamInfo};

/// Most messages of one read that are read one by one (judgment: each takes a round trip).
const MAX_SINGLE: usize = 64;

/// The messages of one subject, or of several with `*` and `>`, in a stream. Clones share the connection.
#[derive(Clone)]
pub struct FollowedStream {
    link: NatsLink,
    name: String,
    subject: String,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Its sequence.
    pub sequence: u64,
    /// When the stream stored it, in Unix seconds; 0 if that can't be read.
    pub stored_at: f64,
    /// The content.
    pub payload: Bytes,
}

/// Messages of one read, oldest first.
#[derive(Debug, Default)]
pub struct StoredMessages {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Whether more follow in the next read.
    pub has_more: bool,
}

impl FollowedStream {
    /// The stream of this name; without one, the only stream that has the subject. The text says why it is not known.
    pub async fn find(link: &NatsLink, name: Option<&str>, subject: &str) -> Result<FollowedStream, String> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => name_by_subject(link, subject).await?,
        };
        Ok(FollowedStream { link: link.clone(), name, subject: subject.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the stream is, and whether its copies may be read directly. The text says why it is not known.
    pub async fn info(&self) -> Result<(StreamInfo, bool), String> {
        let reply = jetstream::api(&self.link, &self.name, "STREAM.INFO", &json!({})).await;
        let reply = reply.map_err(|error| format!("stream {}: {}", self.name, error.why))?;
        // A copy that is late could look like a stream that was made anew.
        if !has_quorum(&reply["cluster"]) {
            return Err(format!("stream {}: {NO_QUORUM}", self.name));
        }
        let info = StreamInfo::of(&reply).ok_or_else(|| UNUSABLE.to_owned())?;
        Ok((info, reply["config"]["allow_direct"].as_bool() == Some(true)))
    }

    /// The messages with this sequence or a higher one. The text says why they can't be read.
    pub async fn read(&self, from: u64, is_direct: bool) -> Result<StoredMessages, String> {
        match is_direct {
            true => self.read_directly(from).await,
            false => self.read_singly(from).await,
        }
    }

    /// The messages of the subject as they are published, before the stream has stored them. `None` after the end of
    /// the connection.
    pub async fn announced(link: &NatsLink, subject: &str) -> Option<NatsSubscription> {
        link.subscribe(subject.to_owned()).await
    }

    async fn read_directly(&self, from: u64) -> Result<StoredMessages, String> {
        let mut messages = Vec::new();
        let take = |_: &str, sequence: u64, message: &async_nats::Message| {
            let stamp = message.headers.as_ref().and_then(|headers| headers.get("Nats-Time-Stamp"));
            let stored_at = stamp.map_or(0.0, |stamp| unix_of(stamp.as_str()));
            messages.push(StoredMessage { sequence, stored_at, payload: message.payload.clone() });
        };
        let has_more = jetstream::read_batch(&self.link, (&self.name, &self.subject), from, take).await?;
        Ok(StoredMessages { messages, has_more })
    }

    /// Where copies may not be read directly, the leader sends one message at a time.
    async fn read_singly(&self, from: u64) -> Result<StoredMessages, String> {
        let mut found = StoredMessages { messages: Vec::new(), has_more: true };
        let mut next = from.max(1);
        while found.messages.len() < MAX_SINGLE {
            let ask = json!({ "seq": next, "next_by_subj": self.subject });
            let reply = match jetstream::api(&self.link, &self.name, "STREAM.MSG.GET", &ask).await {
                Ok(reply) => reply,
                Err(error) if error.code == NO_MESSAGE => {
                    found.has_more = false;
                    break;
                }
                Err(error) => return Err(error.why),
            };
            let message = &reply["message"];
            let sequence = message["seq"].as_u64().filter(|sequence| *sequence >= next).ok_or(UNUSABLE)?;
            let data = message["data"].as_str().unwrap_or_default();
            let payload = BASE64.decode(data.as_bytes()).map_err(|_| UNUSABLE.to_owned())?.into();
            let stored_at = message["time"].as_str().map_or(0.0, unix_of);
            found.messages.push(StoredMessage { sequence, stored_at, payload });
            next = sequence + 1;
        }
        Ok(found)
    }
}

/// The name of the only stream that has a subject.
async fn name_by_subject(link: &NatsLink, subject: &str) -> Result<String, String> {
    let ask = json!({ "subject": subject }).to_string();
    let reply = link.request("$JS.API.STREAM.NAMES".to_owned(), None, ask.into()).await?;
    let reply = parsed(&reply).map_err(|error| error.why)?;
    let names: Vec<&str> = reply["streams"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    match names[..] {
        [name] => Ok(name.to_owned()),
        [] => Err(format!("no stream of JetStream has the subject {subject}: make one, or correct `subject`")),
        _ => Err(format!("several streams have the subject {subject}: write `stream`, the one to follow")),
    }
}

/// A time of JetStream in Unix seconds; 0 if it can't be read.
fn unix_of(stamp: &str) -> f64 {
    let time = humantime::parse_rfc3339(stamp).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_jetstream_have_nanoseconds() {
        assert_eq!(unix_of("1970-01-01T00:16:40.250000001Z") as u64, 1000);
        assert_eq!(unix_of("soon"), 0.0);
    }
}
