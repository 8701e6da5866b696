//! `portolan check`: loads everything as `serve` would, and prints every problem.

use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::args::DEFAULT_CONFIG;
use crate::cli::{Format, files, text};
use crate::clock;
use crate::config::{self, Flags, LoadOptions, VersionStatus};
use crate::control::feeds::counted;
use crate::source::{self, Problem, Severity, calls, without_mark};

/// Load the settings, zones and policies as `serve` does, and print every problem with its place and a hint
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan check --config zones/example/portolan.toml")]
pub(super) struct CheckArgs {
    /// The settings file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// How to print the problems
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `check` found.
struct Checked {
    problems: Vec<Problem>,
    /// The problems with the lines that they are about, for a terminal.
    excerpts: String,
    /// How many zones and endpoints there are; or what would not be served.
    result: Result<(usize, usize), String>,
}

/// Returns exit code 0 if the files have no errors, else 1.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let file = args.config.clone();
    let is_terminal = args.format == Format::Human && std::io::stdout().is_terminal();
    let checked = files::within(&args.config, move || check(&file, is_terminal));
    let Checked { problems, excerpts, result } = checked.unwrap_or_else(|problems| Checked {
        excerpts: source::to_human(&problems),
        problems,
        result: Err("the server would not start".to_owned()),
    });
    match args.format {
        Format::Human if is_terminal => text::print(&excerpts),
        Format::Human => text::print(&source::to_human(&problems)),
        Format::Json => text::print_json(&source::to_json(&problems).to_string()),
    }
    let found = summary(&problems);
    match result {
        Ok((zones, endpoints)) => {
            let (zones, endpoints) = (counted(zones as u64, "zone"), counted(endpoints as u64, "endpoint"));
            text::complain(&format!("{}: {zones}, {endpoints}; {found}", args.config.display()));
            ExitCode::SUCCESS
        }
        Err(effect) => {
            text::complain(&format!("{}: {found}; {effect}", args.config.display()));
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path, is_terminal: bool) -> Checked {
    let (problems, result) = match config::load(Some(file), &Flags::default()) {
        Ok(loaded) => {
            let notes = [config::kubeconfig::problems(&loaded.model), config::notes(file, &loaded)].concat();
            let counts = (loaded.model.zones.len(), loaded.model.endpoints.len());
            ([loaded.warnings, notes].concat(), Ok(counts))
        }
        Err(problems) => {
            let effect = not_served(file).unwrap_or_else(|| "the server would not start".to_owned());
            (problems, Err(effect))
        }
    };
    let excerpts = if is_terminal { with_excerpts(&problems) } else { String::new() };
    Checked { problems, excerpts, result }
}

/// What would not be served by a first start with these files. `None` if such a start is refused.
fn not_served(config: &Path) -> Option<String> {
    /// The most zones that are named (judgment: they fit on a line).
    const NAMED: usize = 8;
    let flags = Flags::default();
    let (settings_file, now, discovered) = (Some(config), clock::unix_seconds(), Arc::default());
    let how = LoadOptions { settings_file, flags: &flags, now, confirm_removal: false, discovered };
    let loaded = config::start(how, |_| Default::default()).ok()?;
    let unserved = loaded.zones.iter().filter(|zone| zone.status == VersionStatus::Unserved);
    let names: Vec<String> = unserved.map(|zone| zone.apex.to_string()).collect();
    if names.is_empty() {
        return Some("the zones would be served, but not the parts with errors".to_owned());
    }
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED { ", ..." } else { "" };
    Some(format!(
        "{} of {} would not be served: {named}{more}",
        names.len(),
        counted(loaded.zones.len() as u64, "zone")
    ))
}

/// Each problem, followed by the line of the file that it is about. Only for a terminal: in a pipe a problem is one
/// line.
fn with_excerpts(problems: &[Problem]) -> String {
    let mut texts: HashMap<&Path, String> = HashMap::new();
    let mut shown = String::new();
    for problem in problems {
        // The place of a problem may be the environment or a flag, which has no excerpt.
        let text = texts.entry(&problem.file).or_insert_with_key(|file| read_start(file).unwrap_or_default());
        shown.push_str(&format!("{problem}\n{}", problem.excerpt(text).unwrap_or_default()));
    }
    shown
}

fn read_start(file: &Path) -> std::io::Result<String> {
    /// The most octets that are read (judgment: a zone with a million records has this size).
    const MOST: u64 = 64 << 20;
    let mut octets = Vec::new();
    calls::listed(file, || source::files::open(file)?.0.take(MOST).read_to_end(&mut octets))?;
    Ok(String::from_utf8_lossy(without_mark(&octets)).into_owned())
}

fn summary(problems: &[Problem]) -> String {
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count() as u64;
    let found = match (of(Severity::Error), of(Severity::Warning)) {
        (0, 0) => "no problems".to_owned(),
        (errors, 0) => counted(errors, "error"),
        (0, warnings) => counted(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    match of(Severity::Note) {
        0 => found,
        notes => format!("{found}, {}", counted(notes, "note")),
    }
}
