//! The buckets of a fleet: key-value buckets of JetStream. A key has the revision of its last write, and revisions rise
//! within a bucket. Their messages are written here and not through the library's own helpers, because those can't
//! write a key with both an expected revision and headers, and because reading must not need the right to make
//! consumers (see [`watch`](crate::fleet::nats::BucketWatch)).

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::fleet::nats::Nats;

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

    /// The most octets that it may have. Targets: 100,000 checks with 300 octets each, twice. The others: 10,000
    /// entries with a KiB each (judgment). A full bucket refuses what is new.
    fn most_octets(self) -> u64 {
        match self {
            BucketKind::Targets => 64 << 20,
            BucketKind::Overrides | BucketKind::Leases => 16 << 20,
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
}

/// Why a call of JetStream's API failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    /// The number of the error (`err_code`); 0: there was no reply.
    pub(super) code: u64,
    pub(super) why: String,
}

/// Why, where a reply is not one of JetStream.
pub(super) const UNUSABLE: &str = "a reply that can't be used";
/// `stream not found`.
pub(super) const NOT_FOUND: u64 = 10_059;
/// `wrong last sequence`.
const WRONG_LAST: [u64; 2] = [10_071, 10_164];
/// `stream name already in use`: another node has made it meanwhile.
const IN_USE: u64 = 10_058;
/// `replicas > 1 not supported in non-clustered mode`.
const NOT_CLUSTERED: u64 = 10_074;

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
        let replicas = self.nats.replicas().unwrap_or(3);
        match self.create_with(replicas).await {
            // Without `[fleet] replicas`: three where that is possible.
            Err(error) if self.nats.replicas().is_none() && error.code != 0 && self.has_few_servers(error.code) => {
                self.create_with(1).await
            }
            other => other,
        }
    }

    /// Whether three copies can never be made, and not only now.
    fn has_few_servers(&self, code: u64) -> bool {
        code == NOT_CLUSTERED || self.nats.known_servers() < 3
    }

    async fn create_with(&self, replicas: u32) -> Result<(), ApiError> {
        let config = json!({
            "name": self.stream(),
            "subjects": [self.subject(">")],
            "description": "portolan",
            "max_msgs_per_subject": 1,
            "max_bytes": self.kind.most_octets(),
            "max_msg_size": MAX_VALUE * 2,
            "storage": "file",
            "num_replicas": replicas,
            "discard": "new",
            "deny_delete": true,
            "allow_rollup_hdrs": true,
            "allow_direct": true,
        });
        match self.api("STREAM.CREATE", &config).await {
            Ok(_) => {
                tracing::info!(bucket = self.name, replicas, "made a bucket of NATS");
                Ok(())
            }
            Err(error) if error.code == IN_USE => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the bucket is now.
    pub(super) async fn info(&self) -> Result<BucketInfo, ApiError> {
        let reply = self.api("STREAM.INFO", &json!({})).await?;
        let created = reply["created"].as_str().unwrap_or_default().to_owned();
        let last = reply["state"]["last_seq"].as_u64();
        last.map(|last| BucketInfo { created, last }).ok_or_else(|| ApiError { code: 0, why: UNUSABLE.to_owned() })
    }

    pub(super) async fn api(&self, call: &str, content: &Json) -> Result<Json, ApiError> {
        let subject = format!("$JS.API.{call}.{}", self.stream());
        let reply = self.nats.request(subject, None, content.to_string().into()).await;
        parsed(&reply.map_err(|why| ApiError { code: 0, why })?)
    }
}

/// The error of a reply of JetStream.
#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    code: u64,
    #[serde(default)]
    description: String,
}

/// A reply of JetStream, or the error that it has.
fn parsed(reply: &[u8]) -> Result<Json, ApiError> {
    let mut reply: Json =
        serde_json::from_slice(reply).map_err(|error| ApiError { code: 0, why: format!("{UNUSABLE}: {error}") })?;
    match reply.get_mut("error").map(Json::take) {
        None => Ok(reply),
        Some(error) => {
            let error: WireError = serde_json::from_value(error).unwrap_or(WireError {
                err_code: 1,
                code: 0,
                description: "an error without a text".to_owned(),
            });
            let code = if error.err_code == 0 { error.code.max(1) } else { error.err_code };
            Err(ApiError { code, why: error.description.chars().take(MAX_WHY).collect() })
        }
    }
}

/// Longest text of an error, in characters (judgment).
const MAX_WHY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_jetstream_are_results_or_errors_with_their_number() {
        assert_eq!(parsed(br#"{"stream":"KV_x","seq":7}"#).unwrap()["seq"], 7);
        for (reply, code) in [
            (r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"}}"#, 10_071),
            (r#"{"error":{"code":503,"description":"no"}}"#, 503),
            (r#"{"error":"text"}"#, 1),
            (r#"{"error":{}}"#, 1),
            ("", 0),
            ("{", 0),
        ] {
            assert_eq!(parsed(reply.as_bytes()).unwrap_err().code, code, "{reply}");
        }
        let long = format!(r#"{{"error":{{"err_code":1,"description":"{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(parsed(long.as_bytes()).unwrap_err().why.len(), MAX_WHY);
    }
}
