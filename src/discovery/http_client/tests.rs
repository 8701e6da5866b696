//! The client against servers that reply, stop, close and lie.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::discovery::TroubleState;
use crate::discovery::test_server::{TestReply, TestServer};
use crate::model::Pem;

fn connection(url: &str) -> HttpConnection {
    HttpConnection::new(url.parse().unwrap(), SourceTls::default())
}

async fn text(connection: &mut HttpConnection, path: &str) -> Result<String, HttpFailure> {
    let reply = connection.send(&HttpRequest::get(path.to_owned())).await?;
    Ok(String::from_utf8(reply.whole(1000).await?).unwrap())
}

#[tokio::test]
async fn one_connection_carries_all_requests_and_a_closed_one_is_made_anew() {
    let server = TestServer::start(|request| match &*request.path {
        "/base/close" => TestReply::Whole(200, vec![("connection", "close".to_owned())], "bye".to_owned()),
        path => TestReply::ok(path),
    })
    .await;
    let mut connection = connection(&format!("{}/base/", server.url));
    for path in ["/a?x=1", "/b", "/c"] {
        assert_eq!(text(&mut connection, path).await.unwrap(), format!("/base{path}"));
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(text(&mut connection, "/close").await.unwrap(), "bye");
    assert_eq!(text(&mut connection, "/d").await.unwrap(), "/base/d");
    assert_eq!(server.connections(), 2);
    let head = &server.requests()[0].headers;
    assert_eq!(head["host"], server.url.strip_prefix("http://").unwrap());
}

#[tokio::test]
async fn a_compressed_reply_is_refused_by_the_name_of_its_coding() {
    let server = TestServer::start(|request| {
        let coding = request.path.trim_start_matches('/').to_owned();
        let status = if coding == "br" { 503 } else { 200 };
        TestReply::Whole(status, vec![("content-encoding", coding)], "[]".to_owned())
    })
    .await;
    let mut connection = connection(&server.url);
    assert_eq!(text(&mut connection, "/Identity").await.unwrap(), "[]");
    let failure = text(&mut connection, "/gzip").await.unwrap_err();
    assert_eq!(failure, HttpFailure::Encoded("gzip".to_owned()));
    let trouble = failure.trouble("");
    assert!(trouble.state == TroubleState::Bad && trouble.problem.contains("`Content-Encoding: gzip`"), "{trouble:?}");
    let reply = connection.send(&HttpRequest::get("/br".to_owned())).await.unwrap();
    assert_eq!(reply.status, 503, "the status says more than the coding of its message");
}

#[tokio::test]
async fn a_reply_that_nobody_reads_to_its_end_does_not_hold_up_the_next_request() {
    let (sender, parts) = tokio::sync::mpsc::unbounded_channel();
    let parts = std::sync::Mutex::new(Some(parts));
    let server = TestServer::start(move |request| match &*request.path {
        "/endless" => TestReply::Parts(parts.lock().unwrap().take().unwrap()),
        path => TestReply::ok(path),
    })
    .await;
    let mut connection = connection(&server.url);
    let mut endless = connection.send(&HttpRequest::get("/endless".to_owned())).await.unwrap();
    sender.send("one".to_owned()).unwrap();
    assert_eq!(endless.part().await.unwrap().unwrap(), "one");
    assert_eq!(text(&mut connection, "/next").await.unwrap(), "/next");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn each_failure_is_reported_as_what_it_is() {
    let server = TestServer::start(|request| match &*request.path {
        "/silence" => TestReply::Silence,
        "/close" => TestReply::Close,
        _ => TestReply::ok(&"x".repeat(1001)),
    })
    .await;
    let mut connection = connection(&server.url);
    let brief = Duration::from_millis(50);
    let silence = HttpRequest::get("/silence".to_owned()).within(brief);
    assert_eq!(connection.send(&silence).await.unwrap_err(), HttpFailure::NoReply(brief));
    assert_eq!(text(&mut connection, "/close").await.unwrap_err(), HttpFailure::Closed);
    assert_eq!(text(&mut connection, "/long").await.unwrap_err(), HttpFailure::TooLong(1000));
    let gone = server.url.clone();
    drop(server);
    let mut refused = self::connection(&gone);
    // The listener is closed when its task has ended.
    for _ in 0..1000 {
        match text(&mut refused, "/").await.unwrap_err() {
            HttpFailure::Refused => return,
            HttpFailure::Closed | HttpFailure::Connect(_) => tokio::task::yield_now().await,
            other => panic!("{other}"),
        }
    }
    panic!("never refused");
}

#[tokio::test]
async fn a_reply_that_drips_is_ended_after_a_time_and_a_stream_is_not() {
    let server = TestServer::start(|_| {
        let (sender, parts) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while sender.send(" ".to_owned()).is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        TestReply::Parts(parts)
    })
    .await;
    let mut connection = connection(&server.url);
    let mut stream = connection.send(&HttpRequest::get("/stream".to_owned())).await.unwrap();
    let (mut of_list, mut of_message) = (self::connection(&server.url), self::connection(&server.url));
    let mut list = of_list.send(&HttpRequest::get("/list".to_owned())).await.unwrap();
    let message = of_message.send(&HttpRequest::get("/message".to_owned())).await.unwrap();
    // From here on no I/O has to be waited for: the time goes on by itself.
    tokio::time::pause();
    let mut parts = 0;
    let failure = loop {
        match list.part().await {
            Ok(Some(_)) => parts += 1,
            Ok(None) => panic!("it ended"),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure, HttpFailure::TooSlow(REPLY_WITHIN), "after {parts} parts");
    assert_eq!(message.message().await, "", "the status counts");
    assert!(stream.next_part().await.unwrap().is_some());
}

#[tokio::test]
async fn a_peer_that_speaks_no_http_is_recognized() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let speaker = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        drop(stream.read(&mut [0; 100]).await);
    });
    let failure = text(&mut connection(&url), "/").await.unwrap_err();
    assert!(matches!(failure, HttpFailure::NotHttp(_)), "{failure}");
    speaker.await.unwrap();
}

