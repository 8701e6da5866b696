//! How far the overrides have come in the fleet, for the API, the status and the metrics.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock;
use crate::control::fleet::{OverridesReport, SpreadReports, TakenReport};
use crate::control::overrides::{OverrideReport, OverrideSpread, zones_of};
use crate::daemon::overrides::sharing::{BucketState, Shared, Sharing, sorted};
use crate::fleet::overrides::{TakenMessage, TakenState, millis_of};
use crate::printable::escaped;

impl Sharing {
    /// Adds to reports which servers have an override.
    pub(crate) fn spreader(self: Arc<Self>) -> SpreadReports {
        Arc::new(move |reports| self.spread(reports))
    }

    /// Adds to reports of overrides which servers have them.
    fn spread(&self, reports: &mut dyn Iterator<Item = &mut OverrideReport>) {
        let shared = self.shared();
        let now = millis_of(clock::now());
        let own = shared.own_taken();
        // Many endpoints have the override of one region.
        let mut known: HashMap<(String, Option<Vec<String>>), Option<OverrideSpread>> = HashMap::new();
        for report in reports {
            let of = (report.target.clone(), report.zones.clone());
            if let Some(spread) = known.get(&of) {
                report.fleet.clone_from(spread);
                continue;
            }
            report.fleet = shared.spread_of(report, &self.node, &own, now);
            known.insert(of, report.fleet.clone());
        }
    }

    /// How far the overrides of the fleet are.
    pub(crate) fn report(&self) -> OverridesReport {
        let shared = self.shared();
        let now = millis_of(clock::now());
        let servers = shared.taken.servers(&shared.own_taken(), now);
        let server = |(name, state, pending, age): (&str, TakenState, usize, i64)| TakenReport {
            node: escaped(name).into_owned(),
            state: match state {
                TakenState::Current => "current",
                TakenState::Behind => "behind",
                TakenState::Silent => "silent",
            }
            .to_owned(),
            pending,
            age_ms: age.unsigned_abs(),
        };
        let (state, why) = match &shared.state {
            BucketState::Waiting => ("waiting", None),
            BucketState::Current => ("current", None),
            BucketState::Away(why) => ("away", Some(why)),
        };
        let problem = why.or(shared.write_problem.as_ref()).map(|why| escaped(why).into_owned());
        OverridesReport {
            state: state.to_owned(),
            problem,
            pending: shared.merge.pending(),
            revision: shared.served,
            refused: shared.merge.refused() + shared.refused_messages,
            refused_why: shared.refused_why.clone(),
            servers: servers.into_iter().map(server).collect(),
        }
    }
}

impl Shared {
    /// Which servers have an override; `None` if the fleet does not know it.
    fn spread_of(&self, of: &OverrideReport, node: &str, own: &TakenMessage, now: i64) -> Option<OverrideSpread> {
        let zones = zones_of(of).ok().flatten();
        let key = self.merge.key_of(&of.target, sorted(zones.as_deref()).as_deref());
        let last = self.merge.last_of(&key)?;
        let revision = self.merge.revision_of(&key);
        let (mut taken, missing) = match revision {
            Some(revision) => self.taken.of_revision(own, revision, now),
            None => (Vec::new(), self.taken.servers(own, now).into_iter().map(|(name, ..)| name).collect()),
        };
        taken.push(node);
        taken.sort_unstable();
        let names = |names: Vec<&str>| names.into_iter().map(|name| escaped(name).into_owned()).collect();
        Some(OverrideSpread {
            node: escaped(&last.change.node).into_owned(),
            shared: revision.is_some(),
            taken: names(taken),
            missing: names(missing),
        })
    }
}
