//! The only reader of time and entropy. Everything else is handed a [`Moment`], a Unix time or a random number,
//! so that hours of failures run in a test in milliseconds.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads clocks and chance")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Moment;

/// The process's first look at the clock. Later than the first moment of all, so that what was before the process, and
/// is known from files, has its moment too: up to a day, judgment, far longer than anything is believed unheard.
pub const START: Moment = Moment::from_start(Duration::from_secs(86_400));

/// The moment now, on the monotonic clock; [`START`] at the first call in this process.
pub fn now() -> Moment {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    START + FIRST.get_or_init(Instant::now).elapsed()
}

/// Seconds since 1970 UTC, with fractions; 0 when the system's clock stands before that.
pub fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Octets that nobody can foretell, whatever else of ours they have seen: for keys. An error is the system's.
pub fn secret<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut secret = [0; N];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    Ok(secret)
}

/// 64 random bits for a draw, quickly, from a generator of this thread. Not for secrets: its seed is a moment.
pub fn entropy() -> u64 {
    fastrand::u64(..)
}
