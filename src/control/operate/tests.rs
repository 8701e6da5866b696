//! Tests of the calls that change something, over real connections. A task replaces the steering task; it keeps the
//! overrides and serves nothing.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::Tokens;
use crate::control::command::{AppliedChange, AppliedFailback, OverrideChange, TargetChange};
use crate::control::failback::policy_of;
use crate::control::overrides::OverrideError;
use crate::control::test_world::world;
use crate::control::{ApiState, Command, Controls, ReloadStatus, router, serve};

const ALICE: &str = "0123456789abcdef0123456789abcdef";
const BOB: &str = "fedcba9876543210fedcba9876543210";

struct Served {
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// alice may operate, bob may read.
fn tokens() -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokens"), format!("alice operate {ALICE}\nbob read {BOB}\n")).unwrap();
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
                    OverrideChange::Put { overrides, confirmed: _ } => overrides
                        .into_iter()
                        .map(|entry| {
                            let before = next.put(entry.clone(), model)?;
                            Ok(TargetChange { target: entry.target.clone(), before, now: Some(Arc::new(entry)) })
                        })
                        .collect(),
                    OverrideChange::Clear { targets, zones, .. } => targets
                        .into_iter()
                        .map(|target| Ok(TargetChange { before: Some(next.clear(&target, zones.as_deref(), model)?), now: None, target }))
                        .collect(),
                };
                if targets.is_ok() {
                    book.store(Arc::new(next));
                }
                let (sender, saved) = oneshot::channel();
                sender.send(Err("the disk is full".to_owned())).unwrap();
                let served = || [snapshots.load_full(), snapshots.load_full()];
                let _ = reply.send(targets.map(|targets| AppliedChange { targets, served: served(), saved }));
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
    assert_eq!(put, json!({"override": entry, "before": null, "moved": moved, "warning": "the disk is full"}));
    assert_eq!(served.ask("GET /v1/overrides", &[&bearer(BOB)], "").await.1, json!([entry]));
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
        "not everything was loaded; generation 2 is served, without the changes of the files that have errors"
    );
    assert_eq!((&problem["problems"][0]["file"], &problem["problems"][0]["line"]), (&json!("no/such.toml"), &json!(1)));
    let (status, _) = served.status("POST /v1/reload", &["origin: http://evil.example"], "").await;
    assert_eq!(status, 403);
}
