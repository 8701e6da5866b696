//! `[sink.NAME]` of `portolan.toml`: where events are sent, by which way, and the bounds of the tries.

mod secrets;
mod webhook;

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::config::kafka::{self, KafkaCluster, MAX_TOPIC};
use crate::config::keys::{
    KeyKind as _, Table, TypeWord, check_name, choice, duration, inline, integer, keys, text, texts,
};
use crate::config::nats::{self, MAX_SERVERS, MAX_SUBJECT, NatsServers, NatsTlsKeys};
use crate::source::{
    At, ManualSection, Problems, SideFile,
    files::{absolute, path_of},
};
use SinkType::{Kafka, Nats, Webhook};
use webhook::{MAX_URL, check_authorities, url};

pub use secrets::SigningSecrets;

/// Where events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// The name: unique, 1 to 63 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// How long one try may take.
    pub timeout: Duration,
    /// After so many tries that the receiver refused, an event is given up; at least 1.
    pub tries: u32,
    /// Most events under way at a time; at least 1.
    pub concurrency: usize,
    /// The receiver.
    pub to: SinkReceiver,
}

/// What receives the events of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkReceiver {
    /// An HTTP server.
    Webhook(WebhookSettings),
    /// A stream of JetStream.
    Nats(NatsSinkSettings),
    /// A topic of Kafka. Only a program that was [built with it](crate::config::HAS_KAFKA) has such a sink.
    Kafka(KafkaSinkSettings),
}

/// A receiver of webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// `http` or `https`, with a host, without user and fragment.
    pub url: Url,
    /// The file with the secrets; absolute.
    pub secret_file: PathBuf,
    /// A file with the certificates of the authorities that are trusted; `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// A subject of NATS that a stream of JetStream stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSinkSettings {
    /// The NATS servers; `None`: those of `[fleet]`, which is there.
    pub servers: Option<NatsServers>,
    /// The subject, without wildcards.
    pub subject: String,
}

/// A topic of Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSinkSettings {
    /// The brokers.
    pub cluster: KafkaCluster,
    /// The topic.
    pub topic: String,
}

impl SinkSettings {
    /// The files that a sink reads while the server runs, apart from those of `[fleet]`.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.to {
            SinkReceiver::Webhook(webhook) => {
                std::iter::once(webhook.secret_file.clone()).chain(webhook.ca.clone()).collect()
            }
            SinkReceiver::Nats(nats) => nats.servers.iter().flat_map(NatsServers::files).collect(),
            SinkReceiver::Kafka(kafka) => kafka.cluster.files().collect(),
        }
    }

    /// The file with the secrets of a webhook.
    pub(super) fn secret_file(&self) -> Option<PathBuf> {
        match &self.to {
            SinkReceiver::Webhook(webhook) => Some(webhook.secret_file.clone()),
            SinkReceiver::Nats(_) | SinkReceiver::Kafka(_) => None,
        }
    }

    /// The most connections that it has.
    pub fn connections(&self) -> usize {
        match &self.to {
            SinkReceiver::Webhook(_) => self.concurrency,
            SinkReceiver::Nats(_) => 1,
            // One to any broker, and one to the leader of each partition.
            SinkReceiver::Kafka(_) => KAFKA_CONNECTIONS,
        }
    }
}

/// Most sinks (judgment: each has a task and connections of its own).
const MAX_SINKS: usize = 16;
/// Bounds and default of `timeout` (judgment: receivers should reply within seconds, and a slow one holds up only the
/// events of one endpoint for each try).
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most `tries`, and the default (judgment: with 8 tries an event is given up after a minute).
const MAX_TRIES: i64 = 100;
const TRIES: u32 = 8;
/// Most `concurrency`, and the default (judgment: over a path of 100 ms, 8 at a time are 80 events a second).
const MAX_CONCURRENCY: i64 = 64;
const CONCURRENCY: usize = 8;

/// Connections of a sink of type kafka (judgment: a topic has a few partitions).
const KAFKA_CONNECTIONS: usize = 16;

/// The types, in the order of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SinkType {
    Webhook,
    Nats,
    Kafka,
}

impl TypeWord for SinkType {
    const ALL: &'static [(&'static str, SinkType)] = &[("webhook", Webhook), ("nats", Nats), ("kafka", Kafka)];
}

