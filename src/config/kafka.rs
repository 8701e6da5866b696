//! Where the brokers of Kafka are: the same keys for sinks and for what is followed.

use std::path::{Path, PathBuf};

use url::Url;

use crate::config::nats::{self, MAX_SERVERS, NatsTlsKeys};
use crate::model::{Pem, SourceTls};
use crate::source::{At, Place, Problems};

/// Whether this program was built with Kafka.
pub const HAS_KAFKA: bool = cfg!(feature = "kafka");
/// Longest name of a topic (Kafka: 249 characters).
pub(super) const MAX_TOPIC: usize = 249;
/// The port of a broker that is written without one.
const USUAL_PORT: u16 = 9092;
/// What to write as `brokers`.
pub(super) const BROKERS_HINT: &str = "write `brokers = [\"kafka1.example:9092\"]`";
/// What to write as `topic`.
pub(super) const TOPIC_HINT: &str = "write `topic = \"portolan\"`, a topic that exists";

/// Some brokers of a cluster, which name the others, and how this node connects to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaCluster {
    /// One at least: `HOST:PORT`.
    pub brokers: Vec<String>,
    /// For TLS; `None`: the connection is not encrypted.
    pub tls: Option<SourceTls>,
}

impl KafkaCluster {
    /// The addresses of the brokers.
    pub fn shown(&self) -> String {
        self.brokers.join(", ")
    }

    /// The files that a connection reads.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.tls.iter().flat_map(SourceTls::files).cloned()
    }
}

/// Reads where brokers are. Paths are relative to `base` unless a flag names them. `None`: there is no broker.
pub(super) fn cluster(
    list: Option<At<Vec<At<String>>>>,
    tls: Option<At<NatsTlsKeys>>,
    base: &Path,
    problems: &mut Problems,
) -> Option<KafkaCluster> {
    // The files are checked without brokers too.
    let tls = tls.map(|At { value, place: _ }| {
        let files = nats::tls(value, base, problems);
        let (cert, key) = files.own.unzip();
        let [ca, cert, key] = [files.ca, cert, key].map(|file| file.map(Pem::File));
        SourceTls { ca, cert, key, ..SourceTls::default() }
    });
    let list = list?;
    if list.value.is_empty() || list.value.len() > MAX_SERVERS {
        let problem = problems.error(&list.place, format!("`brokers` must list 1 to {MAX_SERVERS} brokers"));
        problem.hint(BROKERS_HINT);
    }
    let mut brokers: Vec<String> = Vec::new();
    for written in list.value.into_iter().take(MAX_SERVERS) {
        match broker(&written.value) {
            Some(broker) if brokers.contains(&broker) => {
                problems.error(&written.place, "this broker is listed twice").hint("leave one of them out");
            }
            Some(broker) => brokers.push(broker),
            None => {
                let problem = problems.error(&written.place, format!("`{}` is no address of a broker", written.value));
                problem
                    .hint("write \"HOST:9092\", a name or an IPv4 address; for TLS write `tls = { ca = \"ca.pem\" }`");
            }
        }
    }
    (!brokers.is_empty()).then_some(KafkaCluster { brokers, tls })
}

/// `HOST` or `HOST:PORT`, with the port; `None` if it is neither.
fn broker(written: &str) -> Option<String> {
    let url = Url::parse(&format!("kafka://{written}")).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty() && !host.starts_with('['))?;
    let port = url.port().unwrap_or(USUAL_PORT);
    let whole = [host.to_owned(), format!("{host}:{port}")];
    (port > 0 && whole.iter().any(|form| form == written)).then(|| format!("{host}:{port}"))
}

/// A name of a topic.
pub(super) fn topic(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    if (1..=MAX_TOPIC).contains(&value.len()) && value.bytes().all(is_allowed) && value != "." && value != ".." {
        return Some(value);
    }
    let message = "`topic` must be a name of a topic: letters, digits, `.`, `_` and `-`";
    problems.error(&place, message).hint(TOPIC_HINT);
    None
}

/// The error of a type that needs a build with Kafka. `what`: `sinks` or `streams`.
pub(super) fn refuse(place: &Place, what: &str, problems: &mut Problems) {
    let message = format!("{what} of type `kafka` are not in this program: it was built without the feature `kafka`");
    let hint = "use the image or a package of Portolan, or build it with `cargo build --features kafka`; or write \
                `type = \"nats\"`";
    problems.error(place, message).hint(hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_a_host_and_a_port() {
        for (written, expected) in [
            ("kafka1.example:9093", Some("kafka1.example:9093")),
            ("kafka1", Some("kafka1:9092")),
            ("192.0.2.1:19092", Some("192.0.2.1:19092")),
            ("[2001:db8::1]:9092", None),
            ("kafka://kafka1:9092", None),
            ("me@kafka1:9092", None),
            ("kafka1:9092/topic", None),
            ("kafka1:0", None),
            ("", None),
            ("two words", None),
        ] {
            assert_eq!(broker(written).as_deref(), expected, "{written}");
        }
    }
}
