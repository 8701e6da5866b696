//! Tests of the book of overrides.

use proptest::prelude::*;

use super::*;
use crate::control::test_world;

/// `fra1` is in eu-west, `nyc` in us-east, `plain` nowhere.
fn model() -> Model {
    test_world::model()
}

fn entry(target: &str, state: OverrideState, until: Option<f64>) -> Override {
    Override { target: target.into(), state, why: "rack move".into(), who: "alice".into(), until, zones: None }
}

fn resolved(book: &Book) -> Vec<(u32, OverrideState)> {
    let mut all: Vec<_> = book.resolve(&model()).into_iter().map(|(id, entry)| (id.0, entry.state)).collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    all
}

#[test]
fn an_override_of_an_endpoint_goes_before_that_of_its_region() {
    let mut book = Book::default();
    assert_eq!(book.put(entry("region:eu-west", OverrideState::Drain, None), &model()), Ok(None));
    assert_eq!(resolved(&book), [(0, OverrideState::Drain)]);
    book.put(entry("fra1", OverrideState::Up, None), &model()).unwrap();
    book.put(entry("plain", OverrideState::Down, None), &model()).unwrap();
    assert_eq!(resolved(&book), [(0, OverrideState::Up), (2, OverrideState::Down)]);
    assert_eq!(book.clear("fra1", None, &model()).unwrap()[0].state, OverrideState::Up);
    assert_eq!(resolved(&book), [(0, OverrideState::Drain), (2, OverrideState::Down)]);
}

#[test]
fn the_last_override_of_a_target_counts() {
    let mut book = Book::default();
    book.put(entry("fra1", OverrideState::Drain, None), &model()).unwrap();
    let before = book.put(entry("fra1", OverrideState::Down, None), &model()).unwrap();
    assert_eq!(before.unwrap().state, OverrideState::Drain);
    assert_eq!((resolved(&book), book.all().len()), (vec![(0, OverrideState::Down)], 1));
}

#[test]
fn an_override_ends_at_its_time_and_not_before() {
    let mut book = Book::default();
    book.put(entry("fra1", OverrideState::Drain, Some(200.0)), &model()).unwrap();
    book.put(entry("nyc", OverrideState::Drain, Some(100.5)), &model()).unwrap();
    book.put(entry("plain", OverrideState::Drain, None), &model()).unwrap();
    assert_eq!((book.next_end(), book.expire(100.0)), (Some(100.5), vec![]));
    let ended = book.expire(100.5);
    assert_eq!((ended.len(), &*ended[0].target, book.next_end()), (1, "nyc", Some(200.0)));
    assert_eq!((book.expire(1e12).len(), book.next_end(), book.all().len()), (1, None, 1));
}

#[test]
fn a_target_that_matches_nothing_is_refused_with_what_is_near() {
    let mut small = model();
    small.pools.push(crate::model::Pool::new("eu", crate::model::Steering::Weighted, vec![]));
    small.regions.push(crate::model::Region { name: "empty".into(), ..small.regions[0].clone() });
    for (target, expected) in [
        ("fra2", "no endpoint is called `fra2`; did you mean `fra1`?"),
        ("FRA1", "no endpoint is called `FRA1`; did you mean `fra1`?"),
        ("zzz", "no endpoint is called `zzz`; there is `fra1`, `nyc` and `plain`"),
        ("eu", "no endpoint is called `eu`; did you mean `pool:eu`?"),
        ("eu-west", "no endpoint is called `eu-west`; did you mean `region:eu-west`?"),
        ("region:eu-wets", "no region is called `eu-wets`; did you mean `eu-west`?"),
        ("region:empty", "no endpoint is in region `empty`"),
    ] {
        let refused = Book::default().put(entry(target, OverrideState::Drain, None), &small);
        assert_eq!(refused, Err(OverrideError::NoTarget(expected.into())));
    }
    let refused = |target| Book::default().clear(target, None, &small).unwrap_err().to_string();
    assert_eq!(refused("fra2"), "no endpoint is called `fra2`; did you mean `fra1`?");
    assert_eq!(refused("fra1"), "there is no override of `fra1` to clear");
    let mut book = Book::default();
    book.put(entry("region:eu-west", OverrideState::Drain, None), &small).unwrap();
    let refused = book.clear("fra1", None, &small).unwrap_err().to_string();
    assert_eq!(refused, "there is no override of `fra1` to clear; there is one of `region:eu-west`");
}

