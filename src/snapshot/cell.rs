//! A decision made ready for packets: records in wire form and integer weights, so that an answer is a draw and a copy.
//! The draw follows [`Distribution`](crate::steering::Distribution) to the letter; chance is an argument.

mod rdata;

use std::sync::Arc;

use rdata::Rdata;

use crate::model::{Facet, MAX_ANSWERS, MAX_ENDPOINTS, Model, Policy};
use crate::steering::{Decision, Distribution, Given};

/// Where an owner pointer to the question's name goes (RFC 1035, 4.1.4): the question begins at octet 12.
pub const OWNER_IS_QUESTION: [u8; 2] = [0xC0, 0x0C];

/// Octets of a prepared record before its RDATA: owner pointer, type, class, TTL, RDLENGTH.
const HEAD: usize = 12;

/// What a cell gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellGiven {
    /// Records, by [`Cell::pick`].
    Records,
    /// The zone file's RRset of the same owner and type.
    Static,
    /// An empty answer.
    Nodata,
}

/// One decision, ready for packets.
#[derive(Debug)]
pub struct Cell {
    decision: Arc<Decision>,
    given: CellGiven,
    draws: usize,
    limit: usize,
    /// Whether every reply has all records, in their order: SRV.
    is_whole: bool,
    tiers: Box<[CellTier]>,
    records: Box<[StoredRecord]>,
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct CellTier {
    /// Sum of the shares' weights.
    total: u64,
    shares: Box<[CellShare]>,
}

#[derive(Debug, Clone, Copy)]
struct CellShare {
    weight: u64,
    first: u16,
    count: u16,
}

#[derive(Debug, Clone, Copy)]
struct StoredRecord {
    start: u32,
    end: u32,
    rtype: u16,
    slot: u16,
    /// A CNAME, or SVCB's alias mode: no other record may stand beside it.
    is_alone: bool,
}

/// A record of a cell in wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparedRecord<'a> {
    /// The whole record (RFC 1035, 3.2.1); its owner is the pointer `C0 0C`.
    pub bytes: &'a [u8],
    /// Its type.
    pub rtype: u16,
    /// Its endpoint's place in the policy's list: counter id less the name's first.
    pub slot: u16,
}

impl<'a> PreparedRecord<'a> {
    /// Its RDATA, nothing in it compressed.
    pub fn rdata(&self) -> &'a [u8] {
        self.bytes.get(HEAD..).unwrap_or_default()
    }
}

/// Records drawn from a cell, in the order they go into the reply.
#[derive(Debug, Clone, Copy)]
pub struct Picks {
    indexes: [u16; MAX_ANSWERS],
    len: usize,
}

impl std::ops::Deref for Picks {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.indexes[..self.len]
    }
}

impl Picks {
    fn push(&mut self, index: u16) {
        if self.len < MAX_ANSWERS {
            self.indexes[self.len] = index;
            self.len += 1;
        }
    }
}

impl Cell {
    /// Makes `decision` ready. Its endpoints must be of `policy`, and have an answerable for its facet.
    pub fn prepare(model: &Model, policy: &Policy, decision: Arc<Decision>) -> Cell {
        let mut cell = Cell {
            given: CellGiven::Nodata,
            draws: 0,
            limit: 0,
            is_whole: decision.facet == Facet::Srv,
            tiers: Box::new([]),
            records: Box::new([]),
            bytes: Box::new([]),
            decision: decision.clone(),
        };
        match &decision.given {
            Given::Nodata => {}
            Given::Static => cell.given = CellGiven::Static,
            Given::Endpoints(distribution) => {
                cell.given = CellGiven::Records;
                cell.draws = distribution.draws;
                cell.limit = distribution.limit.min(MAX_ANSWERS);
                cell.fill(&Rdata { model, policy, decision: &decision }, distribution);
            }
        }
        cell
    }

    fn fill(&mut self, rdata: &Rdata<'_>, distribution: &Distribution) {
        let (mut records, mut bytes) = (Vec::new(), Vec::new());
        let mut tiers = Vec::with_capacity(distribution.tiers.len());
        for (priority, tier) in distribution.tiers.iter().enumerate() {
            let heaviest = tier.shares.iter().map(|share| share.weight).fold(0.0, f64::max);
            let srv = rdata::SrvScale::of(priority, tier);
            let mut shares = Vec::with_capacity(tier.shares.len());
            for share in &tier.shares {
                let first = records.len() as u16;
                for &endpoint in &share.endpoints {
                    records.extend(rdata.store(&mut bytes, endpoint, srv.place(share)));
                }
                let count = records.len() as u16 - first;
                if count > 0 {
                    shares.push(CellShare { weight: integer_weight(share.weight, heaviest), first, count });
                }
            }
            let total = shares.iter().map(|share| share.weight).sum();
            tiers.push(CellTier { total, shares: shares.into() });
        }
        (self.tiers, self.records, self.bytes) = (tiers.into(), records.into(), bytes.into());
    }

    /// The decision that this is.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What it gives.
    pub fn given(&self) -> CellGiven {
        self.given
    }

