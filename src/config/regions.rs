//! `[regions.NAME]`: the named parts of the world, and the clients that belong to them.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use serde_json::{Value as Json, json};

use crate::config::client_lists::{asns, continents, countries, net};
use crate::config::client_settings::{ClientKeys, ClientSettings, add_databases};
use crate::config::fields::mismatch;
use crate::config::keys::{check_name, custom, keys, texts};
use crate::config::net_files::{From, NetFiles};
use crate::config::node::{Kind, Node};
use crate::model::{
    ClassId, ClientClass, ClientRule, Clients, Continent, Country, Location, Region, RegionId, Selector,
};
use crate::source::{At, Place, Problems, Texts, Wall, did_you_mean, similar};

/// Most regions (judgment: no map has more; their ids have 16 bits).
const MAX_REGIONS: usize = 1000;

/// Reads the regions and their lists of clients; files are relative to the directory `base`. If no region is declared,
/// the only region is that of the node.
pub(super) fn read(
    declared: Vec<RegionKeys>,
    clients: Option<ClientKeys>,
    own: Option<&At<String>>,
    base: &Path,
    problems: &mut Problems,
) -> (Vec<Region>, Clients, ClientSettings) {
    let mut regions = Vec::new();
    let mut claims = Claims::default();
    if let Some(keys) = declared.get(MAX_REGIONS) {
        problems.error(&keys.name.place, format!("more than {MAX_REGIONS} regions"));
    }
    for keys in declared.into_iter().take(MAX_REGIONS) {
        check_name(&keys.name, "a region", problems);
        regions.push(region(keys, base, &mut claims, problems));
    }
    if let (true, Some(own)) = (regions.is_empty(), own) {
        check_name(own, "a region", problems);
        regions.push(Region { name: own.value.clone(), location: None });
        claims.of.push(Selector::default());
    }
    if let Some(own) = own {
        find(&regions, own, problems);
    }
    let net_files = claims.files.into_paths();
    let net = |(claimed, (_, _, place))| match claimed {
        Claimed::Net(net) => Some((net, place)),
        Claimed::Asn(_) | Claimed::Country(_) | Claimed::Continent(_) => None,
    };
    let net_places = claims.owners.into_iter().filter_map(net).collect();
    let mut settings = ClientSettings { claims: claims.of, net_places, net_files, ..ClientSettings::default() };
    if let Some(ClientKeys { mmdb, default_region, .. }) = clients {
        mmdb.into_iter().for_each(|list| add_databases(list, base, &mut settings));
        settings.default = default_region.and_then(|default| find(&regions, &default, problems));
    }
    (regions, by_nets(&settings), settings)
}

/// Looks up a reference to a region. An unknown name is a problem.
pub(super) fn find(regions: &[Region], written: &At<String>, problems: &mut Problems) -> Option<RegionId> {
    let found = regions.iter().position(|region| region.name == written.value);
    let known = || regions.iter().map(|region| region.name.as_str());
    if found.is_none() && written.value.is_empty() {
        let problem = problems.error(&written.place, "the name of the region is empty");
        problem.hint(did_you_mean("", known()).unwrap_or_else(|| "write that of a declared region".to_owned()));
    } else if found.is_none() {
        let problem = problems.error(&written.place, format!("region `{}` is not declared", written.value));
        let declare = format!("declare it in the settings: [regions.{}]", written.value);
        problem.hint(similar(&written.value, known()).unwrap_or_else(|| match did_you_mean(&written.value, known()) {
            Some(others) => format!("{others}; or {declare}"),
            None => declare,
        }));
    }
    found.map(|at| RegionId(at as u16))
}

fn region(keys: RegionKeys, base: &Path, claims: &mut Claims, problems: &mut Problems) -> Region {
    let name = keys.name.value.clone();
    let mut claim = claims.begin(&name);
    claim.nets(keys.nets.as_ref().map_or(&[], |at| &at.value), base, problems);
    let asns = keys.asns.iter().map(|at| ("asns", Claimed::Asn(at.value)));
    let countries = keys.countries.iter().map(|at| ("countries", Claimed::Country(at.value)));
    let continents = keys.continents.iter().map(|at| ("continents", Claimed::Continent(at.value)));
    for (key, claimed) in asns.chain(countries).chain(continents) {
        claim.one(claimed, keys.place_of(key).unwrap_or(&keys.name.place), problems);
    }
    Region { name, location: keys.location.map(|at| at.value) }
}

keys! {
    /// `[regions.NAME]`.
    RegionKeys in Clients {
        /// latitude and longitude: `[53.34, -6.26]`
        location: Location = custom(location, location_schema);
        /// `["198.18.0.0/16", "file:nets.txt"]`: clients of these nets belong to the region; the most specific net
        /// decides. A file has one net a line, and `#` comments
        nets: Vec<At<String>> = texts("[\"192.0.2.0/24\", \"file:nets.txt\"]");
        /// `[64500, "AS64501"]`: clients of these autonomous systems belong to the region
        asns: Vec<At<u32>> = asns(), default Vec::new();
        /// `["GB", "IE"]`: clients in these countries (ISO 3166-1) belong to the region
        countries: Vec<At<Country>> = countries(), default Vec::new();
        /// `["EU"]`: clients on these continents belong to the region: AF AN AS EU NA OC SA
        continents: Vec<At<Continent>> = continents(), default Vec::new();
    }
}

fn location_schema() -> Json {
    let [latitude, longitude] = [90, 180].map(|most| json!({ "type": "number", "minimum": -most, "maximum": most }));
    json!({ "type": "array", "prefixItems": [latitude, longitude], "items": false, "minItems": 2 })
}

