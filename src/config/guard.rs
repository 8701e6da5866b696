//! Protection against misuse of the server for attacks: `[cookies]` of `portolan.toml` with its file of secrets, and
//! `[rrl]`. Also `[chaos]`: the answers to questions about the server itself.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::config::client_lists::net;
use crate::config::keys::{KeyKind as _, integer, keys, text, texts};
use crate::config::secret_file::{self, NamedFile, SecretText};
use crate::model::RateLimit;
use crate::model::rate_limit::{MAX_RATE, MAX_SLIP};
use crate::source::{
    At, Place, Problems, SideFile, Source,
    files::{absolute, path_of},
    reason, without_mark,
};
use crate::wire::cookie::{CookieSecrets, SECRET_LEN};

/// The settings of `[cookies]`, `[rrl]` and `[chaos]`.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The secrets of server cookies; `None`: a secret of this process, which other nodes don't know.
    pub cookies: Option<CookieSecrets>,
    /// The file of the secrets, absolute, to watch.
    pub secret_file: Option<PathBuf>,
    /// How often one client net gets the same answer.
    pub rate_limit: RateLimit,
    /// The answer to `version.bind`.
    pub version: Option<String>,
    /// The answer to `id.server`.
    pub id: Option<String>,
    /// The file of the secrets, as messages show it.
    pub(super) secrets_from: Option<NamedFile>,
}

/// Most exempt nets (judgment: they are searched one by one for each reply over the limit).
const MAX_EXEMPT: usize = 256;

/// Longest text of a CHAOS answer: one character string (RFC 1035, 3.3).
const MAX_TEXT: usize = 255;

/// Largest file of secrets, in octets (judgment: two lines have 66).
const MOST_SECRETS: u64 = 4096;

keys! {
    /// `[cookies]`.
    CookieKeys in Settings {
        /// a file with one or two lines of 32 hexadecimal digits (`openssl rand -hex 16`). The first line is the secret
        /// for new DNS cookies (RFC 9018); cookies of the second one are accepted too. All nodes behind one address or
        /// name need the same file. To change the secret: add the new one as the second line on all nodes, then swap
        /// the lines on all nodes, and after an hour remove the old one
        secret_file: String = text("\"cookie-secrets\""), note "none: a secret of this process";
    }
}

keys! {
    /// `[rrl]`.
    RrlKeys in RateLimit {
        /// how many replies a second one client net gets over UDP with the same answer, up to 1000; 0 is off. See
        /// [below](#rate-limiting-rrl)
        rate: u16 = integer(0..=MAX_RATE.into()), default RateLimit::default().rate;
        /// of the replies over the rate, every n-th is sent truncated: 1 means all, 2 every second one, 0 none; up to
        /// 10
        slip: u8 = integer(0..=MAX_SLIP.into()), default RateLimit::default().slip;
        /// the length of a client's net, in bits
        v4: u8 = integer(1..=32), default RateLimit::default().v4;
        /// the length of a client's net, in bits
        v6: u8 = integer(1..=128), default RateLimit::default().v6;
        /// `["10.0.0.0/8"]`: clients that are never limited
        exempt: Vec<IpNet> = texts("[\"10.0.0.0/8\"]").sized(0..=MAX_EXEMPT).then(exempt), default Vec::new();
    }
}

keys! {
    /// `[chaos]`.
    ChaosKeys in Settings {
        /// the answer to `version.bind` and `version.server` (TXT, class CH), up to 255 octets
        version: String = text("\"ns1\"").sized(1..=MAX_TEXT), note "none: refused";
        /// the answer to `id.server` and `hostname.bind`
        id: String = text("\"ns1\"").sized(1..=MAX_TEXT), note "none: refused";
    }
}

/// Checks the tables and reads the file of secrets; relative paths are relative to `base`.
pub(super) fn read(
    cookies: Option<CookieKeys>,
    rrl: Option<RrlKeys>,
    chaos: Option<ChaosKeys>,
    base: &Path,
    problems: &mut Problems,
) -> Guard {
    let named = cookies.and_then(|keys| keys.secret_file);
    let secrets_from = named.map(|named| NamedFile { shown: path_of(&named, base), place: Some(named.place) });
    let rate_limit = rrl.map_or_else(RateLimit::default, |RrlKeys { rate, slip, v4, v6, exempt, .. }| RateLimit {
        rate: rate.value,
        slip: slip.value,
        v4: v4.value,
        v6: v6.value,
        exempt: exempt.value,
    });
    let (version, id) = chaos.map_or((None, None), |keys| (keys.version, keys.id));
    Guard {
        cookies: None,
        secret_file: secrets_from.as_ref().map(|file| absolute(&file.shown)),
        rate_limit,
        version: chaos_text("version", version, problems),
        id: chaos_text("id", id, problems),
        secrets_from,
    }
}

impl Guard {
    /// These settings with the cookie secrets that their file has now; without any if it has errors.
    pub(super) fn with_cookie_secrets(self, problems: &mut Problems) -> Guard {
        Guard { cookies: self.secrets_from.as_ref().and_then(|file| cookie_secrets(file, problems)), ..self }
    }
}

