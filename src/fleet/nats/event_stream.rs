//! The stream of the events of all servers, `portolan_CLUSTER_events`. It is bounded in age, octets and messages, and
//! discards the oldest ones. Like buckets it is read without a consumer.

use async_nats::HeaderMap;
use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::json;

use crate::fleet::events::{MAX_AGE_SECS, MAX_MESSAGE, MAX_STREAM_MESSAGES, MAX_STREAM_OCTETS};
use crate::fleet::nats::copies::{NO_QUORUM, has_quorum};
use crate::fleet::nats::jetstream::{self, ApiError, NO_MESSAGE, NOT_FOUND, UNUSABLE, WRONG_LAST, parsed};
use crate::fleet::nats::{Nats, NatsSubscription, PutError};

/// How long JetStream itself refuses a message whose id it has: longer than a request waits. A server also expects the
/// last message of its subject, which has no such bound.
const DUPLICATES_SECS: u64 = 120;
const NANOSECONDS: u64 = 1_000_000_000;

/// The stream. Clones share the connection.
#[derive(Clone)]
pub struct EventStream {
    nats: Nats,
    name: String,
}

/// What the stream is, as JetStream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// When it was made: another text means another stream.
    pub created: String,
    /// The sequence of the oldest message.
    pub first: u64,
    /// The sequence of the newest message.
    pub last: u64,
}

impl StreamInfo {
    /// What a reply to `STREAM.INFO` says; `None` if it is none.
    pub(super) fn of(reply: &serde_json::Value) -> Option<StreamInfo> {
        let number = |field: &str| reply["state"][field].as_u64();
        let created = reply["created"].as_str().unwrap_or_default().to_owned();
        Some(StreamInfo { created, first: number("first_seq")?, last: number("last_seq")? })
    }
}

/// Messages of one read, oldest first.
#[derive(Debug, Default)]
pub struct StreamEvents {
    /// The sequence, the server that has written it as its subject says, and the content.
    pub messages: Vec<(u64, Option<String>, Bytes)>,
    /// Whether more follow in the next read.
    pub has_more: bool,
}

impl EventStream {
    /// That of the fleet of this connection.
    pub fn of(nats: &Nats) -> EventStream {
        EventStream { nats: nats.clone(), name: nats.subjects().event_stream() }
    }

    /// What the stream is; it is made if there is none. The text says why it is not known.
    pub async fn open(&self) -> Result<StreamInfo, String> {
        let info = match self.info().await {
            Err(error) if error.code == NOT_FOUND => match self.create().await {
                Ok(()) => self.info().await,
                Err(error) => Err(error),
            },
            other => other,
        };
        info.map_err(|error| error.why)
    }

    async fn info(&self) -> Result<StreamInfo, ApiError> {
        let reply = jetstream::api(&self.nats, &self.name, "STREAM.INFO", &json!({})).await?;
        if !has_quorum(&reply["cluster"]) {
            return Err(ApiError { code: 0, why: NO_QUORUM.to_owned() });
        }
        StreamInfo::of(&reply).ok_or_else(|| ApiError { code: 0, why: UNUSABLE.to_owned() })
    }

    async fn create(&self) -> Result<(), ApiError> {
        let config = json!({
            "name": self.name,
            "subjects": [self.nats.subjects().events()],
            "description": "portolan",
            "max_age": MAX_AGE_SECS * NANOSECONDS,
            "max_bytes": MAX_STREAM_OCTETS,
            "max_msgs": MAX_STREAM_MESSAGES,
            // With its headers.
            "max_msg_size": MAX_MESSAGE * 2,
            "duplicate_window": DUPLICATES_SECS * NANOSECONDS,
            "storage": "file",
            "discard": "old",
            "deny_delete": true,
            "allow_direct": true,
        });
        jetstream::create(&self.nats, config).await
    }

    /// The sequence and the content of the last message of this node, from the leader of the stream; `None`: there is
    /// none. The text says why it is not known.
    pub async fn last_of_own(&self) -> Result<Option<(u64, Vec<u8>)>, String> {
        let ask = json!({ "last_by_subj": self.subject() });
        match jetstream::api(&self.nats, &self.name, "STREAM.MSG.GET", &ask).await {
            Ok(reply) => {
                let message = &reply["message"];
                let data = message["data"].as_str().unwrap_or_default();
                let sequence = message["seq"].as_u64().ok_or_else(|| UNUSABLE.to_owned())?;
                Ok(Some((sequence, BASE64.decode(data.as_bytes()).unwrap_or_default())))
            }
            Err(error) if error.code == NO_MESSAGE => Ok(None),
            Err(error) => Err(error.why),
        }
    }

    /// Writes a message of this node over the last one that is `expected`; 0: there is none. Returns its sequence.
    pub async fn publish(
        &self,
        (payload, media_type): (Vec<u8>, &str),
        id: &str,
        expected: u64,
    ) -> Result<u64, PutError> {
        let mut headers = HeaderMap::new();
        // A line feed would end the header.
        let id: String = id.chars().filter(|c| !c.is_control()).collect();
        headers.insert("Nats-Msg-Id", id.as_str());
        headers.insert("Nats-Expected-Stream", self.name.as_str());
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        headers.insert("Content-Type", media_type);
        let reply = self.nats.request(self.subject(), Some(headers), payload.into()).await;
        match parsed(&reply.map_err(PutError::Unknown)?) {
            // A message with this id is there: its sequence is read, not believed.
            Ok(ack) if ack["duplicate"].as_bool() == Some(true) => Err(PutError::Conflict),
            Ok(ack) => ack["seq"].as_u64().ok_or_else(|| PutError::Unknown(UNUSABLE.to_owned())),
            Err(error) if WRONG_LAST.contains(&error.code) => Err(PutError::Conflict),
            Err(ApiError { why, .. }) => Err(PutError::Refused(why)),
        }
    }

    /// The messages with this sequence or a higher one. The text says why they can't be read.
    pub async fn read(&self, from: u64) -> Result<StreamEvents, String> {
        let (mut messages, subjects) = (Vec::new(), self.nats.subjects());
        let take = |of: &str, sequence: u64, message: &async_nats::Message| {
            messages.push((sequence, subjects.event_node(of), message.payload.clone()));
        };
        let has_more = jetstream::read_batch(&self.nats, (&self.name, &subjects.events()), from, take).await?;
        Ok(StreamEvents { messages, has_more })
    }

    /// The messages of other servers as they are published, before JetStream has stored them.
    pub async fn announced(&self) -> Option<NatsSubscription> {
        self.nats.subscribe(self.nats.subjects().events()).await
    }

    fn subject(&self) -> String {
        self.nats.subjects().event(self.nats.node())
    }
}
