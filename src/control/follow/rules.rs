//! What the events of a message mean for this server. Pure.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::control::command::FollowedChange;
use crate::control::follow::is_follower;
use crate::control::overrides::{MAX_FOR, MAX_WHY, duration_of, state_of};
use crate::control::target::{MAX_TARGET, Target};
use crate::fleet::events::{EventKind, MAX_IN_MESSAGE, OverrideData, SOURCE_PREFIX, SPEC_VERSION, source_of};
use crate::model::{OverrideState, glob};
use crate::printable::{cut, escaped};
use crate::wire::Name;

/// Largest message that is read, in octets (judgment: 200 events of the largest size that this program writes).
const MAX_OCTETS: usize = 1 << 20;
/// Longest id and source in octets (judgment).
const MAX_ID: usize = 512;
/// How far the clock of an event may be ahead of the clock of the stream, and how much older than another source's
/// event it may be, in seconds. Judgment: clocks that are synchronised differ by less.
pub(super) const CLOCKS_DIFFER: f64 = 5.0;
/// The state in the event of an override that has ended.
const NONE: &str = "none";

/// Which events change something here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRules {
    /// The name of this node, whose own events are ignored.
    pub node: String,
    /// The zones in which overrides count; `None`: all.
    pub zones: Option<Arc<[Name]>>,
    /// Globs of the TARGETs that may be overridden; empty: all.
    pub targets: Vec<String>,
}

/// Where and when an event was made.
#[derive(Debug, Clone, PartialEq)]
pub struct EventOrigin {
    /// Its `source`.
    pub source: Arc<str>,
    /// Its number, if it has one.
    pub number: Option<u64>,
    /// When, in Unix seconds: its `time`, or without one when the stream stored it.
    pub at: f64,
}

/// An event that changes an override.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowedEvent {
    /// Its `id`, printable.
    pub id: String,
    /// Where it is from.
    pub origin: EventOrigin,
    /// What it changes.
    pub change: FollowedChange,
    /// Whether somebody has confirmed that clients may get no answer any more.
    pub is_confirmed: bool,
}

/// Why an event is none for this server, which is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredEvent {
    /// It is about something else than an override.
    Kind,
    /// This node made it.
    Own,
    /// It is about an override of which another server has the event: one of its fleet, or one that it follows itself.
    /// So servers can follow each other.
    Relayed,
}

/// What an event means for this server.
#[derive(Debug, Clone, PartialEq)]
pub enum EventUse {
    /// It changes an override.
    Change(Box<FollowedEvent>),
    /// It is none for this server.
    Ignored(IgnoredEvent),
    /// It can't be used: its id, and why.
    Refused(String, String),
}

/// An event as it is in a stream. Other fields are ignored.
#[derive(Deserialize)]
struct WrittenEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    data: Json,
}

impl FollowRules {
    /// What the events of a message mean. `stored_at` is when the stream stored it, `now` the present time, in Unix
    /// seconds. An override whose time is over has ended.
    pub fn uses_of(&self, payload: &[u8], stored_at: f64, now: f64) -> Vec<EventUse> {
        let refused = |why: String| vec![EventUse::Refused(String::new(), why)];
        if payload.len() > MAX_OCTETS {
            return refused(format!("a message of {} octets is too large", payload.len()));
        }
        let events = match serde_json::from_slice(payload) {
            Ok(Json::Array(events)) if events.len() <= MAX_IN_MESSAGE => events,
            Ok(Json::Array(events)) => return refused(format!("{} events in a message are too many", events.len())),
            Ok(one) => vec![one],
            Err(error) => return refused(format!("it is no JSON: {error}")),
        };
        events.into_iter().map(|event| self.use_of(event, stored_at, now)).collect()
    }