fn exempt(At { value, place }: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<IpNet>> {
    if value.len() > MAX_EXEMPT {
        problems.error(&place, format!("`exempt` must list {MAX_EXEMPT} nets at most"));
    }
    Some(value.iter().filter_map(|written| net(written, problems)).collect())
}

/// A text of one character string (RFC 1035, 3.3).
fn chaos_text(key: &'static str, written: Option<At<String>>, problems: &mut Problems) -> Option<String> {
    let At { value, place } = written?;
    if value.is_empty() || value.len() > MAX_TEXT {
        let problem = problems.error(&place, format!("`{key}` must have 1 to {MAX_TEXT} octets, not {}", value.len()));
        problem.hint("leave it out, so that the query is refused");
    }
    Some(value)
}

fn cookie_secrets(NamedFile { shown, place }: &NamedFile, problems: &mut Problems) -> Option<CookieSecrets> {
    let whole = Place::start_of(shown);
    let place = place.as_ref().unwrap_or(&whole);
    problems.in_side_file(SideFile::CookieSecrets, |problems| match secret_file::read(shown, MOST_SECRETS) {
        Ok(SecretText { text, mode: _ }) if text.len() as u64 <= MOST_SECRETS => {
            let text = without_mark(&text);
            secrets(&Source::secret(shown, text), text, problems)
        }
        Ok(_) => {
            let message = format!("can't read {}: it is over {MOST_SECRETS} octets", shown.display());
            problems.error(place, message).hint("a file of cookie secrets has one or two lines");
            None
        }
        Err(error) => {
            let message = format!("can't read {}: {}", shown.display(), reason(&error));
            let problem = problems.error(place, message);
            problem.hint(format!("make it with `openssl rand -hex {SECRET_LEN}`, the same for all nodes of a fleet"));
            None
        }
    })
}

/// One or two lines, each a secret; the first is the current one.
fn secrets(source: &Source<'_>, text: &[u8], problems: &mut Problems) -> Option<CookieSecrets> {
    let before = problems.errors();
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let written = line.trim_ascii();
        let at = start + (line.len() - line.trim_ascii_start().len());
        start += line.len() + 1;
        match (written.is_empty(), found.len()) {
            (true, _) => {}
            (false, 0..2) => found.push(secret(source, written, at, problems)),
            (false, _) => {
                let problem = problems.error(&source.place(at), "a file of cookie secrets has two lines at most");
                problem.hint("keep the current secret, and below it the one before");
                break;
            }
        }
    }
    if found.is_empty() {
        wrong(&source.place(0), "there is no cookie secret in this file", problems);
    }
    let current = *found.first()?;
    (problems.errors() == before).then_some(CookieSecrets { current: current?, other: found.get(1).copied().flatten() })
}

/// A secret in hexadecimal digits that begins at octet `at`. A problem never shows it.
fn secret(source: &Source<'_>, written: &[u8], at: usize, problems: &mut Problems) -> Option<[u8; SECRET_LEN]> {
    if let Some(bad) = written.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        wrong(&source.place(at + bad), "this is not a hexadecimal digit", problems);
        return None;
    }
    if written.len() != 2 * SECRET_LEN {
        let message = format!("a cookie secret has {} digits, and this has {}", 2 * SECRET_LEN, written.len());
        wrong(&source.place(at), &message, problems);
        return None;
    }
    let digit = |at: usize| (written[at] as char).to_digit(16).unwrap_or(0) as u8;
    Some(std::array::from_fn(|at| digit(2 * at) << 4 | digit(2 * at + 1)))
}

fn wrong(place: &Place, message: &str, problems: &mut Problems) {
    let hint = format!("write {} hexadecimal digits, as `openssl rand -hex {SECRET_LEN}` does", 2 * SECRET_LEN);
    problems.error(place, message).hint(hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_file(text: &str) -> (Option<CookieSecrets>, Vec<String>) {
        let mut problems = Problems::default();
        let read = secrets(&Source::new(Path::new("f"), text.as_bytes()), text.as_bytes(), &mut problems);
        let found = problems.into_sorted();
        (read, found.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect())
    }

    #[test]
    fn a_file_has_one_secret_or_two() {
        let (a, b) = ("000102030405060708090a0b0c0d0e0f", "F0E0D0C0B0A090807060504030201000");
        let first: [u8; SECRET_LEN] = std::array::from_fn(|at| at as u8);
        let second: [u8; SECRET_LEN] = std::array::from_fn(|at| (15 - at as u8) << 4);
        for (text, other) in [
            (a.to_owned(), None),
            (format!("{a}\n"), None),
            (format!("\n  {a}\r\n{b}\r\n\n"), Some(second)),
            (format!("{a}\n{b}"), Some(second)),
        ] {
            assert_eq!(read_file(&text), (Some(CookieSecrets { current: first, other }), vec![]), "{text:?}");
        }
    }

    #[test]
    fn an_error_in_a_file_has_its_place() {
        let good = "000102030405060708090a0b0c0d0e0f";
        for (text, expected) in [
            (String::new(), "1:1: there is no cookie secret in this file"),
            ("\n\n".into(), "1:1: there is no cookie secret in this file"),
            (format!("{good}\n  00x0"), "2:5: this is not a hexadecimal digit"),
            (format!("{good}0"), "1:1: a cookie secret has 32 digits, and this has 33"),
            (format!("{good}\n{good}\n\n{good}\n{good}"), "4:1: a file of cookie secrets has two lines at most"),
        ] {
            assert_eq!(read_file(&text), (None, vec![expected.to_owned()]), "{text:?}");
        }
    }
}
