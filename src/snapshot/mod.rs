//! What is being served: every zone, name and decision of one moment, immutable. Readers hold it by one pointer; what a
//! change doesn't touch is shared with the snapshot before. [`compile`] makes it, [`publish`] is its only writer.

pub mod cell;
mod classes;
pub mod compile;
pub mod names;
mod policies;
pub mod publish;
mod recovery;
mod remap;
mod restore;
mod retained;
pub mod tally;
#[cfg(test)]
mod tests;
mod touched;
mod transition;

pub use cell::{Cell, CellContent, Picks, PreparedRecord};
pub use classes::{ClassGroup, LocalClass};
pub use names::ZoneTable;
pub use publish::Publisher;
pub use recovery::NamedRecovery;
pub use retained::{NamedStanding, SteeringState};
pub use tally::{TallyLabels, TallyRun, TallyTable};
pub use transition::Transition;

use std::net::IpAddr;
use std::sync::Arc;

use classes::PolicyClasses;
pub(crate) use policies::PolicyCells;
use policies::{FacetCells, PolicyTable};
use touched::{Dependencies, Resisting};

use crate::model::{
    ClassId, ClientClass, Facet, MemberRef, Model, PolicyId, PoolId, RateLimit, SteeredName, WorldView, ZoneId,
};
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
    pub(crate) classes: Arc<PolicyClasses>,
    pub(crate) policies: PolicyTable,
    pub(crate) dependencies: Arc<Dependencies>,
    /// Replaced whenever a choice that resists change is made, ends, or meets another challenger.
    pub(crate) resisting: Arc<Resisting>,
}

impl Snapshot {
    /// The cell that answers `facet` of a policy for clients of `class`; `None` when the policy doesn't have that facet.
    pub fn cell(&self, policy: PolicyId, class: LocalClass, facet: Facet) -> Option<&Cell> {
        let facets = self.policies.get(policy)?;
        facets.iter().find(|of| of.facet == facet)?.cell(class).map(|cell| &**cell)
    }

    /// The class of a client as `policy` tells clients apart, and the shortest prefix length around `ip`, in its own
    /// family, whose clients are all alike to it: 0 where it asks nothing.
    pub fn place(&self, ip: IpAddr, policy: PolicyId, by: KnownBy) -> (LocalClass, u8) {
        self.place_in(ip, self.group(policy), by)
    }

    /// The same for all policies of a group.
    pub fn place_in(&self, ip: IpAddr, group: ClassGroup, by: KnownBy) -> (LocalClass, u8) {
        self.classes.place(ip, group, by)
    }

    /// Which policies place clients as `policy` does.
    pub fn group(&self, policy: PolicyId) -> ClassGroup {
        self.classes.group(policy)
    }

    /// What a class of the model is to `policy`.
    pub fn local(&self, policy: PolicyId, class: ClassId) -> LocalClass {
        self.classes.locals(policy).local(class)
    }

    /// A class of the model for each [`LocalClass`] of `policy`, in their order: it stands for all that are alike.
    pub fn local_classes(&self, policy: PolicyId) -> impl ExactSizeIterator<Item = &ClientClass> {
        self.classes.locals(policy).classes(&self.model)
    }

    /// The failover pools of a policy that remember their choice, each with its member, by type and class of clients.
    pub(crate) fn failover_choices(&self, policy: PolicyId) -> Vec<(PoolId, MemberRef)> {
        let facets = self.policies.get(policy).into_iter().flat_map(|cells| &**cells);
        let standings = facets.flat_map(|of| &of.cells).flat_map(|cell| &cell.decision().standings);
        let of_failover = standings.filter(|standing| self.model.pool(standing.pool).steering.has_failback());
        of_failover.filter_map(|standing| Some((standing.pool, *standing.incumbents.first()?))).collect()
    }

    /// Whether a policy is answered from the same cells as in `other`, a snapshot of the same model: then every client
    /// gets the same. Never true by mistake.
    pub(crate) fn answers_as(&self, other: &Snapshot, policy: PolicyId) -> bool {
        let same_cells = match (self.policies.get(policy), other.policies.get(policy)) {
            (Some(own), Some(of_other)) => Arc::ptr_eq(own, of_other),
            (None, _) | (_, None) => false,
        };
        same_cells && Arc::ptr_eq(&self.model, &other.model)
    }

    /// The class of the model that stands for `class` of `policy`.
    pub fn standing_for(&self, policy: PolicyId, class: LocalClass) -> ClassId {
        self.classes.locals(policy).standing_for(class)
    }

    /// The class of a client that asks itself, whatever policies tell apart, and the shortest prefix length around `ip`
    /// whose clients are all of it.
    pub fn class(&self, ip: IpAddr) -> (ClassId, u8) {
        self.classes.class(ip)
    }

    /// What `policy` asks about the clients of `class`, in words that are the same in every generation:
    /// `region=eu-west +countries=DE`; empty where it asks nothing.
    pub fn label_of(&self, policy: PolicyId, class: LocalClass) -> &str {
        self.classes.locals(policy).labels.get(usize::from(class.0)).map_or("", |label| label)
    }

    /// The cells of a policy; two snapshots that share them give the same answers.
    pub(crate) fn cells_of(&self, policy: PolicyId) -> Option<&Arc<PolicyCells>> {
        self.policies.get(policy)
    }

    /// Every decision that is being served.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        let facets = self.policies.iter().flat_map(|policy| &policy[..]);
        facets.flat_map(|facet: &FacetCells| &facet.cells).map(|cell| cell.decision())
    }

    /// The steered name that answers `name`: itself, or the wildcard that covers it.
    pub fn steered(&self, name: &Name) -> Option<(ZoneId, &SteeredName)> {
        let (zone, index) = self.zones.steered(name)?;
        Some((zone, &self.model.zone(zone).steered[index]))
    }
}
