//! exec: the environment of the program, its output, and that all its processes end with the probe.

use std::process::Command;

use tokio::net::unix::pipe;

use super::*;
use crate::health::probe::exec::run_in_slot;
use crate::health::probe::slots::{COMMON, MonitorKey, ProgramSlots};
use crate::model::{Digested, ExecCommand, ExecSpec};

fn shell(script: &str) -> ProbeKind {
    ProbeKind::Exec(shell_spec(script))
}

fn shell_spec(script: &str) -> ExecSpec {
    let args = vec!["-c".to_owned(), script.to_owned()];
    ExecSpec { command: command("/bin/sh", args), endpoint: "fra1".to_owned() }
}

fn command(program: &str, args: Vec<String>) -> Digested<ExecCommand> {
    ExecCommand { program: program.to_owned(), args }.into()
}

fn there() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5432))
}

async fn failure_text(script: &str) -> String {
    failure(shell(script), there(), AMPLE).await.to_string()
}

#[tokio::test]
async fn exit_code_0_is_a_success_and_others_are_reported_with_the_first_line() {
    assert!(measure(shell("echo all well; exit 0"), there(), AMPLE).await.result.is_ok());
    assert_eq!(failure_text("exit 3").await, "exit code 3");
    assert_eq!(failure_text("echo; echo lag 40 s; echo more; exit 1").await, "exit code 1: lag 40 s");
    assert_eq!(failure_text("echo no route >&2; exit 2").await, "exit code 2: no route");
    assert_eq!(failure_text("printf 'a\\033[31mb'; exit 2").await, "exit code 2: a [31mb");
    assert_eq!(failure_text("kill -9 $$").await, "ended by signal 9");
}

#[tokio::test]
async fn the_environment_has_the_endpoint_and_nothing_else() {
    let text = failure_text("echo $PORTOLAN_ENDPOINT $PORTOLAN_ADDRESS $PORTOLAN_PORT $CARGO$HOME$USER.; exit 1").await;
    assert_eq!(text, "exit code 1: fra1 192.0.2.1 5432 .");
    assert_eq!(failure_text("read x || echo no input; exit 1").await, "exit code 1: no input");
    let args = vec!["-c".to_owned(), "echo \"$1\"; exit 1".to_owned(), "sh".to_owned(), "a; exit 0 $(b) *".to_owned()];
    let kind = ProbeKind::Exec(ExecSpec { command: command("/bin/sh", args), endpoint: "fra1".to_owned() });
    assert_eq!(failure(kind, there(), AMPLE).await.to_string(), "exit code 1: a; exit 0 $(b) *");
}

#[tokio::test]
async fn much_output_is_read_and_dropped() {
    let text = failure_text(
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; exit 1",
    );
    assert_eq!(text.await, "exit code 1: 0123456789012345678901234567890123456789");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_no_evidence_against_the_endpoint() {
    let kind = ProbeKind::Exec(ExecSpec { command: command("/nowhere/check", vec![]), endpoint: "fra1".into() });
    let failure = failure(kind, there(), AMPLE).await;
    assert!(!failure.is_evidence());
    assert!(failure.to_string().starts_with("cannot run /nowhere/check: "), "{failure}");
}

/// A named pipe whose writers are the programs of a test: it ends when the last of them ends.
struct LifePipe {
    _dir: tempfile::TempDir,
    path: String,
    writers: pipe::Receiver,
}

impl LifePipe {
    fn new() -> LifePipe {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("life").to_string_lossy().into_owned();
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo is there").success());
        let writers = pipe::OpenOptions::new().open_receiver(&path).expect("a pipe");
        LifePipe { _dir: dir, path, writers }
    }

    /// A program that forks a child and hangs, as the child does.
    fn script(&self) -> ProbeKind {
        ProbeKind::Exec(self.spec())
    }

    fn spec(&self) -> ExecSpec {
        shell_spec(&format!("exec 3>{}; sleep 1000 & echo begun >&3; sleep 1000", self.path))
    }

    async fn begun(&self) {
        tokio::time::timeout(AMPLE, self.writers.readable()).await.expect("it begins").expect("a pipe");
    }

    async fn ended(mut self) -> String {
        let mut text = String::new();
        tokio::time::timeout(AMPLE, self.writers.read_to_string(&mut text))
            .await
            .expect("all are killed")
            .expect("text");
        text
    }
}

#[tokio::test]
async fn a_program_that_forks_and_hangs_is_killed_with_its_children() {
    let life = LifePipe::new();
    let long = Duration::from_secs(3);
    assert_eq!(failure(life.script(), there(), long).await, Failure::TimedOut { after: long });
    assert_eq!(life.ended().await, "begun\n");
}

#[tokio::test]
async fn they_are_killed_when_the_probe_is_dropped() {
    let life = LifePipe::new();
    {
        let probe = measure(life.script(), there(), AMPLE);
        tokio::select! {
            measured = probe => panic!("{measured:?}"),
            () = life.begun() => {}
        }
    }
    assert_eq!(life.ended().await, "begun\n");
}

#[tokio::test]
async fn what_it_leaves_running_is_killed_and_not_awaited() {
    let life = LifePipe::new();
    let kind = shell(&format!("exec 3>{}; echo begun >&3; sleep 1000 & exit 0", life.path));
    assert!(measure(kind, there(), AMPLE).await.result.is_ok());
    assert_eq!(life.ended().await, "begun\n");
}

#[tokio::test]
async fn programs_of_one_monitor_that_hang_keep_no_other_monitor_waiting() {
    let (slots, there, life) = (ProgramSlots::default(), ProbeTarget::Socket(there()), LifePipe::new());
    let (spec, quick) = (life.spec(), shell_spec("exit 0"));
    let of = |spec: &ExecSpec| MonitorKey::of(&Monitor::new(ProbeKind::Exec(spec.clone())), spec);
    {
        let mut taken = Vec::new();
        for _ in 1..COMMON {
            taken.push(slots.acquire(of(&spec)).await);
        }
        let mut hanging = std::pin::pin!(run_in_slot(&slots, of(&spec), &spec, there, AMPLE));
        tokio::select! {
            found = &mut hanging => panic!("{found:?}"),
            () = life.begun() => {}
        }
        let failure = tokio::select! {
            found = &mut hanging => panic!("{found:?}"),
            found = run_in_slot(&slots, of(&spec), &spec, there, BRIEF) => found.expect_err("no slot is free"),
        };
        assert!(!failure.is_evidence(), "it is not a failure of the endpoint");
        assert_eq!(failure.to_string(), "64 programs of exec monitors are running already");
        assert!(run_in_slot(&slots, of(&quick), &quick, there, AMPLE).await.is_ok(), "another monitor");
        let renamed = ExecSpec { endpoint: "ams1".to_owned(), ..spec.clone() };
        assert_eq!(of(&spec), of(&renamed), "one monitor for several endpoints");
    }
    assert!(run_in_slot(&slots, of(&quick), &quick, there, AMPLE).await.is_ok(), "a slot is free again");
    assert_eq!(life.ended().await, "begun\n");
}

#[tokio::test]
async fn a_program_that_writes_without_end_is_read_slowly() {
    let before = thread_cpu();
    let kind = shell("exec yes");
    let long = Duration::from_secs(2);
    assert_eq!(failure(kind, there(), long).await, Failure::TimedOut { after: long });
    let took = thread_cpu() - before;
    assert!(took < Duration::from_millis(200), "{took:?} of processor time in 2 s");
}

/// The processor time of this thread, which reads the output in a test with one thread.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
