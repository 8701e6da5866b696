//! Which version of its files a zone is served from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{VersionStatus, ZoneState};

/// Which version of a zone is served, compared with its files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FilesStatus {
    /// `current`: the files as they are. `kept`: the last good version, because the files have errors. `unserved`:
    /// nothing, because there is no good version. `vanished`: the last good version, because the zone or all of its
    /// steered names disappeared from the files.
    pub state: String,
    /// When this version was first loaded, in Unix seconds; absent if nothing is served.
    pub since: Option<f64>,
    /// Until when a vanished zone is still served, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
}

/// The status of a zone; `None`: it is in a model that was not loaded from files.
pub(super) fn status_of(zone: Option<&ZoneState>) -> FilesStatus {
    // A model that was not loaded from files has no other version.
    let Some(zone) = zone else { return FilesStatus { state: "current".to_owned(), ..FilesStatus::default() } };
    let since = zone.version.as_ref().map(|version| version.since);
    let (since, until) = match zone.status {
        VersionStatus::Current | VersionStatus::LastGood => (since, None),
        VersionStatus::Unserved => (None, None),
        VersionStatus::Vanished(_, until) => (since, Some(until)),
    };
    FilesStatus { state: zone.status.as_str().to_owned(), since, until }
}
