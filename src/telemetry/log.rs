//! Logs go to standard error, one line a change; standard output belongs to machine-readable output. `PORTOLAN_LOG`
//! holds the level (`debug`) and those of single modules (`warn,health=debug`); `[log] format` of the settings chooses
//! the form of a line. Without a choice it is the one for people, or journald's where standard error is its stream.

mod filter;
mod line;

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use tracing::level_filters::LevelFilter;

use crate::config::{LogFormat, Problem, Severity};
use filter::Filter;
use line::Lines;

/// The variable that holds the levels.
pub const FILTER_VARIABLE: &str = "PORTOLAN_LOG";

/// Set by systemd where standard error is the journal: `DEVICE:INODE` of its stream (systemd.exec(5)).
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// The format that holds: its place in [`FORMATS`]. Kept here because the log is one for the whole process.
static FORMAT: AtomicU8 = AtomicU8::new(0);

const FORMATS: [LogFormat; 3] = [LogFormat::Human, LogFormat::Json, LogFormat::Journald];

/// Starts logging for the whole process; `default` is the level where the variable has none. Fails where the variable
/// is not a filter, with what to write instead. A second call does nothing.
pub fn start(default: LevelFilter) -> Result<(), String> {
    let wanted = std::env::var_os(FILTER_VARIABLE).unwrap_or_default();
    let wanted = wanted.to_str().ok_or_else(|| format!("{FILTER_VARIABLE} is not a text of UTF-8"))?;
    let filter = Filter::parse(wanted, default).map_err(|why| format!("{FILTER_VARIABLE}: {why}"))?;
    choose(None);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { format })
        .with_writer(std::io::stderr)
        .with_ansi(has_colour());
    // An error means that a log has been started already.
    let _ = tracing_subscriber::registry().with(lines).with(filter.targets()).try_init();
    Ok(())
}

/// Sets the format from here on: the one that the settings chose, or else the one that fits standard error.
pub fn choose(chosen: Option<LogFormat>) {
    let fitting = || if is_journal() { LogFormat::Journald } else { LogFormat::Human };
    let format = chosen.unwrap_or_else(fitting);
    let at = FORMATS.iter().position(|each| *each == format).unwrap_or_default();
    FORMAT.store(at as u8, Ordering::Relaxed);
}

/// The format that holds.
pub fn format() -> LogFormat {
    FORMATS.get(usize::from(FORMAT.load(Ordering::Relaxed))).copied().unwrap_or(LogFormat::Human)
}

/// A problem of the files, at the level of its severity.
pub fn problem(problem: &Problem) {
    match problem.severity {
        Severity::Error => tracing::error!("{problem}"),
        Severity::Warning => tracing::warn!("{problem}"),
        Severity::Note => tracing::info!("{problem}"),
    }
}

/// Whether standard error is the journal's stream: a variable that was inherited may name that of another process.
fn is_journal() -> bool {
    let Some(named) = std::env::var_os(JOURNAL_VARIABLE) else { return false };
    let Ok(stream) = std::fs::metadata("/proc/self/fd/2") else { return false };
    named.to_str() == Some(&format!("{}:{}", stream.dev(), stream.ino()))
}

/// Colour is for a terminal, and not where the user said no (no-color.org: any value but an empty one).
fn has_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
