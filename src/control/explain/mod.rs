//! The explanation of an answer: the decision that is being served, as names, numbers and sentences. Nothing is decided
//! here. The API writes it as JSON; the command line reads that and prints [`human`].

mod affinity;
mod answers;
mod client;
mod human;
mod note;
mod numbers;
mod present;
mod reason;
mod seen;
mod selector;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole_tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::status::RampReport;
use crate::model::{ClassId, EndpointId, Facet, Model, Moment, Policy, PolicyId, RegionId, SteeredName, ZoneId};
use crate::snapshot::{Cell, KnownBy, LocalClass, Snapshot};
use crate::steering::{Decision, Reason, StageName};
use crate::wire::{Name, NameError};

pub(super) use answers::SteeredQuestion;
use client::locate_address;
pub use human::human;
pub(crate) use reason::Renderer;
pub use seen::{EvidenceReport, OriginReport};
use seen::{evidence, last_verdicts, origins, ramps};

/// The client for which an answer is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client<'a> {
    /// A client at this address.
    Address(IpAddr),
    /// Any client of the region of this name.
    Region(&'a str),
    /// A client of which nothing is known: it belongs to the default region, if there is one.
    Unlocated,
}

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainError {
    /// The text is not a domain name.
    BadName(NameError),
    /// The name has no policy here: it is static, or does not exist.
    NotSteered(String),
    /// The type can't be steered.
    UnsupportedType(String),
    /// There is no region of this name. With the names of all regions.
    UnknownRegion(String, Vec<String>),
}

impl std::fmt::Display for ExplainError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExplainError::BadName(why) => write!(f, "the name is not a domain name: {why}"),
            ExplainError::NotSteered(name) => {
                write!(f, "{name} is not steered here: only names of a policy file have something to explain")
            }
            ExplainError::UnsupportedType(given) => {
                write!(f, "type {given} is not steered: ask for A, AAAA, CNAME, SRV, HTTPS or SVCB")
            }
            ExplainError::UnknownRegion(given, known) => {
                write!(f, "no region is called {given:?}; there are {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for ExplainError {}

/// An answer and every reason for it. The fields up to `answers` are the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The name of the query, with its final dot.
    pub name: String,
    /// `A`, `AAAA`, `CNAME`, `SRV`, `HTTPS` or `SVCB`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The given address or region; empty if none was given.
    pub client: String,
    /// The client's class: its region's name, or `unknown`.
    pub class: String,
    /// ECS scope of the reply: the shortest prefix length whose clients all get this decision; 0 for all.
    pub scope: u8,
    /// Seconds.
    pub ttl: u32,
    /// Every stage in its order.
    pub stages: Vec<StageReport>,
    /// The records that a reply may contain. Where affinity decides and the client's address is given, they are those
    /// of a reply to this client.
    pub answers: Vec<AnswerReport>,
    /// Where affinity decides and the client's address is given: the same over all clients. Otherwise left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overall: Vec<AnswerReport>,
    /// The generation of the files that is served.
    pub generation: u64,
    /// The zone's name, with its final dot.
    pub zone: String,
    /// The name as the policy file has it; a wildcard where one matched.
    pub policy: String,
    /// Whether replies are marked as stale (EDE 3).
    pub stale: bool,
    /// Why the client has this class.
    pub class_why: String,
    /// Why the scope is what it is.
    pub scope_why: String,
    /// Why the TTL is what it is.
    pub ttl_why: String,
    /// With affinity: the endpoint that every reply to this client's net has first, for now.
    #[serde(rename = "sticky_endpoint", default, skip_serializing_if = "Option::is_none")]
    pub affinity_endpoint: Option<String>,
    /// With affinity and the client's address: what its net decides. Otherwise left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_why: Option<String>,
    /// The endpoints of this name that came back recently and have a part of their weight; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ramps: Vec<RampReport>,
    /// The endpoints of this name whose health is only the last one that is known, because no vantage has a vote; left
    /// out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_verdicts: Vec<ReasonReport>,
    /// The endpoints of this name that a source lists, and which source; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<OriginReport>,
    /// The observations of the vantages for the endpoints of this name.
    pub evidence: Vec<EvidenceReport>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageReport {
    /// Its name.
    pub stage: String,
    /// Endpoints that came in.
    #[serde(rename = "in")]
    pub entered: usize,
    /// Endpoints that went on.
    #[serde(rename = "out")]
    pub left: usize,
    /// The endpoints that were dropped, with the reasons.
    pub dropped: Vec<ReasonReport>,
    /// The endpoints that went on, with what is known of them.
    #[serde(rename = "kept")]
    pub passed: Vec<ReasonReport>,
    /// What is known of the stage as a whole.
    pub note: Option<String>,
}

/// An endpoint and a clause about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonReport {
    /// The endpoint's name.
    pub endpoint: String,
    /// The clause.
    pub why: String,
}

/// A record that a reply may contain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnswerReport {
    /// Its data, as `dig` prints it.
    pub rdata: String,
    /// Its endpoint; `None` for a record of the zone file.
    pub endpoint: Option<String>,
    /// The probability that it is in a reply, 0 to 1.
    pub probability: f64,
}

