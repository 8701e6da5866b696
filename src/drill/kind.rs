//! What a drill loses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a drill loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrillKind {
    /// All endpoints of a region, and its vantages.
    LoseRegion,
    /// One endpoint.
    LoseEndpoint,
    /// One vantage: its reports do not arrive any more.
    LoseVantage,
    /// The reports of all vantages of other nodes.
    LoseFleet,
}

impl DrillKind {
    /// All kinds.
    pub const ALL: [DrillKind; 4] =
        [DrillKind::LoseRegion, DrillKind::LoseEndpoint, DrillKind::LoseVantage, DrillKind::LoseFleet];

    /// The word in commands and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DrillKind::LoseRegion => "lose-region",
            DrillKind::LoseEndpoint => "lose-endpoint",
            DrillKind::LoseVantage => "lose-vantage",
            DrillKind::LoseFleet => "lose-fleet",
        }
    }

    /// What is lost, for people: `region us-east`.
    pub fn subject(self, target: &str) -> String {
        match self {
            DrillKind::LoseRegion => format!("region {target}"),
            DrillKind::LoseEndpoint => format!("endpoint {target}"),
            DrillKind::LoseVantage => format!("vantage {target}"),
            DrillKind::LoseFleet => "the rest of the fleet".to_owned(),
        }
    }

    /// Whether probes of endpoints count as silence.
    pub fn loses_endpoints(self) -> bool {
        match self {
            DrillKind::LoseRegion | DrillKind::LoseEndpoint => true,
            DrillKind::LoseVantage | DrillKind::LoseFleet => false,
        }
    }
}
