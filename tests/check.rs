//! What `portolan check` says of files that are wrong. Each directory of `tests/check` is a case: files of a user, and
//! in `expected` what is printed of them, to the letter. Each message should tell a tired person what is wrong, where,
//! and what to write instead.
//!
//! `BLESS=1 cargo test --test check` writes the `expected` files anew; then read what changed.

use std::path::{Path, PathBuf};

use portolan::config::{self, Flags};

/// The directories in `dir`, sorted.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory of cases");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

/// What is said of a case. Without settings of its own it is the zones of a node in region `here`.
fn said_of(case: &Path) -> String {
    let file = case.join("portolan.toml");
    let loaded = match file.exists() {
        true => config::load(Some(&file), &Flags::default()),
        false => {
            let dir = case.to_string_lossy();
            config::load(None, &Flags::default().with("region", "here").with("zones.dir", &dir))
        }
    };
    let problems = loaded.map_or_else(|problems| problems, |loaded| loaded.warnings);
    config::to_human(&problems).replace(&format!("{}/", case.display()), "")
}

#[test]
fn every_wrong_file_gets_its_message() {
    let cases = directories(Path::new("tests/check"));
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let said = said_of(&case);
        let expected = case.join("expected");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &said).expect("writing what is expected");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != expected || said.is_empty() {
            wrong.push(format!("== {}\n-- expected\n{expected}-- said\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_is_without_a_problem() {
    let examples = directories(Path::new("zones"));
    let mut seen = 0;
    for file in examples.iter().map(|dir| dir.join("portolan.toml")).filter(|file| file.exists()) {
        match config::load(Some(&file), &Flags::default()) {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", config::to_human(&loaded.warnings)),
            Err(problems) => panic!("{}", config::to_human(&problems)),
        }
        seen += 1;
    }
    assert!(seen >= 2, "{seen} examples");
}
