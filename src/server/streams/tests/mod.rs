//! DoT, DoH and DoQ on real sockets of the loopback interface, over an echo in place of `answer`, with clients of the
//! same libraries. That other programs' clients are served too is for the end-to-end tests.

mod hostile;

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ReadToEndError, VarInt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, crypto::ring};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::answer::{Reject, Reply, Tallies};
use crate::server::encrypted::{Encrypted, EncryptedListener};
use crate::server::{Counters, DropReason, InheritedSockets, StreamLimits};

/// For what must come: no bound of the server's, but of the test's patience on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name that the certificates are for.
const NAME: &str = "ns1.example";

/// Echoes the message; silence for those whose third octet has the bit of a reply.
pub(super) fn echo(ask: &RawQuery<'_>, out: &mut [u8]) -> Outcome {
    match ask.packet {
        [] | [_] | [_, _] => return Outcome::Silence(Reject::Short),
        [_, _, third, ..] if third & 0x80 != 0 => return Outcome::Silence(Reject::Response),
        packet => out[..packet.len()].copy_from_slice(packet),
    }
    Outcome::Reply(Reply {
        len: ask.packet.len(),
        rcode: 0,
        tallies: Tallies::default(),
        has_valid_cookie: false,
        subject: 0,
        ..Reply::default()
    })
}

fn new_certificate() -> Arc<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed([NAME.to_string()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let chain = vec![made.cert.der().clone()];
    Arc::new(CertifiedKey::from_der(chain, key, &ring::default_provider()).unwrap())
}

/// A server with all three transports, and clients that trust its first certificate and those shown to them later.
struct Scene {
    addresses: [SocketAddr; 3],
    trusted: Vec<CertificateDer<'static>>,
    certificates: Arc<Certificates>,
    counters: Counters,
    /// Messages that were answered, those too whose replies had no room.
    calls: Arc<AtomicU64>,
    context: StreamContext,
    quic_context: StreamContext,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Scene {
    async fn start() -> Scene {
        Scene::within(StreamLimits::default()).await
    }

    async fn within(limits: StreamLimits) -> Scene {
        let first = new_certificate();
        let certificates = Arc::new(Certificates::new(Some(first.clone())));
        let (counters, stop) = (Counters::new(), CancellationToken::new());
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        let answer = move |ask: &RawQuery<'_>, out: &mut [u8]| {
            counted.fetch_add(1, Relaxed);
            echo(ask, out)
        };
        let context = StreamContext::new(Arc::new(answer), counters.shared(), &limits, None);
        let (any, mut none) = (SocketAddr::from(([127, 0, 0, 1], 0)), InheritedSockets::default());
        let bind = |what| EncryptedListener::bind(what, any, certificates.clone(), &mut none).unwrap();
        let bound = Encrypted::ALL.map(bind);
        let addresses = [bound[0].address, bound[1].address, bound[2].address];
        let runtime = tokio::runtime::Handle::current();
        let quic_context = context.with_seats(&limits.quic_connections);
        let start = |listening: EncryptedListener| {
            let context = if listening.what == Encrypted::Quic { &quic_context } else { &context };
            listening.start(context.clone(), stop.clone(), &runtime).unwrap()
        };
        let tasks = bound.into_iter().map(start).collect();
        Scene {
            addresses,
            trusted: first.cert.clone(),
            certificates,
            counters,
            calls,
            context,
            quic_context,
            stop,
            tasks,
        }
    }

    fn client_tls(&self, alpn: &[&[u8]]) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in &self.trusted {
            roots.add(certificate.clone()).unwrap();
        }
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    async fn over_tls(&self, what: Encrypted, alpn: &[&[u8]]) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        self.over_tls_from([127, 0, 0, 1], what, alpn).await
    }

    async fn over_tls_from(
        &self,
        source: [u8; 4],
        what: Encrypted,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let tcp = socket.connect(self.addresses[what as usize]).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(Arc::new(self.client_tls(alpn))).connect(name, tcp).await
    }

    async fn https(&self) -> SendRequest<Full<Bytes>> {
        self.https_from([127, 0, 0, 1]).await
    }

    async fn https_from(&self, source: [u8; 4]) -> SendRequest<Full<Bytes>> {
        let stream = self.over_tls_from(source, Encrypted::Https, &[b"h2"]).await.unwrap();
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        send
    }

    async fn quic(&self, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        let endpoint = quic_client();
        let crypto = QuicClientConfig::try_from(self.client_tls(&[alpn])).unwrap();
        let config = ClientConfig::new(Arc::new(crypto));
        let address = self.addresses[Encrypted::Quic as usize];
        endpoint.connect_with(config, address, NAME).unwrap().await
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.totals().dropped.iter().find(|(other, _)| *other == reason).unwrap().1
    }

    /// Waits until so many were dropped for this reason: the server counts a moment after the client knows.
    async fn wait_dropped(&self, reason: DropReason, count: u64) {
        let counted = async {
            while self.dropped(reason) < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, counted).await.expect("it is counted");
        assert_eq!(self.dropped(reason), count);
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            timeout(PATIENCE, task).await.expect("it stops").unwrap();
        }
    }
}

