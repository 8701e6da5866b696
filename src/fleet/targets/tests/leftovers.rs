//! Nothing stays in the bucket that no server needs: after a removal, a crash at any write, a shorter version, and the
//! end of a node.

use proptest::prelude::*;

use super::*;
use crate::fleet::targets::book::ORPHANED_AFTER;
use crate::fleet::targets::publisher::ABSENT_AFTER;

/// The keys that have a value.
fn keys(bucket: &Bucket) -> Vec<&str> {
    let with_value = bucket.keys.iter().filter(|(_, (_, value))| value.is_some());
    with_value.map(|(key, _)| key.as_str()).collect()
}

/// Settles, and again when parts without a manifest may be deleted.
fn settle_for_long(servers: &mut [Server], bucket: &mut Bucket, from: u64) {
    for secs in [0, ORPHANED_AFTER.as_secs(), 2 * ORPHANED_AFTER.as_secs()] {
        settle_at(servers, bucket, at(from + secs));
    }
}

fn put(bucket: &mut Bucket, key: String, value: &str) {
    assert!(bucket.write(&Write { key, value: Some(value.to_owned()), expected: None }));
}

#[test]
fn a_removed_zone_leaves_nothing_and_one_that_another_server_has_keeps_its_parts() {
    let mut bucket = Bucket::default();
    let both = |node: &str| vec![zone("y.", 1, node, 1..=60), zone("z.", 1, node, [8])];
    let mut servers = [Server::new("a", both("a")), Server::new("b", both("b"))];
    settle(&mut servers, &mut bucket);
    let part = |bucket: &Bucket| bucket.keys.get(&part_key("y.", 1)).cloned();
    let before = part(&bucket);
    assert!(before.is_some(), "several parts");
    servers[0].publisher.adopt(vec![zone("z.", 1, "a", [8])]);
    settle_for_long(&mut servers, &mut bucket, 10);
    assert_eq!(part(&bucket), before, "not written again");
    servers[1].publisher.adopt(vec![zone("z.", 1, "b", [8])]);
    settle_for_long(&mut servers, &mut bucket, 100);
    assert_eq!(keys(&bucket), [part_key("z.", 0), manifest_key("z.")]);
    // Also where it is the last one, and while the bucket is read from the beginning.
    servers[1].publisher.adopt(vec![]);
    servers[0] = Server::new("a", vec![]);
    settle_for_long(&mut servers, &mut bucket, 200);
    assert_eq!(keys(&bucket), [""; 0]);
}

