//! What guards the server against being used on others: `[cookies]` of `portolan.toml` with the file of secrets that it
//! names, `[rrl]`, and, in `[chaos]`, what it tells about itself.

use std::path::{Path, PathBuf};

use crate::config::client_lists::net;
use crate::config::fields::Fields;
use crate::config::files;
use crate::config::manual::ManualSection;
use crate::config::problem::{Problems, SideFile, reason};
use crate::config::source::{At, Place, Source, without_mark};
use crate::model::RateLimit;
use crate::model::rate_limit::{MAX_RATE, MAX_SLIP};
use crate::wire::cookie::{CookieSecrets, SECRET_LEN};

/// How the server guards itself and others.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// What server cookies are made with; none: a secret of this process, which other nodes don't know.
    pub cookies: Option<CookieSecrets>,
    /// Where they are read from; absolute, for those who watch files.
    pub secret_file: Option<PathBuf>,
    /// How often one client may get the same answer.
    pub rate_limit: RateLimit,
    /// What `version.bind` is answered with.
    pub version: Option<String>,
    /// What `id.server` is answered with.
    pub id: Option<String>,
}

/// Nets that are exempt are looked through one by one, for replies over the limit (judgment).
pub(super) const MAX_EXEMPT: usize = 256;

/// Longest text of a CHAOS answer: one character string (RFC 1035, 3.3).
pub(super) const MAX_TEXT: usize = 255;

/// Octets of a file of secrets that are read: two lines take 66, so that one with more is another file (judgment).
const MOST_SECRETS: u64 = 4096;

/// Reads the tables; relative paths are relative to `base`.
pub(super) fn read(top: &mut Fields, base: &Path, problems: &mut Problems) -> Guard {
    let mut secret_file = None;
    let cookies = top.table("cookies", problems).and_then(|fields| cookies(fields, base, &mut secret_file, problems));
    let rate_limit = problems.about(ManualSection::RateLimit, |problems| {
        top.table("rrl", problems).map_or_else(RateLimit::default, |fields| rate_limit(fields, problems))
    });
    let (version, id) = top.table("chaos", problems).map_or((None, None), |mut fields| {
        let texts = (chaos_text("version", &mut fields, problems), chaos_text("id", &mut fields, problems));
        fields.finish(&[], problems);
        texts
    });
    Guard { cookies, secret_file, rate_limit, version, id }
}

fn rate_limit(mut fields: Fields, problems: &mut Problems) -> RateLimit {
    let mut limit = RateLimit::default();
    let mut number = |key, range, or: u16| fields.integer(key, range, problems).map_or(or, |at| at.value as u16);
    limit.rate = number("rate", 0..=i64::from(MAX_RATE), limit.rate);
    limit.slip = number("slip", 0..=i64::from(MAX_SLIP), limit.slip.into()) as u8;
    limit.v4 = number("v4", 1..=32, limit.v4.into()) as u8;
    limit.v6 = number("v6", 1..=128, limit.v6.into()) as u8;
    if let Some(At { value, place }) = fields.texts("exempt", "[\"10.0.0.0/8\"]", problems) {
        if value.len() > MAX_EXEMPT {
            problems.error(&place, format!("`exempt` must list {MAX_EXEMPT} nets at most"));
        }
        limit.exempt = value.iter().filter_map(|written| net(written, problems)).collect();
    }
    fields.finish(&[], problems);
    limit
}

/// A text of one character string (RFC 1035, 3.3).
fn chaos_text(key: &'static str, fields: &mut Fields, problems: &mut Problems) -> Option<String> {
    let At { value, place } = fields.text(key, "\"ns1\"", problems)?;
    if value.is_empty() || value.len() > MAX_TEXT {
        let problem = problems.error(&place, format!("`{key}` must have 1 to {MAX_TEXT} octets, not {}", value.len()));
        problem.hint("leave it out, so that the query is refused");
    }
    Some(value)
}

fn cookies(
    mut fields: Fields,
    base: &Path,
    secret_file: &mut Option<PathBuf>,
    problems: &mut Problems,
) -> Option<CookieSecrets> {
    let file = fields.text("secret_file", "\"cookie-secrets\"", problems);
    fields.finish(&[], problems);
    let At { value, place } = file?;
    // A path of the command line is relative to the current directory.
    let is_flag = place.file.to_string_lossy().starts_with("flag ");
    let shown: PathBuf = if is_flag { value.into() } else { base.join(value) };
    *secret_file = Some(std::path::absolute(&shown).unwrap_or_else(|_| shown.clone()));
    problems.in_side_file(SideFile::CookieSecrets, |problems| match bounded(&shown) {
        Ok(text) => secrets(&Source::secret(&shown, &text), &text, problems),
        Err(error) => {
            let problem = problems.error(&place, format!("can't read {}: {}", shown.display(), reason(&error)));
            problem.hint(format!("make it with `openssl rand -hex {SECRET_LEN}`, the same for all nodes of a fleet"));
            None
        }
    })
}

fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    Ok(without_mark(&files::read(path, MOST_SECRETS)?).to_vec())
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

/// A secret in hexadecimal digits, which begins at octet `at`. The problem never shows it.
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
        let told = problems.into_sorted();
        (read, told.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect())
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
    fn what_is_wrong_with_a_file_is_told_with_its_place() {
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
