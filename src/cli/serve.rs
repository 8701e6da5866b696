//! `portolan serve` and `portolan demo`: hand their arguments to the daemon and the demo, on a runtime of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Failure, text};
use crate::config::{self, Flags};
use crate::daemon::{self, StartError};
use crate::demo::{self, DemoOptions};
use crate::telemetry;

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
    telemetry::log::start("info");
    run(daemon::serve(Some(args.config), Flags::default()))?.map_err(failure)
}

pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    // The demo tells its own story on the terminal; the log would talk over it.
    telemetry::log::start("warn");
    let DemoArgs { duration, dns, http } = args;
    run(demo::run(DemoOptions { duration, dns, http }))?.map_err(failure)
}

pub(super) fn demo_region(args: &RegionArgs) -> Result<(), Failure> {
    telemetry::log::start("warn");
    Ok(run(demo::region::serve(&args.region, &args.addresses))??)
}

/// Runs a command to its end.
fn run<T>(command: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_GRACE);
    Ok(done)
}

/// Why nothing was started; problems of the files are told as `check` tells them, but on standard error.
fn failure(error: StartError) -> Failure {
    match &error {
        StartError::Problems(problems) => {
            text::complain(config::to_human(problems).trim_end());
            Failure("the files have problems, nothing was started; `portolan check` tells the same".to_owned())
        }
        StartError::Bind(_)
        | StartError::Http(_, _)
        | StartError::Rights(_)
        | StartError::State(_)
        | StartError::System(_)
        | StartError::Demo(_) => Failure(error.to_string()),
    }
}
