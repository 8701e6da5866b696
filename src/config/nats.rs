//! Where NATS servers are, and who this node is there: the same keys for `[fleet]`, sinks and what is followed.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use crate::config::fields::Head;
use crate::config::keys::{Table, WrongText, accepted, keys, text, wrong};
use crate::source::{
    At, Problems,
    files::{self, absolute, path_of},
    reason,
};

/// Most NATS servers (judgment: a client tries them one after another).
pub(super) const MAX_SERVERS: usize = 16;
/// Longest subject in octets (judgment; NATS servers accept 4096 for a whole line).
pub(super) const MAX_SUBJECT: usize = 255;
/// Largest file of certificates (judgment: the system's store of all authorities has 200 KiB).
const MAX_PEM: u64 = 1 << 20;

/// NATS servers, and how this node connects to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsServers {
    /// One at least: `nats://HOST:PORT` or `tls://HOST:PORT`.
    pub urls: Vec<Url>,
    /// The file with this node's credentials, absolute.
    pub credentials: Option<PathBuf>,
    /// Files for TLS; `None` if the connection uses TLS only where the NATS server requires it.
    pub tls: Option<NatsTls>,
}

/// Files for TLS to NATS servers. They are read at each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsTls {
    /// Certificates of the authorities that sign the NATS servers' certificates; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// This node's own certificate chain and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl NatsServers {
    /// The addresses of the servers, without users and passwords.
    pub fn shown(&self) -> String {
        let shown = |url: &Url| {
            let port = url.port().map_or(String::new(), |port| format!(":{port}"));
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        };
        self.urls.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// The files that a connection reads.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let NatsTls { ca, own } = self.tls.clone().unwrap_or_default();
        let own = own.into_iter().flat_map(|(cert, key)| [cert, key]);
        self.credentials.clone().into_iter().chain(ca).chain(own)
    }
}

keys! {
    /// `tls` of a connection to NATS or Kafka.
    NatsTlsKeys {
        /// PEM: certificates of the authorities that sign those of the servers
        ca: String = text("\"ca.pem\"");
        /// PEM: this node's own certificate chain
        cert: String = text("\"node.pem\"");
        /// PEM: its key
        key: String = text("\"node.key\"");
    }
}

impl Table for NatsTlsKeys {}

/// Reads where NATS servers are: `key` is that of the list. Paths are relative to `base` unless a flag names them.
/// `None`: there is no server to connect to.
pub(super) fn servers(
    key: &str,
    list: Option<At<Vec<At<String>>>>,
    (credentials, of_tls): (Option<At<String>>, Option<At<NatsTlsKeys>>),
    base: &Path,
    problems: &mut Problems,
) -> Option<NatsServers> {
    let urls = list.map(|list| urls(key, list, problems)).unwrap_or_default();
    let credentials = credentials.map(|written| {
        let shown = path_of(&written, base);
        check_readable(&written, &shown, "credentials", problems);
        absolute(&shown)
    });
    let tls = of_tls.map(|At { value, place: _ }| tls(value, base, problems));
    (!urls.is_empty()).then_some(NatsServers { urls, credentials, tls })
}

/// The errors of keys that belong to `servers`, in the table of a sink or of a stream that is followed, without it.
pub(super) fn check_needs_servers(head: &Head, problems: &mut Problems) {
    for key in ["credentials", "tls"].into_iter().filter(|_| head.lacks("servers")) {
        let Some(place) = head.place_of(key) else { continue };
        let problem = problems.error(place, format!("`{key}` is for `servers`, and there are none"));
        problem.hint("write `servers` too, or leave it out for the connection of `[fleet]`");
    }
}

/// The error of a sink, or of a stream that is followed, that has no `servers`, where there is no `[fleet]` either.
pub(super) fn refuse_without_servers(head: &Head, problems: &mut Problems) {
    let message = format!("{} has no `servers`, and there is no `[fleet]`", head.what());
    problems.error(&head.name.place, message).hint("write `servers = [\"nats://127.0.0.1:4222\"]`");
}

/// The subject of a sink, or with `may_match` that of a stream that is followed. See [`check_subject`].
pub(super) fn subject(written: &str, may_match: bool) -> Result<String, WrongText> {
    let checked = check_subject(written, may_match).map(|()| written.to_owned());
    checked.map_err(|why| wrong(format!("`subject`: {why}"), "write `subject = \"portolan.events\"`"))
}

/// Whether events can be published on a subject, or with `may_match` whether they can be read from it: then `*` stands
/// for a part, and `>` for the rest. An error says why not.
fn check_subject(subject: &str, may_match: bool) -> Result<(), String> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT {
        return Err(format!("a subject has 1 to {MAX_SUBJECT} characters"));
    }
    if !subject.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err("a subject has no spaces, and only ASCII characters that can be seen".to_owned());
    }
    if ["$", "_INBOX."].iter().any(|own| subject.starts_with(own)) {
        return Err("subjects that begin with `$` or `_INBOX.` are those of the NATS server itself".to_owned());
    }
    let parts: Vec<&str> = subject.split('.').collect();
    if parts.contains(&"") {
        return Err("no part of a subject, between its dots, is empty".to_owned());
    }
    let is_wrong = |(at, part): (usize, &&str)| {
        let is_whole = *part == "*" || (*part == ">" && at + 1 == parts.len());
        part.contains(['*', '>']) && !is_whole
    };
    if !may_match && subject.contains(['*', '>']) {
        return Err("events are published on one subject: `*` and `>` stand for many".to_owned());
    }
    match parts.iter().enumerate().any(is_wrong) {
        true => Err("`*` stands for a whole part of a subject, and `>` for all parts at its end".to_owned()),
        false => Ok(()),
    }
}

