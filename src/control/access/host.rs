//! The host that a request names, in its Host field or in its target (RFC 9112, 3.2), and the hosts under which the API
//! may be called.
//!
//! A page of another site can have its own name resolved to the address of this server (DNS rebinding). For the
//! browser, the page and the API are then one site. The Host field still has the name of the other site, so a name that
//! does not belong to this server is refused. A name of one label belongs to nobody else: no public domain has one
//! label.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, Uri, Version, header};

use crate::config::Settings;

/// Names under which the API may be called, besides addresses, names of one label, and `localhost`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNames {
    /// In lower case, without the final dot.
    names: BTreeSet<String>,
}

impl HostNames {
    /// The names of the settings: `[api] hosts` and `node`, and that of the system.
    pub fn of(settings: &Settings) -> HostNames {
        let system = gethostname::gethostname().to_string_lossy().into_owned();
        let all =
            [settings.node.as_str(), &system].into_iter().chain(settings.operators.hosts.iter().map(String::as_str));
        HostNames { names: all.map(normal).collect() }
    }

    /// Whether the API may be called by this host.
    pub(in crate::control) fn include(&self, host: &Host) -> bool {
        match host {
            Host::Address(_) => true,
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => true,
            Host::Name(name) if is_label(name) => true,
            Host::Name(name) => self.names.contains(name),
        }
    }
}

/// A host as a request names it, without its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Host {
    Address(IpAddr),
    /// In lower case, without the final dot.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// Why a request has no valid host.
pub(in crate::control) type BadHost = &'static str;

const MISSING: BadHost = "the Host field is missing, which every request of HTTP/1.1 has (RFC 9112, 3.2)";
const REPEATED: BadHost = "there are several Host fields, and a request has one (RFC 9112, 3.2)";
const MALFORMED: BadHost = "the Host field or the host of the target is malformed; expected HOST or HOST:PORT";
const SCHEME: BadHost = "the scheme of the target is not http or https";

/// The host of a request. A host in the target replaces the Host field, also in `headers` (RFC 9112, 3.2.2). `None` for
/// a request of HTTP/1.0 without a host: no browser sends one.
pub(in crate::control) fn host_of(
    version: Version,
    target: &Uri,
    headers: &mut HeaderMap,
) -> Result<Option<Host>, BadHost> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(REPEATED),
        (None, None) if version >= Version::HTTP_11 => return Err(MISSING),
        (None, None) => None,
        (Some(field), None) => Some(parse(field.as_bytes())?),
    };
    if target.scheme_str().is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
        return Err(SCHEME);
    }
    let Some(authority) = target.authority() else { return Ok(field) };
    let host = parse(authority.as_str().as_bytes())?;
    headers.insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| MALFORMED)?);
    Ok(Some(host))
}

/// Parses HOST or HOST:PORT (RFC 9110, 7.2). The port may be any, because a proxy or a container may change it.
fn parse(text: &[u8]) -> Result<Host, BadHost> {
    let text = std::str::from_utf8(text).map_err(|_| MALFORMED)?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(MALFORMED)?;
            let port = if port.is_empty() { "" } else { port.strip_prefix(':').ok_or(MALFORMED)? };
            // Some programs leave the interface of a link-local address in it: fe80::1%eth0.
            let address = address.split_once('%').map_or(address, |(address, _)| address);
            (Host::Address(address.parse::<Ipv6Addr>().map_err(|_| MALFORMED)?.into()), port)
        }
        None => {
            let (name, port) = text.split_once(':').unwrap_or((text, ""));
            (named(name)?, port)
        }
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok());
    if is_port { Ok(host) } else { Err(MALFORMED) }
}

/// A host that is not an address in brackets (RFC 3986, 3.2.2).
fn named(name: &str) -> Result<Host, BadHost> {
    // unreserved, sub-delims, and `%` of encoded octets
    let may_be_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    if name.is_empty() || !name.bytes().all(may_be_in_name) {
        return Err(MALFORMED);
    }
    let name = normal(name);
    Ok(name.parse::<Ipv4Addr>().map_or_else(|_| Host::Name(name), |address| Host::Address(address.into())))
}

