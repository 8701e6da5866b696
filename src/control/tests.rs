//! Tests of the API over real connections, on a port that the system chooses.

mod safe;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::control::test_world::{self, TestWorld, world};
use crate::control::{JournalEvent, Readiness, ReloadStatus, router, serve};

struct Served {
    world: TestWorld,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn served() -> Served {
    let world = world();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router(world.state.clone()), stop.clone()));
    Served { world, address, stop, task }
}

impl Served {
    /// Head and body of the answer to `METHOD PATH`.
    async fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    async fn json(&self, request: &str) -> Value {
        serde_json::from_str(&self.ask(request).await.1).unwrap()
    }
}

/// The keys of an object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn status_has_the_keys_of_the_api_and_nothing_else() {
    let served = served().await;
    let status = served.json("GET /v1/status").await;
    assert_eq!(keys(&status), ["generation", "regions", "reload", "server", "sources", "vantages", "zones"]);
    assert_eq!(status["generation"], 2);
    assert_eq!(status["reload"], json!({"ok": true, "at": 1600.25, "problems": []}));
    assert_eq!(status["vantages"], json!([{"name": "ns1", "region": "eu-west", "state": "up"}]));
    let zone = &status["zones"][0];
    assert_eq!(keys(zone), ["endpoints", "files", "names", "zone"]);
    assert_eq!(zone["files"], json!({"state": "current", "since": null}));
    assert_eq!((&zone["zone"], &zone["names"]), (&json!("svc.example."), &json!(["www"])));
    let fra1 = &zone["endpoints"][0];
    assert_eq!(keys(fra1), ["health", "name", "override", "region", "verdicts"]);
    assert_eq!((&fra1["name"], &fra1["region"], &fra1["override"]), (&json!("fra1"), &json!("eu-west"), &Value::Null));
    assert_eq!(keys(&fra1["verdicts"][0]), ["address", "age_ms", "health", "region", "rtt_ms", "vantage"]);
}

