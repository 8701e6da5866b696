//! Which version of each zone is served while files have errors, collide, disappear and come back.

mod nested;
mod restart;
mod shared;
mod side_files;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Flags, InForce, LoadOptions, Loaded, Settings, ZoneState, again, start};
use crate::model::DiscoveredSets;
use crate::source::Problem;
use crate::wire::Name;

const SETTINGS: &str = "region = \"here\"\n[regions.here]\n[regions.there]\n";
const MASTER: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";

/// A policy for `zone` whose one name is answered with 192.0.2.`host`.
fn policy(zone: &str, host: u8) -> String {
    let endpoint = format!("[endpoint.e]\naddresses = [\"192.0.2.{host}\"]\nregion = \"there\"\n");
    format!("zone = \"{zone}\"\n{endpoint}[name.www]\npool = \"e\"\n")
}

/// A change of the files.
type Change<'a> = &'a dyn Fn(&Server);

/// The files of a server, and what it has loaded from them.
struct Server {
    dir: tempfile::TempDir,
    in_force: Option<InForce>,
    now: f64,
    discovered: Arc<DiscoveredSets>,
}

impl Server {
    /// Files of the zones directory, before the first load.
    fn with(files: &[(&str, &str)]) -> Server {
        let server =
            Server { dir: tempfile::tempdir().unwrap(), in_force: None, now: 1000.0, discovered: Arc::default() };
        fs::create_dir(server.dir.path().join("zones")).unwrap();
        server.write("../portolan.toml", SETTINGS);
        files.iter().for_each(|(name, text)| server.write(name, text));
        server
    }

    /// Two steered zones and a static one.
    fn usual() -> Server {
        Server::with(&[
            ("a.policy.toml", &policy("a.", 1)),
            ("a.zone", MASTER),
            ("b.policy.toml", &policy("b.", 1)),
            ("b.zone", MASTER),
            ("s.zone", MASTER),
        ])
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("zones").join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join("zones").join(name)).unwrap();
    }

    fn load(&mut self, confirm_removal: bool) -> Result<Loaded, Vec<Problem>> {
        let file = self.dir.path().join("portolan.toml");
        let discovered = Arc::clone(&self.discovered);
        let flags = &Flags::default();
        let how = LoadOptions { settings_file: Some(&file), flags, now: self.now, confirm_removal, discovered };
        match &self.in_force {
            None => start(how, |_| (Vec::new(), DiscoveredSets::new())),
            Some(in_force) => again(how, in_force),
        }
    }

    /// Loads, and returns the state of each zone: `a. kept 1` has the address 192.0.2.1.
    fn loads(&mut self) -> Vec<String> {
        self.take(false).0
    }

    fn take(&mut self, confirm_removal: bool) -> (Vec<String>, Loaded) {
        let loaded = self.load(confirm_removal).unwrap();
        let line = |at: usize| {
            let zone = &loaded.zones[at];
            assert_eq!(loaded.model.zones[at].apex, zone.apex, "both are in one order");
            let of_zone = loaded.model.endpoints.iter().find(|endpoint| endpoint.zone.0 as usize == at);
            let host = of_zone.map(|endpoint| format!("{:?}", endpoint.answerables[0].rdata));
            let host = host.and_then(|text| Some(text.trim_end_matches(')').rsplit_once('.')?.1.to_owned()));
            let records = if loaded.model.zones[at].is_served() { "" } else { " nothing" };
            let host = host.map_or(String::new(), |host| format!(" {host}"));
            format!("{} {}{host}{records}", zone.apex, zone.status.as_str())
        };
        let lines = (0..loaded.zones.len()).map(line).collect();
        self.in_force = Some(InForce {
            settings: Arc::new(loaded.settings.clone()),
            model: Arc::new(loaded.model.clone()),
            zones: loaded.zones.clone(),
        });
        (lines, loaded)
    }

    /// Restarts with the versions of the zones that were loaded before.
    fn restarts(&mut self) -> Vec<String> {
        let recalled: Vec<ZoneState> = self.in_force.take().map_or(Vec::new(), |in_force| in_force.zones.to_vec());
        let file = self.dir.path().join("portolan.toml");
        let (flags, discovered) = (&Flags::default(), Arc::default());
        let how = LoadOptions { settings_file: Some(&file), flags, now: self.now, confirm_removal: false, discovered };
        let loaded = start(how, |_| (recalled, DiscoveredSets::new())).unwrap();
        self.in_force = Some(InForce {
            settings: Arc::new(loaded.settings.clone()),
            model: Arc::new(loaded.model.clone()),
            zones: loaded.zones.clone(),
        });
        loaded.zones.iter().map(|zone| format!("{} {}", zone.apex, zone.status.as_str())).collect()
    }
}

