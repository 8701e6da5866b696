//! Tests of targets over two zones that have names in common.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::control::test_world;
use crate::model::{Member, Pool, Region, Steering};
use crate::wire::Name;

/// `svc.example.` has `fra1`, `nyc` and `plain`, and the pools `web` (`fra1`, and `deep` in it) and `deep` (`nyc`);
/// `other.example.` has a `fra1` and a `fra2`, both in eu-west, and a pool `web` of `fra2`. A region has nothing in
/// it.
pub(crate) fn model() -> Model {
    let mut model = test_world::model();
    model.regions.push(Region { name: "empty".into(), ..model.regions[0].clone() });
    let other = crate::model::Zone { apex: Name::parse("other.example.").unwrap(), ..(*model.zones[0]).clone() };
    model.zones.push(Arc::new(crate::model::Zone { steered: Vec::new(), ..other }));
    for name in ["fra1", "fra2"] {
        let first = model.endpoints[0].clone();
        model.endpoints.push(Endpoint { name: name.into(), zone: ZoneId(1), ..first });
    }
    let to = |to: MemberRef| Member::new(to, 1);
    let endpoint = |id| to(MemberRef::Endpoint(EndpointId(id)));
    model.pools = vec![
        Pool::new("web", Steering::Weighted, vec![endpoint(0), to(MemberRef::Pool(PoolId(1)))]),
        Pool::new("deep", Steering::Weighted, vec![endpoint(1)]),
        Pool::new("web", Steering::Weighted, vec![endpoint(4)]),
    ];
    model
}

#[test]
fn a_target_matches_these_endpoints() {
    let model = model();
    for (target, expected) in [
        ("fra1", &[0, 3][..]),
        ("plain", &[2]),
        ("svc.example./fra1", &[0]),
        ("OTHER.example/fra1", &[3]),
        ("fra*", &[0, 3, 4]),
        ("*", &[0, 1, 2, 3, 4]),
        ("*a*", &[0, 2, 3, 4]),
        ("fra?", &[0, 3, 4]),
        ("other.example/fra*", &[3, 4]),
        ("pool:web", &[0, 1, 4]),
        ("pool:deep", &[1]),
        ("pool:other.example/web", &[4]),
        ("region:eu-west", &[0, 3, 4]),
        ("zone:svc.example", &[0, 1, 2]),
        ("zone:Other.Example.", &[3, 4]),
        ("FRA1", &[]),
        ("fra", &[]),
        ("", &[]),
        ("region:", &[]),
        ("zone:", &[]),
        ("pool:*", &[]),
        ("/fra1", &[]),
    ] {
        let found: Vec<u32> = endpoints_of(target, &model).iter().map(|id| id.0).collect();
        assert_eq!(found, expected, "{target}");
        assert_eq!(endpoints_of(target, &model), Index::of(&model).endpoints(&Target::parse(target)), "{target}");
    }
}

#[test]
fn the_narrower_of_two_targets_goes_before_the_wider() {
    let order = [
        "zone:svc.example",
        "region:eu-west",
        "pool:web",
        "pool:svc.example/web",
        "fra*",
        "svc.example/fra*",
        "fra1",
        "svc.example/fra1",
    ];
    let ranks: Vec<Rank> = order.iter().map(|target| Target::parse(target).rank()).collect();
    assert!(ranks.is_sorted() && ranks.windows(2).all(|pair| pair[0] != pair[1]), "{ranks:?}");
    assert_eq!(Target::parse("zone:Svc.Example"), Target::parse("zone:svc.example."), "one zone, written twice");
}

#[test]
fn a_target_that_matches_nothing_is_refused_with_a_hint() {
    let model = model();
    for (target, expected) in [
        ("fra3", "no endpoint is called `fra3`; did you mean `fra2`?"),
        ("zzz", "no endpoint is called `zzz`; there is `fra1`, `fra2`, `nyc` and `plain`"),
        ("web", "no endpoint is called `web`; did you mean `pool:web`?"),
        ("eu-west", "no endpoint is called `eu-west`; did you mean `region:eu-west`?"),
        ("svc.example", "no endpoint is called `svc.example`; did you mean `zone:svc.example`?"),
        ("regoin:eu-west", "no endpoint is called `regoin:eu-west`; did you mean `region:eu-west`?"),
        ("pol:web", "no endpoint is called `pol:web`; did you mean `pool:web`?"),
        ("region:eu-wets", "no region is called `eu-wets`; did you mean `eu-west`?"),
        ("region:empty", "no endpoint is in region `empty`"),
        ("pool:wbe", "no pool is called `wbe`; did you mean `web`?"),
        ("pool:other.example/deep", "no pool of zone `other.example.` is called `deep`; there is `web`"),
        ("zone:svc.exmaple", "no zone is called `svc.exmaple.`; did you mean `svc.example.`?"),
        ("svc.exmaple/fra1", "no zone is called `svc.exmaple.`; did you mean `svc.example.`?"),
        (
            "svc.example/fra2",
            "no endpoint of zone `svc.example.` is called `fra2`; did you mean `other.example./fra2`?",
        ),
        ("FRA1", "no endpoint is called `FRA1`; did you mean `fra1`?"),
        ("PLAIN", "no endpoint is called `PLAIN`; did you mean `plain`?"),
        ("192.0.2.10", "no endpoint is called `192.0.2.10`; it is an address of `fra1`"),
        ("2001:DB8:1::10", "no endpoint is called `2001:DB8:1::10`; it is an address of `fra1`"),
        ("www", "no endpoint is called `www`; it is a steered name, and is answered from `fra1`"),
        (
            "WWW.svc.example.",
            "no endpoint is called `WWW.svc.example.`; it is a steered name, and is answered from `fra1`",
        ),
        ("vantage:ns1", &format!("no endpoint is called `vantage:ns1`; a TARGET is {FORMS}")),
        ("region:", &format!("`region:` is not complete: a TARGET is {FORMS}")),
        ("pool:", &format!("`pool:` is not complete: a TARGET is {FORMS}")),
        ("zone:", &format!("`zone:` is not complete: a TARGET is {FORMS}")),
        ("/fra1", &format!("`/fra1` is not complete: a TARGET is {FORMS}")),
        ("svc.example/", &format!("`svc.example/` is not complete: a TARGET is {FORMS}")),
        (&"a".repeat(500), &format!("a TARGET of 500 octets matches nothing: a TARGET is {FORMS}")),
        ("zzz*", "no endpoint matches `zzz*`; there is `fra1`, `fra2`, `nyc` and `plain`"),
    ] {
        assert_eq!(no_target(target, &model), expected, "{target}");
    }
}

/// The definition of a glob as a slow recursive function.
fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', after)), _) => (0..=name.len()).any(|at| matches_slowly(after, &name[at..])),
        (Some((b'?', after)), Some((_, rest))) => matches_slowly(after, rest),
        (Some((byte, after)), Some((first, rest))) => byte == first && matches_slowly(after, rest),
        (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn a_glob_matches_as_its_definition_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
        prop_assert_eq!(glob::matches(&pattern, &name), matches_slowly(pattern.as_bytes(), name.as_bytes()));
    }
}
