//! The log and the events of what sources list.

use crate::clock;
use crate::control::{Journal, JournalEvent};
use crate::fleet::events::EventKind;
use crate::model::DiscoveredPool;

/// Endpoints that come or go at once and are named one by one; of more there is one line (judgment: a page of a log).
const MOST_NAMED: usize = 20;

/// Logs endpoints that came, went, or have another health by the source, each with an event, or all in one line.
pub(super) fn report(spec: &DiscoveredPool, journal: &Journal, mut names: Vec<&str>, (from, to): (&str, &str)) {
    names.sort_unstable();
    let (source, zone, of) = (spec.shown(), spec.zone.to_string(), spec.source.as_str());
    let event = |endpoint: &str, why: String| JournalEvent {
        at: clock::unix_seconds(),
        kind: EventKind::Discovery,
        zone: zone.clone(),
        endpoint: endpoint.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        why,
        who: Some(format!("{source} ({of})")),
        ..JournalEvent::default()
    };
    if names.len() > MOST_NAMED {
        tracing::info!(source, zone, count = names.len(), first = names[0], to, "endpoints of a source changed");
        let why = format!("{} endpoints, {} the first", names.len(), names[0]);
        journal.append(event(spec.pool.as_deref().unwrap_or_default(), why));
        return;
    }
    for name in names {
        tracing::info!(source, zone, endpoint = name, to, "an endpoint of a source changed");
        let why = match to {
            "gone" => format!("{source} no longer lists it"),
            "listed" => format!("{source} lists it"),
            _ => format!("{source} states that it is {to}"),
        };
        journal.append(event(name, why));
    }
}
