//! Parts: what goes into them, what a reader makes of them, and how zones share the room.

use proptest::prelude::*;

use super::*;
use crate::fleet::targets::part::{self, Part};
use crate::fleet::targets::zone::{ZoneEntries, shared_out};

const HTTP: &str = r#"{"type":"http","headers":{"X":"hhhhhhhhhh"}}"#;

fn socket(nth: usize) -> String {
    format!("192.0.2.1:{nth}")
}

fn read(parts: &[Arc<str>]) -> Vec<Part> {
    parts.iter().map(|part| Part::read(part.as_bytes()).unwrap()).collect()
}

#[test]
fn a_monitor_is_in_each_part_once_and_its_checks_share_it() {
    let mut entries: Vec<TargetEntry> = (1..100).map(|nth| entry(HTTP, &socket(nth), Some("eu"))).collect();
    entries.extend((1..100).map(|nth| entry(r#"{"type":"tcp"}"#, &socket(nth), None)));
    let (parts, written) = part::write(&entries, 1000);
    assert_eq!(written, 198);
    assert!(parts.iter().all(|part| part.len() <= 512 && part.matches("hhhhhhhhhh").count() <= 1), "{parts:?}");
    let parts = read(&parts);
    let targets: Vec<&FleetTarget> = parts.iter().flat_map(|part| &part.targets).collect();
    assert_eq!(targets.len(), 198);
    for (target, entry) in targets.iter().zip(&entries) {
        // The digest that identifies a check is that of its whole text.
        assert_eq!(target.hash, check_hash(&target.key).unwrap());
        assert_eq!((target.key.target.to_string(), &target.region), (entry.target.clone(), &entry.region));
    }
    for part in &parts {
        let of = |kind: &str| part.targets.iter().filter(|of| of.key.monitor.kind.as_str() == kind).collect::<Vec<_>>();
        for targets in [of("http"), of("tcp")] {
            assert!(targets.iter().all(|target| target.key.monitor.is_same_copy(&targets[0].key.monitor)));
        }
    }
}

#[test]
fn a_program_is_in_a_part_once_and_each_check_has_its_endpoint() {
    let program = r#"{"type":"exec","program":"/bin/check","args":["--long"]}"#;
    let of = |nth: usize| TargetEntry { endpoint: Some(format!("e{nth}")), ..entry(program, &socket(nth), None) };
    let (parts, _) = part::write(&[of(1), of(2)], 1000);
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].matches("--long").count(), 1);
    let read = read(&parts);
    let texts: Vec<String> = read[0].targets.iter().map(|target| to_json(&target.key).unwrap()).collect();
    assert!(texts[0].contains(r#""endpoint":"e1""#) && texts[1].contains(r#""endpoint":"e2""#), "{texts:?}");
}

#[test]
fn a_part_of_few_octets_that_costs_much_to_read_is_refused() {
    let monitor = format!(
        r#"{{"type":"http","headers":{{{}}}}}"#,
        (0..30).map(|nth| format!(r#""X-{nth}":"{}""#, "h".repeat(4000))).collect::<Vec<_>>().join(",")
    );
    let checks: Vec<String> = (1..200).map(|nth| format!(r#"[0,"192.0.2.1:{nth}",null,null]"#)).collect();
    let value = format!(r#"{{"v":2,"monitors":[{monitor}],"checks":[{}]}}"#, checks.join(","));
    assert!(value.len() < 256 << 10);
    let part = Part::read(value.as_bytes()).unwrap();
    assert_eq!((part.targets.len() + part.refused, part.why), (199, Some("too many checks with long texts")));
    assert!(part.targets.len() * monitor.len() <= 8 << 20);
}

#[test]
fn what_refers_to_nothing_is_refused_and_the_rest_is_probed() {
    for (check, why) in [
        ("[1,\"192.0.2.1:1\",null,null]", "a monitor that is not there"),
        ("[0,\"192.0.2.1:1\",1,null]", "a region that is not there"),
        ("[0,\"192.0.2.1\",null,null]", "not an address with a port"),
        ("[0,\"192.0.2.1:1\",null,\"e\"]", "an endpoint for a type that has none"),
        ("[0,\"192.0.2.1:1\",null]", "not a check"),
        ("{\"check\":{}}", "not a check"),
    ] {
        let monitors = r#"[{"type":"tcp"}]"#;
        let value =
            format!(r#"{{"v":2,"regions":["eu"],"monitors":{monitors},"checks":[{check},[0,"192.0.2.1:9",0,null]]}}"#);
        let part = Part::read(value.as_bytes()).unwrap();
        assert_eq!((part.targets.len(), part.refused, part.why), (1, 1, Some(why)), "{check}");
    }
}

fn wants(zone: &str, checks: usize, monitor: &str) -> ZoneEntries {
    let entries = (0..checks).map(|nth| entry(monitor, &format!("192.0.2.1:{}", 1000 + nth), None)).collect();
    ZoneEntries { zone: zone.to_owned(), serial: 1, entries, left_out: None }
}

#[test]
fn a_zone_that_asks_for_too_much_loses_its_own_checks_alone_and_that_is_reported() {
    let long = format!(r#"{{"type":"http","body":"{}"}}"#, "b".repeat(1000));
    for (zones, checks, octets, written, why) in [
        (
            vec![wants("a.", 70, HTTP), wants("b.", 10, HTTP), wants("c.", 20, HTTP)],
            50,
            usize::MAX,
            [20, 10, 20],
            "too many checks",
        ),
        (
            vec![wants("a.", 70, &long), wants("b.", 10, HTTP), wants("c.", 20, HTTP)],
            1000,
            20_000,
            [16, 10, 20],
            "too many octets of texts",
        ),
    ] {
        let all: Vec<usize> = zones.iter().map(|zone| zone.entries.len()).collect();
        let targets = shared_out(zones, checks, octets, "ns1");
        let got: Vec<usize> = targets.iter().map(|zone| zone.checks).collect();
        assert_eq!(got, written);
        for (zone, all) in targets.iter().zip(all) {
            let left_out = all - zone.checks;
            assert_eq!(zone.left_out.map(|of| (of.checks, of.why)), (left_out > 0).then_some((left_out, why)));
            let read: usize = read(&zone.parts).iter().map(|part| part.targets.len()).sum();
            assert_eq!((read, zone.manifest.checks), (zone.checks, zone.checks));
        }
    }
}

#[test]
fn a_zone_with_more_parts_than_a_manifest_lists_is_cut_and_that_is_reported() {
    let few = zone("z.", 1, "a", 1..=60);
    assert_eq!((few.checks, few.left_out), (60, None));
    let many = zone("z.", 1, "a", 1..=20_000);
    let left_out = many.left_out.map_or(0, |of| of.checks);
    assert_eq!((many.parts.len(), many.checks + left_out), (1024, 20_000));
    assert!(left_out > 1000);
    let mut bucket = Bucket::default();
    let mut server = Server::new("a", vec![many.clone()]);
    let live = BTreeSet::new();
    while server.turn(&mut bucket, &live, at(0)) {}
    assert_eq!(ports(&mut bucket.book(), at(0)).map(|ports| ports.len()), Some(many.checks));
}

proptest! {
    #[test]
    fn no_part_makes_a_reader_panic(
        monitor in 0u64..4, target in "[0-9.:a]{0,12}", region in proptest::option::of(0u64..3), more in ".{0,12}",
    ) {
        let check = serde_json::json!([monitor, target, region, null]);
        for checks in [format!("[{check}]"), format!("[{more:?},{check}]"), more.clone()] {
            let monitors = r#"[{"type":"tcp"},{}]"#;
            let value = format!(r#"{{"v":2,"regions":[{more:?}],"monitors":{monitors},"checks":{checks}}}"#);
            let _ = Part::read(value.as_bytes());
        }
    }
}
