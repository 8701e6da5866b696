//! Which class a client's address is of, compiled from the placement: a whole family becomes disjoint ranges in sorted
//! arrays, equal neighbours merged, so that a lookup is one step through an index and a short search, and the scope of an
//! answer is read off the ends of the range. IPv4 in IPv6 (mapped, 6to4, NAT64) is IPv4.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::address::{Address, embedded_address};
use crate::model::placement::Placement;
use crate::model::spans::Spans;
use crate::model::{ClassId, Clients};

/// Longest-prefix table from an address to its class.
///
/// A rule for IPv4 in IPv6 (`::ffff:192.0.2.0/120`) counts as one for that IPv4 net, unless the net has its own; an
/// IPv6 rule as wide as such a range, or wider, does not reach the IPv4 addresses in it.
#[derive(Debug, Clone)]
pub struct ClientTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    /// Whether IPv4 in IPv6 is looked up in `v4`. Not when all of IPv4 is of one class: `v6` then says the same, with
    /// scopes that may reach across both.
    folds: bool,
}

impl ClientTable {
    /// Compiles the placement. With a projection, class `c` is told as `projection[c]`, and neighbours that are then equal are
    /// one range, so that a scope is the shortest for what the projection tells apart. With a cut-off (IPv4, IPv6 bits),
    /// nets longer than it aren't seen, and of what databases tell apart within a net of that length the first address
    /// counts, so that no scope is longer.
    pub fn compile(clients: &Clients, projection: Option<&[ClassId]>, cutoff: Option<(u8, u8)>) -> ClientTable {
        let told = |class: ClassId| match projection {
            Some(projection) => projection.get(usize::from(class.0)).copied().unwrap_or(class),
            None => class,
        };
        let placement = match &clients.placement {
            Some(placement) => placement.clone(),
            None => Arc::new(Placement::of_rules(&clients.rules, clients.fallback)),
        };
        let (longest_v4, longest_v6) = cutoff.unzip();
        let v4 = placement.v4(longest_v4, told);
        let folds = v4.starts.len() > 1;
        let embedded = if folds { EMBEDDED } else { v4.values[0] };
        let v6 = placement.v6(longest_v6, embedded, told);
        ClientTable { v4: Ranges::of(v4), v6: Ranges::of(v6), folds }
    }

    /// The class of `ip`, and the shortest prefix length around it, in its own family, whose addresses all have it;
    /// 0 when every address has.
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

/// Stands for "look in the IPv4 table" in the IPv6 one, so that no scope reaches across; never given out.
const EMBEDDED: ClassId = ClassId(u16::MAX);

/// A whole family cut into ranges of one class each, no two neighbours alike. 6 bytes a range of IPv4, 18 of IPv6.
#[derive(Debug, Clone)]
struct Ranges<A> {
    /// Where each begins; the first at zero.
    starts: Vec<A>,
    classes: Vec<ClassId>,
    /// By an address's first `index_bits` bits: the range that holds the lowest of those addresses; one entry more at the end.
    index: Vec<u32>,
    index_bits: u32,
}

/// The index has about as many entries as there are ranges, and at most 2^20 + 1, 4 MiB. Those of IPv6 lie close together:
/// with 2^16 a search of a real city database took twice as many steps.
const INDEX_BITS: u32 = 20;

impl<A: Address> Ranges<A> {
    fn of(spans: Spans<A, ClassId>) -> Ranges<A> {
        let mut ranges = Ranges { starts: spans.starts, classes: spans.values, index: Vec::new(), index_bits: 0 };
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

    /// The shortest prefix around `address` that stays inside range `at`: one bit more than it shares with the last
    /// address before and with the first one after.
    fn scope(&self, at: usize, address: A) -> u8 {
        let start = self.starts[at];
        let below = if start == A::ZERO { 0 } else { address.common(start.before()) + 1 };
        let above = self.starts.get(at + 1).map_or(0, |after| address.common(*after) + 1);
        below.max(above) as u8
    }
}
