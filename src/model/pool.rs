//! Endpoints, and the pools that steer among them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    CheckId, Country, Discovered, EndpointId, Gives, PoolId, RankedBy, RegionId, SelectorId, Steering, ZoneId,
};
use crate::wire::code::rtype;

/// One thing we may answer with and probe. It has addresses (one of a family at most) or a cname, never both.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name, unique among the endpoints and pools of its zone.
    pub name: String,
    /// The zone whose policy file declares it.
    pub zone: ZoneId,
    /// Its region.
    pub region: Option<RegionId>,
    /// What it may be answered with, in the order v4, v6 or alias alone; at least one.
    pub answerables: Vec<Answerable>,
    /// Its weight among the members of its pools; 0 is a standby.
    pub weight: u32,
    /// Its country, for fences.
    pub country: Option<Country>,
    /// The time in which its weight grows to full after it was down, at most an hour; 0: at once.
    pub ramp: Duration,
    /// Answers a second that it can take, for `simulate`.
    pub capacity: Option<u64>,
    /// `state` in the file.
    pub state: AdminState,
    /// The source that states it; `None`: a file declares it.
    pub discovered: Option<Discovered>,
}

impl Endpoint {
    /// An endpoint of weight 1 without region or country.
    pub fn new(name: impl Into<String>, zone: ZoneId, answerables: Vec<Answerable>) -> Endpoint {
        Endpoint {
            name: name.into(),
            zone,
            region: None,
            answerables,
            weight: 1,
            country: None,
            ramp: Duration::ZERO,
            capacity: None,
            state: AdminState::Enabled,
            discovered: None,
        }
    }

    /// What this endpoint can answer a question for `facet` with: the address of that family, or its cname. For a
    /// service it is everything that it has.
    pub fn answering(&self, facet: Facet) -> impl Iterator<Item = &Answerable> {
        self.answerables.iter().filter(move |side| facet.is_answered_by(side.facet))
    }

    /// The first that [`Endpoint::answering`] gives.
    pub fn answerable(&self, facet: Facet) -> Option<&Answerable> {
        self.answering(facet).next()
    }

    /// Whether its record for `facet` is alone in a reply: a CNAME (RFC 1034, 3.6.2), or SVCB's alias mode (RFC 9460,
    /// 2.4.2).
    pub fn stands_alone(&self, facet: Facet) -> bool {
        facet != Facet::Srv && self.answering(facet).any(|answerable| answerable.facet == Facet::Alias)
    }
}

/// One side of an endpoint, which is judged separately.
#[derive(Debug, Clone)]
pub struct Answerable {
    /// Which kind of record it becomes.
    pub facet: Facet,
    /// The content of the record.
    pub rdata: AnswerRdata,
    /// The check that judges it; without a monitor there is none, and it is always up.
    pub check: Option<CheckId>,
    /// Further checks of it, each once, for names that have a monitor of their own.
    pub judged: Vec<Judged>,
}

/// A check that judges an endpoint for some names, in place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The name of the monitor.
    pub monitor: Arc<str>,
    /// The check.
    pub check: CheckId,
}

impl Answerable {
    /// One that only its own check judges.
    pub fn new(facet: Facet, rdata: AnswerRdata, check: Option<CheckId>) -> Answerable {
        Answerable { facet, rdata, check, judged: Vec::new() }
    }

    /// Every check of it, each once, its own first.
    pub fn checks(&self) -> impl Iterator<Item = CheckId> {
        self.named_checks().map(|(_, check)| check)
    }

    /// The same, with the names of the monitors that are not the endpoint's own.
    pub fn named_checks(&self) -> impl Iterator<Item = (Option<&str>, CheckId)> {
        let judged = self.judged.iter().map(|judged| (Some(&*judged.monitor), judged.check));
        self.check.map(|check| (None, check)).into_iter().chain(judged)
    }
}

/// The content of a steered record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerRdata {
    /// An A or AAAA record.
    Address(IpAddr),
    /// A CNAME record; the target in the case it was written, uncompressed wire form.
    Cname(Box<[u8]>),
}

/// The kinds of question that steering answers: A, AAAA, a name that is only an alias, and services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Facet {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
    /// A CNAME: answers a question for either family.
    Alias,
    /// SRV records: every endpoint that is eligible, with its tier and weight (RFC 2782).
    Srv,
    /// HTTPS records (RFC 9460, 9).
    Https,
    /// SVCB records (RFC 9460).
    Svcb,
}

