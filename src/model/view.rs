//! The WorldView: agreed health, and round-trip times by region. Built by `fleet`, read by `steering`, which meet only
//! here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Answerable, Basis, CheckId, CheckTable, CheckView, Endpoint, EndpointId, EvidenceBook, Growth, Health, LeaseView,
    Moment, Recovery, RegionId, Stated, StatedByEndpoint,
};
use crate::wire::Name;

/// Longest name of a node, and so of a vantage, in octets: as a host name, with room (RFC 1035, 2.3.4).
pub const MAX_NODE_NAME: usize = 255;

/// Agreed health and measured distances of one moment.
#[derive(Debug, Clone, Default)]
pub struct WorldView {
    /// When it was agreed.
    pub at: Moment,
    /// The same in Unix seconds, where it is needed for the ends of overrides.
    pub at_unix: Option<f64>,
    /// One for each check of the model, indexed by [`CheckId`].
    pub checks: CheckTable,
    /// The recoveries of checks that were down; of all others it is [`Recovery::None`]. Set when the view is published,
    /// from the view before it.
    pub recoveries: Arc<BTreeMap<CheckId, Recovery>>,
    /// What each vantage reports. It explains a decision and never changes it.
    pub evidence: EvidenceBook,
    /// Every known vantage.
    pub vantages: Vec<VantageView>,
    /// Overrides by endpoint; they go before measured health.
    pub overrides: Arc<HashMap<EndpointId, Arc<Override>>>,
    /// What sources state of the endpoints that they list; it goes before measured health.
    pub stated: Arc<StatedByEndpoint>,
    /// The leases of exclusive names, by the name; none where no lease was ever known here.
    pub leases: Arc<HashMap<Name, LeaseView>>,
}

impl WorldView {
    /// How many of the known vantages have a vote, and how many are known.
    pub fn votes(&self) -> (usize, usize) {
        let votes = self.vantages.iter().filter(|vantage| vantage.state == VantageState::Up).count();
        (votes, self.vantages.len())
    }

    /// Whether more than half of the vantages that are known have a vote: a part that is cut off from the rest must not
    /// promote.
    pub fn has_majority(&self) -> bool {
        let (votes, known) = self.votes();
        votes * 2 > known
    }
}

/// An operator's decision that goes before measured health and is separate from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// What it is for, as it was written: an endpoint, a glob, `pool:NAME`, `region:NAME` or `zone:NAME`.
    pub target: String,
    /// What it makes of the endpoints.
    pub state: OverrideState,
    /// The operator's reason.
    pub why: String,
    /// Who set it: the name of the token.
    pub who: String,
    /// When it ends by itself, Unix seconds; `None`: when it is cleared.
    pub until: Option<f64>,
    /// The zones in which it counts: those of the operator's token; `None`: all.
    pub zones: Option<Arc<[Name]>>,
}

/// What an override makes of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverrideState {
    /// No new answers, still probed: as `state = "drain"` in the file.
    Drain,
    /// As if it were Up, whatever is measured. It also overrules `state = "drain"` in the file, but not `disabled`.
    Up,
    /// Never answered with, not even by `on_empty`.
    Down,
}

impl OverrideState {
    /// Its name in the API: `drain`, `up`, `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            OverrideState::Drain => "drain",
            OverrideState::Up => "up",
            OverrideState::Down => "down",
        }
    }
}

/// One vantage as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VantageView {
    /// Its name, unique in the fleet.
    pub name: Arc<str>,
    /// The region it observes from.
    pub region: RegionId,
    /// Whether its reports count.
    pub state: VantageState,
    /// Why it is blind, while it is.
    pub why: Option<Arc<str>>,
    /// When its last report was received.
    pub reported_at: Moment,
}

/// Whether a vantage's reports count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VantageState {
    /// They count.
    Up,
    /// It receives nothing from most of the world, and does not change its verdicts.
    Blind,
    /// Nothing was received from it for longer than [`STALE_AFTER`](crate::model::quorum::STALE_AFTER). The
    /// `stale_after` of monitors has no effect on this.
    Stale,
}

impl VantageState {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            VantageState::Up => "up",
            VantageState::Blind => "blind",
            VantageState::Stale => "stale",
        }
    }
}

