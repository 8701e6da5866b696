//! The drivers against a server that keeps to the gateway's documented API: pages, watches, lost connections, logins.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::discovery::TroubleState;
use crate::discovery::test_driver::{DrivenSource, WITHIN};
use crate::discovery::test_server::{TestReply, TestRequest, TestServer};
use crate::model::SourceTls;

/// Each target with what is stated of it, and the revision of its key; `None` before the first list.
type StatedRows = Option<Vec<(String, Statement, u64)>>;

fn source(urls: &[&str]) -> EtcdSource {
    EtcdSource {
        endpoints: urls.iter().map(|url| (*url).to_owned()).collect(),
        prefix: Some("/web/".to_owned()),
        overrides: None,
        user: None,
        password_file: None,
        tls: SourceTls::default(),
    }
}

fn drive(source: EtcdSource, max: usize) -> DrivenSource {
    DrivenSource::start(max, |sender, stop| run(source, Mappings::default(), max, sender, stop))
}

fn names(update: &Update) -> Vec<String> {
    let mut names: Vec<String> = match update {
        Update::Whole(list) => list.instances().iter().map(|of| of.name.clone()).collect(),
        Update::Changes(changes) => {
            changes.by_key.iter().map(|(key, now)| format!("{}{key}", if now.is_some() { '+' } else { '-' })).collect()
        }
        Update::Away(trouble) => panic!("{}", trouble.problem),
        Update::Back => vec!["back".to_owned()],
    };
    names.sort_unstable();
    names
}

