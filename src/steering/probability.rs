//! The probability that an endpoint's record is in a reply, and its part of a reply: the arithmetic of the draws that
//! [`Distribution`] defines, to nine digits. `explain` and `simulate` call it, the packet path never does.
//!
//! Drawing by weight without replacement is a race (Efraimidis and Spirakis, 2006): give each share a clock that rings
//! after an exponential time of rate `weight`; the order of ringing is the order of the draws. A share that rings at
//! time t is given if few enough records were drawn before t, and the others ring before t independently of each other.

use std::collections::HashMap;

use crate::model::EndpointId;
use crate::steering::overlap::{self, Overlapping};
use crate::steering::{Distribution, Share};

impl Distribution {
    /// The probability, 0 to 1, that each endpoint's record is in one reply, in tier order. `is_alias` says which
    /// endpoints give a CNAME. They add up to the mean number of records: `limit`, where there are as many addresses.
    /// As everywhere in steering, `draws` is 1 or as many as `limit`.
    pub fn probabilities(&self, is_alias: impl Fn(EndpointId) -> bool) -> Vec<(EndpointId, f64)> {
        let is_alone = |share: &&Share| share.endpoints.iter().all(|endpoint| is_alias(*endpoint));
        if self.draws == 1 {
            return self.of_one_draw(is_alone, |records| (self.limit as f64 / records as f64).min(1.0));
        }
        let mut odds = Vec::new();
        let mut room = self.limit;
        let addresses = self.chance_of_addresses(is_alone);
        for (at, tier) in self.tiers.iter().enumerate() {
            let races = |share: &&Share| !is_alone(share) && !self.is_blank(share);
            let racing: Vec<&Share> = tier.shares.iter().filter(races).collect();
            let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
            let (given, drawn) = match tier.repeats() {
                true => self.given_of_overlapping(&racing, room),
                false => self.given_of_disjoint(&racing, room),
            };
            for (endpoint, weight) in tier.weights() {
                let odd = match (is_alias(endpoint), at) {
                    (true, 0) => weight / total,
                    (true, _) => 0.0,
                    (false, _) => addresses * given.get(&endpoint).copied().unwrap_or(0.0),
                };
                odds.push((endpoint, if self.blanks.contains(&endpoint) { 0.0 } else { odd }));
            }
            room = room.saturating_sub(drawn);
        }
        odds
    }

    /// The part of a reply that is each endpoint's, 0 to 1, in tier order: a reply of n records is an nth of each, as a
    /// client goes to one of those it is given. They add up to 1. Conditions are those of
    /// [`Distribution::probabilities`].
    pub fn parts(&self, is_alias: impl Fn(EndpointId) -> bool) -> Vec<(EndpointId, f64)> {
        if self.draws == 1 {
            let is_alone = |share: &&Share| share.endpoints.iter().all(|endpoint| is_alias(*endpoint));
            return self.of_one_draw(is_alone, |records| 1.0 / records as f64);
        }
        let mut parts = self.probabilities(&is_alias);
        // However the draws fall, all replies of addresses have the same number of records; one with an alias has one.
        let sum = |alias: bool| parts.iter().filter(|(e, _)| is_alias(*e) == alias).map(|(_, odd)| odd).sum::<f64>();
        let (alone, records) = (sum(true), sum(false));
        let addresses = parts.iter_mut().filter(|(endpoint, odd)| *odd > 0.0 && !is_alias(*endpoint));
        addresses.for_each(|(_, part)| *part *= (1.0 - alone) / records);
        parts
    }

    /// The probability that the first draw is no alias. It decides the kind of reply; given that it is addresses, the
    /// draws are those without the aliases.
    fn chance_of_addresses(&self, is_alone: impl Fn(&&Share) -> bool) -> f64 {
        let first = self.tiers.first().map_or(&[][..], |tier| &tier.shares);
        let total: f64 = first.iter().map(|share| share.weight).sum();
        let alone: f64 = first.iter().filter(is_alone).map(|share| share.weight).sum();
        (1.0 - alone / total).max(0.0)
    }

