//! Messages and hints for entries that are refused: the scanner's short reasons are replaced by sentences, and the hint
//! shows how the content of the type is written. Pure; `scan` calls it.

use crate::masterfile::content::FOR_MESSAGES;
use crate::masterfile::head::EntryHead;
use crate::masterfile::names::NotAName;
use crate::source::{did_you_mean, similar};
use crate::wire::NameError;

/// How the content of the usual types is written, each with an example.
const FORMS: [(&str, &str, &str); 16] = [
    ("A", "an IPv4 address", "192.0.2.1"),
    ("AAAA", "an IPv6 address", "2001:db8::1"),
    ("CAA", "flags, tag and value", "0 issue \"ca.example\""),
    ("CNAME", "a name", "www.example.com."),
    ("DNAME", "a name", "other.example."),
    ("DS", "key tag, algorithm, digest type and digest", "12345 13 2 HEX"),
    ("HTTPS", "priority, target and parameters", "1 . alpn=h2"),
    ("LOC", "latitude, longitude and altitude", "53 20 25 N 6 15 36 W 10m"),
    ("MX", "preference and name", "10 mail"),
    ("NS", "a name", "ns1"),
    ("PTR", "a name", "www.example.com."),
    ("SOA", "server, mailbox, serial, refresh, retry, expire and minimum", "ns1 hostmaster 1 3600 600 604800 30"),
    ("SRV", "priority, weight, port and target", "0 5 443 www"),
    ("SVCB", "priority, target and parameters", "1 . alpn=h2"),
    ("TXT", "texts in quotes", "\"v=spf1 -all\""),
    ("URI", "priority, weight and a URI in quotes", "10 1 \"https://www.example.com/\""),
];

/// How names are written.
const NAME: &str = "write a name of the zone such as `www`, a whole one such as `www.example.com.`, or `@`";

/// How the content of a type is written, with an example; `None` for uncommon types.
pub(super) fn form(rtype: &str) -> Option<String> {
    if rtype.starts_with("TYPE") {
        return Some(format!("the content of {rtype} records is octets, counted: `\\# 2 01ff`"));
    }
    let (_, what, example) = FORMS.iter().find(|(name, ..)| *name == rtype)?;
    Some(format!("the content of {rtype} records is {what}: `{example}`"))
}

/// The message and the hint for a token that is not a name.
pub(super) fn not_a_name(reason: &NotAName, token: &str) -> (String, Option<String>) {
    match reason {
        NotAName::Quoted => (format!("`{token}` is in quotes, and a name must not be"), Some(unquoted(token))),
        NotAName::Broken(error) => {
            let hint = match error {
                NameError::LongName => "its origin counts too: look for a missing final dot, or at $ORIGIN",
                NameError::EmptyLabel | NameError::LongLabel | NameError::BadEscape => NAME,
            };
            (format!("`{token}` is not a domain name: {error}"), Some(hint.to_string()))
        }
    }
}

/// What to write in place of a token in quotes.
fn unquoted(token: &str) -> String {
    match token.trim_matches('"') {
        "" => NAME.to_owned(),
        plain => format!("write `{plain}`"),
    }
}

/// The message and the hint for a token that is in quotes but is not a text.
pub(super) fn needless_quotes(token: &str) -> (String, Option<String>) {
    (format!("`{token}` is in quotes, and only texts may be"), Some(unquoted(token)))
}

/// What the scanner expected, without names of its own Rust types.
fn plainly(reason: &str) -> &str {
    match reason {
        "expected Rtype" => "expected a record type",
        "expected SecurityAlgorithm" => "expected an algorithm, such as 13",
        _ => {
            let expected = reason.strip_prefix("expected ").unwrap_or_default();
            let is_own = expected.starts_with(|first: char| first.is_ascii_uppercase()) && !expected.contains(' ');
            if is_own { "expected a number" } else { reason }
        }
    }
}

