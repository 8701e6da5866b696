//! `[log]` of `portolan.toml`: the format of the log. The level comes from the environment; `telemetry` reads it.

use serde_json::{Value as Json, json};

use crate::config::keys::{KeyKind as _, WrongText, keys, text};
use crate::source::did_you_mean;

/// The format of a log line.
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
    const ALL: [LogFormat; 3] = [LogFormat::Human, LogFormat::Json, LogFormat::Journald];

    /// Its name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
            LogFormat::Journald => "journald",
        }
    }
}

keys! {
    /// `[log]`.
    LogKeys in Settings {
        /// the format of a log line: `"human"`, `"json"` (one object a line) or `"journald"` (each line begins with its
        /// priority for journald, such as `<4>`). When standard error goes to the journal, the default is
        /// `"journald"`; see [below](#the-log)
        format: LogFormat = text("\"json\"").parsed(format).with_schema(format_schema), inherits json!("human");
    }
}

fn format(written: &str) -> Result<LogFormat, WrongText> {
    let found = LogFormat::ALL.into_iter().find(|format| format.as_str() == written);
    found.ok_or_else(|| {
        let message = format!("`format` must be human, json or journald, not \"{written}\"");
        WrongText::new(message, did_you_mean(written, LogFormat::ALL.map(LogFormat::as_str)))
    })
}

fn format_schema() -> Json {
    json!({ "type": "string", "enum": LogFormat::ALL.map(LogFormat::as_str) })
}
