//! Framed messages over a pipe: how they are separated, answered in order, and bounded in time and octets.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::admission::{Seats, WaitingOctets};
use crate::answer::{Outcome, RawQuery, Reject, Reply};
use crate::server::streams::carrier::Abort;
use crate::server::{Counters, StreamLimits};
use tokio::io::{DuplexStream, duplex};
use tokio::time::sleep;

/// Echoes the message; silence for those that begin with 0xFF, and a bug for 0xEE.
fn echo(ask: &RawQuery<'_>, out: &mut [u8]) -> Outcome {
    match ask.packet[0] {
        0xFF => return Outcome::Silence(Reject::Response),
        0xEE => panic!("a bug of ours, in a test"),
        _ => out[..ask.packet.len()].copy_from_slice(ask.packet),
    }
    Outcome::Reply(Reply { len: ask.packet.len(), ..Reply::default() })
}

struct Scene {
    client: DuplexStream,
    task: tokio::task::JoinHandle<()>,
    counters: Counters,
    stop: CancellationToken,
}

/// What carries framed messages.
const FRAMED: [Transport; 2] = [Transport::Tcp, Transport::Tls];

/// A connection of plain TCP to [`echo`] whose pipe has `room` octets each way.
fn connect(room: usize) -> Scene {
    connect_over(Transport::Tcp, room)
}

fn connect_over(transport: Transport, room: usize) -> Scene {
    connect_within(&StreamLimits::default(), transport, room)
}

