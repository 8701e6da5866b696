//! Servers with different files that write one bucket, in every order: which files are probed, and who differs.

mod leftovers;
mod parts;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::part::TargetEntry;
use super::zone::{manifest_key, part_key};
use super::*;
use crate::model::Moment;

const SECOND: Duration = Duration::from_secs(1);

fn at(secs: u64) -> Moment {
    Moment::from_start(Duration::from_secs(secs))
}

/// A zone with tcp checks of these ports.
fn zone(name: &str, serial: u32, node: &str, ports: impl IntoIterator<Item = u16>) -> ZoneTargets {
    let mut entries: Vec<TargetEntry> =
        ports.into_iter().map(|port| entry(r#"{"type":"tcp"}"#, &format!("192.0.2.1:{port}"), Some("eu"))).collect();
    entries.sort();
    ZoneTargets::test(name, serial, node, &entries)
}

fn entry(monitor: &str, target: &str, region: Option<&str>) -> TargetEntry {
    TargetEntry { monitor: monitor.into(), target: target.to_owned(), endpoint: None, region: region.map(Arc::from) }
}

/// A bucket: keys with their revision and value.
#[derive(Default)]
struct Bucket {
    keys: BTreeMap<String, (u64, Option<String>)>,
    last: u64,
}

impl Bucket {
    /// Whether the write was made.
    fn write(&mut self, write: &Write) -> bool {
        let known = self.keys.get(&write.key).map_or(0, |(revision, _)| *revision);
        if write.expected.is_some_and(|expected| expected != known) {
            return false;
        }
        self.last += 1;
        self.keys.insert(write.key.clone(), (self.last, write.value.clone()));
        true
    }

    /// Reads what is newer than a revision; returns the last one.
    fn read_after(&self, known: u64, book: &mut TargetBook, now: Moment) -> u64 {
        let mut all: Vec<_> = self.keys.iter().filter(|(_, (revision, _))| *revision > known).collect();
        all.sort_by_key(|(_, (revision, _))| *revision);
        for (key, (revision, value)) in all {
            book.apply(key, *revision, value.as_ref().map(String::as_bytes), now);
        }
        self.last
    }

    fn read_into(&self, book: &mut TargetBook, now: Moment) {
        self.read_after(0, book, now);
    }

    fn book(&self) -> TargetBook {
        let mut book = TargetBook::default();
        self.read_into(&mut book, at(0));
        book
    }
}

struct Server {
    name: String,
    /// The last revision that was read into the book.
    read: u64,
    book: TargetBook,
    publisher: TargetPublisher,
}

impl Server {
    fn new(name: &str, zones: Vec<ZoneTargets>) -> Server {
        Server { name: name.into(), read: 0, book: TargetBook::default(), publisher: TargetPublisher::new(name, zones) }
    }

    /// Reads the bucket and makes one write. Returns whether it wanted to write anything.
    fn turn(&mut self, bucket: &mut Bucket, live: &BTreeSet<String>, now: Moment) -> bool {
        self.read = bucket.read_after(self.read, &mut self.book, now);
        let write = self.publisher.next_write(&self.book, now, |node| live.contains(node));
        if let Some(write) = &write {
            bucket.write(write);
        }
        write.is_some()
    }
}

/// Lets the servers write until none wants to. Fails if that never comes.
fn settle(servers: &mut [Server], bucket: &mut Bucket) {
    settle_at(servers, bucket, at(0));
}

fn settle_at(servers: &mut [Server], bucket: &mut Bucket, now: Moment) {
    let live: BTreeSet<String> = servers.iter().map(|server| server.name.clone()).collect();
    for _ in 0..1000 {
        let wrote = servers.iter_mut().map(|server| server.turn(bucket, &live, now)).filter(|wrote| *wrote).count();
        if wrote == 0 {
            return;
        }
    }
    panic!("the servers never agree: {:?}", bucket.keys.keys());
}

fn ports(book: &mut TargetBook, now: Moment) -> Option<BTreeSet<u16>> {
    let plan = book.take_plan(&[], now)?;
    let port =
        |target: &FleetTarget| target.key.target.to_string().rsplit(':').next().and_then(|port| port.parse().ok());
    plan.targets.iter().map(port).collect()
}

#[test]
fn the_newest_serial_is_probed_and_the_others_differ() {
    let mut bucket = Bucket::default();
    let mut servers = [
        Server::new("a", vec![zone("z.", 5, "a", [1, 2])]),
        Server::new("b", vec![zone("z.", u32::MAX, "b", [1])]),
        Server::new("c", vec![zone("z.", 5, "c", [1, 2])]),
    ];
    settle(&mut servers, &mut bucket);
    let mut book = bucket.book();
    assert_eq!(ports(&mut book, at(0)), Some([1, 2].into()));
    let differing = Differing { zone: "z.".into(), serial: u32::MAX, fleet: 5, is_missing: false };
    assert_eq!(book.differences().get("b"), Some(&vec![differing]));
    assert_eq!(book.differences().len(), 1);
    // The last server gets the files too.
    servers[1].publisher.adopt(vec![zone("z.", 5, "b", [1, 2])]);
    settle(&mut servers, &mut bucket);
    assert!(bucket.book().differences().is_empty());
}

#[test]
fn a_server_without_a_zone_differs_as_long_as_another_one_has_it() {
    let mut bucket = Bucket::default();
    let both = |node| vec![zone("z.", 5, node, [1]), zone("y.", 7, node, [2])];
    let mut servers = [Server::new("a", both("a")), Server::new("b", both("b")), Server::new("c", both("c"))];
    settle(&mut servers, &mut bucket);
    assert!(bucket.book().differences().is_empty());
    // The one that wrote it loses it by a reload, another one never had it.
    servers[0].publisher.adopt(vec![zone("y.", 7, "a", [2])]);
    servers[2] = Server::new("c", vec![zone("y.", 7, "c", [2])]);
    settle(&mut servers, &mut bucket);
    let missing = Differing { zone: "z.".into(), serial: 0, fleet: 5, is_missing: true };
    let book = bucket.book();
    let differing: Vec<_> = book.differences().iter().map(|(node, zones)| (node.as_str(), zones.clone())).collect();
    assert_eq!(differing, [("a", vec![missing.clone()]), ("c", vec![missing])]);
    // The last one that has it is gone: nobody has it without doubt.
    let live = BTreeSet::from(["a".to_owned(), "c".to_owned()]);
    while servers[0].turn(&mut bucket, &live, at(1)) || servers[2].turn(&mut bucket, &live, at(1)) {}
    assert!(bucket.book().differences().is_empty());
    // It is in the files again.
    servers[0].publisher.adopt(both("a"));
    servers[2].publisher.adopt(both("c"));
    settle(&mut servers, &mut bucket);
    assert!(bucket.book().differences().is_empty());
}

#[test]
fn with_the_same_serial_the_newest_word_counts_and_a_start_is_none() {
    let mut bucket = Bucket::default();
    let mut servers =
        [Server::new("a", vec![zone("z.", 5, "a", [1])]), Server::new("b", vec![zone("z.", 5, "b", [1])])];
    settle(&mut servers, &mut bucket);
    // A policy file changed, which the serial does not show: first on one server, then on the other.
    servers[1].publisher.adopt(vec![zone("z.", 5, "b", [2])]);
    settle(&mut servers, &mut bucket);
    assert_eq!(ports(&mut bucket.book(), at(0)), Some([2].into()));
    assert_eq!(bucket.book().differences().keys().collect::<Vec<_>>(), ["a"]);
    servers[0].publisher.adopt(vec![zone("z.", 5, "a", [2])]);
    settle(&mut servers, &mut bucket);
    assert!(bucket.book().differences().is_empty());
    // A server with old files starts: what is probed stays.
    servers[0] = Server::new("a", vec![zone("z.", 5, "a", [1])]);
    settle(&mut servers, &mut bucket);
    assert_eq!(ports(&mut bucket.book(), at(0)), Some([2].into()));
    // All start with new files of the same serial: nobody is left who has the old ones.
    let mut servers =
        [Server::new("a", vec![zone("z.", 5, "a", [3])]), Server::new("b", vec![zone("z.", 5, "b", [3])])];
    settle(&mut servers, &mut bucket);
    assert_eq!(ports(&mut bucket.book(), at(0)), Some([3].into()));
    assert!(bucket.book().differences().is_empty());
}

#[test]
fn servers_that_do_not_see_each_other_do_not_write_for_ever() {
    let mut bucket = Bucket::default();
    let mut servers =
        [Server::new("a", vec![zone("z.", 5, "a", [1])]), Server::new("b", vec![zone("z.", 5, "b", [2])])];
    let nobody = BTreeSet::new();
    let turns = (0..100)
        .map(|_| servers.iter_mut().map(|server| server.turn(&mut bucket, &nobody, at(0))).filter(|w| *w).count());
    let writes: usize = turns.sum();
    assert!(writes < 20, "{writes} writes");
    assert_eq!(bucket.book().differences().len(), 1);
}

#[test]
fn a_zone_that_is_removed_is_probed_for_a_minute_and_comes_back_where_another_server_has_it() {
    let mut bucket = Bucket::default();
    let both = |node: &str| vec![zone("y.", 1, node, [7]), zone("z.", 1, node, [8])];
    let mut servers = [Server::new("a", both("a")), Server::new("b", both("b"))];
    settle(&mut servers, &mut bucket);
    let mut vantage = bucket.book();
    assert_eq!(ports(&mut vantage, at(0)), Some([7, 8].into()));
    // One server loses a zone; the other one has it, so nothing changes in the end.
    servers[0].publisher.adopt(vec![zone("z.", 1, "a", [8])]);
    settle(&mut servers, &mut bucket);
    bucket.read_into(&mut vantage, at(10));
    assert_eq!(ports(&mut vantage, at(10)), None);
    // Then both.
    servers[1].publisher.adopt(vec![zone("z.", 1, "b", [8])]);
    settle(&mut servers, &mut bucket);
    bucket.read_into(&mut vantage, at(20));
    assert_eq!((ports(&mut vantage, at(79)), vantage.next_end()), (None, Some(at(80))));
    assert_eq!(ports(&mut vantage, at(80)), Some([8].into()));
    // A server that starts without a zone that it wrote itself removes it as well.
    let mut servers = [Server::new("a", vec![]), Server::new("b", vec![])];
    settle(&mut servers, &mut bucket);
    bucket.read_into(&mut vantage, at(100));
    assert_eq!(ports(&mut vantage, at(200)), Some([].into()));
    // And it may come back.
    let mut servers = [Server::new("a", both("a"))];
    settle(&mut servers, &mut bucket);
    bucket.read_into(&mut vantage, at(300));
    assert_eq!(ports(&mut vantage, at(300)), Some([7, 8].into()));
}

#[test]
fn a_bucket_that_is_lost_is_written_again_and_no_vantage_notices() {
    let mut bucket = Bucket::default();
    let mut servers = [Server::new("a", vec![zone("z.", 1, "a", 1..=60)])];
    settle(&mut servers, &mut bucket);
    assert!(bucket.keys.contains_key(&part_key("z.", 1)), "several parts");
    let mut vantage = bucket.book();
    assert_eq!(ports(&mut vantage, at(0)).map(|ports| ports.len()), Some(60));
    let mut bucket = Bucket::default();
    [&mut vantage, &mut servers[0].book].into_iter().for_each(|book| book.lost(at(1)));
    servers[0].read = 0;
    assert_eq!(ports(&mut vantage, at(2)), None);
    settle(&mut servers, &mut bucket);
    bucket.read_into(&mut vantage, at(3));
    assert_eq!((ports(&mut vantage, at(100)), vantage.next_end()), (None, None));
}

#[test]
fn parts_that_are_missing_or_wrong_are_written_again_and_what_was_probed_stays() {
    let mut bucket = Bucket::default();
    let mut servers = [Server::new("a", vec![zone("z.", 1, "a", 1..=60)])];
    settle(&mut servers, &mut bucket);
    let mut vantage = bucket.book();
    ports(&mut vantage, at(0));
    for value in [None, Some("{}"), Some(r#"{"v":1,"checks":[]}"#), Some(r#"{"v":3,"checks":[]}"#), Some("\u{0}")] {
        let write = Write { key: part_key("z.", 0), value: value.map(str::to_owned), expected: None };
        assert!(bucket.write(&write));
        bucket.read_into(&mut vantage, at(1));
        assert_eq!(ports(&mut vantage, at(1)), None, "{value:?}");
        settle(&mut servers, &mut bucket);
        assert_eq!(ports(&mut bucket.book(), at(1)).map(|ports| ports.len()), Some(60), "{value:?}");
    }
    for value in ["", "{}", r#"{"v":9}"#, r#"{"v":1,"zone":"y.","serial":9,"node":"x","checks":0,"parts":[]}"#] {
        let write = Write { key: manifest_key("z."), value: Some(value.into()), expected: None };
        assert!(bucket.write(&write));
        bucket.read_into(&mut vantage, at(2));
        assert_eq!(ports(&mut vantage, at(3)), None, "{value}");
        settle(&mut servers, &mut bucket);
        assert_eq!(ports(&mut bucket.book(), at(1)).map(|ports| ports.len()), Some(60), "{value}");
    }
    assert!(vantage.refused().values > 4);
}

#[test]
fn a_program_runs_only_where_the_settings_of_the_node_allow_it() {
    let check = |program: &str| {
        let monitor = format!(r#"{{"type":"exec","program":"{program}"}}"#);
        TargetEntry { endpoint: Some("e".to_owned()), ..entry(&monitor, "192.0.2.1", None) }
    };
    let checks = ["/bin/good", "/bin/bad", "/bin/good/../bad"].map(check);
    let mut bucket = Bucket::default();
    settle(&mut [Server::new("a", vec![ZoneTargets::test("z.", 1, "a", &checks)])], &mut bucket);
    let plan = bucket.book().take_plan(&["/bin/good".to_owned()], at(0)).unwrap();
    assert_eq!((plan.targets.len(), plan.not_allowed), (1, 2));
    let plan = bucket.book().take_plan(&[], at(0)).unwrap();
    assert_eq!((plan.targets.len(), plan.not_allowed), (0, 3));
}

#[test]
fn checks_that_this_release_cannot_make_are_counted_and_the_others_are_probed() {
    let good = entry(r#"{"type":"tcp"}"#, "192.0.2.1:1", None);
    let new = entry(r#"{"type":"tcp","of_a_later_release":true}"#, "192.0.2.1:2", None);
    let odd = entry("{}", "", None);
    let checks = [good, new, odd];
    let mut bucket = Bucket::default();
    settle(&mut [Server::new("a", vec![ZoneTargets::test("z.", 1, "a", &checks)])], &mut bucket);
    let plan = bucket.book().take_plan(&[], at(0)).unwrap();
    assert_eq!((plan.targets.len(), plan.refused), (1, 2));
    assert!(plan.why.is_some());
}

#[test]
fn unknown_keys_and_too_many_of_them_change_nothing() {
    let mut book = TargetBook::default();
    for key in ["", "zone", "zone.", "zone.a.b", "part.z", "part.z.x", "part.z.3000", "zone.=6", "differs.", "other.x"]
    {
        book.apply(key, 1, Some(b"{}"), at(0));
    }
    assert_eq!((book.zones(), book.refused().values), (0, 10));
    for number in 0..20_000 {
        book.apply(&format!("zone.z{number}"), 1, None, at(0));
        book.apply(
            &format!("differs.n{number}"),
            1,
            Some(br#"{"v":1,"zones":[{"zone":"z.","serial":1,"fleet":2}]}"#),
            at(0),
        );
    }
    assert_eq!(book.differences().len(), 1000);
    assert!(book.refused().values >= 10_000);
}

proptest! {
    #[test]
    fn servers_in_any_order_agree_on_the_newest_serial(
        files in proptest::collection::vec((0u32..4, 0u16..3), 1..5),
        order in proptest::collection::vec((0usize..5, any::<bool>()), 0..60),
    ) {
        let name = |at: usize| format!("n{at}");
        let mut servers: Vec<Server> = files
            .iter()
            .enumerate()
            .map(|(at, (serial, ports))| Server::new(&name(at), vec![zone("z.", *serial, &name(at), 1..=ports * 9)]))
            .collect();
        let live: BTreeSet<String> = (0..servers.len()).map(name).collect();
        let mut bucket = Bucket::default();
        // Any server acts at any time, also on an old reading: another one writes between its reading and its write.
        for (at, is_late) in order {
            let at = at % servers.len();
            let server = &mut servers[at];
            if !is_late {
                server.read = bucket.read_after(server.read, &mut server.book, at_start());
            }
            if let Some(write) = server.publisher.next_write(&server.book, at_start(), |node| live.contains(node)) {
                bucket.write(&write);
            }
        }
        settle(&mut servers, &mut bucket);
        let newest = files.iter().map(|(serial, _)| *serial).max().unwrap();
        let of_newest = files.iter().filter(|(serial, _)| *serial == newest);
        let wanted: Vec<u16> = of_newest.map(|(_, ports)| ports * 9).collect();
        let mut book = bucket.book();
        let found = ports(&mut book, at_start()).map_or(0, |ports| ports.len()) as u16;
        prop_assert!(wanted.contains(&found), "{found} of {wanted:?}");
        // Exactly those differ that have other checks or another serial.
        let differing: BTreeSet<String> = files
            .iter()
            .enumerate()
            .filter(|(_, (serial, ports))| {
                let is_same = *serial == newest && ports * 9 == found;
                !is_same && book.zones() > 0
            })
            .map(|(at, _)| name(at))
            .collect();
        prop_assert_eq!(book.differences().keys().cloned().collect::<BTreeSet<_>>(), differing);
        prop_assert!(book.refused().values == 0);
    }
}

fn at_start() -> Moment {
    at(0) + SECOND
}

#[test]
fn serials_are_compared_around_the_end_of_their_numbers() {
    for (a, b, expected) in [
        (2, 1, true),
        (1, 2, false),
        (1, 1, false),
        (0, u32::MAX, true),
        (u32::MAX, 0, false),
        (1 << 31, 0, false),
        (0, 1 << 31, false),
        ((1 << 31) - 1, 0, true),
    ] {
        assert_eq!(is_newer(a, b), expected, "{a} {b}");
    }
}

#[test]
fn a_hash_is_the_same_in_every_release() {
    assert_eq!(hash(b"abc"), 0xba78_16bf_8f01_cfea, "FIPS 180-2, B.1");
}
