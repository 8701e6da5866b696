//! The probability that a record is given, where shares of one tier have records in common: an endpoint is a member of
//! a weighted pool, and of a pool that steers `all`. What is drawn next depends only on which records the reply has:
//! one of the shares that have another record, by weight. So the sets of records that a reply can have are passed from
//! the smallest on, each with its probability.

use std::collections::BTreeMap;

use crate::placing::SplitMix;

/// A share: its weight, and its records by number.
pub(super) struct Overlapping {
    pub(super) weight: f64,
    pub(super) records: Vec<usize>,
}

/// Most shares that are looked at for the exact result (judgment: some milliseconds).
const MOST_STEPS: usize = 1 << 18;
/// Replies that are drawn where that is not enough: a probability is then within 0.01 of the exact one.
const SAMPLES: usize = 1 << 15;

/// For each of `count` records, the probability that it is given while there is room for `room`.
pub(super) fn given(shares: &[Overlapping], count: usize, room: usize) -> Vec<f64> {
    if room == 0 {
        vec![0.0; count]
    } else if count <= room {
        vec![1.0; count]
    } else {
        exactly(shares, count, room).unwrap_or_else(|| sampled(shares, count, room))
    }
}

/// Records of a reply, a bit each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Given(Box<[u64]>);

impl Given {
    fn none(count: usize) -> Given {
        Given(vec![0; count.div_ceil(64)].into())
    }

    fn has(&self, record: usize) -> bool {
        self.0[record / 64] >> (record % 64) & 1 == 1
    }

    fn add(&mut self, record: usize) {
        self.0[record / 64] |= 1 << (record % 64);
    }

    /// How many records of a share it lacks.
    fn lacks(&self, share: &Overlapping) -> usize {
        share.records.iter().filter(|record| !self.has(**record)).count()
    }
}

/// `None` where that takes too long.
fn exactly(shares: &[Overlapping], count: usize, room: usize) -> Option<Vec<f64>> {
    let mut odds = vec![0.0; count];
    // Those with room left, by the number of their records.
    let mut replies: Vec<BTreeMap<Given, f64>> = vec![BTreeMap::new(); room];
    replies[0].insert(Given::none(count), 1.0);
    let mut steps = 0;
    for size in 0..room {
        for (reply, chance) in std::mem::take(&mut replies[size]) {
            steps += shares.len();
            if steps > MOST_STEPS {
                return None;
            }
            let open: Vec<(&Overlapping, usize)> =
                shares.iter().map(|share| (share, reply.lacks(share))).filter(|(_, lacks)| *lacks > 0).collect();
            let total: f64 = open.iter().map(|(share, _)| share.weight).sum();
            for (share, more) in open {
                let chance = chance * share.weight / total;
                if more > room - size {
                    cut(share, &reply, room - size, |record, part| odds[record] += chance * part);
                    continue;
                }
                let mut next = reply.clone();
                for record in share.records.iter().filter(|record| !reply.has(**record)) {
                    odds[*record] += chance;
                    next.add(*record);
                }
                if size + more < room {
                    *replies[size + more].entry(next).or_insert(0.0) += chance;
                }
            }
        }
    }
    Some(odds)
}

/// Rotates a share by chance and takes the first `room` of its records that a reply lacks. Calls `give` with each of
/// them and its part of all rotations.
fn cut(share: &Overlapping, reply: &Given, room: usize, mut give: impl FnMut(usize, f64)) {
    let len = share.records.len();
    for turn in 0..len {
        let rotated = (0..len).map(|step| share.records[(turn + step) % len]);
        rotated.filter(|record| !reply.has(*record)).take(room).for_each(|record| give(record, 1.0 / len as f64));
    }
}

/// As [`given`], counted in replies that are drawn, always the same ones.
fn sampled(shares: &[Overlapping], count: usize, room: usize) -> Vec<f64> {
    let mut chance = SplitMix(0);
    let mut counts = vec![0.0; count];
    for _ in 0..SAMPLES {
        let (mut reply, mut size) = (Given::none(count), 0);
        while size < room {
            let open: Vec<&Overlapping> = shares.iter().filter(|share| reply.lacks(share) > 0).collect();
            let total: f64 = open.iter().map(|share| share.weight).sum();
            let mut point = part(&mut chance) * total;
            let drawn = open.iter().find(|share| {
                point -= share.weight;
                point < 0.0
            });
            let Some(share) = drawn.or(open.last()) else { break };
            let turn = (part(&mut chance) * share.records.len() as f64) as usize;
            for step in 0..share.records.len() {
                let record = share.records[(turn + step) % share.records.len()];
                if size < room && !reply.has(record) {
                    reply.add(record);
                    counts[record] += 1.0;
                    size += 1;
                }
            }
        }
    }
    counts.into_iter().map(|count| count / SAMPLES as f64).collect()
}

/// A random number, 0 to less than 1.
fn part(chance: &mut SplitMix) -> f64 {
    (chance.number() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(weight: f64, records: &[usize]) -> Overlapping {
        Overlapping { weight, records: records.to_vec() }
    }

    #[test]
    fn samples_are_near_the_exact_result() {
        let shares = [share(3.0, &[1]), share(3.0, &[2]), share(2.0, &[0, 2]), share(1.0, &[0, 1, 2, 3])];
        for room in 1..4 {
            let exact = exactly(&shares, 4, room).unwrap();
            let sum: f64 = exact.iter().sum();
            assert!((sum - room as f64).abs() < 1e-9, "{room}: {exact:?}");
            for (own, exact) in sampled(&shares, 4, room).iter().zip(&exact) {
                assert!((own - exact).abs() < 0.01, "{room}: {own} for {exact}");
            }
        }
    }

    #[test]
    fn very_many_sets_are_sampled() {
        let mut shares: Vec<Overlapping> = (0..60).map(|record| share(1.0 + record as f64, &[record])).collect();
        shares.push(share(5.0, &[0, 59]));
        assert!(exactly(&shares, 60, 12).is_none());
        let odds = given(&shares, 60, 12);
        assert!((odds.iter().sum::<f64>() - 12.0).abs() < 1e-9);
        assert!(odds[58] > odds[1]);
    }
}