    /// Seconds; also written in its records.
    pub fn ttl(&self) -> u32 {
        self.decision.ttl
    }

    /// Whether replies say EDE 3 (RFC 8914, 4.4).
    pub fn is_stale(&self) -> bool {
        self.decision.stale
    }

    /// Whether the client was looked at: the ECS scope is 0 when not.
    pub fn looks_at_client(&self) -> bool {
        self.decision.looks_at_client
    }

    /// The record at an index that [`Cell::pick`] gave.
    pub fn record(&self, index: u16) -> PreparedRecord<'_> {
        let stored = self.records[usize::from(index)];
        let bytes = &self.bytes[stored.start as usize..stored.end as usize];
        PreparedRecord { bytes, rtype: stored.rtype, slot: stored.slot }
    }

    /// Every record that a reply could hold.
    pub fn records(&self) -> impl Iterator<Item = PreparedRecord<'_>> {
        (0..self.records.len() as u16).map(|index| self.record(index))
    }

    /// Draws records: any that stand beside each other, or exactly one that stands alone. Empty only where the cell
    /// gives no records.
    pub fn pick(&self, entropy: u64) -> Picks {
        let mut picks = Picks { indexes: [0; MAX_ANSWERS], len: 0 };
        if self.is_whole {
            (0..self.records.len() as u16).for_each(|index| picks.push(index));
            return picks;
        }
        let mut chance = Chance(entropy);
        let mut draws = 0;
        for tier in &self.tiers {
            let mut used = Used::default();
            let mut left = tier.total;
            while left > 0 && draws < self.draws && picks.len < self.limit {
                let Some(at) = tier.draw(chance.below(left), &used) else { break };
                let share = tier.shares[at];
                used.mark(at);
                left -= share.weight;
                if self.take(share, &mut picks, &mut chance) {
                    draws += 1;
                }
                if picks.len == 1 && self.records[usize::from(picks.indexes[0])].is_alone {
                    return picks;
                }
            }
        }
        picks
    }

    /// Adds a share's records, rotated, as many as fit under the limit, and says whether there were any. One that stands
    /// alone is added only where it does, and no record twice.
    fn take(&self, share: CellShare, picks: &mut Picks, chance: &mut Chance) -> bool {
        let turn = if share.count > 1 { chance.below(u64::from(share.count)) as u16 } else { 0 };
        let before = picks.len;
        for step in 0..share.count {
            let index = share.first + (turn + step) % share.count;
            let record = self.records[usize::from(index)];
            let is_given = picks.iter().any(|&given| self.records[usize::from(given)].slot == record.slot);
            if picks.len >= self.limit || is_given || (record.is_alone && picks.len > 0) {
                continue;
            }
            picks.push(index);
            if record.is_alone {
                break;
            }
        }
        picks.len > before
    }
}

impl CellTier {
    /// The share that `point`, below the weight of all unused shares, falls on.
    fn draw(&self, mut point: u64, used: &Used) -> Option<usize> {
        for (at, share) in self.shares.iter().enumerate() {
            if used.is_marked(at) {
                continue;
            }
            if point < share.weight {
                return Some(at);
            }
            point -= share.weight;
        }
        None
    }
}

/// Shares of one tier that were drawn, a bit each. A tier has at most one share an endpoint of its policy.
#[derive(Default)]
struct Used([u64; MAX_ENDPOINTS / 64]);

impl Used {
    fn mark(&mut self, share: usize) {
        self.0[share / 64] |= 1 << (share % 64);
    }

    fn is_marked(&self, share: usize) -> bool {
        self.0[share / 64] & (1 << (share % 64)) != 0
    }
}

/// A stream of numbers from one seed (splitmix64, Steele et al. 2014): a reply needs several, the packet brings one.
struct Chance(u64);

impl Chance {
    /// A number below `bound`, which is not 0, by multiply-shift (Lemire 2019); its bias is under bound / 2^64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(bound)) >> 64) as u64
    }
}

/// The heaviest share of a tier gets this; 2^40 keeps a share of a millionth exact to a millionth, and a tier of
/// 65,536 shares under 2^64.
const HEAVIEST: f64 = (1_u64 << 40) as f64;

