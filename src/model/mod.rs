//! What the files say once it is known to be valid, and what is known of the world. Values only. A [`Model`] is built
//! by `config` and read by all other modules. It is never changed, only replaced.

pub mod checks;
pub mod client;
pub mod country;
pub mod cycle;
mod digested;
pub mod discovered;
mod discovery;
pub mod draws;
pub mod evidence;
pub mod facts;
pub mod glob;
pub mod health;
pub mod heartbeat;
mod host_address;
mod host_name;
mod id;
pub mod lease;
mod location;
pub mod monitor;
pub mod policy;
pub mod pool;
pub mod quorum;
pub mod ramp;
pub mod rate_limit;
mod reserved;
mod source_tls;
pub mod spans;
pub mod steering;
pub mod time;
pub mod timing;
pub mod tree;
pub mod verdict;
pub mod view;
pub mod zone;

pub use checks::CheckTable;
pub use client::{ClassRanges, ClientClass, ClientRule, ClientSources, Clients, Placement, Region, Selector};
pub use country::{Continent, Country};
pub use cycle::{Cycle, PassedTurns};
pub use digested::Digested;
pub use discovered::{Discovered, DiscoveredEndpoint, DiscoveredSets, NotAdded, ProbeNeeds, Stated, StatedByEndpoint};
pub use discovery::{
    ConsulSource, DiscoveredPool, DnsSource, EtcdSource, HealthRule, HostRule, HttpSource, KubernetesAccess,
    KubernetesResource, KubernetesSource, MAX_INSTANCES, Mapping, Mappings, SourceSpec, renamed_sources,
};
pub use draws::{Draws, MAX_COMBINATIONS};
pub use evidence::{Evidence, EvidenceBook, EvidenceSource};
pub use facts::{Database, Facts, FileStamp, Point};
pub use health::Health;
pub use heartbeat::HeartbeatSpec;
pub use host_address::{never_reached, no_host, probe_address};
pub use host_name::host_name;
pub use id::{CheckId, ClassId, EndpointId, FenceId, PolicyId, PoolId, RegionId, SelectorId, ZoneId};
pub use lease::{ActiveEndpoint, LeaseView};
pub use location::Location;
pub use monitor::{
    CertificateRule, Check, CheckKey, Composite, DnsRdata, DnsSpec, ExecCommand, ExecSpec, GrpcSpec, HttpSpec,
    MAX_ZONE_CHECKS, Monitor, ProbeKind, ProbeTarget, TlsSpec,
};
pub use policy::{
    AffinityNet, Exclusive, Failback, Fence, MAX_ANSWERS, MAX_ENDPOINTS, OnEmpty, OwnMonitor, Policy, Service,
    ServiceTarget, Ttl,
};
pub use pool::{AdminState, AnswerRdata, Answerable, Band, Endpoint, Facet, Judged, Member, MemberRef, Pool};
pub use quorum::{Need, Quorum};
pub use ramp::{Growth, Recovery};
pub use rate_limit::RateLimit;
pub use reserved::ON_EMPTY_WORDS;
pub use source_tls::{Pem, SourceTls};
pub use steering::{Gives, RankedBy, Steering};
pub use time::Moment;
pub use timing::Timing;
pub use verdict::{Basis, CheckView, Doubt, Hold};
pub use view::{MAX_NODE_NAME, Override, OverrideState, VantageState, VantageView, WorldView};
pub use zone::{Ecs, Rrset, SteeredName, Zone};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::wire::Name;

/// Everything that the files of one generation say. Ids index the vectors; ids of another model mean nothing here.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Declared regions, indexed by [`RegionId`].
    pub regions: Vec<Region>,
    /// How clients are placed, and their classes.
    pub clients: Clients,
    /// Zones, indexed by [`ZoneId`].
    pub zones: Vec<Arc<Zone>>,
    /// Endpoints of all zones, indexed by [`EndpointId`].
    pub endpoints: Vec<Endpoint>,
    /// Pools of all zones, indexed by [`PoolId`]. No pool contains itself.
    pub pools: Vec<Pool>,
    /// Policies of all steered names, indexed by [`PolicyId`]; names that are answered alike share one.
    pub policies: Vec<Policy>,
    /// Fences of all zones, indexed by [`FenceId`].
    pub fences: Vec<Fence>,
    /// One check for each distinct (monitor, address), indexed by [`CheckId`].
    pub checks: Vec<Check>,
    /// The sources of endpoints that come and go, of all zones.
    pub sources: Vec<Arc<DiscoveredPool>>,
    /// The endpoints that sources state and that are not in the model, by the index of the source.
    pub not_added: BTreeMap<u32, NotAdded>,
    /// The names that the files give to endpoints and pools, of zones with sources.
    pub own_names: BTreeMap<Name, Arc<BTreeSet<String>>>,
    /// Whether a region's vantages can take what they can't reach from that region's clients: in a fleet.
    pub regional_view: bool,
}

impl Model {
    /// The endpoint of this id. Panics when the id is of another model: ids never come from outside.
    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        &self.endpoints[id.0 as usize]
    }

    /// The pool of this id; panics as [`Model::endpoint`] does.
    pub fn pool(&self, id: PoolId) -> &Pool {
        &self.pools[id.0 as usize]
    }

    /// The policy of this id; panics as [`Model::endpoint`] does.
    pub fn policy(&self, id: PolicyId) -> &Policy {
        &self.policies[id.0 as usize]
    }

    /// The fence of this id; panics as [`Model::endpoint`] does.
    pub fn fence(&self, id: FenceId) -> &Fence {
        &self.fences[id.0 as usize]
    }

    /// The region of this id; panics as [`Model::endpoint`] does.
    pub fn region(&self, id: RegionId) -> &Region {
        &self.regions[usize::from(id.0)]
    }

    /// The zone of this id; panics as [`Model::endpoint`] does.
    pub fn zone(&self, id: ZoneId) -> &Zone {
        &self.zones[id.0 as usize]
    }

    /// The declared region called `name`.
    pub fn region_named(&self, name: &str) -> Option<RegionId> {
        self.regions.iter().position(|region| region.name == name).map(|at| RegionId(at as u16))
    }
}
