//! Which class a client's address is of, compiled from the nets: the longest one decides. The nets become disjoint
//! ranges in sorted arrays, equal neighbours merged, so that a lookup is one step through an index and a short search,
//! and the scope of an answer is read off the ends of the range. IPv4 in IPv6 (mapped, 6to4, NAT64) is IPv4.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

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
    /// Compiles the rules. With a projection, class `c` is told as `projection[c]`, and neighbours that are then equal are
    /// one range, so that a scope is the shortest for what the projection tells apart. With a cut-off (IPv4, IPv6 bits),
    /// nets longer than it aren't seen.
    pub fn compile(clients: &Clients, projection: Option<&[ClassId]>, cutoff: Option<(u8, u8)>) -> ClientTable {
        let told = |class: ClassId| match projection {
            Some(projection) => projection.get(usize::from(class.0)).copied().unwrap_or(class),
            None => class,
        };
        let fallback = told(clients.fallback);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for rule in &clients.rules {
            match rule.net {
                IpNet::V4(net) => v4.push(Net::new(net.network().to_bits(), net.prefix_len(), told(rule.class))),
                IpNet::V6(net) => v6.push(Net::new(net.network().to_bits(), net.prefix_len(), told(rule.class))),
            }
        }
        // Behind the nets' own rules: of two for one net, the first is kept.
        v4.extend(v6.iter().filter_map(embedded_net));
        v6.retain(|net| !EMBEDDINGS.iter().any(|e| e.holds(net.start) && net.len >= e.len));
        if let Some((longest_v4, longest_v6)) = cutoff {
            v4.retain(|net| net.len <= longest_v4);
            v6.retain(|net| net.len <= longest_v6);
        }
        let v4 = Ranges::build(v4, fallback);
        let folds = v4.starts.len() > 1;
        let embedded = if folds { EMBEDDED } else { v4.classes[0] };
        v6.extend(EMBEDDINGS.map(|e| Net::new(e.start, e.len, embedded)));
        ClientTable { v4, v6: Ranges::build(v6, fallback), folds }
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

/// A part of IPv6 whose addresses hold an IPv4 address right behind its prefix.
#[derive(Debug, Clone, Copy)]
struct Embedding {
    start: u128,
    len: u8,
}

/// IPv4-mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), NAT64's well-known prefix (RFC 6052, 2.1).
const EMBEDDINGS: [Embedding; 3] = [
    Embedding { start: 0xFFFF << 32, len: 96 },
    Embedding { start: 0x2002 << 112, len: 16 },
    Embedding { start: 0x0064_FF9B << 96, len: 96 },
];

/// Stands for "look in the IPv4 table" in the IPv6 one, so that no scope reaches across; never given out.
const EMBEDDED: ClassId = ClassId(u16::MAX);

impl Embedding {
    fn holds(&self, address: u128) -> bool {
        (address ^ self.start).leading_zeros() >= u32::from(self.len)
    }

    fn v4(&self, address: u128) -> u32 {
        (address >> (128 - 32 - u32::from(self.len))) as u32
    }
}

/// The IPv4 address in an IPv6 one, and how many bits stand before it.
fn embedded_address(ip: Ipv6Addr) -> Option<(u32, u8)> {
    let address = ip.to_bits();
    EMBEDDINGS.iter().find(|e| e.holds(address)).map(|e| (e.v4(address), e.len))
}

/// The IPv4 net that an IPv6 one stands for; `None` where it is wider than IPv4 or finer than one address.
fn embedded_net(net: &Net<u128>) -> Option<Net<u32>> {
    let embedding = EMBEDDINGS.iter().find(|e| e.holds(net.start) && net.len > e.len)?;
    let len = net.len - embedding.len;
    (len <= 32).then(|| Net::new(embedding.v4(net.start), len, net.class))
}

/// An address as a number; two kinds exist.
trait Address: Copy + Ord {
    const ZERO: Self;
    /// The first `bits` bits, at most [`INDEX_BITS`] of them.
    fn top(self, bits: u32) -> usize;
    /// How many leading bits both have in common.
    fn common(self, other: Self) -> u32;
    /// The last address of the net of `len` bits that begins here.
    fn last_of(self, len: u8) -> Self;
    /// `None` after the last.
    fn next(self) -> Option<Self>;
    /// The one before; of the first, itself.
    fn before(self) -> Self;
}

macro_rules! address {
    ($kind:ty) => {
        impl Address for $kind {
            const ZERO: Self = 0;
            fn top(self, bits: u32) -> usize {
                self.checked_shr(Self::BITS - bits).unwrap_or(0) as usize
            }
            fn common(self, other: Self) -> u32 {
                (self ^ other).leading_zeros()
            }
            fn last_of(self, len: u8) -> Self {
                self | <$kind>::MAX.checked_shr(u32::from(len)).unwrap_or(0)
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn before(self) -> Self {
                self.saturating_sub(1)
            }
        }
    };
}

address!(u32);
address!(u128);

/// One net and its class.
#[derive(Debug, Clone, Copy)]
struct Net<A> {
    start: A,
    len: u8,
    class: ClassId,
}

impl<A> Net<A> {
    fn new(start: A, len: u8, class: ClassId) -> Net<A> {
        Net { start, len, class }
    }
}

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

/// The index has at most 2^16 + 1 entries, 256 KiB: it stays in the second-level cache, and leaves some ten steps of
/// search where there are millions of ranges.
const INDEX_BITS: u32 = 16;

impl<A: Address> Ranges<A> {
    /// Cuts the family along `nets`; of two that are alike the first counts; what none holds is of class `rest`.
    fn build(mut nets: Vec<Net<A>>, rest: ClassId) -> Ranges<A> {
        nets.sort_by_key(|net| (net.start, net.len));
        nets.dedup_by_key(|net| (net.start, net.len));
        let mut ranges = Ranges { starts: vec![A::ZERO], classes: vec![rest], index: Vec::new(), index_bits: 0 };
        // The nets around the point that the sweep has reached, widest first.
        let mut around: Vec<(A, ClassId)> = Vec::new();
        for net in nets {
            ranges.close(&mut around, Some(net.start), rest);
            ranges.cut(net.start, net.class);
            around.push((net.start.last_of(net.len), net.class));
        }
        ranges.close(&mut around, None, rest);
        ranges.starts.shrink_to_fit();
        ranges.classes.shrink_to_fit();
        ranges.fill_index();
        ranges
    }

    /// Ends the nets that lie wholly before `until`, or all of them.
    fn close(&mut self, around: &mut Vec<(A, ClassId)>, until: Option<A>, rest: ClassId) {
        while let Some(&(last, _)) = around.last().filter(|(last, _)| until.is_none_or(|until| *last < until)) {
            around.pop();
            if let Some(after) = last.next() {
                self.cut(after, around.last().map_or(rest, |(_, class)| *class));
            }
        }
    }

    /// From `start` on, the class is `class`. Called with rising starts; the last word on one start counts.
    fn cut(&mut self, start: A, class: ClassId) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.classes.pop();
        }
        if self.classes.last() != Some(&class) {
            self.starts.push(start);
            self.classes.push(class);
        }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::model::ClientRule;

    fn clients(rules: &[(&str, u16)]) -> Clients {
        let rules = rules.iter().map(|(net, class)| ClientRule { net: net.parse().unwrap(), class: ClassId(*class) });
        Clients { classes: Vec::new(), rules: rules.collect(), ..Clients::default() }
    }

    fn check(sentence: &str, rules: &[(&str, u16)], cutoff: Option<(u8, u8)>, expected: &[(&str, u16, u8)]) {
        let table = ClientTable::compile(&clients(rules), None, cutoff);
        for &(ip, class, scope) in expected {
            assert_eq!(table.lookup(ip.parse().unwrap()), (ClassId(class), scope), "{sentence}: {ip}");
        }
    }

    #[test]
    fn an_address_is_of_the_class_of_its_longest_net() {
        check("no rule", &[], None, &[("192.0.2.1", 0, 0), ("2001:db8::1", 0, 0), ("::ffff:192.0.2.1", 0, 0)]);
        check(
            "a net in a net",
            &[("10.0.0.0/8", 1), ("10.1.0.0/16", 2)],
            None,
            &[("10.1.2.3", 2, 16), ("10.0.9.9", 1, 16), ("10.128.0.0", 1, 9), ("11.0.0.0", 0, 8), ("192.0.2.1", 0, 1)],
        );
        check(
            "both ends of the space",
            &[("0.0.0.0/1", 1), ("255.255.255.255/32", 2)],
            None,
            &[("0.0.0.0", 1, 1), ("255.255.255.255", 2, 32), ("255.255.255.254", 0, 32), ("128.0.0.0", 0, 2)],
        );
        check("everything", &[("0.0.0.0/0", 3), ("::/0", 3)], None, &[("10.0.0.1", 3, 0), ("2001:db8::1", 3, 0)]);
        check(
            "equal neighbours are one range",
            &[("10.0.0.0/9", 1), ("10.128.0.0/9", 1), ("10.3.0.0/16", 1)],
            None,
            &[("10.3.0.1", 1, 8)],
        );
    }

    #[test]
    fn nets_finer_than_the_cut_off_are_not_seen() {
        let rules = [("10.0.0.0/8", 1), ("10.1.1.0/25", 2), ("2001:db8::/56", 3), ("2001:db8::/64", 4)];
        check("v4", &rules, Some((24, 56)), &[("10.1.1.1", 1, 8), ("2001:db8::1", 3, 56)]);
        check("not cut", &rules, None, &[("10.1.1.1", 2, 25), ("2001:db8::1", 4, 64)]);
    }

    #[test]
    fn a_projection_tells_fewer_classes_apart_and_scopes_are_as_short_as_it_allows() {
        let clients = clients(&[("10.0.0.0/9", 1), ("10.128.0.0/9", 2), ("11.0.0.0/8", 3)]);
        let projection = [0, 1, 1, 3].map(ClassId);
        let table = ClientTable::compile(&clients, Some(&projection), None);
        assert_eq!(table.lookup("10.200.0.1".parse().unwrap()), (ClassId(1), 8));
        let blind = ClientTable::compile(&clients, Some(&[ClassId(0); 4]), None);
        assert_eq!(blind.lookup("10.200.0.1".parse().unwrap()), (ClassId(0), 0));
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4_with_a_scope_of_the_family_asked() {
        let rules = [("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("2000::/3", 3)];
        check(
            "embedded",
            &rules,
            None,
            &[("::ffff:10.1.0.1", 2, 112), ("2002:0a01:0203::1", 2, 32), ("64:ff9b::10.0.0.1", 1, 112)],
        );
        check("a scope in IPv6 never reaches into 6to4", &rules, None, &[("2001::1", 3, 15), ("2003::1", 3, 16)]);
        check("a rule for the mapped net", &[("::ffff:10.0.0.0/104", 1)], None, &[("10.9.9.9", 1, 8)]);
        check(
            "the net's own rule first",
            &[("::ffff:10.0.0.0/104", 1), ("10.0.0.0/8", 2)],
            None,
            &[("10.0.0.1", 2, 8)],
        );
    }

    /// What the table must say, straight from the definition.
    fn oracle(clients: &Clients, ip: IpAddr) -> ClassId {
        let ip = match ip {
            IpAddr::V6(v6) => embedded_address(v6).map_or(ip, |(v4, _)| IpAddr::V4(Ipv4Addr::from_bits(v4))),
            IpAddr::V4(_) => ip,
        };
        let best = clients.rules.iter().filter(|rule| rule.net.contains(&ip)).max_by_key(|rule| rule.net.prefix_len());
        best.map_or(clients.fallback, |rule| rule.class)
    }

    /// The first addresses of a prefix, its last one, and every edge of a rule or embedding in it: if two classes meet
    /// inside the prefix, two of these differ.
    fn probes(clients: &Clients, start: u128, len: u8, bits: u8) -> Vec<u128> {
        let last = start | (u128::MAX.checked_shr(128 - u32::from(bits - len)).unwrap_or(0));
        let mut points = vec![start, last];
        for rule in &clients.rules {
            let (first, end) = match rule.net {
                IpNet::V4(net) => (u128::from(net.network().to_bits()), u128::from(net.broadcast().to_bits())),
                IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
            };
            let own = matches!(rule.net, IpNet::V4(_)) == (bits == 32);
            if own {
                points.extend([first, end, first.saturating_sub(1), end.saturating_add(1)]);
            } else if bits == 128 {
                for e in EMBEDDINGS {
                    let shift = 128 - 32 - u32::from(e.len);
                    points.extend([first, end + 1].map(|v4| e.start + (v4 << shift)));
                    points.extend([first, end + 1].map(|v4| (e.start + (v4 << shift)).saturating_sub(1)));
                }
            }
        }
        if bits == 128 {
            points.extend(EMBEDDINGS.iter().flat_map(|e| [e.start - 1, e.start, e.start.last_of(e.len) + 1]));
        }
        points.retain(|point| (start..=last).contains(point));
        points
    }

    fn ip_of(bits: u8, address: u128) -> IpAddr {
        if bits == 32 { IpAddr::V4((address as u32).into()) } else { IpAddr::V6(address.into()) }
    }

    fn prefix_of(address: u128, len: u8, bits: u8) -> u128 {
        address & !(u128::MAX.checked_shr(128 - u32::from(bits - len)).unwrap_or(0))
    }

    fn is_uniform(clients: &Clients, address: u128, len: u8, bits: u8) -> bool {
        let start = prefix_of(address, len, bits);
        let class = oracle(clients, ip_of(bits, address));
        probes(clients, start, len, bits).into_iter().all(|point| oracle(clients, ip_of(bits, point)) == class)
    }

    /// Nets close together, so that they nest and touch: few leading bits, of which some repeat.
    fn any_rules() -> impl Strategy<Value = Vec<ClientRule>> {
        let v4 = (0_u32..64, 0_u8..=8, any::<bool>()).prop_map(|(top, len, deep)| {
            let (address, len) = if deep { (0xC000_0200 | top, len + 24) } else { (top << 26, len) };
            IpNet::new(Ipv4Addr::from_bits(address).into(), len).unwrap().trunc()
        });
        let v6 = (0_u128..256, 0_u8..=20, any::<bool>()).prop_map(|(top, len, deep)| {
            let (address, len) =
                if deep { (0x2001_0DB8_u128 << 96 | top << 72, len + 36) } else { ((0x2000 + top) << 112, len) };
            IpNet::new(Ipv6Addr::from_bits(address).into(), len).unwrap().trunc()
        });
        prop::collection::vec((prop_oneof![v4, v6], 0_u16..3), 0..12).prop_map(|rules| {
            let mut rules: Vec<ClientRule> =
                rules.into_iter().map(|(net, class)| ClientRule { net, class: ClassId(class) }).collect();
            rules.sort_by_key(|rule| rule.net);
            rules.dedup_by_key(|rule| rule.net);
            // A rule inside an embedding is folded, which the oracle doesn't know.
            rules.retain(|rule| match rule.net {
                IpNet::V6(net) => {
                    !EMBEDDINGS.iter().any(|e| e.holds(net.network().to_bits()) && net.prefix_len() >= e.len)
                }
                IpNet::V4(_) => true,
            });
            rules
        })
    }

    fn any_address() -> impl Strategy<Value = (u8, u128)> {
        prop_oneof![
            any::<u32>().prop_map(|a| (32, u128::from(a))),
            (0_u32..256).prop_map(|a| (32, u128::from(0xC000_0200 | a))),
            any::<u128>().prop_map(|a| (128, a)),
            (0_u128..512, any::<u64>()).prop_map(|(top, low)| (128, (0x2000 + top) << 112 | u128::from(low))),
            (0_u128..256, any::<u64>()).prop_map(|(net, low)| (128, 0x2001_0DB8 << 96 | net << 72 | u128::from(low))),
            (0_usize..3, any::<u32>()).prop_map(|(e, v4)| {
                let e = EMBEDDINGS[e];
                (128, e.start | u128::from(v4) << (96 - u32::from(e.len)))
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        // A failure prints the case itself, minimal, which is more than a seed.
        #[test]
        fn class_and_scope_are_true_and_the_scope_is_the_shortest(rules in any_rules(), (bits, address) in any_address()) {
            let clients = Clients { classes: Vec::new(), rules, ..Clients::default() };
            let (class, scope) = ClientTable::compile(&clients, None, None).lookup(ip_of(bits, address));
            prop_assert_eq!(class, oracle(&clients, ip_of(bits, address)));
            prop_assert!(is_uniform(&clients, address, scope, bits), "scope {} holds another class", scope);
            prop_assert!(scope == 0 || !is_uniform(&clients, address, scope - 1, bits), "scope {} could be shorter", scope);
        }
    }
}
