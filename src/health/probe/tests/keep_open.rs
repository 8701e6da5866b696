//! The socket of a held connection: its keep-alives, and its kinds of end.

use std::net::Shutdown;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::*;
use crate::health::held::ConnectionEnd;
use crate::health::probe::keep_open::{open, wait_for_end};

fn held(to: SocketAddr, interval: Duration) -> CheckKey {
    let monitor = Monitor { timeout: AMPLE, interval, hold: true, ..Monitor::new(ProbeKind::Tcp) };
    CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(to) }
}

async fn opened(to: SocketAddr, interval: Duration) -> TcpStream {
    open(&ProbeClients::new(SourceAddresses::default()), &held(to, interval)).await.expect("it listens")
}

/// How a connection to a server with this `talk` ends.
async fn end_of<F>(talk: impl Fn(usize, TcpStream) -> F + Send + 'static) -> ConnectionEnd
where
    F: Future<Output = ()> + Send + 'static,
{
    let stream = opened(serve(talk).await, Duration::from_secs(1)).await;
    tokio::time::timeout(AMPLE, wait_for_end(&stream)).await.expect("it ends")
}

#[tokio::test]
async fn the_kernel_sends_keep_alives_once_an_interval_and_at_most_once_a_second() {
    let to = serve(|_, mut stream| async move { drop(stream.read_u8().await) }).await;
    for (interval_ms, expected) in [(200, 1), (1000, 1), (5000, 5)] {
        let stream = opened(to, Duration::from_millis(interval_ms)).await;
        let (socket, expected) = (SockRef::from(&stream), Duration::from_secs(expected));
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), expected);
        assert_eq!(socket.tcp_keepalive_interval().expect("an option"), expected);
        assert_eq!(socket.tcp_keepalive_retries().expect("an option"), 3);
    }
}

#[tokio::test]
async fn a_close_and_a_reset_are_its_end() {
    assert_eq!(end_of(|_, stream| async move { drop(stream) }).await, ConnectionEnd::Closed);
    let reset = |_, stream: TcpStream| async move {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    };
    assert_eq!(end_of(reset).await, ConnectionEnd::Closed);
    let half_closed = |_, mut stream: TcpStream| async move {
        let _ = SockRef::from(&stream).shutdown(Shutdown::Write);
        let _ = stream.read_u8().await;
    };
    assert_eq!(end_of(half_closed).await, ConnectionEnd::Closed);
}

#[tokio::test]
async fn a_greeting_is_read_and_a_flood_is_not() {
    let greeting = |_, mut stream: TcpStream| async move {
        let _ = stream.write_all(&[b'x'; 16 * 1024]).await;
    };
    assert_eq!(end_of(greeting).await, ConnectionEnd::Closed);
    let flood = |_, mut stream: TcpStream| async move { while stream.write_all(&[b'x'; 1024]).await.is_ok() {} };
    assert_eq!(end_of(flood).await, ConnectionEnd::TooMuchData);
}

#[tokio::test]
async fn opening_needs_a_listener_and_a_port() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("bound");
    let clients = ProbeClients::new(SourceAddresses::default());
    let second = Duration::from_secs(1);
    assert_eq!(open(&clients, &held(nobody, second)).await.expect_err("closed again"), Failure::Refused);
    let nowhere = CheckKey { target: ProbeTarget::Nowhere, ..held(nobody, second) };
    assert!(!open(&clients, &nowhere).await.expect_err("no port").is_evidence());
}

#[tokio::test]
async fn when_it_is_dropped_the_server_sees_an_end_and_no_reset() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(stream.read_u8().await.map_err(|error| error.kind()));
        }
    })
    .await;
    drop(opened(to, Duration::from_secs(1)).await);
    let ended = tokio::time::timeout(AMPLE, received.recv()).await.expect("it ends").expect("a server");
    assert_eq!(ended, Err(std::io::ErrorKind::UnexpectedEof));
}
