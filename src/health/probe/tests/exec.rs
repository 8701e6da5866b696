//! exec: what a program is given, what it may say, and that nothing of it outlives its probe.

use std::process::Command;

use tokio::net::unix::pipe;
use tokio::sync::Semaphore;

use super::*;
use crate::health::probe::exec::run_within;
use crate::model::ExecSpec;

fn shell(script: &str) -> ProbeKind {
    ProbeKind::Exec(shell_spec(script))
}

fn shell_spec(script: &str) -> ExecSpec {
    let args = vec!["-c".to_owned(), script.to_owned()];
    ExecSpec { program: "/bin/sh".to_owned(), args, endpoint: "fra1".to_owned() }
}

fn there() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5432))
}

async fn words(script: &str) -> String {
    failure(shell(script), there(), AMPLE).await.to_string()
}

#[tokio::test]
async fn exit_code_0_is_a_success_and_others_are_told_with_the_first_line() {
    assert!(measure(shell("echo all well; exit 0"), there(), AMPLE).await.result.is_ok());
    assert_eq!(words("exit 3").await, "exit code 3");
    assert_eq!(words("echo; echo lag 40 s; echo more; exit 1").await, "exit code 1: lag 40 s");
    assert_eq!(words("echo no route >&2; exit 2").await, "exit code 2: no route");
    assert_eq!(words("printf 'a\\033[31mb'; exit 2").await, "exit code 2: a [31mb");
    assert_eq!(words("kill -9 $$").await, "ended by signal 9");
}

#[tokio::test]
async fn it_is_given_the_endpoint_and_nothing_else() {
    let said = words("echo $PORTOLAN_ENDPOINT $PORTOLAN_ADDRESS $PORTOLAN_PORT $CARGO$HOME$USER.; exit 1").await;
    assert_eq!(said, "exit code 1: fra1 192.0.2.1 5432 .");
    assert_eq!(words("read x || echo no input; exit 1").await, "exit code 1: no input");
    let args = vec!["-c".to_owned(), "echo \"$1\"; exit 1".to_owned(), "sh".to_owned(), "a; exit 0 $(b) *".to_owned()];
    let kind = ProbeKind::Exec(ExecSpec { program: "/bin/sh".to_owned(), args, endpoint: "fra1".to_owned() });
    assert_eq!(failure(kind, there(), AMPLE).await.to_string(), "exit code 1: a; exit 0 $(b) *");
}

#[tokio::test]
async fn much_output_is_read_and_forgotten() {
    let said =
        words("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; exit 1");
    assert_eq!(said.await, "exit code 1: 0123456789012345678901234567890123456789");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_no_evidence_against_the_endpoint() {
    let kind = ProbeKind::Exec(ExecSpec { program: "/nowhere/check".into(), args: vec![], endpoint: "fra1".into() });
    let failure = failure(kind, there(), AMPLE).await;
    assert!(!failure.is_evidence());
    assert!(failure.to_string().starts_with("cannot run /nowhere/check: "), "{failure}");
}

/// A pipe by name, whose writers are the programs of a test: it ends when the last of them does.
struct Life {
    _dir: tempfile::TempDir,
    path: String,
    writers: pipe::Receiver,
}

impl Life {
    fn new() -> Life {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("life").to_string_lossy().into_owned();
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo is there").success());
        let writers = pipe::OpenOptions::new().open_receiver(&path).expect("a pipe");
        Life { _dir: dir, path, writers }
    }

    /// Forks a child that hangs, and hangs too.
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
        let mut said = String::new();
        tokio::time::timeout(AMPLE, self.writers.read_to_string(&mut said))
            .await
            .expect("all are killed")
            .expect("text");
        said
    }
}

#[tokio::test]
async fn a_program_that_forks_and_hangs_is_killed_with_its_children() {
    let life = Life::new();
    let long = Duration::from_secs(3);
    assert_eq!(failure(life.script(), there(), long).await, Failure::TimedOut { after: long });
    assert_eq!(life.ended().await, "begun\n");
}

#[tokio::test]
async fn they_are_killed_when_nobody_waits_for_the_probe_any_more() {
    let life = Life::new();
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
async fn what_it_leaves_running_is_killed_and_not_waited_for() {
    let life = Life::new();
    let kind = shell(&format!("exec 3>{}; echo begun >&3; sleep 1000 & exit 0", life.path));
    assert!(measure(kind, there(), AMPLE).await.result.is_ok());
    assert_eq!(life.ended().await, "begun\n");
}

#[tokio::test]
async fn no_more_run_than_there_is_room_for() {
    let (room, quick) = (Semaphore::new(1), shell_spec("exit 0"));
    let there = ProbeTarget::Socket(there());
    let life = Life::new();
    {
        let spec = life.spec();
        let mut hanging = std::pin::pin!(run_within(&room, &spec, there, AMPLE));
        tokio::select! {
            found = &mut hanging => panic!("{found:?}"),
            () = life.begun() => {}
        }
        let failure = tokio::select! {
            found = &mut hanging => panic!("{found:?}"),
            found = run_within(&room, &quick, there, BRIEF) => found.expect_err("there is no room"),
        };
        assert!(!failure.is_evidence(), "that is no failure of the endpoint");
        assert_eq!(failure.to_string(), "64 programs of exec monitors are running already");
    }
    assert!(run_within(&room, &quick, there, AMPLE).await.is_ok(), "there is room again");
    assert_eq!(life.ended().await, "begun\n");
}
