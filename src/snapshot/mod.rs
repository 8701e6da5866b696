//! What is being served: every zone, name and decision of one moment, immutable. Readers hold it by one pointer; what a
//! change doesn't touch is shared with the snapshot before. [`compile`] makes it, [`publish`] is its only writer.

pub mod cell;
pub mod compile;
mod last_good;
pub mod names;
pub mod publish;
pub mod tally;
#[cfg(test)]
mod tests;
mod transition;

pub use cell::{Cell, CellGiven, Picks, PreparedRecord};
pub use names::ZoneTable;
pub use publish::Publisher;
pub use tally::{TallyLabels, TallyTable};
pub use transition::Transition;

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::client_table::ClientTable;
use crate::model::{ClassId, Facet, Model, PolicyId, RateLimit, SteeredName, WorldView, ZoneId};
use crate::steering::Decision;
use crate::wire::Name;
use crate::wire::cookie::CookieSecrets;

/// What this node is, says of itself, and allows in DNS, whatever the zones.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The NSID (RFC 5001); empty: none is given.
    pub nsid: Vec<u8>,
    /// What server cookies are made with (RFC 9018); none: cookies are ignored, as any unknown option.
    pub cookies: Option<CookieSecrets>,
    /// What `version.bind` is answered with, up to 255 octets; none: refused.
    pub version: Option<String>,
    /// What `id.server` is answered with (RFC 4892), up to 255 octets; none: refused.
    pub id: Option<String>,
    /// How often one client may get the same answer.
    pub rate_limit: RateLimit,
}

/// How a client's address came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// From EDNS client subnet: nets finer than the zone's cut-off aren't seen (CONTRACT 4.3).
    Ecs,
    /// It asked us itself: seen whole.
    Address,
}

/// Everything that is served at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// How many times the files have been loaded with success; 1 is the first.
    pub generation: u64,
    /// What the files say.
    pub model: Arc<Model>,
    /// What was believed of the world when it was compiled.
    pub view: Arc<WorldView>,
    /// Names and static records.
    pub zones: Arc<ZoneTable>,
    /// Labels of the counters that replies add to.
    pub tallies: Arc<TallyTable>,
    /// What this node says of itself.
    pub identity: Arc<Identity>,
    pub(crate) clients: Arc<ClientTables>,
    pub(crate) policies: Vec<Arc<PolicyCells>>,
    pub(crate) dependencies: Arc<Dependencies>,
}

/// Which policies a check matters to.
#[derive(Debug)]
pub(crate) struct Dependencies {
    /// By check: the policies that have it, and whether they rank by RTT.
    pub(crate) by_check: Vec<Vec<(PolicyId, bool)>>,
}

/// Client tables: one for clients that ask themselves, and one a zone for clients known by ECS, shared where cut-offs are equal.
#[derive(Debug)]
pub(crate) struct ClientTables {
    pub(crate) whole: Arc<ClientTable>,
    pub(crate) by_ecs: Vec<Arc<ClientTable>>,
}

/// The cells of one policy.
#[derive(Debug)]
pub(crate) struct PolicyCells {
    /// `cells[facet index in policy.facets]`, then by [`ClassId`]; a policy that doesn't look at the client has one for all.
    pub(crate) cells: Vec<Vec<Arc<Cell>>>,
}

impl Snapshot {
    /// The cell that answers `facet` for clients of `class`; `None` when the policy doesn't have that facet.
    pub fn cell(&self, policy: PolicyId, class: ClassId, facet: Facet) -> Option<&Cell> {
        let at = self.model.policy(policy).facets.iter().position(|f| *f == facet)?;
        let by_class = &self.policies[policy.0 as usize].cells[at];
        by_class.get(usize::from(class.0)).or(by_class.first()).map(|cell| &**cell)
    }

    /// The class of a client, and the shortest prefix length around `ip`, in its own family, whose clients all have it.
    pub fn place(&self, ip: IpAddr, zone: ZoneId, by: KnownBy) -> (ClassId, u8) {
        match by {
            KnownBy::Address => self.clients.whole.lookup(ip),
            KnownBy::Ecs => self.clients.by_ecs[zone.0 as usize].lookup(ip),
        }
    }

    /// Every decision that is being served.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.policies.iter().flat_map(|policy| &policy.cells).flatten().map(|cell| cell.decision())
    }

    /// The steered name that answers `name`: itself, or the wildcard that covers it.
    pub fn steered(&self, name: &Name) -> Option<(ZoneId, &SteeredName)> {
        let (zone, index) = self.zones.steered(name)?;
        Some((zone, &self.model.zone(zone).steered[index]))
    }
}
