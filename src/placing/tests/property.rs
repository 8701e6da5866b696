//! In random worlds, the class of any address is as defined, and its scope is true and the shortest. The definition is
//! written here a second time, as plainly as possible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use crate::model::{
    ClassId, ClientClass, ClientSources, Clients, Continent, Country, Database, Facts, FileStamp, Location, Point,
    Region, RegionId, Selector, SelectorId,
};
use crate::placing::address::{Address, EMBEDDINGS, folded};
use crate::placing::test_addresses::any_address;
use crate::placing::{ClientTable, DatabaseBuilder, place};

const PLACES: [(f64, f64); 3] = [(53.3, -6.3), (-33.9, 151.2), (1.3, 103.8)];
const CODES: [&str; 4] = ["DE", "FR", "US", "JP"];

#[derive(Debug, Clone)]
struct World {
    regions: Vec<Region>,
    claims: Vec<Selector>,
    selectors: Vec<Selector>,
    default: Option<RegionId>,
    /// Of each database, its nets.
    databases: Vec<Vec<(IpNet, Facts)>>,
    cutoff: Option<(u8, u8)>,
    /// How many classes the projection distinguishes.
    distinct: u16,
}

impl World {
    fn clients(&self) -> Clients {
        let sources = ClientSources {
            regions: self.regions.clone(),
            claims: self.claims.clone(),
            default: self.default,
            databases: self.databases.iter().map(|nets| database(nets)).collect(),
            cutoffs: self.cutoff.into_iter().collect(),
        };
        place(sources, &self.selectors, None).unwrap()
    }

    /// What the class of `ip` must be.
    fn class(&self, ip: IpAddr) -> ClientClass {
        let ip = folded(ip);
        let longest = match (self.cutoff, ip) {
            (Some((v4, _)), IpAddr::V4(_)) => v4,
            (Some((_, v6)), IpAddr::V6(_)) => v6,
            (None, _) => 128,
        };
        let holds = |net: &&IpNet| net.prefix_len() <= longest && net.contains(&ip);
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let first = IpNet::new(ip, longest.min(bits)).unwrap().network();
        let facts = self.databases.iter().fold(Facts::default(), |facts, nets| {
            let found = nets.iter().find(|(net, _)| net.contains(&first));
            facts.or(found.map(|(_, facts)| *facts).unwrap_or_default())
        });
        let claims = || self.claims.iter().enumerate();
        let by_net = claims()
            .flat_map(|(at, claim)| claim.nets.iter().filter(holds).map(move |net| (net.prefix_len(), at)))
            .max_by_key(|(len, _)| *len)
            .map(|(_, at)| at);
        let by_asn = || claims().find(|(_, c)| facts.asn.is_some_and(|asn| c.asns.contains(&asn))).map(|(at, _)| at);
        let by_country =
            || claims().find(|(_, c)| facts.country.is_some_and(|x| c.countries.contains(&x))).map(|(at, _)| at);
        let by_continent =
            || claims().find(|(_, c)| facts.continent.is_some_and(|x| c.continents.contains(&x))).map(|(at, _)| at);
        let nearest = || {
            let here = facts.point?.location();
            let metres = |region: &Region| region.location.map(|place| place.metres_to(here));
            let near = self.regions.iter().enumerate().filter_map(|(at, region)| Some((at, metres(region)?)));
            near.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
        };
        let region = by_net.or_else(by_asn).or_else(by_country).or_else(by_continent).or_else(nearest);
        let region = region.map(|at| RegionId(at as u16)).or(self.default);
        let is_unknown = facts.country.is_none() && facts.continent.is_none();
        let is_selected = |selector: &Selector| {
            let by_region = || {
                let Some(region) = region else { return selector.unknown };
                let claim = &self.claims[usize::from(region.0)];
                let mut continents = claim.continents.clone();
                if continents.is_empty() {
                    continents.extend(claim.countries.iter().map(|country| country.continent()));
                }
                claim.countries.iter().any(|country| selector.countries.contains(country))
                    || continents.iter().any(|continent| selector.continents.contains(continent))
            };
            selector.nets.iter().any(|net| holds(&net))
                || region.is_some_and(|region| selector.regions.contains(&region))
                || facts.asn.is_some_and(|asn| selector.asns.contains(&asn))
                || facts.country.is_some_and(|country| selector.countries.contains(&country))
                || facts.continent.is_some_and(|continent| selector.continents.contains(&continent))
                || (is_unknown && by_region())
        };
        let selectors = self.selectors.iter().enumerate().filter(|(_, selector)| is_selected(selector));
        ClientClass { region, selectors: selectors.map(|(at, _)| SelectorId(at as u16)).collect() }
    }

