//! The messages of etcd's JSON gateway (etcd 3.4 and newer, `/v3`): 64-bit numbers are texts, keys and values are
//! base64, and fields with a default value are absent. Pure.

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Keys from `start` up to and without `end`; both as octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) start: Vec<u8>,
    pub(super) end: Vec<u8>,
}

impl KeyRange {
    /// All keys that begin with `prefix`; all keys for an empty one.
    pub(super) fn of_prefix(prefix: &str) -> KeyRange {
        // An empty range would be one key, and an end of `\0` is no end.
        let start = if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() };
        let mut end = prefix.as_bytes().to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end.push(0),
        }
        KeyRange { start, end }
    }

    /// The same without the keys up to `last`.
    pub(super) fn after(&self, last: &[u8]) -> KeyRange {
        KeyRange { start: [last, &[0]].concat(), end: self.end.clone() }
    }
}

#[derive(Debug, Serialize, Default)]
struct RangeRequest {
    key: String,
    range_end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_target: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_order: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keys_only: bool,
}

/// The body of `/v3/kv/range` for a page of at most `limit` keys, at `revision`, or at the newest one.
pub(super) fn page_request(range: &KeyRange, limit: usize, revision: Option<u64>) -> Vec<u8> {
    let request = RangeRequest {
        limit: Some(limit.to_string()),
        revision: revision.map(|revision| revision.to_string()),
        ..range_request(range)
    };
    text_of(&request)
}

/// The body of `/v3/kv/range` for the number of keys and the one that changed last.
pub(super) fn newest_request(range: &KeyRange) -> Vec<u8> {
    let request = RangeRequest {
        limit: Some("1".to_owned()),
        sort_target: Some("MOD"),
        sort_order: Some("DESCEND"),
        keys_only: true,
        ..range_request(range)
    };
    text_of(&request)
}

fn range_request(range: &KeyRange) -> RangeRequest {
    RangeRequest { key: BASE64.encode(&range.start), range_end: BASE64.encode(&range.end), ..RangeRequest::default() }
}

/// The body of `/v3/watch` for all changes from `revision` on.
pub(super) fn watch_request(range: &KeyRange, revision: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Create {
        create_request: Watch,
    }
    #[derive(Serialize)]
    struct Watch {
        key: String,
        range_end: String,
        start_revision: String,
        progress_notify: bool,
        fragment: bool,
    }
    let watch = Watch {
        key: BASE64.encode(&range.start),
        range_end: BASE64.encode(&range.end),
        start_revision: revision.to_string(),
        progress_notify: true,
        fragment: true,
    };
    text_of(&Create { create_request: watch })
}

/// The body of `/v3/auth/authenticate`.
pub(super) fn login_request(name: &str, password: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Login<'t> {
        name: &'t str,
        password: &'t str,
    }
    text_of(&Login { name, password })
}

fn text_of(request: &impl Serialize) -> Vec<u8> {
    // Plain data always serialises.
    serde_json::to_vec(request).unwrap_or_default()
}

/// The header of every reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ReplyHeader {
    #[serde(default)]
    pub(super) cluster_id: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

/// A key with its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "octets")]
    pub(super) key: Vec<u8>,
    #[serde(default, deserialize_with = "octets")]
    pub(super) value: Vec<u8>,
    /// The revision of its last change.
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

/// The reply of `/v3/kv/range`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct RangeReply {
    #[serde(default)]
    pub(super) header: ReplyHeader,
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
    /// Whether there are more keys after these.
    #[serde(default)]
    pub(super) more: bool,
    /// All keys of the range, also those of other pages.
    #[serde(default, deserialize_with = "number")]
    pub(super) count: u64,
}

/// An object of the stream of `/v3/watch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WatchObject {
    Result(WatchReply),
    Error(GatewayError),
}

/// A message of a watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct WatchReply {
    #[serde(default)]
    pub(super) header: ReplyHeader,
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    /// Why a watch was cancelled.
    #[serde(default)]
    pub(super) cancel_reason: String,
    /// The lowest revision that is not compacted, in a message that cancels a watch because of that.
    #[serde(default, deserialize_with = "number")]
    pub(super) compact_revision: u64,
    /// Whether the events go on in the next message.
    #[serde(default)]
    pub(super) fragment: bool,
    #[serde(default)]
    pub(super) events: Vec<WatchEvent>,
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct WatchEvent {
    #[serde(default, rename = "type")]
    pub(super) kind: EventType,
    pub(super) kv: KeyValue,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum EventType {
    #[default]
    Put,
    Delete,
}

/// An error of the gateway: the code is that of gRPC. 3.4 and 3.5 write it in different forms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct GatewayError {
    #[serde(default, alias = "grpc_code")]
    pub(super) code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: String,
}

