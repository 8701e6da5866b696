//! `discovery.json`: what each source listed last. A start serves it until the source answers, so a restart while a
//! source is away changes no answer.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::daemon::state::{Durability, FileInfo, StateFile};
use crate::discovery::{Instance, SourceKey};
use crate::model::{DiscoveredEndpoint, DiscoveredSets};
use crate::source::files;
use crate::wire::Name;

pub(crate) const FILE: StateFile<DiscoveryFile> = StateFile::new(FileInfo {
    name: "discovery.json",
    version: 1,
    content: "the endpoints that sources listed last",
    durability: Durability::Machine,
    is_counted: true,
});

/// Largest file that is read (judgment: 64 sources of a thousand instances, each a kilobyte).
const MAX_OCTETS: u64 = 64 << 20;

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct DiscoveryFile {
    version: u32,
    sources: Vec<SourceRow>,
}

/// One source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SourceRow {
    /// The zone, with the final dot.
    zone: String,
    name: String,
    /// When this was what the source lists, Unix seconds.
    pub(crate) at: f64,
    pub(crate) instances: Vec<Instance>,
    /// What they were as endpoints: for the first model, before the policy is known.
    endpoints: Vec<DiscoveredEndpoint>,
}

impl SourceRow {
    pub(crate) fn new(key: &SourceKey, at: f64, instances: Vec<Instance>, endpoints: Vec<DiscoveredEndpoint>) -> Self {
        SourceRow { zone: key.0.to_string(), name: key.1.clone(), at, instances, endpoints }
    }
}

impl DiscoveryFile {
    pub(crate) fn new(sources: Vec<SourceRow>) -> DiscoveryFile {
        DiscoveryFile { version: FILE.info.version, sources }
    }

    /// The rows by source. Of a zone that is no name there is none.
    pub(crate) fn by_source(self) -> BTreeMap<SourceKey, SourceRow> {
        let row = |row: SourceRow| Some(((Name::parse(&row.zone).ok()?, row.name.clone()), row));
        self.sources.into_iter().filter_map(row).collect()
    }
}

/// The endpoints of the file in this state directory, for the first model. Nothing without a file that can be read:
/// [`load_or_set_aside`](crate::daemon::state::StateDir::load_or_set_aside) reports it later.
pub(crate) fn endpoints_in(state_dir: Option<&Path>) -> DiscoveredSets {
    let path = state_dir.map(|dir| dir.join(FILE.info.name));
    let text = path.and_then(|path| files::read(&path, MAX_OCTETS).ok());
    let rows = text.and_then(|text| FILE.parse(&text).ok()).unwrap_or_default().by_source();
    let set = |(key, row): (SourceKey, SourceRow)| {
        let mut endpoints = row.endpoints;
        endpoints.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        (key, endpoints.into_iter().map(std::sync::Arc::new).collect())
    };
    rows.into_iter().map(set).collect()
}
