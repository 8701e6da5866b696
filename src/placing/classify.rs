//! Gives every address its class, from the nets of regions and selectors and from the databases. This happens once for
//! each load, by linear sweeps: once with whole addresses, and once for each cut-off of ECS.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::model::spans::Spans;
use crate::model::{
    ClassId, ClassRanges, ClientClass, ClientSources, Clients, Database, Placement, RegionId, Selector,
};
use crate::placing::address::Address;
use crate::placing::nets::{GroundId, Nets, up_to};
use crate::placing::rules::{Essence, FactsKind, Rules};
use crate::placing::sweep::{coarse, cut_along, join, mapped};
use crate::placing::table::EMBEDDED;

/// There are more classes of clients than ids: 65,535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyClasses;

type KindId = u16;

/// Places all clients by `sources`, for policies with these selectors. If `before` was made from the same values, it is
/// returned, because databases are large. The first classes are one for each region, for clients of which only the
/// region is known.
pub fn place(
    sources: ClientSources,
    selectors: &[Selector],
    before: Option<&Clients>,
) -> Result<Clients, TooManyClasses> {
    let is_same = |clients: &&Clients| {
        let placement = clients.placement.as_deref();
        placement.is_some_and(|placement| is_same(&placement.sources, &sources)) && clients.selectors == selectors
    };
    match before.filter(is_same) {
        Some(before) => Ok(before.clone()),
        None => place_anew(sources, selectors),
    }
}

fn is_same(one: &ClientSources, other: &ClientSources) -> bool {
    one.regions == other.regions
        && one.claims == other.claims
        && one.default == other.default
        && one.cutoffs == other.cutoffs
        && one.databases.len() == other.databases.len()
        && one.databases.iter().zip(&other.databases).all(|(one, other)| Arc::ptr_eq(one, other))
}

fn place_anew(sources: ClientSources, selectors: &[Selector]) -> Result<Clients, TooManyClasses> {
    let rules = Rules::of(&sources, selectors);
    let kinds = Kinds::of(&rules, &sources.databases)?;
    let nets = Nets::of(&sources.claims, selectors);
    let mut classes =
        Classes { rules: &rules, nets: &nets, kinds: &kinds, numbers: Numbers::default(), known: HashMap::default() };
    let plain = |region| rules.class(region, &[], &FactsKind::default());
    for region in (0..sources.regions.len() as u16).map(RegionId) {
        classes.numbers.number(plain(Some(region)))?;
    }
    let fallback = ClassId(classes.numbers.number(plain(None))?);
    let cutoffs = std::iter::once(None).chain(sources.cutoffs.iter().copied().map(Some));
    let ranges = cutoffs.map(|cutoff| classes.ranges(cutoff)).collect::<Result<Vec<_>, _>>()?;
    Ok(Clients {
        classes: classes.numbers.all,
        selectors: selectors.to_vec(),
        rules: Vec::new(),
        fallback,
        placement: Some(Arc::new(Placement { sources, ranges })),
    })
}

/// Numbers the classes in the order in which the sweeps find them.
struct Classes<'a> {
    rules: &'a Rules,
    nets: &'a Nets,
    kinds: &'a Kinds,
    numbers: Numbers<ClientClass>,
    known: HashMap<(GroundId, KindId), ClassId, FixedState>,
}

impl Classes<'_> {
    /// The class of every address. With a cut-off, longer nets are ignored, and each client counts as the first address
    /// of its net of that length.
    fn ranges(&mut self, cutoff: Option<(u8, u8)>) -> Result<ClassRanges, TooManyClasses> {
        let (nets, kinds) = (self.nets, self.kinds);
        let (longest_v4, longest_v6) = cutoff.unzip();
        let mut result = Ok(());
        let grounds = cut_along(up_to(longest_v4, &nets.v4), 0);
        let v4 = join(grounds.iter(), coarse(&kinds.v4, longest_v4.unwrap_or(32)), |ground, kind| {
            self.class(ground, kind, &mut result)
        });
        let mut nets_v6 = up_to(longest_v6, &nets.v6);
        nets_v6.extend(Nets::embeddings(BEHIND_IPV6));
        let grounds = cut_along(nets_v6, 0);
        let v6 = join(grounds.iter(), coarse(&kinds.v6, longest_v6.unwrap_or(128)), |ground, kind| match ground {
            BEHIND_IPV6 => EMBEDDED,
            ground => self.class(ground, kind, &mut result),
        });
        result.map(|()| ClassRanges { cutoff, v4, v6 })
    }

    /// The class of a ground and a kind. If no number is left, it sets the error and returns any class.
    fn class(&mut self, ground: GroundId, kind: KindId, result: &mut Result<(), TooManyClasses>) -> ClassId {
        if let Some(known) = self.known.get(&(ground, kind)) {
            return *known;
        }
        let of_nets = &self.nets.grounds[ground as usize];
        let class = self.rules.class(of_nets.region, &of_nets.selectors, &self.kinds.all[usize::from(kind)]);
        match self.numbers.number(class) {
            Ok(number) => *self.known.entry((ground, kind)).or_insert(ClassId(number)),
            Err(error) => {
                *result = Err(error);
                ClassId::default()
            }
        }
    }
}

/// Marks IPv6 addresses that contain an IPv4 address. No ground has this number.
const BEHIND_IPV6: GroundId = GroundId::MAX;

/// Gives each distinct thing a number, in the order in which they first appear.
struct Numbers<T> {
    all: Vec<T>,
    known: HashMap<T, u16>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Numbers<T> {
        Numbers { all: Vec::new(), known: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    /// The number of `thing`. The last number is never given, because it is that of [`EMBEDDED`].
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

/// The distinct essences of the facts of all databases, by number; 0 is that of no facts.
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

    /// Completes one essence by another. Takes and returns numbers.
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

/// The kind of every address by the databases alone, without nets.
struct Kinds {
    all: Vec<FactsKind>,
    v4: Spans<u32, KindId>,
    v6: Spans<u128, KindId>,
}

impl Kinds {
    fn of(rules: &Rules, databases: &[Arc<Database>]) -> Result<Kinds, TooManyClasses> {
        let mut essences = Essences { all: Vec::new(), known: HashMap::default(), joined: HashMap::default() };
        essences.number(Essence::default());
        let (mut v4, mut v6) = (Spans::uniform(0), Spans::uniform(0));
        for database in databases {
            let numbers: Vec<u32> = database.facts.iter().map(|facts| essences.number(rules.essence(facts))).collect();
            v4 = completed(v4, &database.v4, &numbers, &mut essences);
            v6 = completed(v6, &database.v6, &numbers, &mut essences);
        }
        let mut kinds = Numbers::default();
        let numbers = essences.all.iter().map(|essence| kinds.number(rules.kind(essence)));
        let numbers = numbers.collect::<Result<Vec<KindId>, TooManyClasses>>()?;
        let kind = |essence: u32| numbers[essence as usize];
        Ok(Kinds { all: kinds.all, v4: mapped(&v4, kind), v6: mapped(&v6, kind) })
    }
}

/// The essences in `known`, completed by those of a database. `numbers` are the essences of the database's facts.
fn completed<A: Address>(
    known: Spans<A, u32>,
    database: &Spans<A, u32>,
    numbers: &[u32],
    essences: &mut Essences,
) -> Spans<A, u32> {
    let added = database.iter().map(|(start, facts)| (start, numbers.get(facts as usize).copied().unwrap_or(0)));
    join(known.iter(), added, |one, other| essences.join(one, other))
}
