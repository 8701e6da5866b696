//! How a steered name is answered.

use std::time::Duration;

use crate::model::{Answerable, CheckId, EndpointId, Facet, FenceId, MemberRef, Model, SelectorId, ZoneId};
use crate::wire::Name;

/// How one steered name, or several that are written alike, are answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The zone it belongs to.
    pub zone: ZoneId,
    /// Its pool, or its single endpoint.
    pub root: MemberRef,
    /// Every endpoint that a reply could name, each once: those below `root` in listed order, then those below the pool
    /// or endpoint of [`OnEmpty::Other`]. The index in this list identifies the counter of a record.
    pub endpoints: Vec<EndpointId>,
    /// What it answers, in the order of [`Facet`]: V4, V6, both, or Alias where all its endpoints are cnames; and
    /// services.
    pub facets: Vec<Facet>,
    /// Most records in a reply, 1 to [`MAX_ANSWERS`]. `None` where the file has no `answers`: one, but a pool that
    /// steers `all` gives as many as are up.
    pub answers: Option<usize>,
    /// Bounds of the TTL.
    pub ttl: Ttl,
    /// What is answered when nothing is eligible, at least one entry: the first of which something is up, else the
    /// last.
    pub on_empty: Vec<OnEmpty>,
    /// The fence around it.
    pub fence: Option<FenceId>,
    /// The net whose clients get the same answer; `None`: chance decides, except in pools that steer `affinity`.
    pub affinity: Option<AffinityNet>,
    /// When a failover pool goes back to a member that comes before the one it moved to.
    pub failback: Failback,
    /// What its SRV, HTTPS and SVCB records contain besides their endpoints.
    pub service: Service,
    /// The monitor that judges the endpoints below `root` for it; `None`: each is judged by its own.
    pub monitor: Option<OwnMonitor>,
    /// What makes it exclusive: a lease names its one active endpoint. No two exclusive names share a policy.
    pub exclusive: Option<Exclusive>,
    /// Whether it can give a CNAME and can give addresses: then it is one decision for all types which of them it gives
    /// (RFC 1034, 3.6.2). Set from [`Policy::can_mix`].
    pub is_mixed: bool,
}

/// The monitor of a name, which judges the endpoints of its pool in place of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnMonitor {
    /// Its name.
    pub name: String,
    /// Its check of each side of an endpoint; sorted by endpoint and facet, each once.
    pub checks: Vec<((EndpointId, Facet), CheckId)>,
}

/// What makes a name exclusive (`failover = "exclusive"`). Its pool steers `failover`, and has endpoints only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exclusive {
    /// The name, absolute.
    pub owner: Name,
    /// The name of the TXT record that has its epoch: `_epoch` below it.
    pub epoch_owner: Name,
    /// Whether an earlier member becomes active again by itself. [`Policy::failback`] has no effect.
    pub failback: Failback,
}

impl Policy {
    /// The endpoints of its own pool, in the order in which an exclusive name prefers them: as listed, standbys last.
    pub fn members_in_order(&self, model: &Model) -> Vec<EndpointId> {
        match self.root {
            MemberRef::Endpoint(id) => vec![id],
            MemberRef::Pool(pool) => {
                model.pool(pool).in_order().flat_map(|member| model.endpoints_below(member.to)).collect()
            }
        }
    }

    /// Whether all clients get the same endpoint: it has one, or it is exclusive.
    pub fn has_one_for_all(&self) -> bool {
        self.endpoints.len() < 2 || self.exclusive.is_some()
    }

    /// A policy that answers from `endpoints`, all of them below `root`, with the defaults of everything else.
    pub fn new(zone: ZoneId, root: MemberRef, endpoints: Vec<EndpointId>, facets: Vec<Facet>) -> Policy {
        Policy {
            zone,
            root,
            endpoints,
            facets,
            answers: None,
            ttl: Ttl::default(),
            on_empty: vec![OnEmpty::default()],
            fence: None,
            affinity: None,
            failback: Failback::default(),
            service: Service::default(),
            monitor: None,
            exclusive: None,
            is_mixed: false,
        }
    }

    /// The check that judges a side of an endpoint for this policy: that of its own monitor, where it has one and the
    /// endpoint is in its pool, else the endpoint's. `None`: always up.
    pub fn check_of(&self, endpoint: EndpointId, side: &Answerable) -> Option<CheckId> {
        let own = self.monitor.as_ref().and_then(|monitor| {
            let at = monitor.checks.binary_search_by_key(&(endpoint, side.facet), |(side, _)| *side).ok()?;
            monitor.checks.get(at).map(|(_, check)| *check)
        });
        own.or(side.check)
    }

