//! `portolan drill`: a rehearsed outage. The server runs the drill; this process repeats questions at every server
//! meanwhile and measures how long stale answers come. The drill ends when this process ends.

mod asker;
mod client;

use std::fs::OpenOptions;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::args::ServerArg;
use crate::cli::client::{ApiServer, Call};
use crate::cli::{Failure, Format, demand, text};
use crate::clock;
use crate::control::drill::{LONGEST, PostDrill, SHORTEST};
use crate::control::overrides::{duration_of, utc};
use crate::drill::{DrillKind, DrillPlan, DrillReport, html, human, planned};
use crate::source::reason;

use client::run_drill;

/// The longest wait for a plan: the server counts its queries for a second, and simulates.
const PLAN_TIMEOUT: Duration = Duration::from_secs(30);

/// Rehearse an outage: endpoints count as lost for a while, and the recovery of the answers is measured
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan drill lose-region us-east --for 60s --dry-run
  portolan drill lose-region us-east --for 60s --rto 30s --html drill.html
  portolan drill lose-endpoint fra1 --for 30s --server http://ns1:8053 --server http://ns2:8053
  portolan drill stop

The server refuses a drill that would exceed a capacity, break a fence or leave somebody without an
answer, and one while anything is down. The drill ends by itself, on Ctrl-C, when this command ends,
when the server restarts, and at once when something really fails.

The environment variable PORTOLAN_TOKEN must have a token with the role operate for all zones.

Exit code: 0 when the drill lasted its time, every answer recovered within the rto and everything
was restored; otherwise 1.")]
pub(super) struct DrillArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lose all endpoints of a region, and its vantages
    #[command(after_help = "Example:\n  portolan drill lose-region us-east --for 60s --dry-run")]
    LoseRegion(TargetArgs),
    /// Lose one endpoint: its name, or ZONE/ENDPOINT
    #[command(after_help = "Example:\n  portolan drill lose-endpoint fra1 --for 30s")]
    LoseEndpoint(TargetArgs),
    /// Lose the reports of one vantage
    #[command(after_help = "Example:\n  portolan drill lose-vantage ns2 --for 60s")]
    LoseVantage(TargetArgs),
    /// Lose the reports of all vantages of other nodes
    #[command(after_help = "Example:\n  portolan drill lose-fleet --for 60s")]
    LoseFleet(RunArgs),
    /// End the drill that runs
    #[command(after_help = "Example:\n  portolan drill stop")]
    Stop(StopArgs),
}

#[derive(Debug, Args)]
struct TargetArgs {
    /// The name of what is lost
    #[arg(value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    target: String,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How long the loss lasts, such as 60s
    #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
    lasting: String,
    /// Only print what would happen
    #[arg(long)]
    dry_run: bool,
    /// The longest recovery that is accepted [default: the `rto` of each name, else 30s]
    #[arg(long, value_name = "TIME", value_parser = duration_of)]
    rto: Option<Duration>,
    /// Ask this resolver too, by its address and port; may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = resolver)]
    resolver: Vec<SocketAddr>,
    /// The queries a second of each client net, for the check of capacities; see `portolan simulate`
    #[arg(long, value_name = "FILE", conflicts_with = "qps")]
    demand: Option<PathBuf>,
    /// The queries a second of all clients together [default: those that the server gets now]
    #[arg(long, value_name = "TOTAL")]
    qps: Option<f64>,
    /// Write the report as a page to print
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The HTTP address of a server that runs the drill and is measured; may be repeated, for all servers of a fleet
    /// [default: PORTOLAN_SERVER, else http://127.0.0.1:8053]
    #[arg(long = "server", value_name = "URL")]
    servers: Vec<ApiServer>,
    /// For https: trust the certificates in this file instead of the system's [default: PORTOLAN_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct StopArgs {
    #[command(flatten)]
    server: ServerArg,
}

fn lasting(text: &str) -> Result<String, String> {
    match duration_of(text) {
        Ok(time) if (SHORTEST..=LONGEST).contains(&time) => Ok(text.to_owned()),
        Ok(_) | Err(_) => {
            Err(format!("a drill lasts {} to {} s: write 30s or 10m", SHORTEST.as_secs(), LONGEST.as_secs()))
        }
    }
}

/// An address with or without a port.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let with_port = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53));
    let expected = || format!("expected an address, such as 192.0.2.53 or 127.0.0.1:5353; found `{text}`");
    text.parse().ok().or_else(with_port).ok_or_else(expected)
}

pub(super) fn run(args: DrillArgs) -> Result<ExitCode, Failure> {
    let (kind, target, run) = match args.what {
        What::LoseRegion(TargetArgs { target, run }) => (DrillKind::LoseRegion, target, run),
        What::LoseEndpoint(TargetArgs { target, run }) => (DrillKind::LoseEndpoint, target, run),
        What::LoseVantage(TargetArgs { target, run }) => (DrillKind::LoseVantage, target, run),
        What::LoseFleet(run) => (DrillKind::LoseFleet, String::new(), run),
        What::Stop(args) => {
            args.server.server().call(&Call::delete("/v1/drill").with_token()?)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let first = ServerArg::of(run.servers.first().cloned(), run.ca.clone()).server();
    let others = run.servers.iter().skip(1).map(|server| ServerArg::of(Some(server.clone()), run.ca.clone()).server());
    let request = PostDrill {
        drill: kind,
        target,
        lasting: run.lasting.clone(),
        dry_run: run.dry_run,
        qps: run.qps,
        demand: run.demand.as_deref().map_or(Ok(Vec::new()), demand::read)?,
    };
    let call = Call::post_json("/v1/drill", serde_json::to_string(&request)?).within(PLAN_TIMEOUT).with_token()?;
    if run.dry_run {
        let body = first.call(&call)?;
        match run.format {
            Format::Json => text::print_json(&body),
            Format::Human => text::print(&planned(&text::parsed::<DrillPlan>(&body)?)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &run.html {
        check_writable(file)?;
    }
    let servers: Vec<ApiServer> = std::iter::once(first).chain(others).collect();
    let report: DrillReport = run_drill(&servers, &call, &run)?;
    let printable: DrillReport = text::printable(&report)?;
    match run.format {
        Format::Json => text::print_json(&serde_json::to_string(&report)?),
        Format::Human => text::print(&human(&printable)),
    }
    if let Some(file) = &run.html {
        let page = html(&printable, &utc(clock::unix_seconds()));
        std::fs::write(file, page).map_err(|error| unwritable(file, &error))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Before the loss: nobody wants to lose the report after it. Leaves what is in the file.
fn check_writable(file: &Path) -> Result<(), Failure> {
    let is_new = std::fs::symlink_metadata(file).is_err();
    OpenOptions::new().create(true).append(true).open(file).map_err(|error| unwritable(file, &error))?;
    if is_new {
        // A failure leaves an empty file.
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("can't write {}: {}", file.display(), reason(error)))
}
