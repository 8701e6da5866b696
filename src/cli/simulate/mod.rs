//! `portolan simulate`: how the answers would change after a loss, an override or a change of the policy.
//!
//! A running server simulates with its own snapshot. With `--config` this process compiles the files. Then no
//! measurements exist, unless `--server` adds those of a server to `--policy`.

mod human;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::cli::args::ServerArg;
use crate::cli::client::{ApiServer, Call};
use crate::cli::{CommandLine, Failure, Format, demand, files, text};
use crate::config::Loaded;
use crate::control::simulate::{
    Bounds, SimulationReport, SimulationRequest, SimulationResult, TrialOverride, as_measured, simulate,
};
use crate::control::status::Status;
use crate::model::{CheckView, Model, WorldView};
use crate::snapshot::{Identity, Snapshot, compile};
use crate::source::{self, Problem};

/// The longest wait. A server may need some seconds for many pairs of regions.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Try a loss or a change without making it: each endpoint's share of the answers before and after, whose capacity it
/// exceeds, and which queries would have no answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan simulate --lose region:eu-west --demand peak.txt
  portolan simulate --override fra1=drain --lose fra2 --config portolan.toml
  portolan simulate --policy next-zones --config portolan.toml
  portolan simulate --pairs --qps 12000

A demand file has lines NET QPS, or NET QPS NAME; # begins a comment:
  192.0.2.0/24  1200
  198.51.100.0/24  300  www

Exit code: 0, or 1 when an endpoint would get more than its capacity, when a query that has an
answer would have none, or when nothing was simulated.")]
pub(super) struct SimulateArgs {
    /// What to lose: region:NAME (its endpoints and vantages), vantage:NAME, pool:NAME, zone:NAME, an endpoint or a
    /// glob of endpoints ('fra*'); may be repeated
    #[arg(long, value_name = "TARGET")]
    lose: Vec<String>,
    /// An override to try: drain, up or down, for any TARGET of `portolan drain`; may be repeated
    #[arg(long = "override", value_name = "TARGET=STATE", value_parser = trial)]
    overrides: Vec<TrialOverride>,
    /// Compare the zones of this directory with the present ones; needs --config, for the settings. With --server, the
    /// health of the endpoints is that of this server
    #[arg(long, value_name = "DIR", requires = "config")]
    policy: Option<PathBuf>,
    /// The queries a second of each client net; without it every class of clients sends the same number
    #[arg(long, value_name = "FILE", conflicts_with = "qps")]
    demand: Option<PathBuf>,
    /// The queries a second of all clients together, divided evenly among their classes
    #[arg(long, value_name = "TOTAL")]
    qps: Option<f64>,
    /// Lose every two regions together, one line for each pair
    #[arg(long)]
    pairs: bool,
    /// Simulate with these files, without a server: every endpoint counts as up, and no round-trip time is known
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArg,
    /// The output format; json is the answer of /v1/simulate
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn trial(text: &str) -> Result<TrialOverride, String> {
    let (target, state) = text.rsplit_once('=').ok_or("expected TARGET=drain, TARGET=up or TARGET=down")?;
    Ok(TrialOverride { target: target.to_owned(), state: state.to_owned() })
}

pub(super) fn run(args: &SimulateArgs) -> Result<ExitCode, Failure> {
    let ask = SimulationRequest {
        lose: args.lose.clone(),
        overrides: args.overrides.clone(),
        demand: args.demand.as_deref().map_or(Ok(Vec::new()), demand::read)?,
        qps: args.qps,
        pairs: args.pairs,
    };
    let outcome = match (&args.config, &args.policy, args.server.is_set()) {
        (Some(_), None, true) => {
            let why = "--config and --server exclude each other, except with --policy";
            CommandLine::command().error(ErrorKind::ArgumentConflict, why).exit()
        }
        (None, _, _) => by_server(&args.server.server(), &ask)?,
        (Some(file), policy, has_server) => {
            let server = has_server.then(|| args.server.server());
            by_files(file, policy.as_deref(), server.as_ref(), &ask)?
        }
    };
    match args.format {
        Format::Json => text::print_json(&serde_json::to_string(&outcome)?),
        Format::Human => text::print(&human::human(&text::printable(&outcome)?)),
    }
    if !outcome.reports().iter().any(|report| report.qps.is_some()) {
        text::complain(
            "note: capacity is not checked: the queries a second are not known; use --demand FILE or --qps TOTAL",
        );
    }
    let is_bad = |report: &SimulationReport| !report.exceeded.is_empty() || !report.unanswered.is_nobody();
    Ok(if outcome.reports().iter().any(is_bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The result of the running server.
fn by_server(server: &ApiServer, ask: &SimulationRequest) -> Result<SimulationResult, Failure> {
    Ok(serde_json::from_str(
        &server.call(&Call::post_json("/v1/simulate", serde_json::to_string(ask)?).within(TIMEOUT))?,
    )?)
}

/// The result for the files, without a server or with its measurements only.
fn by_files(
    file: &Path,
    policy: Option<&Path>,
    server: Option<&ApiServer>,
    ask: &SimulationRequest,
) -> Result<SimulationResult, Failure> {
    let refused = |problems: Vec<Problem>| {
        text::complain(source::to_human(&problems).trim_end());
        Failure("the files can't be served: see above".to_owned())
    };
    let Loaded { mut settings, model, .. } = files::load(file).map_err(refused)?;
    let status: Option<Status> = match server {
        Some(server) => Some(serde_json::from_str(&server.get("/v1/status")?)?),
        None => None,
    };
    let view = |model: &Model| match &status {
        Some(status) => as_measured(model, status),
        None => WorldView { checks: vec![CheckView::default(); model.checks.len()].into(), ..WorldView::default() },
    };
    let snapshot = |model: Model, generation, previous: Option<&Snapshot>| {
        let view = Arc::new(view(&model));
        compile::compile(Arc::new(model), view, Arc::new(Identity::default()), generation, previous)
    };
    let before = snapshot(model, 1, None);
    let next = match policy {
        None => None,
        Some(dir) => {
            settings.zones_dir = std::path::absolute(dir)?;
            settings.zones_shown = dir.to_owned();
            let model = files::reload(file, settings).map_err(refused)?;
            Some(snapshot(model, 2, Some(&before)))
        }
    };
    let outcome = simulate(&before, next.as_ref().unwrap_or(&before), ask, Bounds::NONE)?;
    if status.is_none() {
        text::complain("note: this is from the files alone: no endpoint was probed, and none is known to be down");
    }
    Ok(outcome)
}
