//! Events over real connections: what is sent, and what each reply means.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ring::hmac;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::config::WebhookSettings;
use crate::sinks::webhook::test_receiver::{ReceivedHook, TestReceiver, webhook_to};
use crate::sinks::{FailureKind, OutgoingEvent, SendFailure, Webhook};

const LONG: Duration = Duration::from_secs(30);

fn event(number: u32) -> OutgoingEvent {
    OutgoingEvent {
        id: format!("ns1/{number}"),
        subject: String::new(),
        at_millis: 0,
        body: format!("{{\"id\":\"ns1/{number}\"}}").into(),
    }
}

/// Whether the signature of a request is right.
fn is_signed(hook: &ReceivedHook, secret: &[u8]) -> bool {
    let text = |name: &str| hook.headers[name].to_str().unwrap().to_owned();
    let signed = [format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes(), &hook.body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &signed);
    text("webhook-signature").split(' ').any(|each| each == format!("v1,{}", BASE64.encode(tag.as_ref())))
}

fn secret() -> Vec<u8> {
    BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
}

#[tokio::test]
async fn an_event_is_a_signed_post_and_connections_are_used_again() {
    let receiver = TestReceiver::start(None, |_, _| (204, vec![])).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = webhook_to(&format!("http://{}/events?from=ns1", receiver.address), dir.path());
    let webhook = Webhook::new(&settings, LONG, 2);
    for number in 1..=3 {
        assert_eq!(webhook.send(&event(number)).await, Ok(()));
    }
    let received = receiver.received();
    assert_eq!(received.iter().map(|hook| hook.connection).collect::<Vec<_>>(), [1, 1, 1]);
    for (number, hook) in (1..).zip(&received) {
        assert!(hook.path == "/events?from=ns1" && hook.body == event(number).body && is_signed(hook, &secret()));
        assert_eq!(hook.headers["content-type"], "application/cloudevents+json");
        assert_eq!(hook.headers["webhook-id"], event(number).id);
        assert_eq!(hook.headers["host"], receiver.address.to_string());
    }
}

#[tokio::test]
async fn a_closed_connection_costs_no_try() {
    let receiver = TestReceiver::start(None, |_, _| (200, vec![("connection", "close".into())])).await;
    let dir = tempfile::tempdir().unwrap();
    let webhook = Webhook::new(&webhook_to(&format!("http://{}/", receiver.address), dir.path()), LONG, 2);
    for number in 1..=20 {
        assert_eq!(webhook.send(&event(number)).await, Ok(()));
    }
    assert_eq!(receiver.received().len(), 20);
}

#[tokio::test]
async fn replies_have_their_meaning_and_redirects_are_not_followed() {
    let replies = [(302, "/elsewhere"), (400, ""), (410, ""), (429, "7"), (503, "soon")];
    let receiver = TestReceiver::start(None, move |number, _| {
        let (status, value) = replies[number];
        let name = if status == 302 { "location" } else { "retry-after" };
        (status, vec![(name, value.to_owned())])
    });
    let receiver = receiver.await;
    let dir = tempfile::tempdir().unwrap();
    let webhook = Webhook::new(&webhook_to(&format!("http://{}/", receiver.address), dir.path()), LONG, 2);
    let mut found = Vec::new();
    for number in 0..5 {
        let SendFailure { kind, retry_after, why, .. } = webhook.send(&event(number)).await.unwrap_err();
        found.push((kind, retry_after.map(|wait| wait.as_secs()), why));
    }
    let expected = [
        (FailureKind::Away, None, "HTTP status 302: to /elsewhere"),
        (FailureKind::Refused, None, "HTTP status 400: no such"),
        (FailureKind::Gone, None, "HTTP status 410: no such"),
        (FailureKind::Away, Some(7), "HTTP status 429: no such"),
        (FailureKind::Broken, None, "HTTP status 503: no such"),
    ];
    assert_eq!(found, expected.map(|(kind, wait, why)| (kind, wait, why.to_owned())));
}

