//! The rule of the agreement without any memory of what was counted before: it looks at all observations each time.

use std::collections::HashMap;

use super::*;
use crate::fleet::quorum::VoteCount;

/// What every vantage reported.
#[derive(Default)]
pub(super) struct Oracle {
    vantages: Vec<Reported>,
}

struct Reported {
    vantage: Vantage,
    blind: Option<Arc<str>>,
    received_at: Moment,
    observations: HashMap<Arc<CheckKey>, Observation>,
}

/// A vantage of the model with its observation of one check.
struct Ballot<'a> {
    of: &'a Reported,
    region: RegionId,
    seen: &'a Observation,
}

impl Oracle {
    pub(super) fn receive(&mut self, report: &Report, now: Moment) {
        let known = self.vantages.iter().position(|known| known.vantage.name == report.vantage.name);
        let at = known.unwrap_or_else(|| {
            let (vantage, observations) = (report.vantage.clone(), HashMap::new());
            self.vantages.push(Reported { vantage, blind: None, received_at: now, observations });
            self.vantages.len() - 1
        });
        let of = &mut self.vantages[at];
        (of.vantage, of.blind, of.received_at) = (report.vantage.clone(), report.blind.clone(), now);
        if report.extent == Extent::Whole {
            of.observations.clear();
        }
        of.observations.extend(report.observations.iter().map(|one| (one.key.clone(), one.clone())));
        report.removed.iter().for_each(|key| drop(of.observations.remove(key)));
    }

    pub(super) fn view(&self, model: &Model, now: Moment) -> WorldView {
        let (mut checks, mut evidence): (Vec<CheckView>, Vec<Vec<Evidence>>) = Default::default();
        for check in &model.checks {
            let parts = || check.parts.iter().map(|id| id.0 as usize);
            let (view, of_check) = match check.key.monitor.kind.composite() {
                None => self.agree_on(model, &check.key, now),
                Some(rule) => {
                    let views: Vec<&CheckView> = parts().map(|at| &checks[at]).collect();
                    let of_parts = parts().map(|at| evidence[at].clone()).collect();
                    (composite::compose(rule, &views), composite::evidence(rule, of_parts))
                }
            };
            checks.push(view);
            evidence.push(of_check);
        }
        let known = self.vantages.iter().filter_map(|of| Some((of, model.region_named(&of.vantage.region)?)));
        let vantages = known.map(|(of, region)| {
            let state = match (now.since(of.received_at) > STALE_AFTER, &of.blind) {
                (true, _) => VantageState::Stale,
                (false, Some(_)) => VantageState::Blind,
                (false, None) => VantageState::Up,
            };
            let (name, why) = (of.vantage.name.clone(), of.blind.clone());
            VantageView { name, region, state, why, reported_at: of.received_at }
        });
        let evidence = EvidenceBook::Listed(evidence);
        WorldView { at: now, checks: checks.into(), vantages: vantages.collect(), evidence, ..WorldView::default() }
    }

