//! Counting of verdicts: those of each region's vantages, then those of the regions. Pure.

use crate::model::{Health, Model, Need, Quorum, RegionId};

/// What came of a vote.
pub(super) struct Tally<'a> {
    quorum: &'a Quorum,
    regions: Vec<(RegionId, Votes)>,
    of_regions: Votes,
}

/// Who said what. Unknown says nothing.
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

    fn verdict(self, need: Need) -> Health {
        let voices = self.up + self.down;
        match need.is_met(self.down, voices) {
            true => Health::Down,
            false if voices == 0 => Health::Unknown,
            false => Health::Up,
        }
    }

    /// `1 of 3 vantages of eu-west says down, a majority is needed`.
    fn words(self, need: Need, of: &str) -> String {
        let says = if self.down == 1 { "says" } else { "say" };
        format!("{} of {} {of} {says} down, {need} needed", self.down, self.up + self.down)
    }
}

/// A handful of regions: a list is searched faster than a map is hashed.
pub(super) fn entry<T: Default>(list: &mut Vec<(RegionId, T)>, region: RegionId) -> &mut T {
    let at = list.iter().position(|(known, _)| *known == region).unwrap_or_else(|| {
        list.push((region, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

impl<'a> Tally<'a> {
    /// Counts what vantages of these regions said.
    pub(super) fn of(quorum: &'a Quorum, said: impl Iterator<Item = (RegionId, Health)>) -> Tally<'a> {
        let mut regions: Vec<(RegionId, Votes)> = Vec::new();
        for (region, health) in said {
            entry(&mut regions, region).add(health);
        }
        let mut of_regions = Votes::default();
        for (_, votes) in &regions {
            of_regions.add(votes.verdict(quorum.per_region));
        }
        Tally { quorum, regions, of_regions }
    }

    /// The verdict.
    pub(super) fn health(&self) -> Health {
        self.of_regions.verdict(self.quorum.regions_down)
    }

    /// Why others were believed, and not a vantage of `region` that said `health`; `None` where it was believed, or had
    /// nothing to say.
    pub(super) fn against(&self, model: &Model, region: RegionId, health: Health) -> Option<String> {
        if health == Health::Unknown || health == self.health() {
            return None;
        }
        let (_, votes) = self.regions.iter().find(|(known, _)| *known == region)?;
        let words = match votes.verdict(self.quorum.per_region) == health {
            true => self.of_regions.words(self.quorum.regions_down, "regions"),
            false => votes.words(self.quorum.per_region, &format!("vantages of {}", model.region(region).name)),
        };
        Some(format!("outvoted: {words}"))
    }
}
