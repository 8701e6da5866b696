//! The kinds of pools and their properties. Other code asks for a property, such as [`Steering::gives`], and does not
//! list kinds, so a new kind is described here alone. Only the checks of files name kinds: those that have a key of
//! their own (`band`, `when`). `steering::kinds` decides which members a pool gives.

/// `steer` of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Steering {
    /// In proportion to weight.
    #[default]
    Weighted,
    /// Smallest smoothed RTT from the client's region.
    Latency,
    /// Smallest great-circle distance from the client's region.
    Nearest,
    /// The first member that is up, as listed.
    Failover,
    /// The first member that is up and whose `when` holds for the client.
    Geo,
    /// In proportion to weight, the same for all of a client's net.
    Affinity,
    /// Every member that is up, rotated.
    All,
}

/// What a pool ranks its members by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankedBy {
    /// Smoothed round-trip time from the client's region.
    Rtt,
    /// The great circle from the client's region.
    GreatCircle,
}

/// How many of its members a pool gives at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// One, and no standby behind it.
    First,
    /// Those of one rank, drawn by weight; then those of the next.
    ByWeight,
    /// All of them in one reply.
    Together,
}

impl Steering {
    /// All kinds, each with its word in `steer`.
    pub const ALL: &[(&str, Steering)] = &[
        ("weighted", Steering::Weighted),
        ("latency", Steering::Latency),
        ("nearest", Steering::Nearest),
        ("failover", Steering::Failover),
        ("geo", Steering::Geo),
        ("affinity", Steering::Affinity),
        ("all", Steering::All),
    ];

    /// What it ranks its members by, where it ranks: then the client's region matters.
    pub fn ranked_by(self) -> Option<RankedBy> {
        match self {
            Steering::Latency => Some(RankedBy::Rtt),
            Steering::Nearest => Some(RankedBy::GreatCircle),
            Steering::Weighted | Steering::Failover | Steering::Geo | Steering::Affinity | Steering::All => None,
        }
    }

    /// How many members it gives at a time.
    pub fn gives(self) -> Gives {
        match self {
            Steering::Failover | Steering::Geo => Gives::First,
            Steering::Weighted | Steering::Affinity | Steering::Latency | Steering::Nearest => Gives::ByWeight,
            Steering::All => Gives::Together,
        }
    }

    /// Whether chance decides which member comes first in a reply.
    pub fn is_random(self) -> bool {
        match self {
            Steering::Weighted | Steering::All => true,
            Steering::Latency | Steering::Nearest | Steering::Failover | Steering::Geo | Steering::Affinity => false,
        }
    }

    /// Whether the client's net decides in place of chance.
    pub fn is_by_net(self) -> bool {
        match self {
            Steering::Affinity => true,
            Steering::Weighted
            | Steering::Latency
            | Steering::Nearest
            | Steering::Failover
            | Steering::Geo
            | Steering::All => false,
        }
    }

    /// Whether the `when` of its members counts.
    pub fn selects_clients(self) -> bool {
        match self {
            Steering::Geo => true,
            Steering::Weighted
            | Steering::Latency
            | Steering::Nearest
            | Steering::Failover
            | Steering::Affinity
            | Steering::All => false,
        }
    }

    /// Whether it prefers members in listed order, and `failback` says when it returns to an earlier one.
    pub fn has_failback(self) -> bool {
        match self {
            Steering::Failover => true,
            Steering::Weighted
            | Steering::Latency
            | Steering::Nearest
            | Steering::Geo
            | Steering::Affinity
            | Steering::All => false,
        }
    }
}