    fn is_blank(&self, share: &Share) -> bool {
        share.endpoints.iter().all(|endpoint| self.blanks.contains(endpoint))
    }

    /// How many records a share can give. A blank in a group gives nothing; the others are given in its place.
    fn records(&self, share: &Share) -> usize {
        share.endpoints.iter().filter(|endpoint| !self.blanks.contains(endpoint)).count()
    }

    /// For each endpoint, in tier order, the sum over the shares that the only draw can be: the probability of the
    /// share, times `of` the number of its records.
    fn of_one_draw(&self, is_alone: impl Fn(&&Share) -> bool, of: impl Fn(usize) -> f64) -> Vec<(EndpointId, f64)> {
        let mut odds = Vec::new();
        // What the draws have not given yet. Blanks are passed over.
        let mut addresses = self.chance_of_addresses(&is_alone);
        for (at, tier) in self.tiers.iter().enumerate() {
            let races = |share: &&Share| !is_alone(share) && !self.is_blank(share);
            let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
            let racing: f64 = tier.shares.iter().filter(races).map(|share| share.weight).sum();
            let first = odds.len();
            odds.extend(tier.endpoints().map(|endpoint| (endpoint, 0.0)));
            let places: HashMap<EndpointId, usize> =
                odds.iter().enumerate().skip(first).map(|(place, (endpoint, _))| (*endpoint, place)).collect();
            for share in &tier.shares {
                let chance = match (is_alone(&share), at) {
                    (true, 0) => share.weight / total,
                    (true, _) => 0.0,
                    (false, _) if self.is_blank(share) => 0.0,
                    (false, _) => addresses * share.weight / racing * of(self.records(share)),
                };
                for endpoint in share.endpoints.iter().filter(|endpoint| !self.blanks.contains(endpoint)) {
                    odds[places[endpoint]].1 += chance;
                }
            }
            addresses = if racing > 0.0 { 0.0 } else { addresses };
        }
        odds
    }

    /// The probability of each record of shares that have none in common, and how many records there are.
    fn given_of_disjoint(&self, racing: &[&Share], room: usize) -> (HashMap<EndpointId, f64>, usize) {
        let racers: Vec<Racer> =
            racing.iter().map(|share| Racer { weight: share.weight, records: self.records(share) }).collect();
        let odds = racing.iter().zip(given(&racers, room));
        let of = odds.flat_map(|(share, odd)| share.endpoints.iter().map(move |endpoint| (*endpoint, odd)));
        (of.collect(), racers.iter().map(|racer| racer.records).sum())
    }

    /// The same of shares that have records in common.
    fn given_of_overlapping(&self, racing: &[&Share], room: usize) -> (HashMap<EndpointId, f64>, usize) {
        let mut numbers: HashMap<EndpointId, usize> = HashMap::new();
        let mut number = |endpoint: &EndpointId| {
            let next = numbers.len();
            *numbers.entry(*endpoint).or_insert(next)
        };
        let overlapping = |share: &&Share| Overlapping {
            weight: share.weight,
            records: share.endpoints.iter().filter(|e| !self.blanks.contains(e)).map(&mut number).collect(),
        };
        let shares: Vec<Overlapping> = racing.iter().map(overlapping).collect();
        let odds = overlap::given(&shares, numbers.len(), room);
        (numbers.iter().map(|(endpoint, at)| (*endpoint, odds[*at])).collect(), numbers.len())
    }
}

/// A share of addresses in a race.
#[derive(Debug, Clone, Copy)]
struct Racer {
    weight: f64,
    records: usize,
}

/// For each racer of a tier, the probability that any one record of it is given while there is room for `room` more.
fn given(racers: &[Racer], room: usize) -> Vec<f64> {
    if room == 0 {
        vec![0.0; racers.len()]
    } else if racers.iter().map(|racer| racer.records).sum::<usize>() <= room {
        vec![1.0; racers.len()]
    } else if room == 1 {
        let total: f64 = racers.iter().map(|racer| racer.weight).sum();
        racers.iter().map(|racer| racer.weight / total / racer.records as f64).collect()
    } else {
        race(racers, room)
    }
}

