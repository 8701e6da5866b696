//! How every address is placed: the nets of regions and selectors over what the databases say. Made once a load; client
//! tables are compiled from it by linear sweeps, for any cut-off, and explanations are looked up in it.

mod nets;
#[cfg(test)]
mod property;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use ipnet::IpNet;

use crate::model::address::{Address, embedded_net, folded};
use crate::model::facts::{Database, Facts};
use crate::model::placement::nets::{GroundId, Nets};
use crate::model::placement::rules::{Essence, Kind, Rules};
use crate::model::spans::{Net, Spans, sweep};
use crate::model::{ClassId, ClientRule, Clients, Continent, Country, Region, RegionId, Selector};

/// What clients are placed by.
#[derive(Debug)]
pub struct Placing<'a> {
    /// All regions.
    pub regions: &'a [Region],
    /// What makes a client one of each region, by [`RegionId`]; `unknown` doesn't count.
    pub claims: &'a [Selector],
    /// What policies ask about clients.
    pub selectors: &'a [Selector],
    /// The region of clients that nothing else places.
    pub default: Option<RegionId>,
    /// What is known of addresses; where two differ the first counts.
    pub databases: &'a [Arc<Database>],
    /// The cut-offs (IPv4, IPv6 bits) that tables will be compiled for.
    pub cutoffs: &'a [(u8, u8)],
}

/// There are more kinds of clients than ids: 65,535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyClasses;

/// What gave a client its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacedBy {
    /// It is in this net.
    Net(IpNet),
    /// It is of this autonomous system.
    Asn(u32),
    /// It is in this country.
    Country(Country),
    /// It is on this continent.
    Continent(Continent),
    /// No region's location is nearer.
    Nearest,
    /// Nothing else placed it.
    Default,
    /// Nothing places it.
    Nothing,
}

/// Why a client is of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its region.
    pub region: Option<RegionId>,
    /// What gave it that.
    pub by: PlacedBy,
    /// What the databases say of it.
    pub facts: Facts,
}

type KindId = u16;

/// Where every address stands.
#[derive(Clone, Default)]
pub struct Placement {
    nets: Nets,
    /// The kind of every address by the databases alone.
    v4: Spans<u32, KindId>,
    v6: Spans<u128, KindId>,
    classes: HashMap<(GroundId, KindId), ClassId, FixedState>,
    fallback: ClassId,
    rules: Rules,
    regions: Vec<Region>,
    claims: Vec<Selector>,
    databases: Vec<Arc<Database>>,
    cutoffs: Vec<(u8, u8)>,
}

impl fmt::Debug for Placement {
    /// Its size: all of it would be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (v4, v6) = self.sizes();
        f.debug_struct("Placement").field("v4", &v4).field("v6", &v6).finish_non_exhaustive()
    }
}

impl Placement {
    /// The clients that `placing` makes: those of `before`, where they were made of the same.
    pub fn renew(placing: &Placing<'_>, before: Option<&Clients>) -> Result<Clients, TooManyClasses> {
        let same = |clients: &&Clients| {
            let was = clients.placement.as_deref();
            was.is_some_and(|was| was.is_made_of(placing)) && clients.selectors == placing.selectors
        };
        before.filter(same).cloned().map_or_else(|| Placement::clients(placing), Ok)
    }

    fn is_made_of(&self, placing: &Placing<'_>) -> bool {
        let databases = placing.databases;
        self.regions == placing.regions
            && self.claims == placing.claims
            && self.rules.default == placing.default
            && self.cutoffs == placing.cutoffs
            && self.databases.len() == databases.len()
            && self.databases.iter().zip(databases).all(|(was, is)| Arc::ptr_eq(was, is))
    }

    /// The databases that it is made of.
    pub fn databases(&self) -> &[Arc<Database>] {
        &self.databases
    }

    /// Places all clients. The classes begin with one for each region: clients of whom no more is known.
    pub fn clients(placing: &Placing<'_>) -> Result<Clients, TooManyClasses> {
        let rules = Rules::of(placing.regions, placing.claims, placing.selectors, placing.default);
        let (kinds, v4, v6) = kinds(&rules, placing.databases)?;
        let nets = Nets::of(placing.claims, placing.selectors);
        let mut classes = Numbered::default();
        let plain = |region| rules.class(region, &[], &Kind::default());
        for region in (0..placing.regions.len() as u16).map(RegionId) {
            classes.number(plain(Some(region)))?;
        }
        let fallback = classes.number(plain(None))?;
        let mut placement = Placement {
            nets,
            v4,
            v6,
            classes: HashMap::default(),
            fallback: ClassId(fallback),
            rules,
            regions: placing.regions.to_vec(),
            claims: placing.claims.to_vec(),
            databases: placing.databases.to_vec(),
            cutoffs: placing.cutoffs.to_vec(),
        };
        let mut by_pair = HashMap::default();
        let mut result = Ok(());
        for cutoff in std::iter::once(None).chain(placing.cutoffs.iter().copied().map(Some)) {
            placement.pairs(cutoff, |ground, kind| {
                if let (std::collections::hash_map::Entry::Vacant(entry), Ok(())) =
                    (by_pair.entry((ground, kind)), result)
                {
                    let ground = &placement.nets.grounds[ground as usize];
                    let class = placement.rules.class(ground.region, &ground.selectors, &kinds[usize::from(kind)]);
                    match classes.number(class) {
                        Ok(class) => _ = entry.insert(ClassId(class)),
                        Err(error) => result = Err(error),
                    }
                }
            });
        }
        result?;
        placement.classes = by_pair;
        Ok(Clients {
            classes: classes.all,
            selectors: placing.selectors.to_vec(),
            rules: Vec::new(),
            fallback: placement.fallback,
            placement: Some(Arc::new(placement)),
        })
    }

