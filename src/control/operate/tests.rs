//! Tests of the calls that change something, over real connections. A task replaces the steering task; it keeps the
//! overrides and serves nothing.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::unix_seconds;
use crate::config::Tokens;
use crate::control::command::{AppliedChange, AppliedFailback, OverrideChange, TargetChange};
use crate::control::failback::policy_of;
use crate::control::overrides::OverrideError;
use crate::control::test_world::world;
use crate::control::{ApiState, Command, Controls, ReloadStatus, router, serve};
use crate::model::Override;

const ALICE: &str = "0123456789abcdef0123456789abcdef";
const BOB: &str = "fedcba9876543210fedcba9876543210";
const BEAT: &str = "beefbeefbeefbeefbeefbeefbeefbeef";
const CAROL: &str = "cccccccccccccccccccccccccccccccc";
const DAVE: &str = "dddddddddddddddddddddddddddddddd";

struct Served {
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// alice may operate, bob may read, fra1 may send its heartbeats, carol may operate svc.example., dave other.example.
fn tokens() -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        format!("alice operate {ALICE}\nbob read {BOB}\nfra1 beat:fra1 {BEAT}"),
        format!("carol operate:svc.example {CAROL}\ndave operate:other.example {DAVE}\nweak operate short\n"),
    ];
    std::fs::write(dir.path().join("tokens"), lines.join("\n")).unwrap();
    std::fs::write(dir.path().join("portolan.toml"), "region = \"here\"\n[zones]\ndir = \".\"\n").unwrap();
    let loaded = crate::config::load(Some(&dir.path().join("portolan.toml")), &Default::default()).unwrap();
    Tokens::clone(loaded.settings.operators.tokens.as_deref().unwrap())
}

async fn served(tokens: Option<Tokens>) -> Served {
    let world = world();
    world.state.controls.access.tokens.store(tokens.map(Arc::new));
    tokio::spawn(stand_in(world.state.clone(), world.commands));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, router(world.state), stop.clone()));
    Served { address, stop }
}

/// Applies overrides as the steering task does. Every reload fails.
async fn stand_in(state: ApiState, mut commands: mpsc::Receiver<Command>) {
    let ApiState { snapshots, controls: Controls { book, .. }, .. } = state;
    while let Some(command) = commands.recv().await {
        match command {
            Command::Override(change, reply) => {
                let mut next = book.load().as_ref().clone();
                let model = &snapshots.load().model;
                let targets: Result<Vec<TargetChange>, OverrideError> = match change {
                    OverrideChange::Put { overrides, lasting, confirmed: _ } => overrides
                        .into_iter()
                        .map(|entry| Override {
                            until: lasting.map(|time| unix_seconds() + time.as_secs_f64()),
                            ..entry
                        })
                        .map(|entry| {
                            let before = next.put(entry.clone(), model)?;
                            Ok(TargetChange { target: entry.target.clone(), before, now: Some(Arc::new(entry)) })
                        })
                        .collect(),
                    OverrideChange::Clear { targets, zones, .. } => targets
                        .into_iter()
                        .map(|target| {
                            let cleared = next.clear(&target, zones.as_deref(), model)?;
                            Ok(TargetChange { before: cleared.into_iter().next(), now: None, target })
                        })
                        .collect(),
                    OverrideChange::State { .. } | OverrideChange::Followed { .. } => {
                        unreachable!("no call of the API states overrides, or follows events")
                    }
                };
                if targets.is_ok() {
                    book.store(Arc::new(next));
                }
                let (sender, saved) = oneshot::channel();
                sender.send(Err("the disk is full".to_owned())).unwrap();
                let served = || [snapshots.load_full(), snapshots.load_full()];
                let _ = reply.send(targets.map(|targets| AppliedChange {
                    targets,
                    compared: served(),
                    saved,
                    shared: None,
                }));
            }
            Command::Failback { name, zones, reply } => {
                let served = || [snapshots.load_full(), snapshots.load_full()];
                let found = policy_of(&snapshots.load().model, &name, zones.as_deref());
                let _ = reply.send(found.map(|(policy, name)| AppliedFailback {
                    policy,
                    name,
                    served: served(),
                    saved: None,
                }));
            }
            Command::Drill(order) => drop(order.reply.send(Err("there are no drills here".to_owned()))),
            Command::Reload { confirm_removal: _, reply } => {
                let problems = crate::config::load(Some("no/such.toml".as_ref()), &Default::default()).unwrap_err();
                let _ = reply.send(Arc::new(ReloadStatus {
                    ok: false,
                    at: 1700.0,
                    generation: 2,
                    problems,
                    ..ReloadStatus::default()
                }));
            }
        }
    }
}