fn quic_client() -> Endpoint {
    Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_framed(message, &mut out);
    out
}

/// What comes back over DoT for octets sent as they are: `len` of them.
async fn exchange_tls(stream: &mut TlsStream<tokio::net::TcpStream>, octets: &[u8], len: usize) -> Vec<u8> {
    stream.write_all(octets).await.unwrap();
    stream.flush().await.unwrap();
    let mut replies = vec![0; len];
    timeout(PATIENCE, stream.read_exact(&mut replies)).await.expect("replies").unwrap();
    replies
}

async fn post(send: &mut SendRequest<Full<Bytes>>, message: &[u8]) -> (StatusCode, Bytes) {
    let request = Request::post("https://ns1.example/dns-query")
        .header("content-type", "application/dns-message")
        .body(Full::new(Bytes::copy_from_slice(message)))
        .unwrap();
    let response = timeout(PATIENCE, send.send_request(request)).await.expect("a response").unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

/// What comes back over DoQ for octets sent on a stream that is ended after them.
async fn exchange_quic(connection: &Connection, octets: &[u8]) -> Result<Vec<u8>, ReadToEndError> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(octets).await.unwrap();
    send.finish().unwrap();
    timeout(PATIENCE, receive.read_to_end(2 + LONGEST)).await.expect("an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_the_same_octets_whatever_carries_it() {
    let scene = Scene::start().await;
    let mut tls = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    let mut https = scene.https().await;
    let quic = scene.quic(b"doq").await.unwrap();
    for len in [12, 13, 300, 5000, LONGEST] {
        // The identifier of DoQ is 0; the rest is what no DNS parser would take.
        let message: Vec<u8> = [0, 0].into_iter().chain((2..len).map(|n| (n % 127) as u8)).collect();
        assert!(exchange_tls(&mut tls, &framed(&message), 2 + len).await == framed(&message), "DoT, {len}");
        assert!(post(&mut https, &message).await == (StatusCode::OK, message.clone().into()), "DoH, {len}");
        assert!(exchange_quic(&quic, &framed(&message)).await.unwrap() == framed(&message), "DoQ, {len}");
    }
    assert_eq!(scene.counters.totals().queries, [Transport::Tls, Transport::Https, Transport::Quic].map(|t| (t, 0, 5)));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dot_answers_in_order_and_ends_with_a_close_notify() {
    let scene = Scene::start().await;
    // A client that names no protocol is taken too (RFC 7858, 3.2 asks for none).
    let mut tls = scene.over_tls(Encrypted::Tls, &[]).await.unwrap();
    let stream: Vec<u8> = (0..100_u8).flat_map(|n| framed(&vec![n; 12 + usize::from(n)])).collect();
    assert!(exchange_tls(&mut tls, &stream, stream.len()).await == stream);
    scene.stop.cancel();
    let mut rest = Vec::new();
    timeout(PATIENCE, tls.read_to_end(&mut rest)).await.expect("an end").expect("a normal end of TLS");
    assert!(rest.is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dot_ends_after_a_length_that_no_query_has_and_counts_it() {
    let scene = Scene::start().await;
    let mut tls = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    let good = framed(&[5; 12]);
    tls.write_all(&[&good[..], &[0, 11], &[0; 11]].concat()).await.unwrap();
    tls.flush().await.unwrap();
    let mut replies = Vec::new();
    timeout(PATIENCE, tls.read_to_end(&mut replies)).await.expect("an end").expect("a normal end of TLS");
    assert_eq!(replies, good);
    scene.wait_dropped(DropReason::BadLength, 1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doh_takes_get_and_post_and_says_what_is_wrong_with_the_rest() {
    let scene = Scene::start().await;
    let mut https = scene.https().await;
    let message = Bytes::from_static(b"\0\0\x01\0\0\0\0\0\0\0\0\0");
    let reply = Bytes::from_static(b"\0\0\x81\0\0\0\0\0\0\0\0\0");
    let (dns, none) = (Some("application/dns-message"), Bytes::new());
    let get = "/dns-query?dns=AAABAAAAAAAAAAAA";
    for (method, path, content_type, body, expected) in [
        ("GET", get, None, &none, 200),
        ("POST", "/dns-query", dns, &message, 200),
        ("POST", "/dns-query?x", Some("application/DNS-message; x=y"), &message, 200),
        ("POST", "/dns-query", Some("text/plain"), &message, 415),
        ("POST", "/dns-query", None, &message, 415),
        ("POST", "/dns-query", dns, &Bytes::from(vec![0; LONGEST + 1]), 413),
        ("POST", "/dns-query", dns, &none, 400),
        ("POST", "/dns-query", dns, &reply, 400),
        ("GET", "/dns-query", None, &none, 400),
        ("GET", "/dns-query?dns=****", None, &none, 400),
        ("PUT", "/dns-query", dns, &message, 405),
        ("HEAD", get, None, &none, 405),
        ("GET", "/", None, &none, 404),
        ("POST", "/resolve", dns, &message, 404),
    ] {
        let mut request = Request::builder().method(method).uri(format!("https://{NAME}{path}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let response = https.send_request(request.body(Full::new(body.clone())).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected, "{method} {path} {content_type:?}");
        let is_ours = expected == 200;
        assert_eq!(response.headers().get("content-type").is_some_and(|v| v == "application/dns-message"), is_ours);
        // A message without answers is no news to keep.
        assert_eq!(response.headers().get("cache-control").is_some_and(|v| v == "private, max-age=0"), is_ours);
        let octets = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(octets == message, is_ours, "{method} {path}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doq_closes_on_what_the_rfc_forbids_and_only_that_connection() {
    let scene = Scene::start().await;
    let whole = framed(&[0; 12]);
    let two = [&whole[..], &whole].concat();
    let silent = framed(&[0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let bystander = scene.quic(b"doq").await.unwrap();
    for (what, octets) in [
        ("an identifier", &framed(&[1; 12])[..]),
        ("two messages", &two),
        ("an end before the message's", &whole[..13]),
        ("an end before the length's", &[0]),
        ("no message", &[]),
        ("a message below a header", &[0, 3, 0, 0, 0]),
        ("edns-tcp-keepalive", &framed(b"\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0")),
    ] {
        let connection = scene.quic(b"doq").await.unwrap();
        assert!(exchange_quic(&connection, octets).await.is_err(), "{what}");
        match timeout(PATIENCE, connection.closed()).await.expect("it is closed") {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code, VarInt::from_u32(2), "DOQ_PROTOCOL_ERROR for {what}");
            }
            other => panic!("{what}: {other}"),
        }
    }
    assert_eq!(scene.dropped(DropReason::BadLength), 7);
    // Silence costs the stream, not the connection; nor need the stream be ended for an answer.
    assert!(exchange_quic(&bystander, &silent).await.is_err());
    let (mut send, mut receive) = bystander.open_bi().await.unwrap();
    send.write_all(&whole).await.unwrap();
    assert_eq!(timeout(PATIENCE, receive.read_to_end(100)).await.expect("a reply").unwrap(), whole);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_doq_do_not_wait_for_each_other() {
    let scene = Scene::start().await;
    let quic = scene.quic(b"doq").await.unwrap();
    // Held open by half a message.
    let mut halves = Vec::new();
    for _ in 0..AT_ONCE / 2 {
        let (mut send, receive) = quic.open_bi().await.unwrap();
        send.write_all(&[0, 12, 0]).await.unwrap();
        halves.push((send, receive));
    }
    for _ in 0..40 {
        assert_eq!(exchange_quic(&quic, &framed(&[0; 12])).await.unwrap(), framed(&[0; 12]));
    }
    assert_eq!(scene.dropped(DropReason::Stalled), 0, "they were still held");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_refused_in_the_handshake() {
    let scene = Scene::start().await;
    for (what, wrong) in [(Encrypted::Tls, &b"h2"[..]), (Encrypted::Https, b"http/1.1")] {
        let error = scene.over_tls(what, &[wrong]).await.unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{what:?}: {error}");
    }
    let error = scene.quic(b"h3").await.unwrap_err().to_string();
    assert!(error.contains("protocol"), "{error}");
    let mut plain = tokio::net::TcpStream::connect(scene.addresses[0]).await.unwrap();
    plain.write_all(&framed(&[0; 40])).await.unwrap();
    let mut alert = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut alert)).await.expect("an end");
    scene.wait_dropped(DropReason::Handshake, 4).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_go_no_further_hold_up_nobody() {
    let scene = Scene::start().await;
    let hold = |what: Encrypted| TcpStream::connect(scene.addresses[what as usize]).unwrap();
    let held: Vec<TcpStream> = (0..60).flat_map(|_| [Encrypted::Tls, Encrypted::Https]).map(hold).collect();
    // The first datagrams of clients that then fall silent: more than there may be handshakes in all.
    let [nowhere, forger] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    nowhere.set_read_timeout(Some(PATIENCE)).unwrap();
    let crypto = QuicClientConfig::try_from(scene.client_tls(&[b"doq"])).unwrap();
    let config = ClientConfig::new(Arc::new(crypto));
    let endpoint = quic_client();
    let mut connecting = Vec::new();
    for _ in 0..300 {
        connecting.push(endpoint.connect_with(config.clone(), nowhere.local_addr().unwrap(), NAME).unwrap());
        let mut first = [0; 2000];
        let length = tokio::task::block_in_place(|| nowhere.recv(&mut first)).unwrap();
        forger.send_to(&first[..length], scene.addresses[2]).unwrap();
    }
    let mut tls = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    assert_eq!(exchange_tls(&mut tls, &framed(&[7; 12]), 14).await, framed(&[7; 12]));
    assert_eq!(post(&mut scene.https().await, &[7; 12]).await.0, StatusCode::OK);
    let quic = scene.quic(b"doq").await.unwrap();
    assert_eq!(exchange_quic(&quic, &framed(&[0; 12])).await.unwrap(), framed(&[0; 12]));
    assert_eq!(scene.dropped(DropReason::Displaced), 0);
    drop(held);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_certificate_is_shown_from_then_on_and_open_connections_stay() {
    let mut scene = Scene::start().await;
    let mut before = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    let quic_before = scene.quic(b"doq").await.unwrap();
    let next = new_certificate();
    scene.certificates.swap(next.clone());
    // Whoever trusts the new one alone is shown it.
    scene.trusted = next.cert.clone();
    let mut after = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    assert_eq!(after.get_ref().1.peer_certificates().unwrap(), next.cert);
    scene.https().await;
    scene.quic(b"doq").await.unwrap();
    for stream in [&mut before, &mut after] {
        assert_eq!(exchange_tls(stream, &framed(&[9; 12]), 14).await, framed(&[9; 12]));
    }
    assert!(exchange_quic(&quic_before, &framed(&[0; 12])).await.is_ok());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_make_room_for_others() {
    let scene = Scene::start().await;
    let mut tls = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    let mut https = scene.https().await;
    let quic = scene.quic(b"doq").await.unwrap();
    // Each has sent a query, so that each has a seat.
    exchange_tls(&mut tls, &framed(&[7; 12]), 14).await;
    post(&mut https, &[7; 12]).await;
    exchange_quic(&quic, &framed(&[0; 12])).await.unwrap();
    while scene.context.seats.make_room() {}
    while scene.quic_context.seats.make_room() {}
    timeout(PATIENCE, tls.read_to_end(&mut Vec::new())).await.expect("it is closed").unwrap();
    let closed = async {
        while !https.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("it is closed");
    match timeout(PATIENCE, quic.closed()).await.expect("it is closed") {
        ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, VarInt::from_u32(4)),
        other => panic!("{other}"),
    }
    scene.end().await;
}