    /// One that knows nets and their classes only.
    pub(crate) fn of_rules(rules: &[ClientRule], fallback: ClassId) -> Placement {
        let mut placement = Placement { fallback, ..Placement::default() };
        placement.classes.insert((0, 0), fallback);
        let ground = |class: ClassId| GroundId::from(class.0) + 1;
        for rule in rules {
            placement.classes.insert((ground(rule.class), 0), rule.class);
            if let IpNet::V4(net) = rule.net {
                let (start, len) = (net.network().to_bits(), net.prefix_len());
                placement.nets.v4.push(Net { start, len, value: ground(rule.class) });
            }
        }
        // Behind the nets' own rules: of two for one net, the first is kept.
        for rule in rules {
            let IpNet::V6(net) = rule.net else { continue };
            let (start, len, value) = (net.network().to_bits(), net.prefix_len(), ground(rule.class));
            match embedded_net(start, len) {
                Some((start, len @ ..=32)) => placement.nets.v4.push(Net { start, len, value }),
                Some(_) => {}
                None => placement.nets.v6.push(Net { start, len, value }),
            }
        }
        placement
    }

    /// The class of every IPv4 address, told as `told` says. Nets longer than the cut-off aren't seen, and a client is
    /// taken for the first address of its net of that length.
    pub(crate) fn v4(&self, cutoff: Option<u8>, told: impl Fn(ClassId) -> ClassId) -> Spans<u32, ClassId> {
        let nets = Spans::of_nets(seen(&self.nets.v4, cutoff), 0);
        let class = |ground, kind| told(self.class(ground, kind));
        Spans::join(nets.iter(), self.v4.coarse(cutoff.unwrap_or(32)), class)
    }

    /// As [`Placement::v4`] of IPv6; addresses behind which an IPv4 one stands are of class `embedded`.
    pub(crate) fn v6(
        &self,
        cutoff: Option<u8>,
        embedded: ClassId,
        told: impl Fn(ClassId) -> ClassId,
    ) -> Spans<u128, ClassId> {
        let mut nets = seen(&self.nets.v6, cutoff);
        nets.extend(Nets::embeddings(EMBEDDED));
        let nets = Spans::of_nets(nets, 0);
        let class = |ground, kind| if ground == EMBEDDED { embedded } else { told(self.class(ground, kind)) };
        Spans::join(nets.iter(), self.v6.coarse(cutoff.unwrap_or(128)), class)
    }

    /// Calls with every pair of ground and kind that some client has under a cut-off, each once or more.
    fn pairs(&self, cutoff: Option<(u8, u8)>, mut each: impl FnMut(GroundId, KindId)) {
        let (v4, v6) = cutoff.unzip();
        let nets = Spans::of_nets(seen(&self.nets.v4, v4), 0);
        sweep(nets.iter(), self.v4.coarse(v4.unwrap_or(32)), |_, ground, kind| each(ground, kind));
        let mut nets = seen(&self.nets.v6, v6);
        nets.extend(Nets::embeddings(EMBEDDED));
        let nets = Spans::of_nets(nets, 0);
        sweep(nets.iter(), self.v6.coarse(v6.unwrap_or(128)), |_, ground, kind| {
            if ground != EMBEDDED {
                each(ground, kind);
            }
        });
    }

    fn class(&self, ground: GroundId, kind: KindId) -> ClassId {
        // Every pair that a table can meet was numbered.
        self.classes.get(&(ground, kind)).copied().unwrap_or(self.fallback)
    }

    /// Why the client at `ip` is where it is.
    pub fn explain(&self, ip: IpAddr) -> Placed {
        let ip = folded(ip);
        let facts = self.databases.iter().fold(Facts::default(), |facts, database| facts.or(database.lookup(ip)));
        if let Some((net, region)) = self.claimed(ip) {
            return Placed { region: Some(region), by: PlacedBy::Net(net), facts };
        }
        let (region, by) = match (self.rules.region(&self.rules.essence(&facts)), self.rules.default) {
            (Some((region, by)), _) => (Some(region), by),
            (None, Some(region)) => (Some(region), PlacedBy::Default),
            (None, None) => (None, PlacedBy::Nothing),
        };
        Placed { region, by, facts }
    }

