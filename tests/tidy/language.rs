//! The words of names and comments: each type has a name of its own, no name is one of the banned words, and no comment
//! cites a document that a reader of this repository doesn't have. The glossary of CONTRIBUTING.md has the words to use.

use crate::rust_text::{code_of, has_word, words};
use crate::sources::{Source, check, report, sources_in};
use std::collections::{BTreeMap, BTreeSet};

/// Words that must not be part of a name that is defined here, and what to write instead. They stood for many things.
const BANNED_IN_NAMES: &[(&str, &str)] = &[
    ("told", "the verb that is meant: render, report, remap, notify, restore"),
    ("tells", "the verb that is meant: render, report, remap, notify, restore"),
    ("said", "`statement`, `reported` or `override`"),
    ("heard", "`received` or `reported`"),
    ("asked", "`query`, `question` or `requested`"),
    ("kept", "`retained`, `stored` or `restored`"),
    ("placed", "`position` or `located`"),
    ("beside", "`next_to` or `other`"),
    ("past", "what it is: `DetectorState`, `previous`"),
    ("voice", "`vote` or `reporter`"),
    ("voices", "`votes` or `reporters`"),
];

/// Words that must not stand in a comment: personification, or riddles that are written with them.
const BANNED_IN_COMMENTS: &[(&str, &str)] = &[
    ("told", "the verb that is meant"),
    ("tells", "`shows`, `reports` or `is`"),
    ("said", "the verb that is meant"),
    ("heard", "`received`"),
    ("by and by", "`gradually`"),
    ("beside", "`next to`"),
    ("voice", "`vote`"),
    ("voices", "`votes`"),
];

/// Documents outside the repository.
const FOREIGN_DOCUMENTS: &[&str] = &["CONTRACT", "DESIGN", "LIBRARIES"];

#[test]
fn no_name_is_a_banned_word() {
    report(check_names);
}

#[test]
fn no_comment_has_a_banned_word() {
    report(check_comments);
}

#[test]
fn no_type_name_stands_for_two_types() {
    report(check_type_names);
}

#[test]
fn no_comment_cites_a_document_that_is_not_here() {
    report(check_documents);
}

#[test]
fn no_other_text_cites_a_document_that_is_not_here() {
    let texts = sources_in("tests", &["py", "md"]).into_iter().chain(sources_in("docs", &["md"]));
    let citing: Vec<String> = texts
        .filter(|source| FOREIGN_DOCUMENTS.iter().any(|document| has_word(&source.text, document)))
        .map(|source| format!("{}: cite an RFC, or a page of this repository", source.path))
        .collect();
    assert!(citing.is_empty(), "{citing:?}");
}

/// Names of functions, types, modules, constants, fields, variants, arguments and variables.
fn check_names(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (line, name) in defined_names(&code_of(&source.text)) {
            let parts = parts_of(&name);
            if let Some((word, instead)) = BANNED_IN_NAMES.iter().find(|(word, _)| parts.iter().any(|p| p == word)) {
                complaints.push(format!("src/{}:{line}: `{name}`: `{word}` is banned: use {instead}", source.path));
            }
        }
    }
    complaints
}

/// What `code` defines, each name with its line. A name before a single `:` is a field, an argument or a variable.
fn defined_names(code: &str) -> Vec<(usize, String)> {
    const BEFORE: &[&str] =
        &["fn", "struct", "enum", "union", "trait", "type", "mod", "let", "mut", "const", "static", "for"];
    let mut found = Vec::new();
    let mut previous = "";
    let mut brace_before = "";
    for (line, word, before) in words(code) {
        let after = code[before.len() + word.len()..].trim_start();
        let field = after.starts_with(':') && !after.starts_with("::");
        let first_of_line = before.rsplit('\n').next().is_some_and(|start| start.trim().is_empty());
        let variant = first_of_line
            && word.starts_with(char::is_uppercase)
            && after.starts_with(['(', '{', ',', '='])
            && !before.trim_end().ends_with(['.', '=', '(']);
        if BEFORE.contains(&previous) && brace_before.trim().is_empty() || field || variant {
            found.push((line, word.to_owned()));
        }
        previous = word;
        let end = before.len() + word.len();
        let gap = code[end..].find(|c: char| c.is_alphanumeric() || c == '_').unwrap_or(0);
        brace_before = &code[end..end + gap];
    }
    found
}

/// The words of a name, in lower case: `heardBeat`, `HeardBeat` and `heard_beat` have two.
fn parts_of(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut lower_before = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && lower_before) {
            parts.push(String::new());
        }
        lower_before = c.is_lowercase() || c.is_numeric();
        if c != '_' {
            match parts.last_mut() {
                Some(part) => part.extend(c.to_lowercase()),
                None => parts.push(c.to_lowercase().collect()),
            }
        }
    }
    parts
}

