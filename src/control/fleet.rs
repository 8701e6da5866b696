//! The part of `/v1/status` about the fleet, as plain data. The daemon makes it; metrics and the command line read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::overrides::OverrideReport;
use crate::health::Beat;

/// Reads the state of the fleet at this moment. Must not block.
pub type ReadFleet = Arc<dyn Fn() -> FleetReport + Send + Sync>;

/// Passes a heartbeat that this server received on to the other servers of its fleet. Must not block.
pub type RelayBeat = Arc<dyn Fn(&Beat) + Send + Sync>;

/// Adds to reports of overrides which servers of the fleet have them. Must not block.
pub type SpreadReports = Arc<dyn Fn(&mut dyn Iterator<Item = &mut OverrideReport>) + Send + Sync>;

/// The fleet as this node knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetReport {
    /// Its name.
    pub cluster: String,
    /// The connection to its NATS servers.
    pub nats: NatsReport,
    /// What the fleet probes.
    pub targets: TargetsReport,
    /// The overrides that its servers share; absent in a vantage without a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<OverridesReport>,
    /// Reports that this node published.
    pub reports_sent: u64,
    /// The messages of the other vantages, sorted by name; empty in a vantage without a server.
    pub vantages: Vec<VantageTraffic>,
    /// Messages of unknown vantages that were refused, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused_strangers: BTreeMap<String, u64>,
    /// Heartbeats of other servers that could not be used here.
    pub refused_beats: u64,
    /// Reports of other vantages that were dropped because this server did not take them in time.
    #[serde(default)]
    pub reports_overtaken: u64,
    /// The events; absent in a vantage without a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsReport>,
}

/// The stream of events, as this server knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventsReport {
    /// `waiting`: not read yet. `current`. `away`: can't be read or written now.
    pub state: String,
    /// Why not; absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The number of the last event of this server.
    pub last: u64,
    /// The number of its last event that is known to be in the stream.
    pub acknowledged: u64,
    /// Events of this server that are not known to be in the stream.
    pub waiting: u64,
    /// Events of this server since its start that never came into the stream, because its log no longer had them.
    pub lost: u64,
    /// What was read of each server, sorted by name.
    pub nodes: Vec<NodeEventsReport>,
    /// Events of the stream that can't be used here, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
}

/// The events of one server in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeEventsReport {
    /// The server.
    pub node: String,
    /// The number of its last event.
    pub last: u64,
    /// How many are missing between those that were read.
    pub missing: u64,
}

/// The connection to the NATS servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NatsReport {
    /// `connected` or `away`.
    pub state: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// The NATS server; absent without a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// How often the connection was made since the start.
    pub connections: u64,
    /// Why there is no connection, or what the NATS server refused last; absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Messages that were not sent, because there was no connection or it was too slow.
    pub dropped: u64,
    /// Messages that came faster than they were read.
    pub missed: u64,
}

/// What the fleet probes, as this node has read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetsReport {
    /// `waiting`: not read yet. `current`. `away`: can't be read now, so what is probed stays as it is.
    pub state: String,
    /// Why they can't be read or written; absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Zones that have checks.
    pub zones: usize,
    /// Checks that this node can make.
    pub checks: usize,
    /// Checks of programs that `vantage.exec` of this node does not list.
    pub not_allowed: usize,
    /// Checks that vantages do not probe, because the fleet has no room for them. Servers that have their zones do.
    #[serde(default)]
    pub left_out: usize,
    /// The zones that have these checks.
    #[serde(default)]
    pub left_out_zones: Vec<LeftOutReport>,
    /// What this node can't use now: checks of a later release, and values that can't be read.
    pub refused: usize,
    /// Why not the first of these; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_why: Option<String>,
    /// The servers whose zones differ from those that are probed.
    pub differing: Vec<DifferingReport>,
}

/// The overrides that the servers of a fleet share, as this one knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverridesReport {
    /// `waiting`: the bucket was not read yet. `current`. `away`: it can't be read now.
    pub state: String,
    /// Why it can't be read or written; absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Changes of this server that the fleet does not have yet.
    pub pending: usize,
    /// All changes up to this revision of the bucket are served here.
    pub revision: u64,
    /// Values and messages that could not be used.
    pub refused: u64,
    /// Why not the last value of these; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_why: Option<String>,
    /// The other servers, sorted by name.
    pub servers: Vec<TakenReport>,
}

/// How far another server is with the overrides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenReport {
    /// The server.
    pub node: String,
    /// `current`: it serves all changes that this server serves. `behind`: not all of them yet. `silent`: it has not
    /// reported for 10 s.
    pub state: String,
    /// Changes of that server that the fleet does not have yet.
    pub pending: usize,
    /// How old its report is, in milliseconds.
    pub age_ms: u64,
}

/// A zone of which vantages do not probe all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOutReport {
    /// The zone.
    pub zone: String,
    /// How many they do not probe.
    pub checks: usize,
    /// Why not the first of them.
    pub why: String,
}

/// A server with other files than those that are probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DifferingReport {
    /// The server.
    pub node: String,
    /// The zone.
    pub zone: String,
    /// The serial that the server has; 0 if it does not have the zone.
    pub serial: u32,
    /// The serial whose checks are probed. If it is the same, the policy files differ.
    pub fleet_serial: u32,
    /// Whether the server does not have the zone.
    #[serde(default)]
    pub missing: bool,
}

/// The messages of one remote vantage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VantageTraffic {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Checks that it reports.
    pub checks: usize,
    /// Messages that were accepted.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// Gaps in their numbers.
    pub gaps: u64,
    /// Messages that were refused, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
}

impl TargetsReport {
    /// They were not read yet.
    pub const WAITING: &'static str = "waiting";
    /// They are read.
    pub const CURRENT: &'static str = "current";
    /// They can't be read now.
    pub const AWAY: &'static str = "away";

    /// Whether they are read.
    pub fn is_current(&self) -> bool {
        self.state == TargetsReport::CURRENT
    }
}

impl NatsReport {
    /// The state with a connection.
    pub const CONNECTED: &'static str = "connected";
    /// The state without one.
    pub const AWAY: &'static str = "away";

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.state == NatsReport::CONNECTED
    }
}