/// The message and the hint for the scanner's `reason` to refuse `token`, in an entry that begins with `head`.
pub(super) fn explain(reason: &str, token: &str, head: &EntryHead) -> (String, Option<String>) {
    let (what, form) = match head {
        EntryHead::Directive(name) => (name.clone(), None),
        EntryHead::Record { rtype, .. } if rtype.is_empty() => ("record".to_owned(), None),
        EntryHead::Record { rtype, .. } => (format!("{rtype} record"), form(rtype)),
    };
    // The scanner adds details after a colon and a space.
    let reason = plainly(reason.split(": ").next().unwrap_or(reason));
    match reason {
        "expected rtype" if token.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            let hint = "a TTL is written in seconds, or as numbers with units: `300`, `1h30m`";
            (format!("`{token}` is neither a TTL nor a record type"), Some(hint.to_string()))
        }
        FOR_MESSAGES => (format!("no zone has {what}s: this type is for messages only"), Some("remove it".into())),
        "expected rtype" => {
            // A single letter is similar to any other, so it gets no suggestion.
            let known = FORMS.iter().map(|(name, ..)| *name);
            let near = similar(token, known).filter(|_| token.len() > 1);
            let usual = "an entry is written NAME TTL CLASS TYPE CONTENT, such as `www 300 IN A 192.0.2.1`";
            (format!("`{token}` is not a record type"), near.or_else(|| Some(usual.to_string())))
        }
        "bad name" => {
            let hint =
                "a label takes 1 to 63 octets and a name 255; dots stand alone, `\\` before 3 digits or a character";
            (format!("`{token}` is not a domain name"), Some(hint.to_string()))
        }
        "bad symbol" => (
            format!("`{token}` has an invalid escape"),
            Some("write `\\` and three digits up to 255, or `\\` and a character".into()),
        ),
        "bad charstr" => {
            (format!("a string in this {what} is longer than 255 octets"), Some("split it: \"...\" \"...\"".into()))
        }
        "unexpected end of entry" | "short buffer" => (format!("this {what} ends too early, after `{token}`"), form),
        "trailing tokens" => {
            let hint = form.unwrap_or_else(|| "remove it, or put quotes around what belongs together".into());
            (format!("`{token}` is one too many for this {what}"), Some(hint))
        }
        "missing last owner" => (
            "this line takes the owner of the line before it, and there is none".into(),
            Some("begin the line with a name, or `@`".into()),
        ),
        "different class" => {
            ("only records of class IN are served".into(), Some("write IN, or leave the class out".into()))
        }
        "unknown control" if what.eq_ignore_ascii_case("$GENERATE") => {
            let hint = "write its records one by one; `named-compilezone -o NEW ZONE FILE` of BIND does that";
            (format!("{what} is not supported"), Some(hint.to_string()))
        }
        "unknown control" => {
            let near = did_you_mean(&what, ["$ORIGIN", "$TTL", "$INCLUDE"]);
            (format!("{what} is not supported"), near.or_else(|| Some("there is $ORIGIN, $TTL and $INCLUDE".into())))
        }
        "unknown record type with concrete data" => {
            let hint = "write its content as RFC 3597 does: `TYPE \\# LENGTH HEX`";
            (format!("the text form of this {what} is not known here"), Some(hint.to_string()))
        }
        other => match other.strip_prefix("it ") {
            Some(fault) => (format!("bad {what}: `{token}` {fault}"), form),
            None => (format!("bad {what}: {other}, not `{token}`"), form),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_record_is_shown_how_it_is_written() {
        let record = |rtype: &str| EntryHead::Record { rtype: rtype.into(), ttl: None };
        for (reason, token, head, message, hint) in [
            (
                "expected decimal number",
                "mail",
                record("MX"),
                "bad MX record: expected decimal number, not `mail`",
                Some("the content of MX records is preference and name: `10 mail`"),
            ),
            ("expected rtype", "CNMAE", record("CNMAE"), "`CNMAE` is not a record type", Some("did you mean `CNAME`?")),
            (
                "unknown control",
                "$ORGIN",
                EntryHead::Directive("$ORGIN".into()),
                "$ORGIN is not supported",
                Some("did you mean `$ORIGIN`?"),
            ),
            ("unexpected end of entry", "1", record("NAPTR"), "this NAPTR record ends too early, after `1`", None),
        ] {
            let (found, help) = explain(reason, token, &head);
            assert_eq!((found.as_str(), help.as_deref()), (message, hint));
        }
    }
}
