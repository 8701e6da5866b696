//! Where clients are, in small worlds: what gives the region, and which selectors hold.

mod property;

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::model::{
    ClientSources, Clients, Continent, Country, Database, Facts, FileStamp, Location, Point, Region, RegionId,
    Selector, SelectorId,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn country(code: &str) -> Country {
    Country::parse(code).unwrap()
}

/// `"10.0.0.0/8"` is a net, `"AS64500"` a system, `"DE"` a country, `"-EU"` a continent, `"?"` the unknown.
fn selector(of: &[&str]) -> Selector {
    let mut selector = Selector::default();
    for text in of {
        match (*text, text.strip_prefix("AS"), text.strip_prefix('-')) {
            ("?", ..) => selector.unknown = true,
            (_, Some(number), _) if !number.is_empty() => selector.asns.push(number.parse().unwrap()),
            (_, _, Some(code)) => selector.continents.push(Continent::parse(code).unwrap()),
            (code, ..) if code.len() == 2 => selector.countries.push(country(code)),
            (net, ..) => selector.nets.push(net.parse().unwrap()),
        }
    }
    selector
}

/// What a region claims, and where it is.
type Claim<'a> = (&'a [&'a str], Option<(f64, f64)>);

/// Regions `0`, `1`, ..., with these claims and, where given, a location.
fn world(regions: &[Claim<'_>]) -> (Vec<Region>, Vec<Selector>) {
    let region = |(at, (_, place)): (usize, &Claim<'_>)| Region {
        name: at.to_string(),
        location: place.map(|(latitude, longitude)| Location { latitude, longitude }),
    };
    (regions.iter().enumerate().map(region).collect(), regions.iter().map(|(claim, _)| selector(claim)).collect())
}

/// A database of nets in rising order, each with a country, a continent, a place or a system.
fn database(nets: &[(&str, Facts)]) -> Arc<Database> {
    let mut builder = DatabaseBuilder::new("test.mmdb".into(), FileStamp::default());
    for (net, facts) in nets {
        let facts = builder.add_facts(*facts);
        assert!(builder.add(net.parse().unwrap(), facts), "{net}");
    }
    Arc::new(builder.finish())
}

fn in_country(code: &str) -> Facts {
    Facts { country: Some(country(code)), continent: Some(country(code).continent()), ..Facts::default() }
}

fn of_asn(asn: u32) -> Facts {
    Facts { asn: Some(asn), ..Facts::default() }
}

fn at(latitude: f64, longitude: f64) -> Facts {
    Facts { point: Point::from_degrees(latitude, longitude), ..Facts::default() }
}

struct Scene {
    regions: Vec<Region>,
    claims: Vec<Selector>,
    selectors: Vec<Selector>,
    default: Option<RegionId>,
    databases: Vec<Arc<Database>>,
}

impl Scene {
    fn clients(&self, cutoffs: &[(u8, u8)]) -> Clients {
        let sources = ClientSources {
            regions: self.regions.clone(),
            claims: self.claims.clone(),
            default: self.default,
            databases: self.databases.clone(),
            cutoffs: cutoffs.to_vec(),
        };
        place(sources, &self.selectors, None).unwrap()
    }
}

/// For each address: its region, -1 for none, the selectors that hold, and what gave it the region.
fn check(sentence: &str, scene: &Scene, expected: &[(&str, i32, &[u16], RegionSource)]) {
    let clients = scene.clients(&[]);
    let table = ClientTable::compile(&clients, None, None);
    for (address, region, selectors, by) in expected {
        let class = &clients.classes[usize::from(table.lookup(ip(address)).0.0)];
        let holding: Vec<u16> = class.selectors.iter().map(|SelectorId(id)| *id).collect();
        let explained = explain(&clients, ip(address)).unwrap();
        assert_eq!(class.region.map_or(-1, |id| i32::from(id.0)), *region, "{sentence}: region of {address}");
        assert_eq!(holding, *selectors, "{sentence}: selectors of {address}");
        assert_eq!((explained.region, explained.by), (class.region, *by), "{sentence}: why of {address}");
    }
}

fn scene(regions: &[Claim<'_>], selectors: &[&[&str]], databases: &[&[(&str, Facts)]]) -> Scene {
    let (regions, claims) = world(regions);
    Scene {
        regions,
        claims,
        selectors: selectors.iter().map(|s| selector(s)).collect(),
        default: None,
        databases: databases.iter().map(|nets| database(nets)).collect(),
    }
}

fn by_net(net: &str) -> RegionSource {
    RegionSource::Net(net.parse().unwrap())
}

#[test]
fn the_most_specific_claim_gives_the_region() {
    let (dublin, sydney) = ((53.3, -6.3), (-33.9, 151.2));
    let regions: &[(&[&str], _)] = &[
        (&["10.0.0.0/8", "10.1.1.0/24"], Some(dublin)),
        (&["10.1.0.0/16", "DE", "AS7"], Some(sydney)),
        (&["-EU", "AS9"], None),
    ];
    let city = [
        ("10.0.0.0/8", in_country("DE")),
        ("20.0.0.0/8", in_country("DE")),
        ("21.0.0.0/8", in_country("FR")),
        ("22.0.0.0/8", at(-36.8, 174.8)),
        ("23.0.0.0/8", in_country("JP").or(at(51.5, 0.0))),
        ("24.0.0.0/8", in_country("JP")),
    ];
    let asn = [("20.1.0.0/16", of_asn(9)), ("21.1.0.0/16", of_asn(7)), ("24.0.0.0/8", of_asn(5))];
    let mut scene = scene(regions, &[], &[&city, &asn]);
    let expected: &[(&str, i32, &[u16], RegionSource)] = &[
        ("10.9.9.9", 0, &[], by_net("10.0.0.0/8")),
        ("10.1.9.9", 1, &[], by_net("10.1.0.0/16")),
        ("10.1.1.9", 0, &[], by_net("10.1.1.0/24")),
        ("20.0.0.1", 1, &[], RegionSource::Country(country("DE"))),
        ("20.1.0.1", 2, &[], RegionSource::Asn(9)),
        ("21.0.0.1", 2, &[], RegionSource::Continent(Continent::Europe)),
        ("21.1.0.1", 1, &[], RegionSource::Asn(7)),
        ("22.0.0.1", 1, &[], RegionSource::Nearest),
        ("23.0.0.1", 0, &[], RegionSource::Nearest),
        ("24.0.0.1", -1, &[], RegionSource::Nothing),
        ("::ffff:20.0.0.1", 1, &[], RegionSource::Country(country("DE"))),
        ("2001:db8::1", -1, &[], RegionSource::Nothing),
    ];
    check("without a default", &scene, expected);
    scene.default = Some(RegionId(0));
    check("with one", &scene, &[("24.0.0.1", 0, &[], RegionSource::Default), ("20.0.0.1", 1, &[], expected[3].3)]);
}

#[test]
fn selectors_hold_by_any_of_their_lists_and_by_the_region_where_databases_have_nothing() {
    let regions: &[(&[&str], _)] = &[(&["127.1.0.0/16", "IE"], None), (&["127.2.0.0/16", "US", "-NA"], None)];
    let selectors: &[&[&str]] = &[&["-EU"], &["US", "127.1.5.0/24"], &["?"], &["AS7"], &["DE", "127.0.0.0/8"]];
    let databases: &[&[(&str, Facts)]] =
        &[&[("9.0.0.0/8", in_country("DE")), ("127.2.9.0/24", in_country("DE"))], &[("8.0.0.0/8", of_asn(7))]];
    let scene = scene(regions, selectors, databases);
    check(
        "selectors",
        &scene,
        &[
            ("9.9.9.9", -1, &[0, 4], RegionSource::Nothing),
            ("8.8.8.8", -1, &[2, 3], RegionSource::Nothing),
            ("127.1.0.1", 0, &[0, 4], by_net("127.1.0.0/16")),
            ("127.1.5.1", 0, &[0, 1, 4], by_net("127.1.0.0/16")),
            ("127.2.0.1", 1, &[1, 4], by_net("127.2.0.0/16")),
            ("127.2.9.1", 1, &[0, 4], by_net("127.2.0.0/16")),
            ("127.3.0.1", -1, &[2, 4], RegionSource::Nothing),
            ("2001:db8::1", -1, &[2], RegionSource::Nothing),
        ],
    );
}
