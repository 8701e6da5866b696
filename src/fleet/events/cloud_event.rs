//! An event as a CloudEvent 1.0 in JSON (<https://github.com/cloudevents/spec>): the form in the stream of the fleet,
//! and that of `portolan events --format json`. What comes from the stream is checked here.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fleet::events::OverrideData;
use crate::fleet::nats::token;
use crate::model::MAX_NODE_NAME;
use crate::printable::{self, cut, escaped};

/// The version of the specification.
pub const SPEC_VERSION: &str = "1.0";
/// What the name of every type begins with.
const TYPE_PREFIX: &str = "portolan.";
/// What the source of every event begins with.
pub const SOURCE_PREFIX: &str = "/portolan/";
/// The media type of one event (CloudEvents, JSON format, 3).
pub const ONE: &str = "application/cloudevents+json";
/// The media type of an array of events (CloudEvents, JSON format, 4).
pub const BATCH: &str = "application/cloudevents-batch+json";
/// Highest number of an event: the highest whole number that every reader of JSON has exactly (RFC 8259, 6).
pub const MAX_NUMBER: u64 = (1 << 53) - 1;
/// Longest text of an event that is accepted, in octets: four times the longest reason of an operator (judgment).
const MAX_TEXT: usize = 8192;
/// The last second of the year 9999, which is the last that RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The health of an endpoint changed.
    #[default]
    Transition,
    /// An operator's override was set, was cleared or expired.
    Override,
    /// A name with manual failback was handed back.
    Failback,
    /// An endpoint of an exclusive name became active.
    Promotion,
    /// A new generation is served, or files were refused.
    Reload,
    /// A drill began or ended.
    Drill,
    /// A source of endpoints lists an endpoint, or no longer lists it.
    Discovery,
    /// A source of endpoints has another state: it does not answer, suddenly lists much less, or is as it should be
    /// again.
    Source,
    /// Events that the log of a node no longer has, and that never came into the stream: `from` and `to` are the first
    /// and the last of their numbers.
    Lost,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 9] = [
        EventKind::Transition,
        EventKind::Override,
        EventKind::Failback,
        EventKind::Promotion,
        EventKind::Reload,
        EventKind::Drill,
        EventKind::Discovery,
        EventKind::Source,
        EventKind::Lost,
    ];

    /// The word in the API, and the end of the type of a CloudEvent.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Transition => "transition",
            EventKind::Override => "override",
            EventKind::Failback => "failback",
            EventKind::Promotion => "promotion",
            EventKind::Reload => "reload",
            EventKind::Drill => "drill",
            EventKind::Discovery => "discovery",
            EventKind::Source => "source",
            EventKind::Lost => "lost",
        }
    }

    /// The kind of a type of a CloudEvent.
    pub fn of_type(text: &str) -> Option<EventKind> {
        let word = text.strip_prefix(TYPE_PREFIX)?;
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// NODE/NUMBER.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// The node.
    pub node: Arc<str>,
    /// The number, from 1 to [`MAX_NUMBER`].
    pub number: u64,
}

impl EventId {
    /// Reads NODE/NUMBER. A node may have slashes in its name.
    pub fn parse(text: &str) -> Option<EventId> {
        let (node, number) = text.rsplit_once('/')?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|number| is_number && (1..=MAX_NUMBER).contains(number))?;
        let is_node = !node.is_empty() && node.len() <= MAX_NODE_NAME && !node.chars().any(char::is_control);
        is_node.then(|| EventId { node: node.into(), number })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.node, self.number)
    }
}

/// A CloudEvent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    specversion: String,
    /// NODE/NUMBER.
    pub id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// When, as RFC 3339 with milliseconds.
    time: String,
    /// The endpoint, the name or the TARGET; absent for an event of the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default)]
    datacontenttype: String,
    /// What happened.
    pub data: EventData,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EventData {
    /// The endpoint, the name or the TARGET; null for an event of the server as a whole.
    pub endpoint: Option<String>,
    /// The zone, with its final dot; null for an event of the server as a whole.
    pub zone: Option<String>,
    /// What was before.
    pub from: String,
    /// What is now.
    pub to: String,
    /// Why, as a sentence.
    pub why: String,
    /// Who did it; null if nobody did.
    pub who: Option<String>,
    /// The generation that was served.
    pub generation: u64,
    /// The monitor, if the health is that of a name's own monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// Whether an override was made, or cleared, at another server, which has the event of it; absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relayed: bool,
    /// The override that was made, or has ended; absent for another event.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub of_override: Option<Box<OverrideData>>,
}

impl EventData {
    /// Makes texts printable: those of another node may be anything.
    fn make_printable(&mut self) {
        let EventData { endpoint, zone, from, to, why, who, generation: _, monitor, relayed: _, of_override } = self;
        let of_override = of_override.iter_mut().flat_map(|of| of.texts_mut());
        let optional = [endpoint, zone, who, monitor].into_iter().flatten().chain(of_override);
        for text in [from, to, why].into_iter().chain(optional) {
            if let Cow::Owned(safe) = escaped(text) {
                *text = safe;
            }
        }
    }