/// Explains the answer to a query of `client` for `name` and `rtype` (without one: the first type that the name has).
pub fn explain(
    snapshot: &Snapshot,
    name: &str,
    rtype: Option<&str>,
    client: Client<'_>,
    now: Moment,
) -> Result<Explanation, ExplainError> {
    let name = Name::parse(name).map_err(ExplainError::BadName)?;
    let (zone, steered) = snapshot.steered(&name).ok_or_else(|| ExplainError::NotSteered(name.to_string()))?;
    explain_steered(snapshot, &name, (zone, steered), rtype, client, now)
}

/// Like [`explain`], for the steered name `steered`.
fn explain_steered(
    snapshot: &Snapshot,
    name: &Name,
    (zone, steered): (ZoneId, &SteeredName),
    rtype: Option<&str>,
    client: Client<'_>,
    now: Moment,
) -> Result<Explanation, ExplainError> {
    let policy = snapshot.model.policy(steered.policy);
    let facet = match rtype.filter(|text| !text.is_empty()) {
        Some(text) => parse_type(text)?,
        None => policy.facets.first().copied().unwrap_or(Facet::V4),
    };
    let position = position_of(snapshot, steered.policy, client)?;
    let cell = served(snapshot, steered.policy, position.local, facet);
    let decision = cell.map(Cell::decision);
    let decided = decision.map_or(facet, |decision| decision.facet);
    let of_class = scope(snapshot, zone, steered.policy, &position, decision);
    let (scope, scope_why) = affinity::scope(snapshot, zone, client, cell, of_class);
    let question = SteeredQuestion { snapshot, zone, name: steered, facet };
    let (given, overall) = match (cell, affinity::net_of(client, cell)) {
        (Some(cell), Some(net)) => (question.for_net(cell, net), question.answers(cell)),
        (Some(cell), None) => (question.answers(cell), Vec::new()),
        (None, _) => (question.of_zone_file(), Vec::new()),
    };
    let (ttl, ttl_why) = question.ttl(decision, given.is_empty());
    Ok(Explanation {
        name: name.to_string(),
        rtype: facet.as_str().to_owned(),
        client: match client {
            Client::Address(ip) => ip.to_string(),
            Client::Region(region) => region.to_owned(),
            Client::Unlocated => String::new(),
        },
        class: class_name(&snapshot.model, position.class),
        scope,
        ttl,
        stages: match decision {
            Some(decision) => stages(Renderer::new(&snapshot.model, policy, &snapshot.view, decision)),
            None => vec![left_to_zone_file(&snapshot.model, policy, facet)],
        },
        answers: given,
        overall,
        generation: snapshot.generation,
        zone: snapshot.model.zone(zone).apex.to_string(),
        policy: steered.label.clone(),
        stale: decision.is_some_and(|decision| decision.stale),
        class_why: position.why,
        scope_why,
        ttl_why,
        affinity_endpoint: affinity::endpoint(&snapshot.model, policy, client, cell),
        affinity_why: affinity::why(&snapshot.model, policy, client, cell),
        ramps: ramps(snapshot, policy, decided, now),
        last_verdicts: last_verdicts(snapshot, policy, decided),
        sources: origins(snapshot, policy),
        evidence: evidence(snapshot, policy, decided, now),
    })
}

fn parse_type(text: &str) -> Result<Facet, ExplainError> {
    match text.to_ascii_uppercase().as_str() {
        "A" => Ok(Facet::V4),
        "AAAA" => Ok(Facet::V6),
        "CNAME" => Ok(Facet::Alias),
        "SRV" => Ok(Facet::Srv),
        "HTTPS" => Ok(Facet::Https),
        "SVCB" => Ok(Facet::Svcb),
        _ => Err(ExplainError::UnsupportedType(text.to_owned())),
    }
}