fn connect_within(limits: &StreamLimits, transport: Transport, room: usize) -> Scene {
    let (client, server) = duplex(room);
    let (counters, stop) = (Counters::new(), CancellationToken::new());
    let context = StreamContext::new(Arc::new(echo), counters.shared(), limits, None);
    let source: SocketAddr = ([192, 0, 2, 1], 4242).into();
    let seat = context.seats.admit(source.ip(), clock::now());
    let accepted = NewConnection { stream: server, source, seat, abort: Abort::default() };
    let task = tokio::spawn(converse(accepted, transport, context, stop.clone()));
    Scene { client, task, counters, stop }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn count(counters: &Counters, reason: DropReason) -> u64 {
    counters.totals().dropped.iter().find(|(other, _)| *other == reason).unwrap().1
}

#[test]
fn messages_are_separated_at_every_octet() {
    let stream = [framed(&[1; 12]), framed(&[2; 300])].concat();
    for end in 0..stream.len() {
        let expected = match end {
            0..14 => NextMessage::Part,
            14.. => NextMessage::Whole(&stream[2..14]),
        };
        assert_eq!(next_message(&stream[..end]), expected, "{end} octets");
    }
    assert_eq!(next_message(&stream[14..20]), NextMessage::Part);
    for short in 0..12 {
        assert_eq!(next_message(&[0, short, 0]), NextMessage::BadLength, "a length of {short}");
    }
}

#[tokio::test(start_paused = true)]
async fn pipelined_messages_are_answered_in_order_however_they_are_cut() {
    for piece in [1, 7, 14, 5000] {
        let mut scene = connect(1 << 20);
        let stream: Vec<u8> = (0..200_u8).flat_map(|n| framed(&vec![n; 12 + usize::from(n) * 7])).collect();
        for part in stream.chunks(piece) {
            scene.client.write_all(part).await.unwrap();
        }
        let mut replies = vec![0; stream.len()];
        scene.client.read_exact(&mut replies).await.unwrap();
        assert!(replies == stream, "in pieces of {piece}");
        drop(scene.client);
        scene.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_message_passes_and_silence_or_a_bug_takes_only_its_own_reply() {
    let scene = connect(1 << 10);
    let last = framed(&[7; LONGEST]);
    let stream = [framed(&[0xFF; 20]), framed(&[0xEE; 20]), last.clone()].concat();
    let (mut reader, mut writer) = tokio::io::split(scene.client);
    let writing = tokio::spawn(async move { writer.write_all(&stream).await.map(|()| writer) });
    let mut reply = vec![0; last.len()];
    reader.read_exact(&mut reply).await.unwrap();
    assert!(reply == last);
    let _writer = writing.await.unwrap().unwrap();
    scene.stop.cancel();
    scene.task.await.unwrap();
    let totals = scene.counters.totals();
    assert_eq!(totals.queries, [(Transport::Tcp, 0, 1)]);
    assert_eq!(count(&scene.counters, DropReason::Rejected(Reject::Response)), 1);
    assert_eq!(count(&scene.counters, DropReason::Fault), 1);
}

#[tokio::test(start_paused = true)]
async fn a_half_sent_message_ends_the_connection_in_bounded_time_even_when_it_drips() {
    for transport in FRAMED {
        let mut scene = connect_over(transport, 1 << 10);
        let began = clock_of_tokio();
        scene.client.write_all(&[0, 100, 1]).await.unwrap();
        while scene.client.write_all(&[1]).await.is_ok() {
            sleep(Duration::from_millis(500)).await;
            assert!(clock_of_tokio() < began + 2 * MESSAGE, "an octet now and then keeps it open");
        }
        scene.task.await.unwrap();
        assert_eq!(count(&scene.counters, DropReason::Stalled), 1, "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let mut scene = connect(1 << 10);
    let began = clock_of_tokio();
    for _ in 0..5 {
        sleep(IDLE * 9 / 10).await;
        scene.client.write_all(&framed(&[3; 40])).await.unwrap();
        scene.client.read_exact(&mut [0; 42]).await.unwrap();
    }
    assert_eq!(scene.client.read(&mut [0; 1]).await.unwrap(), 0, "closed by the server");
    let open = clock_of_tokio() - began;
    assert!((IDLE * 5..IDLE * 6).contains(&open), "{open:?}");
    scene.task.await.unwrap();
    assert_eq!(count(&scene.counters, DropReason::Stalled), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_replies_is_closed_and_held_to_what_fits_the_bounds() {
    for transport in FRAMED {
        let mut scene = connect_over(transport, 1 << 10);
        let message = framed(&[9; 4000]);
        while let Ok(Ok(())) = timeout(2 * WRITE, scene.client.write_all(&message)).await {}
        scene.task.await.unwrap();
        assert_eq!(count(&scene.counters, DropReason::Stalled), 1, "{transport:?}");
        let answered = scene.counters.totals().queries[0].2 as usize;
        assert!(answered <= 2 + WRITE_AT / message.len(), "{answered} replies were accumulated");
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_that_no_query_has_closes_the_connection_after_the_replies_before_it() {
    for transport in FRAMED {
        let mut scene = connect_over(transport, 1 << 10);
        let good = framed(&[5; 12]);
        scene.client.write_all(&[&good[..], &[0, 11], &[0; 11]].concat()).await.unwrap();
        let mut replies = Vec::new();
        scene.client.read_to_end(&mut replies).await.unwrap();
        assert_eq!(replies, good);
        scene.task.await.unwrap();
        assert_eq!(count(&scene.counters, DropReason::BadLength), 1, "{transport:?}");
        assert_eq!(scene.counters.totals().queries, [(transport, 0, 1)]);
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' paused clock, which is not the world's")]
fn clock_of_tokio() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test]
async fn a_client_that_pipelines_thousands_of_queries_leaves_turns_for_others() {
    let mut many = connect(4 << 20);
    let mut one = connect(1 << 10);
    many.client.write_all(&framed(&[1; 12]).repeat(50_000)).await.unwrap();
    one.client.write_all(&framed(&[2; 12])).await.unwrap();
    one.client.read_exact(&mut [0; 14]).await.unwrap();
    let answered = many.counters.totals().queries.first().map_or(0, |(_, _, count)| *count);
    assert!(answered <= 20 * TURN as u64, "{answered} messages were answered before the turn of another client");
    many.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_reply_without_room_for_too_long_ends_the_connection() {
    for transport in FRAMED {
        let limits = StreamLimits { octets: WaitingOctets::new(10_000), ..StreamLimits::default() };
        // Another connection of the same client has all octets, and is not deaf.
        let other = Seats::new(1).admit([192, 0, 2, 1].into(), clock::now());
        let account = limits.octets.account(&other, REPLIES);
        let taken = account.try_reserve(10_000).unwrap();
        let mut scene = connect_within(&limits, transport, 1 << 16);
        let small = framed(&[1; 100]);
        scene.client.write_all(&small).await.unwrap();
        scene.client.read_exact(&mut vec![0; small.len()]).await.expect("a small reply has room");
        scene.client.write_all(&framed(&[1; 6000])).await.unwrap();
        let began = clock_of_tokio();
        assert_eq!(scene.client.read(&mut [0; 1]).await.unwrap(), 0, "it is closed");
        assert!(clock_of_tokio() - began >= WRITE, "not at once");
        scene.task.await.unwrap();
        assert_eq!(count(&scene.counters, DropReason::NoOctets), 1, "{transport:?}");
        // With room it is answered.
        drop(taken);
        let mut scene = connect_within(&limits, transport, 1 << 16);
        scene.client.write_all(&framed(&[1; 6000])).await.unwrap();
        scene.client.read_exact(&mut vec![0; 6002]).await.unwrap();
        assert_eq!(limits.octets.waiting(), 0);
    }
}
