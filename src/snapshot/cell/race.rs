//! The draws of a tier in which the client's net decides: a race (Efraimidis and Spirakis, 2006). Each share has an
//! exponential time of rate `weight`. The order of these times is the order of the draws, which is exactly drawing by
//! weight without replacement. The times are made down a tree, so that the choice in each pool is by net or by chance.
//!
//! The time of an inner node is the least time below it, whose rate is the sum of the rates below. So the times below a
//! node with time T are made as follows: each member gets a number X from its own hash (or from chance), exponential
//! with its own rate. The member with the least X has time T, and any other member T + X - least, because exponential
//! times have no memory. A member that is out does not change the numbers of the others: only its own clients move, to
//! its siblings.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::Chance;
use super::exponential::{exponential, least_exponential};
use super::flat_race::FlatRace;
use crate::model::MAX_ENDPOINTS;
use crate::placing::{SplitMix, mix};
use crate::steering::PathStep;

/// The tree of one tier, in order of depth, the root first.
#[derive(Debug)]
pub(super) struct Race {
    nodes: Box<[Node]>,
    /// The shares, where they are one choice by net, and neither few nor many.
    flat: Option<FlatRace>,
}

#[derive(Debug)]
struct Node {
    /// A hash of the path that leads here, the same on every node and after every restart.
    key: u64,
    /// Sum of the weights below.
    rate: f64,
    /// Whether the net decides between it and its siblings.
    by_net: bool,
    below: Below,
}

#[derive(Debug, Clone, Copy)]
enum Below {
    /// The share at this place in its tier.
    Share(u16),
    /// Two nodes or more: `count` from `first` on.
    Choice { first: u16, count: u16 },
}

/// A share in the race.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner<'a> {
    /// Its place in its tier, below `MAX_ENDPOINTS`.
    pub(super) share: u16,
    /// Over 0, finite.
    pub(super) weight: f64,
    /// The members that lead to it.
    pub(super) path: &'a [PathStep],
    /// Distinguishes it from other shares with the same path.
    pub(super) leaf: u64,
}

impl Race {
    /// The tree of a tier; `None` where the net decides no choice in it, and for more than `MAX_ENDPOINTS` shares.
    pub(super) fn among(runners: &[Runner<'_>]) -> Option<Race> {
        if runners.len() < 2 || runners.len() > MAX_ENDPOINTS {
            return None;
        }
        let root = Branch::grow(runners, 0, 0, false);
        if !root.has_choice_by_net() {
            return None;
        }
        let mut nodes: Vec<Node> = Vec::new();
        let mut waiting = VecDeque::from([root]);
        while let Some(branch) = waiting.pop_front() {
            let below = match branch.share {
                Some(share) => Below::Share(share),
                // In order of depth, waiting nodes come before these children.
                None => Below::Choice {
                    first: (nodes.len() + 1 + waiting.len()) as u16,
                    count: branch.children.len() as u16,
                },
            };
            nodes.push(Node { key: branch.key, rate: branch.rate, by_net: branch.by_net, below });
            waiting.extend(branch.children);
        }
        let flat = flat(&nodes);
        Some(Race { nodes: nodes.into(), flat })
    }

    /// The share that is drawn first.
    pub(super) fn first(&self, net: u64, chance: &mut Chance) -> usize {
        let mut at = 0;
        loop {
            match self.nodes[at].below {
                Below::Share(share) => return usize::from(share),
                Below::Choice { first, count } => at = self.soonest(first..first + count, net, chance),
            }
        }
    }

    /// As [`Race::first`]; `None` where it depends on chance.
    pub(super) fn first_without_chance(&self, net: u64) -> Option<usize> {
        let mut at = 0;
        loop {
            match self.nodes[at].below {
                Below::Share(share) => return Some(usize::from(share)),
                Below::Choice { first, count } => {
                    if (first..first + count).any(|member| !self.nodes[usize::from(member)].by_net) {
                        return None;
                    }
                    at = self.soonest(first..first + count, net, &mut Chance(SplitMix(0)));
                }
            }
        }
    }

    /// The probability that each of `count` shares is drawn first; `None` where net and chance decide one choice
    /// together.
    pub(super) fn chances(&self, net: u64, count: usize) -> Option<Vec<f64>> {
        let mut chances = vec![0.0; count];
        let mut open = vec![(0, 1.0)];
        while let Some((at, chance)) = open.pop() {
            let (first, end) = match self.nodes[at].below {
                Below::Share(share) => {
                    *chances.get_mut(usize::from(share))? += chance;
                    continue;
                }
                Below::Choice { first, count } => (first, first + count),
            };
            let members = &self.nodes[usize::from(first)..usize::from(end)];
            if members.iter().all(|member| member.by_net) {
                open.push((self.soonest(first..end, net, &mut Chance(SplitMix(0))), chance));
            } else if members.iter().any(|member| member.by_net) {
                return None;
            } else {
                let total: f64 = members.iter().map(|member| member.rate).sum();
                let parts = members.iter().map(|member| chance * member.rate / total);
                open.extend((usize::from(first)..).zip(parts));
            }
        }
        Some(chances)
    }

    /// Whether the net decides every choice.
    pub(super) fn is_by_net(&self) -> bool {
        self.nodes.iter().skip(1).all(|node| node.by_net)
    }

    #[inline]
    fn soonest(&self, members: Range<u16>, net: u64, chance: &mut Chance) -> usize {
        let (mut soonest, mut least) = (usize::from(members.start), f64::INFINITY);
        for member in members.map(usize::from) {
            let node = &self.nodes[member];
            let number = node.number(net, chance);
            // Most members need no logarithm: they can't be soonest.
            if least_exponential(number) >= least * node.rate {
                continue;
            }
            let time = exponential(number) / node.rate;
            if time < least {
                (soonest, least) = (member, time);
            }
        }
        soonest
    }

    /// The shares, to draw several of them at once; `None` where they are few, many, or not one choice by net.
    pub(super) fn flat(&self) -> Option<&FlatRace> {
        self.flat.as_ref()
    }

    /// Every share in the order in which they are drawn, each once. `N` is at least how many there are.
    pub(super) fn order<const N: usize>(&self, net: u64) -> Order<'_, N> {
        Order { race: self, net, times: [0.0; N], nodes: [0; N], len: 1 }
    }
}