    /// Addresses of which two differ, if any two within a prefix do: its ends, and both sides of every edge in it.
    fn probes(&self, start: u128, len: u8, bits: u8) -> Vec<IpAddr> {
        let last = start | u128::MAX.checked_shr(128 - u32::from(bits - len)).unwrap_or(0);
        let listed = self.claims.iter().chain(&self.selectors).flat_map(|of| of.nets.iter().copied());
        let known = self.databases.iter().flatten().map(|(net, _)| *net);
        let mut points = vec![start, last];
        for net in listed.chain(known) {
            let (v4, v6) = self.cutoff.unwrap_or((32, 128));
            let edges: Vec<u128> = match net {
                IpNet::V4(net) => {
                    let edges = [Some(net.network().to_bits()), net.broadcast().to_bits().checked_add(1)];
                    edges.into_iter().flatten().filter_map(|edge| Some(u128::from(edge.first_from(v4)?))).collect()
                }
                IpNet::V6(net) => {
                    let edges = [Some(net.network().to_bits()), net.broadcast().to_bits().checked_add(1)];
                    edges.into_iter().flatten().filter_map(|edge| edge.first_from(v6)).collect()
                }
            };
            for edge in edges {
                match (net, bits) {
                    (IpNet::V4(_), 32) | (IpNet::V6(_), 128) => points.extend([edge.saturating_sub(1), edge]),
                    (IpNet::V4(_), _) => {
                        for e in EMBEDDINGS {
                            let edge = e.start + (edge << (96 - u32::from(e.len)));
                            points.extend([edge - 1, edge]);
                        }
                    }
                    (IpNet::V6(_), _) => {}
                }
            }
        }
        if bits == 128 {
            points.extend(EMBEDDINGS.iter().flat_map(|e| [e.start - 1, e.start, e.start.last_of(e.len) + 1]));
        }
        points.into_iter().filter(|point| (start..=last).contains(point)).map(|point| ip_of(bits, point)).collect()
    }
}

fn database(nets: &[(IpNet, Facts)]) -> Arc<Database> {
    let mut builder = DatabaseBuilder::new("made up".into(), FileStamp::default());
    for (net, facts) in nets {
        let number = builder.add_facts(*facts);
        assert!(builder.add(*net, number));
    }
    Arc::new(builder.finish())
}

fn ip_of(bits: u8, address: u128) -> IpAddr {
    if bits == 32 { IpAddr::V4((address as u32).into()) } else { IpAddr::V6(address.into()) }
}

/// Nets close together, so that they nest and touch.
fn any_net() -> impl Strategy<Value = IpNet> {
    let v4 = (0_u32..64, 0_u8..=8, any::<bool>()).prop_map(|(top, len, deep)| {
        let (address, len) = if deep { (0xC000_0200 | top, len + 24) } else { (top << 26, len) };
        IpNet::new(Ipv4Addr::from_bits(address).into(), len).unwrap().trunc()
    });
    let v6 = (0_u128..256, 0_u8..=20, any::<bool>()).prop_map(|(top, len, deep)| {
        let (address, len) =
            if deep { (0x2001_0DB8_u128 << 96 | top << 72, len + 36) } else { ((0x2000 + top) << 112, len) };
        IpNet::new(Ipv6Addr::from_bits(address).into(), len).unwrap().trunc()
    });
    // One inside an embedding is IPv4 in another dress, which has tests of its own.
    prop_oneof![v4, v6].prop_filter("a net of its own family", |net| match net {
        IpNet::V6(net) => !EMBEDDINGS.iter().any(|e| e.holds(net.network().to_bits()) && net.prefix_len() >= e.len),
        IpNet::V4(_) => true,
    })
}

fn any_country() -> impl Strategy<Value = Country> {
    (0..CODES.len()).prop_map(|at| Country::parse(CODES[at]).unwrap())
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let continent = (0..Continent::ALL.len()).prop_map(|at| Continent::ALL[at]);
    let place = (-90.0..90.0_f64, -180.0..180.0_f64);
    (
        prop::option::of(any_country()),
        prop::option::of(continent),
        prop::option::weighted(0.3, place),
        prop::option::of(1_u32..4),
    )
        .prop_map(|(country, continent, place, asn)| Facts {
            country,
            continent: continent.or(country.map(Country::continent)),
            point: place.and_then(|(latitude, longitude)| Point::from_degrees(latitude, longitude)),
            asn,
        })
}

