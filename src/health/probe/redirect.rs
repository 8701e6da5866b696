//! The target of a redirect (RFC 9110, 15.4), and whether a probe may follow it. It may only stay at the probed
//! endpoint: the same scheme, host and port. Otherwise it would probe something else. Pure.

use url::{Position, Url};

use crate::health::probe::Failure;
use crate::printable::is_unprintable;

/// The most characters of a location that are reported. Judgment: enough to recognize it.
const MAX_LOCATION_CHARS: usize = 200;

/// Whether a response with this status is a redirect that can be followed. 300 and 304 are not, and 305 is deprecated.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The URL to request next, for a redirect to `location` in the response to a request for `here`. The server may name
/// the port of `here` or the probed port.
pub(super) fn follow(here: &Url, location: &str, probed_port: u16) -> Result<Url, Failure> {
    let to = |what: &str| Failure::Redirected(format!("redirected to {}{what}", printable_location(location)));
    let there = here.join(location).map_err(|_| to(", which is no URL"))?;
    let port = there.port_or_known_default();
    let is_same_port = port == here.port_or_known_default() || port == Some(probed_port);
    if there.scheme() != here.scheme() || there.host() != here.host() || !is_same_port {
        return Err(to(", which is not what is probed"));
    }
    Ok(there)
}

/// The path and the query of `url`.
pub(super) fn path_of(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// The beginning of a location that a server sent, without control characters.
pub(super) fn printable_location(location: &str) -> String {
    location.chars().take(MAX_LOCATION_CHARS).filter(|c| !is_unprintable(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(location: &str) -> String {
        let here = Url::parse("https://www.svc.example/a/b?q=1").expect("a URL");
        match follow(&here, location, 8443) {
            Ok(there) => path_of(&there).to_owned(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn every_form_of_a_location_at_the_probed_endpoint_is_followed() {
        for (location, path) in [
            ("/login", "/login"),
            ("login?next=%2F#top", "/a/login?next=%2F"),
            ("../c/./d", "/c/d"),
            ("?q=2", "/a/b?q=2"),
            ("//WWW.svc.example/x", "/x"),
            ("https://www.svc.example", "/"),
            ("https://www.svc.example:443/x", "/x"),
            ("https://www.svc.example:8443/x", "/x"),
        ] {
            assert_eq!(followed(location), path, "{location}");
        }
    }

    #[test]
    fn a_location_elsewhere_is_not_followed() {
        for location in [
            "http://www.svc.example/a/b",
            "https://other.example/",
            "//other.example/a",
            "https://www.svc.example:444/",
            "https://www.svc.example.other.example/",
            "https://www.svc.example@other.example/",
            "ftp://www.svc.example/",
            "mailto:root@www.svc.example",
        ] {
            assert_eq!(followed(location), format!("redirected to {location}, which is not what is probed"));
        }
        assert_eq!(followed("https://[::1/"), "redirected to https://[::1/, which is no URL");
        let printable = printable_location(&"\u{1b}[31mx".repeat(100));
        assert!(printable.len() <= MAX_LOCATION_CHARS && printable.starts_with("[31mx[31mx"), "{printable:?}");
    }
}
