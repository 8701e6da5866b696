//! No two files use each other, over whatever way. A reader who opens one file can then follow its imports down to
//! files that import nothing.
//!
//! A file uses another when it names an item of it, by `use` or by a path in code. `mod x;` and `pub use x::Y;` are no
//! use: they say where things are. A name that a file passes on with `pub use` counts as a name of the file that has it.
//! A module and the modules inside it are one unit, as in Rust's rules of visibility: between those no circle counts.

use crate::rust_text::{code_of, test_only_files, without_tests};
use crate::sources::{Source, check, report};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn no_files_import_each_other_in_a_circle() {
    report(check_circles);
}

/// A path of module names from the crate's root, such as `["health", "probe"]`.
type ModulePath = Vec<String>;

/// How often a name is passed on at most. Judgment: three is the most in the crate; the bound ends a name that stands
/// for itself.
const MOST_HOPS: usize = 8;

/// The modules of the crate, and what each passes on.
struct Tree {
    /// The module of each file.
    modules: Vec<ModulePath>,
    /// Which file each module is.
    files: BTreeMap<ModulePath, usize>,
    /// Names that a module passes on with `pub use`, and the full path that each stands for.
    passed_on: BTreeMap<(ModulePath, String), ModulePath>,
}

fn check_circles(sources: &[Source]) -> Vec<String> {
    let test_only = test_only_files(sources);
    let sources: Vec<&Source> = sources.iter().filter(|s| !test_only.contains(&s.path) && s.path != "lib.rs").collect();
    let codes: Vec<String> = sources.iter().map(|s| without_tests(&code_of(&s.text))).collect();
    let tree = Tree::of(&sources, &codes);
    let uses: Vec<BTreeSet<usize>> = codes.iter().enumerate().map(|(file, code)| tree.uses(file, code)).collect();
    circles(&uses)
        .into_iter()
        .map(|circle| {
            let names: Vec<&str> = circle.iter().map(|file| sources[*file].path.as_str()).collect();
            let advice = "move what both need to a file of its own, below them";
            format!("{} use each other: {advice}", names.join(", "))
        })
        .collect()
}

/// `health/probe/mod.rs` and `health/probe.rs` are the module `health::probe`.
fn module_path(source: &Source) -> ModulePath {
    let stem = source.path.trim_end_matches(".rs");
    stem.split('/').filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
}

impl Tree {
    fn of(sources: &[&Source], codes: &[String]) -> Tree {
        let modules: Vec<ModulePath> = sources.iter().map(|source| module_path(source)).collect();
        let files = modules.iter().cloned().zip(0..).collect();
        let mut tree = Tree { modules, files, passed_on: BTreeMap::new() };
        for (source, code) in sources.iter().zip(codes) {
            let module = module_path(source);
            for (start, _) in code.match_indices("pub use ").chain(code.match_indices("pub(crate) use ")) {
                let body = code[start..].split_once(" use ").map_or("", |(_, body)| body);
                for path in leaves(body) {
                    let Some(name) = path.last().cloned() else { continue };
                    let full = tree.absolute(&module, &path);
                    tree.passed_on.insert((module.clone(), name), full);
                }
            }
        }
        tree
    }

    /// `path` as written in `module`, from the crate's root.
    fn absolute(&self, module: &ModulePath, path: &[String]) -> ModulePath {
        let mut at = module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => (at, rest) = (Vec::new(), &path[1..]),
            Some("self") => rest = &path[1..],
            _ => {}
        }
        while rest.first().is_some_and(|name| name == "super") {
            at.pop();
            rest = &rest[1..];
        }
        at.extend_from_slice(rest);
        at
    }

    /// The file that has what `path` names: of the modules on the way, the last; through names that are passed on.
    fn file_of(&self, path: &[String]) -> Option<usize> {
        let mut path = path.to_vec();
        for _ in 0..MOST_HOPS {
            let Some(next) = self.step(&path) else { break };
            path = next;
        }
        let longest = (0..=path.len()).rev().find_map(|len| self.files.get(&path[..len]));
        longest.copied()
    }

    /// `path` with the first name in it that a module passes on replaced by what it stands for.
    fn step(&self, path: &[String]) -> Option<ModulePath> {
        (0..path.len()).find_map(|at| {
            let full = self.passed_on.get(&(path[..at].to_vec(), path[at].clone()))?;
            Some(full.iter().chain(&path[at + 1..]).cloned().collect())
        })
    }

    /// The files that the file `own` uses.
    fn uses(&self, own: usize, code: &str) -> BTreeSet<usize> {
        let module = &self.modules[own];
        let mut used = BTreeSet::new();
        for path in paths(code) {
            let first = path.first().map(String::as_str).unwrap_or_default();
            let mut child = module.clone();
            child.push(first.to_owned());
            if matches!(first, "crate" | "self" | "super") || self.files.contains_key(&child) {
                used.extend(self.file_of(&self.absolute(module, &path)));
            }
        }
        let inside = |a: &ModulePath, b: &ModulePath| a.starts_with(b) || b.starts_with(a);
        used.retain(|file| *file != own && !inside(&self.modules[*file], module));
        used
    }
}