    /// Cuts texts that no reader would accept.
    fn shorten(&mut self) {
        let EventData { endpoint, zone, from, to, why, who, generation: _, monitor, relayed: _, of_override: _ } = self;
        let optional = [endpoint, zone, who, monitor].into_iter().flatten();
        for text in [from, to, why].into_iter().chain(optional) {
            text.truncate(cut(text, MAX_TEXT).len());
        }
    }
}

/// Why an event or a message of the stream can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventRefusal {
    /// It is no CloudEvent of this program, or has no event.
    Malformed,
    /// A text in it is too long, or there are too many events.
    TooLarge,
    /// Its id has another node than the subject of the message.
    WrongNode,
    /// Its kind is one that this release does not have.
    UnknownKind,
    /// There are too many nodes.
    TooManyNodes,
}

impl EventRefusal {
    /// The word in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            EventRefusal::Malformed => "malformed",
            EventRefusal::TooLarge => "too_large",
            EventRefusal::WrongNode => "wrong_node",
            EventRefusal::UnknownKind => "unknown_kind",
            EventRefusal::TooManyNodes => "too_many_nodes",
        }
    }
}

impl CloudEvent {
    /// An event with this id; `at` in Unix seconds.
    pub fn new(id: &EventId, kind: EventKind, at: f64, mut data: EventData) -> CloudEvent {
        data.shorten();
        CloudEvent {
            specversion: SPEC_VERSION.to_owned(),
            id: id.to_string(),
            source: source_of(&id.node),
            kind: format!("{TYPE_PREFIX}{}", kind.as_str()),
            time: rfc3339(at),
            subject: data.endpoint.clone(),
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }

    /// The event that says that the numbers from `first` to `last` of a node are lost. It has the last of them.
    pub fn lost(node: &Arc<str>, (first, last): (u64, u64), at: f64, generation: u64) -> CloudEvent {
        let id = EventId { node: node.clone(), number: last };
        let data = EventData {
            from: first.to_string(),
            to: last.to_string(),
            why: "the log of this node no longer has the events with these numbers".to_owned(),
            generation,
            ..EventData::default()
        };
        CloudEvent::new(&id, EventKind::Lost, at, data)
    }

    /// What it is about; `None`: a kind of another release.
    pub fn kind(&self) -> Option<EventKind> {
        EventKind::of_type(&self.kind)
    }

    /// When, in Unix seconds; 0 if the time can't be read.
    pub fn at(&self) -> f64 {
        let time = humantime::parse_rfc3339(&self.time).ok();
        time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |since| since.as_secs_f64())
    }

    /// Its id, if the event can be used and is one of `node`.
    fn check(&self, node: &str) -> Result<EventId, EventRefusal> {
        let EventData { endpoint, zone, from, to, why, who, generation: _, monitor, relayed: _, of_override } =
            &self.data;
        let required = [&self.specversion, &self.id, &self.source, &self.kind, &self.time, from, to, why];
        let optional = [&self.subject, endpoint, zone, who, monitor];
        let of_override = of_override.iter().flat_map(|of| of.texts());
        let optional = optional.into_iter().flatten().chain(of_override);
        if required.into_iter().chain(optional).any(|text| text.len() > MAX_TEXT) {
            return Err(EventRefusal::TooLarge);
        }
        let id = EventId::parse(&self.id).filter(|_| self.specversion == SPEC_VERSION);
        let id = id.ok_or(EventRefusal::Malformed)?;
        if *id.node != *node {
            return Err(EventRefusal::WrongNode);
        }
        match self.kind() {
            Some(_) => Ok(id),
            None => Err(EventRefusal::UnknownKind),
        }
    }
}

/// The content of a message with these events, and its media type: one event, or an array of several.
pub fn message_of(events: &[CloudEvent]) -> (Vec<u8>, &'static str) {
    match events {
        [one] => (printable::json(one), ONE),
        several => (printable::json(&several), BATCH),
    }
}

/// An event that can be used with its id, or the reason why it can't be used.
pub type CheckedEvent = Result<(EventId, CloudEvent), EventRefusal>;

/// One event, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    One(Box<CloudEvent>),
    Several(Vec<CloudEvent>),
}

/// The events of a message of `node`, each with its id or the reason why it can't be used; at most `most`.
pub fn events_of(payload: &[u8], node: &str, most: usize) -> Result<Vec<CheckedEvent>, EventRefusal> {
    let events = match serde_json::from_slice(payload) {
        Ok(Message::One(event)) => vec![*event],
        Ok(Message::Several(events)) => events,
        Err(_) => return Err(EventRefusal::Malformed),
    };
    match events.len() {
        0 => Err(EventRefusal::Malformed),
        count if count > most => Err(EventRefusal::TooLarge),
        _ => Ok(events.into_iter().map(|event| checked(event, node)).collect()),
    }
}

