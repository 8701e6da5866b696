//! A zone, from its master file and its policy file: static RRsets and steered names.

use std::time::Duration;

use crate::model::PolicyId;
use crate::wire::Name;

/// One zone. It is valid: it has a SOA at its apex, every owner is within it, and no CNAME has other types next to it.
/// Or it is empty: its files have errors, and it can't be answered from.
#[derive(Debug, Clone)]
pub struct Zone {
    /// The zone's name.
    pub apex: Name,
    /// Static RRsets, each (owner, type) once, in any order. Glue and names below a delegation are among them.
    pub rrsets: Vec<Rrset>,
    /// Steered names, each owner once; RRsets of the same owner and type are that name's safe default.
    pub steered: Vec<SteeredName>,
    /// How EDNS client subnet is used (RFC 7871).
    pub ecs: Ecs,
}

impl Zone {
    /// Whether there is anything to answer from; every name of another zone gets SERVFAIL.
    pub fn is_served(&self) -> bool {
        !self.rrsets.is_empty()
    }
}

/// An RRset (RFC 2181, 5): the records of one owner and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rrset {
    /// Owner, lower-cased; a leftmost `*` is a wildcard.
    pub owner: Name,
    /// Type code, any of RFC 3597.
    pub rtype: u16,
    /// Seconds, 0 to 2^31-1 (RFC 2181, 8).
    pub ttl: u32,
    /// Each record's RDATA in wire form: at least one, no two alike. Names in it are uncompressed and have the case of
    /// the file.
    pub rdatas: Vec<Box<[u8]>>,
}

/// A name that is answered from a policy.
#[derive(Debug, Clone)]
pub struct SteeredName {
    /// Owner, lower-cased; a leftmost `*` is a wildcard.
    pub owner: Name,
    /// The name as it is written in the policy file: `www`, `@`, `*.app`.
    pub label: String,
    /// How it is answered.
    pub policy: PolicyId,
    /// Within which time clients are to get another answer after a failure, the TTL included: the `rto` of the name.
    pub rto: Option<Duration>,
}

/// How EDNS client subnet is used in one zone. Default: used, /24 and /56.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ecs {
    /// Whether the option is used; otherwise it is returned with scope 0.
    pub enabled: bool,
    /// A decision for a client known by ECS is never finer than this many bits of an IPv4 address, 0 to 32.
    pub v4: u8,
    /// The same for IPv6, 0 to 128.
    pub v6: u8,
}

impl Default for Ecs {
    fn default() -> Ecs {
        Ecs { enabled: true, v4: 24, v6: 56 }
    }
}
