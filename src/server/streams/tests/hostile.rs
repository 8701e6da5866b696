//! Clients that take nothing, that send more than they may, or that never finish a handshake; and others next to them
//! that are answered.

use std::net::IpAddr;

use hyper::client::conn::http2;
use quinn::TransportConfig;
use tokio::net::UdpSocket as TokioUdpSocket;
use tokio::time::sleep;

use super::*;
use crate::admission::{FREE, Seats, WaitingOctets};
use crate::server::streams::octets::{LONG_REQUEST, REPLIES, STREAM};

/// A message whose echo fills most of the room of a connection.
const LARGE: usize = 60_000;

fn large() -> Vec<u8> {
    vec![0; LARGE]
}

fn answered(scene: &Scene) -> u64 {
    scene.counters.totals().queries.iter().map(|(_, _, count)| count).sum()
}

fn calls(scene: &Scene) -> u64 {
    scene.calls.load(Relaxed)
}

/// Waits until the condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// A client of DoH that allows no octet of any reply.
async fn deaf_https(scene: &Scene) -> SendRequest<Full<Bytes>> {
    let stream = scene.over_tls(Encrypted::Https, &[b"h2"]).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

/// A client of DoQ that takes one octet of each reply.
async fn deaf_quic(scene: &Scene) -> Connection {
    let crypto = QuicClientConfig::try_from(scene.client_tls(&[b"doq"])).unwrap();
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1));
    config.transport_config(Arc::new(transport));
    quic_client().connect_with(config, scene.addresses[Encrypted::Quic as usize], NAME).unwrap().await.unwrap()
}