#[tokio::test]
async fn an_endpoint_is_up_while_any_address_is_and_each_is_judged_by_itself() {
    let served = served().await;
    let status = served.json("GET /v1/status").await;
    let endpoints = &status["zones"][0]["endpoints"];
    let healths: Vec<&Value> = (0..3).map(|at| &endpoints[at]["health"]).collect();
    assert_eq!(healths, ["up", "down", "up"]);
    let fra1 = &endpoints[0]["verdicts"];
    assert_eq!(
        (&fra1[0]["address"], &fra1[0]["health"], &fra1[0]["rtt_ms"]),
        (&json!("192.0.2.10"), &json!("up"), &json!(1.25))
    );
    assert_eq!(
        (&fra1[1]["address"], &fra1[1]["health"], &fra1[1]["rtt_ms"]),
        (&json!("2001:db8:1::10"), &json!("down"), &Value::Null)
    );
    assert_eq!(endpoints[1]["verdicts"][0]["address"], "198.51.100.7", "a cname is judged where it is probed");
    assert_eq!((&endpoints[2]["verdicts"], &endpoints[2]["region"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_refused_reload_shows_in_status_with_its_problems() {
    let served = served().await;
    let problems = crate::config::load(Some("does/not/exist.toml".as_ref()), &Default::default()).unwrap_err();
    served
        .world
        .reload
        .store(ReloadStatus { ok: false, at: 1700.0, generation: 2, problems, ..ReloadStatus::default() }.into());
    let reload = served.json("GET /v1/status").await["reload"].clone();
    assert_eq!((&reload["ok"], &reload["at"]), (&json!(false), &json!(1700.0)));
    assert_eq!(
        keys(&reload["problems"][0]),
        ["column", "file", "hint", "labels", "line", "message", "section", "severity"]
    );
}

#[tokio::test]
async fn ready_only_while_queries_are_answered() {
    let served = served().await;
    for (readiness, expected) in
        [(Readiness::Starting, "503"), (Readiness::Serving, "200"), (Readiness::Stopping, "503")]
    {
        served.world.readiness.send_replace(readiness);
        let (head, body) = served.ask("GET /readyz").await;
        assert!(head.starts_with(&format!("http/1.1 {expected}")), "{readiness:?}: {head}");
        assert_eq!(body.lines().count(), 1, "{body}");
        assert!(served.ask("GET /healthz").await.0.starts_with("http/1.1 200"), "{readiness:?}");
    }
}

#[tokio::test]
async fn errors_are_problem_json() {
    let served = served().await;
    for (request, status) in [
        ("GET /nothing", 404),
        ("PUT /v1/heartbeat/fra1", 403),
        ("GET /v1/explain", 400),
        ("GET /v1/explain?name=a..b", 400),
        ("GET /v1/explain?name=www.svc.example&client=here", 400),
        ("GET /v1/explain?name=www.svc.example&client=192.0.2.1&region=eu-west", 400),
        ("GET /v1/explain?name=www.svc.example&colour=red", 400),
        ("GET /v1/explain?name=elsewhere.example", 404),
        ("POST /v1/status", 405),
        ("DELETE /", 405),
    ] {
        let (head, body) = served.ask(request).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{request}: {head}");
        assert_eq!(head.contains("allow: get,head"), status == 405, "{request}: {head}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((keys(&problem), &problem["status"]), (vec!["detail", "status", "title"], &json!(status)));
    }
}

#[tokio::test]
async fn explain_has_the_keys_of_the_api_for_each_way_to_ask() {
    let served = served().await;
    for query in [
        "name=www.svc.example",
        "name=www.svc.example.&type=&client=",
        "name=WWW.svc.example&type=aaaa&client=192.0.2.1",
    ] {
        let explanation = served.json(&format!("GET /v1/explain?{query}")).await;
        for key in ["name", "type", "client", "class", "scope", "ttl", "stages", "answers"] {
            assert!(explanation.get(key).is_some(), "{query}: {key} is not in {explanation}");
        }
        assert_eq!(explanation["name"], "www.svc.example.", "{query}");
        assert_eq!(explanation["stages"][0]["stage"], "candidates", "{query}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text_as_the_daemon_renders_it() {
    let (head, body) = served().await.ask("GET /metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(body, "portolan_generation 2\n");
}

#[tokio::test]
async fn the_page_shows_each_region_without_javascript() {
    let served = served().await;
    let (head, body) = served.ask("GET /").await;
    assert!(head.contains("content-type: text/html") && head.contains("default-src 'none'; script-src"), "{head}");
    for expected in [
        "data-region=\"eu-west\" data-health=\"up\"",
        "data-region=\"us-east\" data-health=\"down\"",
        "192.0.2.10 up, 1.2 ms",
        "name=\"name\"",
        "name=\"type\"",
        "name=\"client\"",
    ] {
        assert!(body.contains(expected), "{expected} is not in {body}");
    }
    let board = body.split("<noscript>").nth(1).unwrap().split("</noscript>").next().unwrap();
    assert!(board.contains("data-region"), "the board is for browsers without scripts");
    assert!(!body.contains("http://") && !body.contains("https://"), "the page loads from nowhere else");
}

#[tokio::test]
async fn a_subscriber_receives_each_transition_until_the_server_stops() {
    let served = served().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut received = String::new();
    // The opening comment is sent after the subscription.
    read_until(&mut stream, &mut received, "transitions follow").await;
    assert!(received.to_lowercase().contains("content-type: text/event-stream"), "{received}");
    served.world.journal.append(JournalEvent::from(&test_world::transition()));
    read_until(&mut stream, &mut received, "\"generation\":2}").await;
    assert!(received.contains("id: ns1/1\n"), "{received}");
    let data = received.split("data:").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(data).unwrap(),
        json!({"id": "ns1/1", "at": 1700.5, "zone": "svc.example.", "endpoint": "fra1", "from": "up", "to": "down",
               "why": "connection refused (seen by ns1)", "generation": 2})
    );
    served.world.readiness.send_replace(Readiness::Stopping);
    served.stop.cancel();
    stream.read_to_string(&mut received).await.unwrap();
    served.task.await.unwrap();
}

async fn read_until(stream: &mut TcpStream, received: &mut String, what: &str) {
    let mut buffer = [0; 4096];
    while !received.contains(what) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the stream ended before {what}: {received}");
        received.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[tokio::test]
async fn the_last_transitions_are_retained_newest_first_within_a_limit() {
    let served = served().await;
    for at in 0..70 {
        served
            .world
            .journal
            .append(JournalEvent { at: f64::from(at), ..JournalEvent::from(&test_world::transition()) });
    }
    let last = served.json("GET /v1/transitions").await;
    let times: Vec<f64> = last.as_array().unwrap().iter().map(|event| event["at"].as_f64().unwrap()).collect();
    assert_eq!(times, (6..70).rev().map(f64::from).collect::<Vec<_>>());
    assert_eq!(served.json("GET /v1/transitions").await, last, "reading does not consume them");
}
