//! The only place that wires: binds, spawns, connects, takes signals, stops in order. [`Node`] is a running server with
//! its vantages; [`serve`] is the command over it. What is wired is decided nowhere here.

mod certificate;
mod changes;
mod difference;
mod identity;
mod last_known;
mod limits;
mod node;
mod numbering;
mod overrides;
mod probing;
mod ramps;
mod scrape;
mod sight;
mod stamp;
mod standings;
mod steer;
mod store;
mod vantages;
mod versions;

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::config::{self, Flags, LoadOptions, Loaded, Problem, Settings, Severity};
use crate::health::SourceAddresses;
use crate::server::BindError;
use crate::telemetry::log;

pub use node::{Node, NodeSpec};
pub use vantages::VantageSpec;

/// Why nothing was started.
#[derive(Debug)]
pub enum StartError {
    /// The files are wrong; every problem.
    Problems(Vec<Problem>),
    /// An address of this key of `[listen]` can't be had.
    Bind(&'static str, BindError),
    /// A right that a monitor needs is missing; says what to do.
    Rights(String),
    /// What was kept from before can't be read; says what to do.
    State(String),
    /// The system refused something that nobody can configure.
    System(std::io::Error),
    /// The demo can't set its scene.
    Demo(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Problems(problems) => f.write_str(config::to_human(problems).trim_end()),
            StartError::Bind(key, error) => write!(f, "listen.{key}: {error}"),
            StartError::Rights(why) | StartError::State(why) => f.write_str(why),
            StartError::System(error) => write!(f, "the system refused: {error}"),
            StartError::Demo(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs `portolan serve`: starts, prints the ready line on standard output, serves until SIGTERM or SIGINT. When `is_strict`,
/// nothing is started while any file has an error.
pub async fn serve(settings_file: Option<PathBuf>, flags: Flags, is_strict: bool) -> Result<(), StartError> {
    log::choose(config::log_format(settings_file.as_deref(), &flags));
    let how = LoadOptions {
        settings_file: settings_file.as_deref(),
        flags: &flags,
        now: clock::unix_seconds(),
        confirm_removal: false,
    };
    let recall = |settings: &Settings| versions::recall(settings.operators.state_dir.as_deref());
    let loaded = config::start(how, recall).map_err(StartError::Problems)?;
    if is_strict && loaded.refused.iter().any(|problem| problem.severity == Severity::Error) {
        let Loaded { refused, warnings, .. } = loaded;
        return Err(StartError::Problems([refused, warnings].concat()));
    }
    let vantage = VantageSpec {
        name: loaded.settings.node.as_str().into(),
        region: loaded.settings.region.as_str().into(),
        sources: SourceAddresses::default(),
    };
    // From here on a signal ends what has been started rather than the process.
    let stop = stop_signal();
    tokio::pin!(stop);
    let node = tokio::select! {
        node = Node::start(NodeSpec { loaded, settings_file, flags, vantages: vec![vantage] }) => node?,
        () = &mut stop => return Ok(()),
    };
    println!("{}", node.ready_line());
    stop.await;
    tracing::info!("stopping");
    node.stop().await;
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn stop_signal() {
    let next = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // The default action of the signal is left, which ends the process.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = next(SignalKind::terminate()) => {}
        () = next(SignalKind::interrupt()) => {}
    }
}
