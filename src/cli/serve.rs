//! `portolan serve` and `portolan demo`: hand their arguments to the daemon and the demo, on a runtime of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Failure, text};
use crate::config::{self, Flags, LogFormat};
use crate::daemon::{self, StartError};
use crate::demo::{self, DemoOptions};
use crate::telemetry::log;

/// What still runs on the runtime when a command is done gets this long; all of it was told to stop before.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Serve the zones, with an own prober; prints a line `ready ...` once queries are answered
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan serve --config /etc/portolan/portolan.toml

Every key of the settings can also come from the environment: PORTOLAN__LISTEN__HTTP=127.0.0.1:9000.
PORTOLAN_LOG=debug logs more.")]
pub(super) struct ServeArgs {
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Show the whole idea on this machine: three regions, three vantages, a server to ask
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan demo --for 60s")]
pub(super) struct DemoArgs {
    /// End by itself after this time; without, Ctrl-C ends it
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Where DNS is answered, UDP and TCP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5300")]
    dns: SocketAddr,
    /// Where the API and the status page are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8053")]
    http: SocketAddr,
    /// Do nothing by itself: on a terminal the demo otherwise takes a region down once, and brings it back
    #[arg(long)]
    no_tour: bool,
    /// When it takes the region down
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "15s", hide = true)]
    tour_after: Duration,
}

/// One region of the demo, in a process that can be killed and stopped.
#[derive(Debug, clap::Args)]
pub(super) struct RegionArgs {
    /// Its name
    region: String,
    /// Where its endpoints are
    #[arg(value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,
}

pub(super) fn serve(args: ServeArgs) -> Result<(), Failure> {
    run(daemon::serve(Some(args.config), Flags::default()))?.map_err(failure)
}

pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    let DemoArgs { duration, dns, http, no_tour, tour_after } = args;
    let tour_after = (!no_tour).then_some(tour_after);
    run(demo::run(DemoOptions { duration, dns, http, tour_after }))?.map_err(failure)
}

pub(super) fn demo_region(args: &RegionArgs) -> Result<(), Failure> {
    Ok(run(demo::region::serve(&args.region, &args.addresses))??)
}

/// Runs a command to its end.
fn run<T>(command: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_GRACE);
    Ok(done)
}

/// Why nothing was started. Problems of the files are printed as `check` prints them, but on standard error; in a log
/// that a program reads they are lines of that log.
fn failure(error: StartError) -> Failure {
    match &error {
        StartError::Problems(problems) => {
            match log::format() {
                LogFormat::Human => text::complain(config::to_human(problems).trim_end()),
                LogFormat::Json | LogFormat::Journald => problems.iter().for_each(log::problem),
            }
            Failure("the files have errors; nothing was started (`portolan check` prints the same)".to_owned())
        }
        StartError::Bind(_)
        | StartError::Http(_, _)
        | StartError::Rights(_)
        | StartError::State(_)
        | StartError::System(_)
        | StartError::Demo(_) => Failure(error.to_string()),
    }
}
