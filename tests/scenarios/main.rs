//! Scenarios: files that a DNS engineer can write, each a sentence a case, played in simulated time against what would
//! be served. README.md beside this file tells the words. Nothing is probed and no packet leaves the process, but the
//! files are loaded as `serve` loads them, the world is published as the daemon publishes it, and every question is
//! asked of `answer()` as often as it takes to hold the real replies against what `explain` says of them.

mod asked;
mod order;
mod script;
mod world;

use std::path::{Path, PathBuf};

use script::{Line, Script};
use world::World;

/// Every scenario file, sorted: those of the language, and those of the recipes in `zones/`.
fn files() -> Vec<PathBuf> {
    let entries = |dir| std::fs::read_dir(dir).expect("a directory of scenarios");
    let all = ["tests/scenarios", "tests/scenarios/recipes"].into_iter().flat_map(entries);
    let paths = all.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    found.sort();
    found
}

/// Plays a file; says what came out otherwise than it expects, and how many questions were asked.
fn play(path: &Path) -> (Vec<String>, usize) {
    let text = std::fs::read_to_string(path).expect("a scenario file");
    let script = Script::parse(&text).unwrap_or_else(|why| panic!("{}:{why}", path.display()));
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for case in &script.cases {
        let mut world = World::new(&script);
        let mut last = None;
        for Line { number, words } in &case.lines {
            let outcome = match words[0].as_str() {
                "QUERY" => asked::ask(&mut world, &words[1..]).map(|answer| {
                    asked += 1;
                    last = Some(answer);
                }),
                word if asked::EXPECTATIONS.contains(&word) => match &last {
                    Some(answer) => asked::judge(answer, words),
                    None => Err("nothing was asked before this".to_owned()),
                },
                _ => world.change(words),
            };
            if let Err(why) = outcome {
                wrong.push(format!("{}:{number}: {}: {why}", path.display(), case.sentence));
            }
        }
    }
    (wrong, asked)
}

#[test]
fn every_scenario_plays_as_it_is_written() {
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for path in files() {
        let (of_file, questions) = play(&path);
        wrong.extend(of_file);
        asked += questions;
    }
    assert!(wrong.is_empty(), "{} expectations not met\n{}", wrong.len(), wrong.join("\n"));
    println!("{asked} questions, each as expected");
    assert!(asked >= 120, "{asked} questions: a table that shrinks is no table");
}

#[test]
fn what_a_file_expects_can_fail() {
    let script = "SETTINGS\nregion = \"eu\"\nPOLICY\nzone = \"svc.example.\"\n[endpoint.a]\naddresses = [\"192.0.2.1\"]\n[name.www]\npool = \"a\"\n";
    for (case, complaint) in [
        ("CASE right\nQUERY www A\nEXPECT 192.0.2.1 100%\n", None),
        ("CASE wrong address\nQUERY www A\nEXPECT 192.0.2.2 100%\n", Some("192.0.2.1 100%")),
        ("CASE wrong share\nQUERY www A\nEXPECT 192.0.2.1 50%\n", Some("192.0.2.1 100%")),
        ("CASE wrong ttl\nQUERY www A\nTTL 7\n", Some("the TTL is 20")),
        ("CASE no such reason\nQUERY www A\nEXPLAIN health a down\n", Some("nobody is told of so")),
        ("CASE nothing asked\nTTL 7\n", Some("nothing was asked")),
        ("CASE no such word\nSING\n", Some("is no word")),
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
        let told = order::everything(&script);
        for is_backwards in [false, true] {
            let policy = order::reordered(&script.policy, is_backwards);
            let other = Script { policy, ..Script::parse(&text).expect("as before") };
            assert_eq!(order::everything(&other), told, "{}", path.display());
            compared += told.len();
        }
    }
    assert!(compared > 500, "{compared} answers compared");
}