#[test]
fn a_glob_that_is_longer_than_any_name_matches_nothing() {
    let long = |stars: usize| entry(&format!("{}fra1", "*".repeat(stars)), OverrideState::Drain, None);
    assert!(Book::default().put(long(396), &model()).is_ok());
    let refused = Book::default().put(long(397), &model()).unwrap_err().to_string();
    assert!(refused.starts_with("a TARGET of 401 octets matches nothing"), "{refused}");
}

#[test]
fn an_override_outlives_its_target_and_is_listed() {
    let mut book = Book::default();
    book.put(entry("plain", OverrideState::Drain, None), &model()).unwrap();
    let mut smaller = model();
    smaller.endpoints.pop();
    assert!(book.resolve(&smaller).is_empty());
    assert_eq!(book.without_endpoints(&smaller)[0].target, "plain");
    assert!(book.without_endpoints(&model()).is_empty());
    assert!(book.clear("plain", None, &smaller).is_ok(), "it can still be cleared");
}

#[test]
fn a_full_book_refuses_an_override() {
    let mut book = Book::default();
    for n in 0..MAX_OVERRIDES {
        book.entries.push(Arc::new(entry(&format!("e{n}"), OverrideState::Drain, None)));
    }
    assert_eq!(book.put(entry("fra1", OverrideState::Drain, None), &model()), Err(OverrideError::Full));
}

#[test]
fn a_book_of_saved_overrides_has_the_newest_of_each_target() {
    let all = [("fra1", OverrideState::Drain), ("region:us-east", OverrideState::Up), ("fra1", OverrideState::Down)];
    let book = Book::of(all.iter().map(|(target, state)| entry(target, *state, None)).collect()).unwrap();
    let states = book.entries().iter().map(|entry| (&*entry.target, entry.state)).collect::<Vec<_>>();
    assert_eq!(states, [("region:us-east", OverrideState::Up), ("fra1", OverrideState::Down)]);
    let many = vec![entry("fra1", OverrideState::Drain, None); MAX_OVERRIDES + 1];
    assert!(Book::of(many).unwrap_err().contains("10001"));
}

#[test]
fn why_is_one_line_of_visible_text_and_for_is_a_duration() {
    for (why, ok) in [
        ("rack move", true),
        (" ", false),
        ("a\nb", false),
        ("a\u{1b}[2Jb", false),
        ("a\u{202e}b", false),
        ("\u{200b} \u{feff}", false),
        ("a\u{9b}b", false),
        ("\u{e9}t\u{e9}", true),
        (&"x".repeat(256), true),
        (&"x".repeat(257), false),
    ] {
        assert_eq!(check_why(why).is_ok(), ok, "{why:?}");
    }
    for (text, expected) in [
        ("2h", Some(7200)),
        ("1h 30m", Some(5400)),
        ("366days", Some(366 * 86_400)),
        ("367days", None),
        ("0s", None),
        ("1d", Some(86_400)),
        ("1y", Some(31_557_600)),
        ("2years", None),
        ("999999999999y", None),
        ("99999999999999999999y", None),
        ("1h30m", Some(5400)),
        ("1.5h", Some(5400)),
        ("for ever", None),
        ("\u{661}h", None),
        ("2", None),
        ("-2h", None),
        ("", None),
    ] {
        assert_eq!(duration_of(text).ok().map(|time| time.as_secs()), expected, "{text}");
    }
}

