//! A server, its log and the stream, over a network that loses requests and replies. Time is a number of steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use crate::fleet::events::*;

/// The stream, as JetStream has it: a message is stored only over the last one of its subject.
#[derive(Default)]
struct Stream {
    sequence: u64,
    /// Sequence, node, and content.
    messages: VecDeque<(u64, &'static str, Vec<u8>)>,
}

impl Stream {
    fn last_of(&self, node: &str) -> Option<StoredEvent> {
        let (sequence, _, payload) = self.messages.iter().rev().find(|(_, of, _)| *of == node)?;
        let events = events_of(payload, node, MAX_IN_MESSAGE).unwrap();
        let number = events.into_iter().map(|event| event.unwrap().0.number).max().unwrap();
        Some(StoredEvent { number, sequence: *sequence })
    }

    fn store(&mut self, node: &'static str, payload: Vec<u8>, expected: u64) -> Option<u64> {
        if self.last_of(node).map_or(0, |last| last.sequence) != expected {
            return None;
        }
        self.sequence += 1;
        self.messages.push_back((self.sequence, node, payload));
        Some(self.sequence)
    }
}

/// A server with a bounded log.
#[derive(Default)]
struct Server {
    /// Number and content, oldest first.
    log: VecDeque<(u64, u64)>,
    floor: u64,
    last: u64,
    is_held: bool,
    held: Vec<u64>,
    outbox: EventOutbox,
    /// Contents that the bounded log lost before they were in the stream.
    dropped: BTreeSet<u64>,
}

const LOG: usize = 6;

impl Server {
    fn append(&mut self, content: u64) {
        if self.is_held {
            self.held.push(content);
            return;
        }
        self.last += 1;
        self.log.push_back((self.last, content));
        if self.log.len() > LOG {
            let (number, content) = self.log.pop_front().unwrap();
            self.floor = number;
            self.dropped.insert(content);
        }
    }

    fn range(&self) -> LogRange {
        LogRange { floor: self.floor, last: self.last, expired: self.floor }
    }

    fn restart(&mut self) {
        self.outbox = EventOutbox::default();
        self.is_held = true;
    }

    fn lose_state(&mut self) {
        self.dropped.extend(self.log.drain(..).map(|(_, content)| content));
        (self.floor, self.last) = (0, 0);
        self.restart();
    }

    fn begin(&mut self, number: u64) {
        if !std::mem::take(&mut self.is_held) {
            return;
        }
        if number > self.last {
            self.last = number;
            self.floor = if self.log.is_empty() { number } else { self.floor };
        }
        std::mem::take(&mut self.held).into_iter().for_each(|content| self.append(content));
    }