/// The cell that answers this type. A name that is always an alias answers every type with it.
fn served(snapshot: &Snapshot, policy: PolicyId, class: LocalClass, facet: Facet) -> Option<&Cell> {
    snapshot.cell(policy, class, facet).or_else(|| snapshot.cell(policy, class, Facet::Alias))
}

/// A client's class, that class within the policy's group, why it has it, and its address if one is given.
struct ClientPosition {
    class: ClassId,
    local: LocalClass,
    why: String,
    address: Option<ClientAddress>,
}

/// A client's address, how it is known, and the length of the shortest prefix around it whose clients are all of its
/// class.
struct ClientAddress {
    ip: IpAddr,
    by: KnownBy,
    len: u8,
}

fn position_of(snapshot: &Snapshot, policy: PolicyId, client: Client<'_>) -> Result<ClientPosition, ExplainError> {
    let clients = &snapshot.model.clients;
    let of = |class: ClassId, why: &str| ClientPosition {
        class,
        local: snapshot.local(policy, class),
        why: why.to_owned(),
        address: None,
    };
    match client {
        Client::Address(ip) => Ok(locate_address(snapshot, policy, ip)),
        Client::Unlocated => Ok(of(clients.fallback, "for clients that no region matches")),
        Client::Region(name) => {
            let unknown = || {
                let known = snapshot.model.regions.iter().map(|region| region.name.clone()).collect();
                ExplainError::UnknownRegion(name.to_owned(), known)
            };
            let region = snapshot.model.region_named(name).ok_or_else(unknown)?;
            // The first class of a region is that of clients of which only the region is known.
            let class = clients.classes.iter().position(|class| class.region == Some(region)).ok_or_else(unknown)?;
            Ok(of(ClassId(class as u16), "as requested"))
        }
    }
}

fn scope(
    snapshot: &Snapshot,
    zone: ZoneId,
    policy: PolicyId,
    position: &ClientPosition,
    decision: Option<&Decision>,
) -> (u8, String) {
    let Some(decision) = decision.filter(|decision| decision.looks_at_client) else {
        return (0, "the client was not looked at".to_owned());
    };
    if !snapshot.model.zone(zone).ecs.enabled {
        return (0, "this zone does not use ECS".to_owned());
    }
    let Some(ClientAddress { ip, by, len }) = position.address else {
        return (0, "depends on the client's address, and none was given".to_owned());
    };
    let scope = snapshot.scope(ip, policy, decision.facet, by);
    let why = match (scope, len) {
        (0, 0) => "every client of this family is of this class",
        (0, _) => "every client of this family gets this answer now",
        (_, len) if scope == len => "the shortest prefix whose clients are all of this class",
        (_, _) => "the shortest prefix whose clients all get this answer now",
    };
    (scope, why.to_owned())
}

pub(super) fn class_name(model: &Model, class: ClassId) -> String {
    let region = model.clients.classes.get(usize::from(class.0)).and_then(|class| class.region);
    region.map_or_else(|| "unknown".to_owned(), |region| region_name(model, region))
}

fn region_name(model: &Model, region: RegionId) -> String {
    model.region(region).name.clone()
}

fn stages(renderer: Renderer<'_>) -> Vec<StageReport> {
    let report = |reason: &Reason| report(renderer.model, reason.endpoint, renderer.reason(reason));
    let stages = renderer.decision.stages.iter().map(|stage| StageReport {
        stage: stage.name.as_str().to_owned(),
        entered: stage.entered,
        left: stage.left,
        dropped: stage.dropped.iter().map(report).collect(),
        passed: stage.passed.iter().map(report).collect(),
        note: stage.note.as_ref().map(|note| renderer.note(note)),
    });
    stages.collect()
}

fn report(model: &Model, endpoint: EndpointId, why: String) -> ReasonReport {
    ReasonReport { endpoint: model.endpoint(endpoint).name.clone(), why }
}

/// The only stage of a query that the policy does not answer. The zone file answers it, maybe without a record.
fn left_to_zone_file(model: &Model, policy: &Policy, facet: Facet) -> StageReport {
    let why = format!("the policy gives no {} records", facet.as_str());
    StageReport {
        stage: StageName::Candidates.as_str().to_owned(),
        entered: policy.endpoints.len(),
        left: 0,
        dropped: policy.endpoints.iter().map(|endpoint| report(model, *endpoint, why.clone())).collect(),
        passed: Vec::new(),
        note: Some("the answer is what the zone file has".to_owned()),
    }
}