    fn use_of(&self, event: Json, stored_at: f64, now: f64) -> EventUse {
        let WrittenEvent { specversion, id, source, kind, time, data } = match serde_json::from_value(event) {
            Ok(event) => event,
            Err(error) => return EventUse::Refused(String::new(), shown(&format!("it is no CloudEvent: {error}"))),
        };
        if id.len() > MAX_ID || source.len() > MAX_ID {
            return EventUse::Refused(String::new(), "its id or its source is too long".to_owned());
        }
        if source == source_of(&self.node) {
            return EventUse::Ignored(IgnoredEvent::Own);
        }
        if EventKind::of_type(&kind) != Some(EventKind::Override) {
            return EventUse::Ignored(IgnoredEvent::Kind);
        }
        let is_follower = data["override"]["who"].as_str().is_some_and(is_follower);
        if data["relayed"].as_bool() == Some(true) || is_follower {
            return EventUse::Ignored(IgnoredEvent::Relayed);
        }
        let read = || {
            if specversion != SPEC_VERSION {
                let wrong = format!("`{specversion}` is no version of CloudEvents that is read here");
                return Err(format!("{wrong}: write {SPEC_VERSION}"));
            }
            let at = match &time {
                Some(time) => time_of(time)?.min(stored_at + CLOCKS_DIFFER),
                None => stored_at,
            };
            // Another release of this program may write more fields.
            let is_strict = !source.starts_with(SOURCE_PREFIX);
            let (change, is_confirmed) = self.change_of(&data["override"], at, now, is_strict)?;
            let number = id.rsplit_once('/').and_then(|(_, number)| number.parse().ok());
            let origin = EventOrigin { source: source.as_str().into(), number, at };
            Ok(Box::new(FollowedEvent { id: shown(&id), origin, change, is_confirmed }))
        };
        match read() {
            Ok(event) => EventUse::Change(event),
            Err(why) => EventUse::Refused(shown(&id), shown(&why)),
        }
    }

    /// The change of an override that the event of `at` has, and whether it is confirmed.
    fn change_of(&self, written: &Json, at: f64, now: f64, is_strict: bool) -> Result<(FollowedChange, bool), String> {
        let Some(fields) = written.as_object() else {
            return Err("`data` has no `override`: a table with `target` and `state`".to_owned());
        };
        if let Some(unknown) = fields.keys().find(|key| !OverrideData::FIELDS.contains(&&***key)).filter(|_| is_strict)
        {
            let known = OverrideData::FIELDS.join(", ");
            return Err(format!("`{unknown}` is no field of `override`: it has {known}"));
        }
        let data = OverrideData::deserialize(written).map_err(|error| format!("`override`: {error}"))?;
        let OverrideData { target, state, why, who, until, lasting, zones, confirm } = data;
        let state: Option<OverrideState> = if state == NONE { None } else { Some(state_of(&state)?) };
        if target.len() > MAX_TARGET {
            return Err(format!("`target` has {} octets: at most {MAX_TARGET}", target.len()));
        }
        let latest = at.max(now) + MAX_FOR.as_secs_f64();
        if let Some(other) = until.filter(|until| !until.is_finite() || *until > latest) {
            return Err(format!("`until` is {other}: write Unix seconds, at most 366 days from now"));
        }
        let until = match (until, lasting) {
            (Some(_), Some(_)) => return Err("write `until` or `for`, not both".to_owned()),
            (until, None) => until,
            (None, Some(lasting)) => Some(at + duration_of(&lasting)?.as_secs_f64()),
        };
        let canonical = Target::parse(&target).canonical();
        if !self.targets.is_empty() && !self.targets.iter().any(|pattern| glob::matches(pattern, &canonical)) {
            return Err(format!("`{target}` is none of the `targets` that may be overridden"));
        }
        let why = match who {
            Some(who) => format!("{why} ({who})"),
            None => why,
        };
        let why: String = why.chars().take(MAX_WHY).collect();
        // An override whose time is over ends the one of the target that is older.
        let state = state.filter(|_| until.is_none_or(|until| until > now));
        let is_confirmed = confirm || state.is_none();
        Ok((FollowedChange { target, state, why, until, zones: self.zones_of(zones)? }, is_confirmed))
    }