impl Served {
    /// Head, in small letters, and body of the answer.
    async fn ask(&self, request: &str, fields: &[&str], body: &str) -> (String, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut text =
            format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        fields.iter().for_each(|field| text.push_str(&format!("{field}\r\n")));
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn status(&self, request: &str, fields: &[&str], body: &str) -> (u64, String) {
        let (head, body) = self.ask(request, fields, body).await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(status >= 400, head.contains("application/problem+json"), "{head}");
        (status, body["detail"].as_str().unwrap_or_default().to_owned())
    }
}

fn bearer(secret: &str) -> String {
    format!("authorization: Bearer {secret}")
}

const JSON: &str = "content-type: application/json";
const DRAIN: &str = r#"{"state":"drain","why":"rack move"}"#;
const PUT: &str = "PUT /v1/overrides/fra1";

#[tokio::test]
async fn only_an_operator_with_that_role_changes_something() {
    let served = served(Some(tokens())).await;
    let (alice, bob) = (bearer(ALICE), bearer(BOB));
    for (fields, status, says) in [
        (vec![JSON], 401, "PORTOLAN_TOKEN"),
        (vec![JSON, "authorization: Basic YTpi"], 401, "a token is needed"),
        (vec![JSON, "authorization: Bearer 0123"], 401, "not in the token file"),
        (vec![JSON, &bob], 403, "the token of `bob` has the role read"),
        (vec![JSON, &alice, "origin: http://evil.example"], 403, "another site"),
    ] {
        for request in [PUT, "DELETE /v1/overrides/fra1"] {
            let (found, detail) = served.status(request, &fields, DRAIN).await;
            assert_eq!(found, status, "{request} {fields:?}: {detail}");
            assert!(detail.contains(says), "{detail}");
            assert!(!detail.contains("0123"), "no part of a token is in the message: {detail}");
        }
    }
    let (head, _) = served.ask(PUT, &[JSON], DRAIN).await;
    assert!(head.contains("www-authenticate: bearer realm=\"portolan\"\r"), "{head}");
    assert_eq!(served.ask("GET /v1/overrides", &[&bob], "").await.1, json!([]), "nothing was changed");
    assert_eq!(served.status("GET /v1/overrides", &[], "").await.0, 401);
    assert_eq!(served.status(PUT, &[JSON, &alice, "origin: http://x"], DRAIN).await.0, 200, "our own page may");
}

#[tokio::test]
async fn without_a_token_file_the_calls_are_off_and_say_how_to_turn_them_on() {
    let served = served(None).await;
    for request in [PUT, "DELETE /v1/overrides/fra1", "GET /v1/overrides"] {
        let (status, detail) = served.status(request, &[JSON, &bearer(ALICE)], DRAIN).await;
        assert_eq!(status, 403, "{request}");
        assert!(detail.contains("token_file") && detail.contains("openssl rand"), "{detail}");
    }
}

#[tokio::test]
async fn an_override_is_put_listed_and_cleared() {
    let served = served(Some(tokens())).await;
    let alice = bearer(ALICE);
    let (_, put) = served.ask(PUT, &[JSON, &alice], DRAIN).await;
    let entry = json!({"target": "fra1", "state": "drain", "why": "rack move", "who": "alice", "until": null});
    let moved = json!({"share": 0.0, "endpoints": []});
    let full = json!({
        "override": entry, "before": null, "moved": moved, "on_disk": false, "warning": "the disk is full"
    });
    assert_eq!(put, full);
    let mut listed = entry.clone();
    listed["on_disk"] = json!(false);
    assert_eq!(served.ask("GET /v1/overrides", &[&bearer(BOB)], "").await.1, json!([listed]));
    let (_, cleared) = served.ask("DELETE /v1/overrides/fra1", &[&alice], "").await;
    assert_eq!((&cleared["override"], &cleared["before"]), (&Value::Null, &entry));
    assert_eq!(served.ask("GET /v1/overrides", &[&alice], "").await.1, json!([]));
    let timed = r#"{"state":"down","for":"2h","why":"x"}"#;
    let (_, put) = served.ask("PUT /v1/overrides/region%3Aeu-west", &[JSON, &alice], timed).await;
    let until = put["override"]["until"].as_f64().unwrap();
    assert!((until - crate::clock::unix_seconds() - 7200.0).abs() < 60.0, "{put}");
    assert_eq!(put["override"]["target"], "region:eu-west");
}

#[tokio::test]
async fn a_malformed_request_is_refused_with_a_correct_example() {
    let served = served(Some(tokens())).await;
    let alice = bearer(ALICE);
    let long = format!(r#"{{"state":"drain","why":"{}"}}"#, "x".repeat(257));
    let huge = format!(r#"{{"state":"drain","why":"{}"}}"#, "x".repeat(17 * 1024));
    for (body, status, says) in [
        ("", 400, "EOF"),
        ("[1]", 400, "expected {\"state\": \"drain\""),
        (r#"{"state":"drain"}"#, 400, "missing field `why`"),
        (r#"{"state":"drain","why":"x","colour":"red"}"#, 400, "unknown field `colour`"),
        (r#"{"state":"drian","why":"x"}"#, 400, "did you mean `drain`?"),
        (r#"{"state":"drain","why":" "}"#, 400, "say why"),
        (r#"{"state":"drain","why":"a\nb"}"#, 400, "one line"),
        (&long, 400, "256 characters"),
        (&huge, 413, "16384 octets"),
        (r#"{"state":"drain","why":"x","for":"soon"}"#, 400, "\"for\": `soon` is no length of time"),
        (r#"{"state":"drain","why":"x","for":"400days"}"#, 400, "over 366 days"),
    ] {
        let (found, detail) = served.status(PUT, &[JSON, &alice], body).await;
        assert_eq!(found, status, "{body}: {detail}");
        assert!(detail.contains(says), "{detail}");
    }
    let (status, detail) =
        served.status(PUT, &["content-type: application/x-www-form-urlencoded", &alice], "a=b").await;
    assert!(status == 400 && detail.contains("expected {"), "{status} {detail}");
    let (status, detail) = served.status("PUT /v1/overrides/fra2", &[JSON, &alice], DRAIN).await;
    assert!(status == 404 && detail.ends_with("did you mean `fra1`?"), "{status} {detail}");
    let (status, detail) = served.status("DELETE /v1/overrides/fra1", &[&alice], "").await;
    assert!(status == 404 && detail.starts_with("there is no override"), "{status} {detail}");
    let timed = r#"{"state":"drain","why":"x","for":"0s"}"#;
    assert_eq!(served.status(PUT, &[JSON, &alice], timed).await.0, 400);
    for request in [
        "PUT /v1/overrides/%ff",
        "DELETE /v1/overrides/%ff",
        "PUT /v1/heartbeat/%ff",
        "POST /v1/failback/%ff",
        "PUT /v1/overrides?name=fra1",
        "DELETE /v1/overrides",
    ] {
        assert_eq!(served.status(request, &[&alice], DRAIN).await.0, 400, "{request}");
    }
    assert_eq!(served.status("POST /v1/failback/www.svc.example", &[&alice], "").await.0, 409);
    assert_eq!(served.status("POST /v1/failback/ns1.svc.example", &[&alice], "").await.0, 404);
    assert_eq!(served.status("POST /v1/failback/www.svc.example", &[], "").await.0, 401);
    for request in ["POST /v1/overrides", "PATCH /v1/overrides/fra1", "GET /v1/reload"] {
        assert_eq!(served.status(request, &[&alice], "").await.0, 405, "{request}");
    }
}

#[tokio::test]
async fn a_reload_that_is_refused_says_what_is_wrong_with_the_files() {
    let served = served(None).await;
    let (head, problem) = served.ask("POST /v1/reload", &[], "").await;
    assert!(head.starts_with("http/1.1 422") && head.contains("application/problem+json"), "{head}");
    assert_eq!(
        problem["detail"],
        "not everything was loaded; generation 2 is served, without the changes that these problems are about"
    );
    assert_eq!((&problem["problems"][0]["file"], &problem["problems"][0]["line"]), (&json!("no/such.toml"), &json!(1)));
    let (status, _) = served.status("POST /v1/reload", &["origin: http://evil.example"], "").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_token_for_heartbeats_may_send_those_of_its_endpoints_and_nothing_else() {
    let served = served(Some(tokens())).await;
    let beat = bearer(BEAT);
    for (request, expected, says) in [
        (PUT, 403, "the token of `fra1` has the role beat, and this call needs operate"),
        ("DELETE /v1/overrides/fra1", 403, "needs operate"),
        ("GET /v1/overrides", 403, "needs read"),
        ("POST /v1/failback/www.svc.example", 403, "needs operate"),
        ("PUT /v1/heartbeat/nyc", 403, "this token is not for heartbeats of `nyc` in svc.example."),
        ("DELETE /v1/heartbeat/nyc", 403, "this token is not for heartbeats of `nyc`"),
        // It is allowed, and the endpoint has no monitor of that type.
        ("DELETE /v1/heartbeat/fra1", 409, "has no monitor of type heartbeat"),
    ] {
        let (status, detail) = served.status(request, &[&beat], "").await;
        assert!(status == expected && detail.contains(says), "{request}: {status} {detail}");
    }
    let reader = bearer(BOB);
    assert_eq!(served.status("DELETE /v1/heartbeat/fra1", &[&reader], "").await.0, 403);
}

#[tokio::test]
async fn a_token_for_a_zone_changes_nothing_in_another() {
    let served = served(Some(tokens())).await;
    let (carol, dave) = (bearer(CAROL), bearer(DAVE));
    for (request, expected, says) in [
        (PUT, 403, "this token is for other.example., and `fra1` also matches svc.example./fra1"),
        ("PUT /v1/overrides/region:eu-west", 403, "also matches svc.example./fra1"),
        ("PUT /v1/overrides/*", 403, "svc.example./fra1, svc.example./nyc, svc.example./plain"),
        ("DELETE /v1/overrides/fra1", 403, "svc.example./fra1"),
        ("POST /v1/failback/www.svc.example", 403, "`www.svc.example.` is in svc.example."),
        ("DELETE /v1/heartbeat/fra1", 403, "not for heartbeats"),
        ("PUT /v1/overrides/fra2", 404, "no endpoint is called"),
    ] {
        let (status, detail) = served.status(request, &[JSON, &dave], DRAIN).await;
        assert!(status == expected && detail.contains(says), "{request}: {status} {detail}");
        let (status, detail) = served.status(request, &[JSON, &carol], DRAIN).await;
        assert!(status != 403, "carol: {request}: {detail}");
    }
    let (_, put) = served.ask("PUT /v1/overrides/region:eu-west", &[JSON, &carol], DRAIN).await;
    assert_eq!((&put["override"]["who"], &put["override"]["zones"]), (&json!("carol"), &json!(["svc.example."])));
}

#[tokio::test]
async fn a_removal_is_confirmed_on_this_host_or_with_a_token_for_all_zones() {
    let served = served(Some(tokens())).await;
    let confirm = r#"{"confirm_removal": true}"#;
    let (alice, carol, bob, wrong) = (bearer(ALICE), bearer(CAROL), bearer(BOB), bearer("wrong-wrong-wrong-wrong"));
    let forwarded = "x-forwarded-for: 192.0.2.9";
    for (headers, expected, says) in [
        (vec![], 422, "not everything was loaded"),
        (vec![&*wrong], 422, "not everything was loaded"),
        (vec![forwarded], 401, "by a process of the server's host"),
        (vec!["forwarded: for=192.0.2.9"], 401, "role operate for all zones"),
        (vec!["via: 1.1 proxy"], 401, "role operate for all zones"),
        (vec!["cf-connecting-ip: 192.0.2.9"], 401, "this request has the header field `cf-connecting-ip`"),
        (vec!["x-forwarded-proto: https"], 401, "may come through a proxy"),
        (vec![forwarded, &*wrong], 401, "not in the token file"),
        (vec![forwarded, &*bob], 403, "needs operate"),
        (vec![forwarded, &*carol], 403, "this token is for svc.example., and a removal"),
        (vec![forwarded, &*alice], 422, "not everything was loaded"),
    ] {
        let (status, detail) = served.status("POST /v1/reload", &headers, confirm).await;
        assert!(status == expected && detail.contains(says), "{headers:?}: {status} {detail}");
        let (status, _) = served.status("POST /v1/reload?confirm_removal=true", &headers, "").await;
        assert_eq!(status, expected, "{headers:?} in the query");
        assert_eq!(served.status("POST /v1/reload", &headers, "").await.0, 422, "{headers:?}: a plain reload is free");
    }
    let evil = ["origin: http://evil.example"];
    assert_eq!(served.status("POST /v1/reload", &evil, confirm).await.0, 403, "a page of another site");
}

#[tokio::test]
async fn a_client_that_sends_wrong_tokens_is_slowed_but_locks_nobody_out() {
    let served = served(Some(tokens())).await;
    let mut statuses = Vec::new();
    for guess in 0..20 {
        let guess = bearer(&format!("guess-number-{guess}"));
        let (head, _) = served.ask("GET /v1/overrides", &[&guess], "").await;
        assert_eq!(head.contains("retry-after: 1\r"), head.starts_with("http/1.1 429"), "{head}");
        statuses.push(head.split(' ').nth(1).unwrap().to_owned());
    }
    assert_eq!(&statuses[..10], ["401"; 10]);
    assert!(statuses[10..].iter().filter(|status| *status == "429").count() >= 5, "{statuses:?}");
    assert_eq!(served.status("GET /v1/overrides", &[&bearer(ALICE)], "").await.0, 200, "its secret can't be guessed");
    while served.status("GET /v1/overrides", &[&bearer("wrong-wrong-wrong")], "").await.0 != 429 {}
    assert_eq!(served.status("GET /v1/overrides", &[&bearer("short")], "").await.0, 429, "its secret can be guessed");
}

#[tokio::test]
async fn a_request_for_another_host_is_refused_on_all_paths_but_health_checks() {
    let served = served(Some(tokens())).await;
    let sent = async |head: &str| {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer[9..12].parse::<u16>().unwrap(), answer)
    };
    for path in ["/", "/v1/history", "/metrics", "/v1/status", "/v1/explain?name=www.svc.example", "/v1/events", "/no"]
    {
        let (status, answer) = sent(&format!("GET {path} HTTP/1.1\r\nhost: evil.example:8053")).await;
        assert!(status == 421 && answer.contains("`[api] hosts = [\\\"evil.example\\\"]`"), "{path}: {answer}");
        assert_eq!(sent(&format!("GET http://evil.example{path} HTTP/1.1\r\nhost: localhost")).await.0, 421, "{path}");
        assert_eq!(sent(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nhost: a")).await.0, 400, "{path}");
    }
    assert_eq!(sent("POST /v1/reload HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example").await.0, 421);
    assert_eq!(sent("GET /healthz HTTP/1.1\r\nhost: evil.example").await.0, 200);
    assert_eq!(sent("GET /readyz HTTP/1.1\r\nhost: evil.example").await.0, 503, "it is starting");
    assert_eq!(sent("GET /v1/status HTTP/1.1").await.0, 400);
    assert_eq!(sent("GET /v1/status HTTP/1.0").await.0, 200);
    assert_eq!(sent("GET http://localhost/v1/status HTTP/1.1\r\nhost: evil.example").await.0, 200);
}
