//! The command line: parses, calls, prints, exits. Thin clients of `config`, `control` and `daemon`. Exit codes: 0 done,
//! 1 refused or failed, 2 wrong usage. What a machine reads goes to standard output, everything else to standard error.

mod ask;
mod check;
mod client;
mod explain;
mod failback;
mod names;
mod overrides;
mod reload;
mod schema;
mod serve;
mod simulate;
mod status;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::LogFormat;
use crate::model::OverrideState;
use crate::telemetry::log::{self, LevelFilter};

/// The command line of `portolan`.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Example:\n  portolan demo\n\nFor the options and examples of a command: portolan COMMAND --help"
)]
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
    /// Take an endpoint, pool, region or zone out of the answers; it is still probed
    #[command(after_help = DRAIN_HELP)]
    Drain(overrides::SayArgs),
    /// Treat an endpoint, pool, region or zone as up, whatever its probes find
    #[command(after_help = "Example:\n  portolan force-up fra1 --why 'the monitor is wrong, ticket 42' --for 30m")]
    ForceUp(overrides::SayArgs),
    /// Treat an endpoint, pool, region or zone as down, whatever its probes find
    #[command(after_help = "Example:\n  portolan force-down region:eu-central --why 'exercise' --for 10m")]
    ForceDown(overrides::SayArgs),
    /// End an override of drain, force-up or force-down
    #[command(after_help = "Examples:\n  portolan clear fra1\n  portolan clear region:eu-central 'fra*'")]
    Clear(overrides::ClearArgs),
    /// List the overrides: until when they last, who made them, and why
    #[command(after_help = "Example:\n  portolan overrides --format json")]
    Overrides(overrides::Asked),
    Failback(failback::Args),
    Reload(reload::Args),
    Schema(schema::Args),
    Simulate(simulate::Args),
    #[command(hide = true)]
    DemoRegion(serve::RegionArgs),
}

impl Command {
    /// Starts the log of a command that has one; the others report on the terminal and end.
    fn start_log(&self) -> Result<(), String> {
        match self {
            Command::Serve(_) => log::start(LevelFilter::INFO),
            // The demo reports on the terminal itself; a log of every change would disturb that.
            Command::Demo(_) | Command::DemoRegion(_) => log::start(LevelFilter::WARN),
            Command::Check(_)
            | Command::Explain(_)
            | Command::Status(_)
            | Command::Drain(_)
            | Command::ForceUp(_)
            | Command::ForceDown(_)
            | Command::Clear(_)
            | Command::Overrides(_)
            | Command::Failback(_)
            | Command::Reload(_)
            | Command::Schema(_)
            | Command::Simulate(_) => Ok(()),
        }
    }
}

/// The exit code where the command line or the environment is wrong.
const WRONG_USAGE: u8 = 2;

const DRAIN_HELP: &str = "Examples:
  portolan drain fra1 --why 'kernel update' --for 2h
  portolan drain 'fra*' pool:carts --why 'rack move'

If some clients would then get no answer, the command names them and changes nothing, unless you give --yes.
If an endpoint has several overrides, the narrowest holds: endpoint, glob, pool, region, zone; then the newest.

The environment variable PORTOLAN_TOKEN must hold a token with the role operate, from the server's token file ([api] token_file).";

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
    let command = CommandLine::parse().command;
    if let Err(why) = command.start_log() {
        text::complain(&format!("portolan: {why}"));
        return ExitCode::from(WRONG_USAGE);
    }
    let done = match command {
        Command::Serve(args) => serve::serve(args),
        Command::Demo(args) => serve::demo(args),
        Command::DemoRegion(args) => serve::demo_region(&args),
        Command::Check(args) => return check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Drain(args) => overrides::say(&args, OverrideState::Drain),
        Command::ForceUp(args) => overrides::say(&args, OverrideState::Up),
        Command::ForceDown(args) => overrides::say(&args, OverrideState::Down),
        Command::Clear(args) => overrides::clear(&args),
        Command::Overrides(args) => overrides::list(&args),
        Command::Failback(args) => failback::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Simulate(args) => match simulate::run(&args) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            match log::format() {
                LogFormat::Human => text::complain(&format!("portolan: {why}")),
                // Whoever reads the log as a program reads this line in it, too.
                LogFormat::Json | LogFormat::Journald => tracing::error!("{why}"),
            }
            ExitCode::FAILURE
        }
    }
}
