//! The time of a load grows with its files, and not with their square, whatever is wrong in them: a file of one zone
//! must not hold up the others. [`KINDS`] has a policy for each kind of reference.

use std::path::Path;
use std::time::Duration;

use super::load_files;
use crate::config::Flags;
use crate::source::no_more_comparisons;

/// One kind of content that a file can have very often.
struct Kind {
    what: &'static str,
    /// The file below `src/config` that looks for similar names, if the content has wrong names.
    suggests_in: Option<&'static str>,
    /// A policy with `n` times this content, below `zone = ...`.
    policy: fn(usize) -> String,
}

const fn wrong(what: &'static str, suggests_in: &'static str, policy: fn(usize) -> String) -> Kind {
    Kind { what, suggests_in: Some(suggests_in), policy }
}

const fn other(what: &'static str, policy: fn(usize) -> String) -> Kind {
    Kind { what, suggests_in: None, policy }
}

const KINDS: &[Kind] = &[
    wrong("members of pools", "validate/mod.rs", |n| {
        let all: Vec<String> = (0..n).map(|at| format!("\"x{at}\"")).collect();
        let pools =
            all.chunks(500).enumerate().map(|(at, some)| format!("[pool.p{at}]\nmembers = [{}]\n", some.join(",")));
        endpoints(n) + &pools.collect::<String>()
    }),
    wrong("pools of names", "validate/mod.rs", |n| {
        endpoints(n) + &each(n, |at| format!("[name.n{at}]\npool = \"x{at}\"\n"))
    }),
    wrong("`on_empty` of names", "validate/on_empty.rs", |n| {
        endpoints(n) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\non_empty = [\"x{at}\"]\n"))
    }),
    wrong("monitors of endpoints", "validate/declared.rs", |n| {
        monitors(n) + &each(n, |at| format!("[endpoint.e{at}]\naddresses = [\"192.0.2.1\"]\nmonitor = \"x{at}\"\n"))
    }),
    wrong("monitors of names", "validate/declared.rs", |n| {
        monitors(n) + &endpoints(1) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\nmonitor = \"x{at}\"\n"))
    }),
    wrong("members of composites", "validate/declared.rs", |n| {
        monitors(n) + &each(n, |at| format!("[monitor.c{at}]\ntype = \"all\"\nmonitors = [\"x{at}\"]\n"))
    }),
    wrong("groups of fences", "validate/declared.rs", |n| {
        let group = |at| format!("[group.g{at}]\nnets = [\"192.0.2.0/24\"]\n");
        let fence =
            |at| format!("[fence.f{at}]\nclients = {{ groups = [\"x{at}\"] }}\nallow = {{ regions = [\"here\"] }}\n");
        each(n, group) + &each(n, fence)
    }),
    wrong("fences of names", "validate/declared.rs", |n| {
        endpoints(1) + &fences(n) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\nfence = \"x{at}\"\n"))
    }),
    wrong("groups in groups", "spec/selector.rs", |n| each(n, |at| format!("[group.g{at}]\ngroups = [\"g{at}\"]\n"))),
    wrong("regions of endpoints", "regions.rs", |n| {
        each(n, |at| format!("[endpoint.e{at}]\naddresses = [\"192.0.2.1\"]\nregion = \"r{at}\"\n"))
    }),
    wrong("keys of endpoints", "fields.rs", |n| each(n, |at| format!("[endpoint.e{at}]\naddressses = []\n"))),
    wrong("keys of one endpoint", "fields.rs", |n| format!("[endpoint.e]\n{}", each(n, |at| format!("k{at} = 1\n")))),
    wrong("choices", "keys/kinds.rs", |n| {
        endpoints(1) + &each(n, |at| format!("[pool.p{at}]\nmembers = [\"e0\"]\nsteer = \"s{at}\"\n"))
    }),
    wrong("words of quorums", "monitor/quorum.rs", |n| {
        each(n, |at| format!("[monitor.m{at}]\ntype = \"tcp\"\nport = 1\nquorum = {{ per_region = \"x{at}\" }}\n"))
    }),
    wrong("codes of DNS probes", "monitor/expect.rs", |n| {
        each(n, |at| format!("[monitor.m{at}]\ntype = \"dns\"\nname = \"a.\"\nexpect = {{ rcode = \"x{at}\" }}\n"))
    }),
    wrong("types of names", "spec/service.rs", |n| {
        endpoints(1) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\ntypes = [\"x{at}\"]\n"))
    }),
    wrong("words of failover", "spec/name.rs", |n| {
        endpoints(1) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\nfailover = \"x{at}\"\n"))
    }),
    other("very long names", |n| {
        let pool = |at| format!("[pool.p{at}]\nmembers = [\"{}{at}\"]\n", "x".repeat(300));
        endpoints(n) + &each(n, pool)
    }),
    other("pools called as endpoints", |n| endpoints(n) + &each(n, |at| format!("[pool.e{at}]\nmembers = [\"e0\"]\n"))),
    other("names with fences", |n| {
        endpoints(1) + &fences(n) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\nfence = \"f{at}\"\n"))
    }),
    other("composites", |n| {
        monitors(n) + &each(n, |at| format!("[monitor.c{at}]\ntype = \"all\"\nmonitors = [\"m{at}\"]\n"))
    }),
    other("composites in one another", |n| {
        let next = |at| format!("[monitor.m{at}]\ntype = \"all\"\nmonitors = [\"m{}\"]\n", at + 1);
        each(n, next)
    }),
    other("names with `rto`", |n| {
        let endpoint = |at| format!("[endpoint.e{at}]\naddresses = [\"192.0.2.1\"]\nmonitor = \"m{at}\"\n");
        monitors(n) + &each(n, endpoint) + &each(n, |at| format!("[name.n{at}]\npool = \"e{at}\"\nrto = \"1s\"\n"))
    }),
    other("names with services", |n| {
        endpoints(n) + &each(n, |at| format!("[name.n{at}]\npool = \"e{at}\"\ntypes = [\"SRV\"]\n"))
    }),
    other("exclusive names", |n| {
        endpoints(2) + &each(n, |at| format!("[name.n{at}]\npool = \"e0\"\nfailover = \"exclusive\"\n"))
    }),
];