impl Node {
    /// Its random bits among its siblings.
    fn number(&self, net: u64, chance: &mut Chance) -> u64 {
        if self.by_net { mix(net ^ self.key) } else { chance.next() }
    }

    /// Its number X among its siblings.
    fn time(&self, net: u64, chance: &mut Chance) -> f64 {
        exponential(self.number(net, chance)) / self.rate
    }
}

/// The shares of a race that is one choice by net; `None` where they are few or many, or it is not.
fn flat(nodes: &[Node]) -> Option<FlatRace> {
    let mut shares = vec![(0, 0.0); nodes.len().checked_sub(1)?];
    for node in nodes.iter().skip(1) {
        let Below::Share(share) = node.below else { return None };
        *shares.get_mut(usize::from(share)).filter(|_| node.by_net)? = (node.key, node.rate);
    }
    FlatRace::of(&shares)
}

/// A race in progress: the nodes whose parents have been reached, with their times. A heap: none is before its parent,
/// which is at half its place.
pub(super) struct Order<'r, const N: usize> {
    race: &'r Race,
    net: u64,
    /// No two of these nodes lead to the same share, so that there are at most as many as shares.
    times: [f64; N],
    nodes: [u16; N],
    len: usize,
}

impl<const N: usize> Order<'_, N> {
    /// The share with the next time.
    pub(super) fn next(&mut self, chance: &mut Chance) -> Option<usize> {
        loop {
            self.len = self.len.checked_sub(1)?;
            let (time, node) = (self.times[0], usize::from(self.nodes[0]));
            let last = (self.times[self.len], self.nodes[self.len]);
            self.sink(0, last);
            match self.race.nodes[node].below {
                Below::Share(share) => return Some(usize::from(share)),
                Below::Choice { first, count } => self.open(time, first..first + count, chance),
            }
        }
    }

    /// Adds the members of a node with time `time`.
    fn open(&mut self, time: f64, members: Range<u16>, chance: &mut Chance) {
        let start = self.len;
        for member in members {
            self.times[self.len] = self.race.nodes[usize::from(member)].time(self.net, chance);
            self.nodes[self.len] = member;
            self.len += 1;
        }
        let least = self.times[start..self.len].iter().copied().fold(f64::INFINITY, f64::min);
        self.times[start..self.len].iter_mut().for_each(|own| *own = time + (*own - least));
        if start == 0 {
            (0..self.len / 2).rev().for_each(|at| self.sink(at, (self.times[at], self.nodes[at])));
        } else {
            (start..self.len).for_each(|at| self.rise(at));
        }
    }

    /// Puts an entry at the place `at`, which is free, or below.
    fn sink(&mut self, mut at: usize, (time, node): (f64, u16)) {
        loop {
            let mut below = 2 * at + 1;
            if below >= self.len {
                break;
            }
            if below + 1 < self.len && self.times[below + 1] < self.times[below] {
                below += 1;
            }
            if time <= self.times[below] {
                break;
            }
            (self.times[at], self.nodes[at]) = (self.times[below], self.nodes[below]);
            at = below;
        }
        (self.times[at], self.nodes[at]) = (time, node);
    }

    /// Moves the entry at the place `at` up to where it belongs.
    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.times[at] < self.times[(at - 1) / 2] {
            let above = (at - 1) / 2;
            self.times.swap(at, above);
            self.nodes.swap(at, above);
            at = above;
        }
    }
}

