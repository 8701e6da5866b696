//! Which processes fit together, and what hostile octets do.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::HELLO_WAIT;
use super::channel::{Channel, ChannelError};
use super::give::{Door, MAX_VISITORS};
use super::message::{HEAD, MAX_DESCRIPTORS, MAX_OCTETS, ProgramVersions, TakeoverMessage};
use super::take::Taken;
use crate::daemon::StartError;

const SOON: Duration = Duration::from_millis(200);

fn pair() -> (Channel, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    (Channel::new(one).unwrap(), other)
}

#[test]
fn versions_that_cannot_go_on_from_each_other_say_why() {
    let own = ProgramVersions::own();
    assert_eq!(own.check(&own), Ok(()));
    let with = |change: &dyn Fn(&mut ProgramVersions)| {
        let mut running = ProgramVersions::own();
        change(&mut running);
        own.check(&running).unwrap_err()
    };
    let why = with(&|running| running.protocol += 1);
    assert!(why.contains("version 2 of the messages"), "{why}");
    let why = with(&|running| *running.files.get_mut("overrides.json").unwrap() += 1);
    assert_eq!(why, "it writes version 2 of overrides.json, and this program reads version 1");
    let why = with(&|running| running.files.extend([("coming.json".into(), 1)]));
    assert!(why.contains("does not know: coming.json"), "{why}");
    let mut running = ProgramVersions::own();
    running.files.remove("ramps.json");
    assert_eq!(own.check(&running), Ok(()), "an older server has fewer files");
}

#[test]
fn messages_and_descriptors_arrive_as_they_were_sent() {
    let (one, other) = pair();
    let other = Channel::new(other).unwrap();
    let message = TakeoverMessage::Sockets { uses: vec!["udp".into(); MAX_DESCRIPTORS] };
    let null = std::fs::File::open("/dev/null").unwrap();
    let descriptors = [std::os::fd::AsFd::as_fd(&null); MAX_DESCRIPTORS];
    one.send(&message, &descriptors, SOON).unwrap();
    one.send(&TakeoverMessage::Freeze, &[], SOON).unwrap();
    let (received, files) = other.receive(SOON).unwrap();
    assert_eq!((received, files.len()), (message, MAX_DESCRIPTORS));
    other.expect(&TakeoverMessage::Freeze, SOON).unwrap();
    assert!(matches!(other.receive(SOON), Err(ChannelError::Silent(_))));
    drop(one);
    assert!(matches!(other.receive(SOON), Err(ChannelError::Ended)));
}

#[test]
fn what_is_no_message_is_an_error_within_its_time_and_room() {
    let too_long = (MAX_OCTETS as u32 + 1).to_be_bytes();
    let body = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let cases = [&[0; HEAD][..], &[0xff; HEAD], &too_long, &body(b"{"), &body(b"[]"), &body(b"{\"message\":\"x\"}")];
    for octets in cases {
        let (channel, mut stream) = pair();
        stream.write_all(octets).unwrap();
        assert!(matches!(channel.receive(SOON), Err(ChannelError::Wrong(_))), "{octets:?}");
    }
    let (channel, mut stream) = pair();
    stream.write_all(&body(b"{\"message\":\"freeze\"}")[..7]).unwrap();
    assert!(matches!(channel.receive(SOON), Err(ChannelError::Silent(_))), "half of a message");
}

#[test]
fn without_a_running_server_there_is_nothing_to_take_over() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Taken::begin(dir.path()).unwrap().is_none());
    assert!(Taken::begin(&dir.path().join("missing")).unwrap().is_none());
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(super::SOCKET)).unwrap());
    assert!(Taken::begin(dir.path()).unwrap().is_none(), "the socket of a server that has ended");
}

