//! Why a decision is as it is: data, not text. `control::explain` makes sentences of it.
//!
//! Two decisions are equal only if their reasons are, so a reason has no more digits than a person reads: a measurement
//! that changes by less does not make a new decision.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{AffinityNet, EndpointId, Health, MemberRef, Override, PoolId, RegionId, SelectorId};

/// Why a stage dropped an endpoint, or let it pass. What the policy and the decision say themselves is not repeated
/// here.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// `candidates`: it has no record for the facet.
    NoRecord,
    /// `candidates`: it is a cname, and the name has addresses now.
    AliasAmongAddresses,
    /// `candidates`: it has no record for any type that the name answers.
    NoRecordAtAll,
    /// `fence`: it is outside; these candidates are inside.
    OutsideFence(Arc<[EndpointId]>),
    /// `lease`: it is the active endpoint of an exclusive name, by this epoch; `None`: no lease is known, and it is the
    /// first member.
    Active(Option<u64>),
    /// `lease`: another endpoint is active.
    NotActive {
        /// The active one; this server's files may not have it. `None`: it is not known yet.
        active: Option<Arc<str>>,
        /// Its epoch, as in [`Why::Active`].
        epoch: Option<u64>,
    },
    /// `state`, `on_empty`: an operator or the file took it out of service.
    OutOfService(OutOfService),
    /// `state`: it is out of service, and nothing better is left.
    OutOfServiceButGiven(OutOfService),
    /// `state`: an override makes it eligible, whatever is measured.
    ForcedUp(Arc<Override>),
    /// `health`: it is not up.
    Unhealthy(Unhealthy),
    /// `health`: it is not up, and nothing better is left.
    UnhealthyButGiven(Unhealthy),
    /// `health`: it is up, but most vantages of this region, which is the client's, can't reach it.
    OutOfReach(RegionId),
    /// `health`: the same, and nothing better is left.
    OutOfReachButGiven(RegionId),
    /// `health`: it is not up, but an override makes it eligible.
    UnhealthyButForcedUp(Unhealthy),
    /// `health`: it has no monitor.
    Unmonitored,
    /// `health`: it is up.
    Up,
    /// `health`: it was not probed yet.
    NotProbedYet,
    /// `rank`: its place by distance.
    Ranked(Arc<Ranked>),
    /// `rank`: it is below the first member of a geo pool that is up and whose selector holds.
    FirstMatch {
        /// The geo pool; `None`: the name's own pool, or that of `on_empty`.
        pool: Option<PoolId>,
        /// The member.
        member: MemberRef,
        /// Its selector; `None`: it is for all clients.
        when: Option<SelectorId>,
    },
    /// `tiers`: it is in a tier.
    InTier(InTier),
    /// `tiers`: a geo pool has it for other clients.
    NotSelected(SelectorId),
    /// `tiers`: it is behind this member of a geo pool, which matches first.
    BehindMatch(MemberRef),
    /// `tiers`: it is a standby of this pool.
    Standby(PoolId),
    /// `tiers`: another member of a failover pool comes first.
    BehindFirst {
        /// The failover pool.
        pool: PoolId,
        /// The member that comes first.
        first: MemberRef,
    },
    /// `tiers`: it comes first in a failover pool, which stays on another member because of `failback`.
    BeforeIncumbent {
        /// The failover pool.
        pool: PoolId,
        /// The member that it stays on.
        incumbent: MemberRef,
    },
    /// `tiers`: its pool has less of its weight up than `min_up`.
    UnderMinUp {
        /// The pool.
        pool: PoolId,
        /// The share that is up, 0 to 1.
        up: f64,
    },
    /// `tiers`: its pool has less of its weight up than `min_up`, and nothing better is left.
    UnderMinUpButGiven {
        /// The pool.
        pool: PoolId,
        /// The share that is up, 0 to 1.
        up: f64,
    },
    /// `tiers`: it is behind the first tier of a member of a pool that steers `all`.
    BehindFirstTier,
    /// `on_empty`: it is up and given, though the pools have it for other clients.
    GivenThoughForOthers,
    /// `on_empty`: it is given though it is not eligible.
    GivenThoughIneligible,
    /// `on_empty`: no pool has it for these clients.
    NotForClient,
    /// `on_empty`: it is drained, and there is something else to give.
    DrainedForOthers,
    /// `on_empty`: what is given does not have it.
    NotGivenNow,
    /// `kind`: it cannot stand next to a CNAME, or is one.
    OfOtherKind,
    /// `pick`: it can be drawn.
    Drawn {
        /// Number of its tier, from 1.
        tier: usize,
        /// Its weight in it.
        weight: f64,
        /// The weights of the tier, added up.
        total: f64,
    },
    /// `pick`: it cannot be drawn.
    NotDrawn {
        /// Number of its tier, from 1.
        tier: usize,
        /// Why.
        because: Undrawn,
    },
}