/// The comment of each line that has one, with its line.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let slashes = line.match_indices("//").map(|(start, _)| start);
        let start = slashes.into_iter().find(|start| line[..*start].matches('"').count() % 2 == 0)?;
        Some((at + 1, &line[start..]))
    })
}

fn check_comments(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (line, comment) in comments(&source.text) {
            let comment = comment.to_lowercase();
            if let Some((word, instead)) = BANNED_IN_COMMENTS.iter().find(|(word, _)| has_word(&comment, word)) {
                complaints.push(format!("src/{}:{line}: `{word}` is banned: use {instead}", source.path));
            }
        }
    }
    complaints
}

fn check_documents(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (line, comment) in comments(&source.text) {
            if let Some(document) = FOREIGN_DOCUMENTS.iter().find(|document| has_word(comment, document)) {
                let advice = "cite an RFC, or a page of this repository, or write the rule here";
                complaints.push(format!("src/{}:{line}: cites {document}: {advice}", source.path));
            }
        }
    }
    complaints
}

/// `pub` types, however far they are visible: a name that a reader finds twice must be looked up twice.
fn check_type_names(sources: &[Source]) -> Vec<String> {
    let mut homes: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for source in sources {
        for name in public_types(&code_of(&source.text)) {
            if !homes.entry(name.clone()).or_default().insert(&source.path) {
                complaints.push(format!("src/{}: `{name}` is defined twice: give each a name of its own", source.path));
            }
        }
    }
    for (name, files) in homes.iter().filter(|(_, files)| files.len() > 1) {
        let files: Vec<&str> = files.iter().copied().collect();
        complaints.push(format!("`{name}` is defined in {}: give each a name of its own", files.join(", ")));
    }
    complaints
}

/// The names of structs, enums, traits, unions and type aliases of `code` with some `pub`.
fn public_types(code: &str) -> Vec<String> {
    const KINDS: &[&str] = &["struct", "enum", "trait", "union", "type"];
    let mut found = Vec::new();
    for line in code.lines() {
        let Some(rest) = line.trim_start().strip_prefix("pub") else { continue };
        let rest = rest.strip_prefix('(').and_then(|r| r.split_once(')')).map_or(rest, |(_, after)| after);
        let mut names = rest.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
        if rest.starts_with(' ') && names.next().is_some_and(|kind| KINDS.contains(&kind)) {
            found.extend(names.next().map(str::to_owned));
        }
    }
    found
}

#[test]
fn the_checks_of_language_find_what_they_should() {
    let name = |text: &'static str| [("a.rs", text)];
    check("a function", check_names, &name("fn told() {}"), &["src/a.rs:1: `told`: `told` is banned: use the verb"]);
    check("a part of a name", check_names, &name("\nfn is_told_twice() {}"), &["src/a.rs:2: `is_told_twice`"]);
    check("a type", check_names, &name("struct HeardBeats;"), &["`HeardBeats`: `heard`"]);
    check("a field and an argument", check_names, &name("struct A { kept: u8 }\nfn f(said: u8) {}"), &["kept", "said"]);
    check("a variable", check_names, &name("let said = 1;\nlet mut kept = 2;"), &["said", "kept"]);
    check("a variant", check_names, &name("enum A {\n    Told,\n    Asked(u8),\n}"), &["Told", "Asked"]);
    check("a word that holds one", check_names, &name("fn pasted() { let basket = 1; }"), &[]);
    check("a name of a library", check_names, &name("fn f() { time.past(); other::told(); }"), &[]);
    check("a string", check_names, &name("let a = \"told: nobody\";"), &[]);

    check("a comment", check_comments, &name("// It is told.\n"), &["src/a.rs:1: `told`"]);
    check("two words, behind code", check_comments, &name("let a = 1; // grows by and by\n"), &["`by and by`"]);
    check("a string with slashes", check_comments, &name("let a = \"http://told\";\n"), &[]);
    check("foreign", check_documents, &name("/// See CONTRACT 4.7.\n"), &["src/a.rs:1: cites CONTRACT"]);
    check("the word in small letters", check_documents, &name("/// The contract of this function.\n"), &[]);

    let twice =
        [("a.rs", "pub struct A;\npub(crate) enum B {}"), ("b/mod.rs", "pub(super) struct A<T>(T);\nenum B {}")];
    check("a type twice", check_type_names, &twice, &["`A` is defined in a.rs, b/mod.rs"]);
    check(
        "in one file",
        check_type_names,
        &name("pub struct A;\nmod b {\n    pub type A = u8;\n}"),
        &["src/a.rs: `A`"],
    );
    check("a function may", check_type_names, &name("pub fn a() {}\nmod b { pub fn a() {} }"), &[]);
    assert_eq!(parts_of("HeardBeats"), ["heard", "beats"]);
    assert_eq!(parts_of("is_told"), ["is", "told"]);
    assert_eq!(parts_of("MAX_KEPT"), ["max", "kept"]);
}
