//! Which driver follows a source.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::discovery::{UpdateSender, consul, dns, etcd, http, kubernetes};
use crate::model::{DiscoveredPool, SourceSpec};

/// Starts the driver of a source, on the runtime of the caller.
pub(super) fn start(source: &Arc<DiscoveredPool>, updates: UpdateSender, stop: CancellationToken) -> JoinHandle<()> {
    match &source.source {
        SourceSpec::Http(_) => tokio::spawn(http::run(source.clone(), updates, stop)),
        SourceSpec::Dns(_) => tokio::spawn(dns::run(source.clone(), updates, stop)),
        SourceSpec::Consul(consul) => {
            let (consul, mappings, max) = (consul.clone(), source.mappings.clone(), source.max);
            tokio::spawn(consul::run(consul, mappings, max, updates, stop))
        }
        SourceSpec::Kubernetes(of) => {
            let (of, mappings, max) = (of.clone(), source.mappings.clone(), source.max);
            tokio::spawn(kubernetes::run(of, mappings, max, updates, stop))
        }
        SourceSpec::Etcd(etcd) => {
            let (etcd, mappings, max) = (etcd.clone(), source.mappings.clone(), source.max);
            tokio::spawn(etcd::run(etcd, mappings, max, updates, stop))
        }
    }
}
