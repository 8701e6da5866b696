//! Clients: which region a client's address belongs to, its class, and the scope for which that holds.

use std::sync::Arc;

use ipnet::IpNet;

use crate::model::spans::Spans;
use crate::model::{ClassId, Continent, Country, Database, Location, RegionId, SelectorId};

/// A named part of the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its name in files and on metrics.
    pub name: String,
    /// Where it is; without, it is never the nearest.
    pub location: Option<Location>,
}

/// What steering may know of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientClass {
    /// Its region; `None`: nothing places it.
    pub region: Option<RegionId>,
    /// The selectors that hold for it, in the order of their ids, each once.
    pub selectors: Vec<SelectorId>,
}

impl ClientClass {
    /// Clients of this region for whom no selector holds.
    pub fn of_region(region: Option<RegionId>) -> ClientClass {
        ClientClass { region, selectors: Vec::new() }
    }

    /// Whether a selector holds for these clients.
    pub fn is_selected(&self, selector: SelectorId) -> bool {
        self.selectors.binary_search(&selector).is_ok()
    }
}

/// Which clients a `when` or a fence means: those that are in any of its lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector {
    /// The groups whose lists are among these, in the order they are written; for people.
    pub groups: Vec<String>,
    /// Regions, each once, sorted.
    pub regions: Vec<RegionId>,
    /// Nets, each once, sorted.
    pub nets: Vec<IpNet>,
    /// Autonomous systems, each once, sorted.
    pub asns: Vec<u32>,
    /// Countries, each once, sorted.
    pub countries: Vec<Country>,
    /// Continents, each once, sorted.
    pub continents: Vec<Continent>,
    /// Clients that nothing places: no region, and neither country nor continent known.
    pub unknown: bool,
}

impl Selector {
    /// `group offices: regions eu-west; nets 10.0.0.0/8, 192.0.2.0/24 and 3 more; AS 64500; countries DE, NL;
    /// continents EU; unknown clients`.
    pub fn words(&self, all_regions: &[Region]) -> String {
        let name = |id: &RegionId| all_regions.get(usize::from(id.0)).map_or("?", |region| region.name.as_str());
        let regions: Vec<&str> = self.regions.iter().map(name).collect();
        let lists = [
            ("regions ", listed(&regions)),
            ("nets ", listed(&self.nets)),
            ("AS ", listed(&self.asns)),
            ("countries ", listed(&self.countries)),
            ("continents ", listed(&self.continents)),
            ("", self.unknown.then(|| "unknown clients".to_string())),
        ];
        let parts: Vec<String> =
            lists.into_iter().filter_map(|(what, list)| Some(format!("{what}{}", list?))).collect();
        let lists = parts.join("; ");
        match &self.groups[..] {
            [] => lists,
            [group] => format!("group {group}: {lists}"),
            groups => format!("groups {}: {lists}", groups.join(", ")),
        }
    }
}

/// The first few of a list; `None` for an empty one.
fn listed(list: &[impl std::fmt::Display]) -> Option<String> {
    /// Who reads a line at night takes in no more (judgment).
    const SHOWN: usize = 4;
    let shown: Vec<String> = list.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = list.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| shown.join(", ") + &more)
}

/// "Clients of this net are of this class."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRule {
    /// The net; the most specific one decides.
    pub net: IpNet,
    /// The class of its clients.
    pub class: ClassId,
}

/// What clients are placed by.
#[derive(Debug, Clone, Default)]
pub struct ClientSources {
    /// All regions.
    pub regions: Vec<Region>,
    /// What makes a client one of each region, by [`RegionId`]; `unknown` does not count.
    pub claims: Vec<Selector>,
    /// The region of clients that nothing else places.
    pub default: Option<RegionId>,
    /// What is known of addresses; where two differ the first counts.
    pub databases: Vec<Arc<Database>>,
    /// The cut-offs (IPv4, IPv6 bits) of ECS that zones use.
    pub cutoffs: Vec<(u8, u8)>,
}

/// The class of every address, where nets longer than a cut-off are not seen.
#[derive(Debug, Clone)]
pub struct ClassRanges {
    /// In bits of IPv4 and IPv6; `None`: all nets are seen.
    pub cutoff: Option<(u8, u8)>,
    /// Classes of IPv4 addresses.
    pub v4: Spans<u32, ClassId>,
    /// Classes of IPv6 addresses; the greatest id where an IPv4 address is inside.
    pub v6: Spans<u128, ClassId>,
}

/// What clients were placed by, and the class of every address that follows.
#[derive(Debug, Default)]
pub struct Placement {
    /// What it is made of.
    pub sources: ClientSources,
    /// The classes without a cut-off, and for each cut-off of the sources.
    pub ranges: Vec<ClassRanges>,
}

/// How clients are placed. `placing` makes it.
#[derive(Debug, Clone)]
pub struct Clients {
    /// All classes, indexed by [`ClassId`].
    pub classes: Vec<ClientClass>,
    /// What policies ask about clients, each question once, indexed by [`SelectorId`].
    pub selectors: Vec<Selector>,
    /// Nets and their classes, each net once, in no order of meaning: all there is where there is no `placement`, as in
    /// small worlds made by hand.
    pub rules: Vec<ClientRule>,
    /// The class of clients of whom nothing is known: the default region's, or the unknown one.
    pub fallback: ClassId,
    /// The class of every address, as the files say.
    pub placement: Option<Arc<Placement>>,
}

impl Default for Clients {
    /// Every client is unknown.
    fn default() -> Clients {
        Clients {
            classes: vec![ClientClass::default()],
            selectors: Vec::new(),
            rules: Vec::new(),
            fallback: ClassId(0),
            placement: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_short_lists() {
        let nets = (0..6).map(|n| format!("10.{n}.0.0/16").parse().unwrap()).collect();
        let all = Selector {
            groups: vec!["offices".into()],
            regions: vec![RegionId(1), RegionId(0)],
            nets,
            asns: vec![64500],
            countries: vec![Country::parse("DE").unwrap(), Country::parse("NL").unwrap()],
            continents: vec![Continent::Europe],
            unknown: true,
        };
        let region = |name: &str| Region { name: name.into(), location: None };
        let regions = [region("eu"), region("us")];
        assert_eq!(
            all.words(&regions),
            "group offices: regions us, eu; nets 10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16 and 2 more; \
             AS 64500; countries DE, NL; \
             continents EU; unknown clients"
        );
        assert_eq!(Selector { unknown: true, ..Selector::default() }.words(&regions), "unknown clients");
    }
}