#[test]
fn a_server_of_another_version_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join(super::SOCKET)).unwrap();
    let running = std::thread::spawn(move || {
        let channel = Channel::new(listener.accept().unwrap().0).unwrap();
        channel.receive(SOON).unwrap();
        let mut versions = ProgramVersions::own();
        versions.files.insert("overrides.json".into(), 9);
        channel.send(&TakeoverMessage::Welcome { versions, sockets: 0, cookies: String::new() }, &[], SOON).unwrap();
        channel.receive(SOON).unwrap().0
    });
    let refused = Taken::begin(dir.path()).unwrap_err();
    let StartError::State(why) = refused else { panic!("{refused:?}") };
    assert!(why.contains("version 9 of overrides.json") && why.contains("it goes on"), "{why}");
    assert!(matches!(running.join().unwrap(), TakeoverMessage::Refused { .. }));
}

/// A visitor with a version that is as long as a message can be.
fn visit(dir: &std::path::Path) -> UnixStream {
    let stream = UnixStream::connect(dir.join(super::SOCKET)).unwrap();
    let versions = ProgramVersions { version: "v\n".repeat(15_000), ..ProgramVersions::own() };
    let channel = Channel::new(stream.try_clone().unwrap()).unwrap();
    channel.send(&TakeoverMessage::Hello(versions), &[], SOON).unwrap();
    stream
}

#[tokio::test]
async fn visitors_that_send_nothing_hold_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut door = Door::open(dir.path()).unwrap();
    let silent = || UnixStream::connect(dir.path().join(super::SOCKET)).unwrap();
    let first: Vec<UnixStream> = (1..MAX_VISITORS).map(|_| silent()).collect();
    let _honest = visit(dir.path());
    let began = crate::clock::now();
    let visitor = tokio::time::timeout(Duration::from_secs(60), door.next()).await.unwrap();
    let took = crate::clock::now().since(began);
    // One after the other they would take seven times as long as one has.
    assert!(took < HELLO_WAIT * (MAX_VISITORS as u32 - 2), "{took:?}");
    assert!(visitor.shown().starts_with("version v\\nv\\n") && visitor.shown().len() < 200, "{}", visitor.shown());
    // With all places taken, one is free when the time of a silent one has passed.
    let second: Vec<UnixStream> = (0..MAX_VISITORS).map(|_| silent()).collect();
    let _honest = visit(dir.path());
    tokio::time::timeout(Duration::from_secs(60), door.next()).await.unwrap();
    drop((first, second));
}

#[test]
fn a_message_that_comes_in_drops_has_the_time_of_one() {
    let (channel, mut stream) = pair();
    let sender = std::thread::spawn(move || {
        // Each octet comes long before the time-out of a read.
        for octet in [0, 0, 0, 200].into_iter().chain(std::iter::repeat_n(b' ', 200)) {
            if stream.write_all(&[octet]).is_err() {
                return;
            }
            std::thread::sleep(SOON / 10);
        }
    });
    let began = crate::clock::now();
    assert!(matches!(channel.receive(SOON), Err(ChannelError::Silent(_))));
    assert!(crate::clock::now().since(began) < SOON * 10);
    drop(channel);
    sender.join().unwrap();
}

#[test]
fn texts_of_the_other_process_are_cut() {
    let (channel, mut stream) = pair();
    let body = format!("{{\"message\":\"{}\"}}", "x\u{1}".repeat(20_000).replace('\u{1}', "\\u0007"));
    stream.write_all(&(body.len() as u32).to_be_bytes()).unwrap();
    let sender = std::thread::spawn(move || stream.write_all(body.as_bytes()).map(|()| stream));
    let Err(error) = channel.receive(Duration::from_secs(20)) else { panic!("no such message") };
    assert!(error.to_string().len() < 5000, "{}", error.to_string().len());
    drop(sender.join().unwrap());
    let mut running = ProgramVersions::own();
    running.files.insert("y".repeat(60_000), 1);
    assert!(ProgramVersions::own().check(&running).unwrap_err().len() < 200);
}
