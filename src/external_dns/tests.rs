//! The pure core: records that are adjusted and changed, their policies, and the round trip of random records.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::external_dns::adjust::adjusted;
use crate::external_dns::book::{RecordBook, RecordKey};
use crate::external_dns::policy::{HEADER, zone_policy};
use crate::external_dns::record::{DnsRecord, RecordChanges, RecordProperty};
use crate::wire::Name;

fn zones() -> [Name; 2] {
    ["k8s.example", "sub.k8s.example"].map(|zone| Name::parse(zone).unwrap())
}

fn record(name: &str, rtype: &str, targets: &[&str]) -> DnsRecord {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    DnsRecord { dns_name: name.to_owned(), record_type: rtype.to_owned(), targets, ..DnsRecord::default() }
}

fn with(record: DnsRecord, properties: &[(&str, &str)]) -> DnsRecord {
    let property = |(name, value): &(&str, &str)| RecordProperty {
        name: format!("webhook/portolan-{name}"),
        value: (*value).to_owned(),
    };
    DnsRecord { provider_specific: properties.iter().map(property).collect(), ..record }
}

fn of_set(record: DnsRecord, set: &str) -> DnsRecord {
    DnsRecord { set_identifier: set.to_owned(), ..record }
}

fn create(records: &[DnsRecord]) -> RecordChanges {
    RecordChanges { create: records.to_vec(), ..RecordChanges::default() }
}

fn book(clusters: &[(&str, &[DnsRecord])]) -> RecordBook {
    clusters.iter().fold(RecordBook::default(), |book, (cluster, records)| {
        book.changed(cluster, &create(records), &zones()).unwrap()
    })
}

