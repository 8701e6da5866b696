//! `portolan reload`: makes a running server load its files, and waits until they are served or refused.

use std::time::Duration;

use crate::cli::args::ServerArg;
use crate::cli::client::Call;
use crate::cli::{Failure, Format, text};
use crate::control::ReloadResponse;
use crate::control::command::PostReload;
use crate::control::removal::RemovalReport;
use crate::control::status::{LabelReport, ProblemReport};
use crate::printable::escaped;

/// What precedes the list of what is served and no longer there.
const WOULD_REMOVE: &str = "with --confirm-removal this would be removed";
/// The longest wait. Reading 100,000 names and the first probes of new endpoints, with the longest timeout, take less.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Make the server load its files again; ends when they are served, or prints why they are not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  portolan reload\n  portolan reload --confirm-removal

Exit code 0: everything in the files is served. Exit code 1: a zone has an error and goes on with
its last good version, a zone has disappeared from the files and is still served for some time, or
a key of the settings has changed that takes a restart. What was not taken is printed.")]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    server: ServerArg,
    /// Remove at once the zones that have disappeared from the files, the steered names of zones that have lost all of
    /// theirs, and the endpoints that sources no longer list. They are printed before and after
    #[arg(long)]
    confirm_removal: bool,
    /// The output format; json is the answer of /v1/reload
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &ReloadArgs) -> Result<(), Failure> {
    let call = match args.confirm_removal {
        true => Call::post_json("/v1/reload", serde_json::to_string(&PostReload { confirm_removal: true })?),
        false => Call::post("/v1/reload"),
    };
    if args.confirm_removal {
        announce(args)?;
    }
    // A reload needs no token; with one, the server does not limit how often.
    match args.server.server().exchange(&call.within(TIMEOUT).with_token()?)? {
        Ok(body) => {
            let reloaded: ReloadResponse = text::parsed(&body)?;
            print_problems(&reloaded.report.problems);
            print_removals(WOULD_REMOVE, reloaded.removals.as_ref());
            match args.format {
                Format::Json => text::print_json(&body),
                Format::Human => {
                    let removed = reloaded.removed.map(|all| format!("{}\n", escaped(&format!("removed: {all}"))));
                    let removed = removed.unwrap_or_default();
                    text::print(&format!("{removed}generation {} is served\n", reloaded.generation));
                }
            }
            Ok(())
        }
        Err(refused) => {
            print_problems(&refused.problems);
            print_removals(WOULD_REMOVE, refused.removals.as_ref());
            if args.format == Format::Json {
                text::print_json(&serde_json::to_string(&refused)?);
            }
            Err(Failure::refused(&refused))
        }
    }
}

/// Has the server load its files without a removal, and prints what the confirmation will remove. What else is wrong is
/// printed by the call that confirms.
fn announce(args: &ReloadArgs) -> Result<(), Failure> {
    let call = Call::post("/v1/reload").within(TIMEOUT).with_token()?;
    let removals = match args.server.server().exchange(&call)? {
        Ok(body) => text::parsed::<ReloadResponse>(&body)?.removals,
        Err(refused) => refused.removals,
    };
    print_removals("this will be removed", removals.as_ref());
    Ok(())
}

fn print_removals(what: &str, removals: Option<&RemovalReport>) {
    if let Some(removals) = removals {
        text::complain(&escaped(&format!("{what}: {removals}")));
    }
}

fn print_problems(problems: &[ProblemReport]) {
    for problem in problems {
        text::complain(&line(problem));
    }
}

/// A problem as `check` prints it.
fn line(problem: &ProblemReport) -> String {
    let ProblemReport { file, line, column, severity, message, hint, labels, section, end_line: _, end_column: _ } =
        problem;
    let hint = hint.as_ref().map_or(String::new(), |hint| format!(" (hint: {hint})"));
    let label =
        |LabelReport { file, line, column, message }: &LabelReport| format!("{file}:{line}:{column}: {message}");
    let see: Vec<String> = labels.iter().map(label).chain(section.clone()).collect();
    let see = if see.is_empty() { String::new() } else { format!(" [see {}]", see.join("; ")) };
    escaped(&format!("{file}:{line}:{column}: {severity}: {message}{hint}{see}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_printed_as_by_check() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("portolan.toml");
        std::fs::write(&file, "region = \"r\"\n[listen]\ndns = [\"[::1]:53\", \"[::1]:53\"]\n").unwrap();
        let problems = crate::config::load(Some(&file), &Default::default()).unwrap_err();
        assert!(problems.iter().any(|problem| !problem.labels.is_empty()), "{problems:?}");
        for problem in &problems {
            assert_eq!(line(&ProblemReport::from(problem)), problem.to_string());
        }
    }
}