#[tokio::test]
async fn a_reply_that_is_broken_is_bad_and_not_away() {
    let long = "x".repeat(40_000);
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a={long}\r\n \r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n \r\n0\r\na: {long}\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n".to_owned(),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let speaker = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.read(&mut [0; 1000]).await);
            drop(stream.write_all(reply.as_bytes()).await);
            drop(stream.read(&mut [0; 100]).await);
        });
        let failure = text(&mut connection(&url), "/").await.unwrap_err();
        let trouble = failure.trouble("");
        assert_eq!(trouble.state, crate::discovery::TroubleState::Bad, "{}", trouble.problem);
        assert!(trouble.problem.contains("its reply is broken"), "{}", trouble.problem);
        speaker.await.unwrap();
    }
}

/// A server with TLS whose certificate is for 127.0.0.1. Returns its URL and its certificate in PEM.
async fn tls_server(is_ca: IsCa) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = is_ca;
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            drop(stream.read(&mut [0; 1000]).await);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
            drop(stream.shutdown().await);
        }
    });
    (url, certificate.pem())
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_or_without_a_check_and_else_refused() {
    let (url, pem) = tls_server(IsCa::ExplicitNoCa).await;
    let (of_authority, _) = tls_server(IsCa::Ca(BasicConstraints::Unconstrained)).await;
    let dir = tempfile::tempdir().unwrap();
    let (ca, empty) = (dir.path().join("ca.pem"), dir.path().join("empty.pem"));
    std::fs::write(&ca, pem).unwrap();
    std::fs::write(&empty, "").unwrap();
    let plain = TestServer::start(|_| TestReply::ok("")).await;
    let no_tls = plain.url.replace("http:", "https:");
    let with = |ca: &std::path::Path| SourceTls { ca: Some(Pem::File(ca.to_path_buf())), ..SourceTls::default() };
    let own = || Some(Pem::File(ca.clone()));
    for (url, tls, expected) in [
        (&url, with(&ca), Ok("ok")),
        (&url, SourceTls { verify: false, ..SourceTls::default() }, Ok("ok")),
        (&url, SourceTls::default(), Err("name its file with tls = { ca =")),
        (&url, with(&empty), Err("there is no certificate in")),
        (&url, with(&dir.path().join("none.pem")), Err("can't be read")),
        (&url, SourceTls { cert: own(), key: own(), ..with(&ca) }, Err("the key in")),
        (&of_authority, with(&ca), Err("basicConstraints=critical,CA:FALSE`, or sign another")),
        (&no_tls, with(&ca), Err("write http:// in its URL")),
    ] {
        let mut connection = HttpConnection::new(url.parse().unwrap(), tls);
        match (text(&mut connection, "/").await, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(failure), Err(expected)) => assert!(failure.to_string().contains(expected), "{failure}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_secret_is_read_without_white_space_and_a_wrong_file_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, " s3cret\n").unwrap();
    let value = secret_value("Bearer ", &file).await.unwrap();
    assert!(value.is_sensitive() && value == "Bearer s3cret");
    for (content, expected) in [(&b"\n"[..], "is empty"), (b"\xff", "is no text"), (b"a\nb", "no HTTP header field")] {
        std::fs::write(&file, content).unwrap();
        let why = secret_value("", &file).await.unwrap_err();
        assert!(why.contains(expected) && !why.contains("s3cret"), "{why}");
    }
    assert!(secret_text(&dir.path().join("none")).await.unwrap_err().contains("can't be read"));
}
