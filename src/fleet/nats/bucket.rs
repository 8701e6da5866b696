//! The buckets of a fleet: key-value buckets of JetStream. A key has the revision of its last write, and revisions rise
//! within a bucket. Their messages are written here and not through the library's own helpers, because those can't
//! write a key with both an expected revision and headers, and because reading must not need the right to make
//! consumers (see [`watch`](crate::fleet::nats::BucketWatch)).

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::fleet::nats::Nats;
use crate::fleet::nats::bucket_event::millis_of_stamp;
use crate::fleet::nats::copies::{has_quorum, is_in_step};
use crate::fleet::nats::jetstream::{self, ApiError, UNUSABLE, WRONG_LAST, parsed};

/// The buckets of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketKind {
    /// What is to be probed.
    Targets,
    /// Operators' overrides.
    Overrides,
    /// Who is active in exclusive failover.
    Leases,
}

impl BucketKind {
    /// Its part of the bucket's name.
    pub fn as_str(self) -> &'static str {
        match self {
            BucketKind::Targets => "targets",
            BucketKind::Overrides => "overrides",
            BucketKind::Leases => "leases",
        }
    }

    /// The most octets that it may have. Targets: 100,000 checks with 300 octets each, twice. Overrides: 20,000 changes
    /// of 3 KiB each. Leases: 10,000 with a KiB each (judgment). A full bucket refuses what is new.
    fn most_octets(self) -> u64 {
        match self {
            BucketKind::Targets | BucketKind::Overrides => 64 << 20,
            BucketKind::Leases => 16 << 20,
        }
    }
}

/// Largest value in octets: well under the payload of 1 MiB that a NATS server accepts by default, and small enough to
/// be sent between reports without holding them up.
pub(super) const MAX_VALUE: usize = 256 << 10;

/// A bucket. Clones share the connection.
#[derive(Clone)]
pub struct Bucket {
    pub(super) nats: Nats,
    pub(super) kind: BucketKind,
    /// `portolan_prod_targets`.
    name: String,
}

/// Why a key was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutError {
    /// It has another revision than the one that was expected. Nothing was written.
    Conflict,
    /// JetStream refused it: the reason. Nothing was written.
    Refused(String),
    /// Nobody replied: the reason. It may have been written.
    Unknown(String),
}

impl std::fmt::Display for PutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PutError::Conflict => f.write_str("another node has written it meanwhile"),
            PutError::Refused(why) | PutError::Unknown(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PutError {}

/// What a bucket is, as JetStream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BucketInfo {
    /// When it was made: another text means another bucket.
    pub(super) created: String,
    /// The revision of the last write.
    pub(super) last: u64,
    /// The oldest revision that it has; without any, one after the last.
    pub(super) first: u64,
    /// The time when NATS replied, by its own clock; `None` from a NATS server that does not send it (before 2.10).
    pub(super) time: Option<i64>,
    /// Whether its leader reaches a majority of its copies. Without that the rest may be an earlier state.
    pub(super) has_quorum: bool,
    /// Whether a majority of its copies is in step.
    pub(super) in_step: bool,
}

impl Bucket {
    /// A bucket of the fleet that `nats` is for.
    pub fn of(nats: &Nats, kind: BucketKind) -> Bucket {
        Bucket { nats: nats.clone(), kind, name: nats.subjects().bucket(kind.as_str()) }
    }

    /// The stream that has its keys.
    pub(super) fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    /// The subject of a key. `key` may end with `>`.
    pub(super) fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }

    /// The key of a subject.
    pub(super) fn key<'s>(&self, subject: &'s str) -> Option<&'s str> {
        subject.strip_prefix("$KV.")?.strip_prefix(self.name.as_str())?.strip_prefix('.')
    }

    /// Writes a key and returns its revision. `expected`: only if the key has this revision now; 0: only if it was
    /// never written. Waits at most some seconds.
    pub async fn put(&self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, PutError> {
        self.write(key, value, expected, &[]).await
    }

    /// Deletes a key, with the same meaning of `expected`. Its last revision stays, as a mark.
    pub async fn delete(&self, key: &str, expected: Option<u64>) -> Result<u64, PutError> {
        self.write(key, Bytes::new(), expected, &[("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")]).await
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        expected: Option<u64>,
        more: &[(&'static str, &'static str)],
    ) -> Result<u64, PutError> {
        if value.len() > MAX_VALUE {
            return Err(PutError::Refused(format!("{} octets are more than {MAX_VALUE}", value.len())));
        }
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        }
        more.iter().for_each(|(name, text)| headers.insert(*name, *text));
        let headers = (expected.is_some() || !more.is_empty()).then_some(headers);
        let reply = self.nats.request(self.subject(key), headers, value).await.map_err(PutError::Unknown)?;
        match parsed(&reply) {
            Ok(ack) => {
                self.nats.note_own_write();
                ack["seq"].as_u64().ok_or_else(|| PutError::Unknown(UNUSABLE.to_owned()))
            }
            Err(error) if WRONG_LAST.contains(&error.code) => Err(PutError::Conflict),
            Err(ApiError { why, .. }) => Err(PutError::Refused(why)),
        }
    }

    /// Makes the bucket if there is none. A bucket that exists stays as it is.
    pub(super) async fn create(&self) -> Result<(), ApiError> {
        let config = json!({
            "name": self.stream(),
            "subjects": [self.subject(">")],
            "description": "portolan",
            "max_msgs_per_subject": 1,
            "max_bytes": self.kind.most_octets(),
            "max_msg_size": MAX_VALUE * 2,
            "storage": "file",
            "discard": "new",
            "deny_delete": true,
            "allow_rollup_hdrs": true,
            "allow_direct": true,
        });
        jetstream::create(&self.nats, config).await
    }

    /// What the bucket is now.
    pub(super) async fn info(&self) -> Result<BucketInfo, ApiError> {
        let reply = self.api("STREAM.INFO", &json!({})).await?;
        let created = reply["created"].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| reply["state"][field].as_u64();
        let time = reply["ts"].as_str().and_then(millis_of_stamp);
        let (has_quorum, in_step) = (has_quorum(&reply["cluster"]), is_in_step(&reply["cluster"]));
        let info = |(first, last)| BucketInfo { created, first, last, time, has_quorum, in_step };
        let revisions = number("first_seq").zip(number("last_seq"));
        revisions.map(info).ok_or_else(|| ApiError { code: 0, why: UNUSABLE.to_owned() })
    }

    pub(super) async fn api(&self, call: &str, content: &Json) -> Result<Json, ApiError> {
        jetstream::api(&self.nats, &self.stream(), call, content).await
    }
}
