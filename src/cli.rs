//! The command line: parses, calls, prints, exits. Thin clients of `config`, `control` and `daemon`. Exit codes: 0 done,
//! 1 refused or failed, 2 wrong usage. What a machine reads goes to standard output, everything else to standard error.

mod ask;
mod check;
mod client;
mod explain;
mod serve;
mod status;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// The command line of `portolan`.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Example:\n  portolan demo\n\nEach command tells more: portolan COMMAND --help")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(serve::DemoArgs),
    Check(check::Args),
    Explain(explain::Args),
    Status(status::Args),
    #[command(hide = true)]
    DemoRegion(serve::RegionArgs),
}

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Why a command was refused or failed, in one line that says what to do.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::Serve(args) => serve::serve(args),
        Command::Demo(args) => serve::demo(args),
        Command::DemoRegion(args) => serve::demo_region(&args),
        Command::Check(args) => return check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Status(args) => status::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            text::complain(&format!("portolan: {why}"));
            ExitCode::FAILURE
        }
    }
}
