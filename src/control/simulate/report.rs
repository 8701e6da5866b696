//! The result as plain data: the contract's keys first. The server writes it as JSON, the command line reads it back.

use serde::{Deserialize, Serialize};

use crate::control::unanswered::UnansweredQuestions;

/// What would become of the answers. Shares are of all questions, 0 to 1: those of all endpoints, `static` and `nodata`
/// add up to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulationReport {
    /// Every endpoint, in the order of the files.
    pub endpoints: Vec<EndpointReport>,
    /// Those that would get more than they can take; none where queries a second are not known.
    pub exceeded: Vec<OverloadedEndpoint>,
    /// Clients of a name for whom nothing would be eligible.
    pub empty: Vec<EmptyClass>,
    /// How many more of those there are.
    pub empty_left_out: usize,
    /// Who has an answer now and would have none.
    #[serde(flatten)]
    pub unanswered: UnansweredQuestions,
    /// The share of all questions that would be answered by somebody else; none where another policy is compared.
    pub moved: Option<f64>,
    /// What was lost.
    pub lost: Vec<String>,
    /// What was said, as `TARGET=STATE`.
    #[serde(rename = "override")]
    pub said: Vec<String>,
    /// The demand, in words.
    pub demand: String,
    /// Queries a second; none where they are not known.
    pub qps: Option<f64>,
    /// The share that is answered with the zone file's records.
    #[serde(rename = "static")]
    pub fixed: ShareChange,
    /// The share that gets an empty answer.
    pub nodata: ShareChange,
    /// The share that gets what was last good: part of what endpoints get.
    pub stale: ShareChange,
    /// The generation of the files that is served.
    pub generation: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A share of all questions before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShareChange {
    /// As things are.
    pub before: f64,
    /// As they would be.
    pub after: f64,
}

/// One endpoint's share of the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// Its name.
    pub endpoint: String,
    /// Its share as things are, 0 to 1.
    pub before: f64,
    /// Its share as it would be.
    pub after: f64,
    /// Its zone.
    pub zone: String,
    /// Its region.
    pub region: Option<String>,
    /// Answers a second that it can take.
    pub capacity: Option<u64>,
    /// Queries a second that it gets as things are, where they are known.
    pub qps_before: Option<f64>,
    /// Queries a second that it would get.
    pub qps_after: Option<f64>,
}

/// An endpoint that would get more than it can take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Clients of one class, for whom nothing is eligible at a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmptyClass {
    /// The name as the policy file has it.
    pub name: String,
    /// The class of the clients.
    pub class: String,
    /// What the policy says for this case.
    pub on_empty: String,
    /// What they get.
    pub given: EmptyAnswer,
    /// The fence that holds them, where there is one.
    pub fence: Option<String>,
    /// For which types: `A`, `AAAA`, `CNAME`, `SRV`, `HTTPS`, `SVCB`.
    pub types: Vec<String>,
    /// The name's zone.
    pub zone: String,
    /// Whether it is so already.
    pub already: bool,
    /// Whether it is so for some of these clients only.
    pub partly: bool,
}

/// What is answered where nothing is eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyAnswer {
    /// An empty answer.
    Nothing,
    /// What was last good.
    Stale,
    /// The zone file's records.
    Static,
    /// Every endpoint, or another pool.
    Fallback,
}
