//! The region and the matching selectors of an address, from its facts in the databases. Tables and explanations use
//! the same rules, so they can't differ.

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::IpNet;

use crate::model::{
    ClientClass, ClientSources, Continent, Country, Facts, Location, Point, RegionId, Selector, SelectorId,
};
use crate::placing::nets::union;

/// What determined a client's region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionSource {
    /// It is in this net.
    Net(IpNet),
    /// It is in this autonomous system.
    Asn(u32),
    /// It is in this country.
    Country(Country),
    /// It is on this continent.
    Continent(Continent),
    /// The region's location is the nearest.
    Nearest,
    /// No other rule applies, and there is a default region.
    Default,
    /// No rule applies: the client has no region.
    Nothing,
}

/// What facts mean for a client, before its nets are considered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct FactsKind {
    /// The region by these facts.
    pub(super) region: Option<RegionId>,
    /// Whether the country or the continent is known.
    pub(super) is_known: bool,
    /// The selectors that match by these facts, sorted by id, each once.
    pub(super) selectors: Vec<SelectorId>,
}

/// The part of facts that regions or selectors use. Many different facts have the same essence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Essence {
    country: Option<Country>,
    continent: Option<Continent>,
    /// [`OTHER`] if no region and no selector lists it.
    asn: Option<u32>,
    nearest: Option<RegionId>,
}

/// Stands for all autonomous systems that no region and no selector lists. 0 is not a valid number (RFC 7607).
const OTHER: u32 = 0;

impl Essence {
    /// This essence; what it lacks is taken from `others`.
    pub(super) fn or(self, others: Essence) -> Essence {
        Essence {
            country: self.country.or(others.country),
            continent: self.continent.or(others.continent),
            asn: self.asn.or(others.asn),
            nearest: self.nearest.or(others.nearest),
        }
    }
}

/// The regions and selectors that list each fact.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    asns: HashMap<u32, Claimants>,
    countries: HashMap<Country, Claimants>,
    continents: HashMap<Continent, Claimants>,
    /// Regions with a location, as points of the unit sphere.
    located: Vec<(RegionId, [f64; 3])>,
    /// The region of clients to which no other rule applies.
    default: Option<RegionId>,
    /// By region: the selectors that name it.
    named: Vec<Vec<SelectorId>>,
    /// By region: the selectors that match its clients if their country and continent are unknown.
    regional: Vec<Vec<SelectorId>>,
    /// The selectors with `unknown = true`.
    unknown: Vec<SelectorId>,
}

/// The region and the selectors that list one fact.
#[derive(Debug, Clone, Default)]
struct Claimants {
    region: Option<RegionId>,
    selectors: Vec<SelectorId>,
}

impl Rules {
    pub(super) fn of(sources: &ClientSources, selectors: &[Selector]) -> Rules {
        let ClientSources { regions, claims, default, databases: _, cutoffs: _ } = sources;
        let mut rules = Rules { default: *default, ..Rules::default() };
        for (at, claim) in claims.iter().enumerate() {
            let region = RegionId(at as u16);
            rules.take(claim, |claimants| claimants.region = claimants.region.or(Some(region)));
        }
        for (at, selector) in selectors.iter().enumerate() {
            let id = SelectorId(at as u16);
            rules.take(selector, |claimants| claimants.selectors.push(id));
            if selector.unknown {
                rules.unknown.push(id);
            }
        }
        let ids = || (0..regions.len() as u16).map(RegionId);
        rules.located = ids().filter_map(|id| Some((id, sphere(regions[usize::from(id.0)].location?)))).collect();
        let naming = |id: RegionId| {
            let naming = selectors.iter().enumerate().filter(move |(_, selector)| selector.regions.contains(&id));
            naming.map(|(at, _)| SelectorId(at as u16)).collect()
        };
        rules.named = ids().map(naming).collect();
        let nothing = Selector::default();
        rules.regional = ids()
            .map(|id| {
                let claim = claims.get(usize::from(id.0)).unwrap_or(&nothing);
                let holding = selectors.iter().enumerate().filter(|(_, selector)| shares(claim, selector));
                holding.map(|(at, _)| SelectorId(at as u16)).collect()
            })
            .collect();
        rules
    }

    fn take(&mut self, of: &Selector, mut note: impl FnMut(&mut Claimants)) {
        of.asns.iter().for_each(|asn| note(self.asns.entry(*asn).or_default()));
        of.countries.iter().for_each(|country| note(self.countries.entry(*country).or_default()));
        of.continents.iter().for_each(|continent| note(self.continents.entry(*continent).or_default()));
    }

