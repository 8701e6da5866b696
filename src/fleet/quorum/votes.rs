//! Counts verdicts: those of each region's vantages, then those of the regions. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Health, Model, Need, Quorum, RegionId};

/// Vantages with a vote that a region needs for a view of its own: with one, its failure would be the region's.
const LEAST_VANTAGES: usize = 2;

/// The verdicts on one check, counted.
pub(crate) struct VoteCount<'a> {
    quorum: &'a Quorum,
    regions: Vec<(RegionId, Votes)>,
    of_regions: Votes,
}

/// How many have which verdict. Unknown is no verdict.
#[derive(Clone, Copy, Default)]
struct Votes {
    up: usize,
    down: usize,
}

impl Votes {
    fn add(&mut self, health: Health) {
        match health {
            Health::Up => self.up += 1,
            Health::Down => self.down += 1,
            Health::Unknown => {}
        }
    }

    /// One of them is another.
    fn turn(&mut self, from: Health, to: Health) {
        match from {
            Health::Up => self.up = self.up.saturating_sub(1),
            Health::Down => self.down = self.down.saturating_sub(1),
            Health::Unknown => {}
        }
        self.add(to);
    }

    fn verdict(self, need: Need) -> Health {
        let all = self.up + self.down;
        match need.is_met(self.down, all) {
            true => Health::Down,
            false if all == 0 => Health::Unknown,
            false => Health::Up,
        }
    }

    /// `1 of 3 vantages of eu-west says down, a majority is needed`.
    fn text(self, need: Need, of: &str) -> String {
        let says = if self.down == 1 { "says" } else { "say" };
        format!("{} of {} {of} {says} down, {need} needed", self.down, self.up + self.down)
    }
}

/// The verdict of one vantage, and when it may be another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PossibleTurn {
    pub(crate) region: RegionId,
    pub(crate) health: Health,
    pub(crate) may_change_in: Duration,
}

/// A handful of regions: a list is searched faster than a map is hashed.
fn entry(list: &mut Vec<(RegionId, Votes)>, region: RegionId) -> &mut Votes {
    let at = list.iter().position(|(known, _)| *known == region).unwrap_or_else(|| {
        list.push((region, Votes::default()));
        list.len() - 1
    });
    &mut list[at].1
}

impl<'a> VoteCount<'a> {
    /// Counts the verdicts of vantages, each with its region.
    pub(crate) fn of(quorum: &'a Quorum, verdicts: impl Iterator<Item = (RegionId, Health)>) -> VoteCount<'a> {
        let mut regions: Vec<(RegionId, Votes)> = Vec::new();
        for (region, health) in verdicts {
            entry(&mut regions, region).add(health);
        }
        let mut of_regions = Votes::default();
        for (_, votes) in &regions {
            of_regions.add(votes.verdict(quorum.per_region));
        }
        VoteCount { quorum, regions, of_regions }
    }

    /// The verdict of all.
    pub(crate) fn health(&self) -> Health {
        self.of_regions.verdict(self.quorum.regions_down)
    }

    /// The regions, in order, whose clients can't reach what is Up for all: two or more of a region's vantages have a
    /// vote, most of them vote Down, and that is Down by the monitor's rule for a region too. A single vantage never
    /// does it: one that lies, or whose own link is bad, must not take anything from anybody.
    pub(crate) fn unreachable_from(&self) -> Arc<[RegionId]> {
        if self.health() != Health::Up {
            return Arc::default();
        }
        let cut_off = self.regions.iter().filter(|(_, votes)| self.is_cut_off(*votes));
        let mut regions: Vec<RegionId> = cut_off.map(|(region, _)| *region).collect();
        regions.sort_unstable();
        regions.into()
    }

    fn is_cut_off(&self, votes: Votes) -> bool {
        let all = votes.up + votes.down;
        let is_down = Need::Majority.is_met(votes.down, all) && self.quorum.per_region.is_met(votes.down, all);
        all >= LEAST_VANTAGES && is_down
    }

    /// The least time after which the verdict of all may be another one; with `is_regional` also from which regions the
    /// check is out of reach. By then so many vantages may have another verdict as the quorum needs. So one that lies
    /// about its time changes nothing, where it does not decide the verdict alone. `turns` are those of the vantages
    /// that are counted. Without any the time is zero: a vantage may report at any moment.
    pub(crate) fn may_change_in(&self, mut turns: Vec<PossibleTurn>, is_regional: bool) -> Duration {
        turns.sort_unstable_by_key(|turn| turn.may_change_in);
        let soonest = turns.first().map(|turn| turn.may_change_in).unwrap_or_default();
        let health = self.health();
        let other = match health {
            Health::Up => Health::Down,
            Health::Down => Health::Up,
            // The first verdict of any vantage is that of all.
            Health::Unknown => return soonest,
        };
        let (mut regions, mut of_regions) = (self.regions.clone(), self.of_regions);
        let is_regional = is_regional && health == Health::Up;
        for PossibleTurn { region, health: from, may_change_in } in turns {
            let votes = entry(&mut regions, region);
            let (before, was_cut_off) = (*votes, is_regional && self.is_cut_off(*votes));
            // What is out of reach comes into reach by turns the other way. Until then the region stays Down.
            let to = if was_cut_off { health } else { other };
            if from == to {
                continue;
            }
            votes.turn(from, to);
            if is_regional && self.is_cut_off(*votes) != was_cut_off {
                return may_change_in;
            }
            let after = *votes;
            of_regions.turn(before.verdict(self.quorum.per_region), after.verdict(self.quorum.per_region));
            if of_regions.verdict(self.quorum.regions_down) != health {
                return may_change_in;
            }
        }
        // Never reached: when all have turned, the verdict is another one.
        soonest
    }

    /// Why the verdict of all is another one than `health`, the verdict of a vantage of `region`; `None` where it is
    /// the same, or the vantage has none.
    pub(crate) fn outvoted(&self, model: &Model, region: RegionId, health: Health) -> Option<String> {
        if health == Health::Unknown || health == self.health() {
            return None;
        }
        let (_, votes) = self.regions.iter().find(|(known, _)| *known == region)?;
        let text = match votes.verdict(self.quorum.per_region) == health {
            true => self.of_regions.text(self.quorum.regions_down, "regions"),
            false => votes.text(self.quorum.per_region, &format!("vantages of {}", model.region(region).name)),
        };
        Some(format!("outvoted: {text}"))
    }
}