    /// Its own pool or endpoint, then those of `on_empty`.
    pub fn roots(&self) -> impl Iterator<Item = MemberRef> {
        std::iter::once(self.root).chain(self.on_empty.iter().filter_map(OnEmpty::other))
    }

    /// Whether a name with these endpoints and facets can be an alias and can have addresses. A name that only answers
    /// service records is never a CNAME: there an alias is a target.
    pub fn can_mix(model: &Model, endpoints: &[EndpointId], facets: &[Facet]) -> bool {
        let sides = || endpoints.iter().flat_map(|id| &model.endpoint(*id).answerables);
        let is_alias = |alias: bool| sides().any(|side| (side.facet == Facet::Alias) == alias);
        facets.iter().any(|facet| !facet.is_service()) && is_alias(true) && is_alias(false)
    }

    /// The facets that are decided. Of a mixed policy [`Facet::Alias`] comes first: whether it is an alias for all
    /// types.
    pub fn decided_facets(&self) -> impl Iterator<Item = Facet> {
        let first = self.is_mixed.then_some(Facet::Alias);
        first.into_iter().chain(self.facets.iter().copied().filter(move |facet| Some(*facet) != first))
    }
}

/// What the service records of a name contain besides their endpoints (RFC 2782, RFC 9460).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Service {
    /// The port of HTTPS and SVCB records; `None`: the protocol's own.
    pub port: Option<u16>,
    /// Protocols, most preferred first: ALPN ids of 1 to 255 octets.
    pub alpn: Vec<String>,
    /// Where the service is at each of [`Policy::endpoints`], in their order; empty where no service is answered.
    pub targets: Vec<ServiceTarget>,
}

/// Where a service is at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceTarget {
    /// The name with its addresses, uncompressed wire form: one of the zone, or the target of its cname.
    pub name: Box<[u8]>,
    /// The port of SRV records; 0 where none is answered.
    pub port: u16,
}

/// Which clients a fence holds, and which endpoints they may have. Nothing relaxes it: not `on_empty`, not an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// Its name.
    pub name: String,
    /// The clients it holds.
    pub clients: SelectorId,
    /// The endpoints inside, in the order of their ids, each once.
    pub inside: Vec<EndpointId>,
}

impl Fence {
    /// Whether an endpoint is inside.
    pub fn holds(&self, endpoint: EndpointId) -> bool {
        self.inside.binary_search(&endpoint).is_ok()
    }
}

/// How many bits of an address are the client's net, for affinity. Default /24 and /56.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AffinityNet {
    /// Bits of an IPv4 address, 0 to 32.
    pub v4: u8,
    /// Bits of an IPv6 address, 0 to 128.
    pub v6: u8,
}

impl Default for AffinityNet {
    fn default() -> AffinityNet {
        AffinityNet { v4: 24, v6: 56 }
    }
}

/// `failback` of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Failback {
    /// As soon as the earlier member is up.
    #[default]
    Auto,
    /// Only when the one it moved to is out.
    Manual,
    /// When the earlier member has been up for this time.
    After(Duration),
}

/// Most endpoints in one reply. An A record takes 16 octets, so 64 of them fit the 1232 octets of a UDP reply with
/// the question and OPT; a policy that could give more is refused by `config`.
pub const MAX_ANSWERS: usize = 64;

/// Most endpoints below one policy; `config` refuses more. A draw walks its tier on the packet path, and has the shares
/// that it has drawn on the stack. Judgment: a thousand endpoints need two names.
pub const MAX_ENDPOINTS: usize = 1024;

/// Bounds of a TTL, whole seconds, `min` not over `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ttl {
    /// Never longer than this; default 20 s.
    pub max: Duration,
    /// Never shorter than this; default 5 s.
    pub min: Duration,
}

impl Default for Ttl {
    fn default() -> Ttl {
        Ttl { max: Duration::from_secs(20), min: Duration::from_secs(5) }
    }
}

/// What is answered when nothing is eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnEmpty {
    /// What was answered last while something was eligible, with EDE 3; every endpoint of the pool if nothing ever was.
    #[default]
    LastGood,
    /// Every endpoint of the name's own pool, weight 0 too.
    All,
    /// The zone file's RRset of this name.
    Static,
    /// An empty answer.
    Nodata,
    /// Another pool or endpoint.
    Other(MemberRef),
}

impl OnEmpty {
    /// The other pool or endpoint.
    pub fn other(&self) -> Option<MemberRef> {
        match self {
            OnEmpty::Other(other) => Some(*other),
            OnEmpty::LastGood | OnEmpty::All | OnEmpty::Static | OnEmpty::Nodata => None,
        }
    }
}
