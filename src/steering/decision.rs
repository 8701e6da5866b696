//! A decision for one policy, client class and facet: a distribution over endpoints, with its reasons. The packet path
//! draws from it, `explain` shows it; neither changes it.

use std::net::IpAddr;

use crate::model::{AffinityNet, EndpointId, Facet, MemberRef, Moment, PoolId};
use crate::steering::why::{Note, Why};

/// A decision. Pure data; equal inputs give equal decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Which question it answers.
    pub facet: Facet,
    /// Where the records of the answer come from.
    pub source: AnswerSource,
    /// Seconds, within the policy's bounds.
    pub ttl: u32,
    /// Whether it is the `last_good` of `on_empty`: the reply has EDE 3 (Stale Answer).
    pub stale: bool,
    /// Whether the client's class was read. If not, the decision holds for every client, and the ECS scope is 0.
    pub looks_at_client: bool,
    /// How many bits of the client's address decide a draw, where affinity does: the ECS scope is at least that long.
    pub affinity: Option<AffinityNet>,
    /// Whether the pools give something, rather than `on_empty`: it is the last good answer from now on.
    pub is_good: bool,
    /// While they give nothing, what they gave before, for the next decision.
    pub last_good: Option<Distribution>,
    /// Choices that resist change, each pool once, for the next decision.
    pub standings: Vec<Standing>,
    /// What the name is for every type, where it can be an alias and can have addresses.
    pub kind: Option<NameKind>,
    /// The address hints of HTTPS and SVCB records, with their endpoints: those that are up; all, where an endpoint is
    /// given although none is. Empty for other facets.
    pub hints: Vec<(EndpointId, IpAddr)>,
    /// Every stage in its order, with what it dropped and what passed, and why.
    pub stages: Vec<Stage>,
}

/// Alias or addresses: a name with a CNAME has it for every type (RFC 1034, 3.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A CNAME for every type.
    Alias,
    /// Addresses; a type that has none is NODATA.
    Addresses,
    /// The client's net decides, and by the same draw for every type.
    ByNet,
}

/// What the previous decision for the same policy, client class and facet leaves to the next.
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
    /// The pool that chose.
    pub pool: PoolId,
    /// The members that were chosen: one of a failover pool, those in the band of a latency pool. In listed order.
    pub incumbents: Vec<MemberRef>,
    /// The members that would be chosen if nothing resisted.
    pub challenger: Option<Challenger>,
    /// Further members of a failover pool that come before the incumbent and are up, in listed order.
    pub waiting: Vec<Waiting>,
}

/// A member that is up, and waits to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Which one.
    pub member: MemberRef,
    /// Since when it has been up, as far as the decisions have seen.
    pub since: Moment,
}

/// Members that would take the place of the incumbents.
#[derive(Debug, Clone, PartialEq)]
pub struct Challenger {
    /// The members, in listed order.
    pub members: Vec<MemberRef>,
    /// Since when they would be chosen, without a break. Of a failover pool with a time: since when the member that is
    /// next has been up.
    pub since: Moment,
    /// When they will be chosen: the decision has to be made again then. `None`: only when an incumbent is down.
    pub due: Option<Moment>,
}

/// Where the records of an answer come from.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerSource {
    /// Endpoints, drawn by chance.
    Endpoints(Distribution),
    /// The zone file's RRset of the same owner and type; NODATA where it has none.
    Static,
    /// An empty answer.
    Nodata,
}

/// How endpoints are drawn: shares of the first tier, by weight and without replacement; from the next tier only when
/// the tier before is used up and draws are left. A share of which the reply has all records is passed over. An alias
/// is alone in a reply: as the first draw it ends the reply, as a later one it is skipped. An SRV reply that can have
/// all of them has all, in this order: nothing is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Best first; no endpoint is in two tiers; no tier is empty.
    pub tiers: Vec<Tier>,
    /// Most draws for a reply, 1 to `MAX_ANSWERS`: the policy's `answers`, 1 where it has none.
    pub draws: usize,
    /// Most records in a reply, 1 to `MAX_ANSWERS`: the policy's `answers`; where it has none, `MAX_ANSWERS`, so that
    /// one draw of a pool that steers `all` gives the whole pool.
    pub limit: usize,
    /// With [`NameKind::ByNet`]: endpoints that are drawn although they have no record of this type. Such a draw is
    /// skipped; if it is the first, the reply has addresses and no CNAME.
    pub blanks: Vec<EndpointId>,
}

impl Decision {
    /// Whether every reply has all of it, in its order: SRV records, among which the client chooses.
    pub fn is_whole(&self) -> bool {
        matches!(&self.source, AnswerSource::Endpoints(distribution) if self.facet == Facet::Srv && distribution.fits())
    }
}

impl Distribution {
    /// Whether a reply can have all endpoints, and blanks leave none out.
    pub fn fits(&self) -> bool {
        self.fits_in(self.draws.min(self.limit))
    }

    /// The same for a reply of so many records.
    pub(super) fn fits_in(&self, records: usize) -> bool {
        self.blanks.is_empty() && self.tiers.iter().flat_map(Tier::endpoints).count() <= records
    }
}

/// Shares of one rank, among which weights decide.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tier {
    /// In listed order, each set of endpoints once. An endpoint may be in several: alone, and in groups.
    pub shares: Vec<Share>,
}

/// What one draw gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// One endpoint. Several, each once and none of them an alias, for a pool that steers `all`: they are in one reply,
    /// rotated by chance.
    pub endpoints: Vec<EndpointId>,
    /// Its weight relative to the other shares of the tier; over 0, finite.
    pub weight: f64,
    /// The members that lead to it, from the outermost pool down; empty where no pool chose. Shares of a tier whose
    /// paths begin alike come from the same pools.
    pub path: Vec<PathStep>,
}

impl Share {
    /// One endpoint that no pool chose, of weight 1.
    pub fn of(endpoint: EndpointId) -> Share {
        Share { endpoints: vec![endpoint], weight: 1.0, path: Vec::new() }
    }
}

/// A member of a pool, on the way to a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathStep {
    /// A hash of the member's name: the same on every node and after every restart.
    pub member: u64,
    /// Whether the client's net decides among the pool's members, rather than chance.
    pub by_net: bool,
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

/// The stages, in their order. `Fence`, `Lease`, `Rank`, `OnEmpty` and `Kind` are only there where they had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StageName {
    /// Endpoints that have a record for the question.
    Candidates,
    /// Endpoints that the fence allows.
    Fence,
    /// The active endpoint of an exclusive name.
    Lease,
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
            StageName::Lease => "lease",
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
