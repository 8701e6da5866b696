//! `portolan check`: loads everything as `serve` would, and prints every problem.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::ask::DEFAULT_CONFIG;
use crate::cli::{Format, text};
use crate::config::{self, Flags, Problem, Severity};

/// Load the settings, zones and policies, and print every problem with its place and a hint
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan check --config zones/example/portolan.toml")]
pub(super) struct Args {
    /// The settings file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// How to print the problems
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// 0 when the files would be served, 1 when not.
pub(super) fn run(args: &Args) -> ExitCode {
    let (problems, served) = match config::load(Some(&args.config), &Flags::default()) {
        Ok(loaded) => (loaded.warnings, Some(loaded.model)),
        Err(problems) => (problems, None),
    };
    match args.format {
        Format::Human => text::print(&config::to_human(&problems)),
        Format::Json => text::print(&format!("{}\n", config::to_json(&problems))),
    }
    let found = counted(&problems);
    match served {
        Some(model) => {
            let (zones, endpoints) = (plural(model.zones.len(), "zone"), plural(model.endpoints.len(), "endpoint"));
            text::complain(&format!("{}: {zones}, {endpoints}; {found}", args.config.display()));
            ExitCode::SUCCESS
        }
        None => {
            text::complain(&format!("{}: {found}; nothing of it would be served", args.config.display()));
            ExitCode::FAILURE
        }
    }
}

fn counted(problems: &[Problem]) -> String {
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    match (of(Severity::Error), of(Severity::Warning)) {
        (0, 0) => "no problems".to_owned(),
        (errors, 0) => plural(errors, "error"),
        (0, warnings) => plural(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
