//! Keys that only some types of monitors have: which types those are, and what is written under them where more than
//! one type reads it. A key at a type that doesn't know it is an error, never ignored.

use crate::config::fields::Fields;
use crate::config::problem::Problems;
use crate::config::source::Place;
use crate::model::{CertificateRule, ExecSpec};

/// Each such key, and the types that have it.
const TYPES_OF: [(&str, &[&str]); 13] = [
    ("path", &["http", "https"]),
    ("host", &["http", "https", "tls", "grpc"]),
    ("headers", &["http", "https"]),
    ("expect", &["http", "https", "dns"]),
    ("redirects", &["http", "https"]),
    ("verify", &["https", "tls", "grpc"]),
    ("min_days", &["https", "tls", "grpc"]),
    ("program", &["exec"]),
    ("args", &["exec"]),
    ("name", &["dns"]),
    ("qtype", &["dns"]),
    ("service", &["grpc"]),
    ("tls", &["grpc"]),
];

/// Days that a tls monitor wants a certificate to have left, unless it says otherwise: two of the three weeks that
/// remain when the renewal of a 90-day certificate has failed for a week.
const USUAL_MIN_DAYS: u32 = 14;
/// Most days to ask for (judgment: authorities of a company's own give certificates for ten years).
pub(in crate::config) const MAX_MIN_DAYS: i64 = 3650;

/// Most redirects to follow (judgment: a health page that takes more is none; curl stops at 50, browsers at 20).
pub(in crate::config) const MAX_REDIRECTS: i64 = 10;

/// Most arguments, and octets in one (judgment: what a person writes into a policy; a long list belongs in a file).
pub(in crate::config) const MAX_ARGS: usize = 64;
const MAX_ARG: usize = 4096;

/// Tells of each key in `fields` that a monitor of type `kind` doesn't have.
pub(super) fn check(kind: &str, fields: &Fields, problems: &mut Problems) {
    for (key, types) in TYPES_OF {
        let Some(place) = fields.place_of(key).filter(|_| !types.contains(&kind)) else { continue };
        let message = format!("{} has `{key}`, which only {} have", fields.what, monitors(types));
        let of = types.first().unwrap_or(&"http");
        problems.error(&place, message).hint(format!("leave it out, or write `type = \"{of}\"`"));
    }
}

/// The same within `expect`.
pub(super) fn check_expected(kind: Option<&str>, expect: &Fields, problems: &mut Problems) {
    let Some(kind) = kind else { return };
    for (key, types) in
        [("status", &["http", "https"][..]), ("body", &["http", "https"]), ("rcode", &["dns"]), ("rdata", &["dns"])]
    {
        let Some(place) = expect.place_of(key).filter(|_| !types.contains(&kind)) else { continue };
        problems.error(&place, format!("`expect` has `{key}`, which only {} have", monitors(types)));
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

/// `redirects`: how many are followed; none unless it is written.
pub(super) fn redirects(fields: &mut Fields, problems: &mut Problems) -> u32 {
    fields.integer("redirects", 0..=MAX_REDIRECTS, problems).map_or(0, |redirects| redirects.value as u32)
}

/// `program` and `args`; `None` where there is nothing to run, which has been told.
pub(super) fn exec(
    kind: Option<&str>,
    place: &Place,
    fields: &mut Fields,
    problems: &mut Problems,
) -> Option<ExecSpec> {
    const EXAMPLE: &str = "\"/usr/local/bin/check\"";
    let is_missing = kind == Some("exec") && fields.lacks("program");
    let program = fields.text("program", EXAMPLE, problems);
    let args = fields.texts("args", "[\"--fast\"]", problems).map_or_else(Vec::new, |list| list.value);
    if let Some(first) = args.get(MAX_ARGS) {
        problems.error(&first.place, format!("more than {MAX_ARGS} arguments")).hint("let the program read a file");
    }
    if let Some(wrong) = args.iter().find(|arg| arg.value.contains('\0') || arg.value.len() > MAX_ARG) {
        problems
            .error(&wrong.place, format!("an argument must be {MAX_ARG} octets at most, without NUL"))
            .hint("shorten it, or let the program read a file");
    }
    let Some(program) = program else {
        if is_missing {
            let problem = problems.error(place, format!("{} has no `program`", fields.what));
            problem.hint(format!("write `program = {EXAMPLE}`"));
        }
        return None;
    };
    if !program.value.starts_with('/') || program.value.contains('\0') || program.value.len() > MAX_ARG {
        let problem = problems.error(&program.place, format!("\"{}\" is not an absolute path", program.value));
        problem.hint(format!("write `program = {EXAMPLE}`: no shell looks for it, and arguments go into `args`"));
    }
    let args = args.into_iter().map(|arg| arg.value).collect();
    Some(ExecSpec { program: program.value, args, endpoint: String::new() })
}