impl Facet {
    /// The type code of its records.
    pub fn rtype(self) -> u16 {
        match self {
            Facet::V4 => rtype::A,
            Facet::V6 => rtype::AAAA,
            Facet::Alias => rtype::CNAME,
            Facet::Srv => rtype::SRV,
            Facet::Https => rtype::HTTPS,
            Facet::Svcb => rtype::SVCB,
        }
    }

    /// The name of that type.
    pub fn as_str(self) -> &'static str {
        match self {
            Facet::V4 => "A",
            Facet::V6 => "AAAA",
            Facet::Alias => "CNAME",
            Facet::Srv => "SRV",
            Facet::Https => "HTTPS",
            Facet::Svcb => "SVCB",
        }
    }

    /// Whether the side `side` of an endpoint answers a question for this facet: the address of that family, or a
    /// cname. Every side answers for a service.
    pub fn is_answered_by(self, side: Facet) -> bool {
        self.is_service() || side == self || side == Facet::Alias
    }

    /// Whether its records locate a service, rather than contain an address.
    pub fn is_service(self) -> bool {
        match self {
            Facet::V4 | Facet::V6 | Facet::Alias => false,
            Facet::Srv | Facet::Https | Facet::Svcb => true,
        }
    }
}

/// `state` of an endpoint in its policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    /// Probed and answered with.
    #[default]
    Enabled,
    /// No new answers, still probed.
    Drain,
    /// Neither answered with nor probed.
    Disabled,
}

/// A steered group of endpoints or pools; at least one member, and never itself, however deep.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its name, unique among the endpoints and pools of its zone.
    pub name: String,
    /// How it chooses among its members.
    pub steering: Steering,
    /// Members as listed.
    pub members: Vec<Member>,
    /// Which RTTs count as equal, where it steers by latency and has a `band`.
    pub band: Option<Band>,
    /// The pool counts as down for its parent while less than this share of its members' weight is up, 0 to 1. The
    /// parent uses it all the same when it has nothing better.
    pub min_up: f64,
}

impl Pool {
    /// Whether members can be in one tier, where weights divide it: then a ramp has an effect.
    pub fn weighs(&self) -> bool {
        let has_equals = match self.steering.ranked_by() {
            Some(RankedBy::Rtt) => self.band.is_some(),
            Some(RankedBy::GreatCircle) | None => true,
        };
        has_equals && self.steering.gives() == Gives::ByWeight && self.members.len() > 1
    }

    /// The clients that a member is for; `None`: all.
    pub fn selector(&self, member: &Member) -> Option<SelectorId> {
        member.when.filter(|_| self.steering.selects_clients())
    }

    /// Members in the order in which one of them is chosen: as listed, standbys (weight 0) last.
    pub fn in_order(&self) -> impl Iterator<Item = &Member> {
        let of = |standby: bool| self.members.iter().filter(move |member| (member.weight == 0) == standby);
        of(false).chain(of(true))
    }
}

impl Pool {
    /// A pool without a band, which is up while any member is.
    pub fn new(name: impl Into<String>, steering: Steering, members: Vec<Member>) -> Pool {
        Pool { name: name.into(), steering, members, band: None, min_up: 0.0 }
    }
}

/// `band` of a latency pool: RTTs that are over the best by no more than the larger of the two are equal to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Band {
    /// Over the best by this.
    pub over: Duration,
    /// Over the best by this share of it, percent.
    pub percent: u32,
}

/// One member of a pool.
#[derive(Debug, Clone)]
pub struct Member {
    /// What it is.
    pub to: MemberRef,
    /// Its weight in this pool: the one that the pool lists, or the endpoint's, or 1 for a pool; 0 is a standby.
    pub weight: u32,
    /// The clients that it is for, in a pool that steers `geo`; `None`: all.
    pub when: Option<SelectorId>,
}

impl Member {
    /// A member for all clients.
    pub fn new(to: MemberRef, weight: u32) -> Member {
        Member { to, weight, when: None }
    }
}

/// An endpoint or a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberRef {
    /// An endpoint.
    Endpoint(EndpointId),
    /// A pool.
    Pool(PoolId),
}
