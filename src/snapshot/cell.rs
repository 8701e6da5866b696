//! A decision prepared for packets: records in wire form and integer weights, so that an answer is a draw and a copy.
//! The draw follows [`Distribution`](crate::steering::Distribution) exactly; random bits are an argument. [`affinity`]
//! draws where the client's net decides, and [`odds`] has the probabilities for one net.

mod affinity;
mod exponential;
mod flat_race;
#[cfg(test)]
mod law_tests;
mod odds;
mod picks;
mod race;
mod rdata;
#[cfg(test)]
mod tests;
mod time_buckets;
mod weights;

use std::collections::HashMap;
use std::sync::Arc;

pub use picks::Picks;
use rdata::Rdata;

use crate::model::{MAX_ANSWERS, Model, Policy};
use crate::placing::SplitMix;
use crate::steering::{AnswerSource, Decision, Distribution};
use crate::wire::PREPARED_HEAD;

/// The kind of answer in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellContent {
    /// Records, by [`Cell::pick`].
    Records,
    /// The zone file's RRset of the same owner and type.
    Static,
    /// An empty answer.
    Nodata,
}

/// One decision, prepared for packets.
#[derive(Debug)]
pub struct Cell {
    decision: Arc<Decision>,
    content: CellContent,
    draws: usize,
    limit: usize,
    /// Whether every reply has all records, in their order: SRV.
    is_whole: bool,
    /// Whether a draw may choose an endpoint without a record of this type.
    has_blanks: bool,
    /// Whether several records are the same one, of one endpoint or of several: a reply has it once (RFC 2181, 5).
    has_twins: bool,
    /// Whether any records may be in one reply, in any order: none is a blank, a twin, or alone.
    is_plain: bool,
    /// Whether each share has one record.
    has_single_shares: bool,
    /// Octets of each record, where all have as many: then they are one after the other, in their order.
    record_len: Option<usize>,
    /// The fewest octets of the records of a reply, as far as that is known.
    least_octets: usize,
    tiers: Box<[CellTier]>,
    records: Box<[StoredRecord]>,
    bytes: Box<[u8]>,
    /// A hash of each record's endpoint, the same on every node; empty where the client's net decides nothing.
    keys: Box<[u64]>,
}

#[derive(Debug)]
struct CellTier {
    /// Sum of the shares' weights.
    total: u64,
    shares: Box<[CellShare]>,
    /// Sums of weights, where the shares are many and are drawn by weight.
    sums: weights::Sums,
    /// How they are drawn where the client's net decides.
    race: Option<race::Race>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct CellShare {
    weight: u64,
    first: u16,
    count: u16,
    /// Whether its records are turned by the client's net rather than by chance.
    by_net: bool,
}

#[derive(Debug, Clone, Copy)]
struct StoredRecord {
    start: u32,
    end: u32,
    rtype: u16,
    slot: u16,
    /// The same number for records of which a reply has one.
    twin: u16,
    /// A CNAME, or SVCB's alias mode: it must be the only record.
    is_alone: bool,
}

impl StoredRecord {
    /// Whether it is a blank: an endpoint that can be drawn without having a record of this type.
    fn is_blank(&self) -> bool {
        self.start == self.end
    }
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
        self.bytes.get(PREPARED_HEAD..).unwrap_or_default()
    }
}

