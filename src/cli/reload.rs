//! `portolan reload`: makes a running server load its files, and waits until they are served or refused.

use std::time::Duration;

use crate::cli::args::ServerArg;
use crate::cli::client::Call;
use crate::cli::{Failure, Format, text};
use crate::control::ReloadResponse;
use crate::control::command::PostReload;
use crate::control::status::{LabelReport, ProblemReport};
use crate::printable::escaped;

/// The longest wait. Reading 100,000 names and the first probes of new endpoints, with the longest timeout, take less.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Make the server load its files again; ends when they are served, or prints why they are not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  portolan reload\n  portolan reload --confirm-removal

Exit code 0: everything in the files is served. Exit code 1: a zone has an error and goes on with
its last good version, or a zone has disappeared from the files and is still served for some time.")]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    server: ServerArg,
    /// Remove at once the zones that have disappeared from the files, and the steered names of zones that have lost all
    /// of theirs
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
    // A reload needs no token; with one, the server does not limit how often.
    match args.server.server().exchange(&call.within(TIMEOUT).with_token()?)? {
        Ok(body) => {
            let reloaded: ReloadResponse = text::parsed(&body)?;
            print_problems(&reloaded.report.problems);
            match args.format {
                Format::Json => text::print_json(&body),
                Format::Human => text::print(&format!("generation {} is served\n", reloaded.generation)),
            }
            Ok(())
        }
        Err(refused) => {
            print_problems(&refused.problems);
            if args.format == Format::Json {
                text::print_json(&serde_json::to_string(&refused)?);
            }
            Err(Failure::refused(&refused))
        }
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
