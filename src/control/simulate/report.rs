//! The report of a simulation as plain data. The server writes it as JSON; the command line reads it back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::unanswered::UnansweredQuestions;

/// The answers before and after the simulated changes. Shares are of all questions, 0 to 1. The shares of all
/// endpoints, `static` and `nodata` add up to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SimulationReport {
    /// Every endpoint, in the order of the files.
    pub endpoints: Vec<EndpointReport>,
    /// The endpoints that would get more than their capacity; empty if queries a second are not known.
    pub exceeded: Vec<OverloadedEndpoint>,
    /// The names and classes of clients for which nothing would be eligible.
    pub empty: Vec<EmptyClass>,
    /// How many more of those there are than the list has.
    pub empty_left_out: usize,
    /// The questions that have an answer now and would have none.
    #[serde(flatten)]
    pub unanswered: UnansweredQuestions,
    /// The share of all questions that another endpoint would answer; absent if another policy is compared.
    pub moved: Option<f64>,
    /// The lost targets.
    pub lost: Vec<String>,
    /// The trial overrides as `TARGET=STATE`.
    #[serde(rename = "override")]
    pub overrides: Vec<String>,
    /// The demand as text.
    pub demand: String,
    /// Queries a second; absent if they are not known.
    pub qps: Option<f64>,
    /// The share that the records of zone files answer.
    #[serde(rename = "static")]
    pub fixed: ShareChange,
    /// The share that gets an empty answer (NODATA).
    pub nodata: ShareChange,
    /// The share that gets the last good answer; it is part of the shares of endpoints.
    pub stale: ShareChange,
    /// The generation that is served.
    pub generation: u64,
    /// Notes for people.
    pub notes: Vec<String>,
}

/// A share of all questions before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShareChange {
    /// The share now.
    pub before: f64,
    /// The share after the changes.
    pub after: f64,
}

/// One endpoint's share of the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointReport {
    /// Its name.
    pub endpoint: String,
    /// Its share now, 0 to 1.
    pub before: f64,
    /// Its share after the changes.
    pub after: f64,
    /// Its zone.
    pub zone: String,
    /// Its region.
    pub region: Option<String>,
    /// Answers a second that it can take.
    pub capacity: Option<u64>,
    /// Queries a second that it gets now, if they are known.
    pub qps_before: Option<f64>,
    /// Queries a second that it would get.
    pub qps_after: Option<f64>,
}

/// An endpoint that would get more than it can take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverloadedEndpoint {
    /// Its name.
    pub endpoint: String,
    /// Queries a second that it would get.
    pub qps: f64,
    /// What it can take.
    pub capacity: u64,
    /// Its zone.
    pub zone: String,
}

/// A name and a class of clients for which nothing is eligible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EmptyClass {
    /// The name as the policy file writes it.
    pub name: String,
    /// The class of the clients.
    pub class: String,
    /// The `on_empty` of the policy.
    pub on_empty: String,
    /// What these clients get.
    #[serde(rename = "given")]
    pub answer: EmptyAnswer,
    /// The fence of these clients, if there is one.
    pub fence: Option<String>,
    /// The types: `A`, `AAAA`, `CNAME`, `SRV`, `HTTPS`, `SVCB`.
    pub types: Vec<String>,
    /// The name's zone.
    pub zone: String,
    /// Whether nothing is eligible for them now.
    pub already: bool,
    /// Whether something is eligible for other clients of this class.
    pub partly: bool,
}

/// What is answered where nothing is eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmptyAnswer {
    /// An empty answer.
    Nothing,
    /// The last good answer.
    Stale,
    /// The records of the zone file.
    Static,
    /// Every endpoint, or another pool.
    Fallback,
}
