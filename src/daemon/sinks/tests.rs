//! Sinks with a real log and a real receiver: restarts, outages, and events that the log no longer has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::{Settings, SinkReceiver, SinkSettings};
use crate::control::test_world::transition;
use crate::control::{Journal, JournalEvent, MAX_EVENTS};
use crate::daemon::sinks::{Sinks, load};
use crate::daemon::state::StateDir;
use crate::sinks::test_receiver::{HookReply, ReceivedHook, TestReceiver, webhook_to};
use crate::sinks::{SinkReport, SinkState};

/// A server as far as sinks need one.
struct Server {
    sinks: Sinks,
    state: StateDir,
}

/// The settings of one sink, `audit`.
fn settings(receiver: &TestReceiver, dir: &Path, tries: u32) -> Settings {
    let path = dir.join("portolan.toml");
    std::fs::write(&path, "region = \"here\"\n[zones]\ndir = \".\"\n").unwrap();
    let loaded = crate::config::load(Some(&path), &Default::default()).unwrap();
    let to = SinkReceiver::Webhook(webhook_to(&format!("http://{}/", receiver.address), dir));
    let sink = SinkSettings { name: "audit".into(), timeout: Duration::from_secs(20), tries, concurrency: 4, to };
    Settings { sinks: vec![sink], ..loaded.settings }
}

impl Server {
    fn start(settings: &Settings, journal: &Arc<Journal>, dir: &Path) -> Server {
        let state = StateDir::begun(Some(dir.join("state"))).unwrap();
        let loaded = load(&state, &mut Vec::new());
        let mut sinks = Sinks::prepare(settings, journal, &state, loaded).unwrap().unwrap();
        sinks.begin();
        Server { sinks, state }
    }

    async fn stop(self) {
        self.sinks.stop().await;
        self.state.close().await.unwrap();
    }

    /// Waits until the report of the sink is as wanted.
    async fn wait(&self, what: &str, is_there: impl Fn(&SinkReport) -> bool) -> SinkReport {
        let board = self.sinks.board();
        let looking = async {
            loop {
                let report = board.reports().remove(0);
                if is_there(&report) {
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), looking).await;
        found.unwrap_or_else(|_| panic!("{what}: {:?}", board.reports()))
    }
}

/// So many events, of `keys` endpoints in turn.
fn append(journal: &Journal, count: usize, keys: usize) {
    let first = journal.last() as usize;
    for number in first..first + count {
        let endpoint = format!("e{}", number % keys);
        journal.append(JournalEvent { endpoint, ..JournalEvent::from(&transition()) });
    }
}

fn number_of(hook: &ReceivedHook) -> u64 {
    hook.headers["webhook-id"].to_str().unwrap().rsplit_once('/').unwrap().1.parse().unwrap()
}

fn numbers(hooks: &[ReceivedHook]) -> Vec<u64> {
    hooks.iter().map(number_of).collect()
}

/// The numbers that arrived, each when it came for the first time, by endpoint.
fn first_times(hooks: &[ReceivedHook], keys: u64) -> BTreeMap<u64, Vec<u64>> {
    let mut seen = BTreeSet::new();
    let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for number in numbers(hooks).into_iter().filter(|number| seen.insert(*number)) {
        by_key.entry((number - 1) % keys).or_default().push(number);
    }
    by_key
}

fn ok(_: usize, _: &ReceivedHook) -> HookReply {
    (200, vec![])
}

#[tokio::test]
async fn a_new_sink_gets_what_happens_from_then_on_and_a_restart_goes_on_after_the_last_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = TestReceiver::start(None, ok).await;
    let settings = settings(&receiver, dir.path(), 3);
    let journal = Arc::new(Journal::new("ns.1", 4, 41));
    let server = Server::start(&settings, &journal, dir.path());
    append(&journal, 5, 2);
    let report = server.wait("all are there", |report| report.delivered == 5 && report.behind == 0).await;
    assert_eq!((report.state, report.position, report.failed), (SinkState::Ok, 46, 0));
    server.stop().await;
    append(&journal, 2, 2);
    let server = Server::start(&settings, &journal, dir.path());
    server.wait("the others too", |report| report.delivered == 2).await;
    server.stop().await;
    let received = receiver.received();
    let mut all = numbers(&received);
    all.sort_unstable();
    assert_eq!(all, (42..=48).collect::<Vec<_>>(), "each once");
    let first = received.iter().find(|hook| hook.headers["webhook-id"] == "ns=2E1/42").unwrap();
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((&body["id"], &body["type"]), (&"ns.1/42".into(), &"portolan.transition".into()));
}

