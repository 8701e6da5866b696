//! The keys of a webhook: its URL, and the authorities that it trusts.

use std::path::Path;

use url::Url;

use crate::config::keys::{WrongText, wrong};
use crate::config::nats::has_certificate;
use crate::source::{At, Problems, reason};

/// Longest URL in octets (RFC 9110, 4.1: servers should support 8,000 at least).
pub(super) const MAX_URL: usize = 2048;

pub(super) fn url(written: &str) -> Result<Url, WrongText> {
    // The text may have a secret, so the message does not repeat it.
    url_of(written).map_err(|why| wrong(format!("`url`: {why}"), "write `url = \"https://hooks.example/portolan\"`"))
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
pub(super) fn check_authorities(written: &At<String>, shown: &Path, problems: &mut Problems) {
    let message = match has_certificate(shown) {
        Ok(true) => return,
        Ok(false) => format!("{}: no certificate in the form of PEM", shown.display()),
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
