//! What the demo of discovery serves itself: the list of instances, in the form of Prometheus's `http_sd`, and the
//! instances.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::demo::region::REGIONS;

/// Host part of the instances' addresses: no endpoint of the other demos has it.
const INSTANCE: u8 = 20;

/// The names of the instances, one in each of [`REGIONS`].
pub(super) const INSTANCES: [&str; REGIONS.len()] = ["web-a", "web-b", "web-c"];

/// The address of an instance, by its position in [`INSTANCES`].
pub(super) fn address_of(instance: usize, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, REGIONS[instance].1, 0, INSTANCE), port))
}

/// The servers. They end with this.
pub(super) struct DemoServers {
    /// The port of all instances.
    port: u16,
    listed: Arc<Mutex<Vec<usize>>>,
    list: (SocketAddr, JoinHandle<()>),
    instances: BTreeMap<usize, JoinHandle<()>>,
}

impl DemoServers {
    /// A list without instances, on a free port.
    pub(super) async fn start(port: u16) -> std::io::Result<DemoServers> {
        let listed = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(list).with_state((listed.clone(), port));
        let task = tokio::spawn(async move { _ = axum::serve(listener, app).await });
        Ok(DemoServers { port, listed, list: (address, task), instances: BTreeMap::new() })
    }

    /// Where the list is.
    pub(super) fn url(&self) -> String {
        format!("http://{}/targets", self.list.0)
    }

    /// From now on these instances are listed.
    pub(super) fn list(&self, instances: &[usize]) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = instances.to_vec();
    }

    /// Starts an instance, if it does not run.
    pub(super) async fn start_instance(&mut self, instance: usize) -> std::io::Result<()> {
        if !self.instances.contains_key(&instance) {
            let listener = TcpListener::bind(address_of(instance, self.port)).await?;
            let app = Router::new().fallback(|| async { "ok" });
            let task = tokio::spawn(async move { _ = axum::serve(listener, app).await });
            self.instances.insert(instance, task);
        }
        Ok(())
    }
}

impl Drop for DemoServers {
    fn drop(&mut self) {
        self.list.1.abort();
        self.instances.values().for_each(JoinHandle::abort);
    }
}

type ListState = (Arc<Mutex<Vec<usize>>>, u16);

async fn list(State((listed, port)): State<ListState>) -> ([(HeaderName, &'static str); 1], String) {
    let listed = listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let group = |instance: &usize| {
        let labels = json!({ "name": INSTANCES[*instance], "region": REGIONS[*instance].0 });
        json!({ "targets": [address_of(*instance, port).to_string()], "labels": labels })
    };
    let groups = Value::Array(listed.iter().map(group).collect());
    ([(CONTENT_TYPE, "application/json")], groups.to_string())
}