fn header(revision: u64) -> String {
    format!(r#""header":{{"cluster_id":"7","revision":"{revision}"}}"#)
}

fn kv(key: &str, value: &str, revision: u64) -> String {
    let (key, value) = (BASE64.encode(key.as_bytes()), BASE64.encode(value.as_bytes()));
    format!(r#"{{"key":"{key}","value":"{value}","mod_revision":"{revision}"}}"#)
}

fn range(revision: u64, kvs: &[String], more: bool, count: usize) -> TestReply {
    let kvs = kvs.join(",");
    TestReply::ok(&format!(r#"{{{},"kvs":[{kvs}],"more":{more},"count":"{count}"}}"#, header(revision)))
}

fn error(status: u16, code: i64, text: &str) -> TestReply {
    TestReply::Whole(status, Vec::new(), format!(r#"{{"error":"{text}","code":{code},"message":"{text}"}}"#))
}

fn created(revision: u64) -> String {
    format!(r#"{{"result":{{{},"created":true}}}}{}"#, header(revision), "\n")
}

fn put(key: &str, value: &str, revision: u64) -> String {
    format!(r#"{{"result":{{{},"events":[{{"kv":{}}}]}}}}{}"#, header(revision), kv(key, value, revision), "\n")
}

fn delete(key: &str, revision: u64) -> String {
    let kv = kv(key, "", revision);
    format!(r#"{{"result":{{{},"events":[{{"type":"DELETE","kv":{kv}}}]}}}}{}"#, header(revision), "\n")
}

/// Whether a request for keys is a comparison.
fn is_comparison(request: &TestRequest) -> bool {
    request.body.contains("keys_only")
}

/// The reply to a comparison that says nothing: one of a revision before everything.
fn no_comparison() -> TestReply {
    range(0, &[], false, 0)
}

/// The open watches of a server: each sender is one connection.
#[derive(Clone, Default)]
struct Watches(Arc<Mutex<Vec<UnboundedSender<String>>>>);

impl Watches {
    /// A new watch, which begins with this message.
    fn open(&self, first: String) -> TestReply {
        let (sender, parts) = unbounded_channel();
        sender.send(first).unwrap();
        self.0.lock().unwrap().push(sender);
        TestReply::Parts(parts)
    }

    /// Sends a message to the last watch, which the driver may still be about to open.
    async fn send(&self, number: usize, message: String) {
        tokio::time::timeout(WITHIN, async {
            while self.0.lock().unwrap().len() < number {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("a watch");
        self.0.lock().unwrap()[number - 1].send(message).unwrap();
    }

    /// Ends all connections.
    fn cut(&self) {
        let count = self.0.lock().unwrap().len();
        let mut closed: Vec<_> = (0..count).map(|_| unbounded_channel().0).collect();
        std::mem::swap(&mut *self.0.lock().unwrap(), &mut closed);
    }
}

#[tokio::test]
async fn keys_are_listed_by_pages_of_one_revision_and_watched_from_it_also_on_the_next_connection() {
    let watches = Watches::default();
    let open = watches.clone();
    let server = TestServer::start(move |request| match &*request.path {
        "/v3/watch" => open.open(created(99)),
        _ if is_comparison(request) => no_comparison(),
        _ if request.body.contains("revision") => range(99, &[kv("/web/b", "10.0.0.2:80", 4)], false, 2),
        _ => range(10, &[kv("/web/a", "10.0.0.1:80", 3)], true, 2),
    })
    .await;
    let mut driven = drive(source(&[&server.url]), 10);
    assert_eq!(names(&driven.next().await), ["a", "b"]);
    watches.send(1, put("/web/c", "10.0.0.3:80", 12)).await;
    assert_eq!(names(&driven.next().await), ["+c"]);
    watches.cut();
    watches.send(2, delete("/web/a", 13)).await;
    loop {
        match driven.next().await {
            Update::Away(_) | Update::Back => {}
            update => break assert_eq!(names(&update), ["-a"]),
        }
    }
    let bodies = |path: &str| -> Vec<String> {
        server.requests().iter().filter(|of| of.path == path && !is_comparison(of)).map(|of| of.body.clone()).collect()
    };
    assert!(bodies("/v3/kv/range")[1].contains(r#""revision":"10""#), "{:?}", bodies("/v3/kv/range"));
    assert_eq!(bodies("/v3/kv/range").len(), 2, "a lost connection costs no list");
    let from: Vec<bool> = ["11", "13"]
        .iter()
        .zip(bodies("/v3/watch"))
        .map(|(from, body)| body.contains(&format!(r#""start_revision":"{from}""#)))
        .collect();
    assert_eq!(from, [true, true], "{:?}", bodies("/v3/watch"));
    driven.end().await;
}

#[tokio::test]
async fn a_compacted_watch_and_a_compacted_page_begin_a_new_list() {
    let (lists, opened) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let (counted, watches) = (lists.clone(), Watches::default());
    let server = TestServer::start(move |request| match &*request.path {
        "/v3/watch" if opened.fetch_add(1, Ordering::SeqCst) == 0 => {
            let canceled = r#"{"result":{"header":{"cluster_id":"7"},"canceled":true,"compact_revision":"50"}}"#;
            watches.open(format!("{}{canceled}\n", created(60)))
        }
        "/v3/watch" => watches.open(created(61)),
        _ if is_comparison(request) => no_comparison(),
        _ if request.body.contains("revision") => {
            error(400, 11, "etcdserver: mvcc: required revision has been compacted")
        }
        _ => match counted.fetch_add(1, Ordering::SeqCst) {
            0 => range(10, &[kv("/web/a", "10.0.0.1:80", 3)], true, 2),
            1 => range(20, &[kv("/web/a", "10.0.0.1:80", 3)], false, 1),
            _ => range(60, &[kv("/web/b", "10.0.0.1:80", 55)], false, 1),
        },
    })
    .await;
    let mut driven = drive(source(&[&server.url]), 10);
    while names(&driven.next().await) != ["b"] {}
    assert_eq!(lists.load(Ordering::SeqCst), 3);
    driven.end().await;
}

#[tokio::test]
async fn another_server_is_used_at_once_when_one_fails_and_only_all_of_them_are_trouble() {
    let is_up = Arc::new(AtomicBool::new(true));
    let (up, watches) = (is_up.clone(), Watches::default());
    let open = watches.clone();
    let good = TestServer::start(move |request| match (up.load(Ordering::SeqCst), &*request.path) {
        (false, _) => error(503, 14, "etcdserver: no leader"),
        (true, "/v3/watch") => open.open(created(99)),
        (true, _) if is_comparison(request) => no_comparison(),
        (true, _) => range(10, &[kv("/web/a", "10.0.0.1:80", 3)], false, 1),
    })
    .await;
    let bad = TestServer::start(|_| TestReply::Close).await;
    let mut driven = drive(source(&[&bad.url, &good.url]), 10);
    assert_eq!(names(&driven.next().await), ["a"], "the first server that fails is no trouble");
    is_up.store(false, Ordering::SeqCst);
    watches.cut();
    let trouble = driven.trouble().await;
    assert_eq!(trouble.state, TroubleState::Away);
    is_up.store(true, Ordering::SeqCst);
    while driven.next().await != Update::Back {}
    driven.end().await;
}

#[tokio::test]
async fn what_etcd_refuses_is_a_problem_that_says_what_to_do() {
    for (status, code, text, state, expected) in [
        (403, 7, "etcdserver: permission denied", TroubleState::Bad, "a role that may read these keys"),
        (400, 3, "etcdserver: user name is empty", TroubleState::Bad, "set `user` and `password_file`"),
        (503, 14, "etcdserver: no leader", TroubleState::Away, "no leader"),
        (503, 2, "etcdserver: request timed out", TroubleState::Away, "most of the etcd servers run"),
        (404, 0, "", TroubleState::Bad, "etcd 3.4 or newer"),
        (500, 0, "", TroubleState::Bad, "500"),
    ] {
        let server = TestServer::start(move |_| error(status, code, text)).await;
        let mut driven = drive(source(&[&server.url]), 10);
        let trouble = driven.trouble().await;
        assert!(trouble.state == state && trouble.problem.contains(expected), "{trouble:?}");
        driven.end().await;
    }
    let server = TestServer::start(|_| TestReply::ok("<html>")).await;
    let mut driven = drive(source(&[&server.url]), 10);
    let trouble = driven.trouble().await;
    assert!(trouble.problem.contains("check the URL in `endpoints`"), "{trouble:?}");
    driven.end().await;
}

#[tokio::test]
async fn a_user_logs_in_and_again_when_the_login_counts_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "s3cret\n").unwrap();
    let (logins, watches) = (Arc::new(AtomicUsize::new(0)), Watches::default());
    let count = logins.clone();
    let server = TestServer::start(move |request| match &*request.path {
        "/v3/auth/authenticate" if !request.body.contains("s3cret") => {
            error(400, 3, "etcdserver: authentication failed, invalid user ID or password")
        }
        "/v3/auth/authenticate" => {
            TestReply::ok(&format!(r#"{{"token":"t{}"}}"#, count.fetch_add(1, Ordering::SeqCst)))
        }
        _ if request.headers["authorization"] == "t0" => error(401, 16, "etcdserver: invalid auth token"),
        "/v3/watch" => watches.open(created(10)),
        _ => range(10, &[kv("/web/a", "10.0.0.1:80", 3)], false, 1),
    })
    .await;
    let user = |file| EtcdSource { user: Some("portolan".into()), password_file: Some(file), ..source(&[&server.url]) };
    let mut driven = drive(user(password.clone()), 10);
    assert_eq!(names(&driven.next().await), ["a"]);
    assert!(logins.load(Ordering::SeqCst) >= 2);
    driven.end().await;
    std::fs::write(&password, "wrong").unwrap();
    let mut driven = drive(user(password), 10);
    let trouble = driven.trouble().await.problem;
    assert!(trouble.contains("login of user `portolan`") && !trouble.contains("wrong"), "{trouble}");
    driven.end().await;
}

#[tokio::test]
async fn too_many_keys_are_counted_and_wrong_values_are_named() {
    let watches = Watches::default();
    let open = watches.clone();
    let server = TestServer::start(move |request| match &*request.path {
        "/v3/watch" => open.open(created(99)),
        _ if is_comparison(request) => no_comparison(),
        _ => range(10, &[kv("/web/a", "10.0.0.1:80", 3), kv("/web/b", "?", 4), kv("/web/", "", 5)], false, 3),
    })
    .await;
    let mut driven = drive(source(&[&server.url]), 2);
    let Update::Whole(list) = driven.next().await else { panic!("no list") };
    assert_eq!((list.total(), list.instances().len()), (3, 0), "only the count is used");
    driven.end().await;
    let mut driven = drive(source(&[&server.url]), 3);
    let Update::Whole(list) = driven.next().await else { panic!("no list") };
    assert_eq!((list.total(), list.refusals.total()), (1, 1));
    watches.send(1, put("/web/a", "nonsense", 11)).await;
    let Update::Changes(changes) = driven.next().await else { panic!("no change") };
    assert_eq!((changes.by_key.get("a"), changes.refusals.total()), (Some(&None), 2), "the other one is refused still");
    driven.end().await;
}

#[tokio::test]
async fn statements_follow_the_keys_and_stay_while_etcd_is_away() {
    let (is_up, watches) = (Arc::new(AtomicBool::new(true)), Watches::default());
    let (up, open) = (is_up.clone(), watches.clone());
    let server = TestServer::start(move |request| match (up.load(Ordering::SeqCst), &*request.path) {
        (false, _) => TestReply::Close,
        (true, "/v3/watch") => open.open(created(99)),
        (true, _) if is_comparison(request) => no_comparison(),
        (true, _) => range(10, &[kv("/services/primary/status", "unhealthy", 3)], false, 1),
    })
    .await;
    let source = EtcdSource { overrides: Some("/services/{target}/status".into()), ..source(&[&server.url]) };
    let (sender, mut stated) = watch::channel(StatedOverrides::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(run_overrides(source, sender, stop.clone()));
    let shown = |stated: &StatedOverrides| {
        let of = |(target, of): (&String, &TargetStatement)| (target.clone(), of.statement, of.revision);
        let by_target = stated.statements.as_ref().map(|all| all.by_target.iter().map(of).collect::<Vec<_>>());
        (by_target, stated.trouble.is_some())
    };
    let primary = |statement, revision| Some(vec![("primary".to_owned(), statement, revision)]);
    let mut wait = async |expected: (StatedRows, bool)| {
        tokio::time::timeout(WITHIN, stated.wait_for(|now| shown(now) == expected)).await.expect("stated").unwrap();
    };
    wait((primary(Statement::Down, 3), false)).await;
    watches.send(1, put("/services/primary/status", "drain", 11)).await;
    wait((primary(Statement::Drain, 11), false)).await;
    is_up.store(false, Ordering::SeqCst);
    watches.cut();
    wait((primary(Statement::Drain, 11), true)).await;
    is_up.store(true, Ordering::SeqCst);
    watches.send(2, delete("/services/primary/status", 12)).await;
    wait((Some(Vec::new()), false)).await;
    stop.cancel();
    task.await.unwrap();
}
