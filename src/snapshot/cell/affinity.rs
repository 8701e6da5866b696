//! Draws in which the client's net decides: one net, one answer. A [`Race`] orders the shares of a tier in which the
//! net decides a choice; other tiers are drawn from by chance.

use super::flat_race::MOST_SELECTED;
use super::race::{Race, Runner};
use super::rdata::Rdata;
use super::{Cell, CellShare, CellTier, Draw, Picks, PreparedRecord};
use crate::model::{AffinityNet, MAX_ENDPOINTS};
use crate::placing::{ClientNet, mix};
use crate::steering::{Share, key_of};

/// Tiers of up to this many shares need 640 octets of stack for a draw rather than 10 KiB, which are cleared each time.
const FEW: usize = 64;

impl Cell {
    /// The prefix lengths by which [`Cell::pick_for`] sees a client; `None` where the net decides nothing:
    /// [`Cell::pick`].
    pub fn affinity(&self) -> Option<AffinityNet> {
        self.decision.affinity.filter(|_| !self.keys.is_empty())
    }

    /// As [`Cell::pick`], for a client of this net: the net decides the choices with affinity, `entropy` the others.
    pub fn pick_for(&self, entropy: u64, net: ClientNet) -> Picks {
        let mut draw = Draw::begin(entropy, Some(net.number));
        for tier in &self.tiers {
            match &tier.race {
                None => self.draw_by_weight(tier, &mut draw),
                Some(_) if self.is_complete(&draw) => break,
                Some(race) if self.draws == 1 && !self.has_blanks => {
                    let first = race.first(net.number, &mut draw.chance);
                    self.take(tier.shares[first], &mut draw);
                }
                Some(race) if tier.shares.len() <= FEW => {
                    if !self.draw_sorted(tier, race, &mut draw, net) {
                        self.draw_in_order::<FEW>(tier, race, &mut draw, net);
                    }
                }
                Some(race) => self.draw_in_order::<MAX_ENDPOINTS>(tier, race, &mut draw, net),
            }
        }
        draw.picks
    }

    /// Draws several shares of at most [`FEW`]. `false`: they are few, or not in one choice, and nothing was drawn.
    #[inline(never)]
    fn draw_sorted(&self, tier: &CellTier, race: &Race, draw: &mut Draw, net: ClientNet) -> bool {
        // The number of shares that are needed is known only if each adds one record.
        let left = self.draws.saturating_sub(draw.draws).min(self.limit.saturating_sub(draw.picks.len()));
        let count = if self.is_each_added() { left } else { tier.shares.len() };
        let Some(flat) = race.flat() else { return false };
        match count <= MOST_SELECTED {
            true => self.take_each(tier, flat.selected(count, net.number).shares(), draw),
            false => self.take_each(tier, flat.sorted(count, net.number).shares(), draw),
        }
        true
    }

    /// Takes these shares of a tier in their order, until the reply is complete.
    fn take_each(&self, tier: &CellTier, shares: impl ExactSizeIterator<Item = usize>, draw: &mut Draw) {
        if self.is_each_added() {
            draw.draws += draw.picks.extend(shares.map(|share| tier.shares[share].first));
            return;
        }
        for share in shares {
            if self.is_complete(draw) {
                break;
            }
            self.take(tier.shares[share], draw);
        }
    }

    // Not inlined, so that its stack is used and cleared only where it is needed.
    #[inline(never)]
    fn draw_in_order<const N: usize>(&self, tier: &CellTier, race: &Race, draw: &mut Draw, net: ClientNet) {
        let mut order = race.order::<N>(net.number);
        while !self.is_complete(draw) {
            let Some(next) = order.next(&mut draw.chance) else { break };
            self.take(tier.shares[next], draw);
        }
    }

    /// The first record of every reply to clients of this net; `None` where it depends on chance.
    pub fn first_for(&self, net: ClientNet) -> Option<PreparedRecord<'_>> {
        let share = self.first_share_for(net)?;
        match share.count {
            1 if self.records[usize::from(share.first)].is_blank() => None,
            1 => Some(self.record(share.first)),
            _ if share.by_net => Some(self.record(share.first + self.turn_for(share, net.number))),
            _ => None,
        }
    }

    /// The slot of the endpoint that is drawn first for this net, where it has no record of this type.
    pub fn blank_for(&self, net: ClientNet) -> Option<u16> {
        let share = self.first_share_for(net).filter(|share| share.count == 1)?;
        let record = self.records.get(usize::from(share.first)).filter(|record| record.is_blank())?;
        Some(record.slot)
    }

    /// The share that every draw for this net begins with; `None` where it depends on chance.
    fn first_share_for(&self, net: ClientNet) -> Option<CellShare> {
        let tier = self.tiers.first()?;
        let first = match &tier.race {
            Some(race) => race.first_without_chance(net.number)?,
            None if tier.shares.len() == 1 => 0,
            None => return None,
        };
        tier.shares.get(first).copied()
    }

    /// The first record of a share of several records, for a net: each record is first for equally many nets, and a net
    /// has the same first record as long as that record is in the share.
    pub(super) fn turn_for(&self, share: CellShare, net: u64) -> u16 {
        let at = |turn: u16| usize::from(share.first + turn);
        // Another hash than that of the race, because the same endpoint may be in both.
        (0..share.count).min_by_key(|turn| mix(mix(net) ^ self.keys[at(*turn)])).unwrap_or(0)
    }

    /// A key for each record, where the net decides anything.
    pub(super) fn affinity_keys(&self, rdata: &Rdata<'_>) -> Box<[u64]> {
        let is_tied = |tier: &CellTier| tier.race.is_some() || tier.shares.iter().any(|share| share.by_net);
        let records = if self.tiers.iter().any(is_tied) { &self.records[..] } else { &[] };
        let name = |slot: u16| &rdata.model.endpoint(rdata.policy.endpoints[usize::from(slot)]).name;
        records.iter().map(|record| key_of(name(record.slot))).collect()
    }
}

impl CellTier {
    /// Prepares the choices that the net decides. `shares` are those of the cell.
    pub(super) fn tie_to_nets(&mut self, rdata: &Rdata<'_>, shares: &[&Share]) {
        for (own, share) in self.shares.iter_mut().zip(shares) {
            own.by_net = own.count > 1 && share.path.last().is_some_and(|step| step.by_net);
        }
        let runners: Vec<Runner<'_>> = shares.iter().zip(0..).map(|(share, at)| runner(rdata, share, at)).collect();
        self.race = Race::among(&runners);
    }
}

fn runner<'a>(rdata: &Rdata<'_>, share: &'a Share, at: u16) -> Runner<'a> {
    // A pool that steers `all` gives its addresses as one share, whichever are up, and each alias as another.
    let first = share.endpoints.first().map(|endpoint| rdata.model.endpoint(*endpoint));
    let alone = first.filter(|endpoint| endpoint.stands_alone(rdata.decision.facet));
    Runner {
        share: at,
        weight: share.weight,
        path: &share.path,
        leaf: alone.map_or(0, |endpoint| key_of(&endpoint.name)),
    }
}
