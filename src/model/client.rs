//! Clients: which region a client's address belongs to, its class, and the scope for which that holds.

use ipnet::IpNet;

use crate::model::{Continent, Country};

/// Index of a region in its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub u16);

/// Index of a client class in its model. Clients of one class get the same decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u16);

/// A named part of the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its name in files and on metrics.
    pub name: String,
    /// Where it is; without, it is never the nearest.
    pub location: Option<Location>,
}

/// A place on the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

/// Index of a selector in its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SelectorId(pub u16);

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

/// "Clients of this net are of this class."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRule {
    /// The net; the most specific one decides.
    pub net: IpNet,
    /// The class of its clients.
    pub class: ClassId,
}

/// How clients are placed.
#[derive(Debug, Clone)]
pub struct Clients {
    /// All classes, indexed by [`ClassId`].
    pub classes: Vec<ClientClass>,
    /// What policies ask about clients, each question once, indexed by [`SelectorId`].
    pub selectors: Vec<Selector>,
    /// Nets that place a client, each net once, in no order of meaning.
    pub rules: Vec<ClientRule>,
    /// The class of clients that no rule places: the default region's, or the unknown one.
    pub fallback: ClassId,
}

impl Default for Clients {
    /// Every client is unknown.
    fn default() -> Clients {
        Clients {
            classes: vec![ClientClass::default()],
            selectors: Vec::new(),
            rules: Vec::new(),
            fallback: ClassId(0),
        }
    }
}