fn location(_: &At<String>, node: Node, problems: &mut Problems) -> Option<Location> {
    let number = |node: &Node| match &node.kind {
        Kind::Integer(value) => Some(*value as f64),
        Kind::Float(value) => Some(*value),
        Kind::Loose(text) => text.trim().parse().ok(),
        Kind::Text(_) | Kind::Bool(_) | Kind::Date | Kind::List(_) | Kind::Table(_) => None,
    };
    let loose = |text: &str| Node { place: node.place.clone(), kind: Kind::Loose(text.to_owned()) };
    let numbers: Vec<Option<f64>> = match &node.kind {
        Kind::List(items) => items.iter().map(number).collect(),
        Kind::Loose(text) => text.split(',').map(|part| number(&loose(part))).collect(),
        other => return mismatch("location", "a list", "[53.34, -6.26]", (&node.place, other), problems),
    };
    if let [Some(latitude), Some(longitude)] = numbers[..]
        && latitude.abs() <= 90.0
        && longitude.abs() <= 180.0
    {
        return Some(Location { latitude, longitude });
    }
    let message = "`location` must be a latitude from -90 to 90 and a longitude from -180 to 180";
    problems.error(&node.place, message).hint("write `location = [53.34, -6.26]`");
    None
}

/// Something that belongs to one region only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Claimed {
    Net(IpNet),
    Asn(u32),
    Country(Country),
    Continent(Continent),
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claimed::Net(net) => write!(f, "{net} is a net"),
            Claimed::Asn(asn) => write!(f, "AS{asn} is an autonomous system"),
            Claimed::Country(country) => write!(f, "{country} is a country"),
            Claimed::Continent(continent) => write!(f, "{continent} is a continent"),
        }
    }
}

/// What belongs to all regions.
#[derive(Default)]
struct Claims {
    of: Vec<Selector>,
    owners: HashMap<Claimed, (RegionId, Arc<str>, Place)>,
    files: NetFiles,
}

/// What belongs to one region, while it is read.
struct Claim<'a> {
    all: &'a mut Claims,
    id: RegionId,
    name: Arc<str>,
}

impl Claims {
    fn begin(&mut self, name: &str) -> Claim<'_> {
        self.of.push(Selector::default());
        Claim { id: RegionId(self.of.len() as u16 - 1), name: Arc::from(name), all: self }
    }
}

impl Claim<'_> {
    /// Nets, and files of nets.
    fn nets(&mut self, list: &[At<String>], base: &Path, problems: &mut Problems) {
        for written in list {
            let Some(file) = written.value.strip_prefix("file:") else {
                if let Some(net) = net(written, problems) {
                    self.one(Claimed::Net(net), &written.place, problems);
                }
                continue;
            };
            let here = if base.as_os_str().is_empty() { Path::new(".") } else { base };
            let texts = Texts::of_directory(base, here);
            let from = From { shown: base, real: here, wall: Wall::Open, named_in: "settings file", texts: &texts };
            let file = At { value: file.to_string(), place: written.place.clone() };
            let nets = self.all.files.nets(&file, &from, problems);
            for net in nets.iter().flat_map(|nets| nets.iter()) {
                let is_own = self.all.owners.get(&Claimed::Net(*net)).is_some_and(|(owner, ..)| *owner == self.id);
                if !is_own {
                    self.one(Claimed::Net(*net), &file.place, problems);
                }
            }
        }
    }

    fn one(&mut self, claimed: Claimed, place: &Place, problems: &mut Problems) {
        match self.all.owners.get(&claimed) {
            Some((owner, _, first)) if *owner == self.id => {
                let what = claimed.to_string();
                let what = what.split(' ').next().unwrap_or_default();
                let problem = problems.warning(place, format!("{what} is listed twice"));
                problem.label(first, "first here").hint("leave one of them out");
            }
            Some((_, owner, first)) => {
                let message = format!("{claimed} of two regions: `{owner}` and `{}`", self.name);
                let problem = problems.error(place, message).label(first, format!("of region `{owner}`"));
                problem.hint("a client belongs to one region: keep one of them");
            }
            None => {
                self.all.owners.insert(claimed, (self.id, self.name.clone(), place.clone()));
                let own = &mut self.all.of[usize::from(self.id.0)];
                match claimed {
                    Claimed::Net(net) => own.nets.push(net),
                    Claimed::Asn(asn) => own.asns.push(asn),
                    Claimed::Country(country) => own.countries.push(country),
                    Claimed::Continent(continent) => own.continents.push(continent),
                }
            }
        }
    }
}

/// Clients by the nets of the regions only: one class for each region, and the unknown class if there is no default
/// region.
fn by_nets(settings: &ClientSettings) -> Clients {
    let regions = (0..settings.claims.len() as u16).map(RegionId);
    let mut classes: Vec<ClientClass> = regions.map(|region| ClientClass::of_region(Some(region))).collect();
    let of = |region: usize| ClassId(region as u16);
    let fallback = settings.default.map(|region| ClassId(region.0)).unwrap_or_else(|| {
        classes.push(ClientClass::default());
        of(classes.len() - 1)
    });
    let claims = settings.claims.iter().enumerate();
    let rules =
        claims.flat_map(|(at, claim)| claim.nets.iter().map(move |net| ClientRule { net: *net, class: of(at) }));
    Clients { rules: rules.collect(), classes, fallback, ..Clients::default() }
}
