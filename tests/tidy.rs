//! The walls of the house, which other projects build from crates: who may use whom, what stays pure, how long a
//! file may be. Reads the sources as text; knows Rust only as far as comments, strings and paths. Each complaint says
//! what to do. The checks are themselves checked, on made-up sources, at the end.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The modules in import order: each may use only those before it. `clock` is apart, see [`check_imports`].
const ORDER: &[&str] = &[
    "wire",
    "model",
    "config",
    "steering",
    "health",
    "fleet",
    "snapshot",
    "answer",
    "server",
    "control",
    "telemetry",
    "daemon",
    "demo",
    "cli",
    "main",
];

/// Pairs that the order would allow and the design forbids: (user, used, why).
const APART: &[(&str, &str, &str)] = &[("health", "steering", "they meet in `model::view`")];

/// Modules, or files of them, that are plain functions of their arguments.
const PURE: &[&str] = &[
    "wire",
    "model",
    "steering",
    "health/blindness",
    "health/schedule",
    "health/detector",
    "health/rtt",
    "health/damping",
    "health/heartbeat",
    "health/phi",
    "health/observation",
    "fleet/report",
    "fleet/quorum",
    "snapshot/mod",
    "snapshot/names",
    "snapshot/cell",
    "snapshot/compile",
    "answer",
];

/// Words that a pure module never says: sockets, clocks, chance, counters, logs; with `!`, only as a macro.
const IMPURE_WORDS: &[&str] = &[
    "tokio",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixDatagram",
    "socket2",
    "libc",
    "hyper",
    "hyper_util",
    "axum",
    "notify",
    "surge_ping",
    "Instant",
    "SystemTime",
    "clock",
    "fastrand",
    "RandomState",
    "metrics",
    "counter!",
    "gauge!",
    "histogram!",
    "tracing",
    "println!",
    "eprintln!",
];

/// Standard library modules that a pure module never names.
const IMPURE_STD: &[&str] = &["fs", "env", "process", "thread"];

/// Longest file. Judgment: every file over it in the field's other servers is the one they have most trouble with.
const MOST_LINES: usize = 450;

/// Files that may be longer, as they are flat tables: (file, why). A file that has become short leaves the list.
const FLAT_TABLES: &[(&str, &str)] = &[];

/// Words of unfinished work.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "unimplemented!", "todo!"];

/// One source file, its path relative to `src` with forward slashes.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// The top module it belongs to: `steering` for `steering/mod.rs`, `cli` for `cli.rs`.
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Whether it is the file of a top module itself, from which `super` is the crate.
    fn is_module_root(&self) -> bool {
        match self.path.split_once('/') {
            None => true,
            Some((_, rest)) => rest == "mod.rs",
        }
    }

    /// Whether it lies at or below `place`, such as `wire` or `health/schedule`.
    fn is_at(&self, place: &str) -> bool {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        stem == place || stem.starts_with(&format!("{place}/"))
    }
}

// --- the checks over the real sources ------------------------------------------------------------------------------

#[test]
fn modules_use_only_what_stands_before_them() {
    report(check_imports);
}

#[test]
fn pure_modules_know_no_sockets_clocks_or_chance() {
    report(check_purity);
}

#[test]
fn no_file_is_too_long() {
    report(|sources| check_length(sources, FLAT_TABLES));
}

#[test]
fn stream_libraries_and_unsafe_stay_in_their_files() {
    report(check_fenced_words);
}

#[test]
fn every_file_says_what_it_is() {
    report(check_opening);
}

#[test]
fn nothing_is_left_unfinished() {
    report(check_unfinished);
}

