//! Writes a log line in one of the three formats. An event is always one line: control characters in its fields are
//! written as escapes. The subscriber calls this module for each event.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::printable::{escaped, escaped_json};

/// Writes events in the current format.
pub(super) struct Lines {
    pub(super) format: fn() -> LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut content = Content::default();
        event.record(&mut content);
        let (level, module) = (*event.metadata().level(), event.metadata().target());
        let line = match (self.format)() {
            LogFormat::Human => human(&time()?, level, module, &content, writer.has_ansi_escapes()),
            LogFormat::Json => json(&time()?, level, module, &content),
            LogFormat::Journald => journald(level, module, &content),
        };
        writeln!(writer, "{line}")
    }
}

/// The time now in the format of RFC 3339.
fn time() -> Result<String, fmt::Error> {
    let mut text = String::new();
    SystemTime.format_time(&mut Writer::new(&mut text))?;
    Ok(text)
}

/// The message and the fields of an event.
#[derive(Default)]
struct Content {
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// The text of each field in the formats for people and journald.
    shown: Vec<String>,
}

impl Content {
    fn add(&mut self, field: &Field, value: Value, shown: String) {
        if field.name() == MESSAGE {
            self.message = shown;
        } else {
            self.fields.push((field.name(), value));
            self.shown.push(shown);
        }
    }
}

/// The field that holds the message.
const MESSAGE: &str = "message";

impl Visit for Content {
    fn record_str(&mut self, field: &Field, value: &str) {
        let shown = if field.name() == MESSAGE { value.to_owned() } else { format!("{value:?}") };
        self.add(field, value.into(), shown);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into(), value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into(), value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into(), value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into(), value.to_string());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let text = value.to_string();
        self.add(field, text.clone().into(), text);
    }

    /// All other types, and everything that is logged with `%`.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.add(field, text.clone().into(), text);
    }
}

/// `TIME LEVEL MODULE: MESSAGE KEY=VALUE ...`
fn human(time: &str, level: Level, module: &str, content: &Content, has_colour: bool) -> String {
    let (dim, colour, end) = match has_colour {
        true => ("\x1b[2m", colour(level), "\x1b[0m"),
        false => ("", "", ""),
    };
    let mut line = format!("{dim}{time}{end} {colour}{level:>5}{end} {dim}{module}:{end} ");
    push_message_and_fields(&mut line, content);
    line
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// `<PRIORITY>MODULE: MESSAGE KEY=VALUE ...`; journald removes the prefix (sd-daemon(3)).
fn journald(level: Level, module: &str, content: &Content) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let mut line = format!("<{priority}>{module}: ");
    push_message_and_fields(&mut line, content);
    line
}

fn push_message_and_fields(line: &mut String, content: &Content) {
    line.push_str(&escaped(&content.message));
    for ((name, _), shown) in content.fields.iter().zip(&content.shown) {
        let _ = write!(line, " {name}=");
        line.push_str(&escaped(shown));
    }
}

/// `{"timestamp","level","module","message"}` and then the fields of the event.
fn json(time: &str, level: Level, module: &str, content: &Content) -> String {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), time.into());
    object.insert("level".to_owned(), level.as_str().into());
    object.insert("module".to_owned(), module.into());
    object.insert(MESSAGE.to_owned(), content.message.as_str().into());
    for (name, value) in &content.fields {
        object.entry((*name).to_owned()).or_insert_with(|| value.clone());
    }
    let text = Value::Object(object).to_string();
    // The JSON encoder escapes characters below U+0020. The others can only be inside strings, so all are escaped here.
    escaped_json(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::is_unprintable;

    fn content() -> Content {
        Content {
            message: "one\ntwo\x1b[31m".to_owned(),
            fields: vec![("why", "a\u{9b}b\u{202e}\r\t\u{7f}".into()), ("generation", 7.into())],
            shown: vec!["a\u{9b}b\u{202e}\r\t\u{7f}".to_owned(), "7".to_owned()],
        }
    }

    #[test]
    fn a_line_has_no_control_characters_in_any_format() {
        let content = content();
        for line in [
            human("T", Level::INFO, "m", &content, false),
            json("T", Level::INFO, "m", &content),
            journald(Level::INFO, "m", &content),
        ] {
            assert!(!line.chars().any(is_unprintable), "{line:?}");
        }
    }

    #[test]
    fn people_and_journald_read_the_same_text() {
        let text = "m: one\\ntwo\\u{1b}[31m why=a\\u{9b}b\\u{202e}\\r\\t\\u{7f} generation=7";
        assert_eq!(human("T", Level::WARN, "m", &content(), false), format!("T  WARN {text}"));
        for (level, priority) in [(Level::ERROR, 3), (Level::WARN, 4), (Level::INFO, 6), (Level::DEBUG, 7)] {
            assert_eq!(journald(level, "m", &content()), format!("<{priority}>{text}"));
        }
    }

    #[test]
    fn a_program_reads_every_field_with_its_type() {
        let line = json("2026-01-01T00:00:00Z", Level::WARN, "portolan::daemon", &content());
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], "one\ntwo\x1b[31m");
        assert_eq!(read["why"], "a\u{9b}b\u{202e}\r\t\u{7f}");
        assert_eq!((&read["generation"], &read["level"]), (&7.into(), &"WARN".into()));
        assert_eq!((&read["module"], &read["timestamp"]), (&"portolan::daemon".into(), &"2026-01-01T00:00:00Z".into()));
    }
}
