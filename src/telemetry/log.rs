//! Logs go to standard error, one line a change; standard output belongs to machine-readable output. `PORTOLAN_LOG`
//! holds a filter as `tracing` knows it (`debug`, `portolan::health=debug,warn`); the default is `info`, without what
//! libraries tell of each client that breaks HTTP/2 or QUIC: whoever likes could fill the log with it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable that holds the filter.
pub const FILTER_VARIABLE: &str = "PORTOLAN_LOG";

/// What clients can make libraries say, one line a packet; we count those clients instead.
const QUIET: &str = "h2=off,quinn=error,quinn_proto=off";

/// Starts logging for the whole process; `default` is the level when the variable is not set. A second call does nothing.
pub fn start(default: &str) {
    let wanted = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.is_empty());
    let quiet = || EnvFilter::new(format!("{default},{QUIET}"));
    let (filter, refused) = match wanted.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (quiet(), Some(error)),
        None => (quiet(), None),
    };
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(has_colour())
        .try_init();
    if let (Ok(()), Some(error)) = (started, refused) {
        tracing::warn!("{FILTER_VARIABLE} is not a filter ({error}); logging at `{default}`");
    }
}

/// Colour is for a terminal, and not where the user said no (no-color.org: any value but an empty one).
fn has_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
