//! The query of `/v1/events`.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::control::journal::Since;
use crate::fleet::events::EventCursor;
use crate::printable::escaped;

/// The query of `/v1/events`.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct EventsQuery {
    /// Where to begin: `oldest`, a number, NODE/NUMBER, or NODE/NUMBER,NODE/NUMBER with `fleet`. Empty: with the next
    /// event. `Last-Event-ID` goes before it.
    #[serde(default)]
    since: String,
    /// Whether the stream goes on with later events.
    #[serde(default = "yes")]
    pub(super) follow: bool,
    /// Whether the events are those of all servers of the fleet.
    #[serde(default)]
    pub(super) fleet: bool,
}

impl Default for EventsQuery {
    fn default() -> EventsQuery {
        EventsQuery { since: String::new(), follow: true, fleet: false }
    }
}

fn yes() -> bool {
    true
}

impl EventsQuery {
    /// Where a client of this node's events begins; `last` is its `Last-Event-ID`.
    pub(super) fn local_start(&self, last: Option<&str>) -> Result<Since, String> {
        let last = last.map(str::trim).filter(|id| !id.is_empty());
        let (name, text) = last.map_or(("since", &*self.since), |id| ("Last-Event-ID", id));
        match Since::parse(text) {
            Some(since) => Ok(since),
            // A browser repeats whatever it got, maybe from another server.
            None if last.is_some() && text.contains('/') => Ok(Since::Id(text.to_owned())),
            None => Err(format!("{name} is a number, NODE/NUMBER or `oldest`; found `{}`", escaped(text))),
        }
    }

    /// The same for the events of the fleet. `None`: with the next event.
    pub(super) fn fleet_start(&self, last: Option<&str>) -> Result<Option<EventCursor>, String> {
        let text = last.map(str::trim).filter(|id| !id.is_empty()).unwrap_or(self.since.trim());
        match text {
            "" => Ok(None),
            "oldest" => Ok(Some(EventCursor::default())),
            text => EventCursor::parse(text).map(Some).ok_or_else(|| {
                format!("with fleet=true, since is NODE/NUMBER,NODE/NUMBER and so on, or `oldest`; found `{text}`")
            }),
        }
    }
}
