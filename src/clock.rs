//! The only reader of clocks and entropy. All other code receives a [`Moment`], a Unix time or a random number as an
//! argument. So a test runs hours of failures in milliseconds.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads clocks and chance")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::model::Moment;

/// The moment when this process first read the clock. It is a day after the first moment that [`Moment`] can express,
/// so that events before the start, which are known from files, have a moment too. A day is judgment: it is much
/// longer than anything stays valid without news.
pub const START: Moment = Moment::from_start(Duration::from_secs(86_400));

/// The moment now, on the monotonic clock; [`START`] at the first call in this process.
pub fn now() -> Moment {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    START + FIRST.get_or_init(Instant::now).elapsed()
}

/// The monotonic clock now, in nanoseconds: the same for all processes of this machine since its start.
pub fn monotonic_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A moment of this process on the clock of [`monotonic_nanos`]. It may be too early by the time between two reads of
/// clocks, and is never too late.
pub fn nanos_of(moment: Moment) -> u64 {
    // [`now`] is of the same clock, so their difference is a constant.
    static DIFFERENCE: OnceLock<(Moment, u64)> = OnceLock::new();
    let (then, nanos) = *DIFFERENCE.get_or_init(|| {
        let nanos = monotonic_nanos();
        (now(), nanos)
    });
    let after = u64::try_from(moment.since(then).as_nanos()).unwrap_or(u64::MAX);
    let before = u64::try_from(then.since(moment).as_nanos()).unwrap_or(u64::MAX);
    nanos.saturating_add(after).saturating_sub(before)
}

/// Seconds since 1970 UTC, with fractions; 0 if the system's clock is before that.
pub fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Nanoseconds since 1970 UTC; 0 if the system's clock is before that, and the greatest number from the year 2554 on.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 UTC by the wall clock of the process's first look, plus the monotonic time since then: nobody can
/// set it while the process runs. It is as wrong as the wall clock was at the start.
pub fn steady_unix_seconds() -> f64 {
    static FIRST: OnceLock<(Moment, f64)> = OnceLock::new();
    let (first, unix) = FIRST.get_or_init(|| (now(), unix_seconds()));
    unix + now().since(*first).as_secs_f64()
}

/// A time of the boot clock. It counts from the start of the machine, also while that sleeps, and nobody can set it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootTime {
    /// The kernel's random id of this boot.
    pub id: String,
    /// Seconds since the boot.
    pub secs: f64,
}

/// The boot clock now; `None` where the kernel doesn't give its id.
pub fn boot() -> Option<BootTime> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(BootTime { id, secs: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 })
}

/// Cryptographically secure random octets, for keys and for numbers that a forger must not guess. Fails if the system's
/// random generator fails.
pub fn secret<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut secret = [0; N];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    Ok(secret)
}

/// 64 random bits from a fast generator of this thread. Not for secrets: its seed can be guessed.
pub fn entropy() -> u64 {
    fastrand::u64(..)
}
