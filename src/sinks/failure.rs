//! Why a receiver did not take an event, and what to do about it. Pure.

use std::time::{Duration, UNIX_EPOCH};

use crate::printable::escaped;

/// What a failure means for the next tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The receiver does not want this event: it refuses it again and again. Others may be taken.
    Refused,
    /// The receiver failed with this event. If it takes others meanwhile, the event is the cause.
    Broken,
    /// The receiver takes nothing now: it is away, busy, or elsewhere.
    Away,
    /// The receiver does not exist any more, and wants no event ever again.
    Gone,
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// What it means.
    pub kind: FailureKind,
    /// When the receiver wants the next try: the value of `Retry-After`.
    pub retry_after: Option<Duration>,
    /// What happened, in a printable line.
    pub why: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl SendFailure {
    /// The receiver can't be reached.
    pub fn away(why: impl AsRef<str>, hint: &'static str) -> SendFailure {
        let why = escaped(why.as_ref()).into_owned();
        SendFailure { kind: FailureKind::Away, retry_after: None, why, hint }
    }

    /// The failure of a response with this status; `None`: the event was taken. `detail` is the beginning of the body,
    /// or where a redirect leads.
    pub fn of_status(status: u16, retry_after: Option<Duration>, detail: &str) -> Option<SendFailure> {
        let (kind, hint) = match status {
            200..=299 => return None,
            300..=399 => (FailureKind::Away, "redirects are not followed: write the URL where the receiver is"),
            401 | 403 => (FailureKind::Refused, "compare secret_file with the secret of the receiver"),
            404 | 405 => (FailureKind::Refused, "compare url with the address of the receiver"),
            408 | 425 | 429 => (FailureKind::Away, "the receiver is busy: the server tries again by itself"),
            410 => (FailureKind::Gone, "the receiver wants no events: remove the sink, or restart with another url"),
            400..=499 => (FailureKind::Refused, "the log of the receiver has the reason"),
            _ => (FailureKind::Broken, "the log of the receiver has the reason"),
        };
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        Some(SendFailure { kind, retry_after, why: format!("HTTP status {status}{}", escaped(&detail)), hint })
    }
}

impl std::fmt::Display for SendFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.why, self.hint)
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. `now` is in Unix seconds. `None`: it is neither.
pub(super) fn retry_after(value: &str, now: f64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) {
        // So many digits are more than any bound.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = unix_of_date(value)?;
    Some(Duration::try_from_secs_f64(at - now).unwrap_or_default())
}

/// Unix seconds of an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn unix_of_date(value: &str) -> Option<f64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = value.split_once(", ")?;
    let parts: Vec<&str> = date.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(day, 2) || !digits(year, 4) || time.len() != 8 || !time.is_ascii() {
        return None;
    }
    let time = humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning_and_says_what_to_do() {
        let kind = |status| SendFailure::of_status(status, None, "").map(|failure| failure.kind);
        for (statuses, expected) in [
            (vec![200, 201, 202, 204, 299], None),
            (vec![301, 302, 307, 308, 304], Some(FailureKind::Away)),
            (vec![408, 425, 429], Some(FailureKind::Away)),
            (vec![400, 401, 403, 404, 409, 413, 422, 499], Some(FailureKind::Refused)),
            (vec![410], Some(FailureKind::Gone)),
            (vec![500, 502, 503, 504, 599, 600, 999], Some(FailureKind::Broken)),
        ] {
            statuses.into_iter().for_each(|status| assert_eq!(kind(status), expected, "{status}"));
        }
        let failure = SendFailure::of_status(422, None, "no such field").unwrap();
        assert_eq!(failure.to_string(), "HTTP status 422: no such field (the log of the receiver has the reason)");
    }

    #[test]
    fn what_a_receiver_sends_is_shown_in_printable_form() {
        let failure = SendFailure::of_status(500, None, "no\u{9b}2J\u{202e}").unwrap();
        assert_eq!(failure.why, "HTTP status 500: no\\u{9b}2J\\u{202e}");
        assert_eq!(SendFailure::away("a\nb", "").why, "a\\nb");
    }

    #[test]
    fn a_hint_for_an_event_that_may_be_given_up_promises_no_further_try() {
        for status in (400..=599).filter(|status| ![408, 425, 429].contains(status)) {
            let failure = SendFailure::of_status(status, None, "").unwrap();
            assert!(!failure.hint.contains("tries again"), "{failure}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = 784_111_777.0;
        let secs = |value: &str, now| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(secs("120", 0.0), Some(120));
        assert_eq!(secs(" 0 ", 0.0), Some(0));
        assert_eq!(secs("99999999999999999999999", 0.0), Some(u64::MAX));
        assert_eq!(secs("Sun, 06 Nov 1994 08:49:37 GMT", at - 90.0), Some(90));
        assert_eq!(secs("Sun, 06 Nov 1994 08:49:37 GMT", at + 90.0), Some(0), "that time is over");
        for wrong in
            ["", "-1", "1.5", "soon", "Sun, 06 Nov", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 é:49:3 GMT"]
        {
            assert_eq!(retry_after(wrong, 0.0), None, "{wrong}");
        }
    }
}