fn post_of(message: Vec<u8>) -> Request<Full<Bytes>> {
    let post = Request::post("https://ns1.example/dns-query").header("content-type", "application/dns-message");
    post.body(Full::new(message.into())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_client_of_doh_has_the_replies_that_have_room_and_is_closed() {
    let scene = Scene::start().await;
    let mut deaf = deaf_https(&scene).await;
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        sent.spawn(deaf.send_request(post_of(large())));
    }
    until("its first reply waits", || answered(&scene) > 0).await;
    let mut bystander = scene.https().await;
    for _ in 0..10 {
        assert_eq!(post(&mut bystander, &[7; 12]).await.0, StatusCode::OK);
    }
    // Because its reply is not taken, or because its next query waited for too long.
    let closed = || scene.dropped(DropReason::Stalled) + scene.dropped(DropReason::NoOctets) > 0;
    until("it is closed", closed).await;
    until("its octets are free", || scene.context.octets.waiting() == 0).await;
    assert!(answered(&scene) <= 10 + REPLIES.div_ceil(LARGE) as u64, "{} replies", answered(&scene));
    assert!(calls(&scene) <= answered(&scene) + 1, "{} messages were answered, also without room", calls(&scene));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_client_of_doq_has_the_replies_that_have_room_and_is_closed() {
    let scene = Scene::start().await;
    let deaf = deaf_quic(&scene).await;
    let mut sent = Vec::new();
    for _ in 0..AT_ONCE {
        let (mut send, receive) = deaf.open_bi().await.unwrap();
        sent.push(receive);
        tokio::spawn(async move {
            let _ = send.write_all(&framed(&large())).await;
            let _ = send.finish();
            sleep(PATIENCE).await;
        });
    }
    until("its first reply waits", || answered(&scene) > 0).await;
    let bystander = scene.quic(b"doq").await.unwrap();
    for _ in 0..10 {
        assert_eq!(exchange_quic(&bystander, &framed(&[0; 12])).await.unwrap(), framed(&[0; 12]));
    }
    assert!(answered(&scene) <= 10 + REPLIES.div_ceil(LARGE) as u64, "{} replies", answered(&scene));
    assert!(calls(&scene) <= answered(&scene) + 1, "{} messages were answered, also without room", calls(&scene));
    timeout(PATIENCE, deaf.closed()).await.expect("it is closed");
    drop(sent);
    until("its octets are free", || scene.context.octets.waiting() == 0).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_octets_wait_for_deaf_clients_one_of_them_makes_room() {
    // On a slow machine they are closed before, for taking nothing; then it is tried again.
    for _ in 0..5 {
        if one_deaf_client_makes_room().await {
            return;
        }
    }
    panic!("room was made only by connections that were closed for taking nothing");
}

/// Whether one of three deaf clients was displaced for the reply of a fourth client, and no connection was closed for
/// taking nothing.
async fn one_deaf_client_makes_room() -> bool {
    // Room for three large replies, a request, and not for its reply.
    let octets = WaitingOctets::new(5 * LARGE);
    let scene = Scene::within(StreamLimits { octets, ..StreamLimits::default() }).await;
    let mut deaf = Vec::new();
    for count in 1..=3 {
        let mut client = deaf_https(&scene).await;
        deaf.push(tokio::spawn(client.send_request(post_of(large()))));
        until("its reply waits", || answered(&scene) >= count || scene.dropped(DropReason::Stalled) > 0).await;
    }
    // A small reply has room without them.
    let mut bystander = scene.https_from([127, 0, 0, 2]).await;
    assert_eq!(post(&mut bystander, &[7; 12]).await.0, StatusCode::OK);
    assert_eq!(scene.dropped(DropReason::NoOctets), 0);
    // A large one gets that of the net with most.
    let status = post(&mut bystander, &large()).await.0;
    let is_fast = scene.dropped(DropReason::Stalled) == 0;
    if is_fast {
        assert_eq!(status, StatusCode::OK);
        scene.wait_dropped(DropReason::NoOctets, 1).await;
    }
    scene.end().await;
    is_fast
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_end_have_room_in_all_for_one_connection() {
    let scene = Scene::start().await;
    // All but the last octet of a longest message, on each stream.
    let quic = scene.quic(b"doq").await.unwrap();
    let mut halves = Vec::new();
    let message = framed(&[0; LONGEST]);
    for _ in 0..AT_ONCE / 2 {
        let (mut send, receive) = quic.open_bi().await.unwrap();
        let _ = timeout(Duration::from_millis(200), send.write_all(&message[..message.len() - 1])).await;
        halves.push((send, receive));
        assert!(scene.context.octets.waiting() <= 400_000, "{}", scene.context.octets.waiting());
        if scene.dropped(DropReason::NoOctets) > 3 {
            break;
        }
    }
    assert!(scene.dropped(DropReason::NoOctets) > 3, "the others are refused");
    let bystander = scene.quic(b"doq").await.unwrap();
    assert_eq!(exchange_quic(&bystander, &framed(&[0; 12])).await.unwrap(), framed(&[0; 12]));
    scene.end().await;
}

/// Forwards what clients send to the server, and of what the server sends only the demands to validate the address. So
/// no handshake is ever finished.
async fn half_handshakes(server: SocketAddr) -> SocketAddr {
    let inner = TokioUdpSocket::bind("127.0.0.1:0").await.unwrap();
    let outer = TokioUdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut from_client, mut from_server) = ([0; 2048], [0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((len, source)) = inner.recv_from(&mut from_client) => {
                    client = Some(source);
                    let _ = outer.send_to(&from_client[..len], server).await;
                }
                Ok(len) = outer.recv(&mut from_server) => {
                    // A Retry packet (RFC 9000, 17.2.5).
                    let is_retry = from_server[0] & 0xf0 == 0xf0;
                    if let (true, Some(client)) = (is_retry, client) {
                        let _ = inner.send_to(&from_server[..len], client).await;
                    }
                }
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_handshakes_of_one_address_shut_nobody_out() {
    let limits = StreamLimits { quic_connections: Seats::new(64), ..StreamLimits::default() };
    let scene = Scene::within(limits).await;
    let relay = half_handshakes(scene.addresses[Encrypted::Quic as usize]).await;
    let flood = quic_client();
    let mut halves = Vec::new();
    for _ in 0..330 {
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(scene.client_tls(&[b"doq"])).unwrap()));
        let connecting = flood.connect_with(config, relay, NAME).unwrap();
        halves.push(tokio::spawn(connecting));
    }
    until("all seats are taken", || scene.quic_context.seats.taken() == 64).await;
    let bystander = Endpoint::client((IpAddr::from([127, 0, 0, 2]), 0).into()).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(scene.client_tls(&[b"doq"])).unwrap()));
    let address = scene.addresses[Encrypted::Quic as usize];
    let connection = bystander.connect_with(config, address, NAME).unwrap();
    let connection = timeout(PATIENCE, connection).await.expect("a handshake").expect("a connection");
    assert_eq!(exchange_quic(&connection, &framed(&[0; 12])).await.unwrap(), framed(&[0; 12]));
    assert!(scene.dropped(DropReason::Displaced) > 0);
    flood.close(VarInt::from_u32(0), b"");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_dot_that_takes_nothing_has_what_has_room_and_another_is_answered() {
    let scene = Scene::start().await;
    let mut deaf = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    let message = framed(&large());
    let sent = async {
        for _ in 0..200 {
            deaf.write_all(&message).await?;
        }
        deaf.flush().await
    };
    let sent = timeout(Duration::from_secs(2), sent).await;
    assert!(!matches!(sent, Ok(Ok(()))), "the server reads no further");
    let mut bystander = scene.over_tls(Encrypted::Tls, &[b"dot"]).await.unwrap();
    assert_eq!(exchange_tls(&mut bystander, &framed(&[7; 12]), 14).await, framed(&[7; 12]));
    // What is in the kernel: the buffers of both ends.
    assert!(answered(&scene) <= 1 + 60, "{} replies", answered(&scene));
    scene.wait_dropped(DropReason::Stalled, 1).await;
    scene.end().await;
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The kind and the stream of each whole frame.
fn frames(mut octets: &[u8]) -> impl Iterator<Item = (u8, u32)> + '_ {
    std::iter::from_fn(move || {
        let [high, mid, low, kind, _, rest @ ..] = octets else { return None };
        let (stream, rest) = rest.split_first_chunk::<4>()?;
        let (kind, stream) = (*kind, u32::from_be_bytes(*stream));
        octets = rest.get(u32::from_be_bytes([0, *high, *mid, *low]) as usize..)?;
        Some((kind, stream))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_doh_whose_fields_would_have_megabytes_is_cut_off() {
    let scene = Scene::start().await;
    let mut stream = scene.over_tls(Encrypted::Https, &[b"h2"]).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (mut received, mut was_warned) = (Vec::new(), false);
    for nth in 0..64_u8 {
        let stream_id = 1 + 2 * u32::from(nth);
        // GET, https, a host, and a path that is not there, which goes to the table.
        let block = [0x82, 0x87, 0x01, 1, b'a', 0x44, 2, b'/', b'a' + nth % 26];
        let head = http2_frame(1, 5, stream_id, &block);
        // A frame of a kind that is ignored (RFC 9113, 5.5).
        let filler = http2_frame(0xbe, 0, 0, &[0; 16_384]);
        if stream.write_all(&[head, filler].concat()).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        while !was_warned && !frames(&received).any(|(kind, of)| kind == 1 && of == stream_id) {
            let read = timeout(PATIENCE, stream.read_buf(&mut received)).await.expect("a response");
            was_warned = frames(&received).any(|(kind, _)| kind == 7);
            if read.is_err() || read.is_ok_and(|octets| octets == 0) {
                break;
            }
        }
    }
    assert!(was_warned, "it had a GOAWAY");
    until("it is closed", || scene.dropped(DropReason::NoOctets) + scene.dropped(DropReason::Stalled) == 1).await;
    let mut bystander = scene.https().await;
    assert_eq!(post(&mut bystander, &[7; 12]).await.0, StatusCode::OK);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn octets_behind_the_message_of_a_stream_of_doq_end_the_connection_also_while_its_reply_waits() {
    let scene = Scene::start().await;
    let deaf = deaf_quic(&scene).await;
    let (mut send, _receive) = deaf.open_bi().await.unwrap();
    send.write_all(&framed(&[0; 100])).await.unwrap();
    until("its reply waits", || answered(&scene) == 1).await;
    send.write_all(&[0]).await.unwrap();
    timeout(PATIENCE, deaf.closed()).await.expect("it is closed");
    assert_eq!(scene.dropped(DropReason::BadLength), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_message_of_doq_leaves_room_for_all_other_streams_of_its_connection() {
    let scene = Scene::start().await;
    let quic = scene.quic(b"doq").await.unwrap();
    // One of the longest messages, and a normal query on each other stream, each but for its last octet: all have their
    // room at the same time, as when no reply is acknowledged yet.
    let (mut long, receive) = quic.open_bi().await.unwrap();
    let (message, query) = (framed(&[0; LONGEST]), framed(&[0; LONG_REQUEST - 2]));
    long.write_all(&message[..message.len() - 1]).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..AT_ONCE - 1 {
        let (mut send, receive) = quic.open_bi().await.unwrap();
        send.write_all(&query[..query.len() - 1]).await.unwrap();
        others.push((send, receive));
    }
    let others_count = others.len();
    let all_have_room = AT_ONCE as usize * STREAM + message.len() - 1 + others_count * (query.len() - 1);
    // A few are not taken from the total.
    until("all have room", || scene.context.octets.waiting() + FREE >= all_have_room).await;
    for (send, _) in &mut others {
        send.write_all(&query[query.len() - 1..]).await.unwrap();
    }
    until("the others are answered", || answered(&scene) == others_count as u64).await;
    long.write_all(&message[message.len() - 1..]).await.unwrap();
    until("the long one is answered", || answered(&scene) == u64::from(AT_ONCE)).await;
    drop((receive, others));
    scene.end().await;
}