/// Every path in `code` with at least two names, groups taken apart; those of `pub use` are left out.
fn paths(code: &str) -> Vec<ModulePath> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let head_start = code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
        // Not the first `::` of its path, or one of a generic argument.
        if head_start == at || code[..head_start].ends_with("::") {
            continue;
        }
        let before = &code[..head_start];
        if before.ends_with("pub use ") || before.ends_with("pub(crate) use ") {
            continue;
        }
        found.extend(leaves(&code[head_start..]));
    }
    found
}

/// The paths of the tree at the start of `text`: `a::{b, c::d}` gives `a::b` and `a::c::d`. Ends where the path ends.
fn leaves(text: &str) -> Vec<ModulePath> {
    let mut head = ModulePath::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if len > 0 {
            head.push(rest[..len].to_owned());
            rest = &rest[len..];
        }
        let Some(after) = rest.strip_prefix("::") else { return vec![head] };
        let Some(group) = after.strip_prefix('{') else {
            if !after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                return vec![head];
            }
            rest = after;
            continue;
        };
        return members(group)
            .into_iter()
            .flat_map(leaves)
            .map(|tail| head.iter().cloned().chain(tail.into_iter().filter(|name| name != "self")).collect())
            .collect();
    }
}

/// The parts of a group between its commas; `group` starts behind the opening brace.
fn members(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The groups of files that reach each other, each with at least two files, in order.
fn circles(uses: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..uses.len()).map(|file| reach(uses, file)).collect();
    let mut in_circle: BTreeSet<usize> = BTreeSet::new();
    let mut found = Vec::new();
    for file in 0..uses.len() {
        if in_circle.contains(&file) || !reached[file].contains(&file) {
            continue;
        }
        let circle: Vec<usize> =
            reached[file].iter().copied().filter(|other| reached[*other].contains(&file)).collect();
        in_circle.extend(&circle);
        found.push(circle);
    }
    found
}

/// Every file that `file` uses, directly or over others; itself when it stands in a circle.
fn reach(uses: &[BTreeSet<usize>], file: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<usize> = uses[file].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&uses[next]);
        }
    }
    reached
}

#[test]
fn the_check_of_circles_finds_them() {
    let circle = "a/x.rs, a/y.rs use each other";
    let by = |x: &'static str, y: &'static str| [("a/mod.rs", "mod x; mod y;"), ("a/x.rs", x), ("a/y.rs", y)];
    check("two by super", check_circles, &by("use super::y::Y;", "use super::x::X;"), &[circle]);
    check("one by a path in code", check_circles, &by("fn f() { crate::a::y::g(); }", "use super::x::X;"), &[circle]);
    check("in a group", check_circles, &by("use crate::{b, a::{y::{self, Y}}};", "use super::x;"), &[circle]);
    check("one way", check_circles, &by("use super::y::Y;", "use std::fmt;"), &[]);
    check("comments don't count", check_circles, &by("use super::y::Y;", "// super::x::X"), &[]);
    check("tests don't count", check_circles, &by("use super::y::Y;", "#[cfg(test)] mod t { use super::x::X; }"), &[]);
    let by_parent = [("a/mod.rs", "mod x; pub struct A; fn f() { x::g(); }"), ("a/x.rs", "use super::A;")];
    check("a module and what is inside it", check_circles, &by_parent, &[]);
    let passed_on = [("a/mod.rs", "mod x; mod y; pub use x::X;"), ("a/x.rs", "struct X;"), ("a/y.rs", "use super::X;")];
    check("a name that the parent passes on", check_circles, &passed_on, &[]);
    let over_three = [
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::c::C;"),
        ("c.rs", "use crate::a::A;"),
        ("d.rs", "use crate::a::A;"),
    ];
    check("over three files", check_circles, &over_three, &["a.rs, b.rs, c.rs use each other"]);
}
