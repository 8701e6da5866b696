//! What one zone takes of a bound that all zones share doesn't stop the others.

use super::{MASTER, Server, policy, refusals};
use crate::config::zones::candidate::{Directory, NO_POLICIES};
use crate::source::Problems;

/// A policy that distinguishes 2^`bits` classes of clients: for each bit of an address below 10.0.0.0/8, one member for
/// the addresses in which it is set.
fn many_classes(server: &Server, zone: &str, bits: u32) -> String {
    let mut members = String::new();
    for bit in 0..bits {
        let net = |number: u32| std::net::Ipv4Addr::from((10 << 24) | (((number << 1) | 1) << (23 - bit)));
        let nets: String = (0..1 << bit).map(|number| format!("{}/{}\n", net(number), 9 + bit)).collect();
        server.write(&format!("{zone}bit{bit}"), &nets);
        members += &format!("{{ to = \"e\", when = {{ nets = [\"file:{zone}bit{bit}\"] }} }},");
    }
    let pool = format!("[pool.p]\nsteer = \"geo\"\nmembers = [{members} \"f\"]\n[name.api]\npool = \"p\"\n");
    format!("{}[endpoint.f]\naddresses = [\"192.0.2.9\"]\n{pool}", policy(zone, 3))
}

/// The usual policy, with one selector.
fn with_when(zone: &str, host: u8) -> String {
    let pool = "[pool.p]\nsteer = \"geo\"\nmembers = [{ to = \"e\", when = { nets = [\"203.0.113.0/24\"] } }, \"e\"]\n";
    format!("{}{pool}[name.api]\npool = \"p\"\n", policy(zone, host))
}

#[test]
fn a_zone_with_too_many_classes_of_clients_is_left_out_alone() {
    let mut server = Server::usual();
    server.write("b.policy.toml", &with_when("b.", 1));
    server.loads();
    // A change of a zone that comes first, and one that comes later; and a new zone.
    server.write("a.policy.toml", &many_classes(&server, "a.", 17));
    server.write("b.policy.toml", &with_when("b.", 2));
    server.write("c.zone", MASTER);
    server.write("c.policy.toml", &with_when("c.", 2));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. kept 1", "b. current 2", "c. current 2", "s. current"]);
    let refused = refusals(&loaded);
    assert!(
        refused.contains("a.policy.toml:1:8: error: this zone distinguishes more than 65,535 classes"),
        "{refused}"
    );
    // A start without any earlier version.
    server.in_force = None;
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. unserved nothing", "b. current 2", "c. current 2", "s. current"]);
    assert!(refusals(&loaded).contains("this zone distinguishes more than 65,535 classes"));
    server.write("a.policy.toml", &with_when("a.", 5));
    assert_eq!(server.loads()[0], "a. current 5");
}

#[test]
fn beyond_the_most_files_those_of_served_zones_are_still_read() {
    let server = Server::with(&[("a.zone", ""), ("b.zone", ""), ("notes.txt", ""), ("y.zone", ""), ("z.zone", "")]);
    let real = server.dir.path().join("zones");
    let dir = Directory { shown: std::path::Path::new("zones"), real: &real, trials: &NO_POLICIES };
    let list = |most: usize, served: &[&str]| {
        let mut problems = Problems::default();
        let names = dir.list(most, served.iter().copied(), &mut problems).unwrap();
        let problems = problems.into_sorted();
        (names, problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>())
    };
    assert_eq!(list(4, &["z.zone"]), (["a.zone", "b.zone", "y.zone", "z.zone"].map(str::to_owned).to_vec(), vec![]));
    let (names, problems) = list(2, &["z.zone", "a.zone", "gone.zone"]);
    assert_eq!(names, ["a.zone", "b.zone", "z.zone"]);
    assert_eq!(problems, ["4 files here are or may be zones, and 2 of them are read"]);
}
