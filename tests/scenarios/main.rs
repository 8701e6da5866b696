//! Scenarios: files that a DNS engineer can write, each with cases that run in simulated time. README.md in this
//! directory describes their keywords. Nothing is probed and no packet leaves the process. But the files are loaded as
//! `serve` loads them, the world is published as the daemon publishes it, and `answer()` answers every query so often
//! that the real replies can be compared with `explain`.

mod order;
mod query;
mod script;
mod world;

use std::path::{Path, PathBuf};

use script::{Line, Script};
use world::World;

/// Every scenario file, sorted: those of this directory, and those of the recipes in `zones/`.
fn files() -> Vec<PathBuf> {
    let entries = |dir| std::fs::read_dir(dir).expect("a directory of scenarios");
    let all = ["tests/scenarios", "tests/scenarios/recipes"].into_iter().flat_map(entries);
    let paths = all.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    found.sort();
    found
}

/// Runs a file; returns the expectations that were not met, and the number of queries.
fn play(path: &Path) -> (Vec<String>, usize) {
    let text = std::fs::read_to_string(path).expect("a scenario file");
    let script = Script::parse(&text).unwrap_or_else(|why| panic!("{}:{why}", path.display()));
    let (mut wrong, mut queries) = (Vec::new(), 0);
    for case in &script.cases {
        let mut world = World::new(&script);
        let mut last = None;
        for Line { number, words } in &case.lines {
            let outcome = match words[0].as_str() {
                "QUERY" => query::send(&mut world, &words[1..]).map(|answer| {
                    queries += 1;
                    last = Some(answer);
                }),
                word if query::EXPECTATIONS.contains(&word) => match &last {
                    Some(answer) => query::compare(answer, words),
                    None => Err("there is no query before this".to_owned()),
                },
                _ => world.change(words),
            };
            if let Err(why) = outcome {
                wrong.push(format!("{}:{number}: {}: {why}", path.display(), case.sentence));
            }
        }
    }
    (wrong, queries)
}

#[test]
fn every_expectation_of_every_scenario_is_met() {
    let (mut wrong, mut queries) = (Vec::new(), 0);
    for path in files() {
        let (of_file, count) = play(&path);
        wrong.extend(of_file);
        queries += count;
    }
    assert!(wrong.is_empty(), "{} expectations not met\n{}", wrong.len(), wrong.join("\n"));
    println!("{queries} queries, each as expected");
    assert!(queries >= 120, "only {queries} queries: does this test read all files?");
}

#[test]
fn an_expectation_that_is_not_met_is_reported() {
    let script = "SETTINGS\nregion = \"eu\"\nPOLICY\nzone = \"svc.example.\"\n[endpoint.a]\naddresses = [\"192.0.2.1\"]\n[name.www]\npool = \"a\"\n";
    for (case, complaint) in [
        ("CASE right\nQUERY www A\nEXPECT 192.0.2.1 100%\n", None),
        ("CASE wrong address\nQUERY www A\nEXPECT 192.0.2.2 100%\n", Some("192.0.2.1 100%")),
        ("CASE wrong share\nQUERY www A\nEXPECT 192.0.2.1 50%\n", Some("192.0.2.1 100%")),
        ("CASE wrong ttl\nQUERY www A\nTTL 7\n", Some("the TTL is 20")),
        ("CASE no such reason\nQUERY www A\nEXPLAIN health a down\n", Some("is no reason in stage")),
        ("CASE no query\nTTL 7\n", Some("there is no query")),
        ("CASE no such keyword\nSING\n", Some("is no keyword")),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{script}{case}")).expect("written");
        let (wrong, _) = play(file.path());
        match complaint {
            None => assert_eq!(wrong, Vec::<String>::new(), "{case}"),
            Some(complaint) => assert!(wrong.iter().any(|w| w.contains(complaint)), "{case}: {wrong:?}"),
        }
    }
}

#[test]
fn the_order_of_keys_does_not_matter() {
    let mut compared = 0;
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a scenario file");
        let script = Script::parse(&text).expect("played by the test above");
        if script.used.is_some() {
            continue;
        }
        let answers = order::everything(&script);
        for is_backwards in [false, true] {
            let policy = order::reordered(&script.policy, is_backwards);
            let other = Script { policy, ..Script::parse(&text).expect("as before") };
            assert_eq!(order::everything(&other), answers, "{}", path.display());
            compared += answers.len();
        }
    }
    assert!(compared > 500, "{compared} answers compared");
}
