//! Keys that only some types of monitors have: which types those are, and what is written under them where more than
//! one type reads it. A key at a type that doesn't know it is an error, never ignored.

use crate::config::fields::Fields;
use crate::config::problem::Problems;
use crate::model::CertificateRule;

/// Each such key, and the types that have it.
const TYPES_OF: [(&str, &[&str]); 6] = [
    ("path", &["http", "https"]),
    ("host", &["http", "https", "tls"]),
    ("headers", &["http", "https"]),
    ("expect", &["http", "https"]),
    ("verify", &["https", "tls"]),
    ("min_days", &["https", "tls"]),
];

/// Days that a tls monitor wants a certificate to have left, unless it says otherwise: two of the three weeks that
/// remain when the renewal of a 90-day certificate has failed for a week.
const USUAL_MIN_DAYS: u32 = 14;
/// Most days to ask for (judgment: authorities of a company's own give certificates for ten years).
pub(in crate::config) const MAX_MIN_DAYS: i64 = 3650;

/// Tells of each key in `fields` that a monitor of type `kind` doesn't have.
pub(super) fn check(kind: &str, fields: &Fields, problems: &mut Problems) {
    for (key, types) in TYPES_OF {
        let Some(place) = fields.place_of(key).filter(|_| !types.contains(&kind)) else { continue };
        let message = format!("{} has `{key}`, which only {} have", fields.what, monitors(types));
        let of = types.first().unwrap_or(&"http");
        problems.error(&place, message).hint(format!("leave it out, or write `type = \"{of}\"`"));
    }
}

/// `http and https monitors`.
fn monitors(types: &[&str]) -> String {
    match types.split_last() {
        None => String::new(),
        Some((last, [])) => format!("{last} monitors"),
        Some((last, rest)) => format!("{} and {last} monitors", rest.join(", ")),
    }
}

/// `verify` and `min_days`. Who doesn't verify hasn't asked for days either, unless `min_days` is written.
pub(super) fn certificate(kind: Option<&str>, fields: &mut Fields, problems: &mut Problems) -> CertificateRule {
    let verify = fields.boolean("verify", problems).unwrap_or(true);
    let usual = if verify && kind == Some("tls") { USUAL_MIN_DAYS } else { 0 };
    let min_days = fields.integer("min_days", 0..=MAX_MIN_DAYS, problems);
    CertificateRule { verify, min_days: min_days.map_or(usual, |days| days.value as u32) }
}
