//! Which processes fit together, and what hostile octets do.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::channel::{Channel, ChannelError};
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
