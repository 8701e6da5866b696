//! The order in which connections are displaced: a tree of sites, their nets and their connections. The heaviest site
//! comes first, in it the heaviest net, in that the least useful connection; of sites or nets of equal weight, the one
//! with the least useful connection. Every change costs the logarithm of the number of connections.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::SourceNet;

/// How useful a connection is: the least useful one is displaced first. Its number makes it unique.
pub(super) type Usefulness = (u64, u64);

/// What orders sites, and the nets of a site: how many connections there are, and how useful the one is that would be
/// displaced.
type Weight = (Reverse<usize>, Usefulness);

/// All connections, in order.
#[derive(Debug, Default)]
pub(super) struct DisplacementOrder {
    sites: HashMap<SourceNet, Site>,
    by_weight: BTreeSet<(Weight, SourceNet)>,
}

#[derive(Debug, Default)]
struct Site {
    count: usize,
    nets: HashMap<SourceNet, BTreeSet<Usefulness>>,
    by_weight: BTreeSet<(Weight, SourceNet)>,
}

impl DisplacementOrder {
    pub(super) fn insert(&mut self, net: SourceNet, rank: Usefulness) {
        self.change(net, |ranks| ranks.insert(rank));
    }

    pub(super) fn remove(&mut self, net: SourceNet, rank: Usefulness) {
        self.change(net, |ranks| ranks.remove(&rank));
    }

    /// The connection that makes room for one more of `newcomer`'s net: one of the heaviest site's, where the newcomer
    /// counts already, so that of two nets of equal weight the one that grows pays. Without a newcomer, one of the
    /// heaviest site's.
    pub(super) fn first(&self, newcomer: Option<SourceNet>) -> Option<Usefulness> {
        let own = newcomer.and_then(|net| Some((self.sites.get(&net.site())?, net)));
        let (weight, heaviest) = self.by_weight.first()?;
        match own {
            Some((site, net)) if site.count + 1 > weight.0.0 => site.first(Some(net)),
            Some(_) | None => self.sites.get(heaviest)?.first(None),
        }
    }

    fn change(&mut self, net: SourceNet, change: impl FnOnce(&mut BTreeSet<Usefulness>) -> bool) {
        let site = self.sites.entry(net.site()).or_default();
        if let Some(weight) = site.weight() {
            self.by_weight.remove(&(weight, net.site()));
        }
        site.change(net, change);
        match site.weight() {
            Some(weight) => drop(self.by_weight.insert((weight, net.site()))),
            None => drop(self.sites.remove(&net.site())),
        }
    }
}

impl Site {
    fn first(&self, newcomer: Option<SourceNet>) -> Option<Usefulness> {
        let own = newcomer.and_then(|net| self.nets.get(&net));
        let ((Reverse(most), rank), _) = self.by_weight.first()?;
        match own {
            Some(ranks) if ranks.len() + 1 > *most => ranks.first().copied(),
            Some(_) | None => Some(*rank),
        }
    }

    fn weight(&self) -> Option<Weight> {
        let ((_, rank), _) = self.by_weight.first()?;
        Some((Reverse(self.count), *rank))
    }

    fn change(&mut self, net: SourceNet, change: impl FnOnce(&mut BTreeSet<Usefulness>) -> bool) {
        let ranks = self.nets.entry(net).or_default();
        let before = ranks.len();
        if let Some(weight) = weight_of(ranks) {
            self.by_weight.remove(&(weight, net));
        }
        change(ranks);
        self.count = self.count + ranks.len() - before;
        match weight_of(ranks) {
            Some(weight) => drop(self.by_weight.insert((weight, net))),
            None => drop(self.nets.remove(&net)),
        }
    }
}

fn weight_of(ranks: &BTreeSet<Usefulness>) -> Option<Weight> {
    ranks.first().map(|rank| (Reverse(ranks.len()), *rank))
}