impl Cell {
    /// Prepares `decision`. Its endpoints must be of `policy`, and have an answerable for its facet.
    pub fn prepare(model: &Model, policy: &Policy, decision: Arc<Decision>) -> Cell {
        let mut cell = Cell {
            content: CellContent::Nodata,
            draws: 0,
            limit: 0,
            is_whole: decision.is_whole(),
            has_blanks: false,
            has_twins: false,
            is_plain: false,
            has_single_shares: false,
            record_len: None,
            least_octets: 0,
            tiers: Box::new([]),
            records: Box::new([]),
            bytes: Box::new([]),
            keys: Box::new([]),
            decision: decision.clone(),
        };
        match &decision.source {
            AnswerSource::Nodata => {}
            AnswerSource::Static => cell.content = CellContent::Static,
            AnswerSource::Endpoints(distribution) => {
                cell.content = CellContent::Records;
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
            let mut given = Vec::with_capacity(tier.shares.len());
            for share in &tier.shares {
                let first = records.len() as u16;
                for &endpoint in &share.endpoints {
                    records.extend(rdata.store(&mut bytes, endpoint, srv.place(share)));
                }
                let count = records.len() as u16 - first;
                if count > 0 {
                    let weight = integer_weight(share.weight, heaviest);
                    shares.push(CellShare { weight, first, count, by_net: false });
                    given.push(share);
                }
            }
            let total = shares.iter().map(|share| share.weight).sum();
            let mut tier = CellTier { total, shares: shares.into(), sums: weights::Sums::none(), race: None };
            // One draw never gets beyond the first tier unless it may be a blank; what is given whole is not drawn.
            let is_drawn = !self.is_whole && (tiers.is_empty() || distribution.draws > 1);
            if is_drawn && self.decision.affinity.is_some() {
                tier.tie_to_nets(rdata, &given);
            }
            if tier.race.is_none() && (is_drawn || !distribution.blanks.is_empty()) {
                tier.sums = weights::Sums::of(tier.shares.iter().map(|share| share.weight));
            }
            tiers.push(tier);
        }
        self.has_blanks = records.iter().any(StoredRecord::is_blank);
        let (mut by_content, mut by_slot) = (HashMap::<&[u8], u16>::new(), HashMap::<u16, u16>::new());
        for record in records.iter_mut().filter(|record| !record.is_blank()) {
            let content = &bytes[record.start as usize..record.end as usize];
            // Where all records are in a reply, those of one endpoint may differ in priority or weight.
            let of_slot = by_slot.get(&record.slot).filter(|_| !self.is_whole);
            let twin = of_slot.or(by_content.get(content)).copied();
            record.twin = twin.unwrap_or((by_content.len() + by_slot.len()) as u16);
            by_content.entry(content).or_insert(record.twin);
            by_slot.entry(record.slot).or_insert(record.twin);
        }
        let mut twins: Vec<u16> =
            records.iter().filter(|record| !record.is_blank()).map(|record| record.twin).collect();
        twins.sort_unstable();
        self.has_twins = twins.windows(2).any(|pair| pair[0] == pair[1]);
        if self.has_twins {
            // No reply has more: further draws would find nothing new.
            twins.dedup();
            self.limit = self.limit.min(twins.len());
        }
        self.is_plain = !self.has_blanks && !self.has_twins && !records.iter().any(|record| record.is_alone);
        let len = |record: &StoredRecord| (record.end - record.start) as usize;
        let first_len = records.first().map(len);
        self.record_len = first_len.filter(|first| *first > 0 && records.iter().all(|record| len(record) == *first));
        self.has_single_shares = tiers.iter().flat_map(|tier| &tier.shares).all(|share| share.count == 1);
        let count = match self.is_whole {
            true => twins.len().min(MAX_ANSWERS),
            false if self.is_each_added() && self.draws > 1 => records.len().min(self.draws).min(self.limit),
            false => 0,
        };
        self.least_octets = count * records.iter().map(len).min().unwrap_or(0);
        (self.tiers, self.records, self.bytes) = (tiers.into(), records.into(), bytes.into());
        self.keys = self.affinity_keys(rdata);
    }

    /// The decision that it was made from.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The kind of its answer.
    pub fn content(&self) -> CellContent {
        self.content
    }

    /// Seconds; also written in its records.
    pub fn ttl(&self) -> u32 {
        self.decision.ttl
    }

    /// Whether replies say EDE 3 (RFC 8914, 4.4).
    pub fn is_stale(&self) -> bool {
        self.decision.stale
    }

    /// Whether the decision depends on the client: if not, the ECS scope is 0.
    pub fn looks_at_client(&self) -> bool {
        self.decision.looks_at_client
    }

    /// Whether clients get the same from both: the same records with the same probabilities, for the same time.
    pub(crate) fn answers_as(&self, other: &Cell) -> bool {
        let (own, others) = (&self.decision, &other.decision);
        // The pools on the way to an endpoint are in its hash.
        let is_by_same_nets = match (&own.source, &others.source, self.affinity()) {
            (_, _, None) => true,
            (AnswerSource::Endpoints(own), AnswerSource::Endpoints(others), Some(_)) => {
                own.tiers.iter().take(self.reached_tiers()).eq(others.tiers.iter().take(other.reached_tiers()))
            }
            (own, others, Some(_)) => own == others,
        };
        let shape = |cell: &Cell| (cell.content, cell.draws, cell.limit, cell.is_whole, cell.has_blanks);
        (own.ttl, own.stale, self.affinity()) == (others.ttl, others.stale, other.affinity())
            && shape(self) == shape(other)
            && is_by_same_nets
            && self.reached_shares().eq(other.reached_shares())
    }

    /// How many tiers a reply can have records of.
    fn reached_tiers(&self) -> usize {
        let is_one_draw = self.draws == 1 && !self.is_whole && !self.has_blanks;
        if is_one_draw { self.tiers.len().min(1) } else { self.tiers.len() }
    }

    /// The shares of these tiers, each with the number of its tier, and its records.
    fn reached_shares(&self) -> impl Iterator<Item = (usize, CellShare, Vec<PreparedRecord<'_>>)> {
        let tiers = self.tiers.iter().take(self.reached_tiers()).enumerate();
        tiers.flat_map(|(tier, of)| of.shares.iter().map(move |share| (tier, *share))).map(|(tier, share)| {
            (tier, share, (share.first..share.first + share.count).map(|index| self.record(index)).collect())
        })
    }

    /// The record at an index that [`Cell::pick`] gave.
    pub fn record(&self, index: u16) -> PreparedRecord<'_> {
        let stored = self.records[usize::from(index)];
        let bytes = &self.bytes[stored.start as usize..stored.end as usize];
        PreparedRecord { bytes, rtype: stored.rtype, slot: stored.slot }
    }

