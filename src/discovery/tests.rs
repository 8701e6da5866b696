//! Sets under simulated updates, and what they mean for endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::discovery::endpoints::{InstanceRules, endpoints_of};
use crate::discovery::{
    Instance, InstanceChanges, InstanceList, RefusedInstances, SourceSet, SourceState, Trouble, Update, set::SUDDEN,
};
use crate::model::{DiscoveredPool, HostRule, Moment};

const AT: Moment = Moment::from_start(Duration::from_secs(1000));

fn instance(key: &str) -> Instance {
    Instance::new(key, ["192.0.2.1".to_owned()], Some(80))
}

fn whole(max: usize, keys: impl IntoIterator<Item = String>) -> Update {
    let mut list = InstanceList::new(max);
    keys.into_iter().for_each(|key| list.push(instance(&key)));
    Update::Whole(list)
}

fn named(keys: &str) -> impl Iterator<Item = String> {
    keys.split_whitespace().map(str::to_owned)
}

fn changes(set: &str, removed: &str) -> Update {
    let mut changes = InstanceChanges::default();
    named(set).for_each(|key| changes.set(instance(&key)));
    named(removed).for_each(|key| changes.remove(&key));
    Update::Changes(changes)
}

fn keys(set: &SourceSet) -> String {
    set.instances()
        .map(|of| &*of.key)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn what_a_source_writes_is_printable_from_here_on() {
    let (bad, safe) = ("w\u{9b}\u{202e}\u{1b}", "w\\u{9b}\\u{202e}\\u{1b}");
    let of = Instance::new(bad, [bad.to_owned()], None).named(bad).down(bad);
    assert_eq!([&*of.key, &of.name, &of.addresses[0], of.why.as_deref().unwrap()], [safe; 4]);
    let mut refused = RefusedInstances::default();
    refused.add(bad, bad);
    assert_eq!(refused.shown(), Some(format!("`{safe}`: {safe}")));
    assert_eq!(Trouble::bad(bad).at("server").problem, format!("server: {safe}"));
    let long = Instance::new(&"\u{9b}".repeat(1000), [], None);
    assert!(long.key.len() <= 256 && long.key.starts_with("\\u{9b}"), "{}", long.key);
}

#[test]
fn a_source_that_does_not_answer_or_lists_too_much_changes_nothing() {
    let mut set = SourceSet::new(3, 0.5);
    assert_eq!((set.state(), set.age(AT)), (SourceState::Away, None));
    assert!(set.apply(whole(3, named("a b")), AT).is_change);
    assert_eq!((set.state(), set.age(AT + SUDDEN)), (SourceState::Ok, Some(Duration::ZERO)));
    set.apply(Update::Away(Trouble::away("x")), AT + SUDDEN);
    assert_eq!((set.state(), keys(&set)), (SourceState::Away, "a b".to_owned()));
    assert_eq!(set.age(AT + SUDDEN * 3), Some(SUDDEN * 2), "the age counts from the failure");
    set.apply(whole(3, named("a b c d")), AT + SUDDEN * 3);
    assert_eq!((set.state(), keys(&set)), (SourceState::Bad, "a b".to_owned()));
    assert!(set.problem().is_some_and(|problem| problem.contains("4 instances") && problem.contains("`max` is 3")));
    set.apply(whole(3, named("a b c")), AT + SUDDEN * 4);
    assert_eq!((set.state(), keys(&set), set.problem()), (SourceState::Ok, "a b c".to_owned(), None));
}

#[test]
fn what_disappears_suddenly_stays_until_it_is_confirmed_or_listed_again() {
    let begin = || {
        let mut set = SourceSet::new(10, 0.5);
        set.apply(whole(10, named("a b c d")), AT);
        set
    };
    let mut set = begin();
    set.apply(whole(10, named("")), AT + SUDDEN * 10);
    assert_eq!((set.state(), keys(&set)), (SourceState::Held, "a b c d".to_owned()), "wiped");
    assert!(set.problem().is_some_and(|problem| problem.contains("--confirm-removal")));
    set.apply(whole(10, named("x")), AT + SUDDEN * 20);
    assert_eq!(keys(&set), "a b c d x", "what is new comes in");
    set.apply(whole(10, named("a b x")), AT + SUDDEN * 30);
    assert_eq!((set.state(), keys(&set)), (SourceState::Ok, "a b x".to_owned()), "enough again");

    let mut set = begin();
    set.apply(changes("", "a b c d"), AT);
    assert_eq!((set.state(), keys(&set)), (SourceState::Held, "a b c d".to_owned()), "all at once");
    assert!(set.confirm(AT) && set.is_empty() && set.state() == SourceState::Ok, "confirmed");

    let mut set = begin();
    for (at, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        set.apply(changes("", key), AT + SUDDEN * 2 * (at as u32 + 1));
    }
    assert_eq!(keys(&set), "d", "one after the other, and never the last one");

    let mut set = SourceSet::new(10, 0.0);
    set.apply(whole(10, named("a b c d")), AT);
    set.apply(whole(10, named("")), AT);
    assert!(set.is_empty(), "without `min_keep`");
}

fn rules(regions: &str, max: usize) -> InstanceRules {
    let regions = Arc::new(named(regions).collect());
    InstanceRules { spec: Arc::new(DiscoveredPool { max, ..pool("{name}") }), regions, names: Arc::default() }
}

/// A whole list of instances that all have this region.
fn in_region(keys: &str, region: &str) -> Update {
    let mut list = InstanceList::new(100);
    named(keys).for_each(|key| list.push(Instance { region: Some(region.to_owned()), ..instance(&key) }));
    Update::Whole(list)
}

#[test]
fn a_wrong_label_on_all_instances_is_as_an_empty_list() {
    let mut set = SourceSet::judged_by(rules("eu us", 100));
    set.apply(in_region("a b c d", "eu"), AT);
    let applied = set.apply(in_region("a b c d", "atlantis"), AT);
    assert!(applied.is_change);
    assert_eq!((set.state(), keys(&set), set.left_out()), (SourceState::Held, "a b c d".to_owned(), 4));
    assert!(set.instances().all(|of| of.region.as_deref() == Some("eu")), "as they were");
    let problem = set.problem().unwrap();
    assert!(problem.contains("it lists 4 instances, of which 0 can be used, instead of 4"), "{problem}");
    assert!(
        problem.contains("4 of 4 instances are left out: `a`: its region \"atlantis\" is not declared"),
        "{problem}"
    );
    set.apply(in_region("a b c d", "us"), AT);
    assert_eq!((set.state(), keys(&set), set.left_out(), set.problem()), (SourceState::Ok, "a b c d".into(), 0, None));
    assert!(set.instances().all(|of| of.region.as_deref() == Some("us")));
}

#[test]
fn one_name_for_all_a_declared_region_and_a_confirmation() {
    let mut set = SourceSet::judged_by(rules("eu", 100));
    set.apply(whole(100, named("a b c d")), AT);
    let mut list = InstanceList::new(100);
    named("a b c d").for_each(|key| list.push(instance(&key).named("web")));
    set.apply(Update::Whole(list), AT);
    assert_eq!((set.state(), set.left_out()), (SourceState::Held, 3), "of equal names the first counts");
    assert!(set.confirm(AT));
    assert_eq!((set.state(), keys(&set)), (SourceState::Ok, "a".to_owned()));
    set.apply(in_region("a b", "us"), AT + SUDDEN * 2);
    assert_eq!((set.state(), set.left_out()), (SourceState::Held, 2));
    assert!(set.change_rules(rules("eu us", 100), AT + SUDDEN * 2), "the files declare it");
    assert_eq!((set.state(), keys(&set), set.left_out()), (SourceState::Ok, "a b".to_owned(), 0));
    assert!(!set.change_rules(rules("eu us", 100), AT + SUDDEN * 2));
    let names = Arc::new(["a".to_owned()].into_iter().collect());
    assert!(set.change_rules(InstanceRules { names, ..rules("eu us", 100) }, AT + SUDDEN * 4));
    assert!(
        set.problem().is_some_and(|problem| problem.contains("the file has an endpoint or a pool of the name `a`"))
    );
    set.apply(whole(100, named("all b nodata")), AT + SUDDEN * 6);
    assert_eq!((keys(&set), set.left_out()), ("b".to_owned(), 2), "words of `on_empty`");
    assert!(set.problem().is_some_and(|problem| problem.contains("2 of 3 instances are left out: `all`: `all` has")));
    let port = DiscoveredPool { needs_port: true, ..pool("{name}") };
    let mut set = SourceSet::judged_by(InstanceRules { spec: Arc::new(port), ..rules("", 100) });
    let mut list = InstanceList::new(100);
    list.push(Instance { port: None, ..instance("a") });
    set.apply(Update::Whole(list), AT);
    assert!(set.is_empty() && set.problem().is_some_and(|problem| problem.contains("it has no port")));
}

#[test]
fn a_refusal_ends_when_its_instance_is_corrected_or_removed() {
    let mut set = SourceSet::new(9, 0.0);
    set.apply(whole(9, named("a b")), AT);
    for corrected in [changes("b", ""), changes("", "b")] {
        let mut wrong = InstanceChanges::default();
        wrong.remove("b");
        wrong.refusals.add("b", "no port");
        set.apply(Update::Changes(wrong), AT);
        assert_eq!(set.problem().as_deref(), Some("`b`: no port"));
        set.apply(corrected, AT);
        assert_eq!(set.problem(), None);
    }
}

#[test]
fn changes_over_the_bound_are_refused_and_the_list_is_wanted_when_there_is_room() {
    let mut set = SourceSet::new(2, 0.5);
    set.apply(whole(2, named("a b")), AT);
    let applied = set.apply(changes("c d", ""), AT);
    assert!(!applied.is_change && !applied.wants_list);
    assert_eq!((set.state(), keys(&set)), (SourceState::Bad, "a b".to_owned()));
    assert!(set.apply(changes("", "a"), AT).wants_list);
    set.apply(whole(2, named("b c")), AT);
    assert_eq!((set.state(), keys(&set)), (SourceState::Ok, "b c".to_owned()));
}

#[test]
fn a_refused_instance_counts_once_and_no_longer_when_it_is_removed() {
    let lists = |set: &SourceSet, total: &str| {
        let problem = set.problem().unwrap_or_default();
        assert!(problem.contains(&format!("it lists {total} instances")), "{total}: {problem}");
    };
    let mut set = SourceSet::new(2, 0.0);
    set.apply(whole(2, named("a b")), AT);
    for _ in 0..5 {
        assert!(!set.apply(changes("c", ""), AT).wants_list);
        lists(&set, "3");
    }
    assert!(!set.apply(changes("", "c"), AT).wants_list, "everything that is listed is here");
    assert_eq!((set.state(), set.problem(), keys(&set)), (SourceState::Ok, None, "a b".to_owned()));
    set.apply(changes("c", ""), AT);
    set.apply(changes("c", "a"), AT);
    assert_eq!((set.state(), keys(&set)), (SourceState::Ok, "b c".to_owned()), "there is room for it now");

    // More than `max` keys are not stored: a removal may have made room.
    for _ in 0..3 {
        set.apply(changes("d e f g", ""), AT);
        lists(&set, "5");
    }
    assert!(!set.apply(changes("", "d"), AT).wants_list);
    lists(&set, "4");
    assert!(!set.apply(changes("", "e"), AT).wants_list);
    assert!(set.apply(changes("", "f"), AT).wants_list);
    assert_eq!(set.state(), SourceState::Bad, "until the list comes");
    set.apply(whole(2, named("b g")), AT);
    assert_eq!((set.state(), keys(&set)), (SourceState::Ok, "b g".to_owned()));

    // Of a list that was refused no key is known.
    set.apply(whole(2, named("b g x y")), AT);
    lists(&set, "4");
    assert!(!set.apply(changes("", "x"), AT).wants_list);
    lists(&set, "3");
    assert!(set.apply(changes("", "y"), AT).wants_list);
}

#[test]
fn what_is_listed_takes_the_place_of_what_is_held_under_its_name() {
    let with = |key: &str, name: &str, address: &str| Instance::new(key, [address.to_owned()], None).named(name);
    let mut set = SourceSet::judged_by(InstanceRules {
        spec: Arc::new(DiscoveredPool { max: 100, min_keep: 0.5, ..pool("{name}") }),
        ..rules("", 100)
    });
    let mut list = InstanceList::new(100);
    (1..=10).for_each(|n| list.push(with(&format!("a{n}"), &format!("n{n}"), &format!("192.0.2.{n}"))));
    set.apply(Update::Whole(list), AT);
    let mut list = InstanceList::new(100);
    list.push(with("b1", "n1", "192.0.2.99"));
    set.apply(Update::Whole(list), AT);
    assert_eq!((set.state(), set.len(), set.held().count()), (SourceState::Held, 10, 9));
    let stated = endpoints_of(&pool("{name}"), set.instances());
    assert_eq!((stated.endpoints.len(), stated.refused.total(), set.left_out()), (10, 0, 0));
    let n1: Vec<&Instance> = set.instances().filter(|of| of.name == "n1").collect();
    assert_eq!(n1, [&with("b1", "n1", "192.0.2.99")]);
    assert!(set.confirm(AT) && keys(&set) == "b1");
}

#[test]
fn a_restored_set_is_away_until_the_source_answers_and_is_held_as_any_other() {
    let mut set = SourceSet::new(10, 0.5);
    set.restore([instance("a"), instance("b"), instance("c")], AT - SUDDEN, AT);
    assert_eq!((keys(&set), set.len()), ("a b c".to_owned(), 3));
    set.apply(whole(10, named("")), AT);
    assert_eq!((set.state(), keys(&set)), (SourceState::Held, "a b c".to_owned()), "wiped while this server restarted");
}

/// Random updates: the set is bounded; what the source lists is in it, unless there is no room; and it is never empty
/// while `min_keep` is over 0 and the source has ever listed something, unless an operator confirms.
#[test]
fn random_updates_leave_a_bounded_set_that_is_never_empty() {
    let seed = clock::entropy();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..300 {
        let max = random.usize(1..20);
        let mut set = SourceSet::new(max, 0.01 + random.f64() * 0.99);
        let (mut now, mut listed, mut was_filled) = (AT, std::collections::BTreeSet::new(), false);
        for _ in 0..60 {
            now = now + Duration::from_secs(random.u64(0..40));
            let keys: Vec<String> = (0..random.usize(0..max + 3)).map(|_| format!("i{}", random.u8(0..30))).collect();
            match random.u8(0..10) {
                0 => _ = set.apply(Update::Away(Trouble::away("x")), now),
                1 => _ = set.apply(Update::Back, now),
                2..6 => {
                    let distinct: std::collections::BTreeSet<String> = keys.iter().cloned().collect();
                    let is_refused = keys.len() > max;
                    set.apply(whole(max, keys), now);
                    listed = if is_refused { listed } else { distinct };
                }
                _ => {
                    let (gone, come) = keys.split_at(keys.len() / 2);
                    let mut come: Vec<String> = come.iter().filter(|key| !gone.contains(key)).cloned().collect();
                    set.apply(changes(&come.join(" "), &gone.join(" ")), now);
                    gone.iter().for_each(|key| _ = listed.remove(key));
                    come.sort();
                    for key in come {
                        if listed.len() < max || listed.contains(&key) {
                            listed.insert(key);
                        }
                    }
                }
            }
            was_filled |= !listed.is_empty();
            assert!(set.len() <= max, "seed {seed}: {} of {max}", set.len());
            assert_eq!(set.is_empty(), !was_filled, "seed {seed}");
            let all: std::collections::BTreeSet<String> = set.instances().map(|of| of.key.clone()).collect();
            assert!(listed.is_subset(&all), "seed {seed}: {listed:?} in {all:?}");
        }
    }
}

/// The order in which changes of different instances arrive does not matter, and one whole list is worth the same.
#[test]
fn the_order_of_arrival_makes_no_difference() {
    let seed = clock::entropy();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..100 {
        let mut final_state: BTreeMap<String, Instance> = BTreeMap::new();
        let mut steps: Vec<Update> = Vec::new();
        for at in 0..random.usize(1..12) {
            let key = format!("k{at}");
            steps.push(changes(&key, ""));
            final_state.insert(key.clone(), instance(&key));
        }
        random.shuffle(&mut steps);
        let mut by_changes = SourceSet::new(100, 0.5);
        steps.into_iter().for_each(|step| _ = by_changes.apply(step, AT));
        let mut by_list = SourceSet::new(100, 0.5);
        by_list.apply(whole(100, final_state.keys().cloned()), AT);
        let all = |set: &SourceSet| set.instances().map(|of| (of.key.clone(), of.clone())).collect::<BTreeMap<_, _>>();
        assert_eq!(all(&by_changes), all(&by_list), "seed {seed}");
        assert_eq!(all(&by_list), final_state, "seed {seed}");
    }
}

fn pool(names: &str) -> DiscoveredPool {
    DiscoveredPool { names: names.to_owned(), max: 10, ..DiscoveredPool::web() }
}

#[test]
fn instances_become_endpoints_or_say_what_to_do() {
    let of = |key: &str, addresses: &[&str]| Instance::new(key, addresses.iter().map(|ip| (*ip).to_owned()), Some(80));
    let with = |change: fn(&mut Instance)| {
        let mut instance = of("x", &["192.0.2.1"]);
        change(&mut instance);
        instance
    };
    for (what, instance, expected) in [
        ("both families", of("a/1", &["2001:db8::1", "192.0.2.1"]), Ok("a-1")),
        ("mapped IPv4", of("m", &["::ffff:192.0.2.1"]), Ok("m")),
        ("a host name", of("x", &["db.internal"]), Err("register one")),
        ("no address", of("x", &[]), Err("no address")),
        ("two of a family", of("x", &["192.0.2.1", "192.0.2.2"]), Err("two IPv4")),
        ("the unspecified address", of("x", &["0.0.0.0"]), Err("not the address of a host")),
        ("a long name", of(&"x".repeat(64), &["192.0.2.1"]), Err("another `names`")),
        ("a weight", with(|of| of.weight = Some("70".into())), Ok("x")),
        ("no weight", with(|of| of.weight = Some("much".into())), Err("no whole number")),
        ("a great weight", with(|of| of.weight = Some("1000001".into())), Err("over 1000000")),
        ("a country", with(|of| of.country = Some("XX".into())), Err("ISO 3166-1")),
        ("a capacity", with(|of| of.capacity = Some("-1".into())), Err("no whole number")),
    ] {
        let stated = endpoints_of(&pool("{name}"), [&instance].into_iter());
        match expected {
            Ok(name) => assert_eq!(stated.endpoints[0].name, name, "{what}: {:?}", stated.refused),
            Err(part) => {
                let problem = stated.refused.shown().unwrap_or_default();
                assert!(problem.contains(part) && stated.endpoints.is_empty(), "{what}: {problem}");
            }
        }
    }
}

#[test]
fn a_host_has_a_cname_where_the_source_may_list_its_name() {
    let of = |addresses: &[&str]| Instance::new("x", addresses.iter().map(|text| (*text).to_owned()), Some(80));
    for (hosts, addresses, expected) in [
        (HostRule::Refused, &["lb.example.com"][..], Err("write `hosts = \"only\"`")),
        (HostRule::Refused, &["web"], Err("write `hosts = \"only\"`")),
        (HostRule::Refused, &["192.0.2.300"], Err("is no IP address; register one")),
        (HostRule::Cname, &["LB.example.com"], Ok(Some("lb.example.com."))),
        (HostRule::Cname, &["192.0.2.1"], Ok(None)),
        (HostRule::Only, &["lb.example.com."], Ok(Some("lb.example.com."))),
        (HostRule::Only, &["192.0.2.1"], Err("is no name of a host")),
        (HostRule::Only, &[], Err("no address")),
        (HostRule::Only, &["lb.example.com", "192.0.2.1"], Err("register two instances")),
        (HostRule::Only, &["web"], Err("outside of all zones")),
        (HostRule::Only, &["*.example.com"], Err("nothing can be reached there")),
        (HostRule::Only, &["192.0.2.300"], Err("ends with a number")),
    ] {
        let stated = endpoints_of(&DiscoveredPool { hosts, ..pool("{name}") }, [&of(addresses)].into_iter());
        match expected {
            Ok(cname) => assert_eq!(stated.endpoints[0].cname.as_deref(), cname, "{addresses:?}"),
            Err(part) => {
                let problem = stated.refused.shown().unwrap_or_default();
                assert!(problem.contains(part) && stated.endpoints.is_empty(), "{addresses:?}: {problem}");
            }
        }
    }
}

#[test]
fn a_host_with_a_long_name_has_a_name_that_ends_with_a_hash() {
    let spec = DiscoveredPool { hosts: HostRule::Only, ..pool("{name}") };
    let name = |host: &str| {
        let instance = Instance::new(&format!("shop-{host}"), [host.to_owned()], None);
        endpoints_of(&spec, [&instance].into_iter()).endpoints[0].name.clone()
    };
    let host = |number: u8| format!("k8s-shop-web-0123456789-{number:010}.eu-central-1.elb.amazonaws.com");
    assert_eq!(name("lb.example.com"), "shop-lb.example.com");
    let (one, two) = (name(&host(1)), name(&host(2)));
    assert!(one.len() == 63 && one.starts_with("shop-k8s-shop-web-0123456789-0000000001."), "{one}");
    assert_ne!(one[54..], two[54..]);
    assert_eq!(one, name(&host(1)), "overrides refer to it");
}

#[test]
fn of_equal_names_the_first_key_counts_in_every_order() {
    let [a, b] = ["a", "b"].map(|key| instance(key).named("web"));
    for order in [[&a, &b], [&b, &a]] {
        let stated = endpoints_of(&pool("{name}"), order.into_iter());
        assert_eq!((stated.endpoints.len(), stated.refused.total()), (1, 1));
        assert!(stated.refused.shown().is_some_and(|problem| problem.starts_with("`b`: its name `web`")));
    }
    let stated = endpoints_of(&pool("{name}-{port}"), [&a].into_iter());
    assert_eq!(stated.endpoints[0].name, "web-80");
}