/// The files below `src/config` that look for similar names for what no policy can have very often.
const RARE: [(&str, &str); 5] = [
    ("log.rs", "one key of the settings"),
    ("sinks.rs", "the sinks are the operator's own, and there are three types"),
    ("token_scope.rs", "the tokens are the operator's own"),
    ("spec/discover/kind.rs", "a zone has 64 sources"),
    ("validate/discover.rs", "a zone has 64 sources"),
];

fn each(n: usize, text: impl Fn(usize) -> String) -> String {
    (0..n).map(text).collect()
}

fn endpoints(n: usize) -> String {
    each(n, |at| format!("[endpoint.e{at}]\naddresses = [\"192.0.2.1\"]\n"))
}

fn monitors(n: usize) -> String {
    each(n, |at| format!("[monitor.m{at}]\ntype = \"tcp\"\nport = 1\n"))
}

fn fences(n: usize) -> String {
    each(n, |at| {
        format!("[fence.f{at}]\nclients = {{ nets = [\"192.0.2.0/24\"] }}\nallow = {{ regions = [\"here\"] }}\n")
    })
}

/// The processor time in which a policy is loaded, and its problems. The comparisons of names are used up: they are
/// limited for a load as a whole.
fn load(policy: String) -> (Duration, Vec<String>) {
    let loading = std::thread::spawn(move || {
        no_more_comparisons();
        let settings = "region = \"here\"\n[zones]\ndir = \".\"\n[regions.here]\n";
        let policy = format!("zone = \"svc.example\"\n{policy}");
        let files =
            [("portolan.toml", settings), ("svc.example.zone", super::ZONE), ("svc.example.policy.toml", &*policy)];
        let now = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let nanos = |at: rustix::time::Timespec| Duration::new(at.tv_sec as u64, at.tv_nsec as u32);
        let begun = nanos(now());
        let (_dir, _, _, found) = load_files(&files, &[], &Flags::default());
        (nanos(now()) - begun, found)
    });
    loading.join().expect("a load without a panic")
}

#[test]
fn four_times_the_content_takes_about_four_times_as_long() {
    /// The smaller number. In a debug build it takes tens of milliseconds.
    const N: usize = 300;
    /// Sixteen times would be the square; the rest is for a noisy machine.
    const MOST: u32 = 9;
    let mut slow = Vec::new();
    for Kind { what, suggests_in, policy } in KINDS {
        let took = |n: usize| {
            let (took, found) = load(policy(n));
            assert!(suggests_in.is_none() || !found.is_empty(), "{what}: no problem");
            took
        };
        // The least of several: whatever else runs only adds to it.
        let ratio_is_fine = (0..4).any(|_| took(4 * N) < MOST * took(N).max(Duration::from_millis(5)));
        if !ratio_is_fine {
            slow.push(*what);
        }
    }
    assert!(slow.is_empty(), "the time grows faster than the file: {slow:?}");
}

#[test]
fn every_place_that_looks_for_similar_names_has_a_kind_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut left = vec![root.clone()];
    let mut missing = Vec::new();
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let suggests = [".suggest(", "did_you_mean(", "similar("].iter().any(|call| text.contains(call));
            let is_known = KINDS.iter().any(|kind| kind.suggests_in == Some(&*name));
            if suggests && !is_known && !name.starts_with("tests") && RARE.iter().all(|(rare, _)| *rare != name) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "add a kind to KINDS for these files: {missing:?}");
}
