//! What is known of each sink, for the API, the status and the metrics.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::report_board::{ReportBoard, TimedReport};

/// What a sink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    /// It takes events, or nothing was sent yet.
    #[default]
    Ok,
    /// It takes events, but not those of some endpoints, which wait.
    Waiting,
    /// It takes nothing now. The server tries again.
    Retrying,
    /// It wants no event any more. Nothing is sent until a restart.
    Off,
}

impl SinkState {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            SinkState::Ok => "ok",
            SinkState::Waiting => "waiting",
            SinkState::Retrying => "retrying",
            SinkState::Off => "off",
        }
    }
}

/// One sink in the JSON of the API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SinkReport {
    /// Its name in the settings.
    pub name: String,
    /// `webhook`, `nats` or `kafka`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it sends: the URL without its query, `SUBJECT on SERVERS`, or `TOPIC on BROKERS`.
    pub to: String,
    /// What it does.
    pub state: SinkState,
    /// How many events of the log it has not confirmed.
    pub behind: u64,
    /// All events up to this number are confirmed, refused or lost.
    pub position: u64,
    /// Events that it confirmed since the start.
    pub delivered: u64,
    /// Tries that failed since the start.
    pub failed: u64,
    /// Events that it refused for good since the start.
    pub dead_letters: u64,
    /// Events that it never got because the log no longer had them, since the start.
    pub lost: u64,
    /// The last of those: the first and the last of their numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_range: Option<LostRange>,
    /// When the server tries again, in Unix seconds; only while something waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<f64>,
    /// Endpoints whose events wait, because the sink did not take the first of them.
    #[serde(default)]
    pub waiting_endpoints: u64,
    /// The events of those endpoints: up to 8, those that failed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingEvents>,
    /// When its state, or the events that it confirmed, refused or lost, changed last, in Unix seconds; absent if none
    /// did since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<f64>,
    /// The last failure; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<SinkError>,
    /// The last events that it refused for good, the newest last, also from before the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_dead_letters: Vec<DeadLetter>,
}

/// Numbers of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostRange {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// A failure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SinkError {
    /// When, in Unix seconds.
    pub at: f64,
    /// What happened.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// The events of one endpoint, the first of which a sink did not take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaitingEvents {
    /// The subject of the events, which is the endpoint; empty: events without one.
    pub subject: String,
    /// How many wait.
    pub events: u64,
    /// When the first of them failed for the first time, in Unix seconds.
    pub since: f64,
    /// When it is tried again, in Unix seconds; absent while it is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<f64>,
    /// Why it failed the last time.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// An event that a sink refused for good.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// NODE/NUMBER.
    pub id: String,
    /// When the last try was, in Unix seconds.
    pub at: f64,
    /// Why it was refused.
    pub why: String,
}

/// The reports of all sinks. Each task of a sink writes its own.
pub type SinkBoard = ReportBoard<SinkReport>;

impl TimedReport for SinkReport {
    type Content = (SinkState, u64, u64, u64);

    fn content(&self) -> (SinkState, u64, u64, u64) {
        (self.state, self.delivered, self.dead_letters, self.lost)
    }

    fn set_changed_at(&mut self, at: f64) {
        self.changed_at = Some(at);
    }
}
