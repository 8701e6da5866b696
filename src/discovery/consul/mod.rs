//! The driver of `type = "consul"`: follows the instances of one service by blocking queries of
//! `/v1/health/service`, in each datacenter on a connection of its own. What it reads is cut into entries as it
//! arrives, so a list of any length takes the memory of `max` instances.

mod blocking;
mod datacenters;
mod reader;
mod service;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::discovery::http_client::BaseUrl;
use crate::discovery::{Trouble, Update, UpdateSender};
use crate::model::{ConsulSource, Mappings};
use datacenters::Datacenters;
use reader::{DatacenterReader, WantedService};

/// What was read of one datacenter.
#[derive(Debug)]
enum News {
    /// All of its instances.
    Listed(crate::discovery::InstanceList),
    /// It can't be read; its instances stay.
    Failed(Trouble),
    /// It can be read again, and nothing has changed.
    Back,
}

/// Follows a service until `stop`. `max`: the most instances that are wanted.
pub async fn run(source: ConsulSource, mappings: Mappings, max: usize, updates: UpdateSender, stop: CancellationToken) {
    let base = match source.address.parse::<BaseUrl>() {
        Ok(base) => base,
        // `check` refuses it before.
        Err(problem) => {
            updates.send(Update::Away(Trouble::bad(format!("address: {problem}")))).await;
            return stop.cancelled().await;
        }
    };
    let names: Vec<Option<String>> = match source.datacenters.is_empty() {
        true => vec![None],
        false => source.datacenters.iter().cloned().map(Some).collect(),
    };
    let mut datacenters = Datacenters::new(names.len(), max);
    let (sender, mut news) = mpsc::channel(names.len());
    let wanted = Arc::new(WantedService { base, source, mappings, max });
    let mut readers = JoinSet::new();
    for (at, name) in names.into_iter().enumerate() {
        readers.spawn(DatacenterReader::new(wanted.clone(), name).run(at, sender.clone()));
    }
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            () = updates.relist_wanted() => datacenters.whole(),
            Some((at, news)) = news.recv() => datacenters.take(at, news),
        };
        for update in next {
            tokio::select! {
                () = stop.cancelled() => return,
                () = updates.send(update) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
