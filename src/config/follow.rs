//! `[follow.NAME]` of `portolan.toml`: a stream whose events make overrides here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::kafka::{self, KafkaCluster, MAX_TOPIC};
use crate::config::keys::{
    KeyKind as _, Table, TypeWord, WrongText, check_name, choice, inline, keys, text, texts, wrong,
};
use crate::config::nats::{self, MAX_SERVERS, MAX_SUBJECT, NatsServers, NatsTlsKeys};
use crate::source::{At, ManualSection, Problems};
use crate::wire::Name;
use FollowType::{Kafka, Nats};

/// A stream that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowSettings {
    /// The name: unique, 1 to 63 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What is followed.
    pub from: FollowFrom,
    /// Where a stream begins that was not followed before.
    pub start: FollowStart,
    /// The zones in which overrides count; `None`: all.
    pub zones: Option<Arc<[Name]>>,
    /// Globs of the TARGETs that may be overridden; empty: all.
    pub targets: Vec<String>,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowFrom {
    /// A stream of JetStream.
    Nats(NatsFollow),
    /// A topic of Kafka. Only a program that was [built with it](crate::config::HAS_KAFKA) follows one.
    Kafka(KafkaFollow),
}

/// A stream of JetStream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsFollow {
    /// The NATS servers; `None`: those of `[fleet]`, which is there.
    pub servers: Option<NatsServers>,
    /// The subject, which may have wildcards.
    pub subject: String,
    /// The stream; `None`: the one that has the subject.
    pub stream: Option<String>,
}

/// A topic of Kafka, all partitions of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaFollow {
    /// The brokers.
    pub cluster: KafkaCluster,
    /// The topic.
    pub topic: String,
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
        match &self.from {
            FollowFrom::Nats(nats) => nats.servers.iter().flat_map(NatsServers::files).collect(),
            FollowFrom::Kafka(kafka) => kafka.cluster.files().collect(),
        }
    }
}

/// Most streams (judgment: each has a connection and a task of its own).
const MAX_FOLLOWS: usize = 16;
/// Most zones and targets (judgment, as for a token).
const MAX_LIST: usize = 100;
/// Longest name of a stream (NATS: 255).
const MAX_STREAM: usize = 255;

/// The types, in the order of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowType {
    Nats,
    Kafka,
}

impl TypeWord for FollowType {
    const ALL: &'static [(&'static str, FollowType)] = &[("nats", Nats), ("kafka", Kafka)];
}

const TYPE_HINT: &str = "write `type = \"nats\"` or `type = \"kafka\"`";

const STARTS: [(&str, FollowStart); 2] = [("oldest", FollowStart::Oldest), ("new", FollowStart::New)];

keys! {
    /// `[follow.NAME]`.
    FollowKeys {
        /// `"nats"`: a stream of JetStream · `"kafka"`: a topic of Kafka, in a program that was built with the feature
        /// `kafka`
        "type" of: FollowType = text("\"nats\"").parsed(follow_type)
            .with_schema(|| choice(FollowType::ALL, "").schema())
            .then(|of, p| kafka::built_in(of, Kafka, "streams", p)), required TYPE_HINT;
        /// nats: the NATS servers, as in `[fleet]`: `["nats://10.0.0.1:4222", "tls://nats2.example"]`, up to 16
        [Nats] servers: Vec<At<String>> = texts("[\"nats://127.0.0.1:4222\"]").sized(1..=MAX_SERVERS),
            note "those of `[fleet]`";
        /// nats: the subject whose events are followed; `*` stands for a part of it, `>` for the rest
        [Nats] subject: String = text("\"portolan.events\"").sized(1..=MAX_SUBJECT)
            .parsed(|subject| nats::subject(subject, true));
        /// nats: the stream that has them
        [Nats] stream: String = text("\"EVENTS\"").sized(1..=MAX_STREAM).parsed(stream_name),
            note "the one that has `subject`";
        /// kafka: some brokers of the cluster: `["kafka1.example:9092"]`, up to 16
        [Kafka] brokers: Vec<At<String>> = texts("[\"127.0.0.1:9092\"]").sized(1..=MAX_SERVERS);
        /// kafka: the topic, whose partitions are all followed
        [Kafka] topic: String = text("\"portolan\"").sized(1..=MAX_TOPIC).parsed(kafka::topic);
        /// where a stream or a topic begins that was not followed before: `"oldest"`, with all that it has, or `"new"`
        start: FollowStart = choice(&STARTS, "a place to start"), default FollowStart::Oldest;
        /// the zones in which these overrides count, and no other zone can be touched, as for a token
        zones: Vec<At<Name>> = texts("[\"svc.example.\"]").sized(1..=MAX_LIST).each(zone_name), note "all";
        /// globs of the TARGETs that may be overridden: `["fra*", "region:eu"]`
        targets: Vec<At<String>> = texts("[\"fra*\", \"region:eu\"]").sized(1..=MAX_LIST), note "all";
        /// nats: the file with the credentials for `servers`, as in `[fleet]`
        [Nats] credentials: String = text("\"follow.creds\"");
        /// `{ ca = "ca.pem", cert = "node.pem", key = "node.key" }`: TLS to `servers`, as in `[fleet]`, or
        /// to `brokers`
        tls: NatsTlsKeys = inline("{ ca = \"ca.pem\" }");
    }
}