#[tokio::test]
async fn the_status_decides_also_where_the_body_does_not_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        for status in ["200 OK", "400 Bad Request"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await;
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 10\r\n\r\nab");
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await;
            open.push(stream);
        }
        std::future::pending::<()>().await;
    });
    let webhook = Webhook::new(&webhook_to(&url, dir.path()), LONG, 1);
    assert!(webhook.send(&event(1)).await.is_ok());
    assert_eq!(webhook.send(&event(2)).await.unwrap_err().kind, FailureKind::Refused);
}

#[tokio::test]
async fn receivers_that_are_no_receivers_are_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let why = async |url: &str, timeout| {
        let failure = Webhook::new(&webhook_to(url, dir.path()), timeout, 1).send(&event(1)).await.unwrap_err();
        assert!(failure.kind == FailureKind::Away && !failure.hint.is_empty(), "{failure:?}");
        failure.why
    };
    // The kernel accepts, and nobody replies.
    let unanswered = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", unanswered.local_addr().unwrap());
    let silent = why(&url, Duration::from_millis(100)).await;
    assert_eq!(silent, "no response within 100ms");
    tokio::spawn(async move {
        for garbage in [&b"SSH-2.0-x\r\n"[..], b"", &[b'x'; 200_000]] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, garbage).await;
        }
    });
    for expected in ["the response is not HTTP", "connection", "the response is not HTTP"] {
        let found = why(&format!("http://{address}/"), LONG).await;
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(why(&format!("http://{nobody}/"), LONG).await.starts_with(&format!("can't connect to {nobody}: ")));
    assert!(why("http://receiver.invalid/", LONG).await.starts_with("can't resolve receiver.invalid: "));
}

#[tokio::test]
async fn a_new_secret_is_used_and_a_file_that_is_gone_leaves_the_old_one() {
    let receiver = TestReceiver::start(None, |_, _| (200, vec![])).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = webhook_to(&format!("http://{}/", receiver.address), dir.path());
    let lacking = WebhookSettings { secret_file: dir.path().join("none"), ..settings.clone() };
    let failure = Webhook::new(&lacking, LONG, 1).send(&event(1)).await.unwrap_err();
    assert!(failure.why.starts_with("can't read ") && failure.hint.contains("whsec_"), "{failure}");
    let webhook = Webhook::new(&settings, LONG, 1);
    webhook.send(&event(1)).await.unwrap();
    std::fs::write(&settings.secret_file, format!("whsec_{}\n", BASE64.encode(&[7; 32]))).unwrap();
    webhook.read_secrets_again().await;
    webhook.send(&event(2)).await.unwrap();
    std::fs::remove_file(&settings.secret_file).unwrap();
    webhook.read_secrets_again().await;
    webhook.send(&event(3)).await.unwrap();
    let received = receiver.received();
    let signed = [&secret()[..], &[7; 32], &[7; 32]];
    assert!(received.iter().zip(signed).all(|(hook, secret)| is_signed(hook, secret)));
}

#[tokio::test]
async fn a_receiver_over_tls_needs_a_certificate_of_the_authority() {
    let key = || KeyPair::generate().unwrap();
    let (authority_key, own_key) = (key(), key());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&own_key, &issuer).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(own_key.serialize_der().into()))
        .unwrap();
    let receiver = TestReceiver::start(Some(TlsAcceptor::from(Arc::new(tls))), |_, _| (200, vec![])).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let settings = webhook_to(&format!("https://{}/", receiver.address), dir.path());
    let trusting = |pem: String| {
        std::fs::write(&path, pem).unwrap();
        Webhook::new(&WebhookSettings { ca: Some(path.clone()), ..settings.clone() }, LONG, 1)
    };
    assert_eq!(trusting(ca.pem()).send(&event(1)).await, Ok(()));
    let other = authority.self_signed(&key()).unwrap();
    let refused = trusting(other.pem()).send(&event(2)).await.unwrap_err();
    assert!(refused.why.starts_with("TLS handshake failed: "), "{refused}");
    assert!(trusting(String::new()).send(&event(3)).await.unwrap_err().why.ends_with("no certificate in it"));
    assert_eq!(receiver.received().len(), 1);
}