fn report(check: impl Fn(&[Source]) -> Vec<String>) {
    let sources = sources();
    assert!(
        sources.len() > 20,
        "only {} files found under src: is this test looking in the right place?",
        sources.len()
    );
    let complaints = check(&sources);
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Every `.rs` file under `src`, in the order of their paths.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source {
                    path: path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/"),
                    text,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

// --- what is checked -----------------------------------------------------------------------------------------------

/// The import order. `clock` uses `model` (for `Moment`) and may be used by every module that isn't pure, which
/// [`check_purity`] holds; `lib` only declares. Tests may use anything.
fn check_imports(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let test_only = test_only_files(sources);
    for source in sources {
        let module = source.module();
        if module == "lib" || test_only.contains(&source.path) {
            continue;
        }
        if module != "clock" && !ORDER.contains(&module) {
            complaints.push(format!("src/{}: module `{module}` has no place in the import order: give it one in ORDER of tests/tidy.rs and in src/lib.rs", source.path));
            continue;
        }
        let code = without_tests(&code_of(&source.text));
        if code.contains("super::super::super") || (source.is_module_root() && code.contains("super::super")) {
            complaints
                .push(format!("src/{}: climbs with `super::super::super`; write the path from `crate::`", source.path));
        }
        for used in used_modules(source, &code) {
            if let Some(why) = forbidden(module, &used) {
                complaints.push(format!("src/{}: `{module}` uses `{used}`, {why}", source.path));
            }
        }
    }
    complaints
}

/// Why `user` may not use `used`, if it may not. Names that are no module (macros, items of lib.rs) are fine.
fn forbidden(user: &str, used: &str) -> Option<String> {
    let place = |module: &str| ORDER.iter().position(|m| *m == module);
    if user == "clock" {
        let ok = used == "model" || place(used).is_none();
        return (!ok).then(|| "but `clock` may use `model` alone".to_owned());
    }
    if let Some((_, _, why)) = APART.iter().find(|(a, b, _)| (*a, *b) == (user, used)) {
        return Some(format!("which it must not know: {why}"));
    }
    let (mine, theirs) = (place(user)?, place(used)?);
    (theirs > mine).then(|| {
        format!(
            "which stands after it ({}): move what both need to the earlier one, or hand it over as an argument",
            ORDER.join(", ")
        )
    })
}

/// The top modules that `code` names by `crate::`, `portolan::`, or by `super::` where that is the crate.
fn used_modules(source: &Source, code: &str) -> BTreeSet<String> {
    let mut roots = vec!["crate::", "portolan::"];
    if source.is_module_root() {
        roots.push("super::");
    }
    let mut used = BTreeSet::new();
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            used.extend(first_names(&code[at + root.len()..]));
        }
    }
    used.remove(source.module());
    used
}

/// The first names of a path or of a braced group: `a::b` gives a; `{a::b, c::{d}}` gives a and c.
fn first_names(path: &str) -> Vec<String> {
    let name =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.trim_start().strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

/// Pure modules name nothing that reads or changes the world.
fn check_purity(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let test_only = test_only_files(sources);
    for source in sources.iter().filter(|s| PURE.iter().any(|place| s.is_at(place)) && !test_only.contains(&s.path)) {
        let code = without_tests(&code_of(&source.text));
        for (line, word, before) in words(&code) {
            let of_std = IMPURE_STD.contains(&word) && before.ends_with("std::");
            let own = before.ends_with('.') || before.ends_with("fn ");
            let as_macro = format!("{word}!");
            let impure = IMPURE_WORDS
                .iter()
                .any(|w| *w == word || (*w == as_macro && code[before.len() + word.len()..].starts_with('!')));
            if of_std || (impure && !own) {
                complaints.push(format!(
                    "src/{}:{line}: `{word}` in a pure module: take what it gives as an argument, or do this where the sockets are",
                    source.path
                ));
            }
        }
    }
    complaints
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

/// `hickory_server` and `quinn` are named by the streams alone, `unsafe` by the batched socket calls alone.
fn check_fenced_words(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let code = code_of(&source.text);
        for (line, word, _) in words(&code) {
            let streams = source.path.starts_with("server/streams");
            let batch = matches!(source.path.as_str(), "server/batch.rs" | "server/socket.rs");
            if matches!(word, "hickory_server" | "quinn") && !streams {
                complaints.push(format!(
                    "src/{}:{line}: only server/streams may name {word}: go through `answer()`",
                    source.path
                ));
            }
            if word == "unsafe" && !batch {
                complaints.push(format!(
                    "src/{}:{line}: `unsafe` outside server/batch.rs: find the safe call, or wrap it there",
                    source.path
                ));
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

// --- as much of Rust as that takes ---------------------------------------------------------------------------------

/// The text with comments, strings and characters blanked out; lines stay where they were.
fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(len) = raw_string(rest, &out) {
            len
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_char_literal(rest) {
            quoted(rest, '\'')
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let newlines = rest[..skipped].matches('\n').count();
        out.push(' ');
        out.extend(std::iter::repeat_n('\n', newlines));
        rest = &rest[skipped..];
    }
    out
}

/// Length of the (nested) block comment at the start of `text`.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of the raw string at the start of `text`, if one starts here: `r"..."`, `br#"..."#`.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inner = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - inner.len();
    Some(inner.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// Length of the literal at the start of `text`, between two `quote`s, escapes skipped.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Whether the `'` at the start of `text` opens a character rather than a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    match after.next() {
        Some('\\') => true,
        Some(_) => after.next() == Some('\''),
        None => false,
    }
}

/// The code without items marked `#[cfg(test)]`: tests may use what they like.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let len = item_len(item);
        out.extend(std::iter::repeat_n('\n', item[..len].matches('\n').count()));
        rest = &item[len..];
    }
    out + rest
}

/// Length of the item at the start of `code`: to its `;`, or to the brace that closes its first one.
fn item_len(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth <= 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Files of modules that are declared `#[cfg(test)] mod NAME;`.
fn test_only_files(sources: &[Source]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for source in sources {
        let code = code_of(&source.text);
        for (at, mark) in code.match_indices("#[cfg(test)]") {
            let item = code[at + mark.len()..].trim_start();
            let item = item.strip_prefix("pub(crate) ").or(item.strip_prefix("pub(super) ")).unwrap_or(item);
            let Some(name) = item.strip_prefix("mod ").and_then(|m| m.split_once(';')).map(|(n, _)| n.trim()) else {
                continue;
            };
            if name.contains('{') {
                continue;
            }
            let dir = match source.path.strip_suffix("mod.rs") {
                Some(dir) => dir.to_owned(),
                None if matches!(source.path.as_str(), "lib.rs" | "main.rs") => String::new(),
                None => format!("{}/", source.path.trim_end_matches(".rs")),
            };
            files.insert(format!("{dir}{name}.rs"));
            files.insert(format!("{dir}{name}/mod.rs"));
        }
    }
    files
}

/// Each word of `code` with its line, counted from 1, and the code before it.
fn words(code: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    let mut line = 1;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let len = code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        line += code[at..start].matches('\n').count();
        at = start + len;
        Some((line, &code[start..at], &code[..start]))
    })
}

/// Whether `line` has `word` with no letter on either side.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joined(line[..at].chars().next_back()) && !joined(line[at + word.len()..].chars().next())
    })
}

