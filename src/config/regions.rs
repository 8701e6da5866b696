//! `[regions.NAME]` and `[clients]`: the named parts of the world, and which clients belong to them.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::config::clients::ClientSettings;
use crate::config::fields::{Fields, text};
use crate::config::node::{Kind, Node};
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::{At, Place};
use crate::model::{ClassId, ClientClass, ClientRule, Clients, Location, Region, RegionId, Selector};

/// More regions than these don't fit the ids and no map (judgment).
const MAX_REGIONS: usize = 1000;

/// Reads regions and the placing of clients. Where no region is declared, the node's own is.
pub(super) fn read(
    top: &mut Fields,
    own: Option<&At<String>>,
    problems: &mut Problems,
) -> (Vec<Region>, Clients, ClientSettings) {
    let mut regions = Vec::new();
    let mut nets = Nets::default();
    let declared = top.named("regions", problems);
    if let Some((name, _)) = declared.get(MAX_REGIONS) {
        problems.error(&name.place, format!("more than {MAX_REGIONS} regions"));
    }
    for (name, fields) in declared.into_iter().take(MAX_REGIONS) {
        check_name(&name, "a region", problems);
        let id = RegionId(regions.len() as u16);
        regions.push(region(name.value, id, fields, &mut nets, problems));
    }
    if let (true, Some(own)) = (regions.is_empty(), own) {
        check_name(own, "a region", problems);
        regions.push(Region { name: own.value.clone(), location: None });
    }
    if let Some(own) = own {
        find(&regions, own, problems);
    }
    let default = top.table("clients", problems).and_then(|mut clients| {
        let default = clients.text("default_region", "\"eu-west\"", problems);
        clients.finish(&["mmdb"], problems);
        find(&regions, &default?, problems)
    });
    let mut claims = vec![Selector::default(); regions.len()];
    for (net, region) in &nets.rules {
        claims[usize::from(region.0)].nets.push(*net);
    }
    let clients = clients(&regions, nets.rules, default);
    (regions, clients, ClientSettings { claims, default })
}

/// The region that `written` names; a problem when there is none.
pub(super) fn find(regions: &[Region], written: &At<String>, problems: &mut Problems) -> Option<RegionId> {
    let found = regions.iter().position(|region| region.name == written.value);
    if found.is_none() {
        let problem = problems.error(&written.place, format!("region `{}` is not declared", written.value));
        let near = did_you_mean(&written.value, regions.iter().map(|region| region.name.as_str()));
        let declare = format!("declare it in the settings: [regions.{}]", written.value);
        problem.hint(match near {
            Some(near) if near.starts_with("did") => near,
            Some(others) => format!("{others}; or {declare}"),
            None => declare,
        });
    }
    found.map(|at| RegionId(at as u16))
}

/// Names go into URLs, metrics and arguments: letters, digits, `-`, `_` and `.`, at most 63 of them (judgment, as a DNS label).
pub(super) fn check_name(name: &At<String>, what: &str, problems: &mut Problems) {
    let plain = name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !plain || name.value.is_empty() || name.value.len() > 63 {
        let problem = problems.error(&name.place, format!("`{}` can't be the name of {what}", name.value));
        problem.hint("use 1 to 63 letters, digits, `-`, `_` and `.`");
    }
}

fn region(name: String, id: RegionId, mut fields: Fields, nets: &mut Nets, problems: &mut Problems) -> Region {
    let location = fields.list("location", "[53.34, -6.26]", problems).and_then(|at| location(at, problems));
    let example = "[\"192.0.2.0/24\"]";
    for item in fields.list("nets", example, problems).map_or_else(Vec::new, |list| list.value) {
        if let Some(written) = text(item, "nets", example, problems) {
            nets.add(&name, id, &written, problems);
        }
    }
    fields.finish(&["continents", "countries", "asns"], problems);
    Region { name, location }
}

fn location(written: At<Vec<Node>>, problems: &mut Problems) -> Option<Location> {
    let number = |node: &Node| match &node.kind {
        Kind::Integer(value) => Some(*value as f64),
        Kind::Float(value) => Some(*value),
        Kind::Loose(text) => text.parse().ok(),
        Kind::Text(_) | Kind::Bool(_) | Kind::Date | Kind::List(_) | Kind::Table(_) => None,
    };
    let numbers: Vec<Option<f64>> = written.value.iter().map(number).collect();
    match numbers[..] {
        [Some(latitude), Some(longitude)] if latitude.abs() <= 90.0 && longitude.abs() <= 180.0 => {
            Some(Location { latitude, longitude })
        }
        _ => {
            let message = "`location` must be a latitude from -90 to 90 and a longitude from -180 to 180";
            problems.error(&written.place, message).hint("write `location = [53.34, -6.26]`");
            None
        }
    }
}

/// A net, or an address as a net of one; with no bits beyond its length.
pub(super) fn net(written: &At<String>, problems: &mut Problems) -> Option<IpNet> {
    let text = &written.value;
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    let Ok(net) = parsed else {
        problems.error(&written.place, format!("\"{text}\" is not a net")).hint("write it as \"192.0.2.0/24\"");
        return None;
    };
    if net.trunc() != net {
        let problem = problems.error(&written.place, format!("{net} has bits beyond its length"));
        problem.hint(format!("write \"{}\"", net.trunc()));
        return None;
    }
    Some(net)
}

/// Nets of all regions, each once.
#[derive(Default)]
struct Nets {
    rules: Vec<(IpNet, RegionId)>,
    owners: HashMap<IpNet, (RegionId, String, Place)>,
}

impl Nets {
    fn add(&mut self, region: &str, id: RegionId, written: &At<String>, problems: &mut Problems) {
        let Some(net) = net(written, problems) else { return };
        match self.owners.get(&net) {
            Some((owner, _, first)) if *owner == id => {
                problems.warning(&written.place, format!("{net} is listed twice, first on line {}", first.line));
            }
            Some((_, owner, first)) => {
                let message = format!("{net} is a net of two regions: `{owner}` (line {}) and `{region}`", first.line);
                problems.error(&written.place, message).hint("a client belongs to one region: keep one of them");
            }
            None => {
                self.owners.insert(net, (id, region.to_string(), written.place.clone()));
                self.rules.push((net, id));
            }
        }
    }
}

/// A class a region, and the unknown class where nothing is default.
fn clients(regions: &[Region], nets: Vec<(IpNet, RegionId)>, default: Option<RegionId>) -> Clients {
    let of = |region: RegionId| ClassId(region.0);
    let mut classes: Vec<ClientClass> =
        (0..regions.len()).map(|at| ClientClass::of_region(Some(RegionId(at as u16)))).collect();
    let fallback = default.map(of).unwrap_or_else(|| {
        classes.push(ClientClass::default());
        ClassId(classes.len() as u16 - 1)
    });
    let rules = nets.into_iter().map(|(net, region)| ClientRule { net, class: of(region) }).collect();
    Clients { classes, rules, fallback, ..Clients::default() }
}
