//! `portolan simulate` as a program: exit codes, the output on each stream, and which flags exclude each other.

use std::path::Path;
use std::process::{Command, Output};

fn portolan(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.arg("simulate").args(args).env_remove("PORTOLAN_LOG").output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(output)))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const MASTER: &str = "$TTL 60\n@ IN SOA ns1 host 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\n";

const POLICY: &str = r#"
zone = "svc.example."

[monitor.m]
type = "tcp"
port = 80

[endpoint.one]
addresses = ["192.0.2.10"]
region    = "eu-west"
monitor   = "m"
weight    = 3

[endpoint.two]
addresses = ["192.0.2.11"]
region    = "us-east"
monitor   = "m"
capacity  = 500

[pool.web]
members = ["one", "two"]

[name.www]
pool = "web"
"#;

/// The settings file of a directory with one zone, and another directory of zones.
fn files(dir: &Path) -> (String, String) {
    for (name, policy) in [("zones", POLICY.to_owned()), ("next", POLICY.replace("= 3", "= 1"))] {
        let zones = dir.join(name);
        std::fs::create_dir(&zones).unwrap();
        std::fs::write(zones.join("svc.example.zone"), MASTER).unwrap();
        std::fs::write(zones.join("svc.example.policy.toml"), policy).unwrap();
    }
    let file = dir.join("portolan.toml");
    let settings = "region = \"eu-west\"\n[regions.eu-west]\nnets = [\"192.0.2.0/24\"]\n[regions.us-east]\nnets = [\"203.0.113.0/24\"]\n";
    std::fs::write(&file, settings).unwrap();
    (file.to_str().unwrap().to_owned(), dir.join("next").to_str().unwrap().to_owned())
}

#[test]
fn the_exit_code_shows_whether_a_capacity_is_exceeded() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = files(dir.path());
    let demand = dir.path().join("demand.txt");
    std::fs::write(&demand, "# peak\n192.0.2.0/24 400\n203.0.113.0/24 200 www\n").unwrap();
    let demand = demand.to_str().unwrap();
    let run = |more: &[&str]| portolan(&[&["--config", &config, "--format", "json"], more].concat());
    for (args, code, exceeded) in [
        (&["--demand", demand][..], 0, serde_json::json!([])),
        (
            &["--demand", demand, "--lose", "region:eu-west"],
            1,
            serde_json::json!([{"endpoint": "two", "qps": 600.0, "capacity": 500, "zone": "svc.example."}]),
        ),
        (&["--qps", "500", "--lose", "one"], 0, serde_json::json!([])),
        (&["--lose", "one"], 0, serde_json::json!([])),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert_eq!(json(&output)["exceeded"], exceeded, "{args:?}");
    }
    let report = json(&run(&["--lose", "one"]));
    let rows: Vec<_> =
        report["endpoints"].as_array().unwrap().iter().map(|r| (&r["endpoint"], &r["before"], &r["after"])).collect();
    assert_eq!(rows, [(&"one".into(), &0.75.into(), &0.0.into()), (&"two".into(), &0.25.into(), &1.0.into())]);
    let output_text = stderr(&run(&["--lose", "one"]));
    assert!(
        output_text.contains("capacity is not checked") && output_text.contains("from the files alone"),
        "{output_text}"
    );
    assert!(!stderr(&run(&["--qps", "500"])).contains("not judged"));
}

#[test]
fn pairs_end_with_1_when_one_of_them_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = files(dir.path());
    let output = portolan(&["--config", &config, "--format", "json", "--pairs", "--qps", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&output)[0]["lost"], serde_json::json!(["region:eu-west", "region:us-east"]));
    let human = portolan(&["--config", &config, "--pairs", "--qps", "2001"]);
    assert_eq!(human.status.code(), Some(1), "last good is a quarter of 2001 to two: {}", stderr(&human));
    let output_text = String::from_utf8(human.stdout).unwrap();
    assert!(output_text.contains("region:eu-west region:us-east  two 100 %"), "{output_text}");
}

#[test]
fn another_policy_is_compared_with_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    let (config, next) = files(dir.path());
    let output = portolan(&["--config", &config, "--policy", &next, "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!((&report["endpoints"][1]["before"], &report["endpoints"][1]["after"]), (&0.25.into(), &0.5.into()));
    let broken = portolan(&["--config", &config, "--policy", "/nowhere"]);
    assert_eq!((broken.status.code(), broken.stdout.len()), (Some(1), 0));
    assert!(stderr(&broken).contains("can't read the zones directory"), "{}", stderr(&broken));
}

#[test]
fn conflicting_flags_are_wrong_usage_and_unknown_targets_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (config, next) = files(dir.path());
    for args in [
        &["--config", &config, "--server", "http://127.0.0.1:1"][..],
        &["--policy", &next],
        &["--qps", "10", "--demand", "x"],
        &["--qps", "many"],
        &["--override", "one"],
    ] {
        let output = portolan(args);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}: {}", stderr(&output));
    }
    for (args, expected) in [
        (&["--lose", "oen"][..], "portolan: no endpoint is called `oen`; did you mean `one`?\n"),
        (&["--lose", "region:eu-wst"], "portolan: no region is called `eu-wst`; did you mean `eu-west`?\n"),
        (&["--lose", "vantage:ns1"], "portolan: there is no vantage `ns1`: nothing is measured here\n"),
        (&["--demand", "/nowhere"], "portolan: can't read /nowhere: No such file or directory\n"),
    ] {
        let output = portolan(&[&["--config", &config], args].concat());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{args:?}");
        assert_eq!(stderr(&output), expected);
    }
}
