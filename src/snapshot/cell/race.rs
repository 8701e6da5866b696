//! The draws of a tier in which the client's net has a say: a race (Efraimidis and Spirakis, 2006). Each share rings after
//! an exponential time of rate `weight`, and the order of ringing is the order of the draws, which is the law of drawing by
//! weight without replacement. The times come down a tree, so that each pool's own choice is by net or by chance.
//!
//! A choice rings when the first of those that it is made among does, which is of the sum of their rates. Turned around:
//! when it rings at time T, each member gets a number X from its own hash (or from chance), exponential and of its own
//! rate; the least rings at T, and any other at T + X - least, since an exponential time forgets what has passed. A member
//! that is out leaves the numbers of all others alone: only its own clients go elsewhere, to its siblings.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::Chance;
use crate::model::MAX_ENDPOINTS;
use crate::placing::mix;
use crate::steering::Step;

/// The tree of one tier, in order of depth, the root first.
#[derive(Debug)]
pub(super) struct Race {
    nodes: Box<[Node]>,
}

#[derive(Debug)]
struct Node {
    /// Of the path that leads here, on every node and after every restart the same.
    key: u64,
    /// Sum of the weights below.
    rate: f64,
    /// Whether the net decides between it and its siblings.
    sticky: bool,
    below: Below,
}

#[derive(Debug, Clone, Copy)]
enum Below {
    /// The share at this place in its tier.
    Share(u16),
    /// Two nodes or more: `count` from `first` on.
    Choice { first: u16, count: u16 },
}

/// A share as the tree sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner<'a> {
    /// Its place in its tier, below `MAX_ENDPOINTS`.
    pub(super) share: u16,
    /// Over 0, finite.
    pub(super) weight: f64,
    /// The members that lead to it.
    pub(super) path: &'a [Step],
    /// Tells it from others that the same members lead to.
    pub(super) leaf: u64,
}

impl Race {
    /// The tree of a tier; `None` where no choice in it is the net's, and for more than `MAX_ENDPOINTS` shares.
    pub(super) fn among(runners: &[Runner<'_>]) -> Option<Race> {
        if runners.len() < 2 || runners.len() > MAX_ENDPOINTS {
            return None;
        }
        let root = Branch::grow(runners, 0, 0, false);
        if !root.has_sticky_choice() {
            return None;
        }
        let mut nodes: Vec<Node> = Vec::new();
        let mut waiting = VecDeque::from([root]);
        while let Some(branch) = waiting.pop_front() {
            let below = match branch.share {
                Some(share) => Below::Share(share),
                // Those that wait stand before the children in the order of depth.
                None => Below::Choice {
                    first: (nodes.len() + 1 + waiting.len()) as u16,
                    count: branch.children.len() as u16,
                },
            };
            nodes.push(Node { key: branch.key, rate: branch.rate, sticky: branch.sticky, below });
            waiting.extend(branch.children);
        }
        Some(Race { nodes: nodes.into() })
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

    /// As [`Race::first`]; `None` where chance has a say in it.
    pub(super) fn first_without_chance(&self, net: u64) -> Option<usize> {
        let mut at = 0;
        loop {
            match self.nodes[at].below {
                Below::Share(share) => return Some(usize::from(share)),
                Below::Choice { first, count } => {
                    if (first..first + count).any(|member| !self.nodes[usize::from(member)].sticky) {
                        return None;
                    }
                    at = self.soonest(first..first + count, net, &mut Chance(0));
                }
            }
        }
    }

    fn soonest(&self, members: Range<u16>, net: u64, chance: &mut Chance) -> usize {
        let (mut soonest, mut least) = (usize::from(members.start), f64::INFINITY);
        for member in members.map(usize::from) {
            let time = self.nodes[member].time(net, chance);
            if time < least {
                (soonest, least) = (member, time);
            }
        }
        soonest
    }

    /// Every share in the order in which they are drawn, each once. `N` is at least how many there are.
    pub(super) fn order<const N: usize>(&self, net: u64) -> Order<'_, N> {
        Order { race: self, net, times: [0.0; N], nodes: [0; N], len: 1 }
    }
}

impl Node {
    /// When it would ring if only it and its siblings were there.
    fn time(&self, net: u64, chance: &mut Chance) -> f64 {
        let number = if self.sticky { mix(net ^ self.key) } else { chance.next() };
        exponential(number) / self.rate
    }
}

/// An exponential time of rate 1 from 64 even bits, of which it uses 53. The logarithm is not the machine's own: those of
/// two C libraries, or of two processors, may differ in the last bit, and the nodes of a fleet must agree.
fn exponential(number: u64) -> f64 {
    const TWO_TO_53: f64 = (1_u64 << 53) as f64;
    -libm::log(((number >> 11) + 1) as f64 / TWO_TO_53)
}

/// A race under way: the nodes that no choice above them holds back, and when they ring.
pub(super) struct Order<'r, const N: usize> {
    race: &'r Race,
    net: u64,
    /// No two nodes in here lead to the same share, so that there are never more than shares.
    times: [f64; N],
    nodes: [u16; N],
    len: usize,
}

