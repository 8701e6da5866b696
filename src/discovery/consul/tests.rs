//! The driver against a server that keeps to Consul's documented API: indexes, blocking, datacenters, refusals.

use std::sync::Mutex;

use super::*;
use crate::discovery::TroubleState;
use crate::discovery::test_driver::DrivenSource;
use crate::discovery::test_server::{TestReply, TestRequest, TestServer};
use crate::model::SourceTls;

fn drive(url: &str, change: impl FnOnce(&mut ConsulSource)) -> DrivenSource {
    let mut source = ConsulSource {
        address: url.to_owned(),
        service: "web".to_owned(),
        datacenters: Vec::new(),
        tag: None,
        token_file: None,
        tls: SourceTls::default(),
    };
    change(&mut source);
    DrivenSource::start(3, |sender, stop| run(source, Mappings::default(), 3, sender, stop))
}

fn entry(id: &str) -> String {
    format!(
        r#"{{"Node":{{"Node":"n1","Address":"10.0.0.1","Datacenter":"dc1"}},
            "Service":{{"ID":"{id}","Service":"web","Address":"","Port":80}},"Checks":[]}}"#
    )
}

fn list(ids: &[&str]) -> String {
    format!("[{}]", ids.iter().map(|id| entry(id)).collect::<Vec<_>>().join(","))
}

fn indexed(index: u64, body: String) -> TestReply {
    TestReply::Whole(200, vec![("x-consul-index", index.to_string())], body)
}

/// The value of a parameter of the query.
fn parameter(request: &TestRequest, name: &str) -> Option<String> {
    let query = request.path.split_once('?')?.1;
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn each_change_is_read_by_the_index_before_it_and_an_index_that_falls_begins_anew() {
    let server = TestServer::start(|request| match parameter(request, "index").as_deref() {
        None => indexed(7, list(&["a"])),
        Some("7") => indexed(9, list(&["b", "a"])),
        // A spurious return, then the data is lost.
        Some("9") => indexed(3, list(&["a"])),
        Some(_) => TestReply::Silence,
    })
    .await;
    let mut driven = drive(&server.url, |source| source.tag = Some("x y".to_owned()));
    assert_eq!(driven.list().await, (vec!["a".to_owned()], 1));
    assert_eq!(driven.list().await, (vec!["a".to_owned(), "b".to_owned()], 2));
    assert_eq!(driven.list().await, (vec!["a".to_owned()], 1));
    let indexes: Vec<_> = server.requests().iter().map(|request| parameter(request, "index")).take(4).collect();
    assert_eq!(indexes[..3], [None, Some("7".to_owned()), Some("9".to_owned())]);
    let first = &server.requests()[0];
    assert!(first.path.starts_with("/v1/health/service/web?stale"), "{}", first.path);
    assert_eq!(parameter(first, "tag").as_deref(), Some("x y"));
    assert_eq!(server.connections(), 1);
    driven.end().await;
}

#[tokio::test]
async fn what_consul_refuses_is_a_problem_that_says_what_to_do_and_the_driver_goes_on() {
    let html = "<html>".to_owned();
    for (reply, state, expected) in [
        ((403, Vec::new(), "Permission denied".to_owned()), TroubleState::Bad, "give it service:read for `web`"),
        ((404, Vec::new(), String::new()), TroubleState::Bad, "there is no Consul API"),
        ((500, Vec::new(), "No path to datacenter".to_owned()), TroubleState::Away, "check the name in `datacenters`"),
        ((500, Vec::new(), "No cluster leader".to_owned()), TroubleState::Away, "No cluster leader"),
        ((429, Vec::new(), String::new()), TroubleState::Away, "429"),
        (
            (301, vec![("location", "https://x/".to_owned())], String::new()),
            TroubleState::Bad,
            "redirects to https://x/",
        ),
        ((200, Vec::new(), html), TroubleState::Bad, "not a list of Consul's API"),
        ((200, Vec::new(), "[{\"Node\"".to_owned()), TroubleState::Bad, "the JSON text ends in the middle"),
        (
            (200, vec![("x-consul-results-filtered-by-acls", "true".to_owned())], "[]".to_owned()),
            TroubleState::Bad,
            "the ACL token hides all instances",
        ),
    ] {
        let replies = Mutex::new(vec![reply.clone(), reply]);
        let server = TestServer::start(move |_| match replies.lock().unwrap().pop() {
            Some((status, fields, body)) => TestReply::Whole(status, fields, body),
            None => indexed(1, list(&["a"])),
        })
        .await;
        let mut driven = drive(&server.url, |_| ());
        let trouble = driven.trouble().await;
        assert!(trouble.state == state && trouble.problem.contains(expected), "{trouble:?}");
        assert!(trouble.problem.starts_with(&server.url), "{trouble:?}");
        while !matches!(driven.next().await, Update::Whole(list) if list.total() == 1) {}
        driven.end().await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_reported_and_read_again_when_it_is_back() {
    let is_away = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let away = is_away.clone();
    let server = TestServer::start(move |request| match (away.load(std::sync::atomic::Ordering::SeqCst), request) {
        (true, _) => TestReply::Close,
        (false, request) if parameter(request, "index").is_none() => indexed(4, list(&["a"])),
        (false, _) => indexed(4, list(&["a"])),
    })
    .await;
    let mut driven = drive(&server.url, |_| ());
    driven.list().await;
    is_away.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(driven.trouble().await.state, TroubleState::Away);
    is_away.store(false, std::sync::atomic::Ordering::SeqCst);
    while driven.next().await != Update::Back {}
    driven.end().await;
}

#[tokio::test]
async fn entries_over_the_limit_are_counted_and_wrong_ones_are_named() {
    let many: Vec<String> = (0..1000).map(|at| format!("i{at:04}")).collect();
    let body = list(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let server = TestServer::start(move |request| match parameter(request, "index") {
        None => indexed(2, format!("[{},{{\"Node\":7}}]", entry("a"))),
        Some(_) => indexed(3, body.clone()),
    })
    .await;
    let mut driven = drive(&server.url, |_| ());
    let Update::Whole(first) = driven.next().await else { panic!("no list") };
    assert_eq!((first.total(), first.refusals.total()), (1, 1));
    assert!(first.refusals.shown().unwrap().starts_with("`entry 2`: "), "{:?}", first.refusals);
    let (names, total) = driven.list().await;
    assert_eq!((names.len(), total), (3, 1000));
    driven.end().await;
}

#[tokio::test]
async fn each_datacenter_is_read_by_itself_with_the_token_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let server = TestServer::start(|request| match parameter(request, "index") {
        None => indexed(5, list(&[&format!("of-{}", parameter(request, "dc").unwrap())])),
        Some(_) => TestReply::Silence,
    })
    .await;
    let mut driven = drive(&server.url, |source| {
        source.datacenters = vec!["ams".to_owned(), "fra".to_owned()];
        source.token_file = Some(token);
    });
    let (mut names, _) = driven.list().await;
    names.sort_unstable();
    assert_eq!(names, ["of-ams-ams", "of-fra-fra"]);
    assert!(server.requests().iter().all(|request| request.headers["x-consul-token"] == "s3cret"));
    driven.end().await;
}
