//! The wiring: binds sockets, spawns tasks, connects them, receives signals, and stops in order. [`Prepared`] is what
//! comes before the first thread, [`RunningNode`] a running server with its vantages; [`serve`] is the command that
//! runs one. Nothing is decided here.

mod certificate;
mod changes;
mod clocks;
mod difference;
mod discovery;
mod drill;
mod drill_facts;
mod drill_file;
mod event_log;
mod event_number;
mod exclusive;
mod fleet;
mod follow;
mod health_file;
mod history;
mod identity;
mod last_good;
mod limits;
mod node;
mod overrides;
mod poll;
mod prepare;
mod privileges;
mod probe_node;
mod retained;
mod runtimes;
mod scrape;
mod sinks;
mod sockets;
mod stamp;
mod state;
mod steer;
mod systemd;
mod takeover;
mod vantages;
mod versions;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::{Door, HandOver, StopSignal, Visitor};
use crate::server::BindError;
use crate::source::reading::MORE_THREADS;
use crate::source::{self, Problem};

pub(crate) use exclusive::guard;
pub use node::RunningNode;
pub use prepare::{NodeSpec, Prepared};
pub use probe_node::{PreparedVantage, probe};
pub(crate) use runtimes::command_runtime;
pub use state::Unsaved;
pub use vantages::VantageSpec;

/// Why a server ended that was to serve.
#[derive(Debug)]
pub enum ServeError {
    /// Nothing was started.
    Start(StartError),
    /// It stopped in order, and could not write all of its state.
    Unsaved(Unsaved),
}

impl From<StartError> for ServeError {
    fn from(error: StartError) -> ServeError {
        ServeError::Start(error)
    }
}

/// Why nothing was started.
#[derive(Debug)]
pub enum StartError {
    /// The files are wrong; every problem.
    Problems(Vec<Problem>),
    /// An address of this key of `[listen]` can't be had.
    Bind(&'static str, BindError),
    /// A right that a monitor needs is missing, with what to do.
    Rights(String),
    /// The state directory is in use, or a file in it can't be read; says what to do.
    State(String),
    /// The system refused something that nobody can configure.
    System(std::io::Error),
    /// The demo can't make its files or services.
    Demo(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Problems(problems) => f.write_str(source::to_human(problems).trim_end()),
            StartError::Bind(key, error) => write!(f, "listen.{key}: {error}"),
            StartError::Rights(why) | StartError::State(why) => f.write_str(why),
            StartError::System(error) if error.kind() == ErrorKind::WouldBlock => {
                write!(f, "the system lets this process start no more threads ({error}): {MORE_THREADS}")
            }
            StartError::System(error) => write!(f, "the system refused: {error}"),
            StartError::Demo(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs `portolan serve`: starts, prints the ready line on standard output, serves until SIGTERM or SIGINT, or until
/// another process has taken over.
pub async fn serve(prepared: Prepared) -> Result<(), ServeError> {
    // From here on a signal stops what has been started, in order.
    let stop = stop_signal();
    tokio::pin!(stop);
    let systemd = Arc::new(Systemd::of_environment());
    let mut node = tokio::select! {
        node = RunningNode::run(prepared) => node?,
        () = &mut stop => return Ok(()),
    };
    let ready = node.ready_line();
    if let Err(error) = writeln!(std::io::stdout(), "{ready}") {
        tracing::warn!(%error, "the ready line could not be written to standard output");
    }
    systemd.ready(&ready);
    node.watch_with(&systemd);
    match node.passed_sockets() {
        Ok(sockets) => systemd.retain(&sockets),
        Err(error) => tracing::warn!(%error, "systemd can't retain the sockets of this server"),
    }
    let signal = StopSignal::watch();
    let mut door = node.state_path().and_then(|dir| open_door(&dir));
    loop {
        tokio::select! {
            () = &mut stop => break,
            visitor = next_visitor(&mut door) => match node.hand_over(&visitor, &systemd, &signal).await {
                HandOver::Done => return node.stop().await.map_err(ServeError::Unsaved),
                HandOver::Stayed => {}
            }
        }
    }
    tracing::info!("stopping");
    systemd.stopping();
    if let Some(door) = door {
        door.close();
    }
    node.stop().await.map_err(ServeError::Unsaved)
}

/// Where other processes come in that take over. Without it they can't, and the server serves all the same.
fn open_door(dir: &Path) -> Option<Door> {
    let opened = Door::open(dir);
    if let Err(error) = &opened {
        tracing::warn!(dir = %dir.display(), %error, "another process can't take over: its socket can't be made");
    }
    opened.ok()
}

async fn next_visitor(door: &mut Option<Door>) -> Visitor {
    match door {
        Some(door) => door.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn stop_signal() {
    let next = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // The default action of the signal remains: it ends the process.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = next(SignalKind::terminate()) => {}
        () = next(SignalKind::interrupt()) => {}
    }
}