/// Step in ln t. The integrand is smooth with features no narrower than 1/sqrt(room), 1/8 at `MAX_ANSWERS`: the
/// trapezoidal rule at half of that is exact to rounding.
const STEP: f64 = 1.0 / 16.0;
/// Where the integral begins: the heaviest racer, of weight 1, has rung before with this probability.
const EARLIEST: f64 = 1e-13;
/// It ends when the lightest racer has rung but for a probability of e^-30, 1e-13.
const LIFETIMES: f64 = 30.0;

/// As [`given`], by integrating over the time at which each racer's clock rings.
fn race(racers: &[Racer], room: usize) -> Vec<f64> {
    let (lightest, heaviest) =
        racers.iter().fold((f64::MAX, 0.0_f64), |(low, high), racer| (low.min(racer.weight), high.max(racer.weight)));
    let (from, to) = (EARLIEST.ln(), (LIFETIMES * heaviest / lightest).ln());
    let mut sums = vec![0.0; racers.len()];
    let mut field = Field::new(racers.len(), room);
    for step in 0..=((to - from) / STEP).ceil() as usize {
        let t = (from + step as f64 * STEP).exp();
        field.at(racers, t / heaviest);
        for (at, (sum, racer)) in sums.iter_mut().zip(racers).enumerate() {
            let rate = racer.weight / heaviest;
            // The density of ringing at t, times dt = t d(ln t).
            *sum += field.share_given(at, racer.records) * rate * (-rate * t).exp() * t * STEP;
        }
    }
    sums.into_iter().map(|sum| sum.min(1.0)).collect()
}

/// How many records rang before a point in time, among the racers before and behind each one.
struct Field {
    room: usize,
    /// `before[racer * room + n]`: the probability that the racers listed before it rang for exactly n records.
    before: Vec<f64>,
    /// `behind[racer * room + n]`: that those listed behind it rang for n at most.
    behind: Vec<f64>,
}

impl Field {
    fn new(racers: usize, room: usize) -> Field {
        Field { room, before: vec![0.0; racers * room], behind: vec![0.0; racers * room] }
    }

    /// Moves to the time `t`, in units of 1 / weight.
    fn at(&mut self, racers: &[Racer], t: f64) {
        let mut counts = vec![0.0; self.room];
        counts[0] = 1.0;
        for (row, racer) in self.before.chunks_mut(self.room).zip(racers) {
            row.copy_from_slice(&counts);
            ring(&mut counts, racer, t);
        }
        counts.fill(0.0);
        counts[0] = 1.0;
        for (row, racer) in self.behind.chunks_mut(self.room).zip(racers).rev() {
            let mut sum = 0.0;
            for (at_most, exactly) in row.iter_mut().zip(&counts) {
                sum += exactly;
                *at_most = sum;
            }
            ring(&mut counts, racer, t);
        }
    }

    /// The part of a racer's records that is given if it rings now: of `records`, as many as there is room for.
    fn share_given(&self, racer: usize, records: usize) -> f64 {
        let row = racer * self.room..(racer + 1) * self.room;
        let (before, behind) = (&self.before[row.clone()], &self.behind[row]);
        let given = (1..=records.min(self.room)).map(|nth| {
            let left = self.room - nth;
            (0..=left).map(|n| before[n] * behind[left - n]).sum::<f64>()
        });
        given.sum::<f64>() / records as f64
    }
}

