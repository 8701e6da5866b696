//! The log. It goes to standard error; standard output is for machine-readable output. `PORTOLAN_LOG` has the level
//! (`debug`) and the levels of single modules (`warn,health=debug`). `[log] format` of the settings chooses the format
//! of a line. The default is the format for people, or that for journald if standard error is a stream of the journal.

mod filter;
mod line;
mod writer;

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use tracing::level_filters::LevelFilter;

use crate::config::LogFormat;
use crate::source::{Problem, Severity};
use crate::telemetry::traces;
use filter::Filter;
use line::Lines;
use writer::LineWriter;

pub(crate) use writer::dropped_lines;
pub use writer::{flush, write_apart};

/// The environment variable with the levels.
pub const FILTER_VARIABLE: &str = "PORTOLAN_LOG";

/// Set by systemd where standard error is the journal: `DEVICE:INODE` of its stream (systemd.exec(5)).
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// The current format: its index in [`FORMATS`]. It is a static because the whole process has one log.
static FORMAT: AtomicU8 = AtomicU8::new(0);

const FORMATS: [LogFormat; 3] = [LogFormat::Human, LogFormat::Json, LogFormat::Journald];

/// Starts logging for the whole process. `default` is the level if the variable has none. Fails if the variable is
/// not a filter; the message says what to write instead. A second call does nothing.
pub fn start(default: LevelFilter) -> Result<(), String> {
    let wanted = std::env::var_os(FILTER_VARIABLE).unwrap_or_default();
    let wanted = wanted.to_str().ok_or_else(|| format!("{FILTER_VARIABLE} is not a text of UTF-8"))?;
    let filter = Filter::parse(wanted, default).map_err(|why| format!("{FILTER_VARIABLE}: {why}"))?;
    choose(None);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { format })
        .with_writer(|| LineWriter)
        .with_ansi(has_colour())
        .with_filter(filter.targets());
    // An error means that logging has started already.
    let _ = tracing_subscriber::registry().with(lines).with(traces::layer()).try_init();
    Ok(())
}

/// Sets the format: the one that the settings choose, or else the one that fits standard error.
pub fn choose(chosen: Option<LogFormat>) {
    let fitting = || if is_journal() { LogFormat::Journald } else { LogFormat::Human };
    let format = chosen.unwrap_or_else(fitting);
    let at = FORMATS.iter().position(|each| *each == format).unwrap_or_default();
    FORMAT.store(at as u8, Ordering::Relaxed);
}

/// The current format.
pub fn format() -> LogFormat {
    FORMATS.get(usize::from(FORMAT.load(Ordering::Relaxed))).copied().unwrap_or(LogFormat::Human)
}

/// Logs a problem of the files at the level of its severity.
pub fn problem(problem: &Problem) {
    match problem.severity {
        Severity::Error => tracing::error!("{problem}"),
        Severity::Warning => tracing::warn!("{problem}"),
        Severity::Note => tracing::info!("{problem}"),
    }
}

/// Whether standard error is a stream of the journal. The variable alone is not enough: a process may inherit it and
/// have another standard error.
fn is_journal() -> bool {
    let Some(named) = std::env::var_os(JOURNAL_VARIABLE) else { return false };
    let Ok(stream) = std::fs::metadata("/proc/self/fd/2") else { return false };
    named.to_str() == Some(&format!("{}:{}", stream.dev(), stream.ino()))
}

/// Colour is used on a terminal, unless NO_COLOR has a value that is not empty (no-color.org).
fn has_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