#[test]
fn parts_that_nobody_can_read_and_those_of_a_longer_version_are_deleted_too() {
    let mut bucket = Bucket::default();
    for (number, value) in [(0, "{}"), (7, "{"), (8, r#"{"v":2,"checks":[]}"#)] {
        put(&mut bucket, part_key("x.", number), value);
        put(&mut bucket, part_key("z.", number + 1), value);
    }
    let mut servers = [Server::new("a", vec![zone("z.", 1, "a", [8])])];
    settle_for_long(&mut servers, &mut bucket, 0);
    assert_eq!(keys(&bucket), [part_key("z.", 0), manifest_key("z.")]);
    // A manifest of a later release, of a zone that this server does not have.
    put(&mut bucket, manifest_key("new."), r#"{"v":9}"#);
    put(&mut bucket, part_key("new.", 0), r#"{"v":9}"#);
    settle_for_long(&mut servers, &mut bucket, 100);
    assert_eq!(keys(&bucket).len(), 4);
}

#[test]
fn what_a_node_wrote_that_is_gone_has_another_writer_or_is_deleted_after_an_hour() {
    let mut bucket = Bucket::default();
    let mut servers = [
        Server::new("old", vec![zone("y.", 1, "old", 1..=60), zone("z.", 2, "old", [8])]),
        Server::new("late", vec![zone("z.", 1, "late", [8])]),
    ];
    settle(&mut servers, &mut bucket);
    assert_eq!(bucket.book().differences().len(), 1);
    // Both are gone; another one has one of the zones.
    let mut servers = [Server::new("a", vec![zone("z.", 2, "a", [8])]), Server::new("b", vec![])];
    settle_for_long(&mut servers, &mut bucket, 100);
    assert_eq!(bucket.book().zones_by("a").collect::<Vec<_>>(), ["z."]);
    assert_eq!(bucket.book().zones_by("old").collect::<Vec<_>>(), ["y."]);
    let end = 100 + ABSENT_AFTER.as_secs();
    settle_at(&mut servers, &mut bucket, at(end - 20));
    assert_eq!((bucket.book().zones(), bucket.book().differences().len()), (2, 2), "it may come back; b has no zone");
    settle_for_long(&mut servers, &mut bucket, end + 20);
    assert_eq!(keys(&bucket), ["differs.b".to_owned(), part_key("z.", 0), manifest_key("z.")]);
}

#[test]
fn servers_that_differ_are_counted_where_there_is_no_room_for_more() {
    let mut book = TargetBook::default();
    let value = br#"{"v":1,"zones":[{"zone":"z.","serial":1,"fleet":2}]}"#;
    (0..1003).for_each(|number| book.apply(&format!("differs.n{number}"), 1, Some(value), at(0)));
    assert_eq!((book.differences().len(), book.refused().values), (1000, 3));
    assert_eq!(book.refused().last, Some(("differs.n1002".to_owned(), "too many servers that differ")));
}

proptest! {
    /// Servers load other files, restart, and crash between any two writes.
    #[test]
    fn whatever_happens_the_bucket_has_the_zones_of_the_servers_and_no_more(
        steps in proptest::collection::vec((0usize..2, 0u16..4, 0u16..4, any::<bool>(), 0usize..8), 1..12),
    ) {
        let mut bucket = Bucket::default();
        let names = ["a", "b"];
        let mut servers = names.map(|name| Server::new(name, vec![]));
        let live: BTreeSet<String> = names.map(str::to_owned).into();
        let mut serial = 0;
        let mut loaded = (0, 0);
        for (now, (at_server, y, z, restarts, writes)) in (0..).zip(steps) {
            serial += 1;
            loaded = (y, z);
            let server = &mut servers[at_server];
            let zones = zones_of(server.name.as_str(), serial, loaded);
            match restarts {
                true => *server = Server::new(names[at_server], zones),
                false => server.publisher.adopt(zones),
            }
            (0..writes).for_each(|_| _ = server.turn(&mut bucket, &live, at(now)));
        }
        // Then all servers start with the same files.
        let mut servers = names.map(|name| Server::new(name, zones_of(name, serial + 1, loaded)));
        let mut wanted = Bucket::default();
        settle_for_long(&mut servers, &mut bucket, 1000);
        settle_at(&mut servers, &mut bucket, at(2000) + ABSENT_AFTER);
        settle_for_long(&mut [Server::new("a", zones_of("a", serial + 1, loaded))], &mut wanted, 0);
        let of_servers: Vec<&str> = keys(&wanted);
        prop_assert_eq!(keys(&bucket), of_servers);
    }
}

/// Zones with so many parts.
fn zones_of(node: &str, serial: u32, (y, z): (u16, u16)) -> Vec<ZoneTargets> {
    let ports = |parts: u16| 1..=parts * 9;
    let zones = [("y.", y), ("z.", z)].into_iter().filter(|(_, parts)| *parts > 0);
    zones.map(|(name, parts)| zone(name, serial, node, ports(parts))).collect()
}

#[test]
fn what_cannot_be_used_counts_as_long_as_it_is_there() {
    let mut book = TargetBook::default();
    let now = |book: &TargetBook| book.refused().now.keys().cloned().collect::<Vec<_>>();
    book.apply("other.x", 1, Some(b"{}"), at(0));
    book.apply("zone.z", 2, Some(b"{}"), at(0));
    book.apply("zone.z", 3, Some(b"[]"), at(0));
    assert_eq!((now(&book), book.refused().values), (vec!["other.x".to_owned(), "zone.z".to_owned()], 3));
    book.apply("zone.z", 4, Some(zone("z", 1, "a", [1]).manifest.to_value().as_bytes()), at(0));
    assert_eq!(now(&book), ["other.x"]);
    book.apply("other.x", 5, None, at(0));
    assert_eq!((now(&book), book.refused().values), (vec![], 3));
    (0..3000).for_each(|number| book.apply(&format!("junk{number}"), 6, Some(b""), at(0)));
    assert_eq!((now(&book).len(), book.refused().values), (1000, 3003));
    book.lost(at(1));
    assert_eq!(now(&book).len(), 0);
}

#[test]
fn differences_are_given_when_they_are_others() {
    let mut book = TargetBook::default();
    let value = br#"{"v":1,"zones":[{"zone":"z.","serial":1,"fleet":2}]}"#;
    assert!(book.take_differences().is_none());
    book.apply("differs.a", 1, Some(value), at(0));
    assert_eq!(book.take_differences().map(|all| all.len()), Some(1));
    book.apply("other.x", 2, Some(b"{}"), at(0));
    assert!(book.take_differences().is_none());
    book.apply("differs.a", 3, None, at(0));
    assert_eq!(book.take_differences().map(|all| all.len()), Some(0));
}