impl<const N: usize> Order<'_, N> {
    /// The share that rings next.
    pub(super) fn next(&mut self, chance: &mut Chance) -> Option<usize> {
        loop {
            let next = (0..self.len).min_by(|a, b| self.times[*a].total_cmp(&self.times[*b]))?;
            let (time, node) = (self.times[next], usize::from(self.nodes[next]));
            self.len -= 1;
            self.times[next] = self.times[self.len];
            self.nodes[next] = self.nodes[self.len];
            match self.race.nodes[node].below {
                Below::Share(share) => return Some(usize::from(share)),
                Below::Choice { first, count } => self.open(time, first..first + count, chance),
            }
        }
    }

    /// Adds the members of a choice that rings at `time`.
    fn open(&mut self, time: f64, members: Range<u16>, chance: &mut Chance) {
        let start = self.len;
        for member in members {
            self.times[self.len] = self.race.nodes[usize::from(member)].time(self.net, chance);
            self.nodes[self.len] = member;
            self.len += 1;
        }
        let least = self.times[start..self.len].iter().copied().fold(f64::INFINITY, f64::min);
        self.times[start..self.len].iter_mut().for_each(|own| *own = time + (*own - least));
    }
}

/// A node with what is below it, while the tree grows.
struct Branch {
    key: u64,
    rate: f64,
    sticky: bool,
    share: Option<u16>,
    children: Vec<Branch>,
}

impl Branch {
    /// The node that the first `depth` steps lead to, which all `runners` have in common. A member without rivals is no
    /// choice: its node is that of what is below it, under the key of where there was something to choose.
    fn grow(runners: &[Runner<'_>], mut depth: usize, key: u64, sticky: bool) -> Branch {
        if let [only] = runners {
            return Branch { key, rate: only.weight, sticky, share: Some(only.share), children: Vec::new() };
        }
        let mut way = key;
        let children: Vec<Branch> = loop {
            let ways = divide(runners, depth);
            depth += 1;
            if ways.len() > 1 {
                let child = |(&(member, _), (sticky, runners)): (&(u64, u16), &(bool, Vec<Runner<'_>>))| {
                    Branch::grow(runners, depth, mix(way ^ member), *sticky)
                };
                break ways.iter().map(child).collect();
            }
            way = ways.keys().fold(way, |way, (member, _)| mix(way ^ member));
        };
        let rate = children.iter().map(|child| child.rate).sum();
        Branch { key, rate, sticky, share: None, children }
    }

    fn has_sticky_choice(&self) -> bool {
        self.children.iter().any(|child| child.sticky || child.has_sticky_choice())
    }
}

/// By the step at `depth`: whether it is sticky, and whom it leads to. In the order of the members' own numbers, so that
/// the order of listing has no say, not even in the last bit of a sum. Those whose path has ended go each their own way,
/// divided as the last of their pools divides.
fn divide<'a>(runners: &[Runner<'a>], depth: usize) -> BTreeMap<(u64, u16), (bool, Vec<Runner<'a>>)> {
    let mut ways: BTreeMap<(u64, u16), (bool, Vec<Runner<'a>>)> = BTreeMap::new();
    for runner in runners {
        let (way, sticky) = match runner.path.get(depth) {
            Some(step) => ((step.member, 0), step.sticky),
            None => ((runner.leaf, runner.share), runner.path.last().is_some_and(|step| step.sticky)),
        };
        ways.entry(way).or_insert((sticky, Vec::new())).1.push(*runner);
    }
    ways
}