    /// The zones in which an override counts.
    fn zones_of(&self, written: Option<Vec<String>>) -> Result<Option<Arc<[Name]>>, String> {
        let Some(written) = written else { return Ok(self.zones.clone()) };
        let name = |zone: &String| Name::parse(zone).map_err(|error| format!("`{zone}` is no name of a zone: {error}"));
        let zones: Vec<Name> = written.iter().map(name).collect::<Result<_, _>>()?;
        if zones.is_empty() {
            return Err("`zones` is empty: leave it out for all zones".to_owned());
        }
        match &self.zones {
            Some(allowed) if zones.iter().any(|zone| !allowed.contains(zone)) => {
                Err("it counts in zones that are none of the `zones` that may be changed".to_owned())
            }
            Some(_) | None => Ok(Some(zones.into())),
        }
    }
}

/// A time of RFC 3339 as Unix seconds.
fn time_of(text: &str) -> Result<f64, String> {
    let time = humantime::parse_rfc3339_weak(text).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.as_ref().map(Duration::as_secs_f64).ok_or_else(|| format!("`time` is `{text}`: write 2026-11-30T10:15:00Z"))
}

/// The beginning of a text of a stranger, printable.
fn shown(text: &str) -> String {
    escaped(cut(text, MAX_ID)).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> FollowRules {
        FollowRules { node: "ns1".into(), zones: None, targets: Vec::new() }
    }

    fn event(of_override: Json) -> Json {
        json!({ "specversion": "1.0", "id": "ns2/7", "source": "/portolan/ns2", "type": "portolan.override",
                "time": "1970-01-01T00:16:40Z", "data": { "override": of_override } })
    }

    fn used(rules: &FollowRules, event: &Json, now: f64) -> EventUse {
        let mut uses = rules.uses_of(event.to_string().as_bytes(), 1000.0, now);
        assert_eq!(uses.len(), 1);
        uses.remove(0)
    }

    fn change(rules: &FollowRules, event: &Json, now: f64) -> FollowedEvent {
        match used(rules, event, now) {
            EventUse::Change(event) => *event,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(rules: &FollowRules, event: &Json) -> String {
        match used(rules, event, 1000.0) {
            EventUse::Refused(_, why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_override_is_made_as_the_other_server_made_it() {
        let written = json!({ "target": "region:eu", "state": "drain", "why": "rack move", "who": "alice",
                              "until": 2000.0, "zones": ["svc.example."], "confirm": true });
        let found = change(&rules(), &event(written), 1000.0);
        assert_eq!((&*found.id, &*found.origin.source, found.origin.number), ("ns2/7", "/portolan/ns2", Some(7)));
        assert_eq!((found.origin.at, found.is_confirmed), (1000.0, true));
        let FollowedChange { target, state, why, until, zones } = found.change;
        assert_eq!((&*target, state, &*why), ("region:eu", Some(OverrideState::Drain), "rack move (alice)"));
        assert_eq!((until, zones.map(|zones| zones.len())), (Some(2000.0), Some(1)));
        let ended = change(&rules(), &event(json!({ "target": "fra1", "state": "none" })), 1000.0);
        assert_eq!((ended.change.state, ended.is_confirmed), (None, true), "nobody loses an answer");
    }

    #[test]
    fn the_end_is_counted_from_the_time_of_the_event_and_one_that_is_over_ends_the_override() {
        let written = json!({ "target": "fra1", "state": "down", "why": "x", "for": "10m" });
        let at = |now| change(&rules(), &event(written.clone()), now).change;
        assert_eq!((at(1000.0).until, at(1599.0).state), (Some(1600.0), Some(OverrideState::Down)));
        assert_eq!(at(1600.0).state, None, "replayed late");
        let mut ahead = event(written.clone());
        ahead["time"] = "9999-01-01T00:00:00Z".into();
        assert_eq!(change(&rules(), &ahead, 1000.0).origin.at, 1000.0 + CLOCKS_DIFFER);
        ahead.as_object_mut().unwrap().remove("time");
        assert_eq!(change(&rules(), &ahead, 1000.0).origin.at, 1000.0, "the time of the stream");
    }

    #[test]
    fn what_is_none_for_this_server_is_ignored() {
        let good = json!({ "target": "fra1", "state": "down", "why": "x" });
        for (key, value, expected) in [
            ("source", json!("/portolan/ns1"), IgnoredEvent::Own),
            ("type", json!("portolan.transition"), IgnoredEvent::Kind),
            ("type", json!("com.example.deploy"), IgnoredEvent::Kind),
            ("data", json!({ "override": good, "relayed": true }), IgnoredEvent::Relayed),
            ("data", json!({ "override": { "target": "a", "who": "follow.b (nats)" } }), IgnoredEvent::Relayed),
        ] {
            let mut event = event(good.clone());
            event[key] = value;
            assert_eq!(used(&rules(), &event, 1000.0), EventUse::Ignored(expected), "{key}");
        }
    }

    #[test]
    fn what_can_not_be_used_is_refused_with_the_reason() {
        let of = |change: Json| {
            let mut all = json!({ "target": "fra1", "state": "down", "why": "x" });
            all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            all
        };
        for (change, why) in [
            (json!({ "state": "dwon" }), "no state of an override"),
            (json!({ "state": 7 }), "`override`: invalid type"),
            (json!({ "until": 5.0, "for": "2h" }), "not both"),
            (json!({ "until": 1e20 }), "`until` is 1"),
            (json!({ "target": "x".repeat(401) }), "`target` has 401 octets"),
            (json!({ "for": "soon" }), "no length of time"),
            (json!({ "zones": [] }), "`zones` is empty"),
            (json!({ "zones": ["a..b"] }), "no name of a zone"),
        ] {
            assert!(refusal(&rules(), &event(of(change.clone()))).contains(why), "{change}");
        }
        assert!(refusal(&rules(), &event(json!(null))).contains("no `override`"));
        let mut foreign = event(of(json!({ "untill": 5.0 })));
        assert!(matches!(used(&rules(), &foreign, 1000.0), EventUse::Change(_)), "of another release");
        foreign["source"] = "/ci".into();
        assert!(refusal(&rules(), &foreign).contains("`untill` is no field"));
        let mut wrong = event(of(json!({})));
        wrong["time"] = "yesterday".into();
        assert!(refusal(&rules(), &wrong).contains("`time` is `yesterday`"));
        wrong["time"] = json!(null);
        wrong["specversion"] = "0.3".into();
        assert!(refusal(&rules(), &wrong).contains("no version of CloudEvents"));
        for payload in ["", "{", "7", "[7]", "\"x\"", "{}", "[{}]"] {
            let uses = rules().uses_of(payload.as_bytes(), 0.0, 0.0);
            assert!(matches!(&uses[..], [EventUse::Refused(..)]), "{payload}: {uses:?}");
        }
        assert!(rules().uses_of(b"[]", 0.0, 0.0).is_empty());
        let many = format!("[{}]", vec!["{}"; MAX_IN_MESSAGE + 1].join(","));
        assert!(matches!(&rules().uses_of(many.as_bytes(), 0.0, 0.0)[..], [EventUse::Refused(..)]));
        assert!(matches!(&rules().uses_of(&[b' '; MAX_OCTETS + 1], 0.0, 0.0)[..], [EventUse::Refused(..)]));
    }

    #[test]
    fn overrides_stay_within_the_zones_and_targets_that_may_be_changed() {
        let zone = |name: &str| Name::parse(name).unwrap();
        let rules = FollowRules {
            zones: Some([zone("svc.example.")].into()),
            targets: vec!["fra*".into(), "region:eu".into()],
            ..rules()
        };
        let of = |target: &str, zones: Option<&str>| {
            let mut all = json!({ "target": target, "state": "down", "why": "x" });
            if let Some(zones) = zones {
                all["zones"] = json!([zones]);
            }
            event(all)
        };
        for (target, zones) in [("fra1", None), ("region:eu", None), ("fra1", Some("svc.example."))] {
            let zones = change(&rules, &of(target, zones), 1000.0).change.zones;
            assert_eq!(zones, rules.zones, "{target}");
        }
        assert!(refusal(&rules, &of("fra1", Some("other.example."))).contains("none of the `zones`"));
        assert!(refusal(&rules, &of("ams1", None)).contains("none of the `targets`"));
        assert!(refusal(&rules, &of("region:eu2", None)).contains("none of the `targets`"));
    }
}