/// Who took an endpoint out of service.
#[derive(Debug, Clone, PartialEq)]
pub enum OutOfService {
    /// The file, for good.
    Disabled,
    /// The file: no new answers.
    DrainedByFile,
    /// An override: no new answers.
    Drained(Arc<Override>),
    /// An override: it is never answered with, not even by `on_empty`.
    ForcedDown(Arc<Override>),
    /// The source that stated it, of this name, does not list it any more: it is never answered with.
    Withdrawn(Arc<str>),
}

/// A verdict that makes an endpoint ineligible.
#[derive(Debug, Clone, PartialEq)]
pub struct Unhealthy {
    /// The verdict.
    pub health: Health,
    /// The last failure, and the vantage that reported it.
    pub cause: Option<(Arc<str>, Arc<str>)>,
}

/// The place of an endpoint in a pool that ranks by distance.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// From 1; members at one distance have one rank.
    pub rank: usize,
    /// The pool; `None`: the name's own pool, or that of `on_empty`.
    pub pool: Option<PoolId>,
    /// How far its member is.
    pub nearness: Nearness,
    /// The band that makes it equal to the best of its rank.
    pub band: Option<InBand>,
    /// Whether the band's hold-down moved it.
    pub turn: Option<Turn>,
}

/// How far a member of a pool is from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nearness {
    /// It is the only member that is up, so nothing was compared.
    OnlyMember,
    /// The client's region is unknown.
    RegionUnknown,
    /// No region measured any member.
    NothingMeasured,
    /// By round-trip time.
    Rtt {
        /// The RTT, [`rounded`].
        rtt: Duration,
        /// The region that measured it.
        from: RegionId,
        /// The client's region.
        client: RegionId,
    },
    /// This region measured other members, but not this one.
    NotMeasured(RegionId),
    /// By great circle.
    Kilometres {
        /// Rounded.
        km: u64,
        /// The client's region.
        client: RegionId,
    },
    /// A location is missing; the client's region.
    NoLocation(RegionId),
}

/// Why an RTT counts as equal to the best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InBand {
    /// The best RTT, [`rounded`].
    pub best: Duration,
    /// How much over it is equal, [`rounded`].
    pub width: Duration,
}

/// What the hold-down of a band does to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It leads until others have led for long enough.
    Stays,
    /// It will lead once it has been ahead for long enough.
    Waits,
}

/// An endpoint in a tier.
#[derive(Debug, Clone, PartialEq)]
pub struct InTier {
    /// From 1.
    pub tier: usize,
    /// How many endpoints are given together with it, itself included.
    pub together: usize,
    /// The weight of its share.
    pub weight: f64,
    /// The ramps that reduce the weight.
    pub ramps: Vec<Ramping>,
}

/// A member that has a part of its weight for some time after an outage.
#[derive(Debug, Clone, PartialEq)]
pub struct Ramping {
    /// The pool that weighs it; `None`: the name's own pool, or that of `on_empty`.
    pub pool: Option<PoolId>,
    /// The member.
    pub member: MemberRef,
    /// The weight that it has now.
    pub now: f64,
    /// The weight that it will have.
    pub full: f64,
}

