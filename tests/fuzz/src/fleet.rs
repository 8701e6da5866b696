//! What holds of any message that a server or a vantage receives from the fleet.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan::fleet::{Ask, BeatMessage, CheckHash, Collector, ReportMessage, Vantage, VantageReporter};
use portolan::model::{CheckKey, Moment, Monitor, ProbeKind, ProbeTarget};

/// Checks that the server knows. Their hashes are 1 to 8.
const CHECKS: u64 = 8;
/// The time between two messages.
const STEP: Duration = Duration::from_millis(100);

/// Any octets as each kind of message: refused, or written as they are read. Then as the messages of a vantage, each
/// after an octet with its length: a report names known checks only, each once, and no more of them than there are.
pub fn fleet_message(data: &[u8]) {
    if let Ok(read) = ReportMessage::decode(data) {
        assert_eq!(ReportMessage::decode(&read.encode()).as_ref(), Ok(&read), "a report");
    }
    if let Ok(read) = BeatMessage::decode(data) {
        assert_eq!(read.encode().as_deref(), Some(data), "a heartbeat");
    }
    let mut now = Moment::from_start(Duration::from_secs(86_400));
    if let Ok(read) = Ask::decode(data) {
        assert_eq!(read.encode(), data, "a request");
        let mut reporter = VantageReporter::new(read.boot, now);
        reporter.observe(&[], None, now);
        reporter.receive(read);
        assert!(reporter.advance(now).len() <= 2, "an answer");
    }
    let plan: Vec<(CheckHash, Arc<CheckKey>)> = (1..=CHECKS).map(|n| (CheckHash(n), key(n as u16))).collect();
    let known: HashSet<Arc<CheckKey>> = plan.iter().map(|(_, key)| key.clone()).collect();
    let mut collector = Collector::new(Vec::new());
    collector.adopt(plan, now);
    let vantage = Vantage { name: "fra".into(), region: "eu-west".into() };
    for message in messages(data) {
        now = now + STEP;
        let Ok(Some(report)) = collector.receive(&vantage, message, now) else { continue };
        let keys = report.observations.iter().map(|observation| &observation.key).chain(&report.removed);
        let distinct: HashSet<&Arc<CheckKey>> = keys.clone().collect();
        assert_eq!(distinct.len(), keys.count(), "a check twice");
        assert!(distinct.into_iter().all(|key| known.contains(key)), "an unknown check");
        assert!(report.observations.iter().all(|seen| seen.probed_at.is_none_or(|at| at <= now)), "in the future");
        collector.asks(now);
    }
    assert!(collector.vantages().all(|(_, remote)| remote.observed() <= CHECKS as usize));
}

fn key(port: u16) -> Arc<CheckKey> {
    let target = ProbeTarget::Socket(SocketAddr::from(([192, 0, 2, 1], port)));
    Arc::new(CheckKey { monitor: Monitor::new(ProbeKind::Tcp).into(), target })
}

/// The data as one message, and then as several.
fn messages(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    let parts = std::iter::from_fn(move || {
        let (length, after) = rest.split_first()?;
        let (message, left) = after.split_at(usize::from(*length).min(after.len()));
        rest = left;
        Some(message)
    });
    std::iter::once(data).chain(parts)
}
