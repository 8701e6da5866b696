//! A [`ClientTable`]: the class of each client address. All addresses of a family are divided into ranges in sorted
//! arrays; neighbours have different classes. A lookup is one step through an index and a short search. The scope of an
//! answer follows from the ends of the range. IPv4 in IPv6 (mapped, 6to4, NAT64) counts as IPv4.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::spans::Spans;
use crate::model::{ClassId, ClassRanges, ClientRule, Clients};
use crate::placing::address::{Address, embedded_address, embedded_net};
use crate::placing::nets::{Nets, up_to};
use crate::placing::sweep::{ValuedNet, cut_along, mapped};

/// Longest-prefix table from an address to its class.
///
/// A rule for IPv4 in IPv6 (`::ffff:192.0.2.0/120`) counts as a rule for that IPv4 net, unless the net has its own. An
/// IPv6 rule for all of such a range, or for more, does not apply to the IPv4 addresses in it.
#[derive(Debug, Clone)]
pub struct ClientTable {
    v4: IndexedRanges<u32>,
    v6: IndexedRanges<u128>,
    /// Whether IPv4 in IPv6 is looked up in `v4`. False if all IPv4 addresses have one class: then `v6` has that class
    /// for them, and a scope may contain IPv4 in IPv6 and other addresses.
    folds: bool,
}

impl ClientTable {
    /// Compiles a table.
    ///
    /// With a projection, `projection[c]` replaces class `c`, and neighbours that are then equal become one range. So a
    /// scope is the shortest that is true for the classes that the projection distinguishes.
    ///
    /// With a cut-off (bits of IPv4 and of IPv6), longer nets are ignored, and all addresses of a net of that length
    /// have the facts of its first address. So no scope is longer than the cut-off. A cut-off that the clients were not
    /// placed for is ignored.
    pub fn compile(clients: &Clients, projection: Option<&[ClassId]>, cutoff: Option<(u8, u8)>) -> ClientTable {
        let project = |class: ClassId| match projection {
            Some(projection) => projection.get(usize::from(class.0)).copied().unwrap_or(class),
            None => class,
        };
        let ranges = class_ranges(clients, cutoff);
        let v4 = mapped(&ranges.v4, project);
        let folds = v4.count() > 1;
        let embedded = if folds { EMBEDDED } else { v4.values[0] };
        let v6 = mapped(&ranges.v6, |class| if class == EMBEDDED { embedded } else { project(class) });
        ClientTable { v4: IndexedRanges::of(v4), v6: IndexedRanges::of(v6), folds }
    }

    /// How many ranges it has.
    pub fn ranges(&self) -> usize {
        self.v4.starts.len() + self.v6.starts.len()
    }

    /// The class of `ip`, and the length of the shortest prefix around it, in its own family, in which all addresses
    /// have that class; 0 if all addresses of the family have it.
    pub fn lookup(&self, ip: IpAddr) -> (ClassId, u8) {
        match ip {
            IpAddr::V4(ip) => self.v4.lookup(ip.to_bits()),
            IpAddr::V6(ip) => match embedded_address(ip).filter(|_| self.folds) {
                Some((v4, offset)) => {
                    let (class, scope) = self.v4.lookup(v4);
                    (class, offset + scope)
                }
                None => self.v6.lookup(ip.to_bits()),
            },
        }
    }
}

/// In the IPv6 table it means "look in the IPv4 table", so that no scope contains both kinds. No client has this class.
pub(super) const EMBEDDED: ClassId = ClassId(u16::MAX);

/// The class of every address, with a cut-off.
fn class_ranges(clients: &Clients, cutoff: Option<(u8, u8)>) -> Cow<'_, ClassRanges> {
    let Some(placement) = &clients.placement else {
        return Cow::Owned(ranges_of_rules(&clients.rules, clients.fallback, cutoff));
    };
    let own = placement.ranges.iter().find(|ranges| ranges.cutoff == cutoff);
    match own.or(placement.ranges.first()) {
        Some(ranges) => Cow::Borrowed(ranges),
        None => Cow::Owned(ranges_of_rules(&[], clients.fallback, cutoff)),
    }
}

/// The same for clients that are placed by rules alone, each a net and its class.
fn ranges_of_rules(rules: &[ClientRule], fallback: ClassId, cutoff: Option<(u8, u8)>) -> ClassRanges {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for rule in rules {
        if let IpNet::V4(net) = rule.net {
            v4.push(ValuedNet { start: net.network().to_bits(), len: net.prefix_len(), value: rule.class });
        }
    }
    // These come after the IPv4 rules: if two rules are for one net, the first counts.
    for rule in rules {
        let IpNet::V6(net) = rule.net else { continue };
        let (start, len, value) = (net.network().to_bits(), net.prefix_len(), rule.class);
        match embedded_net(start, len) {
            Some((start, len @ ..=32)) => v4.push(ValuedNet { start, len, value }),
            Some(_) => {}
            None => v6.push(ValuedNet { start, len, value }),
        }
    }
    let (longest_v4, longest_v6) = cutoff.unzip();
    let mut nets_v6 = up_to(longest_v6, &v6);
    nets_v6.extend(Nets::embeddings(EMBEDDED));
    ClassRanges { cutoff, v4: cut_along(up_to(longest_v4, &v4), fallback), v6: cut_along(nets_v6, fallback) }
}

/// All addresses of a family in ranges of one class each; neighbours differ. A range has 6 bytes for IPv4, 18 for IPv6.
#[derive(Debug, Clone)]
struct IndexedRanges<A> {
    /// The first address of each range; that of the first range is zero.
    starts: Vec<A>,
    classes: Vec<ClassId>,
    /// By the first `index_bits` bits of an address: the range of the lowest address with these bits. One more entry
    /// ends the list.
    index: Vec<u32>,
    index_bits: u32,
}

/// The index has about as many entries as there are ranges, and at most 2^20 + 1, 4 MiB. Ranges of IPv6 lie close
/// together: with 2^16 entries a search of a real city database took twice as many steps.
const INDEX_BITS: u32 = 20;

impl<A: Address> IndexedRanges<A> {
    fn of(spans: Spans<A, ClassId>) -> IndexedRanges<A> {
        let mut ranges =
            IndexedRanges { starts: spans.starts, classes: spans.values, index: Vec::new(), index_bits: 0 };
        ranges.fill_index();
        ranges
    }

    fn fill_index(&mut self) {
        self.index_bits = self.starts.len().ilog2().min(INDEX_BITS);
        let mut range = 0;
        for slot in 0..=1_usize << self.index_bits {
            while self.starts.get(range + 1).is_some_and(|start| start.top(self.index_bits) < slot) {
                range += 1;
            }
            self.index.push(range as u32);
        }
    }

    fn lookup(&self, address: A) -> (ClassId, u8) {
        let slot = address.top(self.index_bits);
        let (first, last) = (self.index[slot] as usize, self.index[slot + 1] as usize);
        let at = first + self.starts[first..=last].partition_point(|start| *start <= address) - 1;
        (self.classes[at], self.scope(at, address))
    }

    /// The length of the shortest prefix around `address` within range `at`: one more than the bits that it has in
    /// common with the last address before the range, or with the first one after it.
    fn scope(&self, at: usize, address: A) -> u8 {
        let start = self.starts[at];
        let below = if start == A::ZERO { 0 } else { address.common(start.before()) + 1 };
        let above = self.starts.get(at + 1).map_or(0, |after| address.common(*after) + 1);
        below.max(above) as u8
    }
}