/// A node with the nodes below it, while the tree is built.
struct Branch {
    key: u64,
    rate: f64,
    by_net: bool,
    share: Option<u16>,
    children: Vec<Branch>,
}

impl Branch {
    /// The node of the first `depth` steps, which all `runners` have in common. A pool with one member has no choice:
    /// its node is the node below it, with the key of the last choice.
    fn grow(runners: &[Runner<'_>], mut depth: usize, key: u64, by_net: bool) -> Branch {
        if let [only] = runners {
            return Branch { key, rate: only.weight, by_net, share: Some(only.share), children: Vec::new() };
        }
        let mut way = key;
        let children: Vec<Branch> = loop {
            let ways = divide(runners, depth);
            depth += 1;
            if ways.len() > 1 {
                let child = |(&(member, _), (by_net, runners)): (&(u64, u16), &(bool, Vec<Runner<'_>>))| {
                    Branch::grow(runners, depth, mix(way ^ member), *by_net)
                };
                break ways.iter().map(child).collect();
            }
            way = ways.keys().fold(way, |way, (member, _)| mix(way ^ member));
        };
        let rate = children.iter().map(|child| child.rate).sum();
        Branch { key, rate, by_net, share: None, children }
    }

    fn has_choice_by_net(&self) -> bool {
        self.children.iter().any(|child| child.by_net || child.has_choice_by_net())
    }
}

/// The runners by their step at `depth`, and whether the net decides between them. Sorted by the members' own numbers,
/// so that the order in the file does not matter, not even in the last bit of a sum. Runners whose path has ended are
/// members of their own, with the rule of their last pool.
fn divide<'a>(runners: &[Runner<'a>], depth: usize) -> BTreeMap<(u64, u16), (bool, Vec<Runner<'a>>)> {
    let mut ways: BTreeMap<(u64, u16), (bool, Vec<Runner<'a>>)> = BTreeMap::new();
    for runner in runners {
        let (way, by_net) = match runner.path.get(depth) {
            Some(step) => ((step.member, 0), step.by_net),
            None => ((runner.leaf, runner.share), runner.path.last().is_some_and(|step| step.by_net)),
        };
        ways.entry(way).or_insert((by_net, Vec::new())).1.push(*runner);
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// One share is the first of several, whether they are drawn at once or one after the other.
        #[test]
        fn the_first_share_is_the_first_of_several(
            weights in proptest::collection::vec(1.0..60.0_f64, 16..=64), net: u64
        ) {
            let path = |at: u64| [PathStep { member: mix(at), by_net: true }];
            let paths: Vec<_> = (0..weights.len() as u64).map(path).collect();
            let mut runners = Vec::new();
            for ((path, weight), share) in paths.iter().zip(&weights).zip(0..) {
                runners.push(Runner { share, weight: *weight, path, leaf: 0 });
            }
            let race = Race::among(&runners).unwrap();
            let first = race.first(net, &mut Chance(SplitMix(0)));
            let flat = race.flat().unwrap();
            proptest::prop_assert_eq!(flat.selected(2, net).shares().next(), Some(first));
            proptest::prop_assert_eq!(flat.sorted(weights.len(), net).shares().next(), Some(first));
            let mut order = race.order::<64>(net);
            proptest::prop_assert_eq!(order.next(&mut Chance(SplitMix(0))), Some(first));
        }
    }
}
