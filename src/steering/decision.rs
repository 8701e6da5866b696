//! What was decided for one policy, client class and facet: a distribution over endpoints, with its reasons. The
//! packet path picks from it, `explain` prints it; neither changes it.

use std::net::IpAddr;

use crate::model::{AffinityNet, EndpointId, Facet, MemberRef, Moment, PoolId};
use crate::steering::why::{Note, Why};

/// A decision. Pure data; equal inputs give equal decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Which question it answers.
    pub facet: Facet,
    /// What is given.
    pub given: Given,
    /// Seconds, within the policy's bounds.
    pub ttl: u32,
    /// Whether this is `on_empty = "last_good"` at work: the reply says EDE 3 (Stale Answer).
    pub stale: bool,
    /// Whether the client's class was looked at; when not, the ECS scope is 0.
    pub looks_at_client: bool,
    /// How much of the client's address a draw looks at, where there is something to draw that affinity ties to its
    /// net: the ECS scope is at least that long.
    pub affinity: Option<AffinityNet>,
    /// Whether the pools themselves give something: what is given is the last good answer from now on.
    pub is_good: bool,
    /// While they don't, what they gave before: the next decision is told of it.
    pub last_good: Option<Distribution>,
    /// Choices that resist change, each pool once: the next decision is told of them.
    pub standings: Vec<Standing>,
    /// What the name is for every type, where it can be an alias or have addresses; `None` where it can't.
    pub kind: Option<Kind>,
    /// The addresses that HTTPS and SVCB records hint at, with their endpoints: those that are up, all of an endpoint
    /// that is given though none is. Empty for other facets.
    pub hints: Vec<(EndpointId, IpAddr)>,
    /// Every stage in its order, with what it dropped and what passed, and why.
    pub stages: Vec<Stage>,
}

/// Alias or addresses: where a CNAME is given, it is given for every type (RFC 1034, 3.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A CNAME, whatever the type.
    Alias,
    /// Addresses; a type that has none is NODATA.
    Addresses,
    /// The client's net decides, and by the same draw for every type.
    ByNet,
}

/// What the decision before hands down: same policy, client class and facet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory<'a> {
    /// What was given when something was last eligible.
    pub last_good: Option<&'a Distribution>,
    /// The choices that resist change.
    pub standings: &'a [Standing],
}

/// A choice that resists change: of a failover pool under `failback`, of a latency pool with a `band`.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whose choice it is.
    pub pool: PoolId,
    /// The members that were chosen: one of a failover pool, those in the band of a latency pool. In listed order.
    pub incumbents: Vec<MemberRef>,
    /// Who would be chosen if nothing resisted.
    pub challenger: Option<Challenger>,
}

/// Members that would take the place of the incumbents.
#[derive(Debug, Clone, PartialEq)]
pub struct Challenger {
    /// They, in listed order.
    pub members: Vec<MemberRef>,
    /// Since when they would be chosen without a break. Of a failover pool: since when the one that waits has been up;
    /// another that comes up before it in the list does not put it back.
    pub since: Moment,
    /// When they will be; `None`: only when an incumbent is out. The decision has to be made again then.
    pub due: Option<Moment>,
}

/// What a decision gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Records of endpoints, picked by chance.
    Endpoints(Distribution),
    /// The zone file's RRset of the same owner and type; NODATA where it has none.
    Static,
    /// An empty answer.
    Nodata,
}

/// How endpoints are picked: from the first tier by weight and without replacement; from the next tier only when the
/// one before is used up and draws are left. An alias is given alone: a first draw that is one ends the reply, a later
/// one is passed over. For SRV it is never drawn from: all of it is given, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Best first; no endpoint is in two tiers; no tier is empty.
    pub tiers: Vec<Tier>,
    /// Most draws for a reply, 1 to `MAX_ANSWERS`: the policy's `answers`, 1 where it says nothing.
    pub draws: usize,
    /// Most records in a reply, 1 to `MAX_ANSWERS`: the policy's `answers`; where it says nothing, `MAX_ANSWERS`, so
    /// that one draw that falls on an `all` pool gives the whole of it.
    pub limit: usize,
    /// Of [`Kind::ByNet`]: endpoints that are drawn and have no record of this type. A draw of one is passed over, and
    /// makes the reply one of addresses.
    pub blanks: Vec<EndpointId>,
}

/// Shares that are drawn from together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tier {
    /// In listed order.
    pub shares: Vec<Share>,
}

/// What one draw gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// One endpoint; several, none of them an alias, where the draw fell on a pool that steers `all`: they are given
    /// together, rotated by chance.
    pub endpoints: Vec<EndpointId>,
    /// Relative to its tier's other shares; over 0, finite.
    pub weight: f64,
    /// The members that lead to it, the outermost pool's first; empty where no pool chose. Shares of a tier that begin
    /// alike are the choice of the same pools.
    pub path: Vec<Step>,
}

impl Share {
    /// One endpoint that no pool chose, of weight 1.
    pub fn of(endpoint: EndpointId) -> Share {
        Share { endpoints: vec![endpoint], weight: 1.0, path: Vec::new() }
    }
}

/// One member among those of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Stands for the member's name, on every node and after every restart the same.
    pub member: u64,
    /// Whether the client's net decides among the pool's members, rather than chance.
    pub sticky: bool,
}

/// One stage of a decision: how many endpoints came in and went on, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Which stage.
    pub name: StageName,
    /// Endpoints that came in.
    pub entered: usize,
    /// Endpoints that went on.
    pub left: usize,
    /// Endpoints that were dropped here, and why.
    pub dropped: Vec<Reason>,
    /// What is known of endpoints that went on: rank, RTT, distance, weight.
    pub passed: Vec<Reason>,
    /// What is known of the stage as a whole: why this TTL, which entry of `on_empty`.
    pub note: Option<Note>,
}

/// The stages, in their order. `Fence`, `Rank`, `OnEmpty` and `Kind` are only there where they had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StageName {
    /// Endpoints that have a record for the question.
    Candidates,
    /// Endpoints that the fence allows.
    Fence,
    /// Endpoints that the operator has in service.
    State,
    /// Endpoints that are up.
    Health,
    /// The order of the members of a pool.
    Rank,
    /// What the pools give.
    Tiers,
    /// What is given instead, where nothing is eligible.
    OnEmpty,
    /// Alias or addresses.
    Kind,
    /// Endpoints that can be drawn.
    Pick,
    /// Endpoints that fit the reply.
    Limit,
    /// How long the answer may be cached.
    Ttl,
}

impl StageName {
    /// The name in JSON and text.
    pub fn as_str(self) -> &'static str {
        match self {
            StageName::Candidates => "candidates",
            StageName::Fence => "fence",
            StageName::State => "state",
            StageName::Health => "health",
            StageName::Rank => "rank",
            StageName::Tiers => "tiers",
            StageName::OnEmpty => "on_empty",
            StageName::Kind => "kind",
            StageName::Pick => "pick",
            StageName::Limit => "limit",
            StageName::Ttl => "ttl",
        }
    }
}

/// Why a stage dropped an endpoint, or let it pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Why.
    pub why: Why,
}
