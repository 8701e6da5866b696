//! The exec probe: a program that judges an endpoint. Exit code 0 is a success. The program runs without a shell, and
//! without the environment and the input of this process. It has a process group of its own. The whole group is killed
//! when the time is over, when the probe is dropped, and when the program has ended. The number of programs at a time
//! is bounded ([`slots`](super::slots)). A probe that gets no slot in time is a failure of this vantage and not of the
//! endpoint.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::clock;
use crate::health::probe::Failure;
use crate::health::probe::orphans::Program;
use crate::health::probe::slots::{MonitorKey, ProgramSlot, ProgramSlots};
use crate::model::{ExecSpec, Monitor, ProbeTarget};
use crate::printable::is_unprintable;

/// The octets that are stored of each of standard output and standard error. The rest is read and dropped.
const OUTPUT_LIMIT: usize = 4096;
/// The octets of one read: what a pipe has at most.
const READ_OCTETS: usize = 64 << 10;
/// After so many octets of output there is a pause after each read: a program that writes without end takes no more of
/// the processor than others. Judgment: no check has so much to report.
const FAST_OCTETS: usize = 1 << 20;
/// The pause: a program can still write 1.3 MB a second.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// The most characters of the first line of output that are reported.
const MAX_LINE_CHARS: usize = 200;
/// The time that remains to read the output after the program ended. Only a process that left the group can still hold
/// the pipe open.
const OUTPUT_WAIT: Duration = Duration::from_millis(50);

static SLOTS: LazyLock<ProgramSlots> = LazyLock::new(ProgramSlots::default);

/// Runs the program and returns how long it took. First waits for a free slot, at most `timeout`; then the program may
/// run for `timeout`.
pub(super) async fn run(
    monitor: &Monitor,
    spec: &ExecSpec,
    target: ProbeTarget,
    timeout: Duration,
) -> Result<Duration, Failure> {
    run_in_slot(&SLOTS, MonitorKey::of(monitor, spec), spec, target, timeout).await
}

/// Waits until no program runs, also none that is being started and will be killed.
pub async fn programs_ended() {
    /// How often it looks (judgment: only a stop waits).
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    while SLOTS.taken() > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// As [`run`], in one of these slots.
pub(super) async fn run_in_slot(
    slots: &ProgramSlots,
    of: MonitorKey,
    spec: &ExecSpec,
    target: ProbeTarget,
    timeout: Duration,
) -> Result<Duration, Failure> {
    let busy = |_| Failure::Vantage(format!("{} programs of exec monitors are running already", slots.taken()));
    let slot = tokio::time::timeout(timeout, slots.acquire(of)).await.map_err(busy)?;
    let began = clock::now();
    match tokio::time::timeout(timeout, run_to_end(spec, target, slot)).await {
        Ok(ended) => ended.map(|()| clock::now().since(began)),
        Err(_) => Err(Failure::TimedOut { after: timeout }),
    }
}

/// A program that was started, in its slot. Its group is killed first when this is dropped.
struct Started {
    group: ProcessGroup,
    program: Program,
    _slot: ProgramSlot,
}

/// Starts the program on a thread of its own, which may block. If nobody waits any more when it has started, it is
/// killed. Until then it has its slot, so that a mount that answers nothing blocks no more threads than there are
/// slots. An error is the system's: it has no such program, or no more threads or processes.
async fn start(mut command: Command, slot: ProgramSlot) -> std::io::Result<Started> {
    let (sender, receiver) = oneshot::channel();
    let runtime = Handle::current();
    let starting = move || {
        let _entered = runtime.enter();
        let start = || -> std::io::Result<Started> {
            let mut program = Program::start(&mut command)?;
            let group = ProcessGroup::of(program.child());
            Ok(Started { group, program, _slot: slot })
        };
        // The receiver is gone if the time is over.
        drop(sender.send(start()));
    };
    thread::Builder::new().name("exec".to_owned()).spawn(starting)?;
    receiver.await.unwrap_or_else(|_| Err(std::io::Error::other("starting it broke off")))
}

async fn run_to_end(spec: &ExecSpec, target: ProbeTarget, slot: ProgramSlot) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Failure::Vantage(format!("cannot run {}: {error}", spec.command.program));
    // They are dropped from the last to the first: the group is killed first.
    let Started { _slot, mut program, group } = start(command(spec, target), slot).await.map_err(unusable)?;
    let child = program.child();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let status = {
        let pipes = (child.stdout.take(), child.stderr.take());
        let reading =
            async { tokio::join!(read_beginning(pipes.0, &mut output), read_beginning(pipes.1, &mut errors)) };
        tokio::pin!(reading);
        let early = tokio::select! {
            status = child.wait() => Some(status),
            _ = &mut reading => None,
        };
        match early {
            Some(status) => {
                // Kills what the program left running, because that holds the pipes open.
                drop(group);
                // After the time-out, what was read until then is reported.
                let _ = tokio::time::timeout(OUTPUT_WAIT, reading).await;
                status
            }
            None => child.wait().await,
        }
    };
    judge(status.map_err(unusable)?, &output, &errors)
}

fn command(spec: &ExecSpec, target: ProbeTarget) -> Command {
    let mut command = Command::new(&spec.command.program);
    command
        .args(&spec.command.args)
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

/// Reads the pipe to its end and stores the beginning in `beginning`. After [`FAST_OCTETS`] it reads slowly.
pub(crate) async fn read_beginning(pipe: Option<impl AsyncRead + Unpin>, beginning: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut part = Vec::with_capacity(OUTPUT_LIMIT);
    let mut total = 0;
    while let Ok(read @ 1..) = pipe.read_buf(&mut part).await {
        let room = OUTPUT_LIMIT - beginning.len();
        beginning.extend(part.iter().take(room));
        part.clear();
        total += read;
        if total >= FAST_OCTETS {
            tokio::time::sleep(READ_PAUSE).await;
        } else if part.capacity() < READ_OCTETS && read == part.capacity() {
            // Few programs write much.
            part.reserve(READ_OCTETS);
        }
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
    let line = first_line(output).or_else(|| first_line(errors));
    Err(Failure::Program(line.map_or_else(|| ended.clone(), |line| format!("{ended}: {line}"))))
}

/// The first line that is not empty, shortened and without control characters, because the output of a program is not
/// trusted in logs.
fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(MAX_LINE_CHARS).map(|c| if is_unprintable(c) { ' ' } else { c }).collect())
}

/// The process group of a child. It is killed when this value is dropped. If all its processes have ended by then, the
/// kernel has not used the number again: it uses every other number first.
pub(crate) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// That of a child that leads one.
    pub(crate) fn of(child: &Child) -> ProcessGroup {
        ProcessGroup(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// Leaves it running.
    pub(crate) fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails if no process is left, which is the usual case.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
