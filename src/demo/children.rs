//! The demo's region processes: started, watched, started again. Each is ended by its own pid.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take until it says `ready`; generous, since it only binds a few sockets.
const START_LIMIT: Duration = Duration::from_secs(10);

/// One region's process.
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
    child: Option<Child>,
}

/// What a process is seen to be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// There, but stopped by a signal: silent.
    Stopped,
    Gone,
}

impl Region {
    pub(crate) fn new(name: String, addresses: Vec<SocketAddr>) -> Region {
        Region { name, addresses, child: None }
    }

    /// Starts the process and waits until it answers on all its addresses.
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
            // Ctrl-C goes to the whole group of the terminal: in a group of their own the regions end when we end them.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        let is_ready = tokio::time::timeout(START_LIMIT, says_ready(&mut child)).await;
        if !matches!(is_ready, Ok(true)) {
            return Err(failed(&complaint(child).await));
        }
        self.child = Some(child);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// What the process is doing now; reaps it when it is gone.
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

    /// The line that names it: `REGION ADDR,... pid N`.
    pub(crate) fn line(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(|address| address.ip().to_string()).collect();
        let pid = self.pid().map_or("-".to_string(), |pid| pid.to_string());
        format!("{} {} pid {pid}", self.name, addresses.join(","))
    }

    /// Kills the process, as an operator does with `kill -9`; it is reaped when it is next looked at.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that it is gone already.
            let _ = child.start_kill();
        }
    }

    /// Ends the process, stopped or not, and reaps it.
    pub(crate) async fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it is gone already.
            let _ = child.kill().await;
        }
    }
}

async fn says_ready(child: &mut Child) -> bool {
    let Some(out) = &mut child.stdout else { return false };
    let mut line = String::new();
    let read = BufReader::new(out).read_line(&mut line).await;
    read.is_ok() && line.trim() == "ready"
}

/// What a process that didn't start said last.
async fn complaint(mut child: Child) -> String {
    let _ = child.start_kill();
    match child.wait_with_output().await {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            said.lines()
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
