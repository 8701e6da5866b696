//! What a restart restores of steering, in files of the state directory: `standings.json` has the choices that resist
//! change, `ramps.json` the recoveries whose ramp is under way. Both are written when they change. The last good
//! answers are in [`last_good`]. At the start the publisher restores all of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::daemon::StartError;
use crate::daemon::clocks::Now;
use crate::daemon::last_good;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile, WriteOutcome};
use crate::model::Moment;
use crate::snapshot::{NamedRecovery, NamedStanding, Snapshot, SteeringState};
use crate::source::Problem;

pub(crate) const STANDINGS: StateFile<StandingsFile> = StateFile::new(FileInfo {
    name: "standings.json",
    version: 1,
    content: "the members that names stay on after a failover",
    durability: Durability::Machine,
    is_counted: true,
});

pub(crate) const RAMPS: StateFile<RampsFile> = StateFile::new(FileInfo {
    name: "ramps.json",
    version: 1,
    content: "the ramps of endpoints that recovered a moment ago",
    durability: Durability::Machine,
    is_counted: true,
});

/// Ramps are not written more often: the endpoints of a region recover one by one.
const RAMPS_EVERY: Duration = Duration::from_secs(1);

/// The content of `standings.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StandingsFile {
    version: u32,
    standings: Vec<StandingRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandingRow {
    zone: String,
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    class: String,
    pool: String,
    members: Vec<String>,
    /// The members that wait for their `failback`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<WaitingRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitingRow {
    member: String,
    /// Since when it is up again, Unix seconds.
    since: f64,
}

impl StandingRow {
    fn of(standing: &NamedStanding, now: Now) -> StandingRow {
        let NamedStanding { zone, name, rtype, class, pool, members, waiting } = standing.clone();
        let row = |(member, since)| WaitingRow { member, since: now.unix_of(since) };
        let waiting = waiting.into_iter().map(row).collect();
        StandingRow { zone, name, rtype, class, pool, members, waiting }
    }

    fn standing(self, now: Now) -> NamedStanding {
        let StandingRow { zone, name, rtype, class, pool, members, waiting } = self;
        let waiting = waiting.into_iter().filter_map(|row| Some((row.member, now.moment_of(row.since)?))).collect();
        NamedStanding { zone, name, rtype, class, pool, members, waiting }
    }
}

/// The content of `ramps.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RampsFile {
    version: u32,
    ramps: Vec<RampRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RampRow {
    zone: String,
    endpoint: String,
    /// The type of its records: each address type recovers by itself.
    #[serde(rename = "type")]
    rtype: String,
    /// The monitor, where it is the monitor of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<String>,
    /// Since when it is up again, Unix seconds.
    since: f64,
}

/// Keeps the two files like what is served.
#[derive(Debug, Default)]
pub(crate) struct SteeringFiles {
    /// The newest content of the files. The writer may not have written it yet.
    retained: SteeringState,
    ramps_checked_at: Option<Moment>,
}

impl SteeringFiles {
    /// Reads both. Choices that can't be read are an error: traffic would return to where an operator removed it from.
    /// Ramps that can't be read are reported in `warnings`. Times in the future are left out: the clock was set.
    pub(crate) fn load(state: &StateDir, now: Now, warnings: &mut Vec<Problem>) -> Result<SteeringFiles, StartError> {
        let rows = state.load_or_refuse(&STANDINGS)?.map_or(Vec::new(), |file| file.standings);
        let standings = rows.into_iter().map(|row| row.standing(now)).collect();
        let loss = "every endpoint gets its full weight at once";
        let rows = state.load_or_set_aside(&RAMPS, loss, warnings).map_or(Vec::new(), |file| file.ramps);
        let recovery = |RampRow { zone, endpoint, rtype, monitor, since }| {
            Some(NamedRecovery { zone, endpoint, rtype, monitor, since: now.moment_of(since)? })
        };
        let recoveries = rows.into_iter().filter_map(recovery).collect();
        let answers = last_good::load(state, warnings);
        Ok(SteeringFiles { retained: SteeringState { standings, answers, recoveries }, ramps_checked_at: None })
    }

    /// What the publisher restores at the start.
    pub(crate) fn retained(&self) -> &SteeringState {
        &self.retained
    }

    /// Writes what changed from `before` to `served`, the snapshot that replaced it. Returns the outcome of writing
    /// `standings.json`, if it has to be written. A failure is in the log too.
    pub(crate) fn follow(&mut self, before: &Snapshot, served: &Snapshot, state: &StateDir) -> Option<WriteOutcome> {
        self.follow_ramps(served, state);
        self.follow_standings(before, served, state)
    }

    /// Writes both for what is served: the ramps without waiting for the next time, and the choices whatever was served
    /// before.
    pub(crate) fn save_now(&mut self, served: &Snapshot, state: &StateDir) {
        self.ramps_checked_at = None;
        self.follow_ramps(served, state);
        // A failure is in the log.
        drop(self.save_standings(served, state));
    }

    fn follow_standings(&mut self, before: &Snapshot, served: &Snapshot, state: &StateDir) -> Option<WriteOutcome> {
        if served.has_standings_of(before) {
            return None;
        }
        self.save_standings(served, state)
    }

