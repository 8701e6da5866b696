//! Counters of queries, replies and connections.

use std::collections::{BTreeMap, HashSet};

use crate::answer::Transport;
use crate::model::{Model, ZoneId};
use crate::server::Totals;
use crate::snapshot::{Snapshot, TallyTable};
use crate::telemetry::families as family;
use crate::telemetry::text::Exposition;

/// Transports with a sample from the start, so that a rate over it is right from the first query. The others appear
/// with their first query.
const ALWAYS_SHOWN: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// Writes these metrics.
pub(super) fn write(text: &mut Exposition, totals: &Totals, snapshot: &Snapshot) {
    let (model, tallies) = (&*snapshot.model, &*snapshot.tallies);
    let mut replies: BTreeMap<(Transport, &str), u64> = ALWAYS_SHOWN.map(|of| ((of, rcode_name(0)), 0)).into();
    for &(transport, rcode, count) in &totals.queries {
        *replies.entry((transport, rcode_name(rcode))).or_default() += count;
    }
    let mut samples = text.family(&family::QUERIES);
    for ((transport, rcode), count) in replies {
        samples.sample(&[transport.as_str(), rcode], count);
    }
    let mut samples = text.family(&family::ZONE_QUERIES);
    for (id, zone) in (0..).map(ZoneId).zip(&model.zones) {
        let counter = snapshot.zones.counter(id).and_then(|id| totals.picks.get(id as usize));
        samples.sample(&[&zone.apex.to_string()], counter.copied().unwrap_or(0));
    }
    let mut samples = text.family(&family::TRUNCATED);
    for (transport, count) in &totals.truncated {
        samples.sample(&[transport.as_str()], count);
    }
    let mut samples = text.family(&family::CONNECTIONS);
    for (transport, taken, _) in &totals.connections {
        samples.sample(&[transport.as_str()], taken);
    }
    let mut samples = text.family(&family::OPEN_CONNECTIONS);
    for (transport, _, open) in &totals.connections {
        samples.sample(&[transport.as_str()], open);
    }
    let mut samples = text.family(&family::DROPPED);
    for &(reason, count) in &totals.dropped {
        samples.sample(&[reason.as_str()], count);
    }
    text.single(&family::SLIPPED, totals.slipped);
    text.single(&family::RECV_QUEUE_DROPS, totals.queue_drops);
    let mut samples = text.family(&family::ANSWERS);
    for ((zone, name, endpoint), count) in answers(totals, tallies, model) {
        samples.sample(&[zone, name, endpoint], count);
    }
}

/// How often each endpoint was in a reply, by (zone, name, endpoint). Counters with equal labels are added up; those of
/// names and endpoints that the model no longer has are left out.
fn answers<'a>(totals: &Totals, tallies: &'a TallyTable, model: &Model) -> BTreeMap<(&'a str, &'a str, &'a str), u64> {
    let apexes: Vec<String> = model.zones.iter().map(|zone| zone.apex.to_string()).collect();
    let known = answerable_labels(model, &apexes);
    let mut sums = BTreeMap::new();
    for id in 0..tallies.len() as u32 {
        let Some(labels) = tallies.labels(id) else { continue };
        if known.contains(&(labels.zone, labels.name, labels.endpoint)) {
            *sums.entry((labels.zone, labels.name, labels.endpoint)).or_default() +=
                totals.picks.get(id as usize).copied().unwrap_or(0);
        }
    }
    sums
}

/// Every (zone, name, endpoint) that can be in an answer.
fn answerable_labels<'a>(model: &'a Model, apexes: &'a [String]) -> HashSet<(&'a str, &'a str, &'a str)> {
    let mut known = HashSet::new();
    for (zone, apex) in model.zones.iter().zip(apexes) {
        for steered in &zone.steered {
            for endpoint in &model.policy(steered.policy).endpoints {
                known.insert((apex.as_str(), steered.label.as_str(), model.endpoint(*endpoint).name.as_str()));
            }
        }
    }
    known
}

/// The mnemonic of a response code (IANA, DNS RCODEs).
fn rcode_name(rcode: u16) -> &'static str {
    match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        _ => "OTHER",
    }
}
