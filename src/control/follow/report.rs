//! What is known of each stream that is followed, for the API, the status and the metrics.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::report_board::{ReportBoard, TimedReport};

/// How a stream is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FollowState {
    /// It was not read yet.
    #[default]
    Waiting,
    /// All of it is read.
    Ok,
    /// It can't be read now. What was taken from it stays.
    Away,
    /// It is read, and events before were missed.
    Gap,
}

impl FollowState {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            FollowState::Waiting => "waiting",
            FollowState::Ok => "ok",
            FollowState::Away => "away",
            FollowState::Gap => "gap",
        }
    }
}

/// One stream that is followed, in the JSON of the API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FollowReport {
    /// Its name in the settings.
    pub name: String,
    /// `nats` or `kafka`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is followed: `SUBJECT on SERVERS`, or `TOPIC on BROKERS`.
    pub from: String,
    /// How it is followed.
    pub state: FollowState,
    /// All messages up to this sequence have had their effect; of a topic of Kafka: how many records of all partitions.
    pub position: u64,
    /// How many messages of the stream come after that, as far as it is known.
    pub behind: u64,
    /// Overrides that events changed, since the start.
    pub applied: u64,
    /// Events that were none for this server, or changed nothing: of this node, relayed, of another kind, repeated, or
    /// older than the last of their target. Since the start.
    pub ignored: u64,
    /// Events that could not be used, since the start.
    pub refused: u64,
    /// Most messages that the stream discarded before they were read, since the start. If the stream has other subjects
    /// too, some were of those.
    pub missed: u64,
    /// When its state or an override changed by it last, in Unix seconds; absent if neither did since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<f64>,
    /// What is wrong, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The last events that could not be used, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_refused: Vec<RefusedEvent>,
}

/// An event that could not be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RefusedEvent {
    /// Its id; empty where it has none.
    pub id: String,
    /// When, in Unix seconds.
    pub at: f64,
    /// Why.
    pub why: String,
}

/// The reports of all streams that are followed. Each task writes its own.
pub type FollowBoard = ReportBoard<FollowReport>;

impl TimedReport for FollowReport {
    type Content = (FollowState, u64, u64, u64);

    fn content(&self) -> (FollowState, u64, u64, u64) {
        (self.state, self.applied, self.refused, self.missed)
    }

    fn set_changed_at(&mut self, at: f64) {
        self.changed_at = Some(at);
    }
}
