//! The command line. Each command parses its arguments, calls `config`, `control` or `daemon`, and prints the result.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Results go to standard output, everything else goes to
//! standard error.

mod args;
mod check;
mod client;
mod completions;
mod demand;
mod drill;
mod events;
mod explain;
mod external_dns;
mod failback;
mod files;
mod fleet;
mod follows;
mod hook_guard;
mod init;
mod names;
mod openapi;
mod overrides;
mod probe;
mod reload;
mod schema;
mod serve;
mod simulate;
mod sinks;
mod sources;
mod status;
mod text;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::LogFormat;
use crate::control::ProblemDetails;
use crate::model::OverrideState;
use crate::printable::escaped_lines;
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
    Probe(probe::ProbeArgs),
    Demo(serve::DemoArgs),
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    /// Take an endpoint, pool, region or zone out of the answers; it is still probed
    #[command(after_help = DRAIN_HELP)]
    Drain(overrides::OverrideArgs),
    /// Count an endpoint, pool, region or zone as up, whatever its probes find
    #[command(after_help = "Example:\n  portolan force-up fra1 --why 'the monitor is wrong, ticket 42' --for 30m")]
    ForceUp(overrides::OverrideArgs),
    /// Count an endpoint, pool, region or zone as down, whatever its probes find
    #[command(after_help = "Example:\n  portolan force-down region:eu-central --why 'exercise' --for 10m")]
    ForceDown(overrides::OverrideArgs),
    /// End an override of drain, force-up or force-down
    #[command(after_help = "Examples:\n  portolan clear fra1\n  portolan clear region:eu-central 'fra*'")]
    Clear(overrides::ClearArgs),
    /// List the overrides: until when they last, who made them, and why
    #[command(after_help = "Example:\n  portolan overrides --format json")]
    Overrides(overrides::ApiArgs),
    Drill(drill::DrillArgs),
    Failback(failback::FailbackArgs),
    Events(events::EventsArgs),
    Reload(reload::ReloadArgs),
    ExternalDns(external_dns::ExternalDnsArgs),
    Schema(schema::SchemaArgs),
    Openapi(openapi::OpenapiArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
    Simulate(simulate::SimulateArgs),
    #[command(hide = true)]
    DemoRegion(serve::RegionArgs),
    #[command(hide = true)]
    HookGuard(hook_guard::GuardArgs),
}

impl Command {
    /// Starts the log of a command that has one. The other commands print their result and end.
    fn start_log(&self) -> Result<(), String> {
        match self {
            Command::Serve(_) | Command::Probe(_) | Command::ExternalDns(_) => log::start(LevelFilter::INFO),
            // The demo shows changes on the terminal itself; a log of them would disturb its screen.
            Command::Demo(_) | Command::DemoRegion(_) => log::start(LevelFilter::WARN),
            Command::Init(_)
            | Command::Check(_)
            | Command::Explain(_)
            | Command::Status(_)
            | Command::Top(_)
            | Command::Drain(_)
            | Command::ForceUp(_)
            | Command::ForceDown(_)
            | Command::Clear(_)
            | Command::Overrides(_)
            | Command::Drill(_)
            | Command::Failback(_)
            | Command::Events(_)
            | Command::Reload(_)
            | Command::Schema(_)
            | Command::Openapi(_)
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Simulate(_)
            | Command::HookGuard(_) => Ok(()),
        }
    }
}

/// The exit code for a wrong command line or environment.
const WRONG_USAGE: u8 = 2;

const DRAIN_HELP: &str = "Examples:
  portolan drain fra1 --why 'kernel update' --for 2h
  portolan drain 'fra*' pool:carts --why 'rack move'

If some clients would then get no answer, the command names them and changes nothing, unless you
give --yes. If an endpoint has several overrides, the most specific one is used: endpoint, glob,
pool, region, zone. Of two equally specific ones the newer is used.

The environment variable PORTOLAN_TOKEN must have a token with the role operate, from the server's
token file ([api] token_file).";

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Why a command was refused or failed: one line that names the cause and what to do.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    /// The server refused. Its message is not trusted; it may have a line for each target.
    fn refused(refused: &ProblemDetails) -> Failure {
        // A line of a server never looks like one of this command.
        Failure(escaped_lines(&refused.detail).replace('\n', "\n  "))
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let command = args::parse().command;
    if let Err(why) = command.start_log() {
        text::complain(&format!("portolan: {why}"));
        return ExitCode::from(WRONG_USAGE);
    }
    let done = match command {
        Command::Serve(args) => serve::serve(args),
        Command::Probe(args) => probe::run(args),
        Command::Demo(args) => serve::demo(args),
        Command::DemoRegion(args) => serve::demo_region(&args),
        Command::Init(args) => init::run(args),
        Command::Check(args) => return check::run(&args),
        Command::HookGuard(args) => return hook_guard::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Drain(args) => overrides::set(&args, OverrideState::Drain),
        Command::ForceUp(args) => overrides::set(&args, OverrideState::Up),
        Command::ForceDown(args) => overrides::set(&args, OverrideState::Down),
        Command::Clear(args) => overrides::clear(&args),
        Command::Overrides(args) => overrides::list(&args),
        Command::Drill(args) => match drill::run(args) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Failback(args) => failback::run(&args),
        Command::Events(args) => match events::run(&args) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Reload(args) => reload::run(&args),
        Command::ExternalDns(args) => external_dns::run(args),
        Command::Schema(args) => schema::run(&args),
        Command::Openapi(openapi::OpenapiArgs {}) => openapi::run(),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
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
                // A program that reads the log must find this line in it, too.
                LogFormat::Json | LogFormat::Journald => tracing::error!("{why}"),
            }
            ExitCode::FAILURE
        }
    }
}