impl Table for FollowKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Follow);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        check_name(&self.head.name, "a stream that is followed", problems);
        if let Some(of) = self.of.as_ref().map(|at| at.value) {
            let needed: &[(&str, &str)] = match of {
                Nats => &[("subject", "write `subject = \"portolan.events\"`, that of the sink of the other server")],
                Kafka => &[("brokers", kafka::BROKERS_HINT), ("topic", kafka::TOPIC_HINT)],
            };
            of.check(self, "what is followed by ", needed, problems);
            if of == Nats {
                nats::check_needs_servers(self, problems);
            }
        }
        let zones = self.zones.as_ref().map(|at| (&at.place, at.value.len()));
        let targets = self.targets.as_ref().map(|at| (&at.place, at.value.len()));
        for (key, list) in [("zones", zones), ("targets", targets)] {
            let Some((place, len)) = list else { continue };
            if !(1..=MAX_LIST).contains(&len) {
                let problem = problems.error(place, format!("`{key}` must have 1 to {MAX_LIST} entries"));
                problem.hint("leave it out for all");
            }
        }
        true
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
    let from = match keys.of?.value {
        Nats => {
            let own = keys.servers.is_some();
            let servers = nats::servers("servers", keys.servers, (keys.credentials, keys.tls), base, problems);
            if !own && !has_fleet {
                nats::refuse_without_servers(&keys.head, problems);
            }
            let stream = keys.stream.map(|stream| stream.value);
            let is_usable = !own || servers.is_some();
            keys.subject
                .filter(|_| is_usable)
                .map(|subject| FollowFrom::Nats(NatsFollow { servers, subject: subject.value, stream }))
        }
        Kafka => {
            let cluster = kafka::cluster(keys.brokers, keys.tls, base, problems);
            let parts = cluster.zip(keys.topic);
            parts.map(|(cluster, topic)| FollowFrom::Kafka(KafkaFollow { cluster, topic: topic.value }))
        }
    };
    let zones = keys.zones.map(|list| list.value.into_iter().map(|zone| zone.value).collect());
    Some(FollowSettings {
        name: name.value,
        from: from?,
        start: keys.start.value,
        zones,
        targets: keys.targets.into_iter().flat_map(|list| list.value).map(|target| target.value).collect(),
    })
}

fn zone_name(written: &str) -> Result<Name, WrongText> {
    let message = |error| format!("`{written}` is no name of a zone: {error}");
    Name::parse(written).map_err(|error| wrong(message(error), "write \"svc.example.\""))
}

fn follow_type(written: &str) -> Result<FollowType, WrongText> {
    FollowType::of_word(written).ok_or_else(|| wrong(format!("`{written}` is nothing that can be followed"), TYPE_HINT))
}

/// The name is a part of the subjects of requests.
fn stream_name(written: &str) -> Result<String, WrongText> {
    let is_plain = written.bytes().all(|octet| octet.is_ascii_graphic() && !b".*>/\\".contains(&octet));
    if (1..=MAX_STREAM).contains(&written.len()) && is_plain {
        return Ok(written.to_owned());
    }
    let message = "`stream` must be a name of a stream: without dots, spaces, slashes, `*` and `>`";
    Err(wrong(message, "write `stream = \"EVENTS\"`"))
}