/// Whether a name is one label of the usual characters. Others, such as `%`, could stand for a dot.
fn is_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// In lower case, without the final dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host of a request of HTTP/1.1 with these Host fields.
    fn host(target: &str, fields: &[&'static str]) -> Result<Option<Host>, BadHost> {
        let mut headers = HeaderMap::new();
        fields
            .iter()
            .for_each(|field| _ = headers.append(header::HOST, HeaderValue::from_bytes(field.as_bytes()).unwrap()));
        host_of(Version::HTTP_11, &target.parse().unwrap(), &mut headers)
    }

    fn is_allowed(field: &'static str) -> bool {
        let names = HostNames { names: ["ns1.example", "gslb.corp.example"].map(str::to_owned).into() };
        names.include(&host("/", &[field]).unwrap().unwrap())
    }

    #[test]
    fn addresses_local_names_and_names_of_this_server_are_allowed_with_any_port() {
        for field in [
            "127.0.0.1",
            "127.0.0.1:8053",
            "127.0.0.1.:8053",
            "192.0.2.1:80",
            "[::1]",
            "[::1]:8053",
            "[2001:db8::1]:",
            "[fe80::1%eth0]:8053",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LOCALHOST:8053",
            "localhost.",
            "a.localhost:1",
            "portolan:8053",
            "portolan",
            "a_b-c",
            "ns1.example",
            "NS1.Example.:8053",
            "gslb.corp.example:65535",
        ] {
            assert!(is_allowed(field), "{field}");
        }
    }

    #[test]
    fn names_of_others_are_not_allowed() {
        for field in [
            "evil.example",
            "evil.example:8053",
            "evil.example.",
            "ns1.example.evil.example",
            "xns1.example",
            "localhost.evil.example",
            "evillocalhost.example",
            "127.0.0.1.evil.example",
            "127.1",
            "ns1%2eexample",
            "evil%2eexample",
            "a..",
            "..",
            ".",
            ".localhost.x",
            "ns1.example..",
            "127.0.0.1..",
        ] {
            assert!(!is_allowed(field), "{field}");
        }
    }

    #[test]
    fn a_malformed_host_is_refused() {
        for field in [
            "",
            ":8053",
            "a:b",
            "a:65536",
            "a:+80",
            "a:-1",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]8053",
            "[::1]:x",
            "[]",
            "[v1.a]",
            "alice@localhost",
            "http://localhost",
            "localhost/",
            "a b",
            "a\\b",
            "a?b",
            "a#b",
            "\u{e4}.example",
        ] {
            assert_eq!(host("/", &[field]), Err(MALFORMED), "{field}");
        }
    }

    #[test]
    fn a_request_of_http_1_1_has_one_host() {
        assert_eq!(host("/", &[]), Err(MISSING));
        assert_eq!(host("http://localhost/", &[]), Err(MISSING));
        assert_eq!(host("/", &["localhost", "localhost"]), Err(REPEATED));
        assert_eq!(host_of(Version::HTTP_10, &"/".parse().unwrap(), &mut HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_host_in_the_target_replaces_the_field() {
        let name = |name: &str| Ok(Some(Host::Name(name.into())));
        assert_eq!(host("http://evil.example/v1/status", &["localhost"]), name("evil.example"));
        assert_eq!(host("http://localhost:8053/", &["evil.example"]), name("localhost"));
        assert_eq!(host("http://alice@localhost/", &["localhost"]), Err(MALFORMED));
        assert_eq!(host("ftp://localhost/", &["localhost"]), Err(SCHEME));
        assert_eq!(host("http://localhost/", &["a b"]), Err(MALFORMED));
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
        host_of(Version::HTTP_11, &"http://evil.example:1/".parse().unwrap(), &mut headers).unwrap();
        assert_eq!(headers[header::HOST], "evil.example:1");
    }
}