fn checked(mut event: CloudEvent, node: &str) -> CheckedEvent {
    let id = event.check(node)?;
    event.data.make_printable();
    event.subject = event.subject.map(|subject| escaped(&subject).into_owned());
    Ok((id, event))
}

/// The `source` of the events of a node.
pub fn source_of(node: &str) -> String {
    format!("{SOURCE_PREFIX}{}", token(node))
}

/// A time in Unix seconds as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(at: f64) -> String {
    let since = Duration::try_from_secs_f64(at).unwrap_or_default().min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> CloudEvent {
        let data = EventData {
            endpoint: Some("fra1".into()),
            zone: Some("svc.example.".into()),
            from: "up".into(),
            to: "down".into(),
            why: "refused".into(),
            generation: 2,
            ..EventData::default()
        };
        CloudEvent::new(&EventId::parse(id).unwrap(), EventKind::Transition, 1_700_000_000.25, data)
    }

    #[test]
    fn an_event_has_the_attributes_of_the_specification() {
        let json = serde_json::to_value(event("ns.1/7")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "specversion": "1.0", "id": "ns.1/7", "source": "/portolan/ns=2E1", "type": "portolan.transition",
                "time": "2023-11-14T22:13:20.250Z", "subject": "fra1", "datacontenttype": "application/json",
                "data": {"endpoint": "fra1", "zone": "svc.example.", "from": "up", "to": "down", "why": "refused",
                         "who": null, "generation": 2},
            })
        );
        let back: CloudEvent = serde_json::from_value(json).unwrap();
        assert_eq!((back.at(), back.kind()), (1_700_000_000.25, Some(EventKind::Transition)));
        assert_eq!(rfc3339(f64::NAN), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(f64::INFINITY), rfc3339(-1.0));
    }

    #[test]
    fn messages_have_one_event_or_several_and_are_read_again() {
        for events in [vec![event("ns1/1")], vec![event("ns1/1"), event("ns1/2")]] {
            let (payload, media_type) = message_of(&events);
            assert_eq!(media_type == BATCH, events.len() > 1);
            let read = events_of(&payload, "ns1", 2).unwrap();
            assert_eq!(read.into_iter().map(|event| event.unwrap().1).collect::<Vec<_>>(), events);
        }
        assert_eq!(events_of(&message_of(&vec![event("ns1/1"); 3]).0, "ns1", 2), Err(EventRefusal::TooLarge));
        for payload in ["", "{}", "[]", "7", "[[]]", "\"\"", "{\"id\":\"ns1/1\"}", "[1]"] {
            assert_eq!(events_of(payload.as_bytes(), "ns1", 9), Err(EventRefusal::Malformed), "{payload}");
        }
    }

    #[test]
    fn texts_of_another_node_become_printable() {
        let mut hostile = event("ns1/1");
        (hostile.data.why, hostile.subject) = ("a\u{9b}b\u{202e}".into(), Some("e\u{1b}[2J".into()));
        let read = events_of(&message_of(&[hostile]).0, "ns1", 1).unwrap()[0].clone().unwrap().1;
        assert_eq!((&*read.data.why, read.subject.as_deref()), ("a\\u{9b}b\\u{202e}", Some("e\\u{1b}[2J")));
    }

    #[test]
    fn what_is_not_of_the_sender_or_of_this_release_is_refused() {
        let refused = |change: &dyn Fn(&mut CloudEvent)| {
            let mut event = event("ns1/1");
            change(&mut event);
            events_of(&message_of(&[event]).0, "ns1", 1).unwrap()[0].clone().unwrap_err()
        };
        assert_eq!(refused(&|event| event.id = "ns2/1".into()), EventRefusal::WrongNode);
        assert_eq!(refused(&|event| event.kind = "portolan.else".into()), EventRefusal::UnknownKind);
        assert_eq!(refused(&|event| event.specversion = "0.3".into()), EventRefusal::Malformed);
        assert_eq!(refused(&|event| event.data.why = "x".repeat(MAX_TEXT + 1)), EventRefusal::TooLarge);
        let long = EventData { why: "é".repeat(MAX_TEXT), ..EventData::default() };
        let cut = CloudEvent::new(&EventId::parse("ns1/1").unwrap(), EventKind::Reload, 0.0, long);
        assert!(events_of(&message_of(&[cut]).0, "ns1", 1).unwrap()[0].is_ok());
        for id in ["", "ns1", "ns1/", "ns1/0", "ns1/+1", "ns1/x", "/1", "ns1/9007199254740992", "n\n1/1"] {
            assert_eq!(refused(&|event| event.id = id.into()), EventRefusal::Malformed, "{id:?}");
        }
        assert_eq!(EventId::parse("a/b/3").unwrap().to_string(), "a/b/3");
    }
}