/// Nets in rising order, none within another, each with facts.
fn any_database() -> impl Strategy<Value = Vec<(IpNet, Facts)>> {
    prop::collection::vec((any_net(), any_facts()), 0..12).prop_map(|mut nets| {
        nets.sort_by_key(|(net, _)| (net.network(), net.prefix_len()));
        let mut apart: Vec<(IpNet, Facts)> = Vec::new();
        for (net, facts) in nets {
            if !apart.iter().any(|(other, _)| other.contains(&net)) {
                apart.push((net, facts));
            }
        }
        apart
    })
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let nets = prop::collection::btree_set(any_net(), 0..4);
    let asns = prop::collection::btree_set(1_u32..4, 0..2);
    let countries = prop::collection::btree_set(any_country(), 0..2);
    let continents = prop::collection::btree_set((0..Continent::ALL.len()).prop_map(|at| Continent::ALL[at]), 0..2);
    let regions = prop::collection::btree_set((0_u16..4).prop_map(RegionId), 0..2);
    (nets, asns, countries, continents, any::<bool>(), regions).prop_map(|all| {
        let (nets, asns, countries, continents, unknown, regions) = all;
        Selector {
            groups: Vec::new(),
            regions: regions.into_iter().collect(),
            nets: nets.into_iter().collect(),
            asns: asns.into_iter().collect(),
            countries: countries.into_iter().collect(),
            continents: continents.into_iter().collect(),
            unknown,
        }
    })
}

/// Claims of several regions, none of which have a thing in common.
fn any_claims() -> impl Strategy<Value = Vec<Selector>> {
    prop::collection::vec(any_selector(), 1..4).prop_map(|mut claims| {
        for at in 1..claims.len() {
            let (before, rest) = claims.split_at_mut(at);
            let own = &mut rest[0];
            own.nets.retain(|net| !before.iter().any(|other| other.nets.contains(net)));
            own.asns.retain(|asn| !before.iter().any(|other| other.asns.contains(asn)));
            own.countries.retain(|country| !before.iter().any(|other| other.countries.contains(country)));
            own.continents.retain(|continent| !before.iter().any(|other| other.continents.contains(continent)));
        }
        claims
    })
}

fn any_world() -> impl Strategy<Value = World> {
    let databases = prop::collection::vec(any_database(), 0..3);
    let located = prop::collection::vec(any::<bool>(), 3);
    let selectors = prop::collection::vec(any_selector(), 0..4);
    let cutoff = prop::option::of((8_u8..=32, 16_u8..=64));
    (any_claims(), located, selectors, prop::option::weighted(0.3, Just(RegionId(0))), databases, cutoff, 1_u16..20)
        .prop_map(|(claims, located, selectors, default, databases, cutoff, distinct)| {
            let region = |at: usize| Region {
                name: at.to_string(),
                location: located[at].then(|| Location { latitude: PLACES[at].0, longitude: PLACES[at].1 }),
            };
            let regions = (0..claims.len()).map(region).collect();
            World { regions, claims, selectors, default, databases, cutoff, distinct }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    // A failure prints the case itself, minimal, which is more than a seed.
    #[test]
    fn classes_are_as_defined_and_scopes_are_true_and_the_shortest(
        world in any_world(),
        addresses in prop::collection::vec(any_address(), 1..6),
    ) {
        let clients = world.clients();
        let ids = 0..clients.classes.len() as u16;
        let projection: Vec<ClassId> = ids.map(|at| ClassId(at % world.distinct)).collect();
        let table = ClientTable::compile(&clients, None, world.cutoff);
        let projected = ClientTable::compile(&clients, Some(&projection), world.cutoff);
        let number = |class: ClientClass| {
            clients.classes.iter().position(|known| *known == class).map(|at| ClassId(at as u16))
        };
        for (bits, address) in addresses {
            let ip = ip_of(bits, address);
            let projection_of = |ip| number(world.class(ip)).map(|ClassId(at)| projection[usize::from(at)]);
            let (class, scope) = table.lookup(ip);
            prop_assert_eq!(&clients.classes[usize::from(class.0)], &world.class(ip), "{}", ip);
            if let Some((v4, v6)) = world.cutoff {
                let longest = if bits == 32 { v4 } else { v6.max(96) };
                prop_assert!(folded(ip) != ip || scope <= longest, "{} of {}", scope, ip);
            }
            let uniform = |len: u8, same: &dyn Fn(IpAddr) -> bool| {
                let start = address & !(u128::MAX.checked_shr(128 - u32::from(bits - len)).unwrap_or(0));
                world.probes(start, len, bits).into_iter().all(same)
            };
            let of_class = |other| world.class(other) == world.class(ip);
            prop_assert!(uniform(scope, &of_class), "{}/{} holds another class", ip, scope);
            prop_assert!(scope == 0 || !uniform(scope - 1, &of_class), "{}/{} could be shorter", ip, scope);
            let (class, scope) = projected.lookup(ip);
            prop_assert_eq!(Some(class), projection_of(ip));
            let is_alike = |other| projection_of(other) == projection_of(ip);
            prop_assert!(uniform(scope, &is_alike), "{}/{} is not alike", ip, scope);
            prop_assert!(scope == 0 || !uniform(scope - 1, &is_alike), "{}/{} could be shorter", ip, scope);
        }
    }
}
