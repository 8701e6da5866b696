//! How a steered name is answered.

use std::time::Duration;

use crate::model::{EndpointId, Facet, MemberRef, ZoneId};

/// Index of a policy in its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// How one steered name, or several that are written alike, are answered.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The zone it belongs to.
    pub zone: ZoneId,
    /// Where its candidates come from: the pool (or single endpoint) it names.
    pub root: MemberRef,
    /// Every endpoint that a reply could name, each once: those below `root` in listed order, then those below the pool
    /// or endpoint of [`OnEmpty::Other`]. A record's counter is this list's index.
    pub endpoints: Vec<EndpointId>,
    /// The families it answers: V4, V6, both, or Alias where all its endpoints are cnames.
    pub facets: Vec<Facet>,
    /// Most records in a reply, 1 to [`MAX_ANSWERS`]. `None` where the file says nothing: one, but a pool that steers
    /// `all` gives as many as are up.
    pub answers: Option<usize>,
    /// Bounds of the TTL.
    pub ttl: Ttl,
    /// What is answered when nothing is eligible.
    pub on_empty: OnEmpty,
}

/// Most endpoints in one reply. An A record takes 16 octets, so 64 of them fit the 1232 octets of a UDP reply with
/// the question and OPT; a policy that could give more is refused by `config`.
pub const MAX_ANSWERS: usize = 64;

/// Most endpoints below one policy; `config` refuses more. A draw walks its tier on the packet path, and keeps which
/// shares it has drawn on the stack. Judgment: an RRset of a thousand endpoints wants two names.
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

/// What is answered when nothing is eligible (CONTRACT 4.7).
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
    /// Another pool or endpoint; where that is empty as well, NODATA.
    Other(MemberRef),
}
