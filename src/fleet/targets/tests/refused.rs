//! A bucket that refuses writes: the zones that it takes are written.

use super::*;

/// Lets a server write into a bucket that refuses the keys of some zones. Returns how many writes were refused.
fn write_all(server: &mut Server, bucket: &mut Bucket, refuses: impl Fn(&Write) -> bool, now: Moment) -> usize {
    let mut refused = 0;
    for _ in 0..1000 {
        server.read = bucket.read_after(server.read, &mut server.book, now);
        let Some(write) = server.publisher.next_write(&server.book, now, |_| true) else { return refused };
        if refuses(&write) {
            refused += 1;
            server.publisher.refused(&write.key, "maximum bytes exceeded", now);
        } else {
            assert!(bucket.write(&write));
            server.publisher.written(&write.key);
        }
    }
    panic!("it never ends");
}

#[test]
fn a_zone_that_the_bucket_refuses_holds_up_no_other() {
    let zones = || ["a.", "b.", "c.", "d."].map(|name| zone(name, 1, "n", 1..=60)).to_vec();
    let mut server = Server::new("n", zones());
    let mut bucket = Bucket::default();
    let of_b = |write: &Write| write.key == part_key("b.", 1) || write.key == manifest_key("a.");
    assert_eq!(write_all(&mut server, &mut bucket, of_b, at(0)), 2);
    let has = |bucket: &Bucket, zone: &str| (0..3).all(|number| bucket.keys.contains_key(&part_key(zone, number)));
    assert_eq!(["a.", "b.", "c.", "d."].map(|zone| has(&bucket, zone)), [false, false, true, true]);
    let left_out = |server: &Server| -> Vec<(String, usize, Option<String>)> {
        let all = server.publisher.left_out();
        all.map(|(zone, of, why)| (zone.to_owned(), of.checks, why.map(str::to_owned))).collect()
    };
    let why = || Some("maximum bytes exceeded".to_owned());
    assert_eq!(left_out(&server), [("a.".to_owned(), 60, why()), ("b.".to_owned(), 60, why())]);
    // It is tried again, less and less often, and meanwhile a change of another zone is written at once.
    assert_eq!((1..600).map(|secs| write_all(&mut server, &mut bucket, of_b, at(secs))).sum::<usize>(), 2 * 13);
    server.publisher.adopt(["a.", "b.", "c.", "d."].map(|name| zone(name, 2, "n", 1..=70)).to_vec());
    assert_eq!(write_all(&mut server, &mut bucket, of_b, at(600)), 0);
    let mut book = bucket.book();
    assert_eq!(book.take_plan(&[], at(600)).map(|plan| plan.targets.len()), Some(70));
    // There is room again.
    assert_eq!(write_all(&mut server, &mut bucket, |_| false, at(700)), 0);
    assert!(["a.", "b.", "c.", "d."].iter().all(|zone| has(&bucket, zone)));
    assert!(left_out(&server).is_empty());
    assert_eq!(server.publisher.refusals().count(), 0);
}

#[test]
fn a_manifest_that_nobody_stands_for_is_written_again_after_a_refusal() {
    let mut bucket = Bucket::default();
    settle(&mut [Server::new("old", vec![zone("z.", 5, "old", [1])])], &mut bucket);
    let mut server = Server::new("n", vec![zone("z.", 5, "n", [2])]);
    let write = |server: &mut Server, bucket: &mut Bucket, is_refused: bool, now: Moment| {
        server.read = bucket.read_after(server.read, &mut server.book, now);
        let write = server.publisher.next_write(&server.book, now, |_| false)?;
        match is_refused {
            true => server.publisher.refused(&write.key, "full", now),
            false => {
                assert!(bucket.write(&write));
                server.publisher.written(&write.key);
            }
        }
        Some(write.key)
    };
    assert_eq!(write(&mut server, &mut bucket, true, at(0)), Some(manifest_key("z.")));
    assert_eq!(write(&mut server, &mut bucket, true, at(1)), None);
    assert_eq!(write(&mut server, &mut bucket, false, at(4)), Some(manifest_key("z.")));
    assert_eq!(write(&mut server, &mut bucket, false, at(4)), Some(part_key("z.", 0)));
    // A removal that is refused is made later.
    server.publisher.adopt(vec![]);
    assert_eq!(write(&mut server, &mut bucket, true, at(5)), Some(manifest_key("z.")));
    assert_eq!(write(&mut server, &mut bucket, false, at(9)), Some(manifest_key("z.")));
    assert_eq!(bucket.book().zones(), 0);
}