    /// The longest net of a region that an address is in.
    fn claimed(&self, ip: IpAddr) -> Option<(IpNet, RegionId)> {
        let nets = self
            .claims
            .iter()
            .enumerate()
            .flat_map(|(at, claim)| claim.nets.iter().map(move |net| (*net, RegionId(at as u16))));
        // Of one net in two dresses the IPv4 one counts.
        let length = |net: &IpNet| held(net, ip).map(|len| (len, net.addr().is_ipv4()));
        nets.filter_map(|(net, region)| Some((length(&net)?, (net, region))))
            .max_by_key(|(len, _)| *len)
            .map(|(_, found)| found)
    }

    /// How many spans the databases and regions cut IPv4 and IPv6 into.
    pub fn sizes(&self) -> (usize, usize) {
        (self.v4.starts.len(), self.v6.starts.len())
    }
}

/// Stands for "behind this an IPv4 address stands"; never a ground's number.
const EMBEDDED: GroundId = GroundId::MAX;

/// The length, in bits of its own family, of a net that a folded address is in.
fn held(net: &IpNet, ip: IpAddr) -> Option<u8> {
    match (net, ip) {
        (IpNet::V6(net), IpAddr::V4(ip)) => {
            let (start, len) = embedded_net(net.network().to_bits(), net.prefix_len())?;
            let outer = ipnet::Ipv4Net::new(start.into(), len).ok()?;
            outer.contains(&ip).then_some(len)
        }
        (net, ip) => net.contains(&ip).then_some(net.prefix_len()),
    }
}

fn seen<A: Copy>(nets: &[Net<A, GroundId>], cutoff: Option<u8>) -> Vec<Net<A, GroundId>> {
    nets.iter().filter(|net| cutoff.is_none_or(|longest| net.len <= longest)).copied().collect()
}

/// Things that get a number each when they first appear.
struct Numbered<T> {
    all: Vec<T>,
    known: HashMap<T, u16>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { all: Vec::new(), known: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    /// One number is left over: a table has a meaning of its own for the last.
    fn number(&mut self, thing: T) -> Result<u16, TooManyClasses> {
        if let Some(known) = self.known.get(&thing) {
            return Ok(*known);
        }
        let number = u16::try_from(self.all.len()).ok().filter(|number| *number < u16::MAX).ok_or(TooManyClasses)?;
        self.all.push(thing.clone());
        self.known.insert(thing, number);
        Ok(number)
    }
}

/// What counts of the facts of several databases together.
struct Essences {
    all: Vec<Essence>,
    known: HashMap<Essence, u32, FixedState>,
    joined: HashMap<(u32, u32), u32, FixedState>,
}

impl Essences {
    fn number(&mut self, essence: Essence) -> u32 {
        let next = self.all.len() as u32;
        *self.known.entry(essence).or_insert_with(|| {
            self.all.push(essence);
            next
        })
    }

    /// Of two numbers, that of both together; 0 is nothing.
    fn join(&mut self, one: u32, other: u32) -> u32 {
        match (one, other) {
            (one, 0) => one,
            (0, other) => other,
            pair => match self.joined.get(&pair) {
                Some(known) => *known,
                None => {
                    let both = self.number(self.all[one as usize].or(self.all[other as usize]));
                    self.joined.insert(pair, both);
                    both
                }
            },
        }
    }
}

/// What the databases make of every address.
type Kinds = (Vec<Kind>, Spans<u32, KindId>, Spans<u128, KindId>);

fn kinds(rules: &Rules, databases: &[Arc<Database>]) -> Result<Kinds, TooManyClasses> {
    let mut essences = Essences { all: Vec::new(), known: HashMap::default(), joined: HashMap::default() };
    essences.number(Essence::default());
    let (mut v4, mut v6) = (Spans::uniform(0), Spans::uniform(0));
    for database in databases {
        let numbers: Vec<u32> = database.facts.iter().map(|facts| essences.number(rules.essence(facts))).collect();
        v4 = over(v4, &database.v4, &numbers, &mut essences);
        v6 = over(v6, &database.v6, &numbers, &mut essences);
    }
    let mut kinds = Numbered::default();
    let numbers: Result<Vec<KindId>, TooManyClasses> =
        essences.all.iter().map(|essence| kinds.number(rules.kind(essence))).collect();
    let numbers = numbers?;
    let (v4, v6) = (renumbered(&v4, &numbers), renumbered(&v6, &numbers));
    Ok((kinds.all, v4, v6))
}

/// What `known` says, and where that leaves something open, a database.
fn over<A: Address>(
    known: Spans<A, u32>,
    database: &Spans<A, u32>,
    numbers: &[u32],
    essences: &mut Essences,
) -> Spans<A, u32> {
    let told = database.iter().map(|(start, facts)| (start, numbers.get(facts as usize).copied().unwrap_or(0)));
    Spans::join(known.iter(), told, |one, other| essences.join(one, other))
}

fn renumbered<A: Address>(spans: &Spans<A, u32>, numbers: &[KindId]) -> Spans<A, KindId> {
    let told = spans.iter().map(|(start, essence)| (start, numbers[essence as usize]));
    Spans::join(told, std::iter::once((A::ZERO, ())), |kind, ()| kind)
}
