//! Changes of settings that a running server can't make.

use super::*;

/// The settings of the start, with this change of them.
fn settings_with(from: &str, to: &str) -> String {
    let text = "region = \"here\"\nnode = \"n1\"\n[listen]\nhttp = \"127.0.0.1:0\"\n[regions.here]\n[regions.there]\n";
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn each_key_that_takes_a_restart_is_refused_where_it_is_written_and_the_rest_is_taken() {
    for (from, to, place, what) in [
        ("\"here\"", "\"there\"", "1:1", "`region` has changed"),
        ("\"n1\"", "\"n2\"", "2:1", "`node` has changed"),
        ("node = \"n1\"\n", "", "1:1", "`node` is no longer written"),
        (":0\"", ":1\"", "4:1", "`listen.http` has changed"),
        ("http = \"127.0.0.1:0\"\n", "", "3:2", "`listen.http` is no longer written"),
        ("[listen]\n", "[listen]\nworkers = 2\n", "4:1", "`listen.workers` has changed"),
        ("[regions.there]\n", "[regions.there]\n[limits]\nconnections = 9\n", "7:2", "`limits` has changed"),
        ("[regions.there]\n", "[regions.there]\n[state]\ndir = \"x\"\n", "7:2", "`state` has changed"),
        ("[regions.there]\n", "[regions.there]\n[vantage]\nexec = [\"/bin/x\"]\n", "7:2", "`vantage` has changed"),
        ("[regions.there]\n", "[regions.there]\n[run]\nuser = \"x\"\n", "7:2", "`run` has changed"),
        ("[regions.there]\n", "[regions.there]\n[dnstap]\nfile = \"x\"\n", "7:2", "`dnstap` has changed"),
    ] {
        let mut server = Server::usual();
        server.write("../portolan.toml", &settings_with("", ""));
        server.loads();
        server.write("../portolan.toml", &format!("{}[chaos]\nversion = \"new\"\n", settings_with(from, to)));
        server.write("b.policy.toml", &policy("b.", 2));
        for is_first in [true, false] {
            let (zones, loaded) = server.take(false);
            assert_eq!(zones, ["a. current 1", "b. current 2", "s. current"], "{to}");
            let refused = refusals(&loaded);
            let start = format!("portolan.toml:{place}: error: {what}: that takes a restart");
            assert!(refused.contains(&start) && refused.lines().count() == 1, "{to}: {refused}");
            assert_eq!(loaded.is_news, is_first, "{to}");
            let Settings { region, node, guard, listen, .. } = loaded.settings;
            assert_eq!((region.as_str(), node.as_str(), listen.http.port()), ("here", "n1", 0), "{to}");
            assert_eq!(guard.version.as_deref(), Some("new"), "{to}: what needs no restart is taken");
        }
        server.write("../portolan.toml", &settings_with("", ""));
        assert_eq!(refusals(&server.take(false).1), "", "{to}");
    }
}

#[test]
fn changes_that_mean_the_same_take_no_restart() {
    let mut server = Server::usual();
    server.write("../portolan.toml", "region = \"here\"\n[regions.here]\n[regions.there]\n[limits]\nconnections = 9\n");
    server.loads();
    server.write(
        "../portolan.toml",
        "region = \"here\"\n[listen]\nworkers = 0\n[limits]\nconnections = 0x9\n[regions.there]\n[regions.here]\n",
    );
    assert_eq!(refusals(&server.take(false).1), "");
}

#[test]
fn settings_that_lack_the_region_of_the_running_server_are_refused() {
    let mut server = Server::usual();
    server.loads();
    server.write("../portolan.toml", "region = \"there\"\n[regions.there]\n[chaos]\nversion = \"new\"\n");
    let (zones, loaded) = server.take(false);
    assert_eq!(zones, ["a. current 1", "b. current 1", "s. current"]);
    let refused = refusals(&loaded);
    assert!(refused.contains("portolan.toml:1:1: error: `region` has changed"), "{refused}");
    assert!(refused.contains("is in region `here`, which these settings don't declare"), "{refused}");
    assert_eq!((loaded.settings.region.as_str(), &loaded.settings.guard.version), ("here", &None));
    // Without [regions] the region of the start is the only one.
    let mut server = Server::with(&[("s.zone", MASTER)]);
    server.write("../portolan.toml", "region = \"here\"\n");
    server.loads();
    server.write("../portolan.toml", "region = \"there\"\n");
    let (_, loaded) = server.take(false);
    assert!(refusals(&loaded).contains("portolan.toml:1:1: error: `region` has changed"));
    let names: Vec<&str> = loaded.model.regions.iter().map(|region| region.name.as_str()).collect();
    assert_eq!((loaded.settings.region.as_str(), names), ("here", vec!["here"]));
}
