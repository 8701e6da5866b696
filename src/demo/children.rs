//! The processes of the demo's regions: start, state and end. Each is ended by its own process id.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take until it prints `ready` (judgment: it only binds a few sockets).
const START_LIMIT: Duration = Duration::from_secs(10);

/// One region's process.
pub(crate) struct RegionProcess {
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
    child: Option<Child>,
}

/// The state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Stopped by a signal: it exists but does not answer.
    Stopped,
    Gone,
}

impl RegionProcess {
    pub(crate) fn new(name: String, addresses: Vec<SocketAddr>) -> RegionProcess {
        RegionProcess { name, addresses, child: None }
    }

    /// Starts the process and waits until it listens on all its addresses.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("region {}: {error}", self.name);
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let addresses: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        let mut child = Command::new(program)
            .args(["demo-region", &self.name, &addresses.join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C sends a signal to the whole process group of the terminal. The regions are in a group of their
            // own, so that only this process ends them.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        let is_ready = tokio::time::timeout(START_LIMIT, prints_ready(&mut child)).await;
        if !matches!(is_ready, Ok(true)) {
            return Err(failed(&complaint(child).await));
        }
        self.child = Some(child);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// The state of the process now. Reaps the process if it is gone.
    pub(crate) fn life(&mut self) -> Life {
        let Some(child) = &mut self.child else { return Life::Gone };
        if !matches!(child.try_wait(), Ok(None)) {
            self.child = None;
            return Life::Gone;
        }
        match child.id().map(is_stopped) {
            Some(true) => Life::Stopped,
            Some(false) | None => Life::Running,
        }
    }

    /// The line that describes it: `REGION ADDR,... pid N`.
    pub(crate) fn line(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(|address| address.ip().to_string()).collect();
        let pid = self.pid().map_or("-".to_string(), |pid| pid.to_string());
        format!("{} {} pid {pid}", self.name, addresses.join(","))
    }

    /// Kills the process like `kill -9`. The next call of [`Self::life`] reaps it.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that the process is gone already.
            let _ = child.start_kill();
        }
    }

    /// Ends the process, stopped or not, and reaps it.
    pub(crate) async fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that the process is gone already.
            let _ = child.kill().await;
        }
    }
}

async fn prints_ready(child: &mut Child) -> bool {
    let Some(out) = &mut child.stdout else { return false };
    let mut line = String::new();
    let read = BufReader::new(out).read_line(&mut line).await;
    read.is_ok() && line.trim() == "ready"
}

/// The last line that a process printed which did not start.
async fn complaint(mut child: Child) -> String {
    let _ = child.start_kill();
    match child.wait_with_output().await {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            text.lines()
                .last()
                .unwrap_or("its process ended without a message")
                .trim_start_matches("portolan: ")
                .to_string()
        }
        Err(error) => error.to_string(),
    }
}

/// Whether the process is stopped (state T in proc(5)).
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
