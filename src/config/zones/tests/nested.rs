//! Whose zone a name belongs to: policies that can't be read, and zones within each other.

use super::*;

#[test]
fn a_policy_that_cannot_be_read_has_the_zone_of_its_file_name() {
    let dangling = |server: &Server| {
        std::os::unix::fs::symlink("nowhere", server.dir.path().join("zones/a.policy.toml")).unwrap();
    };
    let changes: [(&str, Change<'_>); 3] = [
        ("a dangling link", &dangling),
        ("a directory", &|s| fs::create_dir(s.dir.path().join("zones/a.policy.toml")).unwrap()),
        ("too long", &|s| s.write("a.policy.toml", &" ".repeat(33 << 20))),
    ];
    for (what, make) in changes {
        let mut server = Server::usual();
        server.remove("a.policy.toml");
        make(&server);
        let (zones, loaded) = server.take(false);
        assert_eq!(zones, ["a. unserved nothing", "b. current 1", "s. current"], "{what}");
        let refused = refusals(&loaded);
        assert!(refused.contains("a.policy.toml:1:1: error: can't read it"), "{what}: {refused}");
        assert!(refused.contains("a. is not served") && !refused.contains("`zone` is missing"), "{what}: {refused}");
        // The same in a running server, and its last good version where it has one.
        let mut server = Server::usual();
        server.loads();
        server.remove("a.policy.toml");
        make(&server);
        assert_eq!(server.loads(), ["a. kept 1", "b. current 1", "s. current"], "{what}");
    }
}

#[test]
fn names_in_a_zone_below_are_refused_and_a_last_good_version_is_served_without_them() {
    let with_sub = format!("{}[name.\"www.sub\"]\npool = \"e\"\n", policy("a.", 1));
    let mut server = Server::with(&[("a.policy.toml", &with_sub), ("a.zone", MASTER)]);
    let names = |loaded: &Loaded| {
        let zone = loaded.model.zones.iter().find(|zone| zone.apex.to_string() == "a.").unwrap();
        zone.steered.iter().map(|name| name.label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&server.take(false).1), ["www", "www.sub"]);
    server.write("sub.a.zone", MASTER);
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. kept 1", "sub.a. current"]);
    assert!(refusals(&loaded).contains("www.sub.a. is never answered here: sub.a. is a zone of its own"));
    assert_eq!(names(&loaded), ["www"]);
    server.write("a.policy.toml", &policy("a.", 2));
    let (zones, loaded) = server.take(false);
    assert_eq!((zones, refusals(&loaded).as_str()), (vec!["a. current 2".into(), "sub.a. current".into()], ""));
    assert!(loaded.warnings.iter().any(|warning| warning.message.contains("a. has no NS records for sub.a.")));
}