// --- that the checks can fail --------------------------------------------------------------------------------------

/// `sources` as (path, text); `expected` as parts of the complaints, in order.
fn check(what: &str, rule: impl Fn(&[Source]) -> Vec<String>, sources: &[(&str, &str)], expected: &[&str]) {
    let sources: Vec<Source> = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
    let complaints = rule(&sources);
    let mut said = String::new();
    for complaint in &complaints {
        let _ = writeln!(said, "  {complaint}");
    }
    assert_eq!(complaints.len(), expected.len(), "{what}: said\n{said}");
    for (complaint, part) in complaints.iter().zip(expected) {
        assert!(complaint.contains(part), "{what}: wanted `{part}`, said\n{said}");
    }
}

#[test]
fn the_import_check_sees_what_it_should() {
    let rule = check_imports;
    check("a later module may use an earlier one", rule, &[("steering/mod.rs", "use crate::model::Pool;")], &[]);
    check(
        "an earlier one may not",
        rule,
        &[("model/pool.rs", "use crate::steering::decide;")],
        &["`model` uses `steering`"],
    );
    check("health and steering stay apart", rule, &[("health/mod.rs", "use crate::steering::X;")], &["must not know"]);
    check(
        "a group is read whole",
        rule,
        &[("wire/name.rs", "use crate::{\n model::{A, B},\n config,\n};")],
        &["`config`", "`model`"],
    );
    check(
        "a path in code counts",
        rule,
        &[("answer.rs", "fn f() { crate::server::run(); }")],
        &["`answer` uses `server`"],
    );
    check(
        "super is the crate in a top file",
        rule,
        &[("answer/mod.rs", "use super::server::Udp;")],
        &["`answer` uses `server`"],
    );
    check("super is not the crate further down", rule, &[("answer/pick.rs", "use super::server::Udp;")], &[]);
    check(
        "comments and strings don't count",
        rule,
        &[("wire/mod.rs", "/// [`crate::model`]\nconst A: &str = \"crate::model\";")],
        &[],
    );
    check(
        "tests may use anything",
        rule,
        &[("wire/mod.rs", "#[cfg(test)]\nmod tests { use crate::config::X; fn f() {} }")],
        &[],
    );
    check(
        "but only tests",
        rule,
        &[("wire/mod.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::config::X;")],
        &["`config`"],
    );
    let file = [("config/mod.rs", "#[cfg(test)]\nmod tests;"), ("config/tests.rs", "use crate::daemon::run;")];
    check("a test file may use anything", rule, &file, &[]);
    check("main names the library", rule, &[("server/mod.rs", "use portolan::daemon::X;")], &["`daemon`"]);
    check(
        "the clock knows the moment alone",
        rule,
        &[("clock.rs", "use crate::model::Moment; use crate::wire::Name;")],
        &["`model` alone"],
    );
    check("a new module needs a place", rule, &[("shiny/mod.rs", "")], &["no place in the import order"]);
    check(
        "no climbing past the module",
        rule,
        &[("health/probe/tcp.rs", "use super::super::super::model;")],
        &["from `crate::`"],
    );
}

