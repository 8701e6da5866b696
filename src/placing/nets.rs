//! The nets of regions and selectors. All nets around a client together have one meaning, its *ground*: the longest net
//! of a region determines the region, and a selector matches if any of its nets contains the client.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use crate::model::{RegionId, Selector, SelectorId};
use crate::placing::address::{Address, EMBEDDINGS, embedded_net};
use crate::placing::sweep::ValuedNet;

/// What the nets around a client mean together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Ground {
    /// The region with the longest net around the client.
    pub(super) region: Option<RegionId>,
    /// The selectors that match by a net, sorted by id, each once.
    pub(super) selectors: Vec<SelectorId>,
}

/// The number of a ground; 0 is the ground outside all nets.
pub(super) type GroundId = u32;

/// All nets with their grounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Nets {
    pub(super) v4: Vec<ValuedNet<u32, GroundId>>,
    pub(super) v6: Vec<ValuedNet<u128, GroundId>>,
    /// The grounds by their numbers.
    pub(super) grounds: Vec<Ground>,
}

/// The region and the selectors that one net is listed in.
type Listing = (Option<RegionId>, Vec<SelectorId>);

impl Nets {
    /// The nets of the regions (`claims`) and of the selectors.
    pub(super) fn of(claims: &[Selector], selectors: &[Selector]) -> Nets {
        let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
        // IPv4 nets written as IPv6 come last: if two regions have one net, the one that wrote it as IPv4 gets it.
        for embedded in [false, true] {
            let mut list_net = |net: &IpNet, region, selector| match *net {
                IpNet::V4(net) if !embedded => {
                    list(&mut v4, (net.network().to_bits(), net.prefix_len()), region, selector)
                }
                IpNet::V6(net) => {
                    let (start, len) = (net.network().to_bits(), net.prefix_len());
                    match embedded_net(start, len) {
                        // Longer than an IPv4 address: it matches no client.
                        Some((_, 33..)) => {}
                        Some(net) if embedded => list(&mut v4, net, region, selector),
                        None if !embedded => list(&mut v6, (start, len), region, selector),
                        Some(_) | None => {}
                    }
                }
                IpNet::V4(_) => {}
            };
            for (at, claim) in claims.iter().enumerate() {
                claim.nets.iter().for_each(|net| list_net(net, Some(RegionId(at as u16)), None));
            }
            for (at, selector) in selectors.iter().enumerate() {
                selector.nets.iter().for_each(|net| list_net(net, None, Some(SelectorId(at as u16))));
            }
        }
        let mut grounds = Grounds::default();
        let (v4, v6) = (grounds.nested(v4), grounds.nested(v6));
        Nets { v4, v6, grounds: grounds.all }
    }

    /// The IPv6 nets whose addresses contain an IPv4 address, all with the same value.
    pub(super) fn embeddings<V: Copy>(value: V) -> impl Iterator<Item = ValuedNet<u128, V>> {
        EMBEDDINGS.into_iter().map(move |e| ValuedNet { start: e.start, len: e.len, value })
    }
}

fn list<A: Ord>(
    nets: &mut BTreeMap<(A, u8), Listing>,
    net: (A, u8),
    region: Option<RegionId>,
    selector: Option<SelectorId>,
) {
    let (own, selectors) = nets.entry(net).or_default();
    *own = own.or(region);
    selectors.extend(selector);
}

/// Grounds, each once.
struct Grounds {
    all: Vec<Ground>,
    known: HashMap<Ground, GroundId>,
}

impl Default for Grounds {
    fn default() -> Grounds {
        Grounds { all: vec![Ground::default()], known: HashMap::from([(Ground::default(), 0)]) }
    }
}

impl Grounds {
    /// The ground of each net: its own meaning with that of the nets around it, which come before it in `nets`.
    fn nested<A: Address>(&mut self, nets: BTreeMap<(A, u8), Listing>) -> Vec<ValuedNet<A, GroundId>> {
        let mut around: Vec<(A, GroundId)> = Vec::new();
        let mut nested = Vec::with_capacity(nets.len());
        for ((start, len), (region, selectors)) in nets {
            while around.last().is_some_and(|(last, _)| *last < start) {
                around.pop();
            }
            let outer = &self.all[around.last().map_or(0, |(_, ground)| *ground as usize)];
            let ground = Ground { region: region.or(outer.region), selectors: union(&outer.selectors, &selectors) };
            let value = self.number(ground);
            around.push((start.last_of(len), value));
            nested.push(ValuedNet { start, len, value });
        }
        nested
    }

    fn number(&mut self, ground: Ground) -> GroundId {
        let next = self.all.len() as GroundId;
        *self.known.entry(ground).or_insert_with_key(|ground| {
            self.all.push(ground.clone());
            next
        })
    }
}

/// The nets that are not longer than a cut-off.
pub(super) fn up_to<A: Copy, V: Copy>(cutoff: Option<u8>, nets: &[ValuedNet<A, V>]) -> Vec<ValuedNet<A, V>> {
    nets.iter().filter(|net| cutoff.is_none_or(|longest| net.len <= longest)).copied().collect()
}

/// The entries of both lists, sorted, each once.
pub(super) fn union(one: &[SelectorId], other: &[SelectorId]) -> Vec<SelectorId> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all.dedup();
    all
}
