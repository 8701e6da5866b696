//! `leases.json`: the active endpoints that this server knew last. After a restart it answers with them until it
//! reaches the store, and a store that lost its state gets them back.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::daemon::StartError;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile};
use crate::fleet::lease::MAX_EPOCH;
use crate::model::ActiveEndpoint;
use crate::printable::escaped;
use crate::wire::Name;

/// The file.
pub(crate) const LEASES: StateFile<LeasesFile> = StateFile::new(FileInfo {
    name: "leases.json",
    version: 1,
    content: "the active endpoints of exclusive names",
    durability: Durability::Machine,
    is_counted: true,
});

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeasesFile {
    version: u32,
    leases: Vec<LeaseRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseRow {
    /// The exclusive name, absolute.
    name: String,
    endpoint: String,
    epoch: u64,
    /// See [`ActiveEndpoint::highest`].
    highest_epoch: u64,
}

/// What the file has. A file that can't be read is an error: a server that forgot who is active could answer with an
/// endpoint that was replaced.
pub(crate) fn load(state: &StateDir) -> Result<HashMap<Name, ActiveEndpoint>, StartError> {
    let active = |row: LeaseRow| {
        let LeaseRow { name, endpoint, epoch, highest_epoch } = row;
        let highest = highest_epoch.max(epoch);
        if highest > MAX_EPOCH {
            return Err(format!("{highest} is no epoch: the highest one is {MAX_EPOCH}"));
        }
        let active = ActiveEndpoint { endpoint: endpoint.into(), epoch, highest };
        Ok((Name::parse(&name).map_err(|_| format!("`{}` is no name", escaped(&name)))?, active))
    };
    let actives = state.load_or_refuse_as(&LEASES, |file| file.leases.into_iter().map(active).collect())?;
    Ok(actives.unwrap_or_default())
}

/// Writes the file, in the background.
pub(super) fn save(state: &StateDir, actives: &HashMap<Name, ActiveEndpoint>) {
    let row = |(name, active): (&Name, &ActiveEndpoint)| LeaseRow {
        name: name.to_string(),
        endpoint: active.endpoint.to_string(),
        epoch: active.epoch,
        highest_epoch: active.highest,
    };
    let mut leases: Vec<LeaseRow> = actives.iter().map(row).collect();
    leases.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    // A failure is in the log, and tried again.
    drop(state.put(&LEASES, &LeasesFile { version: LEASES.info.version, leases }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_known_after_a_restart_and_rubbish_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        let name = |text: &str| Name::parse(text).unwrap();
        let active = |endpoint: &str, epoch, highest| ActiveEndpoint { endpoint: endpoint.into(), epoch, highest };
        let actives: HashMap<Name, ActiveEndpoint> =
            [(name("db.svc.example."), active("fra1", 7, 9)), (name("mq.svc.example."), active("ams1", 1, 1))].into();
        save(&state, &actives);
        state.close().await.unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        assert_eq!(load(&state).unwrap(), actives);
        let row = r#"{"version":1,"leases":[{"name":"a..b.","endpoint":"fra1","epoch":1,"highest_epoch":1}]}"#;
        let epoch =
            r#"{"version":1,"leases":[{"name":"b.","endpoint":"a","epoch":1,"highest_epoch":9007199254740993}]}"#;
        for (content, why) in [("{", "active endpoints"), (row, "`a..b.` is no name"), (epoch, "is no epoch")] {
            std::fs::write(dir.path().join("leases.json"), content).unwrap();
            let refused = load(&state).unwrap_err().to_string();
            assert!(refused.contains("leases.json") && refused.contains(why), "{refused}");
        }
    }
}
