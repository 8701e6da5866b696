//! Where the brokers of Kafka are: the same keys for sinks and for what is followed.

use std::path::{Path, PathBuf};

use url::Url;

use crate::config::keys::{WrongText, wrong};
use crate::config::nats::{self, ListForm, NatsTlsKeys};
use crate::model::{Pem, SourceTls};
use crate::source::{At, Problems};

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
    let address = |written: &str| {
        let hint = "write \"HOST:9092\", a name or an IPv4 address; for TLS write `tls = { ca = \"ca.pem\" }`";
        broker(written).ok_or_else(|| wrong(format!("`{written}` is no address of a broker"), hint))
    };
    let form = ListForm { key: "brokers", what: "broker", many: "brokers", hint: BROKERS_HINT };
    let brokers = nats::each_once(list?, form, address, problems);
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
pub(super) fn topic(written: &str) -> Result<String, WrongText> {
    let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    let is_named = written.bytes().all(is_allowed) && ![".", ".."].contains(&written);
    if (1..=MAX_TOPIC).contains(&written.len()) && is_named {
        return Ok(written.to_owned());
    }
    Err(wrong("`topic` must be a name of a topic: letters, digits, `.`, `_` and `-`", TOPIC_HINT))
}

/// The type of a table, unless it is `kafka` and needs a build with Kafka. `what`: `sinks` or `streams`.
pub(super) fn built_in<T: PartialEq>(of: At<T>, kafka: T, what: &str, problems: &mut Problems) -> Option<T> {
    if of.value != kafka || HAS_KAFKA {
        return Some(of.value);
    }
    let message = format!("{what} of type `kafka` are not in this program: it was built without the feature `kafka`");
    let hint = "use the image or a package of Portolan, or build it with `cargo build --features kafka`; or write \
                `type = \"nats\"`";
    problems.error(&of.place, message).hint(hint);
    None
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
