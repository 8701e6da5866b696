//! Bytes to facts: both schemas, both families, and everything that can be wrong with a file.

use std::net::IpAddr;

use proptest::prelude::*;

use super::test_writer::{Value, file, flat, map, nested, net, text};
use super::*;
use crate::model::{Continent, Country, Facts, Point};
use crate::placing::facts_of;

fn decoded(octets: Vec<u8>) -> Result<Database, MmdbError> {
    decode("f".to_owned(), FileStamp::default(), octets)
}

fn country(code: &str, facts: Facts) -> Facts {
    let country = Country::parse(code);
    Facts { country, continent: country.map(Country::continent), ..facts }
}

#[test]
fn both_schemas_and_both_families_are_read() {
    let nothing = Facts::default();
    let at = |latitude, longitude| Facts { point: Point::from_degrees(latitude, longitude), ..nothing };
    let v4 = [(net("10.0.0.0/8"), flat("DE", 50.0, 8.5)), (net("192.0.2.128/25"), nested("FR", "EU"))];
    let v6 = [(net("2001:db8::/33"), flat("US", 39.0, -77.0)), (net("2a00::/12"), nested("NO", "EU"))];
    let both: Vec<(IpNet, Value)> = v4.iter().chain(&v6).cloned().collect();
    let [v4, v6, both] = [file(4, &v4), file(6, &v6), file(6, &both)].map(|octets| decoded(octets).unwrap());
    let cases = [
        ("10.9.9.9", country("DE", at(50.0, 8.5))),
        ("192.0.2.128", country("FR", nothing)),
        ("192.0.2.127", nothing),
        ("2001:db8:7fff::1", country("US", at(39.0, -77.0))),
        ("2001:db8:8000::1", nothing),
        ("2a0f::1", country("NO", nothing)),
        ("::ffff:10.0.0.1", country("DE", at(50.0, 8.5))),
    ];
    for (ip, expected) in cases {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!(facts_of(&both, ip), expected, "{ip}");
        assert_eq!(facts_of(&v4, ip).or(facts_of(&v6, ip)), expected, "{ip} in two files");
    }
    let sizes = |database: &Database| (database.v4.count(), database.v6.count());
    assert_eq!((sizes(&v4), sizes(&v6)), ((5, 1), (1, 5)));
}

#[test]
fn a_network_that_contains_all_of_ipv4_counts_for_it() {
    let database = decoded(file(6, &[(net("::/3"), nested("SE", "EU"))])).unwrap();
    assert_eq!(facts_of(&database, "192.0.2.1".parse().unwrap()).continent, Some(Continent::Europe));
}

#[test]
fn a_map_that_contains_itself_overflows_nothing() {
    let inner = map(&[("iso_code", text("pointer"))]);
    let mut octets = file(4, &[(net("10.0.0.0/8"), map(&[("country", inner)]))]);
    // In place of the text, a pointer to the inner map, which begins behind the outer map's control octet and its key.
    let at = octets.windows(8).position(|window| window == b"\x47pointer").unwrap();
    octets[at..at + 2].copy_from_slice(&[0x20, 9]);
    assert!(matches!(decoded(octets), Err(MmdbError::Broken(_) | MmdbError::NoFields(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_whatever_make_the_decoder_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let nets = [(net("10.0.0.0/14"), flat("DE", 50.0, 8.5)), (net("2001:db8::/33"), nested("US", "NA"))];
        let mut octets = file(6, &nets);
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()));
        }
        let _ = decoded(octets);
    }
}
