//! Endpoints that came back a moment ago, kept over a restart: what is cold is no warmer for it. Written when a ramp begins
//! or ends, and given back to the publisher at the start.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Problem, Severity};
use crate::daemon::last_known::Now;
use crate::daemon::store::{KeptFile, Store, Unreadable};
use crate::model::Moment;
use crate::snapshot::{NamedRecovery, Snapshot};

/// The file in the state directory.
const FILE: KeptFile = KeptFile { name: "ramps.json", version: 1, holds: "which endpoints came back a moment ago" };

/// It isn't written more often: a region comes back endpoint by endpoint.
const LEAST: Duration = Duration::from_secs(1);

/// The ramps that were under way when the file was written last.
#[derive(Debug, Default)]
pub(crate) struct Ramps {
    kept: Vec<NamedRecovery>,
    looked_at: Option<Moment>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    ramps: Vec<KeptRamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptRamp {
    zone: String,
    endpoint: String,
    /// Of which kind of record: each address has its own.
    #[serde(rename = "type")]
    rtype: String,
    /// The monitor, where it is that of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<String>,
    /// Since when it is up again, Unix seconds.
    since: f64,
}

impl Ramps {
    /// Reads what was kept; what is wrong with it is added to `warnings`. What is to come yet is left out, as the wall's
    /// clock was set meanwhile.
    pub(crate) fn load(store: &Store, now: Now, warnings: &mut Vec<Problem>) -> Ramps {
        let kept = store.load::<Kept>(&FILE).unwrap_or_else(|Unreadable { path, why, holds }| {
            let message = format!("{why}; {holds} is lost with it, and these have their full weight");
            warnings.push(Problem::of_file(path, Severity::Warning, message));
            None
        });
        let told = kept.into_iter().flat_map(|kept| kept.ramps).filter_map(
            |KeptRamp { zone, endpoint, rtype, monitor, since }| {
                Some(NamedRecovery { zone, endpoint, rtype, monitor, since: now.moment_of(since)? })
            },
        );
        Ramps { kept: told.collect(), looked_at: None }
    }

    /// The ramps as they were kept.
    pub(crate) fn told(&self) -> &[NamedRecovery] {
        &self.kept
    }

    /// Keeps those of `served`, where they are others than before.
    pub(crate) fn follow(&mut self, served: &Snapshot, store: &Store) {
        let at = served.view.at;
        if self.looked_at.is_some_and(|last| at.since(last) < LEAST) {
            return;
        }
        self.looked_at = Some(at);
        let ramps = served.recoveries();
        if ramps != self.kept {
            self.kept = ramps;
            // Told in the log when it fails.
            drop(store.keep(&FILE, &self.as_kept(Now::read())));
        }
    }

    fn as_kept(&self, now: Now) -> Kept {
        let ramp = |NamedRecovery { zone, endpoint, rtype, monitor, since }: NamedRecovery| KeptRamp {
            zone,
            endpoint,
            rtype,
            monitor,
            since: now.unix_of(since),
        };
        Kept { version: FILE.version, ramps: self.kept.iter().cloned().map(ramp).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { moment: Moment::from_start(Duration::from_secs(90_000)), unix: 1_763_900_000.5 };

    fn came_back(endpoint: &str, before: u64) -> NamedRecovery {
        let since = NOW.moment - Duration::from_secs(before);
        NamedRecovery {
            zone: "svc.example.".into(),
            endpoint: endpoint.into(),
            rtype: "A".into(),
            monitor: None,
            since,
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_what_the_next_start_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path().into()));
        let ramps = Ramps { kept: vec![came_back("fra1", 30), came_back("fra2", 0)], looked_at: None };
        drop(store.keep(&FILE, &ramps.as_kept(NOW)));
        store.close().await;
        let mut warnings = Vec::new();
        // A process of its own, whose clock began elsewhere, twenty seconds later.
        let later = Now { moment: NOW.moment + Duration::from_secs(500), unix: NOW.unix + 20.0 };
        let again = Ramps::load(&Store::open(Some(dir.path().into())), later, &mut warnings);
        let ages = again.told().iter().map(|told| (told.endpoint.as_str(), later.moment.since(told.since).as_secs()));
        assert_eq!(ages.collect::<Vec<_>>(), [("fra1", 50), ("fra2", 20)]);
        assert!(warnings.is_empty());
        let earlier = Now { unix: NOW.unix - 10.0, ..NOW };
        let set_back = Ramps::load(&Store::open(Some(dir.path().into())), earlier, &mut warnings);
        assert_eq!(set_back.told().iter().map(|told| told.endpoint.as_str()).collect::<Vec<_>>(), ["fra1"]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_told_of_and_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE.name), "{\"version\":7,\"ramps\":[]}").unwrap();
        let mut warnings = Vec::new();
        assert!(Ramps::load(&Store::open(Some(dir.path().into())), NOW, &mut warnings).told().is_empty());
        assert!(warnings.len() == 1 && warnings[0].to_string().contains("ramps.json"), "{warnings:?}");
    }
}
