//! The shape of a file: how long it is, how wide its lines are, that it opens with what it is, that nothing is left
//! unfinished, and that a file of tests has `test` in its path.

use crate::rust_text::{has_word, test_only_files};
use crate::sources::{Source, check, report};

/// Longest file. Judgment: every file over it in the field's other servers is the one they have most trouble with.
const MOST_LINES: usize = 450;

/// Files that may be longer, as they are flat tables: (file, why). A file that has become short leaves the list.
const FLAT_TABLES: &[(&str, &str)] = &[];

/// Words of unfinished work.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "unimplemented!", "todo!"];

/// Widest line, in characters: what `rustfmt.toml` says for code; comments and strings are held to the same.
const MOST_COLUMNS: usize = 120;

#[test]
fn no_file_is_too_long() {
    report(|sources| check_length(sources, FLAT_TABLES));
}

#[test]
fn no_line_is_too_wide() {
    report(check_columns);
}

#[test]
fn every_file_says_what_it_is() {
    report(check_opening);
}

#[test]
fn nothing_is_left_unfinished() {
    report(check_unfinished);
}

#[test]
fn files_of_tests_have_test_in_their_path() {
    report(check_test_paths);
}

/// No file over [`MOST_LINES`] but the listed tables, and none listed that isn't.
fn check_length(sources: &[Source], tables: &[(&str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        let listed = tables.iter().any(|(path, _)| *path == source.path);
        if lines > MOST_LINES && !listed {
            complaints.push(format!(
                "src/{}: {lines} lines, over {MOST_LINES}: split it by what changes together",
                source.path
            ));
        }
        if lines <= MOST_LINES && listed {
            complaints.push(format!("src/{}: {lines} lines: short enough now, take it off FLAT_TABLES", source.path));
        }
    }
    for (path, _) in tables {
        if !sources.iter().any(|s| s.path == *path) {
            complaints.push(format!("src/{path}: on FLAT_TABLES but not there"));
        }
    }
    complaints
}

/// No line over [`MOST_COLUMNS`], in code, comment or string.
fn check_columns(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (at, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MOST_COLUMNS {
                let place = format!("src/{}:{}", source.path, at + 1);
                complaints.push(format!("{place}: {columns} columns, over {MOST_COLUMNS}: break the line"));
            }
        }
    }
    complaints
}

/// Each file opens with `//!`.
fn check_opening(sources: &[Source]) -> Vec<String> {
    let silent = sources.iter().filter(|s| !s.text.starts_with("//! "));
    silent
        .map(|s| format!("src/{}: open it with `//!`: what it is, what it never does, who calls it", s.path))
        .collect()
}

/// A file that is compiled only for tests has `test` or `tests` as a word of its path.
fn check_test_paths(sources: &[Source]) -> Vec<String> {
    let test_only = test_only_files(sources);
    let is_named = |path: &str| path.split(['/', '_', '.']).any(|word| matches!(word, "test" | "tests"));
    let unnamed = sources.iter().filter(|s| test_only.contains(&s.path) && !is_named(&s.path));
    unnamed
        .map(|s| format!("src/{}: only tests compile it: name it `tests.rs`, `test_X.rs` or `X_tests.rs`", s.path))
        .collect()
}

/// No word of unfinished work, in code or comments.
fn check_unfinished(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
                complaints.push(format!("src/{}:{}: `{word}`: finish it, or delete it", source.path, at + 1));
            }
        }
    }
    complaints
}

#[test]
fn the_checks_of_shape_find_what_they_should() {
    let long = "//! A file.\n".repeat(MOST_LINES + 1);
    let length = |sources: &[Source]| check_length(sources, &[]);
    let listed = |sources: &[Source]| check_length(sources, &[("a.rs", "a table")]);
    check("long", length, &[("a.rs", &long)], &["src/a.rs: 451 lines"]);
    check("long, but a table", listed, &[("a.rs", &long)], &[]);
    check("listed for no reason", listed, &[("a.rs", "//! Short.\n")], &["take it off"]);
    check("listed and gone", listed, &[("b.rs", "//! Short.\n")], &["not there"]);

    let wide = format!("//! A file.\n// {}\n", "é".repeat(118));
    check("too wide", check_columns, &[("a.rs", &wide)], &["src/a.rs:2: 121 columns"]);
    let just = format!("//! A file.\n// {}\n", "é".repeat(117));
    check("just right, counted in characters", check_columns, &[("a.rs", &just)], &[]);

    let declared = ("a.rs", "//! A.\n#[cfg(test)]\npub(crate) mod world;\nmod latest;\n");
    let paths: &[(&str, &str)] = &[declared, ("a/world.rs", ""), ("a/latest.rs", "")];
    check("a test's file without the word", check_test_paths, paths, &["src/a/world.rs: only tests"]);
    let named = [("a.rs", "#[cfg(test)]\nmod test_world;\n#[cfg(test)]\nmod tests;\n"), ("a/test_world.rs", "")];
    check("with it", check_test_paths, &[named[0], named[1], ("a/tests/mod.rs", "")], &[]);

    check("no opening", check_opening, &[("a.rs", "use std::fmt;\n")], &["open it with"]);
    check("unfinished", check_unfinished, &[("a.rs", "//! A.\n// TODO: more\n")], &["src/a.rs:2: `TODO`"]);
    check("unfinished code", check_unfinished, &[("a.rs", "fn f() { todo!() }\n")], &["`todo!`"]);
    check("a word that holds it", check_unfinished, &[("a.rs", "//! MASTODON, TODOS\n")], &[]);
}
