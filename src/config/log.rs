//! `[log]` of `portolan.toml`: in which form the server writes its log. The level comes from the environment and is
//! read in `telemetry`.

use crate::config::fields::Fields;
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::At;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, module, message, fields.
    Human,
    /// For programs: one JSON object a line.
    Json,
    /// For journald: the priority as `<N>` before the message (sd-daemon(3)); journald adds the time itself.
    Journald,
}

impl LogFormat {
    /// All of them.
    pub(super) const ALL: [LogFormat; 3] = [LogFormat::Human, LogFormat::Json, LogFormat::Journald];

    /// The word for it in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
            LogFormat::Journald => "journald",
        }
    }
}

/// Reads the table; `None` where it doesn't choose a format.
pub(super) fn read(top: &mut Fields, problems: &mut Problems) -> Option<LogFormat> {
    let mut fields = top.table("log", problems)?;
    let format = fields.text("format", "\"json\"", problems);
    fields.finish(&[], problems);
    let At { value, place } = format?;
    let found = LogFormat::ALL.into_iter().find(|format| format.as_str() == value);
    if found.is_none() {
        let words = LogFormat::ALL.map(LogFormat::as_str);
        let problem = problems.error(&place, format!("`format` must be human, json or journald, not \"{value}\""));
        problem.hint = did_you_mean(&value, words);
    }
    found
}
