//! Counters of queries, replies and connections.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::answer::Transport;
use crate::model::{Model, ZoneId};
use crate::server::{QueryLogState, Totals};
use crate::snapshot::{Snapshot, TallyRun, TallyTable};
use crate::telemetry::families as family;
use crate::telemetry::text::{Exposition, Samples};

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
    let mut samples = text.family(&family::ANSWER_SECONDS);
    for (transport, times) in &totals.answer_times {
        samples.histogram(&[transport.as_str()], times.up_to(), times.all(), times.seconds());
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
    let mut samples = text.family(&family::HANDSHAKES);
    for (transport, result, count) in &totals.handshakes {
        samples.sample(&[transport.as_str(), result.as_str()], count);
    }
    let mut samples = text.family(&family::DROPPED);
    for &(reason, count) in &totals.dropped {
        samples.sample(&[reason.as_str()], count);
    }
    text.single(&family::SLIPPED, totals.slipped);
    text.single(&family::RECV_QUEUE_DROPS, totals.queue_drops);
    let mut samples = text.family(&family::ANSWERS);
    write_answers(&mut samples, totals, tallies, model);
}

/// Writes the state of the query log.
pub(super) fn write_query_log(text: &mut Exposition, log: &QueryLogState) {
    text.single(&family::DNSTAP_OPEN, u8::from(log.is_open()));
    text.single(&family::DNSTAP_WRITTEN, log.written());
}

/// Writes how often each endpoint was in a reply, by zone, name and endpoint. Counters with equal labels are added up;
/// those of names and endpoints that the model no longer has are left out.
fn write_answers(samples: &mut Samples<'_>, totals: &Totals, tallies: &TallyTable, model: &Model) {
    let mut by_name: HashMap<(&str, &str), Vec<(u32, &TallyRun)>, FixedState> = HashMap::default();
    for (first, run) in tallies.runs() {
        by_name.entry((&run.zone, &run.name)).or_default().push((first, run));
    }
    let count_of = |first: u32, at: usize| totals.picks.get(first as usize + at).copied().unwrap_or(0);
    for zone in &model.zones {
        let apex = zone.apex.to_string();
        for steered in &zone.steered {
            let runs = by_name.get(&(apex.as_str(), steered.label.as_str())).map_or(&[][..], Vec::as_slice);
            for (at, id) in model.policy(steered.policy).endpoints.iter().enumerate() {
                let endpoint = model.endpoint(*id).name.as_str();
                let count = |(first, run): &(u32, &TallyRun)| {
                    // Mostly the policy has not changed since its counters were made.
                    let same = run.endpoints.get(at).filter(|own| &***own == endpoint).map(|_| at);
                    let at = same.or_else(|| run.endpoints.iter().position(|own| &**own == endpoint));
                    at.map_or(0, |at| count_of(*first, at))
                };
                samples.sample(&[&apex, &steered.label, endpoint], runs.iter().map(count).sum::<u64>());
            }
        }
    }
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