fn refusals(loaded: &Loaded) -> String {
    loaded.refused.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn a_bad_zone_is_served_from_its_last_good_version_and_the_others_change() {
    let included = format!("{MASTER}$INCLUDE inc/more\n");
    let nets = "[pool.p]\nsteer = \"geo\"\nmembers = [{ to = \"e\", when = { nets = [\"file:nets\"] } }, \"e\"]\n\
                [name.api]\npool = \"p\"\n";
    let with_nets = |host| format!("{}{nets}", policy("a.", host));
    let no_toml = "zone = \"a.\"\n[name.www\n";
    let slips: [(&str, Change<'_>); 8] = [
        ("a wrong key", &|s| s.write("a.policy.toml", &format!("{}colour = 1\n", policy("a.", 2)))),
        ("no TOML", &|s| s.write("a.policy.toml", no_toml)),
        ("an empty policy", &|s| s.write("a.policy.toml", "")),
        ("another zone's name that is none", &|s| s.write("a.policy.toml", "zone = \"a..b\"\n")),
        ("a wrong record", &|s| s.write("a.zone", &format!("{MASTER}x A 1.2.3\n"))),
        ("no master file", &|s| s.remove("a.zone")),
        ("a wrong included file", &|s| s.write("inc/more", "y A 1\n")),
        ("a wrong net", &|s| s.write("nets", "office\n")),
    ];
    for (slip, make) in slips {
        let mut server = Server::usual();
        fs::create_dir(server.dir.path().join("zones/inc")).unwrap();
        server.write("inc/more", "y A 192.0.2.9\n");
        server.write("nets", "198.51.100.0/24\n");
        server.write("a.policy.toml", &with_nets(1));
        server.write("a.zone", &included);
        assert_eq!(server.loads(), ["a. current 1", "b. current 1", "s. current"], "{slip}");
        make(&server);
        server.write("b.policy.toml", &policy("b.", 2));
        server.now += 5.0;
        let (zones, loaded) = server.take(false);
        assert_eq!(zones, ["a. kept 1", "b. current 2", "s. current"], "{slip}");
        assert!(loaded.is_news);
        assert!(
            refusals(&loaded).contains("a. is served from its last good version, of 1970-01-01 00:16:40 UTC"),
            "{slip}"
        );
        let (zones, loaded) = server.take(false);
        assert_eq!(zones, ["a. kept 1", "b. current 2", "s. current"], "{slip}");
        assert!(!loaded.is_news, "{slip}: nothing else changed");
        assert_eq!(server.restarts(), ["a. kept", "b. current", "s. current"], "{slip}");
        server.write("inc/more", "y A 192.0.2.9\n");
        server.write("nets", "198.51.100.0/24\n");
        server.write("a.zone", &included);
        server.write("a.policy.toml", &with_nets(3));
        let (zones, loaded) = server.take(false);
        assert_eq!(
            (zones, refusals(&loaded).as_str()),
            (vec!["a. current 3".into(), "b. current 2".into(), "s. current".into()], "")
        );
    }
}

#[test]
fn the_last_good_version_of_a_static_zone_is_served_as_well() {
    let mut server = Server::usual();
    server.loads();
    server.write("s.zone", "@ SOA\n");
    assert_eq!(server.loads(), ["a. current 1", "b. current 1", "s. kept"]);
    assert_eq!(server.restarts(), ["a. current", "b. current", "s. kept"]);
}

#[test]
fn a_zone_that_was_never_good_is_not_served_and_the_others_are() {
    let mut server = Server::usual();
    server.write("a.policy.toml", "zone = \"a.\"\n= =\n");
    server.write("s.zone", "@ SOA\n");
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. unserved nothing", "b. current 1", "s. unserved nothing"]);
    assert!(refusals(&loaded).contains("a. is not served: its names get SERVFAIL until its files are correct"));
    server.write("a.policy.toml", &policy("a.", 4));
    assert_eq!(server.loads(), ["a. current 4", "b. current 1", "s. unserved nothing"]);
}

#[test]
fn of_two_files_with_one_zone_the_one_that_had_it_counts() {
    let mut server = Server::usual();
    server.loads();
    server.write("0.policy.toml", &policy("a.", 7));
    server.write("a.policy.toml", &policy("a.", 2));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 2", "b. current 1", "s. current"], "its own changes are taken");
    assert!(refusals(&loaded).contains("declared twice"), "{}", refusals(&loaded));
    let mut fresh = Server::usual();
    fresh.write("0.policy.toml", &policy("a.", 7));
    assert_eq!(fresh.loads(), ["a. unserved nothing", "b. current 1", "s. current"], "nobody knows which is meant");
    server.remove("a.policy.toml");
    assert_eq!(server.loads(), ["a. current 7", "b. current 1", "s. current"], "a file that was renamed");
}

#[test]
fn of_two_policies_with_one_master_file_the_one_that_had_it_counts() {
    let mut server = Server::usual();
    server.loads();
    server.write("a.policy.toml", &policy("a.", 2));
    server.write("b.policy.toml", &policy("b.", 2).replace("\"b.\"\n", "\"b.\"\nfile = \"a.zone\"\n"));
    let (zones, loaded) = server.take(false);
    // b.zone is a part of the last good version of b., and no zone of its own.
    assert_eq!(zones, ["a. current 2", "b. kept 1", "s. current"]);
    assert!(refusals(&loaded).contains("is the master file of two policies"));
}

#[test]
fn what_disappears_is_served_for_a_while() {
    let mut server = Server::usual();
    server.loads();
    server.remove("a.policy.toml");
    server.remove("s.zone");
    server.now = 1010.0;
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["b. current 1", "a. vanished 1", "s. vanished"]);
    let says = refusals(&loaded);
    assert!(says.contains("all steered names of a. disappeared from the files; they are served until"), "{says}");
    assert!(says.contains("s. disappeared from the files; it is served until"), "{says}");
    assert!(!loaded.is_news, "the same is served");
    server.now = 1069.0;
    server.write("b.policy.toml", &policy("b.", 2));
    assert_eq!(server.loads(), ["b. current 2", "a. vanished 1", "s. vanished"], "each load counts from the first");
    server.now = 1070.0;
    assert_eq!(server.loads(), ["b. current 2", "a. current"]);
    server.now = 1080.0;
    server.write("a.policy.toml", &policy("a.", 3));
    assert_eq!(server.loads(), ["a. current 3", "b. current 2"]);
}

#[test]
fn what_comes_back_in_time_was_never_gone() {
    let mut server = Server::usual();
    server.loads();
    server.remove("a.policy.toml");
    server.remove("a.zone");
    assert_eq!(server.loads().last().unwrap(), "a. vanished 1");
    server.write("a.policy.toml", &policy("a.", 1));
    server.write("a.zone", MASTER);
    assert_eq!(server.loads()[0], "a. current 1");
    server.now += 1000.0;
    server.remove("a.policy.toml");
    server.remove("a.zone");
    assert_eq!(server.loads().last().unwrap(), "a. vanished 1", "a new disappearance has a time of its own");
}

#[test]
fn a_removal_that_is_confirmed_is_at_once_and_so_it_is_without_a_delay() {
    let mut server = Server::usual();
    server.loads();
    server.remove("a.policy.toml");
    assert_eq!(server.take(true).0, ["b. current 1", "a. current", "s. current"]);
    server.write("../portolan.toml", &format!("{SETTINGS}[zones]\nremoval_delay = \"0s\"\n"));
    server.remove("b.policy.toml");
    server.remove("b.zone");
    assert_eq!(server.loads(), ["a. current", "s. current"]);
}

#[test]
fn a_policy_that_lost_all_its_names_is_served_from_its_last_good_version() {
    let mut server = Server::usual();
    server.loads();
    server.write("a.policy.toml", "zone = \"a.\"\n");
    assert_eq!(server.loads()[0], "a. vanished 1");
    server.write("a.policy.toml", &policy("a.", 5).replace("name.www", "name.api"));
    assert_eq!(server.loads()[0], "a. current 5", "another name is an edit");
}

#[test]
fn a_restart_during_a_removal_does_not_end_it() {
    let mut server = Server::usual();
    server.loads();
    server.remove("a.policy.toml");
    server.remove("s.zone");
    assert_eq!(server.restarts(), ["b. current", "a. vanished", "s. vanished"]);
}

#[test]
fn a_master_file_of_another_name_is_no_zone_while_the_policy_is_still_served() {
    let odd = policy("a.", 1).replace("\"a.\"\n", "\"a.\"\nfile = \"odd.zone\"\n");
    let mut server = Server::with(&[("a.policy.toml", &odd), ("odd.zone", MASTER)]);
    server.loads();
    server.remove("a.policy.toml");
    assert_eq!(server.loads(), ["a. vanished 1"]);
    server.now += 61.0;
    assert_eq!(server.loads(), ["odd. current"]);
}

#[test]
fn a_directory_that_cannot_be_read_stops_nothing() {
    let mut server = Server::usual();
    server.loads();
    fs::rename(server.dir.path().join("zones"), server.dir.path().join("away")).unwrap();
    assert_eq!(server.loads(), ["a. kept 1", "b. kept 1", "s. kept"]);
    let mut fresh = Server::usual();
    fs::remove_dir_all(fresh.dir.path().join("zones")).unwrap();
    assert!(fresh.load(false).is_err(), "a start without anything is refused");
}

#[test]
fn settings_that_a_zone_cannot_be_served_under_are_not_taken() {
    let mut server = Server::usual();
    server.loads();
    let moved = "region = \"here\"\n[regions.here]\n[regions.elsewhere]\n";
    server.write("../portolan.toml", moved);
    server.write("s.zone", &format!("{MASTER}new A 192.0.2.9\n"));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 1", "b. current 1", "s. current"]);
    assert!(
        refusals(&loaded).contains("the last good version of a. is not valid under these settings"),
        "{}",
        refusals(&loaded)
    );
    assert!(loaded.is_news && loaded.settings.regions[1].name == "there");
    for zone in ["a", "b"] {
        server.write(&format!("{zone}.policy.toml"), &policy(&format!("{zone}."), 2).replace("there", "elsewhere"));
    }
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 2", "b. current 2", "s. current"]);
    assert_eq!((refusals(&loaded).as_str(), &*loaded.settings.regions[1].name), ("", "elsewhere"));
}

#[test]
fn bad_settings_do_not_stop_a_zone() {
    let mut server = Server::usual();
    server.loads();
    server.write("../portolan.toml", "region = \"here\"\ncolour = 1\n");
    server.write("b.policy.toml", &policy("b.", 2));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 1", "b. current 2", "s. current"]);
    assert!(refusals(&loaded).contains("colour") && loaded.is_news);
    server.in_force = None;
    assert!(server.load(false).is_err(), "a start with bad settings is refused");
}

/// What a side file is, once good and once bad; and whether a start goes on without it.
fn side_file(name: &str, settings: &str, good: &str, bad: Option<&str>, starts_without: bool) {
    let mut server = Server::usual();
    server.write("../portolan.toml", &format!("{SETTINGS}{settings}"));
    let path = format!("../{name}");
    server.write(&path, good);
    let (_, first) = server.take(false);
    assert_eq!(refusals(&first), "", "{name}");
    let spoil = |server: &Server| match bad {
        Some(bad) => server.write(&path, bad),
        None => server.remove(&path),
    };
    spoil(&server);
    server.write("b.policy.toml", &policy("b.", 2));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 1", "b. current 2", "s. current"], "{name}");
    assert!(refusals(&loaded).contains(name), "{name}: {}", refusals(&loaded));
    let secrets = |loaded: &Loaded| (loaded.settings.operators.tokens.clone(), loaded.settings.guard.cookies);
    assert!(secrets(&loaded) == secrets(&first), "{name}: the previous value stays");
    server.in_force = None;
    match server.load(false) {
        Ok(loaded) => assert!(starts_without && refusals(&loaded).contains(name), "{name}: {}", refusals(&loaded)),
        Err(problems) => assert!(!starts_without, "{name}: {problems:?}"),
    }
}

#[test]
fn each_side_file_is_a_part_of_its_own() {
    let secret = "0123456789abcdef0123456789abcdef";
    side_file("tokens", "", &format!("alice operate {secret}\n"), Some("alice operat\n"), true);
    let cookies = "[cookies]\nsecret_file = \"cookie\"\n";
    side_file("cookie", cookies, secret, Some("xyz"), true);
    side_file("cookie", cookies, secret, None, true);
}

#[test]
fn a_certificate_that_is_missing_stops_neither_a_zone_nor_a_start() {
    let mut server = Server::usual();
    let settings = "[listen]\ntls = [\"127.0.0.1:0\"]\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";
    server.write("../portolan.toml", &format!("{SETTINGS}{settings}"));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 1", "b. current 1", "s. current"]);
    assert!(refusals(&loaded).contains("c.pem") && refusals(&loaded).contains("no DoT, DoH or DoQ connection"));
    assert!(loaded.settings.tls.is_some_and(|tls| tls.certificate.is_none()));
}

#[test]
fn a_bad_database_is_replaced_by_the_previous_one_and_a_start_without_it_is_refused() {
    let mut server = Server::usual();
    server.loads();
    server.write("../portolan.toml", &format!("{SETTINGS}[clients]\nmmdb = [\"geo.mmdb\"]\n"));
    server.write("../geo.mmdb", "no database");
    server.write("b.policy.toml", &policy("b.", 2));
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 1", "b. current 2", "s. current"]);
    assert!(refusals(&loaded).contains("geo.mmdb"));
    server.in_force = None;
    assert!(server.load(false).is_err(), "clients would be placed wrong");
}

#[test]
fn a_file_that_could_not_be_read_is_watched() {
    let mut server = Server::usual();
    fs::create_dir(server.dir.path().join("zones/inc")).unwrap();
    server.write("a.zone", &format!("{MASTER}$INCLUDE inc/missing\n"));
    let (_, loaded) = server.take(false);
    let watched = |path: &str| loaded.files.iter().any(|file| file.ends_with(Path::new(path)));
    assert!(watched("zones/inc/missing"), "{:?}", loaded.files);
}

#[test]
fn a_zone_is_found_again_by_the_file_it_came_from() {
    let mut server = Server::usual();
    server.write("odd.policy.toml", &policy("c.example.", 1).replace("e.\"\n", "e.\"\nfile = \"c-records.zone\"\n"));
    server.write("c-records.zone", MASTER);
    assert!(server.loads().contains(&"c.example. current 1".to_owned()));
    server.write("odd.policy.toml", "[[[");
    let zones = server.loads();
    assert!(zones.contains(&"c.example. kept 1".to_owned()) && zones.len() == 4, "{zones:?}");
    assert!(server.in_force.unwrap().zones.iter().any(|zone| zone.apex == Name::parse("c.example.").unwrap()));
}