    /// The essence of facts.
    pub(super) fn essence(&self, facts: &Facts) -> Essence {
        Essence {
            country: facts.country,
            continent: facts.continent,
            asn: facts.asn.map(|asn| if self.asns.contains_key(&asn) { asn } else { OTHER }),
            nearest: facts.point.and_then(|point| self.nearest(point)),
        }
    }

    /// The region with the nearest location; if two are equally near, the first.
    fn nearest(&self, point: Point) -> Option<RegionId> {
        let here = sphere(point.location());
        // The order by chord is the order by arc, and the chord is exact for short distances.
        let chord = |there: &[f64; 3]| (0..3).map(|axis| (here[axis] - there[axis]).powi(2)).sum::<f64>();
        let nearer = |a: &&(RegionId, [f64; 3]), b: &&(RegionId, [f64; 3])| chord(&a.1).total_cmp(&chord(&b.1));
        self.located.iter().min_by(nearer).map(|(region, _)| *region)
    }

    /// The region by an essence, and the fact that determined it.
    pub(super) fn region(&self, of: &Essence) -> Option<(RegionId, RegionSource)> {
        let asn = || of.asn.and_then(|asn| Some((region_of(&self.asns, &asn)?, RegionSource::Asn(asn))));
        let country = || of.country.and_then(|c| Some((region_of(&self.countries, &c)?, RegionSource::Country(c))));
        let continent =
            || of.continent.and_then(|c| Some((region_of(&self.continents, &c)?, RegionSource::Continent(c))));
        let nearest = || of.nearest.map(|region| (region, RegionSource::Nearest));
        asn().or_else(country).or_else(continent).or_else(nearest)
    }

    /// The kind of an essence.
    pub(super) fn kind(&self, of: &Essence) -> FactsKind {
        let mut selectors = Vec::new();
        selectors.extend(
            of.asn.and_then(|asn| self.asns.get(&asn)).map(|claimants| &claimants.selectors[..]).unwrap_or(&[]),
        );
        let country = of.country.and_then(|country| self.countries.get(&country));
        selectors.extend(country.map(|claimants| &claimants.selectors[..]).unwrap_or(&[]));
        let continent = of.continent.and_then(|continent| self.continents.get(&continent));
        selectors.extend(continent.map(|claimants| &claimants.selectors[..]).unwrap_or(&[]));
        FactsKind {
            region: self.region(of).map(|(region, _)| region),
            is_known: of.country.is_some() || of.continent.is_some(),
            selectors: union(&selectors, &[]),
        }
    }

    /// The class of clients: `region` and `selectors` follow from their nets, `kind` from their facts.
    pub(super) fn class(&self, region: Option<RegionId>, selectors: &[SelectorId], kind: &FactsKind) -> ClientClass {
        let region = region.or(kind.region).or(self.default);
        let mut selectors = union(selectors, &kind.selectors);
        if let Some(naming) = region.and_then(|region| self.named.get(usize::from(region.0))) {
            selectors = union(&selectors, naming);
        }
        if !kind.is_known {
            let more = match region {
                Some(region) => self.regional.get(usize::from(region.0)).map_or(&[][..], Vec::as_slice),
                None => &self.unknown,
            };
            selectors = union(&selectors, more);
        }
        ClientClass { region, selectors }
    }
}

fn region_of<K: Hash + Eq>(claimants: &HashMap<K, Claimants>, key: &K) -> Option<RegionId> {
    claimants.get(key)?.region
}

/// Whether a selector matches clients of which only the region is known, by the countries and continents of `claim`,
/// which is what the region lists. A region with countries and no continents has the continents of its countries.
fn shares(claim: &Selector, selector: &Selector) -> bool {
    let derived: Vec<Continent> = match claim.continents.is_empty() {
        true => claim.countries.iter().map(|country| country.continent()).collect(),
        false => claim.continents.clone(),
    };
    claim.countries.iter().any(|country| selector.countries.contains(country))
        || derived.iter().any(|continent| selector.continents.contains(continent))
}

/// A location as a point on the unit sphere.
fn sphere(at: Location) -> [f64; 3] {
    let (north, east) = (at.latitude.to_radians(), at.longitude.to_radians());
    [north.cos() * east.cos(), north.cos() * east.sin(), north.sin()]
}
