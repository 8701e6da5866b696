//! What is known of each zone from earlier loads: the texts of its last good version, and whether these are its present
//! files. Values only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{DiscoveredEndpoint, DiscoveredPool, DiscoveredSets, renamed_sources};
use crate::source::TextsByPath;
use crate::wire::Name;

/// The files of one zone as they were when they were last valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The zone.
    pub apex: Name,
    /// The name of its policy file, or of the master file of a static zone, in the zones directory.
    pub main: String,
    /// How many steered names it has.
    pub steered: usize,
    /// When it was first loaded, Unix seconds.
    pub since: f64,
    /// All its files: the policy, the master file, the files that it includes, and files of nets.
    pub texts: TextsByPath,
}

impl Version {
    /// How many octets all its files have.
    pub fn octets(&self) -> u64 {
        self.texts.values().map(|text| text.len() as u64).sum()
    }
}

/// One zone after a load.
#[derive(Debug, Clone)]
pub struct ZoneState {
    /// The zone.
    pub apex: Name,
    /// Whether the version that is served is that of its files.
    pub status: VersionStatus,
    /// Its last good version. It is served, except with [`VersionStatus::Unserved`].
    pub version: Option<Arc<Version>>,
}

/// How the version of a zone that is served relates to its files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VersionStatus {
    /// It is the present version of its files.
    Current,
    /// Its files have errors: the last good version is served.
    LastGood,
    /// Its files have errors, and no earlier version can be served: its names are answered with SERVFAIL.
    Unserved,
    /// It disappeared from the files. The last good version is served until this time, Unix seconds.
    Vanished(Disappearance, f64),
}

impl VersionStatus {
    /// Its name in the API and on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            VersionStatus::Current => "current",
            VersionStatus::LastGood => "kept",
            VersionStatus::Unserved => "unserved",
            VersionStatus::Vanished(..) => "vanished",
        }
    }
}

/// What disappeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disappearance {
    /// The whole zone.
    Zone,
    /// All of its steered names.
    Names,
}

/// The zones as they were before a load.
#[derive(Debug, Default)]
pub(in crate::config) struct ZoneHistory {
    zones: Arc<[ZoneState]>,
    /// Now, Unix seconds.
    now: f64,
    /// Whether zones and names that disappeared are removed at once.
    confirm_removal: bool,
    /// What sources state.
    discovered: Arc<DiscoveredSets>,
    /// The sources of the model that is served.
    sources: Vec<Arc<DiscoveredPool>>,
    by_apex: HashMap<Name, usize>,
    by_main: HashMap<String, usize>,
    /// By each file of a zone except its main one.
    by_part: HashMap<PathBuf, Vec<usize>>,
}

impl ZoneHistory {
    /// `zones` are those of the last load, or from the state directory after a restart. `now` is in Unix seconds. With
    /// `confirm_removal`, zones and names that disappeared are removed at once.
    pub(in crate::config) fn new(zones: Arc<[ZoneState]>, now: f64, confirm_removal: bool) -> ZoneHistory {
        let mut before = ZoneHistory { zones: zones.clone(), now, confirm_removal, ..ZoneHistory::default() };
        for (at, zone) in zones.iter().enumerate() {
            before.by_apex.insert(zone.apex.clone(), at);
            let Some(version) = &zone.version else { continue };
            before.by_main.insert(version.main.clone(), at);
            for part in version.texts.keys().filter(|path| path.as_os_str() != &*version.main) {
                before.by_part.entry(part.clone()).or_default().push(at);
            }
        }
        before
    }

    /// The same with what sources state.
    pub(in crate::config) fn with(self, discovered: Arc<DiscoveredSets>) -> ZoneHistory {
        ZoneHistory { discovered, ..self }
    }

    /// The same with the sources of the model that is served.
    pub(in crate::config) fn with_sources(self, sources: Vec<Arc<DiscoveredPool>>) -> ZoneHistory {
        ZoneHistory { sources, ..self }
    }

    /// What the sources of one zone state, in their order. One that was renamed states what it did before.
    pub(super) fn stated(&self, sources: &[Arc<DiscoveredPool>]) -> Vec<&[Arc<DiscoveredEndpoint>]> {
        let is_of_zone = |of: &&Arc<DiscoveredPool>| sources.iter().any(|now| now.zone == of.zone);
        let before: Vec<_> = self.sources.iter().filter(is_of_zone).cloned().collect();
        let renamed = renamed_sources(&before, sources);
        let stated = |of: &DiscoveredPool| self.discovered.get(&of.key());
        let of_source = |(at, source): (usize, &Arc<DiscoveredPool>)| {
            let old = renamed.iter().find(|(_, now)| *now == at).and_then(|(old, _)| stated(&before[*old]));
            stated(source).or(old).map_or(&[][..], |stated| &**stated)
        };
        sources.iter().enumerate().map(of_source).collect()
    }

    /// The time of the load, Unix seconds.
    pub(super) fn now(&self) -> f64 {
        self.now
    }

    /// All zones that were known.
    pub(super) fn zones(&self) -> &[ZoneState] {
        &self.zones
    }

    fn zone(&self, apex: &Name) -> Option<&ZoneState> {
        self.zones.get(*self.by_apex.get(apex)?)
    }

    /// The last good version of a zone.
    pub(in crate::config) fn version(&self, apex: &Name) -> Option<&Arc<Version>> {
        self.zone(apex)?.version.as_ref()
    }

    /// The last good version that was made of this policy file or static master file.
    pub(super) fn version_of(&self, main: &str) -> Option<&Arc<Version>> {
        self.zones.get(*self.by_main.get(main)?)?.version.as_ref()
    }

    /// The last good versions that had this file, not as their main one.
    pub(super) fn versions_with(&self, part: &Path) -> impl Iterator<Item = &Arc<Version>> {
        let all = self.by_part.get(part).into_iter().flatten();
        all.filter_map(|at| self.zones.get(*at)?.version.as_ref())
    }

    /// Until when a zone is served that disappeared, or whose names did; `None` if that time is over or the removal is
    /// confirmed.
    pub(super) fn served_until(&self, apex: &Name, delay: f64) -> Option<f64> {
        let until = match self.zone(apex).map(|zone| zone.status) {
            Some(VersionStatus::Vanished(_, until)) => until,
            Some(VersionStatus::Current | VersionStatus::LastGood | VersionStatus::Unserved) | None => self.now + delay,
        };
        (!self.confirm_removal && until > self.now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(status: VersionStatus, now: f64, confirm_removal: bool) -> ZoneHistory {
        let zone = ZoneState { apex: Name::root(), status, version: None };
        ZoneHistory::new([zone].into(), now, confirm_removal)
    }

    #[test]
    fn what_disappeared_is_served_until_its_time_is_over_or_the_removal_is_confirmed() {
        let vanished = VersionStatus::Vanished(Disappearance::Zone, 160.0);
        for (status, now, confirmed, expected) in [
            (VersionStatus::Current, 100.0, false, Some(160.0)),
            (VersionStatus::LastGood, 100.0, false, Some(160.0)),
            (vanished, 130.0, false, Some(160.0)),
            (vanished, 160.0, false, None),
            (vanished, 130.0, true, None),
            (VersionStatus::Current, 100.0, true, None),
        ] {
            let before = before(status, now, confirmed);
            assert_eq!(before.served_until(&Name::root(), 60.0), expected, "{status:?} at {now}");
        }
        assert_eq!(before(VersionStatus::Current, 100.0, false).served_until(&Name::root(), 0.0), None, "no delay");
    }
}
