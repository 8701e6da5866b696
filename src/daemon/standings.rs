//! Choices that resist change, kept over a restart: a failback that is left to an operator must not be done by one. Written
//! when a choice changes, which is seldom, and given back to the publisher at the start.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::daemon::StartError;
use crate::daemon::store::{KeptFile, Store};
use crate::snapshot::{NamedStanding, Snapshot};

/// The file in the state directory.
const FILE: KeptFile = KeptFile { name: "standings.json", version: 1, holds: "where names stay after a failover" };

/// Tells once whether the choices were kept.
type Outcome = oneshot::Receiver<Result<(), String>>;

/// The choices as they were kept last.
#[derive(Debug)]
pub(crate) struct Standings {
    kept: Vec<NamedStanding>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    standings: Vec<NamedStanding>,
}

impl Standings {
    /// Reads what was kept. A file that can't be read is an error: traffic would go where it was taken from by hand.
    pub(crate) fn load(store: &Store) -> Result<Standings, StartError> {
        let kept: Option<Kept> = store.load(&FILE).map_err(|unreadable| StartError::State(unreadable.to_string()))?;
        Ok(Standings { kept: kept.map_or(Vec::new(), |kept| kept.standings) })
    }

    /// The choices as they were kept.
    pub(crate) fn told(&self) -> &[NamedStanding] {
        &self.kept
    }

    /// Keeps the choices of `after` where they are others than those of `before`, the snapshot that it replaced. What
    /// comes back then tells once whether they will survive a restart; a failure is in the log too.
    pub(crate) fn follow(&mut self, before: &Snapshot, after: &Snapshot, store: &Store) -> Option<Outcome> {
        if after.has_standings_of(before) {
            return None;
        }
        let mut standings = after.standings_by_name();
        standings.sort_unstable();
        (standings != self.kept).then(|| self.keep(standings, store))
    }

    fn keep(&mut self, standings: Vec<NamedStanding>, store: &Store) -> Outcome {
        let kept = Kept { version: FILE.version, standings };
        let outcome = store.keep(&FILE, &kept);
        self.kept = kept.standings;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_what_the_next_start_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path().into()));
        assert_eq!(Standings::load(&store).unwrap().told(), []);
        let words = |text: &str| text.to_owned();
        let (zone, name, rtype, class) = (words("svc.example."), words("www"), words("A"), words("any"));
        let stays = NamedStanding { zone, name, rtype, class, pool: words("web"), members: vec![words("ams1")] };
        let mut standings = Standings { kept: Vec::new() };
        drop(standings.keep(vec![stays.clone()], &store));
        store.close().await;
        let again = Standings::load(&Store::open(Some(dir.path().into()))).unwrap();
        assert_eq!(again.told(), [stays]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE.name), "{\"version\":7,\"standings\":[]}").unwrap();
        let refused = Standings::load(&Store::open(Some(dir.path().into()))).unwrap_err().to_string();
        assert!(refused.contains("standings.json: this is version 7") && refused.contains("move it away"), "{refused}");
    }
}
