//! What the vantage of this node probes: the checks of its own zones, and those that the fleet probes in addition.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;

use crate::daemon::fleet::reports::ProbedChecks;
use crate::fleet::message::CheckHash;
use crate::fleet::targets::{FleetTarget, TargetPlan, check_hash};
use crate::health::Plan;
use crate::model::{CheckKey, Model};

/// Joins the plan of this node with that of the fleet.
#[derive(Debug)]
pub(crate) struct PlanMerge {
    fleet: watch::Receiver<Arc<TargetPlan>>,
    own: Plan,
    /// Of the checks of `own`, and of those that it will have.
    hashes: CheckHashes,
    probed: watch::Sender<ProbedChecks>,
}

/// What identifies checks in messages; `None`: no vantage probes it.
pub(crate) type CheckHashes = HashMap<Arc<CheckKey>, Option<CheckHash>>;

/// The hashes of the checks of a plan that `known` does not have. This takes as long as the texts of all checks are, up
/// to seconds, so call it where nobody waits.
pub(crate) fn hashes_of(plan: &Plan, known: &Model) -> CheckHashes {
    let known: HashSet<&CheckKey> = known.checks.iter().map(|check| &*check.key).collect();
    let new = plan.checks.iter().filter(|key| !known.contains(&***key));
    new.map(|key| (Arc::clone(key), check_hash(key).map(CheckHash))).collect()
}

impl PlanMerge {
    /// Joins with the plan that `fleet` has at present.
    pub(crate) fn new(fleet: watch::Receiver<Arc<TargetPlan>>) -> PlanMerge {
        let probed = watch::channel(ProbedChecks::default()).0;
        PlanMerge { fleet, own: Plan::default(), hashes: HashMap::new(), probed }
    }

    /// The checks that the vantage probes, for those who send and receive reports.
    pub(crate) fn probed(&self) -> watch::Receiver<ProbedChecks> {
        self.probed.subscribe()
    }

    /// The whole plan if the fleet's one has changed.
    pub(crate) fn changed(&mut self) -> Option<Plan> {
        // An error means that the fleet's tasks have ended: its last plan stays.
        self.fleet.has_changed().unwrap_or(false).then(|| self.with(self.own.clone()))
    }

    /// Takes over hashes of checks that a plan will have.
    pub(crate) fn learn(&mut self, hashes: CheckHashes) {
        self.hashes.extend(hashes);
    }

    /// The whole plan, where this one is that of the node's own zones.
    pub(crate) fn with(&mut self, own: Plan) -> Plan {
        let fleet = Arc::clone(&self.fleet.borrow_and_update());
        let mut hashes = HashMap::with_capacity(own.checks.len());
        for key in &own.checks {
            let known = self.hashes.get(key).copied();
            hashes.insert(Arc::clone(key), known.unwrap_or_else(|| check_hash(key).map(CheckHash)));
        }
        self.hashes = hashes;
        // In the order of the plan.
        let of_own = own.checks.iter().filter_map(|key| Some(((*self.hashes.get(key)?)?, Arc::clone(key))));
        let mut probed: Vec<(CheckHash, Arc<CheckKey>)> = of_own.collect();
        let known: HashSet<CheckHash> = probed.iter().map(|(hash, _)| *hash).collect();
        let more = fleet.targets.iter().filter(|target| !known.contains(&CheckHash(target.hash)));
        let plan = joined(own.clone(), more.clone());
        probed.extend(more.map(|target| (CheckHash(target.hash), Arc::clone(&target.key))));
        self.probed.send_replace(probed.into());
        self.own = Plan { retained: Vec::new(), ..own };
        plan
    }
}

/// A plan with the checks of the fleet after its own.
fn joined<'t>(mut plan: Plan, more: impl Iterator<Item = &'t FleetTarget>) -> Plan {
    plan.regions.resize(plan.checks.len(), 0);
    for FleetTarget { key, region, .. } in more {
        let name = region.as_deref();
        let at = plan.region_names.iter().position(|known| known.as_deref() == name).unwrap_or_else(|| {
            plan.region_names.push(name.map(str::to_owned));
            plan.region_names.len() - 1
        });
        plan.checks.push(Arc::clone(key));
        plan.regions.push(at);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Monitor, Need, ProbeKind, ProbeTarget};

    fn key(port: u16, per_region: Need) -> Arc<CheckKey> {
        let mut monitor = Monitor::new(ProbeKind::Tcp);
        monitor.quorum.per_region = per_region;
        Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(([192, 0, 2, 1], port).into()) })
    }

    fn target(port: u16, region: &str) -> FleetTarget {
        let key = key(port, Need::Majority);
        FleetTarget { hash: check_hash(&key).unwrap(), key, region: Some(region.into()) }
    }

    #[test]
    fn checks_of_both_are_probed_once_and_regions_have_one_number() {
        let targets = vec![target(1, "eu"), target(2, "eu"), target(3, "us"), target(4, "eu")];
        let (sender, fleet) = watch::channel(Arc::new(TargetPlan::default()));
        let mut merge = PlanMerge::new(fleet);
        let mut probed = merge.probed();
        // The first of them is the same check as one of the fleet's: only the quorum differs.
        let own = Plan {
            checks: vec![key(1, Need::All), key(9, Need::Any)],
            regions: vec![0, 1],
            region_names: vec![None, Some("eu".into())],
            ..Plan::default()
        };
        assert_eq!(merge.with(own.clone()).checks, own.checks);
        assert_eq!(probed.borrow_and_update().len(), 2);
        assert!(merge.changed().is_none());
        sender.send_replace(Arc::new(TargetPlan { targets, ..TargetPlan::default() }));
        let plan = merge.changed().expect("the fleet's plan changed");
        let ports: Vec<String> = plan.checks.iter().map(|key| key.target.to_string()).collect();
        assert_eq!(ports, ["192.0.2.1:1", "192.0.2.1:9", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"]);
        assert_eq!(plan.regions, [0, 1, 1, 2, 1]);
        assert_eq!(probed.borrow_and_update().len(), 5);
        assert!(merge.changed().is_none());
        drop(sender);
        assert!(merge.changed().is_none(), "the last plan stays");
        assert_eq!(merge.with(Plan::default()).checks.len(), 4);
    }
}