/// The policy of k8s.example without its first lines.
fn policy(book: &RecordBook) -> String {
    let regions = BTreeMap::from([("eu".to_owned(), "eu-west".to_owned())]);
    let text = zone_policy(&zones()[0], &zones(), book, &regions).text;
    let body = text.strip_prefix(&format!("{HEADER}\nzone = \"k8s.example.\"\n"));
    body.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_record_is_adjusted_to_one_form() {
    let written = DnsRecord { record_ttl: 100_000, ..record("WWW.K8s.example.", "AAAA", &["2001:DB8:0::1"]) };
    let stored = adjusted(&written, &zones()).unwrap();
    assert_eq!(stored, DnsRecord { record_ttl: 86_400, ..record("www.k8s.example", "AAAA", &["2001:db8::1"]) });
    let unset = DnsRecord { record_ttl: -1, ..record("a.k8s.example", "A", &["192.0.2.2", "192.0.2.1", "192.0.2.2"]) };
    assert_eq!(adjusted(&unset, &zones()).unwrap(), record("a.k8s.example", "A", &["192.0.2.1", "192.0.2.2"]));
    let alias = adjusted(&record("*.k8s.example", "CNAME", &["LB.example.net."]), &zones()).unwrap();
    assert_eq!(alias.targets, ["lb.example.net"]);
}

#[test]
fn what_can_not_be_stored_has_a_reason() {
    let a = || record("www.k8s.example", "A", &["192.0.2.1"]);
    for (wrong, why) in [
        (record("www.other.example", "A", &["192.0.2.1"]), "in none of the zones k8s.example., sub.k8s.example."),
        (record("a..k8s.example", "A", &["192.0.2.1"]), "no domain name: a label is empty"),
        (record("b\u{fc}cher.k8s.example", "A", &["192.0.2.1"]), "write other letters as xn--"),
        (record("www.k8s.example", "A", &["lb.example.net"]), "expected an IPv4 address as target; found `lb.ex"),
        (record("www.k8s.example", "AAAA", &["::ffff:192.0.2.1"]), "expected an IPv6 address"),
        (record("www.k8s.example", "CNAME", &["192.0.2.1"]), "expected a domain name as target"),
        (record("www.k8s.example", "A", &[]), "it has no targets"),
        (record("www.k8s.example", "A", &["192.0.2.1"; 257]), "it has 257 targets"),
        (record("www.k8s.example", "SRV", &["0 0 1 a."]), "type SRV are not steered: write it into the master file"),
        (record("www.k8s.example", "TXT", &["x"]), "TXT records are stored for ownership only"),
        (with(a(), &[("weight", "1000001")]), "portolan-weight: expected 0 to 1000000; found `1000001`"),
        (with(a(), &[("weight", "-1")]), "expected 0 to 1000000"),
        (with(a(), &[("wieght", "1")]), "no property webhook/portolan-wieght (did you mean `weight`?)"),
        (with(a(), &[("steer", "geo")]), "expected weighted, latency, nearest, failover, affinity, all; found `geo`"),
        (with(a(), &[("steer", "all"), ("steer", "all")]), "portolan-steer is there twice"),
        (with(a(), &[("monitor", "tcp")]), "expected TYPE, TYPE:PORT"),
        (with(a(), &[("monitor", "tcp:80/x")]), "expected TYPE, TYPE:PORT"),
        (with(a(), &[("monitor", "ftp:21")]), "types are icmp, tcp"),
        (with(a(), &[("probe", "lb.example.net")]), "expected an address, such as 192.0.2.1"),
        (with(a(), &[("country", "Germany")]), "such as DE"),
        (with(a(), &[("answers", "0")]), "expected 1 to 64"),
        (with(a(), &[("on-empty", "static")]), "expected last_good, all or nodata"),
        (with(a(), &[("region", "eu west")]), "expected a region of the settings"),
        (with(record("www.k8s.example", "CNAME", &["lb."]), &[("monitor", "icmp")]), "needs webhook/portolan-probe"),
    ] {
        let found = adjusted(&wrong, &zones()).unwrap_err();
        assert!(found.contains(why), "{found}\nexpected {why}");
    }
    // The properties of other providers are theirs.
    let mut foreign = a();
    foreign.provider_specific.push(RecordProperty { name: "aws/weight".into(), value: "x".into() });
    assert_eq!(adjusted(&foreign, &zones()).unwrap(), foreign);
}

#[test]
fn changes_are_all_or_none_and_may_be_repeated() {
    let www = record("www.k8s.example", "A", &["192.0.2.1"]);
    let owner = record("a-k8s.example", "TXT", &["\"heritage=external-dns,external-dns/owner=eu\""]);
    let before = book(&[("eu", &[www.clone(), owner.clone()])]);
    assert_eq!(before.of_cluster("eu"), [owner.clone(), www.clone()], "ownership is stored, also outside the zones");
    let moved = record("www.k8s.example", "A", &["192.0.2.2"]);
    let changes = RecordChanges {
        update_old: vec![www.clone()],
        update_new: vec![moved.clone()],
        delete: vec![owner.clone()],
        ..RecordChanges::default()
    };
    let after = before.changed("eu", &changes, &zones()).unwrap();
    assert_eq!(after.of_cluster("eu"), [moved]);
    assert_eq!(after.changed("eu", &changes, &zones()).unwrap(), after);
    let wrong = create(&[record("api.k8s.example", "A", &["192.0.2.3"]), record("x.k8s.example", "A", &["y"])]);
    assert!(before.changed("eu", &wrong, &zones()).unwrap_err().starts_with("x.k8s.example A: expected an IPv4"));
    let replaced = RecordChanges { delete: vec![www.clone()], ..create(std::slice::from_ref(&www)) };
    assert_eq!(before.changed("eu", &replaced, &zones()).unwrap(), before);
    let all = RecordChanges { delete: vec![www, owner], ..RecordChanges::default() };
    assert!(before.changed("eu", &all, &zones()).unwrap().is_empty());
}

#[test]
fn the_json_of_old_and_new_versions_is_read() {
    let old = r#"{"Create":[{"dnsName":"a.k8s.example","targets":["192.0.2.1"],"recordType":"A","labels":null}],
                 "UpdateOld":null,"UpdateNew":null,"Delete":null}"#;
    let new = r#"{"create":[{"dnsName":"a.k8s.example","targets":["192.0.2.1"],"recordType":"A","future":1}]}"#;
    let read = |text| serde_json::from_str::<RecordChanges>(text).unwrap();
    assert_eq!(read(old), read(new));
    assert_eq!(read(new).create, [record("a.k8s.example", "A", &["192.0.2.1"])]);
    assert!(serde_json::from_str::<RecordChanges>(r#"{"create":[null]}"#).is_err());
    assert!(serde_json::from_str::<RecordChanges>(r#"{"create":"x"}"#).is_err());
}

#[test]
fn all_targets_of_a_name_are_answered_where_nothing_else_is_stated() {
    let both = [
        DnsRecord { record_ttl: 60, ..record("www.k8s.example", "A", &["192.0.2.2", "192.0.2.1"]) },
        record("www.k8s.example", "AAAA", &["2001:db8::1"]),
        record("www.k8s.example", "TXT", &["\"heritage=external-dns\""]),
    ];
    let expected = r#"
[endpoint."192.0.2.1"]
addresses = ["192.0.2.1"]

[endpoint."192.0.2.2"]
addresses = ["192.0.2.2"]

[endpoint."2001-db8--1"]
addresses = ["2001:db8::1"]

[pool."www-pool"]
steer = "all"
members = ["192.0.2.1", "192.0.2.2", "2001-db8--1"]

[name."www"]
pool = "www-pool"
ttl = { max = "60s", min = "5s" }
"#;
    assert_eq!(policy(&book(&[("", &both)])), expected);
}

#[test]
fn clusters_and_set_identifiers_are_groups_that_share_by_weight() {
    let blue = of_set(with(record("www.k8s.example", "A", &["192.0.2.1", "192.0.2.2"]), &[("weight", "70")]), "blue");
    let green = of_set(with(record("www.k8s.example", "A", &["192.0.2.3"]), &[("weight", "30")]), "green");
    let text = policy(&book(&[("eu", &[blue]), ("us", &[green])]));
    let inner = text.lines().find(|line| line.starts_with("[pool.\"www-eu-blue-")).unwrap();
    let inner = inner.strip_prefix("[pool.").unwrap().strip_suffix(']').unwrap();
    assert!(text.contains(&format!("[pool.{inner}]\nsteer = \"all\"\nmembers = [\"eu-192.0.2.1\", \"eu-192.0.2.2\"]")));
    assert!(text.contains(&format!(
        "[pool.\"www-pool\"]\nsteer = \"weighted\"\nmembers = [{{ to = {inner}, weight = 70 }}, \
         {{ to = \"us-192.0.2.3\", weight = 30 }}]"
    )));
    assert!(text.contains("[endpoint.\"eu-192.0.2.1\"]\naddresses = [\"192.0.2.1\"]\nregion = \"eu-west\"\n"));
    assert!(text.contains("[endpoint.\"us-192.0.2.3\"]\naddresses = [\"192.0.2.3\"]\n\n"));
}

#[test]
fn order_makes_failover_and_a_monitor_is_for_the_host_of_the_name() {
    let first =
        with(record("db.k8s.example", "A", &["192.0.2.9"]), &[("order", "1"), ("monitor", "https:8443/up?a=\"")]);
    let second =
        with(record("db.k8s.example", "CNAME", &["spare.example.net"]), &[("order", "2"), ("probe", "192.0.2.8")]);
    let text = policy(&book(&[("us", &[first]), ("eu", &[second])]));
    assert!(text.contains("steer = \"failover\"\nmembers = [\"us-192.0.2.9\", \"eu-spare.example.net\"]"), "{text}");
    let monitor = "[monitor.\"db\"]\ntype = \"https\"\nport = 8443\npath = \"/up?a=\\\"\"\nhost = \"db.k8s.example\"\n";
    assert!(text.contains(monitor), "{text}");
    assert!(text.contains("[name.\"db\"]\npool = \"db-pool\"\nmonitor = \"db\"\n"), "{text}");
    assert!(text.contains("cname = \"spare.example.net.\"\nregion = \"eu-west\"\nprobe = \"192.0.2.8\"\n"), "{text}");
}

#[test]
fn names_of_a_zone_below_are_in_that_zone_and_long_or_special_names_get_a_digest() {
    let long = format!("{}.{}.k8s.example", "a".repeat(60), "b".repeat(60));
    let records = [
        record("www.sub.k8s.example", "A", &["192.0.2.1"]),
        record("k8s.example", "A", &["192.0.2.2"]),
        record("*.k8s.example", "A", &["192.0.2.2"]),
        record(&long, "A", &["192.0.2.2"]),
    ];
    let text = policy(&book(&[("", &records)]));
    assert!(!text.contains("192.0.2.1"), "{text}");
    let pools: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("[pool.\"")?.strip_suffix("\"]")).collect();
    assert_eq!(pools.len(), 3);
    assert!(pools.iter().all(|pool| pool.len() <= 63 && pool.ends_with("-pool")), "{pools:?}");
    assert!(text.contains("[name.\"@\"]") && text.contains("[name.\"*\"]"), "{text}");
}

#[test]
fn one_target_with_two_regions_is_two_endpoints() {
    let west = with(record("a.k8s.example", "A", &["192.0.2.1"]), &[("region", "eu-west")]);
    let east = with(record("b.k8s.example", "A", &["192.0.2.1"]), &[("region", "us-east")]);
    let text = policy(&book(&[("", &[west, east])]));
    assert!(text.contains("[endpoint.\"192.0.2.1\"]\naddresses = [\"192.0.2.1\"]\nregion = \"eu-west\""), "{text}");
    assert!(text.contains("[endpoint.\"192.0.2.1-"), "{text}");
}

#[test]
fn a_line_of_a_policy_leads_to_its_records() {
    let (a, b) = (record("a.k8s.example", "A", &["192.0.2.1"]), record("b.k8s.example", "A", &["192.0.2.2"]));
    let policy = zone_policy(&zones()[0], &zones(), &book(&[("", &[a.clone(), b.clone()])]), &BTreeMap::new());
    for (at, line) in policy.text.lines().enumerate() {
        let of = |record: &DnsRecord| vec![(String::new(), RecordKey::of(record))];
        let expected = match line {
            "addresses = [\"192.0.2.1\"]" | "[name.\"a\"]" | "pool = \"a-pool\"" => of(&a),
            "addresses = [\"192.0.2.2\"]" | "[name.\"b\"]" | "members = [\"192.0.2.2\"]" => of(&b),
            "zone = \"k8s.example.\"" => Vec::new(),
            _ => continue,
        };
        let found: Vec<_> = policy.records_at(at as u32 + 1).cloned().collect();
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn what_is_stored_in_a_file_is_read_again_and_other_versions_are_not() {
    let book = book(&[("eu", &[record("www.k8s.example", "A", &["192.0.2.1"])])]);
    assert_eq!(RecordBook::from_json(book.to_json().as_bytes()), Ok(book));
    let newer = RecordBook::from_json(b"{\"version\": 2, \"clusters\": {}}").unwrap_err();
    assert_eq!(newer, "this is version 2 of the file, and this program knows 1");
    assert!(RecordBook::from_json(b"{").is_err());
}

/// Records as external-dns may send them.
fn records() -> impl Strategy<Value = Vec<DnsRecord>> {
    let label = prop::sample::select(vec!["www", "API", "*", "a.b", "sub", "x_y"]);
    let address = (0u8..8).prop_map(|host| format!("192.0.2.{host}"));
    let v6 = (0u16..8).prop_map(|host| format!("2001:DB8:0:0::{host:04x}"));
    let alias = (0u8..8).prop_map(|host| format!("Lb{host}.example.net."));
    let targets = prop_oneof![
        prop::collection::vec(address, 1..4).prop_map(|targets| ("A", targets)),
        prop::collection::vec(v6, 1..4).prop_map(|targets| ("AAAA", targets)),
        prop::collection::vec(alias, 1..3).prop_map(|targets| ("CNAME", targets)),
    ];
    let property = prop::sample::select(vec![
        ("webhook/portolan-weight", "70"),
        ("portolan/order", "2"),
        ("webhook/portolan-steer", "affinity"),
        ("webhook/portolan-region", "eu-west"),
        ("aws/weight", "10"),
    ]);
    let set = prop::sample::select(vec!["", "blue", "green/1"]);
    let one = (label, targets, set, -1i64..200_000, prop::collection::btree_set(property, 0..4));
    let made = one.prop_map(|(label, (rtype, targets), set, record_ttl, properties)| DnsRecord {
        dns_name: format!("{label}.k8s.example"),
        record_type: rtype.to_owned(),
        targets,
        set_identifier: set.to_owned(),
        record_ttl,
        labels: BTreeMap::from([("owner".to_owned(), "eu".to_owned())]),
        provider_specific: properties
            .into_iter()
            .map(|(name, value)| RecordProperty { name: name.to_owned(), value: value.to_owned() })
            .collect(),
    });
    prop::collection::vec(made, 0..12)
}

proptest! {
    /// What adjusting gives is what is stored and shown, over JSON and a restart too, and adjusting that again changes
    /// nothing. Every record that is stored has its targets in the policy.
    #[test]
    fn records_survive_a_round_trip(sent in records()) {
        let adjusted: Vec<DnsRecord> = sent.iter().map(|record| adjusted(record, &zones()).unwrap()).collect();
        for record in &adjusted {
            prop_assert_eq!(&super::adjust::adjusted(record, &zones()).unwrap(), record);
        }
        let json = serde_json::to_string(&RecordChanges { create: adjusted.clone(), ..Default::default() }).unwrap();
        let changes: RecordChanges = serde_json::from_str(&json).unwrap();
        let book = RecordBook::default().changed("eu", &changes, &zones()).unwrap();
        let last: BTreeMap<RecordKey, DnsRecord> = adjusted.into_iter().map(|of| (RecordKey::of(&of), of)).collect();
        prop_assert_eq!(book.of_cluster("eu"), last.values().cloned().collect::<Vec<_>>());
        let restarted = RecordBook::from_json(book.to_json().as_bytes()).unwrap();
        prop_assert_eq!(&restarted, &book);
        let policies = zones().map(|zone| zone_policy(&zone, &zones(), &book, &BTreeMap::new()).text);
        let text = policies.concat();
        for target in last.values().flat_map(|record| &record.targets) {
            let is_there = ["", "."].iter().any(|dot| text.contains(&["\"", target, dot, "\""].concat()));
            prop_assert!(is_there, "{}", text);
        }
        let none = RecordChanges { delete: last.into_values().collect(), ..Default::default() };
        prop_assert!(book.changed("eu", &none, &zones()).unwrap().is_empty());
    }
}
