//! The address of a server that sources are read from: a URL of scheme http or https.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// `http://HOST[:PORT][/PATH]` or `https://...`. All paths of requests are below PATH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    /// A name, or an IP address without brackets.
    host: String,
    is_v6: bool,
    port: u16,
    is_secure: bool,
    /// Without the last `/`.
    prefix: String,
}

impl BaseUrl {
    /// The host: a name, or an IP address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is https.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// What all paths begin with: empty, or `/` and more without a `/` at its end.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The value of the header field Host (RFC 9110, 7.2).
    pub(crate) fn authority(&self) -> String {
        let BaseUrl { host, port, .. } = self;
        if self.is_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<BaseUrl, String> {
        let expected = || format!("expected http://HOST:PORT or https://HOST:PORT, found `{text}`");
        let url = Url::parse(text.trim()).map_err(|_| expected())?;
        let is_secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(expected()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("the URL `{}` has a user in it; write a secret into a file", without_user(&url)));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{}, with `?` or `#`", expected()));
        }
        let (host, is_v6) = match url.host().ok_or_else(expected)? {
            Host::Domain(name) => (name.to_owned(), false),
            Host::Ipv4(ip) => (ip.to_string(), false),
            Host::Ipv6(ip) => (ip.to_string(), true),
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(BaseUrl { host, is_v6, port, is_secure, prefix })
    }
}

fn without_user(url: &Url) -> String {
    let mut url = url.clone();
    // Both succeed: a URL with a user has a host.
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

/// `text` as a segment of a path or a value of a query (RFC 3986, 2.1).
pub(crate) fn encoded(text: &str) -> String {
    // The form encoding writes a space as `+`, and a `+` as `%2B`.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_paths_and_queries() {
        assert_eq!(encoded("a b/c+d&e=\u{e9}"), "a%20b%2Fc%2Bd%26e%3D%C3%A9");
    }

    #[test]
    fn a_base_is_an_http_or_https_url_without_user_query_and_fragment() {
        for (text, expected) in [
            ("http://127.0.0.1:8500", Ok("http://127.0.0.1:8500")),
            ("http://[::1]:8500/", Ok("http://[::1]:8500")),
            ("https://consul.example", Ok("https://consul.example:443")),
            ("http://proxy.example/consul/", Ok("http://proxy.example:80/consul")),
            ("127.0.0.1:8500", Err("expected http://HOST:PORT")),
            ("ftp://consul.example", Err("expected http://HOST:PORT")),
            ("http://", Err("expected http://HOST:PORT")),
            ("http://a.example/?x=1", Err("with `?`")),
            ("http://alice:secret@a.example", Err("write a secret into a file")),
        ] {
            match (text.parse::<BaseUrl>(), expected) {
                (Ok(base), Ok(expected)) => assert_eq!(base.to_string(), expected, "{text}"),
                (Err(error), Err(expected)) => {
                    assert!(error.contains(expected) && !error.contains("secret@"), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
