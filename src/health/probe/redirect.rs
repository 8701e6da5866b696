//! Where a redirect leads (RFC 9110, 15.4), and whether a probe may go there: only within what is probed, the same
//! scheme, host and port. Anything else would be a probe of something else. Pure.

use url::{Position, Url};

use crate::health::probe::Failure;

/// Most characters that are told of a place (judgment: enough to know it by).
const MAX_TOLD: usize = 200;

/// Whether a response of this status names another place to look at. 300 and 304 do not, and 305 is history.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// What `location`, in a response to a request for `here`, leads to, as the path and query to ask for next. The server
/// may know itself by the port of `here` or by the one that is probed.
pub(super) fn follow(here: &Url, location: &str, probed_port: u16) -> Result<Url, Failure> {
    let to = |words: &str| Failure::Redirected(format!("redirected to {}{words}", told(location)));
    let there = here.join(location).map_err(|_| to(", which is no URL"))?;
    let port = there.port_or_known_default();
    let is_same_port = port == here.port_or_known_default() || port == Some(probed_port);
    if there.scheme() != here.scheme() || there.host() != here.host() || !is_same_port {
        return Err(to(", which is not what is probed"));
    }
    Ok(there)
}

/// The path and query of `url`, as a request names them.
pub(super) fn path_of(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// A place in words: what someone else wrote, cut short and without what a terminal would obey.
pub(super) fn told(location: &str) -> String {
    location.chars().take(MAX_TOLD).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(location: &str) -> String {
        let here = Url::parse("https://www.svc.example/a/b?q=1").expect("a URL");
        match follow(&here, location, 8443) {
            Ok(there) => path_of(&there).to_owned(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn within_what_is_probed_every_way_to_write_a_place_leads_on() {
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
            assert_eq!(led(location), path, "{location}");
        }
    }

    #[test]
    fn elsewhere_it_ends() {
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
            assert_eq!(led(location), format!("redirected to {location}, which is not what is probed"));
        }
        assert_eq!(led("https://[::1/"), "redirected to https://[::1/, which is no URL");
        let told = told(&"\u{1b}[31mx".repeat(100));
        assert!(told.len() <= MAX_TOLD && told.starts_with("[31mx[31mx"), "{told:?}");
    }
}