#[test]
fn the_narrowest_target_counts_and_of_two_equal_ones_the_newer() {
    use OverrideState::{Down, Drain, Up};
    let model = crate::control::target::tests::model();
    let resolved = |book: &Book| {
        let resolved = book.resolve(&model);
        let state =
            |id: u32| resolved.get(&EndpointId(id)).map(|entry| format!("{} {}", entry.target, entry.state.as_str()));
        (0..5).map(|id| state(id).unwrap_or_default()).collect::<Vec<_>>()
    };
    let mut book = Book::default();
    for (target, state) in [
        ("svc.example./fra1", Up),
        ("fra1", Drain),
        ("fra?", Down),
        ("f*", Up),
        ("pool:deep", Down),
        ("pool:web", Drain),
        ("region:us-east", Up),
        ("zone:svc.example", Up),
    ] {
        book.put(entry(target, state, None), &model).unwrap();
    }
    let expected = ["svc.example./fra1 up", "pool:web drain", "zone:svc.example up", "fra1 drain", "f* up"];
    assert_eq!(resolved(&book), expected);
    let again = Book::of(book.entries().iter().map(|entry| Override::clone(entry)).collect()).unwrap();
    assert_eq!(resolved(&again), expected, "age outlives a restart");
    book.put(entry("fra?", Down, None), &model).unwrap();
    book.put(entry("pool:deep", Drain, None), &model).unwrap();
    assert_eq!(resolved(&book)[4], "fra? down", "set again, so newer");
    assert_eq!(resolved(&book)[1], "pool:deep drain");
    assert_eq!(
        book.clear("zone:SVC.example.", None, &model).unwrap()[0].target,
        "zone:svc.example",
        "one zone, written twice"
    );
    let refused = book.clear("zone:svc.example.", None, &model).unwrap_err().to_string();
    assert_eq!(
        refused,
        "there is no override of `zone:svc.example.` to clear; there is one of `pool:deep`, `svc.example./fra1`"
    );
}

fn zone(name: &str) -> Name {
    Name::parse(name).unwrap()
}

/// An override of the token `who`, which is for these zones.
fn of_token(who: &str, target: &str, state: OverrideState, zones: Option<&[&str]>) -> Override {
    let zones = zones.map(|zones| zones.iter().map(|name| zone(name)).collect());
    Override { who: who.into(), zones, ..entry(target, state, None) }
}

/// The model of the tests of targets without `other.example.`.
fn without_other(model: &Model) -> Model {
    let mut away = model.clone();
    away.zones.pop();
    away.endpoints.retain(|endpoint| endpoint.zone.0 == 0);
    away.pools.pop();
    away
}

#[test]
fn a_token_for_a_zone_neither_replaces_nor_clears_what_counts_elsewhere_while_the_other_zone_is_away() {
    use OverrideState::{Down, Drain};
    let whole = crate::control::target::tests::model();
    let away = without_other(&whole);
    let svc = [zone("svc.example.")];
    let mut book = Book::default();
    book.put(of_token("alice", "fra1", Down, None), &whole).unwrap();
    let before = book.put(of_token("carol", "fra1", Drain, Some(&["svc.example."])), &away).unwrap();
    assert_eq!(before, None, "alice's stays");
    let states = |book: &Book| {
        let resolved = book.resolve(&whole);
        [0, 3].map(|id| resolved.get(&EndpointId(id)).map(|entry| (entry.who.clone(), entry.state)))
    };
    let [carols, alices] = [("carol", Drain), ("alice", Down)].map(|(who, state)| Some((who.to_owned(), state)));
    assert_eq!(states(&book), [carols, alices.clone()], "each counts in its zones, and of two the newer");
    assert_eq!(book.clear("fra1", Some(&svc), &whole).unwrap()[0].who, "carol", "also while the other zone is there");
    for model in [&away, &whole] {
        let refused = book.clear("fra1", Some(&svc), model).unwrap_err();
        assert!(matches!(refused, OverrideError::OutsideZones(_)), "{refused:?}");
    }
    let refused = book.clear("fra1", Some(&svc), &away).unwrap_err().to_string();
    assert_eq!(refused, "this token is for svc.example., and alice's override of `fra1` counts in all zones");
    assert_eq!(states(&book), [alices.clone(), alices]);
    book.put(of_token("alice", "svc.example/fra1", Drain, None), &whole).unwrap();
    assert_eq!(book.clear("svc.example/fra1", Some(&svc), &whole).unwrap().len(), 1, "its target is in the zone");
}

