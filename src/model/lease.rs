//! The active endpoint of an exclusive name, as its lease names it, and what else people see of a lease.

use std::sync::Arc;

/// The active endpoint of an exclusive name. The highest epoch that a server knows counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActiveEndpoint {
    /// The endpoint's name in the policy file; one that this server's files don't have is possible.
    pub endpoint: Arc<str>,
    /// The number of its promotion, from 1. It rises with every promotion of the name, so that whoever was promoted
    /// earlier can be recognized.
    pub epoch: u64,
    /// The highest epoch that was ever in use, also by a promotion that did not come to its end.
    pub highest: u64,
}

/// What a server knows of the lease of an exclusive name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The active endpoint. It stays what it is while the store of leases is away. `None`: not known yet, because the
    /// store was never read, and the state directory has no lease of this name.
    pub active: Option<ActiveEndpoint>,
    /// The node that holds the lease; `None`: the store can't be read or written, so nobody promotes now, or there is
    /// no lease yet.
    pub holder: Option<Arc<str>>,
    /// Whether this server holds it.
    pub is_holder: bool,
    /// The endpoint that its holder promotes now.
    pub promoting: Option<Arc<str>>,
}