    fn save_standings(&mut self, served: &Snapshot, state: &StateDir) -> Option<WriteOutcome> {
        let mut standings = served.standings_by_name();
        standings.sort_unstable();
        if standings == self.retained.standings {
            return None;
        }
        self.retained.standings = standings;
        Some(state.put(&STANDINGS, &self.standings_file(Now::read())))
    }

    fn follow_ramps(&mut self, served: &Snapshot, state: &StateDir) {
        let at = served.view.at;
        if self.ramps_checked_at.is_some_and(|last| at.since(last) < RAMPS_EVERY) {
            return;
        }
        self.ramps_checked_at = Some(at);
        let recoveries = served.recoveries();
        if recoveries != self.retained.recoveries {
            self.retained.recoveries = recoveries;
            // A failure is in the log.
            drop(state.put(&RAMPS, &self.ramps_file(Now::read())));
        }
    }

    fn standings_file(&self, now: Now) -> StandingsFile {
        let rows = self.retained.standings.iter().map(|standing| StandingRow::of(standing, now)).collect();
        StandingsFile { version: STANDINGS.info.version, standings: rows }
    }

    fn ramps_file(&self, now: Now) -> RampsFile {
        let row = |NamedRecovery { zone, endpoint, rtype, monitor, since }: NamedRecovery| RampRow {
            zone,
            endpoint,
            rtype,
            monitor,
            since: now.unix_of(since),
        };
        let ramps = self.retained.recoveries.iter().cloned().map(row).collect();
        RampsFile { version: RAMPS.info.version, ramps }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NOW: Now = Now { moment: Moment::from_start(Duration::from_secs(90_000)), unix: 1_763_900_000.5 };

    fn recovered(endpoint: &str, before: u64) -> NamedRecovery {
        NamedRecovery {
            zone: "svc.example.".into(),
            endpoint: endpoint.into(),
            rtype: "A".into(),
            monitor: None,
            since: NOW.moment - Duration::from_secs(before),
        }
    }

    fn standing() -> NamedStanding {
        NamedStanding {
            zone: "svc.example.".into(),
            name: "www".into(),
            rtype: "A".into(),
            class: "any".into(),
            pool: "web".into(),
            members: vec!["ams1".into()],
            waiting: vec![("fra1".into(), NOW.moment - Duration::from_secs(40))],
        }
    }

    fn loaded(dir: &Path, now: Now) -> (Result<SteeringFiles, StartError>, Vec<Problem>) {
        let mut warnings = Vec::new();
        let state = StateDir::begun(Some(dir.into())).unwrap();
        (SteeringFiles::load(&state, now, &mut warnings), warnings)
    }

    #[tokio::test]
    async fn what_is_written_is_restored_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        let recoveries = vec![recovered("fra1", 30), recovered("fra2", 0)];
        let retained = SteeringState { standings: vec![standing()], recoveries, ..SteeringState::default() };
        let files = SteeringFiles { retained, ramps_checked_at: None };
        drop(state.put(&STANDINGS, &files.standings_file(NOW)));
        drop(state.put(&RAMPS, &files.ramps_file(NOW)));
        state.close().await.unwrap();
        // A process of its own, whose clock began elsewhere, twenty seconds later.
        let later = Now { moment: NOW.moment + Duration::from_secs(500), unix: NOW.unix + 20.0 };
        let (again, warnings) = loaded(dir.path(), later);
        let again = again.unwrap();
        let waiting = vec![("fra1".into(), later.moment - Duration::from_secs(60))];
        let expected = NamedStanding { waiting, ..standing() };
        assert_eq!((&again.retained().standings, warnings), (&vec![expected], vec![]));
        let ages = again.retained().recoveries.iter();
        let ages = ages.map(|of| (of.endpoint.as_str(), later.moment.since(of.since).as_secs()));
        assert_eq!(ages.collect::<Vec<_>>(), [("fra1", 50), ("fra2", 20)]);
        let (set_back, _) = loaded(dir.path(), Now { unix: NOW.unix - 10.0, ..NOW });
        let recoveries = set_back.unwrap().retained.recoveries;
        assert_eq!(recoveries.iter().map(|of| of.endpoint.as_str()).collect::<Vec<_>>(), ["fra1"]);
    }

    #[tokio::test]
    async fn unreadable_choices_stop_the_start_and_unreadable_ramps_do_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ramps.json"), "{\"version\":7,\"ramps\":[]}").unwrap();
        let (files, warnings) = loaded(dir.path(), NOW);
        assert_eq!(files.unwrap().retained(), &SteeringState::default());
        assert!(warnings.len() == 1 && warnings[0].to_string().contains("ramps.json"), "{warnings:?}");
        std::fs::write(dir.path().join("standings.json"), "{\"version\":7,\"standings\":[]}").unwrap();
        let refused = loaded(dir.path(), NOW).0.unwrap_err().to_string();
        assert!(refused.contains("standings.json: this is version 7") && refused.contains("move it away"), "{refused}");
    }
}
