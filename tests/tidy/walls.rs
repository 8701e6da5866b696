//! The import order of the modules, the purity of some, and the words that only some files may use: the walls that
//! other projects get from crates.

use crate::rust_text::{code_of, test_only_files, without_tests, words};
use crate::sources::{Source, check, report};
use std::collections::BTreeSet;

/// The modules in import order: each may use only those before it. `clock` is apart, see [`check_imports`].
const ORDER: &[&str] = &[
    "printable",
    "wire",
    "model",
    "repeats",
    "report_board",
    "rate",
    "timer",
    "placing",
    "source",
    "masterfile",
    "config",
    "steering",
    "health",
    "fleet",
    "discovery",
    "kafka",
    "snapshot",
    "answer",
    "admission",
    "server",
    "drill",
    "sinks",
    "control",
    "telemetry",
    "daemon",
    "demo",
    "external_dns",
    "cli",
    "main",
];

/// Pairs that the order would allow and the design forbids: (user, used, why).
const APART: &[(&str, &str, &str)] = &[("health", "steering", "they meet in `model::view`")];

/// Modules, or files of them, that are plain functions of their arguments.
const PURE: &[&str] = &[
    "printable",
    "wire",
    "model",
    "repeats",
    "report_board",
    "rate",
    "placing",
    "steering",
    "health/blindness",
    "health/schedule",
    "health/detector",
    "health/path_mean",
    "health/rtt",
    "health/damping",
    "health/heartbeat",
    "health/phi",
    "health/observation",
    "fleet/message",
    "fleet/collector",
    "fleet/flood",
    "fleet/report",
    "fleet/ballots",
    "fleet/agreement",
    "fleet/composite",
    "fleet/reporter",
    "fleet/quorum",
    "fleet/lease",
    "fleet/events",
    "fleet/nats/subjects",
    "fleet/overrides",
    "fleet/targets",
    "discovery/consul/blocking",
    "discovery/consul/datacenters",
    "discovery/consul/service",
    "discovery/etcd/message",
    "discovery/etcd/progress",
    "discovery/etcd/statements",
    "discovery/etcd/value",
    "discovery/http_client/backoff",
    "discovery/http_client/objects",
    "discovery/instance",
    "discovery/kubernetes/addresses",
    "discovery/kubernetes/book",
    "discovery/kubernetes/slices",
    "discovery/kubernetes/watch",
    "discovery/leaving",
    "discovery/set",
    "discovery/endpoints",
    "discovery/stated",
    "discovery/tracked",
    "discovery/dns/reading",
    "discovery/dns/resolvers",
    "discovery/http/list",
    "snapshot/mod",
    "snapshot/names",
    "snapshot/cell",
    "snapshot/coming",
    "snapshot/compile",
    "answer",
    "drill",
    "control/follow",
    "daemon/follow/kafka_place",
    "daemon/follow/place",
    "external_dns/adjust",
    "external_dns/book",
    "external_dns/policy",
    "external_dns/property",
    "external_dns/record",
    "cli/top/digest",
    "cli/top/draw",
    "cli/top/problems",
    "cli/top/state",
    "sinks/backoff",
    "sinks/delivery",
    "sinks/failure",
    "sinks/notices",
    "kafka/partitioner",
    "sinks/webhook/signature",
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

#[test]
fn modules_use_only_what_stands_before_them() {
    report(check_imports);
}

#[test]
fn pure_modules_know_no_sockets_clocks_or_chance() {
    report(check_purity);
}

#[test]
fn stream_libraries_and_unsafe_stay_in_their_files() {
    report(check_fenced_words);
}

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
            complaints.push(format!("src/{}: module `{module}` has no place in the import order: give it one in ORDER of tests/tidy/walls.rs and in src/lib.rs", source.path));
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
fn the_check_of_fenced_words_finds_them() {
    check(
        "hickory elsewhere",
        check_fenced_words,
        &[("answer.rs", "use hickory_server::Server;")],
        &["only server/streams"],
    );
    check("hickory at home", check_fenced_words, &[("server/streams/tls.rs", "use hickory_server::server;")], &[]);
    check("quinn elsewhere", check_fenced_words, &[("answer.rs", "use quinn::Endpoint;")], &["only server/streams"]);
    check("quinn at home", check_fenced_words, &[("server/streams/quic.rs", "use quinn::Endpoint;")], &[]);
    check("unsafe elsewhere", check_fenced_words, &[("server/udp.rs", "\nunsafe { f() }")], &["src/server/udp.rs:2"]);
    check("unsafe at home", check_fenced_words, &[("server/batch.rs", "unsafe { f() }")], &[]);
    check("the word in a comment", check_fenced_words, &[("a.rs", "// unsafe\nlet a = '\"'; // unsafe")], &[]);
}
