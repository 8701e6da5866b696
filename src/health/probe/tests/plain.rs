//! icmp and tcp, and what all kinds have in common: repeats, source addresses, time-outs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::sync::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::health::probe::check_rights;

#[tokio::test]
async fn a_handshake_succeeds_and_takes_some_time() {
    let to = serve(|_, stream| async { drop(stream) }).await;
    let measured = measure(ProbeKind::Tcp, to, AMPLE).await;
    let rtt = measured.result.expect("someone listens there");
    assert!(rtt > Duration::ZERO && rtt <= measured.ended.since(measured.began));
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses_before_the_time_out() {
    // Bound and not listening: no other process can take the port meanwhile.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    taken.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let to = taken.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
    let measured = measure(ProbeKind::Tcp, to, AMPLE).await;
    assert_eq!(measured.result, Err(Failure::Refused));
    assert!(measured.ended.since(measured.began) < AMPLE);
}

#[tokio::test]
async fn silence_times_out() {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    full.listen(1).expect("a listener");
    let to = full.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
    // Nobody accepts, so the kernel drops every SYN once the queue is full.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("non-blocking");
        // In progress, not an error.
        let _ = client.connect(&to.into());
        waiting.push(client);
    }
    let measured = measure(ProbeKind::Tcp, to, BRIEF).await;
    assert_eq!(measured.result, Err(Failure::TimedOut { after: BRIEF }));
    assert!(measured.ended.since(measured.began) >= BRIEF);
}

#[tokio::test]
async fn an_attempt_that_gets_no_answer_is_repeated_and_does_not_count_in_the_round_trip() {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let to = serve({
        let stored = Arc::clone(&stored);
        move |nth, mut stream| {
            let stored = Arc::clone(&stored);
            async move {
                read_request(&mut stream).await;
                if nth > 0 {
                    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
                }
                // The first one stays open and silent.
                stored.lock().await.push(stream);
            }
        }
    })
    .await;
    let timeout = Duration::from_secs(4);
    let measured = measure(ProbeKind::Http(spec()), to, timeout).await;
    let rtt = measured.result.expect("the second attempt is answered");
    let took = measured.ended.since(measured.began);
    assert!(rtt + timeout / 4 <= took, "{rtt:?} is the second attempt's own time, of {took:?}");
}

#[tokio::test]
async fn probes_have_the_configured_source_address() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(stream.peer_addr().map(|peer| peer.ip()).ok());
            read_request(&mut stream).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    })
    .await;
    let source = Ipv4Addr::new(127, 3, 2, 1);
    let clients = ProbeClients::new(SourceAddresses { v4: Some(source), v6: None });
    let measured = probe(&clients, &check(ProbeKind::Http(spec()), to, AMPLE), &Rtt::default()).await;
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!(received.recv().await, Some(Some(IpAddr::V4(source))));
}

#[tokio::test]
async fn a_source_address_that_this_host_lacks_is_no_failure_of_the_endpoint() {
    let to = serve(|_, stream| async { drop(stream) }).await;
    let clients = ProbeClients::new(SourceAddresses { v4: Some(Ipv4Addr::new(198, 51, 100, 77)), v6: None });
    let measured = probe(&clients, &check(ProbeKind::Tcp, to, AMPLE), &Rtt::default()).await;
    let failure = measured.result.expect_err("no such address here");
    assert!(!failure.is_evidence(), "{failure}");
}

#[tokio::test]
async fn echoes_of_loopback_are_answered_where_this_process_has_the_right() {
    let monitor = Monitor { interval: AMPLE, timeout: AMPLE, ..Monitor::new(ProbeKind::Icmp) };
    let check = CheckKey { monitor: monitor.into(), target: ProbeTarget::Host(Ipv4Addr::LOCALHOST.into()) };
    let clients = ProbeClients::new(SourceAddresses::default());
    // Both at a time: on unprivileged sockets only the sequence number of the replies differs.
    let rtt = Rtt::default();
    let (first, second) = tokio::join!(probe(&clients, &check, &rtt), probe(&clients, &check, &rtt));
    match check_rights([&check]) {
        Ok(()) => {
            let first = first.result.expect("loopback answers echoes");
            let second = second.result.expect("loopback answers echoes");
            assert!(first > Duration::ZERO && second > Duration::ZERO);
        }
        Err(missing) => {
            let text = first.result.expect_err("without the right no probe");
            assert!(!text.is_evidence());
            assert_eq!(text.to_string(), missing.to_string());
        }
    }
}

#[tokio::test]
async fn a_full_accept_queue_is_no_loss_of_packets() {
    // A process that hangs and has a short queue: its kernel grants two connections and drops further packets.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    socket.listen(1).expect("a listener");
    let to = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
    let timeout = Duration::from_secs(1);
    let measured = measure(ProbeKind::Http(spec()), to, timeout).await;
    let failure = measured.result.expect_err("nobody answers");
    assert!(!failure.is_doubtful(), "{failure:?}");
    let text = failure.to_string();
    // On a busy machine there may be no time for a third attempt.
    assert!(text == "timed out after 1s" || text.contains("the server's accept queue is full"), "{text}");
    assert!(measured.granted.is_some_and(|granted| granted.last < measured.ended), "a connection was granted");
    // The queue stays full: now there is only silence.
    let measured = measure(ProbeKind::Http(spec()), to, timeout).await;
    assert!(measured.result.is_err_and(|failure| !failure.is_doubtful()));
}
