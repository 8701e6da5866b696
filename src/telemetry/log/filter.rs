//! The value of `PORTOLAN_LOG`: a level, and levels of single modules. A text that would select nothing is refused, so
//! that a typing error does not silence the log. Pure.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::printable::escaped;
use crate::source::similar;
use crate::telemetry::traces::WORK;

/// The names of the levels, from the least to the most output.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The program's own modules.
const MODULES: [&str; 29] = [
    "admission",
    "answer",
    "cli",
    "clock",
    "config",
    "control",
    "daemon",
    "demo",
    "discovery",
    "drill",
    "external_dns",
    "fleet",
    "health",
    "kafka",
    "masterfile",
    "model",
    "placing",
    "printable",
    "rate",
    "repeats",
    "report_board",
    "server",
    "sinks",
    "snapshot",
    "source",
    "steering",
    "telemetry",
    "timer",
    "wire",
];

/// Libraries that log.
const LIBRARIES: [&str; 16] = [
    "async_nats",
    "axum",
    "h2",
    "hickory_proto",
    "hickory_server",
    "hyper",
    "hyper_util",
    "mio",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "rskafka",
    "rustls",
    "surge_ping",
    "tokio",
    "tokio_util",
];

/// Libraries that log a line for each client that breaks a protocol, or for each attempt to connect. Anyone could fill
/// the log with them, so they log less unless the filter names them. The metrics count such events.
const QUIET: [(&str, LevelFilter); 5] = [
    ("async_nats", LevelFilter::OFF),
    ("h2", LevelFilter::OFF),
    ("quinn", LevelFilter::ERROR),
    ("quinn_proto", LevelFilter::OFF),
    ("rskafka", LevelFilter::OFF),
];

/// The level of a library that the filter does not name.
const LIBRARIES_LEVEL: LevelFilter = LevelFilter::WARN;

/// Most parts of a filter that are read (judgment: more than there are modules).
const MAX_PARTS: usize = 64;

/// Which lines are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// The level of modules of this program that no part names.
    level: LevelFilter,
    /// Levels by the beginning of a module path.
    modules: Vec<(String, LevelFilter)>,
}

impl Filter {
    /// One level for the whole program.
    pub(super) fn of(level: LevelFilter) -> Filter {
        Filter { level, modules: Vec::new() }
    }

    /// Reads `debug`, `health=debug` or `warn,health=debug,quinn=info`. `default` is the level if no part is a level
    /// alone.
    pub(super) fn parse(text: &str, default: LevelFilter) -> Result<Filter, String> {
        let mut filter = Filter::of(default);
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        for part in parts.take(MAX_PARTS) {
            match part.split_once('=') {
                None => filter.level = level(part)?,
                Some((of, name)) => filter.modules.push((module(of.trim())?, level(name.trim())?)),
            }
        }
        Ok(filter)
    }

    /// The filter in the form of the subscriber.
    pub(super) fn targets(&self) -> Targets {
        let libraries = self.level.min(LIBRARIES_LEVEL);
        let quiet = QUIET.iter().map(|(name, level)| ((*name).to_owned(), (*level).min(self.level)));
        let own = std::iter::once((CRATE.to_owned(), self.level));
        // Spans are no lines.
        let spans = std::iter::once((WORK.to_owned(), LevelFilter::OFF));
        let levels = quiet.chain(own).chain(self.modules.iter().cloned()).chain(spans);
        Targets::new().with_default(libraries).with_targets(levels)
    }
}

/// The beginning of the module paths of this program.
const CRATE: &str = "portolan";

fn level(written: &str) -> Result<LevelFilter, String> {
    let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(written));
    found.map(|(_, level)| *level).ok_or_else(|| {
        let names = LEVELS.map(|(name, _)| name);
        format!("`{}` is not a level{}; {LEVELS_LISTED}", shown(written), hint(written, names))
    })
}

const LEVELS_LISTED: &str =
    "the levels are off, error, warn, info, debug and trace, and `MODULE=LEVEL` sets one module's";

/// `health`, `portolan::health`, `portolan::health::prober`, or a library.
fn module(path: &str) -> Result<String, String> {
    let (is_full, own) = match path.strip_prefix("portolan::") {
        Some(own) => (true, own),
        None => (false, path),
    };
    let first = own.split("::").next().unwrap_or_default();
    if path == CRATE {
        return Ok(path.to_owned());
    }
    if MODULES.contains(&first) {
        return Ok(format!("{CRATE}::{own}"));
    }
    if !is_full && LIBRARIES.contains(&first) {
        return Ok(path.to_owned());
    }
    let names = MODULES.into_iter().chain(LIBRARIES);
    Err(format!(
        "there is no module `{}`{}; the modules are {}, and of the libraries {}",
        shown(path),
        hint(first, names),
        MODULES.join(", "),
        LIBRARIES.join(", ")
    ))
}

/// The beginning of a text of the user, for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let start: String = text.chars().take(MOST).collect();
    escaped(&start).into_owned()
}

fn hint<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let near = similar(written, names);
    near.map_or_else(String::new, |hint| format!(" ({hint})"))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn logs(text: &str, target: &str, level: Level) -> bool {
        Filter::parse(text, LevelFilter::INFO).unwrap().targets().would_enable(target, &level)
    }

    #[test]
    fn a_level_is_for_this_program_and_not_for_libraries() {
        assert!(logs("debug", "portolan::health::prober", Level::DEBUG));
        assert!(!logs("debug", "hyper::proto", Level::DEBUG));
        assert!(logs("debug", "hyper::proto", Level::WARN));
        assert!(logs("", "portolan::daemon", Level::INFO) && !logs("", "portolan::daemon", Level::DEBUG));
        assert!(!logs("off", "portolan::daemon", Level::ERROR) && !logs("off", "hyper", Level::ERROR));
        assert!(!logs("trace", "h2::codec", Level::ERROR), "a line for each hostile client");
    }

    #[test]
    fn a_module_has_a_level_of_its_own() {
        for text in ["warn,health=debug", "portolan::health=DEBUG , warn", "health=debug,warn,"] {
            assert!(logs(text, "portolan::health::prober", Level::DEBUG), "{text}");
            assert!(!logs(text, "portolan::daemon", Level::INFO), "{text}");
        }
        assert!(logs("h2=debug", "h2::codec", Level::DEBUG));
        assert!(logs("health::prober=trace", "portolan::health::prober::reported", Level::TRACE));
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for (text, expected) in [
            ("nonsense", "`nonsense` is not a level; the levels are off, error, warn, info, debug and trace"),
            ("debgu", "`debgu` is not a level (did you mean `debug`?)"),
            ("health=loud", "`loud` is not a level"),
            ("helth=debug", "there is no module `helth` (did you mean `health`?); the modules are admission, answer"),
            ("portolan::quinn=debug", "there is no module `portolan::quinn`"),
            ("=debug", "there is no module ``"),
            ("5", "`5` is not a level"),
            ("a\nb", "`a\\nb` is not a level"),
        ] {
            let refused = Filter::parse(text, LevelFilter::INFO).unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn every_module_has_a_level() {
        let library = include_str!("../../lib.rs").lines();
        let mut modules: Vec<&str> = library
            .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
            .collect();
        modules.sort_unstable();
        assert_eq!(MODULES.as_slice(), modules);
    }
}
