//! The source files under `src`, and how a check is run: over the real files, and over made-up ones in its own test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// One source file, its path relative to `src` with forward slashes.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// The top module it belongs to: `steering` for `steering/mod.rs`, `cli` for `cli.rs`.
    pub(crate) fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Whether it is the file of a top module itself, from which `super` is the crate.
    pub(crate) fn is_module_root(&self) -> bool {
        match self.path.split_once('/') {
            None => true,
            Some((_, rest)) => rest == "mod.rs",
        }
    }

    /// Whether it lies at or below `place`, such as `wire` or `health/schedule`.
    pub(crate) fn is_at(&self, place: &str) -> bool {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        stem == place || stem.starts_with(&format!("{place}/"))
    }
}

pub(crate) fn report(check: impl Fn(&[Source]) -> Vec<String>) {
    let sources = sources_in("src", &["rs"]);
    assert!(
        sources.len() > 20,
        "only {} files found under src: is this test looking in the right place?",
        sources.len()
    );
    let complaints = check(&sources);
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Every file under `place` with one of the `extensions`, in the order of their paths, which are relative to `place`.
pub(crate) fn sources_in(place: &str, extensions: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|known| e == *known)) {
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

/// `sources` as (path, text); `expected` as parts of the complaints, in order.
pub(crate) fn check(what: &str, rule: impl Fn(&[Source]) -> Vec<String>, sources: &[(&str, &str)], expected: &[&str]) {
    let sources: Vec<Source> = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
    let complaints = rule(&sources);
    let mut found = String::new();
    for complaint in &complaints {
        let _ = writeln!(found, "  {complaint}");
    }
    assert_eq!(complaints.len(), expected.len(), "{what}: found\n{found}");
    for (complaint, part) in complaints.iter().zip(expected) {
        assert!(complaint.contains(part), "{what}: expected `{part}`, found\n{found}");
    }
}
