//! An event of the journal, as the API sends it, and as a CloudEvent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fleet::events::{ArchivedEvent, CloudEvent, EventData, EventId, EventKind, OverrideData};
use crate::snapshot::Transition;

/// An event as the API sends it: a transition of an endpoint, a change of its override, the failback or the promotion
/// of a name, a reload, a drill, or a change of a source of endpoints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalEvent {
    /// NODE/NUMBER. The numbers of a node increase by one. The journal sets it.
    pub id: String,
    /// When, in Unix seconds.
    pub at: f64,
    /// What it is about; absent for a transition.
    #[serde(default, skip_serializing_if = "is_transition")]
    pub kind: EventKind,
    /// The zone, with the final dot; empty for an event of the server as a whole.
    pub zone: String,
    /// The endpoint, the name, the TARGET or the source; empty for an event of the server as a whole.
    pub endpoint: String,
    /// The health before: `up`, `down` or `unknown`. For an override `drained`, `forced-up` or `forced-down`, for a
    /// name the member, for a reload the generation, for a source its state.
    pub from: String,
    /// The same after it.
    pub to: String,
    /// Why, as a sentence.
    pub why: String,
    /// Who did it: an operator, a source, or the server that promoted; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The generation that was served.
    pub generation: u64,
    /// The monitor, if the health is that of a name's own monitor. The health of the endpoint did not change then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// Whether an override was made, or cleared, at another server of the fleet; absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relayed: bool,
    /// The override that was made, or has ended; absent for another event.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub of_override: Option<Box<OverrideData>>,
    /// The endpoint's region, for readers in this process.
    #[serde(skip)]
    pub region: Option<String>,
}

fn is_transition(kind: &EventKind) -> bool {
    *kind == EventKind::Transition
}

impl From<&Transition> for JournalEvent {
    fn from(transition: &Transition) -> JournalEvent {
        JournalEvent {
            id: String::new(),
            at: transition.at,
            kind: EventKind::Transition,
            zone: transition.zone.clone(),
            endpoint: transition.endpoint.clone(),
            from: transition.from.as_str().to_owned(),
            to: transition.to.as_str().to_owned(),
            why: transition.why.clone(),
            who: None,
            generation: transition.generation,
            region: transition.region.clone(),
            monitor: transition.monitor.clone(),
            relayed: false,
            of_override: None,
        }
    }
}

impl JournalEvent {
    /// Its number; 0 before it has one.
    pub fn number(&self) -> u64 {
        EventId::parse(&self.id).map_or(0, |id| id.number)
    }

    /// The same as a CloudEvent; `None` before it has a number.
    pub fn to_cloud_event(&self) -> Option<CloudEvent> {
        let JournalEvent {
            id,
            at,
            kind,
            zone,
            endpoint,
            from,
            to,
            why,
            who,
            generation,
            monitor,
            relayed,
            of_override,
            region: _,
        } = self;
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let data = EventData {
            endpoint: some(endpoint),
            zone: some(zone),
            from: from.clone(),
            to: to.clone(),
            why: why.clone(),
            who: who.clone(),
            generation: *generation,
            monitor: monitor.clone(),
            relayed: *relayed,
            of_override: of_override.clone(),
        };
        Some(CloudEvent::new(&EventId::parse(id)?, *kind, *at, data))
    }
}

impl From<&ArchivedEvent> for JournalEvent {
    fn from(ArchivedEvent { id, event, .. }: &ArchivedEvent) -> JournalEvent {
        let EventData { endpoint, zone, from, to, why, who, generation, monitor, relayed, of_override } =
            event.data.clone();
        JournalEvent {
            id: id.to_string(),
            at: event.at(),
            // Only kinds that this release has are in the archive.
            kind: event.kind().unwrap_or_default(),
            zone: zone.unwrap_or_default(),
            endpoint: endpoint.unwrap_or_default(),
            from,
            to,
            why,
            who,
            generation,
            monitor,
            relayed,
            of_override,
            region: None,
        }
    }
}