    /// One exchange with the stream; `fate`: 0 the request is lost, 1 the reply is lost, else both arrive.
    fn step(&mut self, stream: &mut Stream, fate: u8) {
        let event = |(number, content): &(u64, u64)| {
            let id = EventId { node: "ns1".into(), number: *number };
            let data = EventData { why: content.to_string(), ..EventData::default() };
            CloudEvent::new(&id, EventKind::Transition, 0.0, data)
        };
        let (events, expected, lost) = match self.outbox.next(self.range()) {
            OutboxStep::Wait => return,
            OutboxStep::Read if fate < 2 => return,
            OutboxStep::Read => {
                let ahead = self.outbox.learned(stream.last_of("ns1"), self.range());
                assert!(ahead.is_none() || self.is_held, "numbers wait for the stream");
                self.begin(ahead.unwrap_or(0));
                return;
            }
            OutboxStep::SendLost(lost, expected) => {
                (vec![CloudEvent::lost(&"ns1".into(), lost, 0.0, 0)], expected, Some(lost))
            }
            OutboxStep::Send { after, expected } => {
                let later = self.log.iter().filter(|(number, _)| *number > after).take(3);
                (later.map(event).collect(), expected, None)
            }
        };
        assert!(!events.is_empty());
        let number = EventId::parse(&events.last().unwrap().id).unwrap().number;
        let stored = if fate == 0 { None } else { stream.store("ns1", message_of(&events).0, expected) };
        match (stored.filter(|_| fate >= 2), lost) {
            (None, _) => self.outbox.unknown(),
            (Some(sequence), Some(lost)) => self.outbox.stored_lost(lost, sequence),
            (Some(sequence), None) => self.outbox.stored(number, sequence),
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append,
    Step(u8),
    Restart,
    LoseState,
    DeleteStream,
    ReadStream,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => Just(Op::Append),
        8 => (0..5u8).prop_map(Op::Step),
        1 => Just(Op::Restart),
        1 => Just(Op::LoseState),
        1 => Just(Op::DeleteStream),
        3 => Just(Op::ReadStream),
    ];
    prop::collection::vec(op, 0..120)
}

proptest! {
    /// Whatever is lost: the stream has each event once and in order, and a reader gets each once or is informed.
    #[test]
    fn the_stream_follows_the_log_of_a_server(ops in ops()) {
        let (mut server, mut stream, mut archive) = (Server::default(), Stream::default(), EventArchive::default());
        let (mut content, mut next, mut is_deleted) = (0, 0, false);
        let mut seen: BTreeMap<u64, String> = BTreeMap::new();
        let mut read = |stream: &Stream, next: &mut u64, archive: &mut EventArchive| {
            let from = *next;
            for (sequence, node, payload) in stream.messages.iter().filter(|(sequence, ..)| *sequence >= from) {
                *next = sequence + 1;
                for event in archive.take(node, payload) {
                    let of_lost = event.event.kind() == Some(EventKind::Lost);
                    let text = if of_lost { "lost".to_owned() } else { event.event.data.why.clone() };
                    assert!(seen.insert(event.id.number, text).is_none(), "an id came twice");
                }
            }
        };
        for op in ops {
            match op {
                Op::Append => {
                    content += 1;
                    server.append(content);
                }
                Op::Step(fate) => server.step(&mut stream, fate),
                Op::Restart => server.restart(),
                // Both at once leave nothing that has the last number.
                Op::LoseState if is_deleted => {}
                Op::LoseState => server.lose_state(),
                // Before the server has read the last number, nothing else has it.
                Op::DeleteStream if server.is_held => {}
                Op::DeleteStream => {
                    is_deleted = true;
                    stream.messages.clear();
                    stream.sequence = 0;
                    next = 0;
                    server.outbox.unknown();
                }
                Op::ReadStream => read(&stream, &mut next, &mut archive),
            }
        }
        for _ in 0..60 {
            server.step(&mut stream, 9);
        }
        read(&stream, &mut next, &mut archive);
        prop_assert_eq!(server.outbox.next(server.range()), OutboxStep::Wait);
        // The stream has each id once, in order, and each content once.
        let (mut numbers, mut contents) = (Vec::new(), Vec::new());
        for (_, node, payload) in &stream.messages {
            for event in events_of(payload, node, MAX_IN_MESSAGE).unwrap() {
                let (id, event) = event.unwrap();
                numbers.push(id.number);
                if event.kind() != Some(EventKind::Lost) {
                    contents.push(event.data.why.parse::<u64>().unwrap());
                }
            }
        }
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        prop_assert!(contents.is_sorted_by(|a, b| a < b), "{:?}", contents);
        // Everything that the log still has is in the stream, under the number of the log.
        for (number, content) in &server.log {
            prop_assert!(contents.contains(content), "{} of {:?}", content, contents);
            prop_assert_eq!(seen.get(number), Some(&content.to_string()));
        }
        // What never came was lost by the bounded log or with the state directory, or with the stream.
        if !is_deleted {
            for missing in (1..=content).filter(|content| !contents.contains(content)) {
                prop_assert!(server.dropped.contains(&missing), "{}", missing);
            }
        }
    }

    /// Whatever is in the stream, a reader neither panics nor takes more than its bounds.
    #[test]
    fn any_message_is_read_or_counted(
        messages in prop::collection::vec(("(ns1|ns2|x/y|)", "[\\[{]?.{0,40}|.{0,9}"), 0..20),
        cursor in "([a-z0-9=]{0,4}/[0-9]{0,19},?){0,4}",
    ) {
        let mut archive = EventArchive::default();
        for (node, text) in &messages {
            prop_assert!(archive.take(node, text.as_bytes()).is_empty());
        }
        prop_assert_eq!(archive.refused().map(|(_, count)| count).sum::<u64>(), messages.len() as u64);
        if let Some(cursor) = EventCursor::parse(&cursor) {
            prop_assert_eq!(EventCursor::parse(&cursor.to_string()), Some(cursor));
        }
    }
}

fn event(node: &str, number: u64) -> CloudEvent {
    let data = EventData { endpoint: Some("fra1".into()), ..EventData::default() };
    CloudEvent::new(&EventId { node: node.into(), number }, EventKind::Transition, 5.0, data)
}

fn message(events: &[CloudEvent]) -> Vec<u8> {
    message_of(events).0
}

fn ids(events: &[Arc<ArchivedEvent>]) -> Vec<String> {
    events.iter().map(|event| event.id.to_string()).collect()
}

#[test]
fn a_client_resumes_after_its_cursor_and_learns_what_is_missing() {
    let mut archive = EventArchive::default();
    archive.take("ns1", &message(&[event("ns1", 8), event("ns1", 9)]));
    archive.take("ns2", &message(&[event("ns2", 1)]));
    archive.take("ns1", &message(&[event("ns1", 9), event("ns1", 13)]));
    assert_eq!(archive.cursor().to_string(), "ns1/13,ns2/1");
    let missed = archive.after(&EventCursor::parse("ns1/5").unwrap());
    assert_eq!(ids(&missed.events), ["ns1/8", "ns1/9", "ns2/1", "ns1/13"]);
    assert_eq!(missed.lost, LostEvents::from([("ns1".into(), (6, 7))]));
    let missed = archive.after(&EventCursor::parse("ns1/9, ns2/1").unwrap());
    assert_eq!((ids(&missed.events), missed.lost.len()), (vec!["ns1/13".to_owned()], 0));
    let of_ns1 = archive.nodes().find(|(node, _)| ***node == *"ns1").unwrap().1;
    assert_eq!((of_ns1.last, of_ns1.missing), (13, 3));
    archive.take("ns1", &message(&[CloudEvent::lost(&"ns1".into(), (14, 20), 6.0, 0)]));
    let of_ns1 = archive.nodes().find(|(node, _)| ***node == *"ns1").unwrap().1;
    assert_eq!((of_ns1.last, of_ns1.missing), (20, 10));
}

#[test]
fn a_cursor_beyond_the_last_event_of_a_node_hides_nothing_of_it() {
    let mut archive = EventArchive::default();
    archive.take("ns1", &message(&[event("ns1", 1), event("ns1", 2)]));
    archive.take("ns2", &message(&[event("ns2", 1)]));
    let mut cursor = EventCursor::parse("ns1/999,ns2/1,zz/4").unwrap();
    assert_eq!(archive.correct(&mut cursor), BTreeMap::from([("ns1".into(), 2)]));
    assert_eq!(cursor.to_string(), "ns2/1,zz/4");
    assert_eq!(ids(&archive.after(&cursor).events), ["ns1/1", "ns1/2"]);
    let mut right = EventCursor::parse("ns1/2,ns2/1").unwrap();
    assert_eq!((archive.correct(&mut right).len(), right.to_string().as_str()), (0, "ns1/2,ns2/1"));
    // A server that is a little behind does not send everything again.
    let mut ahead = EventCursor::parse("ns1/6,ns2/1").unwrap();
    assert_eq!(archive.correct(&mut ahead), BTreeMap::from([("ns1".into(), 2)]));
    assert_eq!((ahead.to_string().as_str(), archive.after(&ahead).events.len()), ("ns1/2,ns2/1", 0));
    archive.take("ns1", &message(&[event("ns1", 3)]));
    assert_eq!(ids(&archive.after(&ahead).events), ["ns1/3"]);
}

#[test]
fn the_archive_is_bounded_and_refuses_what_is_not_of_the_sender() {
    let mut archive = EventArchive::default();
    for first in (1..20_000).step_by(100) {
        let events: Vec<CloudEvent> = (first..first + 100).map(|number| event("ns1", number)).collect();
        archive.take("ns1", &message(&events));
    }
    let missed = archive.after(&EventCursor::parse("ns1/1").unwrap());
    assert_eq!(missed.events.len(), 16_384);
    assert_eq!(missed.lost, LostEvents::from([("ns1".into(), (2, 20_000 - 16_384))]));
    assert!(archive.take("ns1", &message(&[event("ns2", 1)])).is_empty());
    for node in 0..400 {
        let node = format!("n{node}");
        archive.take(&node, &message(&[event(&node, 1)]));
    }
    assert_eq!(archive.nodes().count(), 256);
    let refused: Vec<_> = archive.refused().collect();
    assert_eq!(refused, [(EventRefusal::WrongNode, 1), (EventRefusal::TooManyNodes, 145)]);
    // Long events: the octets are bounded too.
    let mut archive = EventArchive::default();
    for number in 1..4000 {
        let data = EventData { why: "x".repeat(8000), ..EventData::default() };
        let id = EventId { node: "ns1".into(), number };
        archive.take("ns1", &message(&[CloudEvent::new(&id, EventKind::Reload, 0.0, data)]));
    }
    let octets = archive.after(&EventCursor::default()).events.len() * 8000;
    assert!((12 << 20..17 << 20).contains(&octets), "{octets}");
}

#[test]
fn events_that_are_too_old_for_the_stream_are_not_written_again() {
    let mut outbox = EventOutbox::default();
    let range = LogRange { floor: 10, last: 30, expired: 25 };
    assert_eq!(outbox.next(range), OutboxStep::Read);
    assert_eq!(outbox.learned(None, range), None);
    assert_eq!(outbox.next(range), OutboxStep::Send { after: 25, expected: 0 });
    let mut outbox = EventOutbox::default();
    assert_eq!(outbox.learned(Some(StoredEvent { number: 5, sequence: 77 }), range), None);
    assert_eq!(outbox.next(range), OutboxStep::SendLost((6, 10), 77));
    outbox.stored_lost((6, 10), 78);
    assert_eq!((outbox.next(range), outbox.lost()), (OutboxStep::Send { after: 10, expected: 78 }, 5));
    assert_eq!(outbox.learned(Some(StoredEvent { number: 31, sequence: 80 }), range), Some(31));
}
