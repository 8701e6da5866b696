//! The end of the task of the leases.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock;
use crate::daemon::exclusive::keeper::{Happening, Keeper};
use crate::fleet::lease::LeaseAction;

/// How long a stop waits until other servers know that this one gives its leases up.
const RESIGN_WITHIN: Duration = Duration::from_millis(500);

impl Keeper {
    /// Gives all leases up, so that another server need not wait until they end. Waits for the results of the writes
    /// that do so, and no others.
    pub(super) async fn resign(mut self) {
        let now = clock::now();
        let mut wishes: Vec<(String, LeaseAction)> = Vec::new();
        for (key, name) in &mut self.names {
            name.machine.resign(now);
            wishes.extend(name.machine.poll(now).into_iter().map(|action| (key.clone(), action)));
        }
        let mut awaited: HashSet<(String, u64)> = HashSet::new();
        for (key, action) in wishes {
            if let LeaseAction::Write(write) = &action {
                awaited.insert((key.clone(), write.id));
            }
            self.obey(&key, action);
        }
        let mut results = self.results;
        let all = async {
            while !awaited.is_empty() {
                match results.recv().await {
                    Some(Happening::Written(key, id, ..)) => _ = awaited.remove(&(key, id)),
                    Some(Happening::Read(..) | Happening::HookEnded(..)) => {}
                    None => return,
                }
            }
        };
        // The others take over later then.
        let _ = tokio::time::timeout(RESIGN_WITHIN, all).await;
    }
}