fn integer_weight(weight: f64, heaviest: f64) -> u64 {
    ((weight / heaviest * HEAVIEST).round() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::model::{AnswerRdata, Answerable, Endpoint, EndpointId, MemberRef, ZoneId};
    use crate::steering::{Share, Tier};
    use crate::wire::code::rtype;

    /// Endpoints by number: 0..8 have an address, 8 and 9 a cname.
    fn world() -> (Model, Policy) {
        let endpoint = |at: u32| {
            let answerable = match at {
                0..8 => Answerable {
                    facet: Facet::V4,
                    rdata: AnswerRdata::Address([192, 0, 2, at as u8].into()),
                    check: None,
                },
                _ => Answerable {
                    facet: Facet::Alias,
                    rdata: AnswerRdata::Cname(Box::new([1, b'a' + at as u8, 0])),
                    check: None,
                },
            };
            Endpoint::new(format!("e{at}"), ZoneId(0), vec![answerable])
        };
        let model = Model { endpoints: (0..10).map(endpoint).collect(), ..Model::default() };
        let root = MemberRef::Endpoint(EndpointId(0));
        let policy = Policy::new(ZoneId(0), root, (0..10).map(EndpointId).collect(), vec![Facet::V4]);
        (model, policy)
    }

    fn cell(tiers: &[&[(&[u32], f64)]], draws: usize, limit: usize) -> Cell {
        let (model, policy) = world();
        let share = |&(of, weight): &(&[u32], f64)| {
            let endpoints = of.iter().copied().map(EndpointId).collect();
            Share { endpoints, weight, path: Vec::new() }
        };
        let tiers = tiers.iter().map(|shares| Tier { shares: shares.iter().map(share).collect() }).collect();
        let given = Given::Endpoints(Distribution { tiers, draws, limit });
        let decision = Decision {
            facet: Facet::V4,
            given,
            ttl: 7,
            stale: false,
            looks_at_client: false,
            affinity: None,
            standings: vec![],
            hints: vec![],
            stages: vec![],
        };
        Cell::prepare(&model, &policy, Arc::new(decision))
    }

    /// How often each endpoint is in one of `rounds` replies, and every reply's size.
    fn drawn(cell: &Cell, rounds: u64) -> (HashMap<u16, f64>, Vec<usize>) {
        let (mut counts, mut sizes) = (HashMap::new(), Vec::new());
        for seed in 0..rounds {
            let picks = cell.pick(seed.wrapping_mul(0xD134_2543_DE82_EF95));
            for &index in picks.iter() {
                *counts.entry(cell.record(index).slot).or_insert(0.0) += 1.0 / rounds as f64;
            }
            sizes.push(picks.len());
        }
        (counts, sizes)
    }

    #[test]
    fn a_record_is_written_as_it_goes_out() {
        let cell = cell(&[&[(&[3], 1.0)]], 1, 1);
        let record = cell.record(cell.pick(1)[0]);
        assert_eq!(record.bytes, [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 7, 0, 4, 192, 0, 2, 3]);
        assert_eq!((record.rtype, record.slot), (rtype::A, 3));
    }

    #[test]
    fn one_draw_follows_the_weights() {
        let (counts, sizes) = drawn(&cell(&[&[(&[0], 80.0), (&[1], 20.0)], &[(&[2], 1.0)]], 1, 1), 100_000);
        assert!((counts[&0] - 0.8).abs() < 0.01 && (counts[&1] - 0.2).abs() < 0.01, "{counts:?}");
        assert!(!counts.contains_key(&2) && sizes.iter().all(|&size| size == 1));
    }

    #[test]
    fn several_draws_repeat_nothing_and_go_on_to_the_next_tier() {
        let (counts, sizes) = drawn(&cell(&[&[(&[0], 80.0), (&[1], 20.0)], &[(&[2], 1.0), (&[3], 3.0)]], 3, 3), 50_000);
        assert!(sizes.iter().all(|&size| size == 3));
        assert!((counts[&0] - 1.0).abs() < 1e-6 && (counts[&1] - 1.0).abs() < 1e-6, "{counts:?}");
        assert!((counts[&2] - 0.25).abs() < 0.01 && (counts[&3] - 0.75).abs() < 0.01, "{counts:?}");
    }

    #[test]
    fn a_group_comes_whole_and_turns_unless_answers_cuts_it() {
        let (counts, sizes) = drawn(&cell(&[&[(&[0, 1, 2], 1.0)]], 1, MAX_ANSWERS), 100);
        assert!(sizes.iter().all(|&size| size == 3) && counts.len() == 3);
        let cut = cell(&[&[(&[0, 1, 2], 1.0)]], 2, 2);
        let (counts, sizes) = drawn(&cut, 30_000);
        assert!(sizes.iter().all(|&size| size == 2));
        assert!(counts.values().all(|share| (share - 2.0 / 3.0).abs() < 0.02), "{counts:?}");
    }

    #[test]
    fn an_alias_stands_alone() {
        let mixed = cell(&[&[(&[0], 1.0), (&[8], 1.0), (&[1], 1.0), (&[9], 1.0)]], 3, 3);
        for seed in 0..1000 {
            let types: Vec<u16> = mixed.pick(seed).iter().map(|&index| mixed.record(index).rtype).collect();
            assert!(types == [rtype::CNAME] || types == [rtype::A, rtype::A], "{types:?}");
        }
    }

    #[test]
    fn tiny_shares_are_drawn_and_huge_tiers_do_not_overflow() {
        let (counts, _) = drawn(&cell(&[&[(&[0], 1e-3), (&[1], 1.0)]], 1, 1), 200_000);
        assert!((counts[&0] - 0.001).abs() < 0.0005, "{counts:?}");
        let wide: Vec<(&[u32], f64)> = vec![(&[0], f64::MAX); MAX_ENDPOINTS];
        assert_eq!(cell(&[&wide], 1, 1).pick(u64::MAX).len(), 1);
    }
}
