//! The driver against a server that replays lists and watches as the Kubernetes API sends them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::book::ApiObject;
use super::*;
use crate::discovery::test_driver::DrivenSource;
use crate::discovery::test_server::{TestReply, TestRequest, TestServer};
use crate::discovery::{Instance, StatedHealth, TroubleState};
use crate::model::{KubernetesAccess, Mapping, SourceTls};

fn endpoint(pod: &str, address: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod},
           "nodeName": "n1", "zone": "eu-west-1a"})
}

fn slice(name: &str, family: &str, endpoints: &[Value]) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7"},
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": "metrics", "port": 9090}, {"name": "http", "port": 8080}],
    })
}

fn list(version: &str, next: &str, slices: &[Value]) -> TestReply {
    let metadata = json!({"resourceVersion": version, "continue": next});
    TestReply::ok(&json!({"kind": "EndpointSliceList", "metadata": metadata, "items": slices}).to_string())
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn bookmark(version: &str) -> String {
    event("BOOKMARK", &json!({"metadata": {"resourceVersion": version}}))
}

fn source(url: &str) -> KubernetesSource {
    KubernetesSource {
        access: KubernetesAccess::Address { address: url.to_owned(), token_file: None, tls: SourceTls::default() },
        namespace: Some("shop".to_owned()),
        resource: KubernetesResource::EndpointSlices,
        selected: Some("web".to_owned()),
        port_name: Some("http".to_owned()),
        zones: BTreeMap::from([("eu-west-1a".to_owned(), "eu-west".to_owned())]),
    }
}

fn drive(url: &str) -> DrivenSource {
    DrivenSource::start(10, |sender, stop| run(source(url), Mappings::default(), 10, sender, stop))
}

/// The names of the next whole list.
async fn names(driven: &mut DrivenSource) -> Vec<String> {
    driven.list().await.0
}

/// The value of an option in the path of a request.
fn option(request: &TestRequest, name: &str) -> Option<String> {
    let query = request.path.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn instances(slices: &[Value], port: Option<&str>, mappings: &Mappings) -> (Vec<Instance>, Option<String>) {
    let mut book = ObjectBook::default();
    let read = |slice| ApiObject::read(KubernetesResource::EndpointSlices, slice).unwrap();
    slices.iter().for_each(|slice| book.set(read(slice)).unwrap());
    let source = KubernetesSource { port_name: port.map(str::to_owned), ..source("") };
    let list = book.list(&source, mappings, 10);
    (list.instances().to_vec(), list.refusals.shown())
}

#[test]
fn slices_are_merged_by_pod_and_family() {
    let ready = json!({"ready": true});
    let (found, refused) = instances(
        &[
            slice(
                "web-4-a",
                "IPv4",
                &[endpoint("p1", "192.0.2.1", ready.clone()), endpoint("p2", "192.0.2.2", json!({}))],
            ),
            slice("web-4-b", "IPv4", &[endpoint("p2", "192.0.2.2", json!({"ready": false}))]),
            slice("web-6", "IPv6", &[endpoint("p1", "2001:db8::1", ready)]),
            slice("web-fqdn", "FQDN", &[endpoint("p3", "web.example", json!({}))]),
        ],
        Some("http"),
        &Mappings { country: Mapping::Field("node".to_owned()), ..Mappings::default() },
    );
    let rows: Vec<_> = found.iter().map(|of| (of.name.as_str(), of.addresses.join(" "), of.port, of.health)).collect();
    assert_eq!(
        rows,
        [
            ("p1", "192.0.2.1 2001:db8::1".to_owned(), Some(8080), StatedHealth::Up),
            ("p2", "192.0.2.2".to_owned(), Some(8080), StatedHealth::Up),
            ("p3", "web.example".to_owned(), Some(8080), StatedHealth::Up),
        ]
    );
    assert!(found.iter().all(|of| of.region.as_deref() == Some("eu-west") && of.country.as_deref() == Some("n1")));
    assert_eq!(refused, None);
}

#[test]
fn conditions_say_who_gets_new_clients() {
    for (conditions, why) in [
        (json!({}), None),
        (json!(null), None),
        (json!({"ready": null}), None),
        (json!({"ready": true, "serving": true, "terminating": false}), None),
        (json!({"ready": false}), Some("not ready")),
        (json!({"ready": false, "serving": true, "terminating": true}), Some("terminating, still serving")),
        (json!({"ready": false, "serving": false, "terminating": true}), Some("terminating")),
        // A Service with publishNotReadyAddresses.
        (json!({"ready": true, "serving": false, "terminating": false}), None),
    ] {
        let slices = [slice("web-1", "IPv4", &[endpoint("p1", "192.0.2.1", conditions.clone())])];
        let (found, _) = instances(&slices, None, &Mappings::default());
        assert_eq!(found[0].why.as_deref(), why, "{conditions}");
        assert_eq!(found[0].health == StatedHealth::Down, why.is_some(), "{conditions}");
        assert_eq!(found[0].port, Some(9090), "the first port");
    }
}

#[test]
fn a_port_that_is_not_there_and_lists_that_are_null_are_no_crash() {
    let (found, refused) = instances(
        &[slice("web-1", "IPv4", &[endpoint("p1", "192.0.2.1", json!({}))])],
        Some("https"),
        &Mappings::default(),
    );
    assert!(found.is_empty());
    assert_eq!(refused.unwrap(), "`web-1`: it has no port `https`; it has metrics, http");
    let empty = json!({"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": null, "ports": null});
    assert_eq!(instances(&[empty], Some("http"), &Mappings::default()), (Vec::new(), None));
    let plain =
        json!({"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}]});
    let (found, _) = instances(&[plain], None, &Mappings::default());
    assert_eq!((found[0].name.as_str(), found[0].port), ("192.0.2.1", None));
}

#[tokio::test]
async fn pages_are_listed_and_then_changes_are_watched() {
    let (sender, parts) = mpsc::unbounded_channel();
    let parts = Mutex::new(Some(parts));
    let server = TestServer::start(move |request| match (option(request, "watch"), option(request, "continue")) {
        (Some(_), _) => match parts.lock().unwrap().take() {
            Some(parts) => TestReply::Parts(parts),
            None => TestReply::Silence,
        },
        (None, None) => list("100", "next/1", &[slice("a", "IPv4", &[endpoint("p1", "192.0.2.1", json!({}))])]),
        (None, Some(_)) => list("100", "", &[slice("b", "IPv4", &[endpoint("p2", "192.0.2.2", json!({}))])]),
    })
    .await;
    let mut driven = drive(&server.url);
    assert_eq!(names(&mut driven).await, ["p1", "p2"]);
    let more = slice("b", "IPv4", &[endpoint("p3", "192.0.2.3", json!({}))]);
    let text = event("MODIFIED", &more);
    let (first, second) = text.split_at(text.len() / 2);
    sender.send(first.to_owned()).unwrap();
    sender.send(second.to_owned()).unwrap();
    assert_eq!(names(&mut driven).await, ["p1", "p3"]);
    sender.send(event("DELETED", &more)).unwrap();
    assert_eq!(names(&mut driven).await, ["p1"]);
    let requests = server.requests();
    assert_eq!(option(&requests[1], "continue").as_deref(), Some("next%2F1"));
    assert!(requests[0].path.starts_with(
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb&"
    ));
    assert_eq!(option(&requests[2], "resourceVersion").as_deref(), Some("100"));
    driven.end().await;
}

#[tokio::test]
async fn a_watch_goes_on_after_the_last_bookmark_and_410_lists_again() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (watched, lists) = (seen.clone(), Mutex::new(0));
    let server = TestServer::start(move |request| {
        let Some(version) = option(request, "resourceVersion") else {
            let mut lists = lists.lock().unwrap();
            *lists += 1;
            let pod = format!("p{lists}");
            return list("100", "", &[slice("a", "IPv4", &[endpoint(&pod, "192.0.2.1", json!({}))])]);
        };
        let mut watched = watched.lock().unwrap();
        watched.push(version);
        match watched.len() {
            1 => TestReply::ok(&bookmark("150")),
            2 => TestReply::ok(&event("ERROR", &json!({"kind": "Status", "code": 410, "message": "too old"}))),
            3 => TestReply::Whole(410, Vec::new(), "{}".to_owned()),
            _ => TestReply::Silence,
        }
    })
    .await;
    let mut driven = drive(&server.url);
    assert_eq!(names(&mut driven).await, ["p1"]);
    assert_eq!(names(&mut driven).await, ["p2"]);
    assert_eq!(names(&mut driven).await, ["p3"]);
    assert_eq!(seen.lock().unwrap()[..3], ["100", "150", "100"]);
    driven.end().await;
}

#[tokio::test]
async fn what_came_before_an_event_that_ends_a_watch_counts() {
    let (one, two) = (slice("a", "IPv4", &[endpoint("p1", "192.0.2.1", json!({}))]), slice("b", "IPv4", &[]));
    let watches = Mutex::new(0);
    let first = one.clone();
    let server = TestServer::start(move |request| {
        if option(request, "watch").is_none() {
            return list("100", "", &[first.clone(), two.clone()]);
        }
        let mut watches = watches.lock().unwrap();
        *watches += 1;
        let failure = event("ERROR", &json!({"kind": "Status", "code": 500, "message": "no leader"}));
        match *watches {
            1 => TestReply::ok(&(event("DELETED", &first) + &failure)),
            _ => TestReply::Silence,
        }
    })
    .await;
    let mut driven = drive(&server.url);
    assert_eq!(names(&mut driven).await, ["p1"]);
    assert_eq!(names(&mut driven).await, [""; 0]);
    assert!(driven.trouble().await.problem.contains("no leader"));
    driven.end().await;
}

#[tokio::test]
async fn an_event_that_can_not_be_used_leads_to_a_new_list() {
    let lists = Mutex::new(0);
    let server = TestServer::start(move |request| {
        if option(request, "watch").is_some() {
            return TestReply::ok(&event("EXCHANGED", &slice("a", "IPv4", &[])));
        }
        let mut lists = lists.lock().unwrap();
        *lists += 1;
        let pod = format!("p{lists}");
        list("100", "", &[slice("a", "IPv4", &[endpoint(&pod, "192.0.2.1", json!({}))])])
    })
    .await;
    let mut driven = drive(&server.url);
    assert_eq!(names(&mut driven).await, ["p1"]);
    assert!(driven.trouble().await.problem.contains("EXCHANGED"));
    assert_eq!(names(&mut driven).await, ["p2"]);
    driven.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_each_watch_is_reported() {
    let server = TestServer::start(|request| match option(request, "watch") {
        None => list("100", "", &[slice("a", "IPv4", &[endpoint("p1", "192.0.2.1", json!({}))])]),
        Some(_) => TestReply::ok(&event("ERROR", &json!({"kind": "Status", "code": 410, "message": "too old"}))),
    })
    .await;
    let mut driven = drive(&server.url);
    assert_eq!(names(&mut driven).await, ["p1"]);
    let trouble = driven.trouble().await;
    assert!(trouble.problem.contains("each watch is refused with 410"), "{}", trouble.problem);
    let lists = server.requests().iter().filter(|request| option(request, "watch").is_none()).count();
    assert_eq!(lists, 3, "one for each watch, and the backoff of the fourth has not ended");
    driven.end().await;
}

#[tokio::test]
async fn a_list_without_end_is_refused_before_it_takes_much_memory() {
    let many = Mutex::new(0);
    let server = TestServer::start(move |_| {
        let mut page = many.lock().unwrap();
        *page += 1;
        let long = "x".repeat(1 << 20);
        list("100", "more", &[slice(&format!("web-{page}-{long}"), "IPv4", &[])])
    })
    .await;
    let mut driven = drive(&server.url);
    let trouble = driven.trouble().await;
    assert!(trouble.problem.contains("take over 32 MiB of memory"), "{}", trouble.problem);
    assert!(server.requests().len() < 20, "{} pages were read", server.requests().len());
    driven.end().await;
}

#[test]
fn many_short_values_are_refused_before_they_take_memory() {
    let page = format!(
        r#"{{"kind":"EndpointSliceList","metadata":{{"resourceVersion":"1"}},"x":[{}0]}}"#,
        "{},".repeat(300_000)
    );
    assert!(
        ObjectPage::parse(page.as_bytes(), KubernetesResource::EndpointSlices, "`address`")
            .unwrap_err()
            .contains("over 500000 values")
    );
    let news = format!(r#"{{"type":"ADDED","object":[{}0]}}"#, "0,".repeat(25_001));
    assert!(watch_news(news.as_bytes(), KubernetesResource::EndpointSlices).unwrap_err().contains("over 25000 values"));
}

#[test]
fn a_pod_that_was_made_anew_has_its_new_address() {
    let gone = endpoint("db-0", "192.0.2.1", json!({"ready": false, "terminating": true}));
    let new = endpoint("db-0", "192.0.2.2", json!({"ready": true}));
    for slices in [[&gone, &new], [&new, &gone]] {
        let slices = [slice("a", "IPv4", &[slices[0].clone()]), slice("b", "IPv4", &[slices[1].clone()])];
        let (found, refused) = instances(&slices, None, &Mappings::default());
        assert_eq!(
            (found[0].addresses.join(" "), found[0].health, refused),
            ("192.0.2.2".to_owned(), StatedHealth::Up, None)
        );
    }
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    fn status(code: u16, message: &str) -> TestReply {
        let text = json!({"kind": "Status", "code": code, "message": message}).to_string();
        TestReply::Whole(code, Vec::new(), text)
    }
    type RefusalCase = (fn() -> TestReply, TroubleState, &'static str);
    let cases: [RefusalCase; 6] = [
        (|| status(401, "Unauthorized"), TroubleState::Bad, "check token_file"),
        (|| status(403, "x"), TroubleState::Bad, "give the account get, list and watch of endpointslices"),
        (|| status(404, "x"), TroubleState::Bad, "there is no API discovery.k8s.io/v1"),
        (|| status(503, "x"), TroubleState::Away, "the API replies 503 Service Unavailable: x"),
        (|| TestReply::ok("{}"), TroubleState::Bad, "not a list of endpointslices"),
        (|| TestReply::Close, TroubleState::Away, "127.0.0.1"),
    ];
    for (reply, state, why) in cases {
        let server = TestServer::start(move |_| reply()).await;
        let mut driven = drive(&server.url);
        let trouble = driven.trouble().await;
        assert!(trouble.state == state && trouble.problem.contains(why), "{trouble:?}\nexpected {why}");
        driven.end().await;
    }
}

#[tokio::test]
async fn a_watch_that_never_ends_is_a_dead_connection() {
    let server = TestServer::start(|request| match option(request, "watch") {
        None => list("100", "", &[]),
        Some(_) => {
            let (sender, parts) = mpsc::unbounded_channel();
            // Never dropped: the connection stays open.
            std::mem::forget(sender);
            TestReply::Parts(parts)
        }
    })
    .await;
    let mut driven = drive(&server.url);
    assert_eq!(names(&mut driven).await, [""; 0]);
    while server.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    // Nothing but time passes from here on.
    tokio::time::pause();
    let trouble = driven.trouble().await;
    assert!(trouble.problem.contains("a watch of 12 s has not ended"), "{}", trouble.problem);
    driven.end().await;
}

/// A kubeconfig for this server.
fn kubeconfig(url: &str, token: &str, namespace: &str) -> String {
    json!({
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
    })
    .to_string()
}

#[tokio::test]
async fn a_kubeconfig_is_read_again_and_may_name_another_cluster() {
    let serve = |pod: &'static str| {
        TestServer::start(move |request| match option(request, "watch") {
            Some(_) => TestReply::ok(&bookmark("8")),
            None => list("7", "", &[slice("s", "IPv4", &[endpoint(pod, "192.0.2.1", json!({}))])]),
        })
    };
    let (first, second) = (serve("a").await, serve("b").await);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    // Never half of it: the driver may read at any moment.
    let write = |text: &str| {
        std::fs::write(dir.path().join("next"), text).unwrap();
        std::fs::rename(dir.path().join("next"), &file).unwrap();
    };
    write(&kubeconfig(&first.url, "one", "shop"));
    let access = KubernetesAccess::Kubeconfig { file: file.clone(), context: None };
    let of = KubernetesSource { access, namespace: None, ..source("") };
    let mut driven = DrivenSource::start(10, |sender, stop| run(of, Mappings::default(), 10, sender, stop));
    assert_eq!(names(&mut driven).await, ["a"]);
    write("kind: Pod\n");
    let trouble = driven.trouble().await;
    assert!(trouble.problem.contains("kubeconfig:1:7: its kind is Pod"), "{trouble:?}");
    write(&kubeconfig(&second.url, "two", "other"));
    let list = loop {
        if let Update::Whole(list) = driven.next().await {
            break list;
        }
    };
    assert_eq!(list.instances()[0].name, "b");
    driven.end().await;
    for (server, token, namespace) in [(first, "Bearer one", "/shop/"), (second, "Bearer two", "/other/")] {
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.headers["authorization"] == token), "{requests:?}");
        assert!(requests.iter().all(|request| request.path.contains(namespace)), "{requests:?}");
    }
}
