//! Scenarios: files that a DNS engineer can write, each with cases that run in simulated time. README.md in this
//! directory describes their keywords. Nothing is probed and no packet leaves the process. But the files are loaded as
//! `serve` loads them, the world is published as the daemon publishes it, and `answer()` answers every query so often
//! that the real replies can be compared with `explain`.

mod order;
mod query;
mod script;
mod sources;
mod world;

use std::path::{Path, PathBuf};

use query::Answer;
use script::{Line, Script, Wrong};
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
        for line in &case.lines {
            if let Err(Wrong { word, why }) = play_line(line, &mut world, &mut last) {
                let (number, column) = (line.number, line.column(word));
                wrong.push(format!("{}:{number}:{column}: {}: {why}", path.display(), case.sentence));
            }
            queries += usize::from(line.words.iter().any(|word| word == "QUERY"));
        }
    }
    (wrong, queries)
}

/// Plays one line. `last` is the answer to the last query.
fn play_line(line: &Line, world: &mut World, last: &mut Option<Answer>) -> Result<(), Wrong> {
    let (mut words, mut first) = (&line.words[..], 0);
    if words[0] == "AT" {
        let time = words.get(1).ok_or_else(|| Wrong::at(0, "expected AT TIME ...".to_owned()))?;
        world.wait_until(time).map_err(|why| Wrong::at(1, why))?;
        (words, first) = (&words[2..], 2);
    }
    let Some(keyword) = words.first() else { return Ok(()) };
    let outcome: Result<(), Wrong> = match keyword.as_str() {
        "QUERY" => query::send(world, &words[1..]).map(|answer| *last = Some(answer)).map_err(Wrong::from),
        word if query::EXPECTATIONS.contains(&word) => match last {
            Some(answer) => query::compare(answer, words).map_err(Wrong::from),
            None => Err("there is no query before this".to_owned().into()),
        },
        "SOURCE" | "SOURCE_IS" | "CONFIRM_REMOVAL" => world.change_sources(words),
        _ => world.change(words).map_err(Wrong::from),
    };
    outcome.map_err(|Wrong { word, why }| Wrong::at(word + first, why))
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
fn an_error_of_a_source_has_its_line_and_column() {
    let script = "SETTINGS\nregion = \"eu\"\nPOLICY\nzone = \"svc.example.\"\n[pool.web]\n[discover.web]\ntype = \"http\"\n\
                  url = \"http://127.0.0.1:1/\"\npool = \"web\"\n[name.www]\npool = \"web\"\nCASE one\n";
    for (line, complaint) in [
        ("SOURCE", ":13:1: one: expected SOURCE NAME"),
        ("SOURCE db lists", ":13:8: one: no source is called db; there is web"),
        ("SOURCE web sings", ":13:12: one: expected SOURCE NAME lists"),
        ("SOURCE web lists a=192.0.2.1 b", ":13:30: one: `b` is no instance: write NAME=ADDRESS"),
        ("SOURCE web adds a=192.0.2.1;prot=80", ":13:17: one: `prot` is nothing that an instance has"),
        ("SOURCE web adds a=192.0.2.1;port=x", ":13:17: one: `port=x`: expected a port"),
        ("SOURCE web removes a", ":13:20: one: the source has no instance a"),
        ("SOURCE web wiped a=192.0.2.1", ":13:18: one: `wiped` lists nothing"),
        ("SOURCE_IS web ok", ":13:15: one: the source is away"),
        ("AT x SOURCE web lists", ":13:4: one: \"x\": expected number"),
        ("AT 5s SOURCE web lists b", ":13:24: one: `b` is no instance"),
        ("AT 5s SOURCE_IS web away \"no such text\"", ":13:26: one: its problem is: "),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{script}{line}\n")).expect("written");
        let (wrong, _) = play(file.path());
        assert!(wrong.len() == 1 && wrong[0].contains(complaint), "{line}: {wrong:?}");
    }
}

#[test]
fn the_example_of_the_manual_is_played() {
    let manual = std::fs::read_to_string("tests/scenarios/README.md").expect("the manual");
    let examples: Vec<&str> = manual.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), example).expect("written");
        let (wrong, queries) = play(file.path());
        assert!(wrong.is_empty() && queries > 0, "{wrong:?}");
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
