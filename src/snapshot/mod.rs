//! What is being served: every zone, name and decision of one moment, immutable. Readers get it from one pointer; parts
//! that a change does not affect are shared with the previous snapshot. [`compile`] makes it, [`publish`] publishes it;
//! [`coming`] is the next generation before it is served.

mod answers;
pub mod cell;
mod classes;
mod coming;
pub mod compile;
pub mod names;
mod policies;
mod postponed;
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

pub use answers::{NamedAnswer, NamedShare, NamedStep};
pub use cell::{Cell, CellContent, Picks, PreparedRecord};
pub use classes::{ClassGroup, LocalClass};
pub use coming::ComingSnapshot;
pub use names::ZoneTable;
pub use publish::Publisher;
pub use recovery::NamedRecovery;
pub use retained::{NamedStanding, SteeringState};
pub use tally::{TallyLabels, TallyRun, TallyTable};
pub use transition::Transition;

use std::net::IpAddr;
use std::sync::Arc;

pub(crate) use classes::ClassTables;
use classes::PolicyClasses;
use policies::PolicyTable;
pub(crate) use policies::{FacetCells, PolicyCells};
use postponed::Postponed;
use touched::{Dependencies, Resisting};

use crate::model::{
    ClassId, ClientClass, Facet, MemberRef, Model, PolicyId, PoolId, RateLimit, SteeredName, WorldView, ZoneId,
};
use crate::steering::Decision;
use crate::wire::Name;
use crate::wire::cookie::CookieSecrets;

/// Settings of this node for DNS that do not depend on zones.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The NSID (RFC 5001); empty: none.
    pub nsid: Vec<u8>,
    /// The secrets of server cookies (RFC 9018); `None`: cookies are ignored like an unknown option.
    pub cookies: Option<CookieSecrets>,
    /// The answer to `version.bind`, up to 255 octets; `None`: refused.
    pub version: Option<String>,
    /// The answer to `id.server` (RFC 4892), up to 255 octets; `None`: refused.
    pub id: Option<String>,
    /// How often one client may get the same answer.
    pub rate_limit: RateLimit,
}

/// The source of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// EDNS client subnet: nets longer than the zone's cut-off are not seen.
    Ecs,
    /// The source of the query: the whole address is seen.
    Address,
}

/// Everything that is served at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// How many times the files have been loaded successfully; 1 is the first.
    pub generation: u64,
    /// What the files say.
    pub model: Arc<Model>,
    /// The world view that it was compiled from.
    pub view: Arc<WorldView>,
    /// Names and static records.
    pub zones: Arc<ZoneTable>,
    /// Labels of the counters that replies add to.
    pub tallies: Arc<TallyTable>,
    /// Settings of this node.
    pub identity: Arc<Identity>,
    pub(crate) classes: Arc<PolicyClasses>,
    pub(crate) policies: PolicyTable,
    pub(crate) dependencies: Arc<Dependencies>,
    /// Replaced whenever a choice that resists change is made, ends, or meets another challenger.
    pub(crate) resisting: Arc<Resisting>,
    /// Policies for which only round-trip times changed since they were decided.
    pub(crate) postponed: Postponed,
}

impl Snapshot {
    /// The cell that answers `facet` of a policy for clients of `class`; `None` when the policy doesn't have that
    /// facet.
    pub fn cell(&self, policy: PolicyId, class: LocalClass, facet: Facet) -> Option<&Cell> {
        self.facet(policy, facet)?.cell(class).map(|cell| &**cell)
    }

    /// The cells that answer `facet` of a policy.
    pub(crate) fn facet(&self, policy: PolicyId, facet: Facet) -> Option<&FacetCells> {
        self.policies.get(policy)?.iter().find(|of| of.facet == facet)
    }

    /// The shortest prefix length around `ip`, in its own family, whose addresses have the same class, or classes that
    /// differ only by reach and get the same answer to `facet` of a policy now; 0 where the client is not looked at.
    pub fn scope(&self, ip: IpAddr, policy: PolicyId, facet: Facet, by: KnownBy) -> u8 {
        let tables = self.facet(policy, facet).and_then(|of| of.tables.as_ref());
        tables.map_or(0, |tables| tables.place(ip, by).1)
    }

    /// The local class of a client for `policy`, and the shortest prefix length around `ip`, in its own family, whose
    /// addresses all have it: 0 where the policy looks at nothing.
    pub fn place(&self, ip: IpAddr, policy: PolicyId, by: KnownBy) -> (LocalClass, u8) {
        self.classes.place(ip, self.group(policy), by)
    }

    /// The group of policies with the same classes as `policy`.
    pub fn group(&self, policy: PolicyId) -> ClassGroup {
        self.classes.group(policy)
    }

    /// The local class of a class of the model, for `policy`.
    pub fn local(&self, policy: PolicyId, class: ClassId) -> LocalClass {
        self.classes.locals(policy).local(class)
    }

    /// For each [`LocalClass`] of `policy`, in their order, the first class of the model in it.
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

    /// The first class of the model in `class` of `policy`.
    pub fn first_class(&self, policy: PolicyId, class: LocalClass) -> ClassId {
        self.classes.locals(policy).first_class(class)
    }

    /// The class of the model for a client at `ip`, and the shortest prefix length around `ip` whose addresses all have
    /// it.
    pub fn class(&self, ip: IpAddr) -> (ClassId, u8) {
        self.classes.class(ip)
    }

    /// The label of a local class, the same in every generation: `region=eu-west +countries=DE`; empty where the policy
    /// looks at nothing.
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
