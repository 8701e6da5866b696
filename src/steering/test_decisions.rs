//! Decisions as short texts for tests, and a check of what must hold for every decision.

use crate::model::{EndpointId, Facet};
use crate::steering::test_world::SteeringWorld;
use crate::steering::{AnswerSource, Decision, StageName, Tier};

impl SteeringWorld {
    /// A decision in short: tiers divided by `|`, shares with their part of 100 where there are several, `[a b]` for a
    /// group; or the word `static` or `nodata`, maybe after `stale`.
    pub(super) fn render(&self, decision: &Decision) -> String {
        let given = match &decision.source {
            AnswerSource::Static => "static".to_owned(),
            AnswerSource::Nodata => "nodata".to_owned(),
            AnswerSource::Endpoints(given) => {
                given.tiers.iter().map(|tier| self.render_tier(tier)).collect::<Vec<_>>().join(" | ")
            }
        };
        if decision.stale { format!("stale {given}") } else { given }
    }

    fn render_tier(&self, tier: &Tier) -> String {
        let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
        let shares = tier.shares.iter().map(|share| {
            let names: Vec<&str> = share.endpoints.iter().map(|e| self.model.endpoint(*e).name.as_str()).collect();
            let who = if names.len() == 1 { names[0].to_owned() } else { format!("[{}]", names.join(" ")) };
            let part = share.weight / total * 100.0;
            if tier.shares.len() == 1 { who } else { format!("{who}={part:.0}") }
        });
        shares.collect::<Vec<_>>().join(" ")
    }

    /// Checks what must hold for every decision. Returns what does not hold.
    pub(super) fn flaw(&self, decision: &Decision) -> Option<String> {
        let by_on_empty = decision.stages.iter().any(|stage| stage.name == StageName::OnEmpty);
        for stage in &decision.stages {
            if stage.entered - stage.dropped.len() != stage.left {
                return Some(format!("{:?}: {} in, {} out", stage.name, stage.entered, stage.left));
            }
        }
        let follows = decision.stages.windows(2).find(|s| s[1].name != StageName::OnEmpty && s[0].left != s[1].entered);
        if let Some(pair) = follows {
            return Some(format!(
                "{:?} lets {} go, {:?} takes {}",
                pair[0].name, pair[0].left, pair[1].name, pair[1].entered
            ));
        }
        let AnswerSource::Endpoints(given) = &decision.source else { return None };
        let odds = given.probabilities(|e| self.model.endpoint(e).answerables[0].facet == Facet::Alias);
        let dropped = |name: StageName| {
            let stages = decision.stages.iter().filter(move |stage| stage.name == name);
            stages.flat_map(|stage| &stage.dropped).map(|reason| reason.endpoint).collect::<Vec<_>>()
        };
        for (endpoint, odd) in &odds {
            let barred =
                [StageName::Candidates, StageName::Fence, StageName::State, StageName::Health, StageName::Tiers]
                    .map(dropped)
                    .concat();
            if !by_on_empty && barred.contains(endpoint) {
                return Some(format!("{endpoint:?} was dropped and is given"));
            }
            if (*odd == 0.0) != dropped(StageName::Pick).contains(endpoint) {
                return Some(format!("{endpoint:?} has probability {odd}, but the stage pick disagrees"));
            }
        }
        let mut names: Vec<EndpointId> = odds.iter().map(|(endpoint, _)| *endpoint).collect();
        names.sort();
        names.dedup();
        let sum: f64 = odds.iter().map(|(_, odd)| odd).sum();
        let aliases = names.iter().any(|e| self.model.endpoint(*e).answerables[0].facet == Facet::Alias);
        let groups = given.tiers.iter().flat_map(|tier| &tier.shares).any(|share| share.endpoints.len() > 1);
        let full = given.limit.min(if groups { usize::MAX } else { given.draws }).min(names.len()) as f64;
        if names.len() != odds.len() {
            Some("an endpoint is given twice".to_owned())
        } else if (sum - full).abs() > 1e-9 && !aliases && !(groups && given.draws == 1) {
            Some(format!("the probabilities add up to {sum}, not {full}"))
        } else {
            None
        }
    }
}