/// Why an endpoint of a tier is in no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undrawn {
    /// Its record for the facet is down, and the client's net decides for all types.
    SideDown,
    /// It has no record for the facet, and the client's net decides for all types.
    SideMissing,
    /// The tier before it has aliases alone.
    AfterAlias,
    /// The reply is full before this tier.
    TiersFull,
    /// It is an alias behind addresses.
    AliasAfterAddresses,
}

/// What is known of a stage as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// `candidates`: no endpoint has a record for the question.
    NoCandidate,
    /// The last stage: no endpoint is for these clients.
    NothingForClient,
    /// The last stage: the active endpoint of an exclusive name has no such record inside the fence.
    ActiveHasNone,
    /// `fence`: every candidate is inside.
    AllInside,
    /// `fence`: it does not apply to these clients.
    FenceNotApplied,
    /// `fence`: it applies to these clients.
    FenceApplied,
    /// `health`: by the monitor of the name.
    OwnMonitor,
    /// `on_empty`: what is given.
    OnEmpty {
        /// Whether something is eligible, for other clients.
        some_eligible: bool,
        /// How many entries of the policy's `on_empty` come before, of which nothing is up.
        skipped: usize,
        /// What is given.
        gives: Fallback,
    },
    /// `kind`: the client's net decides.
    KindByNet,
    /// `kind`: this endpoint comes first.
    KindOf(EndpointId),
    /// `pick`: the client's net decides.
    ByNet(AffinityNet),
    /// `pick`: nothing is drawn, as the reply has all SRV records.
    NotPicked,
    /// `limit`: most records in a reply.
    Limit(usize),
    /// `limit`: one draw, which may give the whole of a pool that steers `all`.
    OneDraw,
    /// `ttl`: what bounds it.
    Ttl(TtlBound),
}

/// What `on_empty` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing.
    Nodata,
    /// Nothing: no endpoint of the pool may ever be given now.
    NothingLeft,
    /// Every endpoint of the pool.
    All,
    /// What was given while something was last up.
    LastGood,
    /// Every endpoint of the pool, as there was no good answer yet.
    NeverGood,
    /// The zone file's records.
    Static,
    /// Nothing: nobody knows whether the zone file's records are inside the fence.
    StaticOutsideFence,
    /// Nothing: the zone file's CNAME has no addresses next to it.
    StaticIsAlias,
    /// What another pool or endpoint gives.
    Other(MemberRef, Despite),
    /// Another pool or endpoint, of which nothing may be given.
    OtherWithout(MemberRef),
}

/// Which state of another pool's endpoints was disregarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Despite {
    /// None.
    Nothing,
    /// They may be drained.
    Drain,
    /// They may be down.
    Health,
}

/// What bounds a TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlBound {
    /// `ttl.max`: nothing that is considered can change.
    NoChange,
    /// `ttl.max`: nothing changes sooner.
    Max,
    /// `ttl.min`: this happens sooner.
    Min(Change),
    /// This happens then.
    Change(Change),
}

/// What may change an answer next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub of: Changing,
    /// When, in tenths of a second.
    pub in_tenths: u64,
}

/// What may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changing {
    /// The health of an endpoint.
    Health(EndpointId),
    /// The choice of a pool.
    Pool(PoolId),
    /// The weight of an endpoint.
    Ramp(EndpointId),
    /// The override of an endpoint.
    Override(EndpointId),
    /// The active endpoint of an exclusive name may become known.
    Lease,
}

impl Change {
    /// Of `of`, after `time`.
    pub(super) fn after(time: Duration, of: Changing) -> Change {
        Change { of, in_tenths: (time.as_secs_f64() * 10.0).round_ties_even() as u64 }
    }
}

/// Under this an RTT is shown in microseconds.
const FINE_RTT: Duration = Duration::from_micros(100);

/// An RTT with the digits that are shown: tenths of a millisecond, under 0.1 ms microseconds.
pub(super) fn rounded(rtt: Duration) -> Duration {
    if rtt < FINE_RTT {
        return Duration::from_micros(rtt.as_micros() as u64);
    }
    Duration::from_micros((rtt.as_secs_f64() * 1e4).round_ties_even() as u64 * 100)
}