    /// All records, where each has so many octets: the record at an index of [`Cell::pick`] is the chunk of that index.
    pub fn equal_records(&self) -> Option<(usize, &[u8])> {
        Some((self.record_len?, &self.bytes))
    }

    /// A reply has at least so many octets of records, so that nothing needs to be drawn for one with less room.
    pub fn least_octets(&self) -> usize {
        self.least_octets
    }

    /// Whether each record is of another endpoint. Where every reply has all records, one endpoint may have several.
    pub fn has_distinct_slots(&self) -> bool {
        self.is_each_added() && !self.is_whole
    }

    /// Whether each share that is drawn adds exactly one record.
    fn is_each_added(&self) -> bool {
        self.is_plain && self.has_single_shares
    }

    /// The slot of the record at an index of [`Cell::pick`].
    pub fn slot(&self, index: u16) -> u16 {
        self.records[usize::from(index)].slot
    }

    /// The only record, where every reply has that one.
    pub fn only(&self) -> Option<PreparedRecord<'_>> {
        let is_only = self.records.len() == 1 && self.draws > 0 && self.limit > 0 && !self.has_blanks;
        is_only.then(|| self.record(0))
    }

    /// Every record that a reply could have.
    pub fn records(&self) -> impl Iterator<Item = PreparedRecord<'_>> {
        let there = self.records.iter().zip(0..).filter(|(record, _)| !record.is_blank());
        there.map(|(_, index)| self.record(index))
    }

    /// Draws records: several that may be in one RRset, or exactly one that must be alone. Empty only where the cell
    /// has no records.
    pub fn pick(&self, entropy: u64) -> Picks {
        let mut draw = Draw::begin(entropy, None);
        if self.is_whole {
            for (index, record) in (0..).zip(&self.records) {
                let is_twin = |pick: &u16| self.records[usize::from(*pick)].twin == record.twin;
                if !self.has_twins || !draw.picks.iter().any(is_twin) {
                    draw.picks.push(index);
                }
            }
            return draw.picks;
        }
        for tier in &self.tiers {
            self.draw_by_weight(tier, &mut draw);
        }
        draw.picks
    }

    /// Whether nothing can be added.
    fn is_complete(&self, draw: &Draw) -> bool {
        let is_alone = |index: &u16| self.records[usize::from(*index)].is_alone;
        draw.draws >= self.draws
            || draw.picks.len() >= self.limit
            || (!self.is_plain && draw.picks.first().is_some_and(is_alone))
    }

    /// Adds a share's records, rotated, as many as fit under the limit; it counts as a draw if there were any. A record
    /// that must be alone is added only to an empty reply, and no record twice. A blank adds nothing, and after a blank
    /// no record that must be alone is added.
    fn take(&self, share: CellShare, draw: &mut Draw) {
        if self.is_plain && share.count == 1 {
            // The limit is not reached yet: otherwise nothing is drawn.
            draw.picks.push(share.first);
            draw.draws += 1;
            return;
        }
        self.take_some(share, draw);
    }

    fn take_some(&self, share: CellShare, draw: &mut Draw) {
        let turn = match draw.net {
            _ if share.count == 1 => 0,
            Some(net) if share.by_net => self.turn_for(share, net),
            Some(_) | None => draw.chance.below(u64::from(share.count)) as u16,
        };
        let picks = &mut draw.picks;
        let before = picks.len();
        for step in 0..share.count {
            let index = share.first + (turn + step) % share.count;
            let record = self.records[usize::from(index)];
            let is_twin = |pick: &u16| self.records[usize::from(*pick)].twin == record.twin;
            let bit = 1 << (u32::from(record.twin) % u64::BITS);
            let is_picked = self.has_twins && draw.slots & bit != 0 && picks.iter().any(is_twin);
            draw.has_blank |= record.is_blank();
            if picks.len() >= self.limit || is_picked || (record.is_alone && !picks.is_empty()) {
                continue;
            }
            if record.is_blank() || (record.is_alone && draw.has_blank) {
                continue;
            }
            picks.push(index);
            draw.slots |= bit;
            if record.is_alone {
                break;
            }
        }
        draw.draws += usize::from(picks.len() > before);
    }
}

/// The draws of one reply so far.
struct Draw {
    picks: Picks,
    chance: Chance,
    /// Draws that added a record.
    draws: usize,
    /// The number of the client's net, where it decides.
    net: Option<u64>,
    /// Whether a draw chose an endpoint without a record of this type.
    has_blank: bool,
    /// For each record the bit of the last six bits of its twin.
    slots: u64,
}

impl Draw {
    fn begin(entropy: u64, net: Option<u64>) -> Draw {
        Draw { picks: Picks::default(), chance: Chance(SplitMix(entropy)), draws: 0, net, has_blank: false, slots: 0 }
    }
}

/// The random numbers of one reply: it needs several, the query has one.
struct Chance(SplitMix);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0.number()
    }

    /// A number below `bound`, which is not 0, by multiply-shift (Lemire 2019); its bias is under bound / 2^64.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// The heaviest share of a tier gets this; 2^40 keeps a share of a millionth exact to a millionth, and a tier of
/// 65,536 shares under 2^64.
const HEAVIEST: f64 = (1_u64 << 40) as f64;

fn integer_weight(weight: f64, heaviest: f64) -> u64 {
    ((weight / heaviest * HEAVIEST).round() as u64).max(1)
}
