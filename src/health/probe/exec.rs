//! A program that judges an endpoint: exit code 0 is a success. It runs without a shell, without this process's
//! environment and input, in a process group of its own that is killed as a whole when its time is over, when nobody waits
//! for it any more, and when it has ended and left something running. How many run at once is bounded; a probe that
//! finds no room in time says so of this vantage and nothing of the endpoint.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::clock;
use crate::health::probe::Failure;
use crate::health::probe::orphans::Program;
use crate::model::{ExecSpec, ProbeTarget};

/// Most programs of this process at once, over all probers. Judgment: scripts start interpreters, and a hundred of those
/// are felt by the threads that answer.
const MAX_CHILDREN: usize = 64;
/// Kept of each of standard output and standard error; what is written beyond is read and forgotten.
const KEPT: usize = 4096;
/// Most characters of its first line that are told.
const MAX_WORDS: usize = 200;
/// Its last words are waited for this long after it ended: only something that left its group can still hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(50);

static ROOM: Semaphore = Semaphore::const_new(MAX_CHILDREN);

/// Runs the program; gives how long it took. Its time begins when there is room for it; that is waited for as long again.
pub(super) async fn run(spec: &ExecSpec, target: ProbeTarget, timeout: Duration) -> Result<Duration, Failure> {
    run_within(&ROOM, spec, target, timeout).await
}

/// The same, with room for as many as `room` has permits.
pub(super) async fn run_within(
    room: &Semaphore,
    spec: &ExecSpec,
    target: ProbeTarget,
    timeout: Duration,
) -> Result<Duration, Failure> {
    let busy = || Failure::Vantage(format!("{MAX_CHILDREN} programs of exec monitors are running already"));
    let room = tokio::time::timeout(timeout, room.acquire()).await.map_err(|_| busy())?;
    let _room = room.map_err(|_| busy())?;
    let began = clock::now();
    match tokio::time::timeout(timeout, finish(spec, target)).await {
        Ok(ended) => ended.map(|()| clock::now().since(began)),
        Err(_) => Err(Failure::TimedOut { after: timeout }),
    }
}

async fn finish(spec: &ExecSpec, target: ProbeTarget) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Failure::Vantage(format!("cannot run {}: {error}", spec.program));
    let mut program = Program::start(&mut command(spec, target)).map_err(unusable)?;
    let child = program.child();
    let group = Group::of(child);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let status = {
        let pipes = (child.stdout.take(), child.stderr.take());
        let reading = async { tokio::join!(keep(pipes.0, &mut output), keep(pipes.1, &mut errors)) };
        tokio::pin!(reading);
        let early = tokio::select! {
            status = child.wait() => Some(status),
            _ = &mut reading => None,
        };
        match early {
            Some(status) => {
                // What it left behind holds the pipes open.
                drop(group);
                // Out of time: what came until now is what is told.
                let _ = tokio::time::timeout(LAST_WORDS, reading).await;
                status
            }
            None => child.wait().await,
        }
    };
    judge(status.map_err(unusable)?, &output, &errors)
}

fn command(spec: &ExecSpec, target: ProbeTarget) -> Command {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .env("PORTOLAN_ENDPOINT", &spec.endpoint)
        .env("PORTOLAN_ADDRESS", target.ip().map(|ip| ip.to_string()).unwrap_or_default())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let ProbeTarget::Socket(to) = target {
        command.env("PORTOLAN_PORT", SocketAddr::port(&to).to_string());
    }
    command
}

/// Reads to the end; keeps the beginning.
async fn keep(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut part = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut part).await {
        let room = KEPT - kept.len();
        kept.extend(part.iter().take(read.min(room)));
    }
}

fn judge(status: ExitStatus, output: &[u8], errors: &[u8]) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended by itself".to_owned(),
    };
    let said = first_line(output).or_else(|| first_line(errors));
    Err(Failure::Program(said.map_or_else(|| ended.clone(), |said| format!("{ended}: {said}"))))
}

/// The first line with something on it, as it may stand in logs: a program's output is not to be trusted.
fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(MAX_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// The process group of a child, which ends with this value. A number that nobody of the group has any more is not given
/// to others at once: the kernel goes once around all numbers first.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // That there is nobody left to kill is the usual case.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
