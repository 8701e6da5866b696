//! `portolan serve` and `portolan demo`: run the daemon or the demo with the arguments, on a runtime of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Failure, text};
use crate::config::{Flags, LogFormat};
use crate::daemon::{self, Prepared, ServeError, StartError};
use crate::demo::{self, DemoOptions};
use crate::source;
use crate::telemetry::log;

/// The time that tasks have to end after a command has ended. All of them were stopped before.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Answer DNS queries for the zones and probe their endpoints; prints a line `ready ...` when it begins to answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  portolan serve --config /etc/portolan/portolan.toml
  portolan serve --config /etc/portolan/portolan.toml --takeover      # an upgrade without a gap

Environment:
  PORTOLAN__LISTEN__HTTP=127.0.0.1:9000   sets listen.http; so can every key of the settings
  PORTOLAN_LOG=debug                      logs more (off, error, warn, info, debug, trace)
  PORTOLAN_LOG=warn,health=debug          sets levels for single modules")]
pub(super) struct ServeArgs {
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Don't start if any file has an error; without this option, the last good version of a zone with an error is
    /// served
    #[arg(long)]
    strict: bool,
    /// Take the place of the server that runs with the same state directory, without losing a query; if none runs,
    /// start as usual
    #[arg(long)]
    takeover: bool,
}

/// Try Portolan on this machine: three regions on loopback addresses, and a server that steers between them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan demo
  portolan demo --no-tour --for 60s
  portolan demo --fleet
  portolan demo --discover
  portolan demo --dns 127.0.0.1:5301 --http 127.0.0.1:8054      # next to another demo

On a terminal it shows the answer that a client of each region gets, and takes a region down once
for some seconds. Without a terminal it prints a line for each change. Ctrl-C ends it.")]
pub(super) struct DemoArgs {
    /// End after this time, such as 30s; without it the demo runs until Ctrl-C, or the last step of --discover
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// The address of the DNS server, UDP and TCP; port 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5300")]
    dns: SocketAddr,
    /// The address of the API and the status page; port 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8053")]
    http: SocketAddr,
    /// Show endpoints that come and go, from a list that the demo serves itself; it ends after the last step
    #[arg(long, conflicts_with_all = ["fleet", "no_tour"])]
    discover: bool,
    /// Start a server in each region, which agree through NATS; needs the program nats-server
    #[arg(long)]
    fleet: bool,
    /// The program nats-server, if it is not in PATH
    #[arg(long, value_name = "PATH", requires = "fleet")]
    nats_server: Option<PathBuf>,
    /// Don't take a region down
    #[arg(long)]
    no_tour: bool,
    /// The time until it takes the region down
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "15s", hide = true)]
    tour_after: Duration,
}

/// One region of the demo, in its own process, so that it can be killed and stopped.
#[derive(Debug, clap::Args)]
pub(super) struct RegionArgs {
    /// The name of the region
    region: String,
    /// The addresses of its endpoints
    #[arg(value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,
}

pub(super) fn serve(args: ServeArgs) -> Result<(), Failure> {
    // This comes before the runtime with its threads: see `Prepared`.
    let prepared = Prepared::load(Some(args.config), Flags::default(), args.strict, args.takeover).map_err(failure)?;
    run(daemon::serve(prepared))?.map_err(|error| match error {
        ServeError::Start(error) => failure(error),
        // The exit code is for the service manager, the message for the operator: acknowledged changes are lost.
        ServeError::Unsaved(unsaved) => Failure(unsaved.to_string()),
    })
}

pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    let DemoArgs { duration, dns, http, discover, no_tour, tour_after, fleet, nats_server } = args;
    let tour_after = (!no_tour).then_some(tour_after);
    run(demo::run(DemoOptions { duration, dns, http, tour_after, discover, fleet, nats_server }))?.map_err(failure)
}

pub(super) fn demo_region(args: &RegionArgs) -> Result<(), Failure> {
    Ok(run(demo::region::serve(&args.region, &args.addresses))??)
}

/// Runs a command to its end on this thread. A server has threads of its own, which `daemon` starts.
pub(super) fn run<T>(command: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = daemon::command_runtime().map_err(StartError::System).map_err(failure)?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_GRACE);
    log::flush(LAST_GRACE);
    Ok(done)
}

/// Reports why nothing was started. Problems of the files are printed as `check` prints them, but on standard error. If
/// a program reads the log, they are lines of that log.
pub(super) fn failure(error: StartError) -> Failure {
    match &error {
        StartError::Problems(problems) => {
            match log::format() {
                LogFormat::Human => text::complain(source::to_human(problems).trim_end()),
                LogFormat::Json | LogFormat::Journald => problems.iter().for_each(log::problem),
            }
            Failure("the files have errors; nothing was started (`portolan check` prints the same)".to_owned())
        }
        StartError::Bind(_, _)
        | StartError::Rights(_)
        | StartError::State(_)
        | StartError::System(_)
        | StartError::Demo(_) => Failure(error.to_string()),
    }
}