/// Adds a racer to the counts: it has rung by `t` or not. Counts over the room are dropped.
fn ring(counts: &mut [f64], racer: &Racer, t: f64) {
    let silent = (-racer.weight * t).exp();
    let rung = -(-racer.weight * t).exp_m1();
    for n in (0..counts.len()).rev() {
        let joined = n.checked_sub(racer.records).map_or(0.0, |rest| counts[rest] * rung);
        counts[n] = counts[n] * silent + joined;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::steering::Tier;

    /// From here on, endpoints are aliases.
    const ALIASES: u32 = 1000;

    fn is_alias(endpoint: EndpointId) -> bool {
        endpoint.0 >= ALIASES
    }

    fn share(endpoints: &[u32], weight: f64) -> Share {
        Share { endpoints: endpoints.iter().map(|e| EndpointId(*e)).collect(), weight, path: Vec::new() }
    }

    fn distribution(tiers: &[&[(&[u32], f64)]], draws: usize, limit: usize) -> Distribution {
        let tier = |shares: &[(&[u32], f64)]| Tier { shares: shares.iter().map(|(e, w)| share(e, *w)).collect() };
        let tiers = tiers.iter().map(|shares| tier(shares)).collect();
        Distribution { tiers, draws, limit, blanks: Vec::new() }
    }

    /// Every course that the draws can take, one by one, as the packet path would.
    fn walk(
        dist: &Distribution,
        used: &mut Vec<(usize, usize)>,
        given: &[EndpointId],
        chance: f64,
        odds: &mut Vec<(f64, f64)>,
    ) {
        let open = dist.tiers.iter().enumerate().map(|(at, tier)| {
            let shares =
                tier.shares.iter().enumerate().filter(|(i, share)| {
                    !used.contains(&(at, *i)) && (given.is_empty() || !is_alias(share.endpoints[0]))
                });
            (at, shares.collect::<Vec<_>>())
        });
        let next = open.into_iter().find(|(_, shares)| !shares.is_empty());
        let ended =
            used.len() == dist.draws || given.len() >= dist.limit || given.first().is_some_and(|e| is_alias(*e));
        let Some((at, shares)) = next.filter(|_| !ended) else {
            for endpoint in given {
                let place =
                    dist.tiers.iter().flat_map(|t| &t.shares).flat_map(|s| &s.endpoints).position(|e| e == endpoint);
                let (odd, part) = &mut odds[place.unwrap()];
                *odd += chance;
                *part += chance / given.len() as f64;
            }
            return;
        };
        let total: f64 = shares.iter().map(|(_, share)| share.weight).sum();
        for (i, share) in shares {
            let size = share.endpoints.len();
            for turn in 0..size {
                let rotated = (0..size).map(|n| share.endpoints[(turn + n) % size]);
                let mut more = given.to_vec();
                more.extend(rotated.take(dist.limit - given.len()));
                used.push((at, i));
                walk(dist, used, &more, chance * share.weight / total / size as f64, odds);
                used.pop();
            }
        }
    }

    /// Odds and parts of each endpoint.
    fn brute_force(dist: &Distribution) -> (Vec<f64>, Vec<f64>) {
        let mut odds = vec![(0.0, 0.0); dist.tiers.iter().flat_map(|t| &t.shares).map(|s| s.endpoints.len()).sum()];
        walk(dist, &mut Vec::new(), &[], 1.0, &mut odds);
        odds.into_iter().unzip()
    }

    fn check(sentence: &str, dist: &Distribution, expected: &[f64]) {
        let odds = dist.probabilities(is_alias);
        assert_eq!(odds.len(), expected.len(), "{sentence}");
        for ((endpoint, odd), expected) in odds.iter().zip(expected) {
            assert!((odd - expected).abs() < 1e-9, "{sentence}: {endpoint:?} {odd}, expected {expected}");
        }
    }

    #[test]
    fn odds_are_those_of_the_draws() {
        let d = distribution;
        check("one record is by weight", &d(&[&[(&[1], 80.0), (&[2], 20.0)]], 1, 1), &[0.8, 0.2]);
        check("all fit", &d(&[&[(&[1], 80.0), (&[2], 20.0)]], 2, 2), &[1.0, 1.0]);
        check(
            "two of three: 1/2 + 1/4 * 2/3 + 1/4 * 2/3",
            &d(&[&[(&[1], 2.0), (&[2], 1.0), (&[3], 1.0)]], 2, 2),
            &[5.0 / 6.0, 7.0 / 12.0, 7.0 / 12.0],
        );
        check("the next tier fills up", &d(&[&[(&[1], 1.0)], &[(&[2], 3.0), (&[3], 1.0)]], 2, 2), &[1.0, 0.75, 0.25]);
        check("the next tier is not reached", &d(&[&[(&[1], 1.0)], &[(&[2], 1.0)]], 1, 1), &[1.0, 0.0]);
        check("one draw gives its whole group", &d(&[&[(&[1, 2, 3], 1.0), (&[4], 1.0)]], 1, 64), &[0.5; 4]);
        check("a group is cut", &d(&[&[(&[1, 2, 3, 4], 1.0)]], 3, 3), &[0.75; 4]);
        check("an alias stands alone", &d(&[&[(&[1000], 1.0), (&[1], 1.0), (&[2], 2.0)]], 2, 2), &[0.25, 0.75, 0.75]);
        check("aliases only", &d(&[&[(&[1000], 1.0), (&[1001], 3.0)], &[(&[1], 1.0)]], 2, 2), &[0.25, 0.75, 0.0]);
        check(
            "a later alias is passed over",
            &d(&[&[(&[1], 1.0)], &[(&[1000], 1.0), (&[2], 1.0)]], 2, 2),
            &[1.0, 0.0, 1.0],
        );
        check("nothing", &d(&[], 1, 1), &[]);
    }

    #[test]
    fn weights_a_billion_apart_keep_nine_digits() {
        let dist = distribution(&[&[(&[1], 1e9), (&[2], 1.0), (&[3], 3e4), (&[4], 7.0), (&[5], 1e6)]], 3, 3);
        check("wide weights", &dist, &brute_force(&dist).0);
    }

    #[test]
    fn a_large_pool_adds_up() {
        let shares: Vec<Share> = (0..300).map(|e| share(&[e], f64::from(1 + e % 17))).collect();
        for limit in [8, 64] {
            let dist =
                Distribution { tiers: vec![Tier { shares: shares.clone() }], draws: limit, limit, blanks: Vec::new() };
            let sum: f64 = dist.probabilities(is_alias).iter().map(|(_, odd)| odd).sum();
            assert!((sum - limit as f64).abs() < 1e-9, "{sum}");
        }
    }

    fn any_distribution() -> impl Strategy<Value = Distribution> {
        let share = (1_usize..4, 1_u32..1000, prop::bool::weighted(0.2));
        let tier = prop::collection::vec(share, 1..4);
        (prop::collection::vec(tier, 1..3), 1_usize..6, any::<bool>()).prop_map(|(tiers, answers, says_nothing)| {
            let mut next = 0;
            let mut share = |(size, weight, alias): (usize, u32, bool)| {
                let base = if alias { ALIASES } else { 0 };
                let size = if alias { 1 } else { size };
                next += size as u32;
                let endpoints = (next - size as u32..next).map(|e| EndpointId(base + e)).collect();
                Share { endpoints, weight: f64::from(weight), path: Vec::new() }
            };
            let tiers = tiers.into_iter().map(|t| Tier { shares: t.into_iter().map(&mut share).collect() }).collect();
            let (draws, limit) = if says_nothing { (1, 64) } else { (answers, answers) };
            Distribution { tiers, draws, limit, blanks: Vec::new() }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn odds_equal_those_of_every_course_walked(dist in any_distribution()) {
            let (odds, parts) = brute_force(&dist);
            for ((endpoint, odd), expected) in dist.probabilities(is_alias).into_iter().zip(odds) {
                prop_assert!((odd - expected).abs() < 1e-9, "{:?}: {} and not {}", endpoint, odd, expected);
            }
            for ((endpoint, part), expected) in dist.parts(is_alias).into_iter().zip(parts) {
                prop_assert!((part - expected).abs() < 1e-9, "part of {:?}: {} and not {}", endpoint, part, expected);
            }
        }
    }
}
