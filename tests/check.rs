//! The messages of `portolan check` for wrong files. Each directory of `tests/check` is a case: the files of a user,
//! and the exact output in `expected` (in some cases also as JSON in `expected.json`). Each message must say what is
//! wrong, where, and what to write instead.
//!
//! `BLESS=1 cargo test --test check` writes the `expected` files. Then read what changed.

use std::path::{Path, PathBuf};

use portolan::config::{self, Flags};
use portolan::source::{self, Problem};

/// The directories in `dir`, sorted.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory of cases");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

/// The problems of a case. A case without settings is the zones of a node in region `here`.
fn found_in(case: &Path) -> Vec<Problem> {
    let file = case.join("portolan.toml");
    let loaded = match file.exists() {
        true => config::load(Some(&file), &Flags::default()),
        false => {
            let dir = case.to_string_lossy();
            config::load(None, &Flags::default().with("region", "here").with("zones.dir", &dir))
        }
    };
    loaded.map_or_else(|problems| problems, |loaded| loaded.warnings)
}

/// The files with the expected output, and the real output.
fn outputs_of(case: &Path) -> Vec<(PathBuf, String)> {
    let problems = found_in(case);
    let plain = |text: String| text.replace(&format!("{}/", case.display()), "");
    let mut outputs = vec![(case.join("expected"), plain(source::to_human(&problems)))];
    let json = case.join("expected.json");
    if json.exists() {
        outputs.push((json, plain(format!("{:#}\n", source::to_json(&problems)))));
    }
    outputs
}

#[test]
fn every_wrong_file_gets_its_message() {
    // Which types of sinks there are depends on the build.
    let other = if config::HAS_KAFKA { "kafka-not-built" } else { "kafka-wrong" };
    let mut cases = directories(Path::new("tests/check"));
    cases.retain(|case| !case.ends_with(other));
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let (mut wrong, mut as_json) = (Vec::new(), 0);
    for (file, output) in cases.iter().flat_map(|case| outputs_of(case)) {
        as_json += usize::from(file.extension().is_some());
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &output).expect("writing what is expected");
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if output != expected || output.is_empty() {
            wrong.push(format!("== {}\n-- expected\n{expected}-- found\n{output}", file.display()));
        }
    }
    assert_eq!(as_json, 2, "two cases have their problems as JSON too");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_is_without_a_problem() {
    let examples = directories(Path::new("zones"));
    let mut seen = 0;
    for file in examples.iter().map(|dir| dir.join("portolan.toml")).filter(|file| file.exists()) {
        match config::load(Some(&file), &Flags::default()) {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", source::to_human(&loaded.warnings)),
            Err(problems) => panic!("{}", source::to_human(&problems)),
        }
        seen += 1;
    }
    assert!(seen >= 2, "{seen} examples");
}