fn urls(key: &str, list: At<Vec<At<String>>>, problems: &mut Problems) -> Vec<Url> {
    // The text may have a password, so the message does not repeat it.
    let url = |written: &str| {
        let hint = "write \"nats://HOST:4222\", or \"tls://HOST:4222\"";
        url_of(written).map_err(|why| wrong(format!("`{key}`: {why}"), hint))
    };
    let form = ListForm { key, what: "NATS server", many: "servers", hint: "write [\"nats://127.0.0.1:4222\"]" };
    each_once(list, form, url, problems)
}

/// A list of servers, as messages call it.
pub(super) struct ListForm<'a> {
    pub(super) key: &'a str,
    pub(super) what: &'a str,
    pub(super) many: &'a str,
    /// How it is written.
    pub(super) hint: &'a str,
}

/// The addresses of a list of 1 to [`MAX_SERVERS`] servers, each once. WrongText ones are left out.
pub(super) fn each_once<T: PartialEq>(
    list: At<Vec<At<String>>>,
    ListForm { key, what, many, hint }: ListForm<'_>,
    parse: impl Fn(&str) -> Result<T, WrongText>,
    problems: &mut Problems,
) -> Vec<T> {
    if list.value.is_empty() || list.value.len() > MAX_SERVERS {
        problems.error(&list.place, format!("`{key}` must list 1 to {MAX_SERVERS} {many}")).hint(hint);
    }
    let mut found: Vec<T> = Vec::new();
    for At { value, place } in list.value.into_iter().take(MAX_SERVERS) {
        let Some(address) = accepted(parse(&value), &place, problems) else { continue };
        if found.contains(&address) {
            problems.error(&place, format!("this {what} is listed twice")).hint("leave one of them out");
        } else {
            found.push(address);
        }
    }
    found
}

/// `HOST`, `HOST:PORT`, or one of them with `nats://` or `tls://` before it.
fn url_of(written: &str) -> Result<Url, String> {
    let whole = if written.contains("://") { written.to_owned() } else { format!("nats://{written}") };
    let url = Url::parse(&whole).map_err(|error| format!("not an address of a NATS server: {error}"))?;
    if !["nats", "tls"].contains(&url.scheme()) {
        return Err(format!("`{}` is not a scheme of NATS servers here", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        return Err("an address of a NATS server has a host and a port".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("nothing may follow the port of a NATS server".to_owned());
    }
    Ok(url)
}

pub(super) fn tls(keys: NatsTlsKeys, base: &Path, problems: &mut Problems) -> NatsTls {
    let mut path = |written: Option<&At<String>>, key: &str, is_certificate: bool| {
        let written = written?;
        let shown = path_of(written, base);
        if is_certificate {
            check_certificates(written, &shown, problems);
        } else {
            check_readable(written, &shown, key, problems);
        }
        Some(absolute(&shown))
    };
    let ca = path(keys.ca.as_ref(), "ca", true);
    let (cert, key) = (path(keys.cert.as_ref(), "cert", true), path(keys.key.as_ref(), "key", false));
    for (have, written, lacks) in [("cert", &keys.cert, keys.key.is_none()), ("key", &keys.key, keys.cert.is_none())] {
        if let Some(written) = written.as_ref().filter(|_| lacks) {
            let other = if have == "cert" { "key" } else { "cert" };
            let problem = problems.error(&written.place, format!("`{have}` needs `{other}`"));
            problem.hint("write both, or neither: tls = { ca = \"ca.pem\", cert = \"node.pem\", key = \"node.key\" }");
        }
    }
    NatsTls { ca, own: cert.zip(key) }
}

fn check_readable(written: &At<String>, shown: &Path, key: &str, problems: &mut Problems) {
    if let Err(error) = files::open(shown) {
        let message = format!("`{key}`: can't read {}: {}", shown.display(), reason(&error));
        problems.error(&written.place, message).hint("name a file that exists and that this user may read");
    }
}

/// Whether a file begins with a certificate in PEM that can be read.
pub(super) fn has_certificate(file: &Path) -> io::Result<bool> {
    let text = files::read(file, MAX_PEM)?;
    Ok(CertificateDer::pem_slice_iter(&text).next().is_some_and(|first| first.is_ok()))
}

/// An error where no certificate can be read: without one no NATS server would be trusted.
fn check_certificates(written: &At<String>, shown: &Path, problems: &mut Problems) {
    match has_certificate(shown) {
        Ok(true) => {}
        Ok(false) => {
            let message = format!("{}: no certificate in the form of PEM", shown.display());
            problems.error(&written.place, message).hint("it begins with -----BEGIN CERTIFICATE-----");
        }
        Err(error) => {
            let message = format!("can't read {}: {}", shown.display(), reason(&error));
            problems.error(&written.place, message).hint("name a file that exists and that this user may read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_those_that_nats_servers_accept() {
        for good in ["portolan", "portolan.events", "a.b-c_d=2E.E"] {
            assert_eq!((check_subject(good, false), check_subject(good, true)), (Ok(()), Ok(())), "{good}");
        }
        for matching in ["a.*.c", "*", ">", "a.>", "a.*.>"] {
            assert!(check_subject(matching, false).is_err() && check_subject(matching, true).is_ok(), "{matching}");
        }
        for wrong in
            ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB b", "é", "$JS.API.>", "_INBOX.a", "a*.b", "a.>.b"]
        {
            assert!(check_subject(wrong, true).is_err() && check_subject(wrong, false).is_err(), "{wrong:?}");
        }
        assert!(check_subject(&"a".repeat(MAX_SUBJECT + 1), false).is_err());
    }
}
