//! The store of leases: a bucket, whose keys are written only over the revision that the writer knows. The helpers of
//! the NATS library don't fit: they can't renew a key that expires. So nothing expires in the store, and those who
//! watch it judge by their own clocks.

use data_encoding::BASE64;
use serde_json::{Value as Json, json};

use crate::fleet::lease::{Lease, LeaseWrite, StoredLease, UnreadableLease, WriteResult};
use crate::fleet::nats::bucket::{Bucket, BucketKind};
use crate::fleet::nats::jetstream::{ApiError, NO_MESSAGE, UNUSABLE};
use crate::fleet::nats::{BucketWatch, Nats, PutError};

/// The leases of a fleet.
#[derive(Clone)]
pub struct LeaseStore {
    pub(super) bucket: Bucket,
}

impl LeaseStore {
    /// That of the fleet of this connection.
    pub fn of(nats: &Nats) -> LeaseStore {
        LeaseStore { bucket: Bucket::of(nats, BucketKind::Leases) }
    }

    /// Follows all leases. Must be called within a tokio runtime.
    pub fn watch(&self) -> BucketWatch {
        self.bucket.watch(true)
    }

    /// Writes a lease over the revision that is expected. The text says why it is not known to be stored, unless
    /// another revision is newer.
    pub async fn write(&self, key: &str, write: &LeaseWrite) -> (WriteResult, Option<String>) {
        let value = write.lease.to_json().into();
        match self.bucket.put(key, value, Some(write.expected)).await {
            Ok(revision) => (WriteResult::Stored(revision), None),
            Err(PutError::Conflict) => (WriteResult::Conflict, None),
            // Refused by a server that is not the leader of the bucket any more, or full: nothing is certain.
            Err(PutError::Refused(why) | PutError::Unknown(why)) => (WriteResult::Unknown, Some(why)),
        }
    }

    /// The newest revision of a key and its value, from the leader of the bucket; 0 with nothing if there never was
    /// one. An error says why it is not known.
    pub async fn read(&self, key: &str) -> Result<(u64, StoredLease), String> {
        let ask = json!({ "last_by_subj": self.bucket.subject(key) });
        match self.bucket.api("STREAM.MSG.GET", &ask).await {
            Ok(reply) => entry(&reply["message"]).ok_or_else(|| UNUSABLE.to_owned()),
            Err(ApiError { code: NO_MESSAGE, .. }) => Ok((0, StoredLease::Nothing)),
            Err(ApiError { why, .. }) => Err(why),
        }
    }
}

/// A value of the bucket; `None`: it was deleted.
pub fn stored_lease(value: Option<&[u8]>) -> StoredLease {
    match value.map(Lease::from_json) {
        None => StoredLease::Nothing,
        Some(Ok(lease)) => StoredLease::Lease(lease),
        Some(Err(why)) => StoredLease::Unreadable(why),
    }
}

/// The revision and the lease of a stored message, as JetStream describes it.
fn entry(message: &Json) -> Option<(u64, StoredLease)> {
    let revision = message["seq"].as_u64()?;
    let bytes = |field: &str| BASE64.decode(message[field].as_str().unwrap_or_default().as_bytes()).ok();
    let headers = bytes("hdrs")?;
    let headers = String::from_utf8_lossy(&headers);
    let is_removal = headers.lines().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        let is = |wanted: &str| name.trim().eq_ignore_ascii_case(wanted);
        (is("KV-Operation") && matches!(value.trim(), "DEL" | "PURGE")) || is("Nats-Marker-Reason")
    });
    let lease = match (is_removal, bytes("data")) {
        (true, _) => StoredLease::Nothing,
        (false, Some(value)) => stored_lease(Some(&value)),
        (false, None) => StoredLease::Unreadable(UnreadableLease("its data are not base64".to_owned())),
    };
    Some((revision, lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_jetstream_are_leases_marks_or_unreadable() {
        let lease = r#"{"v":1,"endpoint":"a","epoch":3,"holder":"ns1","duration_ms":3000}"#;
        let data = BASE64.encode(lease.as_bytes());
        let (revision, found) = entry(&json!({ "seq": 7, "data": data, "time": "x" })).unwrap();
        assert!(revision == 7 && matches!(found, StoredLease::Lease(lease) if lease.active.epoch == 3));
        for mark in ["KV-Operation: DEL", "kv-operation:PURGE", "Nats-Marker-Reason: MaxAge"] {
            let headers = BASE64.encode(format!("NATS/1.0\r\n{mark}\r\n\r\n").as_bytes());
            assert_eq!(entry(&json!({ "seq": 8, "hdrs": headers })), Some((8, StoredLease::Nothing)), "{mark}");
        }
        for data in ["", "e30=", "%"] {
            let found = entry(&json!({ "seq": 9, "data": data })).unwrap().1;
            assert!(matches!(found, StoredLease::Unreadable(_)), "{data}: {found:?}");
        }
        assert_eq!(entry(&json!({})), None);
        assert_eq!(entry(&Json::Null), None);
    }
}
