//! `[sink.NAME]` of `portolan.toml`: where events are sent, and the file with the secret that signs them.

mod secrets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use crate::config::keys::{KeyKind as _, check_name, duration, integer, keys, text};
use crate::source::{
    At, ManualSection, Problems, SideFile, did_you_mean,
    files::{self, absolute, path_of},
    reason,
};

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
    pub to: WebhookSettings,
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

impl SinkSettings {
    /// The files that a sink reads while the server runs.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.to.secret_file.clone()).chain(self.to.ca.clone())
    }
}

/// Most sinks (judgment: each has a task and connections of its own).
const MAX_SINKS: usize = 16;
/// Longest URL in octets (RFC 9110, 4.1: servers should support 8,000 at least).
const MAX_URL: usize = 2048;
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
/// Largest file of certificates (judgment: the system's store of all authorities has 200 KiB).
const MAX_PEM: u64 = 1 << 20;
/// What a sink may be, and what is built in.
const TYPES: [(&str, bool); 3] = [("webhook", true), ("nats", false), ("kafka", false)];

keys! {
    /// `[sink.NAME]`.
    SinkKeys in Sinks {
        /// `"webhook"`: each event is an HTTP POST, signed as [Standard Webhooks](https://www.standardwebhooks.com) has
        /// it
        "type" of: String = text("\"webhook\"").then(sink_type), required "write `type = \"webhook\"`";
        /// where to send: `"https://hooks.example/portolan"` or `"http://127.0.0.1:9000/events"`. Redirects are not
        /// followed
        url: Url = text("\"https://hooks.example/portolan\"").sized(1..=MAX_URL).then(url),
            required "write `url = \"https://hooks.example/portolan\"`";
        /// the file with the secret that signs: a line `whsec_BASE64`. While a secret is replaced, write the new one
        /// and the old one, a line each: each event is signed with both. A changed file is used within seconds
        secret_file: String = text("\"webhook.secret\""),
            required secrets::HINT;
        /// PEM: the certificates of the authorities that sign that of the receiver, instead of those of the system
        ca: String = text("\"ca.pem\"");
        /// how long one try may take, 100 ms to 1 min
        timeout: Duration = duration(TIMEOUTS, "\"10s\""), default TIMEOUT;
        /// an event that the receiver has refused so often is given up, 1 to 100. A receiver that is away, busy or
        /// broken is tried for ever
        tries: u32 = integer(1..=MAX_TRIES), default TRIES;
        /// how many events are sent at a time, 1 to 64. Those of one endpoint follow each other
        concurrency: usize = integer(1..=MAX_CONCURRENCY), default CONCURRENCY;
    }
}

/// Reads the sinks. Their paths are relative to `base` unless a flag names them.
pub(super) fn read(declared: Vec<SinkKeys>, base: &Path, problems: &mut Problems) -> Vec<SinkSettings> {
    problems.about(ManualSection::Sinks, |problems| {
        if let Some(keys) = declared.get(MAX_SINKS) {
            problems.error(&keys.name.place, format!("more than {MAX_SINKS} sinks")).hint("remove some of them");
        }
        declared.into_iter().take(MAX_SINKS).filter_map(|keys| sink(keys, base, problems)).collect()
    })
}

fn sink(keys: SinkKeys, base: &Path, problems: &mut Problems) -> Option<SinkSettings> {
    check_name(&keys.name, "a sink", problems);
    let name = keys.name.value.clone();
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
    let to = WebhookSettings { url: keys.url?.value, secret_file: secret_file?, ca };
    keys.of?;
    let (timeout, tries, concurrency) = (keys.timeout.value, keys.tries.value, keys.concurrency.value);
    Some(SinkSettings { name, timeout, tries, concurrency, to })
}

fn sink_type(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    match TYPES.into_iter().find(|(name, _)| *name == value) {
        Some((_, true)) => return Some(value),
        Some((_, false)) => {
            let problem = problems.error(&place, format!("sinks of type `{value}` are not in this program"));
            problem.hint("write `type = \"webhook\"`");
        }
        None => {
            let problem = problems.error(&place, format!("`{value}` is not a type of sink"));
            let known = TYPES.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
            let hint = did_you_mean(&value, known);
            problem.hint(hint.unwrap_or_else(|| "write `type = \"webhook\"`".to_owned()));
        }
    }
    None
}

fn url(At { value, place }: At<String>, problems: &mut Problems) -> Option<Url> {
    match url_of(&value) {
        Ok(url) => Some(url),
        Err(why) => {
            // The text may have a secret, so the message does not repeat it.
            problems.error(&place, format!("`url`: {why}")).hint("write `url = \"https://hooks.example/portolan\"`");
            None
        }
    }
}

fn url_of(written: &str) -> Result<Url, String> {
    if written.len() > MAX_URL {
        return Err(format!("it has {} octets: at most {MAX_URL} are possible", written.len()));
    }
    let url = Url::parse(written).map_err(|error| format!("not a URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("`{}` is not http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or a password in it would not be sent: the signature shows who sends".to_owned());
    }
    if url.fragment().is_some() {
        return Err("what follows `#` would not be sent".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        return Err("it needs a host, and a port that is not 0".to_owned());
    }
    Ok(url)
}

/// An error where no certificate can be read: without one no receiver would be trusted.
fn check_authorities(written: &At<String>, shown: &Path, problems: &mut Problems) {
    let message = match files::read(shown, MAX_PEM) {
        Ok(text) if CertificateDer::pem_slice_iter(&text).next().is_some_and(|first| first.is_ok()) => return,
        Ok(_) => format!("{}: no certificate in the form of PEM", shown.display()),
        Err(error) => format!("can't read {}: {}", shown.display(), reason(&error)),
    };
    let problem = problems.error(&written.place, message);
    problem.hint("name a file with the authority's certificate: it begins with -----BEGIN CERTIFICATE-----");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_that_can_be_sent_to() {
        for good in ["http://127.0.0.1:9000/events", "https://hooks.example/a?b=c", "http://[::1]:1/", "https://x"] {
            assert!(url_of(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "hooks.example/portolan",
            "ftp://hooks.example/",
            "https://user@hooks.example/",
            "https://:secret@hooks.example/",
            "https://hooks.example/#part",
            "https://hooks.example:0/",
            "https://hooks.example:99999/",
            "http://",
            &format!("https://hooks.example/{}", "x".repeat(MAX_URL)),
        ] {
            assert!(url_of(wrong).is_err(), "{wrong}");
        }
        assert!(!url_of("https://user:geheim@x/").unwrap_err().contains("geheim"));
    }
}
