//! Runs the `on_promote` program of a promotion, below a guard ([`super::guard`]) that ends it with this process. The
//! program has no shell, no input, and of this process's environment only `PATH`, `HOME` and `LANG`.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::fleet::lease::{HookResult, HookRun};
use crate::health::probe::{ProcessGroup, Program, read_beginning};
use crate::model::Moment;
use crate::printable::is_unprintable;

/// This program, also after its file was replaced by an upgrade.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The variables of this process's environment that the program gets: to find other programs and its own files.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];
/// The most characters of the line of output that is reported.
const MAX_LINE: usize = 300;
/// The time that remains to read the output after the end; a process that the program left running holds it open.
const OUTPUT_WAIT: Duration = Duration::from_millis(50);

/// What the program is run for.
#[derive(Debug, Clone)]
pub(super) struct HookTask {
    /// The program and its arguments.
    pub(super) program: Arc<[String]>,
    /// The zone, with its final dot.
    pub(super) zone: String,
    /// The name, as it is written in the policy file.
    pub(super) name: String,
    /// The promotion.
    pub(super) run: HookRun,
}

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct RunningHook {
    pub(super) epoch: u64,
    until: watch::Sender<Moment>,
    killed: CancellationToken,
}

impl Drop for RunningHook {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}

impl RunningHook {
    /// Starts the program, and calls `ended` with the result, unless it is killed before. It has to have ended at
    /// `until`.
    pub(super) fn start(task: HookTask, until: Moment, ended: impl FnOnce(HookResult) + Send + 'static) -> RunningHook {
        let epoch = task.run.epoch;
        let (sender, moves) = watch::channel(until);
        let killed = CancellationToken::new();
        let kill = killed.clone();
        tokio::spawn(async move {
            if let Some(result) = run(task, moves, kill).await {
                ended(result);
            }
        });
        RunningHook { epoch, until: sender, killed }
    }

    /// The program may run until then.
    pub(super) fn extend(&self, until: Moment) {
        self.until.send_replace(until);
    }
}

/// Runs the program to its end; `None`: it was killed.
async fn run(task: HookTask, mut moves: watch::Receiver<Moment>, killed: CancellationToken) -> Option<HookResult> {
    let first = *moves.borrow_and_update();
    let mut command = command(&task, first);
    // The kernel may have to load the program from a slow disk.
    let started = tokio::task::spawn_blocking(move || {
        let mut program = Program::start(&mut command)?;
        let group = ProcessGroup::of(program.child());
        Ok::<_, std::io::Error>((program, group))
    });
    // They are dropped from the last to the first: the group is killed first.
    let (mut program, group) = match started.await.map_err(std::io::Error::other).flatten() {
        Ok(started) => started,
        Err(error) => return Some(HookResult::Failed(format!("it can't be started: {error}"))),
    };
    let child = program.child();
    let mut input = child.stdin.take();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let pipes = (child.stdout.take(), child.stderr.take());
    let status = {
        let reading =
            async { tokio::join!(read_beginning(pipes.0, &mut output), read_beginning(pipes.1, &mut errors)) };
        tokio::pin!(reading);
        let mut is_read = false;
        let status = loop {
            let left = moves.borrow().since(clock::now());
            tokio::select! {
                status = child.wait() => break status,
                () = killed.cancelled() => return None,
                // The machine reports that it took too long.
                () = tokio::time::sleep(left) => return None,
                moved = moves.changed() => {
                    moved.ok()?;
                    let until = *moves.borrow_and_update();
                    extend(&mut input, until).await;
                }
                _ = &mut reading, if !is_read => is_read = true,
            }
        };
        if !is_read {
            // What was read until then is reported.
            let _ = tokio::time::timeout(OUTPUT_WAIT, reading).await;
        }
        status
    };
    let result = judge(status, &output, &errors);
    if result == HookResult::Done {
        // What a program left running that did its work is wanted.
        group.leave();
    }
    Some(result)
}

/// Moves the end. If the guard has ended, its status comes soon.
async fn extend(input: &mut Option<ChildStdin>, until: Moment) {
    if let Some(pipe) = input {
        let line = format!("{}\n", clock::nanos_of(until));
        // The pipe has room for thousands of lines, so this does not wait.
        let _ = pipe.write_all(line.as_bytes()).await;
    }
}

fn command(task: &HookTask, until: Moment) -> Command {
    let HookTask { program, zone, name, run } = task;
    let mut command = Command::new(OWN_PROGRAM);
    command
        .args(["hook-guard", "--until", &clock::nanos_of(until).to_string(), "--"])
        .args(program.iter())
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
        .env("PORTOLAN_ZONE", zone)
        .env("PORTOLAN_NAME", name)
        .env("PORTOLAN_EPOCH", run.epoch.to_string())
        .env("PORTOLAN_FROM", &*run.from)
        .env("PORTOLAN_TO", &*run.to)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

fn judge(status: std::io::Result<ExitStatus>, output: &[u8], errors: &[u8]) -> HookResult {
    let ended = match status {
        Ok(status) if status.success() => return HookResult::Done,
        Ok(status) => match status.code() {
            Some(code) => format!("exit code {code}"),
            None => "killed".to_owned(),
        },
        Err(error) => format!("its end is not known: {error}"),
    };
    let line = last_line(errors).or_else(|| last_line(output));
    HookResult::Failed(line.map_or_else(|| ended.clone(), |line| format!("{ended}: {line}")))
}

/// The last line that is not empty, shortened and without control characters: mostly the error.
fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(MAX_LINE).map(|c| if is_unprintable(c) { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_exit_code_decides_and_the_last_line_says_why() {
        let status = |code: i32| Ok(ExitStatus::from_raw(code << 8));
        assert_eq!(judge(status(0), b"promoted\n", b"warning\n"), HookResult::Done);
        let failed = |text: &str| HookResult::Failed(text.to_owned());
        assert_eq!(judge(status(3), b"trying\nno \x1b[31mreplica\n\n", b""), failed("exit code 3: no  [31mreplica"));
        assert_eq!(judge(status(1), b"out", b"first\nlast"), failed("exit code 1: last"));
        assert_eq!(judge(Ok(ExitStatus::from_raw(9)), b"", b""), failed("killed"));
    }
}
