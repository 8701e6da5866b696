//! The location of a client at an address, as text: what determined its region, its facts in the databases, and the
//! selectors that match it.

use std::net::IpAddr;

use crate::control::explain::{ClientAddress, ClientPosition, class_name, region_name};
use crate::model::{ClassId, Clients, Facts, Model, PolicyId, Region};
use crate::placing::{self, ClientPlacement, RegionSource};
use crate::snapshot::{KnownBy, Snapshot};

pub(super) fn locate_address(snapshot: &Snapshot, policy: PolicyId, ip: IpAddr) -> ClientPosition {
    let (class, reach) = snapshot.class(ip);
    let (local, own_scope) = snapshot.place(ip, policy, KnownBy::Address);
    let (by_ecs, ecs_scope) = snapshot.place(ip, policy, KnownBy::Ecs);
    let model = &snapshot.model;
    let mut why = located_by(model, ip);
    match reach {
        0 => why.push_str("; so is every client of this family"),
        _ => why.push_str(&format!("; the same for all of {}", net(ip, reach))),
    }
    why.push_str(&holding(&model.clients, &model.regions, class));
    if local != by_ecs {
        let first_of_it = snapshot.first_class(policy, by_ecs);
        why.push_str(&format!("; known by ECS only, it is of class {}", class_name(model, first_of_it)));
        why.push_str(&holding(&model.clients, &model.regions, first_of_it));
    }
    let (by, len) = if local == by_ecs { (KnownBy::Ecs, ecs_scope) } else { (KnownBy::Address, own_scope) };
    ClientPosition { class, local, why, address: Some(ClientAddress { ip, by, len }) }
}

pub(super) fn net(ip: IpAddr, len: u8) -> String {
    ipnet::IpNet::new(ip, len).map_or_else(|_| ip.to_string(), |net| net.trunc().to_string())
}

/// What determined the client's region, and the facts of its address.
fn located_by(model: &Model, ip: IpAddr) -> String {
    match placing::explain(&model.clients, ip) {
        Some(placement) => by_placement(model, &placement),
        None => by_rules(&model.clients, ip),
    }
}

fn by_placement(model: &Model, placement: &ClientPlacement) -> String {
    let mut why = match (placement.by, placement.region) {
        (RegionSource::Net(net), _) => format!("by the net {net}"),
        (RegionSource::Asn(asn), _) => format!("by AS{asn}"),
        (RegionSource::Country(country), _) => format!("by the country {country}"),
        (RegionSource::Continent(continent), _) => format!("by the continent {continent}"),
        (RegionSource::Nearest, region) => {
            let from = region.and_then(|region| model.region(region).location).zip(placement.facts.point);
            let km = from.map(|(region, client)| region.metres_to(client.location()) / 1000.0);
            match (region, km) {
                (Some(region), Some(km)) => format!("{} is nearest, {km:.0} km away", region_name(model, region)),
                (_, None) | (None, _) => "by its location".to_owned(),
            }
        }
        (RegionSource::Default, _) => "no region matches it, so it belongs to the default region".to_owned(),
        (RegionSource::Nothing, _) => "no region matches it".to_owned(),
    };
    why.push_str(&known(&placement.facts));
    why
}

/// The facts as text: ` (databases: DE, EU, AS3320, at 50.11 8.68)`.
fn known(facts: &Facts) -> String {
    let Facts { country, continent, point, asn } = facts;
    let at = point.map(|point| point.location());
    let parts: Vec<String> = [
        country.map(|country| country.to_string()),
        continent.map(|continent| continent.to_string()),
        asn.map(|asn| format!("AS{asn}")),
        at.map(|at| format!("at {:.2} {:.2}", at.latitude, at.longitude)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { String::new() } else { format!(" (databases: {})", parts.join(", ")) }
}

fn by_rules(clients: &Clients, ip: IpAddr) -> String {
    let rules = clients.rules.iter().filter(|rule| rule.net.contains(&ip));
    match rules.max_by_key(|rule| rule.net.prefix_len()) {
        Some(rule) => format!("by the net {}", rule.net),
        None => "no net matches it, so it belongs to the default class".to_owned(),
    }
}

/// The selectors of a class: `; it is among [continents EU] [nets 10.0.0.0/8]`.
fn holding(clients: &Clients, regions: &[Region], class: ClassId) -> String {
    let Some(class) = clients.classes.get(usize::from(class.0)) else { return String::new() };
    let held: Vec<String> = class
        .selectors
        .iter()
        .filter_map(|selector| clients.selectors.get(usize::from(selector.0)))
        .map(|selector| format!("[{}]", selector.words(regions)))
        .collect();
    if held.is_empty() { String::new() } else { format!("; it is among {}", held.join(" ")) }
}
