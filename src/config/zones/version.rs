//! What is known of each zone over several loads: which texts it was last good with, and whether those are its files of
//! today. Values only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::texts::TextsByPath;
use crate::wire::Name;

/// The files of one zone as they were when they last made a valid zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The zone.
    pub apex: Name,
    /// Its policy file, or the master file of a static zone: the name in the zones directory.
    pub main: String,
    /// How many steered names it has.
    pub steered: usize,
    /// When it was first loaded, Unix seconds.
    pub since: f64,
    /// All of its files: the policy, the master file, what that includes, and files of nets.
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
    /// What is served of it, and why.
    pub standing: Standing,
    /// Its last good version; what is served, but for [`Standing::Unserved`].
    pub version: Option<Arc<Version>>,
}

/// How what is served of a zone relates to its files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// Its files as they are.
    Current,
    /// Its files have errors: the last good version goes on.
    Kept,
    /// Its files have errors, and there is no version that could be served: its names get SERVFAIL.
    Unserved,
    /// It disappeared from the files, and the last good version goes on until this time, Unix seconds.
    Vanished(Gone, f64),
}

impl Standing {
    /// The word for it in the status and on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Current => "current",
            Standing::Kept => "kept",
            Standing::Unserved => "unserved",
            Standing::Vanished(..) => "vanished",
        }
    }
}

/// What disappeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The whole zone.
    Zone,
    /// All of its steered names.
    Names,
}

/// What was known before a load.
#[derive(Debug, Default)]
pub(in crate::config) struct Before {
    zones: Arc<[ZoneState]>,
    /// Now, Unix seconds.
    now: f64,
    /// Whether zones and names that disappeared are to go at once.
    confirm_removal: bool,
    by_apex: HashMap<Name, usize>,
    by_main: HashMap<String, usize>,
    /// By file that is part of a zone but not its main one.
    by_part: HashMap<PathBuf, Vec<usize>>,
}

impl Before {
    /// `zones` as the last load left them, or as they were kept over a restart. `now` in Unix seconds. With
    /// `confirm_removal`, zones and names that disappeared go at once.
    pub(in crate::config) fn new(zones: Arc<[ZoneState]>, now: f64, confirm_removal: bool) -> Before {
        let mut before = Before { zones: zones.clone(), now, confirm_removal, ..Before::default() };
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
    pub(super) fn version(&self, apex: &Name) -> Option<&Arc<Version>> {
        self.zone(apex)?.version.as_ref()
    }

    /// The last good version that was made of this policy file or static master file.
    pub(super) fn version_of(&self, main: &str) -> Option<&Arc<Version>> {
        self.zones.get(*self.by_main.get(main)?)?.version.as_ref()
    }

    /// The last good versions that had this file as a part.
    pub(super) fn versions_with(&self, part: &Path) -> impl Iterator<Item = &Arc<Version>> {
        let all = self.by_part.get(part).into_iter().flatten();
        all.filter_map(|at| self.zones.get(*at)?.version.as_ref())
    }

    /// Until when what disappeared of a zone goes on; `None` where it is over, or was confirmed.
    pub(super) fn goes_on_until(&self, apex: &Name, delay: f64) -> Option<f64> {
        let until = match self.zone(apex).map(|zone| zone.standing) {
            Some(Standing::Vanished(_, until)) => until,
            Some(Standing::Current | Standing::Kept | Standing::Unserved) | None => self.now + delay,
        };
        (!self.confirm_removal && until > self.now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(standing: Standing, now: f64, confirm_removal: bool) -> Before {
        let zone = ZoneState { apex: Name::root(), standing, version: None };
        Before::new([zone].into(), now, confirm_removal)
    }

    #[test]
    fn what_disappeared_goes_on_until_its_time_is_over_or_somebody_confirms() {
        let vanished = Standing::Vanished(Gone::Zone, 160.0);
        for (standing, now, confirmed, expected) in [
            (Standing::Current, 100.0, false, Some(160.0)),
            (Standing::Kept, 100.0, false, Some(160.0)),
            (vanished, 130.0, false, Some(160.0)),
            (vanished, 160.0, false, None),
            (vanished, 130.0, true, None),
            (Standing::Current, 100.0, true, None),
        ] {
            let before = before(standing, now, confirmed);
            assert_eq!(before.goes_on_until(&Name::root(), 60.0), expected, "{standing:?} at {now}");
        }
        assert_eq!(before(Standing::Current, 100.0, false).goes_on_until(&Name::root(), 0.0), None, "no delay");
    }
}