#[tokio::test]
async fn outages_and_restarts_lose_nothing_and_change_no_order() {
    const KEYS: u64 = 7;
    let dir = tempfile::tempdir().unwrap();
    let is_away = Arc::new(AtomicBool::new(false));
    let reply = {
        let is_away = is_away.clone();
        // Some replies are errors in any case.
        move |number, _: &ReceivedHook| {
            (if is_away.load(Ordering::SeqCst) || number % 25 == 9 { 503 } else { 200 }, vec![])
        }
    };
    let receiver = TestReceiver::start(None, reply).await;
    let settings = settings(&receiver, dir.path(), 100);
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    for round in 1..=3 {
        let server = Server::start(&settings, &journal, dir.path());
        append(&journal, 40, KEYS as usize);
        is_away.store(round == 2, Ordering::SeqCst);
        if round == 3 {
            server.wait("all are there", |report| report.position == 120).await;
        } else {
            receiver.wait(receiver.received().len() + 5).await;
        }
        server.stop().await;
    }
    // Those whose reply was an error came again.
    let taken = first_times(&receiver.received(), KEYS);
    assert_eq!(taken.values().map(Vec::len).sum::<usize>(), 120);
    assert!(taken.values().all(|numbers| numbers.is_sorted()), "{taken:?}");
}

#[tokio::test]
async fn dead_letters_are_listed_also_after_a_restart_and_hold_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let reply = |_, hook: &ReceivedHook| (if number_of(hook) == 2 { 422 } else { 200 }, vec![]);
    let receiver = TestReceiver::start(None, reply).await;
    let settings = settings(&receiver, dir.path(), 2);
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    let server = Server::start(&settings, &journal, dir.path());
    append(&journal, 8, 2);
    let report = server.wait("all are done", |report| report.position == 8).await;
    assert_eq!((report.delivered, report.dead_letters, report.failed), (7, 1, 2));
    assert_eq!(numbers(&receiver.received()).iter().filter(|number| **number == 2).count(), 2);
    server.stop().await;
    let server = Server::start(&settings, &journal, dir.path());
    let report = server.wait("it is listed", |report| !report.last_dead_letters.is_empty()).await;
    let dead = &report.last_dead_letters[0];
    assert_eq!((report.dead_letters, &*dead.id, &*dead.why), (0, "ns1/2", "HTTP status 422: no such"));
    server.stop().await;
    assert_eq!(receiver.received().len(), 9);
}

#[tokio::test]
async fn events_of_one_endpoint_that_the_receiver_wants_later_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let reply = |_, hook: &ReceivedHook| match number_of(hook) % 2 {
        0 => (403, vec![("retry-after", "3000".into())]),
        _ => (200, vec![]),
    };
    let receiver = TestReceiver::start(None, reply).await;
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    let server = Server::start(&settings(&receiver, dir.path(), 3), &journal, dir.path());
    append(&journal, 6, 2);
    let report = server.wait("three wait", |report| report.behind == 3 && report.state == SinkState::Waiting).await;
    let [waiting] = &report.waiting[..] else { panic!("{report:?}") };
    assert_eq!((&*waiting.subject, waiting.events, report.waiting_endpoints), ("e1", 3, 1));
    let wait = waiting.next_try.unwrap() - waiting.since;
    assert!((2999.0..3001.0).contains(&wait) && waiting.why.starts_with("HTTP status 403"), "{waiting:?}");
    assert!((report.next_try.unwrap() - waiting.next_try.unwrap()).abs() < 1.0, "{report:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_turns_the_sink_off() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = TestReceiver::start(None, |_, _| (410, vec![])).await;
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    let server = Server::start(&settings(&receiver, dir.path(), 3), &journal, dir.path());
    append(&journal, 1, 1);
    server.wait("it is off", |report| report.state == SinkState::Off).await;
    append(&journal, 5, 1);
    let report = server.wait("they wait", |report| report.behind == 6).await;
    assert!(report.last_error.unwrap().hint.contains("remove the sink"));
    server.stop().await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn events_that_the_log_no_longer_has_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = TestReceiver::start(None, |_, _| (503, vec![("retry-after", "3600".into())])).await;
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    let server = Server::start(&settings(&receiver, dir.path(), 3), &journal, dir.path());
    append(&journal, 1, 50);
    server.wait("it is away", |report| report.state == SinkState::Retrying).await;
    append(&journal, MAX_EVENTS + 99, 50);
    let is_lost = |report: &SinkReport| report.lost == 100 && report.position == 100;
    let report = server.wait("a hundred are lost", is_lost).await;
    assert_eq!(report.lost_range.unwrap().last, 100);
    assert_eq!(report.behind, MAX_EVENTS as u64);
    server.stop().await;
}

#[tokio::test]
async fn while_another_process_takes_over_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = TestReceiver::start(None, ok).await;
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    let server = Server::start(&settings(&receiver, dir.path(), 3), &journal, dir.path());
    append(&journal, 3, 1);
    receiver.wait(1).await;
    server.sinks.hold().await;
    let before = receiver.received().len();
    let saved = server.state.path("sinks.json").unwrap();
    append(&journal, 1, 1);
    server.sinks.held().send_replace(false);
    receiver.wait(4).await;
    assert_eq!(numbers(&receiver.received()), [1, 2, 3, 4], "{before} of them before the hold");
    server.stop().await;
    let text = std::fs::read_to_string(saved).unwrap();
    assert!(text.contains("\"last\": 4"), "{text}");
}
