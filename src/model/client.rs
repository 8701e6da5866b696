//! Clients: which region a client's address belongs to, its class, and the scope for which that holds.

use ipnet::IpNet;

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

/// What steering may know of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientClass {
    /// Its region; `None` is an unknown client.
    pub region: Option<RegionId>,
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
    /// Nets that place a client, each net once, in no order of meaning.
    pub rules: Vec<ClientRule>,
    /// The class of clients that no rule places: the default region's, or the unknown one.
    pub fallback: ClassId,
}

impl Default for Clients {
    /// Every client is unknown.
    fn default() -> Clients {
        Clients { classes: vec![ClientClass::default()], rules: Vec::new(), fallback: ClassId(0) }
    }
}