impl WorldView {
    /// How long after `at` an override ends; `None` where it holds until it is cleared.
    pub fn override_ends_in(&self, entry: &Override) -> Option<Duration> {
        let left = entry.until? - self.at_unix?;
        Some(Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// The override of an endpoint.
    pub fn override_of(&self, id: EndpointId) -> Option<&Arc<Override>> {
        self.overrides.get(&id)
    }

    /// The verdict of a source on an endpoint, where it goes before the measured one.
    pub fn stated_view(&self, id: EndpointId) -> Option<&CheckView> {
        match self.stated.get(&id)? {
            Stated::Judged(view) => Some(view),
            Stated::Withdrawn { .. } | Stated::Leaving { .. } => None,
        }
    }

    /// The health of an endpoint with what its source states.
    pub fn health_of(&self, id: EndpointId, endpoint: &Endpoint) -> Health {
        match self.stated.get(&id) {
            Some(Stated::Judged(view)) => view.health,
            Some(Stated::Withdrawn { .. }) => Health::Down,
            Some(Stated::Leaving { .. }) | None => self.endpoint(endpoint),
        }
    }

    /// What is known of a check; panics when the id is of another model.
    pub fn check(&self, id: CheckId) -> &CheckView {
        &self.checks[id.0 as usize]
    }

    /// Whether a check was down before.
    pub fn recovery(&self, id: CheckId) -> Recovery {
        self.recoveries.get(&id).copied().unwrap_or_default()
    }

    /// The growth of a side of an endpoint that `check` judges at `now`, where its ramp is under way. An endpoint that
    /// is forced up has its full weight at once.
    pub fn growth(&self, id: EndpointId, endpoint: &Endpoint, check: Option<CheckId>, now: Moment) -> Option<Growth> {
        let is_forced = self.override_of(id).is_some_and(|entry| entry.state == OverrideState::Up);
        if is_forced { None } else { Growth::of(endpoint.ramp, self.recovery(check?), now) }
    }

    /// The round-trip time of each region to an endpoint, in the order of the regions: to its first side that the
    /// region measured, by the endpoint's own monitor.
    pub fn rtts_of(&self, endpoint: &Endpoint) -> Vec<(RegionId, Duration)> {
        let checks = endpoint.answerables.iter().filter_map(|side| side.check);
        let mut rtts = BTreeMap::new();
        for (region, rtt) in checks.flat_map(|check| &self.check(check).rtts) {
            rtts.entry(*region).or_insert(*rtt);
        }
        rtts.into_iter().collect()
    }

    /// The regions from which no side of an endpoint that may be answered with can be reached, in order, by its own
    /// monitor.
    pub fn unreachable_from(&self, endpoint: &Endpoint) -> Vec<RegionId> {
        let sides = endpoint.answerables.iter().map(|side| side.check.map(|check| self.check(check)));
        let mut up = sides.filter(|view| view.is_none_or(CheckView::is_eligible));
        let first = up.next().flatten().map(|view| view.unreachable_from.to_vec());
        let mut regions = first.unwrap_or_default();
        for view in up {
            let is_far = |from: &RegionId| view.is_some_and(|view| view.unreachable_from.contains(from));
            regions.retain(is_far);
        }
        regions
    }

    /// What the verdict on an endpoint rests on: the worst of its sides, by its own monitor.
    pub fn basis_of(&self, endpoint: &Endpoint) -> Basis {
        let checks = endpoint.answerables.iter().filter_map(|side| side.check);
        checks.map(|check| self.check(check).basis).max().unwrap_or_default()
    }

    /// Health of an endpoint: Up while any of its answerables is (one without a check always is), else Down if any is.
    pub fn endpoint(&self, endpoint: &Endpoint) -> Health {
        let health = |a: &Answerable| a.check.map_or(Health::Up, |id| self.check(id).health);
        let of_all: Vec<Health> = endpoint.answerables.iter().map(health).collect();
        let first = [Health::Up, Health::Down].into_iter().find(|h| of_all.contains(h));
        first.unwrap_or(Health::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AnswerRdata, Facet, ZoneId};

    #[test]
    fn an_endpoint_is_out_of_reach_where_each_side_that_may_be_given_is() {
        let side = |at: u8| {
            let rdata = AnswerRdata::Address([192, 0, 2, at].into());
            Answerable::new(Facet::V4, rdata, Some(CheckId(at.into())))
        };
        let endpoint = Endpoint::new("a", ZoneId(0), vec![side(0), side(1)]);
        let view = |health, tried, from: &[u16]| CheckView {
            health,
            tried,
            unreachable_from: from.iter().map(|id| RegionId(*id)).collect(),
            ..CheckView::default()
        };
        let far = || view(Health::Up, true, &[1, 2]);
        for (what, other, expected) in [
            ("both are", far(), &[1, 2][..]),
            ("one region has both", view(Health::Up, true, &[2]), &[2]),
            ("the other side is reached", view(Health::Up, true, &[]), &[]),
            ("the other side is down", view(Health::Down, true, &[]), &[1, 2]),
            ("nobody knows of the other side", view(Health::Unknown, true, &[]), &[1, 2]),
            ("the other side was not probed yet, and may be given", view(Health::Unknown, false, &[]), &[]),
        ] {
            let world = WorldView { checks: [far(), other].into_iter().collect(), ..WorldView::default() };
            let expected: Vec<RegionId> = expected.iter().map(|id| RegionId(*id)).collect();
            assert_eq!(world.unreachable_from(&endpoint), expected, "{what}");
        }
    }
}
