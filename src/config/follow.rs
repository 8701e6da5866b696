//! `[follow.NAME]` of `portolan.toml`: a stream whose events make overrides here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::config::keys::{KeyGroup as _, KeyKind as _, Table, check_name, choice, inline, keys, object, text, texts};
use crate::config::nats::{self, MAX_SERVERS, MAX_SUBJECT, NatsServers, NatsTlsKeys};
use crate::source::{At, ManualSection, Problems};
use crate::wire::Name;

/// A stream that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowSettings {
    /// The name: unique, 1 to 63 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The NATS servers; `None`: those of `[fleet]`, which is there.
    pub servers: Option<NatsServers>,
    /// The subject, which may have wildcards.
    pub subject: String,
    /// The stream; `None`: the one that has the subject.
    pub stream: Option<String>,
    /// Where a stream begins that was not followed before.
    pub start: FollowStart,
    /// The zones in which overrides count; `None`: all.
    pub zones: Option<Arc<[Name]>>,
    /// Globs of the TARGETs that may be overridden; empty: all.
    pub targets: Vec<String>,
}

/// Where a stream begins that was not followed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowStart {
    /// With its oldest message.
    Oldest,
    /// With the next message.
    New,
}

impl FollowSettings {
    /// The files that a connection reads, apart from those of `[fleet]`.
    pub fn files(&self) -> Vec<PathBuf> {
        self.servers.iter().flat_map(NatsServers::files).collect()
    }
}

/// Most streams (judgment: each has a connection and a task of its own).
const MAX_FOLLOWS: usize = 16;
/// Most zones and targets (judgment, as for a token).
const MAX_LIST: usize = 100;
/// Longest name of a stream (NATS: 255).
const MAX_STREAM: usize = 255;
const STARTS: [(&str, FollowStart); 2] = [("oldest", FollowStart::Oldest), ("new", FollowStart::New)];

keys! {
    /// `[follow.NAME]`.
    FollowKeys {
        /// `"nats"`: a stream of JetStream
        "type" of: String = text("\"nats\"").then(follow_type).with_schema(type_schema),
            required "write `type = \"nats\"`";
        /// the NATS servers, as in `[fleet]`: `["nats://10.0.0.1:4222", "tls://nats2.example"]`, up to 16
        servers: Vec<At<String>> = texts("[\"nats://127.0.0.1:4222\"]").sized(1..=MAX_SERVERS),
            note "those of `[fleet]`";
        /// the subject whose events are followed; `*` stands for a part of it, `>` for the rest
        subject: String = text("\"portolan.events\"").sized(1..=MAX_SUBJECT).then(subject),
            required "write `subject = \"portolan.events\"`, that of the sink of the other server";
        /// the stream that has them
        stream: String = text("\"EVENTS\"").sized(1..=MAX_STREAM).then(stream_name), note "the one that has `subject`";
        /// where a stream begins that was not followed before: `"oldest"`, with all that it has, or `"new"`
        start: FollowStart = choice(&STARTS, "a place to start"), default FollowStart::Oldest;
        /// the zones in which these overrides count, and no other zone can be touched, as for a token
        zones: Vec<At<String>> = texts("[\"svc.example.\"]").sized(1..=MAX_LIST), note "all";
        /// globs of the TARGETs that may be overridden: `["fra*", "region:eu"]`
        targets: Vec<At<String>> = texts("[\"fra*\", \"region:eu\"]").sized(1..=MAX_LIST), note "all";
        /// the file with the credentials for `servers`, as in `[fleet]`
        credentials: String = text("\"follow.creds\"");
        /// `{ ca = "ca.pem", cert = "node.pem", key = "node.key" }`: TLS to `servers`, as in `[fleet]`
        tls: NatsTlsKeys = inline("{ ca = \"ca.pem\" }");
    }
}

impl Table for FollowKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Follow);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        check_name(&self.head.name, "a stream that is followed", problems);
        nats::check_needs_servers(self, problems);
        for (key, list) in [("zones", &self.zones), ("targets", &self.targets)] {
            let Some(At { value: list, place }) = list else { continue };
            if list.is_empty() || list.len() > MAX_LIST {
                let problem = problems.error(place, format!("`{key}` must have 1 to {MAX_LIST} entries"));
                problem.hint("leave it out for all");
            }
        }
        true
    }

    fn schema() -> Json {
        object(&Self::keys())
    }
}

/// Reads the streams. Their paths are relative to `base` unless a flag names them. `has_fleet`: there is `[fleet]`.
pub(super) fn read(
    declared: Vec<FollowKeys>,
    has_fleet: bool,
    base: &Path,
    problems: &mut Problems,
) -> Vec<FollowSettings> {
    problems.about(ManualSection::Follow, |problems| {
        if let Some(keys) = declared.get(MAX_FOLLOWS) {
            let problem = problems.error(&keys.head.name.place, format!("more than {MAX_FOLLOWS} streams to follow"));
            problem.hint("remove some of them");
        }
        let follows = declared.into_iter().take(MAX_FOLLOWS);
        follows.filter_map(|keys| follow(keys, has_fleet, base, problems)).collect()
    })
}

fn follow(keys: FollowKeys, has_fleet: bool, base: &Path, problems: &mut Problems) -> Option<FollowSettings> {
    let name = keys.head.name.clone();
    let what = keys.what();
    let own = keys.servers.is_some();
    let servers = nats::servers("servers", keys.servers, (keys.credentials, keys.tls), base, problems);
    if !own && !has_fleet {
        let problem = problems.error(&name.place, format!("{what} has no `servers`, and there is no `[fleet]`"));
        problem.hint("write `servers = [\"nats://127.0.0.1:4222\"]`");
    }
    let zones = keys.zones.map(|list| list.value.into_iter().filter_map(|zone| zone_name(zone, problems)).collect());
    keys.of?;
    if own && servers.is_none() {
        return None;
    }
    Some(FollowSettings {
        name: name.value,
        servers,
        subject: keys.subject?.value,
        stream: keys.stream.map(|stream| stream.value),
        start: keys.start.value,
        zones,
        targets: keys.targets.into_iter().flat_map(|list| list.value).map(|target| target.value).collect(),
    })
}

fn zone_name(At { value, place }: At<String>, problems: &mut Problems) -> Option<Name> {
    let parsed = Name::parse(&value);
    if let Err(error) = &parsed {
        problems.error(&place, format!("`{value}` is no name of a zone: {error}")).hint("write \"svc.example.\"");
    }
    parsed.ok()
}

fn follow_type(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    if value == "nats" {
        return Some(value);
    }
    let message = match &*value {
        "kafka" => "topics of Kafka can't be followed by this program".to_owned(),
        _ => format!("`{value}` is nothing that can be followed"),
    };
    problems.error(&place, message).hint("write `type = \"nats\"`");
    None
}

fn type_schema() -> Json {
    json!({ "type": "string", "enum": ["nats"] })
}

fn subject(written: At<String>, problems: &mut Problems) -> Option<String> {
    nats::subject(written, true, problems)
}

/// The name is a part of the subjects of requests.
fn stream_name(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    let is_plain = value.bytes().all(|octet| octet.is_ascii_graphic() && !b".*>/\\".contains(&octet));
    if value.is_empty() || value.len() > MAX_STREAM || !is_plain {
        let message = "`stream` must be a name of a stream: without dots, spaces, slashes, `*` and `>`";
        problems.error(&place, message).hint("write `stream = \"EVENTS\"`");
        return None;
    }
    Some(value)
}