#[test]
fn a_token_for_all_zones_clears_every_override_of_a_target() {
    use OverrideState::{Down, Drain};
    let whole = crate::control::target::tests::model();
    let mut book = Book::default();
    let zones = ["svc.example.", "other.example."];
    book.put(of_token("alice", "fra1", Down, None), &whole).unwrap();
    book.put(of_token("carol", "fra1", Drain, Some(&zones)), &whole).unwrap();
    let before = book.put(of_token("dave", "fra1", Drain, Some(&["other.example.", "svc.example."])), &whole).unwrap();
    assert_eq!(before.unwrap().who, "carol", "the same zones in another order");
    let cleared: Vec<String> =
        book.clear("fra1", None, &whole).unwrap().iter().map(|entry| entry.who.clone()).collect();
    assert_eq!(cleared, ["dave", "alice"], "the newest first");
    assert!(book.all().is_empty());
}

#[test]
fn tokens_for_zones_cannot_fill_the_book() {
    let whole = crate::control::target::tests::model();
    let mut book = Book::default();
    let of_carol = |target: &str| of_token("carol", target, OverrideState::Drain, Some(&["svc.example."]));
    book.entries.extend((0..MAX_OF_ZONES).map(|n| Arc::new(of_carol(&format!("e{n}")))));
    assert_eq!(book.put(of_carol("nyc"), &whole), Err(OverrideError::FullForZones));
    assert!(book.put(of_carol("e0"), &whole).is_err(), "it matches nothing");
    assert!(book.put(of_token("alice", "nyc", OverrideState::Drain, None), &whole).is_ok());
    assert!(book.put(of_token("dave", "fra2", OverrideState::Drain, Some(&["other.example."])), &whole).is_ok());
    book.entries.extend(
        (0..MAX_WITH_ZONES)
            .map(|n| Arc::new(of_token("erin", &format!("f{n}"), OverrideState::Drain, Some(&["third.example."])))),
    );
    let refused = book.put(of_token("dave", "region:empty", OverrideState::Drain, Some(&["other.example."])), &whole);
    assert!(matches!(refused, Err(OverrideError::NoTarget(_))), "{refused:?}");
    let refused =
        book.put(of_token("dave", "other.example/*", OverrideState::Drain, Some(&["other.example."])), &whole);
    assert_eq!(refused, Err(OverrideError::FullForZones));
    assert!(book.put(of_token("alice", "plain", OverrideState::Drain, None), &whole).is_ok());
}

proptest! {
    /// Whatever a token for `svc.example.` does, and whether or not the other zone is served then, `other.example.` has
    /// the overrides that others set.
    #[test]
    fn a_token_for_a_zone_changes_nothing_in_others(
        calls in prop::collection::vec((0..9_usize, 0..3_usize, any::<bool>(), any::<bool>(), any::<bool>()), 1..40),
    ) {
        let whole = crate::control::target::tests::model();
        let away = without_other(&whole);
        let targets = [
            "fra1", "fra*", "*", "pool:web", "region:eu-west", "zone:svc.example", "zone:other.example",
            "svc.example/fra1", "OTHER.example./fra1",
        ];
        let svc = [zone("svc.example.")];
        let elsewhere = |book: &Book| {
            let all = book.resolve(&whole);
            let of = |entry: &Arc<Override>| (entry.target.clone(), entry.state, entry.who.clone());
            [3, 4].map(|id| all.get(&EndpointId(id)).map(of))
        };
        let mut book = Book::default();
        for (target, state, is_scoped, is_put, is_away) in calls {
            let (target, model) = (targets[target], if is_away { &away } else { &whole });
            let state = [OverrideState::Drain, OverrideState::Up, OverrideState::Down][state];
            let before = elsewhere(&book);
            let (who, zones) = if is_scoped { ("carol", Some(&["svc.example."][..])) } else { ("alice", None) };
            let done = match is_put {
                true => book.put(of_token(who, target, state, zones), model).map(|_| ()),
                false => book.clear(target, is_scoped.then_some(&svc[..]), model).map(|_| ()),
            };
            if is_scoped || done.is_err() {
                prop_assert_eq!(elsewhere(&book), before, "{} {} {}: {:?}", who, is_put, target, done);
            }
            let again = Book::of(book.entries().iter().map(|entry| Override::clone(entry)).collect()).unwrap();
            prop_assert_eq!(&again, &book);
        }
    }
}