    fn agree_on(&self, model: &Model, key: &CheckKey, now: Moment) -> (CheckView, Vec<Evidence>) {
        let quorum = &key.monitor.quorum;
        let age = |ballot: &Ballot<'_>| now.since(ballot.of.received_at);
        let has_vote = |ballot: &Ballot<'_>| ballot.of.blind.is_none() && age(ballot) <= quorum.stale_after;
        let ballot = |of| ballot(model, of, key);
        let ballots: Vec<Ballot<'_>> = self.vantages.iter().filter_map(ballot).collect();
        let with_verdict = || ballots.iter().filter(|ballot| ballot.seen.health != Health::Unknown);
        let is_voted = with_verdict().any(has_vote);
        let counts = |ballot: &Ballot<'_>| has_vote(ballot) || !is_voted;
        let counted: Vec<&Ballot<'_>> = ballots.iter().filter(|ballot| counts(ballot)).collect();
        let count = VoteCount::of(quorum, counted.iter().map(|ballot| (ballot.region, ballot.seen.health)));
        let health = count.health();
        let basis = match () {
            () if is_voted || with_verdict().count() == 0 => Basis::Votes,
            () if with_verdict().all(|ballot| age(ballot) > quorum.stale_after) => Basis::Static,
            () => Basis::LastVerdicts,
        };
        let of_region = |region: RegionId| counted.iter().filter(move |ballot| ballot.region == region);
        let all_regions: Vec<RegionId> = (0..model.regions.len() as u16).map(RegionId).collect();
        let regions = all_regions.iter().copied();
        let rtt = |region| {
            let mut rtts: Vec<Duration> = of_region(region).filter_map(|ballot| ballot.seen.srtt).collect();
            if rtts.is_empty() {
                let is_blind = |b: &&Ballot<'_>| b.of.blind.is_some() && age(b) <= quorum.stale_after;
                let blind = ballots.iter().filter(|ballot| ballot.region == region).filter(is_blind);
                rtts = blind.filter_map(|ballot| ballot.seen.srtt).collect();
            }
            rtts.sort();
            let middle = rtts.len() / 2;
            let median = match rtts.len() % 2 {
                1 => rtts[middle],
                _ if rtts.is_empty() => return None,
                _ => (rtts[middle - 1] + rtts[middle]) / 2,
            };
            Some((region, median))
        };
        let is_cut_off = |region: &RegionId| {
            let votes = |health| of_region(*region).filter(|ballot| ballot.seen.health == health).count();
            let (up, down) = (votes(Health::Up), votes(Health::Down));
            up + down >= 2 && down > up && quorum.per_region.is_met(down, up + down)
        };
        let is_regional = health == Health::Up && basis == Basis::Votes;
        let causes = counted.iter().filter(|ballot| health != Health::Up && ballot.seen.health == health);
        let evidence = ballots.iter().map(|ballot| {
            let reason = match (counts(ballot), &ballot.of.blind) {
                (true, _) => count.outvoted(model, ballot.region, ballot.seen.health),
                (false, Some(_)) => Some("not counted: this vantage is blind".to_owned()),
                (false, None) => Some(format!("not counted: reported {} s ago", age(ballot).as_secs())),
            };
            ballot.evidence(counts(ballot), reason)
        });
        let view = CheckView {
            health,
            tried: counted.iter().any(|ballot| ballot.seen.tried),
            basis,
            may_change_in: Some(may_change_in(quorum, &counted, &all_regions, basis == Basis::Votes)),
            rtts: regions.clone().filter_map(rtt).collect(),
            unreachable_from: regions.filter(|region| is_regional && is_cut_off(region)).collect(),
            cause: causes.filter_map(|b| Some((b.seen.why.clone()?, b.of.vantage.name.clone()))).next(),
        };
        (view, evidence.collect())
    }
}

fn ballot<'a>(model: &Model, of: &'a Reported, key: &CheckKey) -> Option<Ballot<'a>> {
    Some(Ballot { of, region: model.region_named(&of.vantage.region)?, seen: of.observations.get(key)? })
}

impl Ballot<'_> {
    fn evidence(&self, is_counted: bool, reason: Option<String>) -> Evidence {
        let why = match (&self.seen.why, reason) {
            (Some(why), Some(reason)) => Some(format!("{why} ({reason})").into()),
            (None, Some(reason)) => Some(reason.into()),
            (why, None) => why.clone(),
        };
        Evidence {
            vantage: self.of.vantage.name.clone(),
            region: self.region,
            health: self.seen.health,
            rtt: self.seen.srtt,
            probed_at: self.seen.probed_at,
            why,
            hold: self.seen.hold,
            doubt: self.seen.doubt,
            is_counted,
        }
    }
}

/// The least time by which some of the vantages, of those that may have changed by then, can have made the verdict, or
/// from where the check is out of reach, another one.
fn may_change_in(quorum: &Quorum, counted: &[&Ballot<'_>], regions: &[RegionId], is_regional: bool) -> Duration {
    let outcome = |turned: &dyn Fn(&Ballot<'_>) -> Health| {
        let votes: Vec<(RegionId, Health)> = counted.iter().map(|ballot| (ballot.region, turned(ballot))).collect();
        let count = VoteCount::of(quorum, votes.into_iter());
        let unreachable = if is_regional { count.unreachable_from() } else { Arc::default() };
        (count.health(), unreachable)
    };
    let now = outcome(&|ballot| ballot.seen.health);
    let mut times: Vec<Duration> = counted.iter().map(|ballot| ballot.seen.may_change_in).collect();
    times.sort();
    // Those of all regions, or of one alone.
    let scopes = || std::iter::once(None).chain(regions.iter().copied().map(Some));
    let may_differ = |by: &Duration| {
        scopes().any(|scope| {
            [Health::Up, Health::Down].iter().any(|to| {
                let turns = |ballot: &Ballot<'_>| {
                    ballot.seen.may_change_in <= *by && scope.is_none_or(|region| ballot.region == region)
                };
                outcome(&|ballot| if turns(ballot) { *to } else { ballot.seen.health }) != now
            })
        })
    };
    times.iter().copied().find(|by| may_differ(by)).unwrap_or_default()
}