impl GatewayError {
    /// Its text; empty if it has none.
    pub(super) fn text(&self) -> &str {
        if self.message.is_empty() { &self.error } else { &self.message }
    }
}

/// The reply of `/v3/auth/authenticate`.
#[derive(Debug, Deserialize)]
pub(super) struct LoginReply {
    #[serde(default)]
    pub(super) token: String,
}

/// A number that is written as a text, or as a number.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u64),
        Text(String),
    }
    match Form::deserialize(from)? {
        Form::Number(number) => Ok(number),
        Form::Text(text) => text.parse().map_err(|_| D::Error::custom(format!("expected a number, found `{text}`"))),
    }
}

fn octets<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("expected base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range_of_keys() {
        for (prefix, start, end) in [
            ("/services/web/", &b"/services/web/"[..], &b"/services/web0"[..]),
            ("a", b"a", b"b"),
            ("", &[0], &[0]),
            ("\u{7f}", &[0x7f], &[0x80]),
        ] {
            let range = KeyRange::of_prefix(prefix);
            assert_eq!((&*range.start, &*range.end), (start, end), "{prefix}");
        }
        assert_eq!(KeyRange::of_prefix("a").after(b"ab").start, b"ab\0");
    }

    #[test]
    fn requests_have_numbers_as_texts_and_keys_as_base64() {
        let range = KeyRange::of_prefix("a");
        let text = |request: Vec<u8>| String::from_utf8(request).unwrap();
        assert_eq!(text(page_request(&range, 500, None)), r#"{"key":"YQ==","range_end":"Yg==","limit":"500"}"#);
        let page = text(page_request(&range, 500, Some(7)));
        assert_eq!(page, r#"{"key":"YQ==","range_end":"Yg==","limit":"500","revision":"7"}"#);
        let newest = r#""limit":"1","sort_target":"MOD","sort_order":"DESCEND","keys_only":true}"#;
        assert!(text(newest_request(&range)).ends_with(newest));
        assert!(text(watch_request(&range, 8)).contains(r#""start_revision":"8","progress_notify":true"#));
    }

    #[test]
    fn replies_are_read_with_absent_fields_and_in_both_forms_of_errors() {
        let reply: RangeReply = serde_json::from_str(
            r#"{"header":{"cluster_id":"14841639068965178418","member_id":"1","revision":"5","raft_term":"2"},
                "kvs":[{"key":"YQ==","create_revision":"2","mod_revision":"4","version":"1"}],"count":"1"}"#,
        )
        .unwrap();
        assert_eq!((reply.header.revision, reply.count, reply.more), (5, 1, false));
        assert_eq!((&*reply.kvs[0].key, reply.kvs[0].mod_revision, reply.kvs[0].value.len()), (&b"a"[..], 4, 0));
        let event = r#"{"result":{"events":[{"type":"DELETE","kv":{"key":"YQ==","mod_revision":6}}]}}"#;
        let WatchObject::Result(reply) = serde_json::from_str(event).unwrap() else { panic!("no result") };
        assert_eq!((reply.events[0].kind, reply.events[0].kv.mod_revision), (EventType::Delete, 6));
        for error in [
            r#"{"error":"etcdserver: x","message":"etcdserver: x","code":11}"#,
            r#"{"error":"etcdserver: x","code":11}"#,
            r#"{"grpc_code":11,"http_code":400,"message":"etcdserver: x","http_status":"Bad Request"}"#,
        ] {
            let error: GatewayError = serde_json::from_str(error).unwrap();
            assert_eq!((error.code, error.text()), (11, "etcdserver: x"));
        }
        for wrong in [r#"{"kvs":[{"key":"?"}]}"#, r#"{"count":"many"}"#, r#"{"count":"-1"}"#, "7"] {
            assert!(serde_json::from_str::<RangeReply>(wrong).is_err(), "{wrong}");
        }
    }
}