#[test]
fn the_purity_check_sees_what_it_should() {
    let rule = check_purity;
    check(
        "a socket in the core",
        rule,
        &[("wire/query.rs", "use std::net::UdpSocket;")],
        &["src/wire/query.rs:1: `UdpSocket`"],
    );
    check("addresses are plain values", rule, &[("wire/query.rs", "use std::net::{IpAddr, SocketAddr};")], &[]);
    check("the clock, on its line", rule, &[("steering/mod.rs", "\n\nlet t = crate::clock::now();")], &[":3: `clock`"]);
    check("counting", rule, &[("answer/mod.rs", "metrics::counter!(\"x\");")], &["`metrics`", "`counter`"]);
    check(
        "a field or a value of that name is fine",
        rule,
        &[("answer/mod.rs", "fn clock(&self) -> u8 { let counter = 1; self.clock + counter }")],
        &[],
    );
    check("files", rule, &[("snapshot/compile.rs", "std::fs::read(path)")], &["`fs`"]);
    check("the prober may", rule, &[("health/prober.rs", "use tokio::time;")], &[]);
    check("the detector may not", rule, &[("health/detector.rs", "use tokio::time;")], &["`tokio`"]);
    check("its tests may", rule, &[("health/detector.rs", "#[cfg(test)] mod tests { use tokio::time; }")], &[]);
    check("the publisher may", rule, &[("snapshot/publish.rs", "use crate::clock;")], &[]);
}

#[test]
fn the_other_checks_see_what_they_should() {
    let long = "//! A file.\n".repeat(MOST_LINES + 1);
    let length = |sources: &[Source]| check_length(sources, &[]);
    let listed = |sources: &[Source]| check_length(sources, &[("a.rs", "a table")]);
    check("long", length, &[("a.rs", &long)], &["src/a.rs: 451 lines"]);
    check("long, but a table", listed, &[("a.rs", &long)], &[]);
    check("listed for no reason", listed, &[("a.rs", "//! Short.\n")], &["take it off"]);
    check("listed and gone", listed, &[("b.rs", "//! Short.\n")], &["not there"]);

    check(
        "hickory elsewhere",
        check_fenced_words,
        &[("answer.rs", "use hickory_server::Server;")],
        &["only server/streams"],
    );
    check("hickory at home", check_fenced_words, &[("server/streams/dot.rs", "use hickory_server::net;")], &[]);
    check("quinn elsewhere", check_fenced_words, &[("answer.rs", "use quinn::Endpoint;")], &["only server/streams"]);
    check("quinn at home", check_fenced_words, &[("server/streams/quic.rs", "use quinn::Endpoint;")], &[]);
    check("unsafe elsewhere", check_fenced_words, &[("server/udp.rs", "\nunsafe { f() }")], &["src/server/udp.rs:2"]);
    check("unsafe at home", check_fenced_words, &[("server/batch.rs", "unsafe { f() }")], &[]);
    check("the word in a comment", check_fenced_words, &[("a.rs", "// unsafe\nlet a = '\"'; // unsafe")], &[]);

    check("no opening", check_opening, &[("a.rs", "use std::fmt;\n")], &["open it with"]);
    check("unfinished", check_unfinished, &[("a.rs", "//! A.\n// TODO: more\n")], &["src/a.rs:2: `TODO`"]);
    check("unfinished code", check_unfinished, &[("a.rs", "fn f() { todo!() }\n")], &["`todo!`"]);
    check("a word that holds it", check_unfinished, &[("a.rs", "//! MASTODON, TODOS\n")], &[]);
}

#[test]
fn comments_strings_and_characters_are_blanked() {
    let cases = [
        ("a // b\nc", "a  \nc"),
        ("a /* b /* c */ d */ e", "a   e"),
        ("f(\"x \\\" y\") g", "f( ) g"),
        ("r#\"a \" b\"# c", "  c"),
        ("let c = '\\''; d", "let c =  ; d"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("for r in x", "for r in x"),
    ];
    for (text, expected) in cases {
        assert_eq!(code_of(text), expected, "of {text:?}");
    }
}
