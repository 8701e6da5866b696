//! Numbers as a person writes them.

use std::time::Duration;

/// A weight: at most four decimals, no trailing zeros.
pub(super) fn plain(weight: f64) -> String {
    if weight.fract() == 0.0 && weight < 1e9 {
        return (weight as u32).to_string();
    }
    let text = format!("{weight:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12.4 ms`; under a tenth of a millisecond in microseconds.
pub(super) fn milliseconds(rtt: Duration) -> String {
    if rtt < Duration::from_micros(100) {
        format!("{} us", rtt.as_micros())
    } else {
        format!("{:.1} ms", rtt.as_secs_f64() * 1e3)
    }
}
