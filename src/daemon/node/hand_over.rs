//! A running server lets another process take its place: see [`takeover`](crate::daemon::takeover).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::daemon::node::RunningNode;
use crate::daemon::sinks::Sinks;
use crate::daemon::state::StateDir;
use crate::daemon::systemd::{Pulse, Systemd};
use crate::daemon::takeover::{HandOver, PauseRequest, STOPPED, StopSignal, Visitor};
use crate::daemon::{event_number, health_file, last_good};
use crate::server::{PassedSocket, SocketUse};

/// How long the steering task has to pause. Judgment: its longest step takes less than a second.
const PAUSE_WAIT: Duration = Duration::from_secs(5);
/// How long events wait for the log of events: longer than it takes until they are visible without it.
const EVENTS_WAIT: Duration = Duration::from_secs(3);
/// From one look whether the events are written to the next: a write takes about a millisecond.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Steering is paused and nothing is written, until this is dropped.
struct Frozen {
    state_dir: StateDir,
    pulse: Arc<Pulse>,
    /// Whether the sinks of events send nothing.
    held: Option<watch::Sender<bool>>,
    /// The steering task goes on when it ends; `None`: never.
    end: Option<oneshot::Sender<()>>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        match &self.end {
            Some(_) => {
                self.state_dir.release();
                self.pulse.pause(false);
                if let Some(held) = &self.held {
                    held.send_replace(false);
                }
            }
            None => self.state_dir.leave(),
        }
    }
}

impl RunningNode {
    /// The state directory, where there is one.
    pub(crate) fn state_path(&self) -> Option<PathBuf> {
        self.state_dir.guarded().map(|(path, _)| path)
    }

    /// Everything that the server listens on, by other descriptors. An error is the system's.
    pub(crate) fn passed_sockets(&self) -> std::io::Result<Vec<PassedSocket>> {
        let mut all = self.server.passed_sockets()?;
        all.push(PassedSocket::again(SocketUse::Http, self.http, &self.api_socket)?);
        Ok(all)
    }

    /// Lets `visitor` take this server's place, unless this one is to stop meanwhile. It must not be cancelled.
    /// Whatever happens to the visitor: when this returns, this server either goes on or has been replaced.
    pub(crate) async fn hand_over(&mut self, visitor: &Visitor, systemd: &Systemd, signal: &StopSignal) -> HandOver {
        let who = visitor.shown();
        tracing::info!(by = %who, "another process takes over");
        match self.try_hand_over(visitor, systemd, signal).await {
            Ok(()) => {
                tracing::info!(by = %who, "another process has taken over: this one ends");
                HandOver::Done
            }
            Err(why) => {
                visitor.refuse(&why);
                tracing::warn!(by = %who, why, "nothing was taken over: this server goes on");
                HandOver::Stayed
            }
        }
    }

    async fn try_hand_over(&mut self, visitor: &Visitor, systemd: &Systemd, signal: &StopSignal) -> Result<(), String> {
        let refused = |error: std::io::Error| error.to_string();
        let sockets = self.passed_sockets().map_err(refused)?;
        let lock = self.state_dir.lock().map_err(refused)?;
        visitor.welcome(&sockets, lock.as_ref(), &self.own_secret)?;
        drop((sockets, lock));
        let end = self.pause().await?;
        self.pulse.pause(true);
        let held = self.sinks.as_ref().map(Sinks::held);
        let mut frozen = Frozen { state_dir: self.state_dir.clone(), pulse: self.pulse.clone(), held, end: Some(end) };
        if let Some(sinks) = &self.sinks {
            sinks.hold().await;
        }
        self.write_state().await?;
        if signal.is_there() {
            return Err(STOPPED.to_owned());
        }
        visitor.let_serve(signal)?;
        // From here on the visitor receives from the same sockets.
        self.server.retire().await;
        systemd.main_process(visitor.process());
        if let Err(why) = visitor.confirm() {
            systemd.main_process(std::process::id());
            if let Err(error) = self.server.start(self.snapshots.clone(), &self.counters, self.runtimes.answer.handle())
            {
                tracing::error!(%error, "the system does not let this server answer again");
            }
            return Err(why);
        }
        self.given_up = frozen.end.take();
        Ok(())
    }

    /// Pauses the steering task until the sender is dropped.
    async fn pause(&self) -> Result<oneshot::Sender<()>, String> {
        let ((paused, is_paused), (end, until)) = (oneshot::channel(), oneshot::channel());
        let pausing = async {
            self.pauses.send(PauseRequest { paused, end: until }).await.ok()?;
            is_paused.await.ok()
        };
        match timeout(PAUSE_WAIT, pausing).await {
            Ok(Some(Ok(()))) => Ok(end),
            Ok(Some(Err(why))) => Err(why),
            Ok(None) | Err(_) => Err("steering is busy and does not pause: try again later".to_owned()),
        }
    }

    /// Brings all state to the disk; then nothing is written any more.
    async fn write_state(&self) -> Result<(), String> {
        let written = async {
            while !self.journal.unwritten(0).is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // Events that can't be written are due, and refused below.
        let _ = timeout(EVENTS_WAIT, written).await;
        // The outcomes are what the hold waits for.
        drop(event_number::put(self.journal.last(), &self.state_dir));
        drop(health_file::put(&self.reports.borrow(), &self.state_dir));
        drop(last_good::put(&self.snapshots.load_full(), &self.state_dir));
        self.state_dir.hold().await
    }
}