keys! {
    /// `[sink.NAME]`.
    SinkKeys {
        /// `"webhook"`: each event is an HTTP POST, signed as [Standard Webhooks](https://www.standardwebhooks.com) has
        /// it · `"nats"`: each event is a message in a stream of JetStream · `"kafka"`: each event is a record in a
        /// topic of Kafka, in a program that was built with the feature `kafka`
        "type" of: SinkType = choice(SinkType::ALL, "a type of sink")
            .then(|of, p| kafka::built_in(of, Kafka, "sinks", p)),
            required "write `type = \"webhook\"`, `type = \"nats\"` or `type = \"kafka\"`";
        /// webhook: where to send: `"https://hooks.example/portolan"` or `"http://127.0.0.1:9000/events"`. Redirects
        /// are not followed
        [Webhook] url: Url = text("\"https://hooks.example/portolan\"").sized(1..=MAX_URL).parsed(url);
        /// webhook: the file with the secret that signs: a line `whsec_BASE64`. While a secret is replaced, write the
        /// new one and the old one, a line each: each event is signed with both. A changed file is used within seconds
        [Webhook] secret_file: String = text("\"webhook.secret\"");
        /// webhook: PEM: the certificates of the authorities that sign that of the receiver, instead of those of the
        /// system
        [Webhook] ca: String = text("\"ca.pem\"");
        /// nats: the NATS servers, as in `[fleet]`: `["nats://10.0.0.1:4222", "tls://nats2.example"]`, up to 16
        [Nats] servers: Vec<At<String>> = texts("[\"nats://127.0.0.1:4222\"]").sized(1..=MAX_SERVERS),
            note "those of `[fleet]`";
        /// nats: the subject that events are published on. A stream of JetStream must have it
        [Nats] subject: String = text("\"portolan.events\"").sized(1..=MAX_SUBJECT)
            .parsed(|subject| nats::subject(subject, false));
        /// nats: the file with the credentials for `servers`, as in `[fleet]`
        [Nats] credentials: String = text("\"sink.creds\"");
        /// kafka: some brokers of the cluster: `["kafka1.example:9092"]`, up to 16
        [Kafka] brokers: Vec<At<String>> = texts("[\"127.0.0.1:9092\"]").sized(1..=MAX_SERVERS);
        /// kafka: the topic, which must exist
        [Kafka] topic: String = text("\"portolan\"").sized(1..=MAX_TOPIC).parsed(kafka::topic);
        /// nats, kafka: `{ ca = "ca.pem", cert = "node.pem", key = "node.key" }`: TLS to `servers`, as in `[fleet]`, or
        /// to `brokers`
        [Nats, Kafka] tls: NatsTlsKeys = inline("{ ca = \"ca.pem\" }");
        /// how long one try may take, 100 ms to 1 min
        timeout: Duration = duration(TIMEOUTS, "\"10s\""), default TIMEOUT;
        /// an event that the receiver has refused so often is given up, 1 to 100. A receiver that is away, busy or
        /// broken is tried for ever
        tries: u32 = integer(1..=MAX_TRIES), default TRIES;
        /// how many events are sent at a time, 1 to 64. Those of one endpoint follow each other
        concurrency: usize = integer(1..=MAX_CONCURRENCY), default CONCURRENCY;
    }
}

impl Table for SinkKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Sinks);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        check_name(&self.head.name, "a sink", problems);
        let Some(of) = self.of.as_ref().map(|at| at.value) else { return true };
        let needed: &[(&str, &str)] = match of {
            Webhook => &[("url", "write `url = \"https://hooks.example/portolan\"`"), ("secret_file", secrets::HINT)],
            Nats => &[("subject", "write `subject = \"portolan.events\"`, a subject that a stream has")],
            Kafka => &[("brokers", kafka::BROKERS_HINT), ("topic", kafka::TOPIC_HINT)],
        };
        of.check(self, "a sink of ", needed, problems);
        if of == Nats {
            nats::check_needs_servers(self, problems);
        }
        true
    }
}

/// Reads the sinks. Their paths are relative to `base` unless a flag names them. `has_fleet`: there is `[fleet]`.
pub(super) fn read(
    declared: Vec<SinkKeys>,
    has_fleet: bool,
    base: &Path,
    problems: &mut Problems,
) -> Vec<SinkSettings> {
    problems.about(ManualSection::Sinks, |problems| {
        if let Some(keys) = declared.get(MAX_SINKS) {
            problems.error(&keys.head.name.place, format!("more than {MAX_SINKS} sinks")).hint("remove some of them");
        }
        let sinks = declared.into_iter().take(MAX_SINKS);
        sinks.filter_map(|keys| sink(keys, has_fleet, base, problems)).collect()
    })
}

fn sink(keys: SinkKeys, has_fleet: bool, base: &Path, problems: &mut Problems) -> Option<SinkSettings> {
    let name = keys.head.name.clone();
    let (timeout, tries, concurrency) = (keys.timeout.value, keys.tries.value, keys.concurrency.value);
    // The files are checked whatever else is wrong.
    let secret_file = keys.secret_file.map(|written| {
        let shown = path_of(&written, base);
        problems.in_side_file(SideFile::Sinks, |problems| secrets::check(&written, &shown, problems));
        absolute(&shown)
    });
    let ca = keys.ca.map(|written| {
        let shown = path_of(&written, base);
        problems.in_side_file(SideFile::Sinks, |problems| check_authorities(&written, &shown, problems));
        absolute(&shown)
    });
    let to = match keys.of?.value {
        Webhook => SinkReceiver::Webhook(WebhookSettings { url: keys.url?.value, secret_file: secret_file?, ca }),
        Nats => {
            let own = keys.servers.is_some();
            let servers = nats::servers("servers", keys.servers, (keys.credentials, keys.tls), base, problems);
            if !own && !has_fleet {
                nats::refuse_without_servers(&keys.head, problems);
            }
            if own && servers.is_none() {
                return None;
            }
            SinkReceiver::Nats(NatsSinkSettings { servers, subject: keys.subject?.value })
        }
        Kafka => {
            let cluster = kafka::cluster(keys.brokers, keys.tls, base, problems);
            SinkReceiver::Kafka(KafkaSinkSettings { cluster: cluster?, topic: keys.topic?.value })
        }
    };
    Some(SinkSettings { name: name.value, timeout, tries, concurrency, to })
}
