//! The probability of each record in a reply to one client, where the client's net decides. For explanations; packets
//! draw.

use std::collections::BTreeMap;

use super::{Cell, CellShare};
use crate::placing::{ClientNet, SplitMix};

/// Replies that are drawn where several draws depend on chance too: a probability is then within 0.02 of the exact one.
const SAMPLES: usize = 1 << 14;

impl Cell {
    /// The probability, over 0, that an endpoint's record is in a reply to clients of this net: by the endpoint's slot.
    /// It is 1 where chance decides nothing.
    pub fn odds_for(&self, net: ClientNet) -> Vec<(u16, f64)> {
        let mut odds: BTreeMap<u16, f64> = BTreeMap::new();
        let mut add = |slot: u16, chance: f64| *odds.entry(slot).or_insert(0.0) += chance;
        if let Some(shares) = self.odds_of_one_draw(net) {
            for (share, chance) in shares {
                self.records_of(share, net).for_each(|(slot, part)| add(slot, chance * part));
            }
        } else {
            let samples = if self.is_decided_by_net() { 1 } else { SAMPLES };
            let mut entropy = SplitMix(0);
            for _ in 0..samples {
                let picks = self.pick_for(entropy.number(), net);
                picks.iter().for_each(|index| add(self.slot(*index), 1.0 / samples as f64));
            }
        }
        odds.into_iter().map(|(slot, chance)| (slot, chance.min(1.0))).collect()
    }

    /// The probability that each share is the only draw; `None` where there may be several draws.
    fn odds_of_one_draw(&self, net: ClientNet) -> Option<Vec<(CellShare, f64)>> {
        if self.draws != 1 || self.has_blanks || self.is_whole {
            return None;
        }
        let tier = self.tiers.first()?;
        let chances = match &tier.race {
            Some(race) => race.chances(net.number, tier.shares.len())?,
            None => tier.shares.iter().map(|share| share.weight as f64 / tier.total as f64).collect(),
        };
        Some(tier.shares.iter().copied().zip(chances).filter(|(_, chance)| *chance > 0.0).collect())
    }

    /// The records of a share that is drawn alone, and the part of its draws that have each.
    fn records_of(&self, share: CellShare, net: ClientNet) -> impl Iterator<Item = (u16, f64)> {
        let room = self.limit.min(usize::from(share.count)) as u16;
        let turned = (share.by_net && share.count > 1).then(|| self.turn_for(share, net.number));
        let part = f64::from(room) / f64::from(share.count);
        (0..share.count).filter_map(move |at| {
            let slot = self.slot(share.first + at);
            match turned {
                Some(turn) => ((at + share.count - turn) % share.count < room).then_some((slot, 1.0)),
                None => Some((slot, part)),
            }
        })
    }

    /// Whether chance decides nothing about which records are in a reply.
    fn is_decided_by_net(&self) -> bool {
        let is_cut = self.records.len() > self.limit;
        self.tiers.iter().all(|tier| {
            let is_decided = match &tier.race {
                Some(race) => race.is_by_net(),
                None => tier.shares.len() == 1,
            };
            is_decided && tier.shares.iter().all(|share| share.count == 1 || share.by_net || !is_cut)
        })
    }
}
