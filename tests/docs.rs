//! The documents are correct: every example under `zones/` and every `toml` and `zone` block of the documents is loaded as
//! `serve` would load it, and every link between the documents has its target. Blocks with commands are run by
//! `tests/e2e/test_documents.py`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portolan::config::{self, Flags};

/// Documents at fixed places; the guides under `docs/` are added to them.
const DOCUMENTS: &[&str] = &["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "zones/README.md"];

/// A master file for the zone of a policy block, and the start of each `zone` block.
const MASTER: &str = "$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 900 1209600 30\n@ IN NS ns1\nns1 IN A 192.0.2.53\n";

/// Settings for a policy block of a document that shows none.
const SETTINGS: &str = "region = \"here\"\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The documents: path relative to the repository, and text.
fn documents() -> Vec<(String, String)> {
    let guides = std::fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<String> = guides.map(|entry| format!("docs/{}", entry.unwrap().file_name().display())).collect();
    paths.sort();
    assert!(paths.len() >= 6, "only {paths:?} under docs/");
    paths.extend(DOCUMENTS.iter().map(|&path| path.to_owned()));
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_example_loads_without_a_warning() {
    let mut examples = 0;
    for entry in std::fs::read_dir(root().join("zones")).unwrap() {
        let settings = entry.unwrap().path().join("portolan.toml");
        if settings.exists() {
            examples += 1;
            let loaded = config::load(Some(&settings), &Flags::default());
            let loaded = loaded.unwrap_or_else(|problems| panic!("{}: {problems:#?}", settings.display()));
            assert!(loaded.warnings.is_empty(), "{}: {:#?}", settings.display(), loaded.warnings);
            assert!(!loaded.model.zones.is_empty(), "{}: no zone", settings.display());
        }
    }
    assert!(examples >= 2, "only {examples} directories with a portolan.toml under zones/");
}

#[test]
fn every_recipe_of_events_loads() {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(root().join("zones/recipes/events")).unwrap() {
        files.push(entry.unwrap().path());
    }
    assert!(files.len() >= 5, "only {files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let outcome = load(&text, None);
        if text.contains("\"kafka\"") && !cfg!(feature = "kafka") {
            let why = outcome.expect_err("this program is built without Kafka");
            assert!(why.contains("without the feature `kafka`") && !why.contains("is not a key"), "{why}");
        } else {
            assert_eq!(outcome, Ok(()), "{}", file.display());
        }
    }
}

#[test]
fn every_toml_and_zone_block_of_the_documents_loads() {
    let mut loaded = 0;
    for (document, text) in documents() {
        let blocks = blocks(&text);
        let settings = blocks.iter().find(|b| b.kind == Kind::Settings).map_or(SETTINGS, |b| b.text.as_str());
        for block in &blocks {
            let outcome = match block.kind {
                Kind::Settings => load(&block.text, None),
                Kind::Policy => load(settings, Some(&block.text)),
                Kind::Master => load_master(&block.text),
                Kind::Comment => Ok(()),
                Kind::Part => Err("neither a whole settings file nor a whole policy file".to_owned()),
            };
            assert_eq!(outcome, Ok(()), "{document}, the block of line {}", block.line);
            loaded += 1;
        }
    }
    assert!(loaded >= 10, "the documents show only {loaded} files: does this test read them correctly?");
}

#[test]
fn every_link_between_the_documents_has_its_target() {
    let mut followed = 0;
    for (document, text) in documents() {
        for link in links(&text) {
            if !link.starts_with("https://") && !link.starts_with("http://") {
                followed += 1;
                assert_eq!(follow(&root().join(&document), link), Ok(()), "{document}: {link}");
            }
        }
    }
    assert!(followed >= 40, "only {followed} links: does this test read the documents correctly?");
}

#[test]
fn a_link_to_nowhere_is_noticed() {
    let document = root().join("docs/README.md");
    for (link, expected) in [
        ("../README.md#licence", Ok(())),
        ("#guides", Ok(())),
        ("../zones/example/", Ok(())),
        ("nothing.md", Err("no such file".to_owned())),
        ("#nothing", Err("no heading `nothing`".to_owned())),
    ] {
        assert_eq!(follow(&document, link), expected, "{link}");
    }
    assert_eq!(links("[a](b.md#c), `[not](one)` and [`[x]`](#y)\n```\n[z](w)\n```\n"), ["b.md#c", "#y"]);
    let headings = "# `[api]` and `[state]`: a_b\n## Twice\n```sh\n# no heading\n```\n## Twice\n";
    assert_eq!(anchors(headings), ["api-and-state-a_b", "twice", "twice-1"].map(str::to_owned).into());
}

#[test]
fn the_index_lists_every_guide() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for (document, _) in documents() {
        if let Some(guide) = document.strip_prefix("docs/").filter(|name| *name != "README.md") {
            assert!(links(&index).contains(&guide), "docs/README.md doesn't list {guide}");
        }
    }
}

#[test]
fn every_path_in_the_guide_for_contributors_exists() {
    let text = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let paths = paths_in(&text);
    assert!(paths.len() >= 20, "only {} paths found: is this test reading the page right?", paths.len());
    let missing: Vec<_> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names paths that do not exist: {missing:?}");
}

#[test]
fn paths_are_found_between_backticks() {
    let text = "See `src/lib.rs`, `tests/run e2e`, `steer = \"...\"` and `tests/e2e`; not src/bare.rs or `cargo test`.";
    assert_eq!(paths_in(text), ["src/lib.rs", "tests/run", "tests/e2e"]);
}

/// What stands between backticks and begins with a directory of the repository, up to the first space.
fn paths_in(text: &str) -> Vec<&str> {
    let spans = text.split('`').skip(1).step_by(2);
    let first_words = spans.filter_map(|span| span.split_whitespace().next());
    first_words
        .filter(|word| ["src/", "tests/", "zones/", "docker/", "docs/"].iter().any(|dir| word.starts_with(dir)))
        .collect()
}

#[test]
fn a_wrong_block_is_noticed() {
    let text = "```toml\nzone = \"a.example.\"\n[pool.web]\nmembers = [\"nobody\"]\n```\n\n  ```toml\n  [pool.x]\n  ```\n\
                ```zone\n@ IN A nowhere\n```\n```toml\n# only this\n```\n";
    let found = blocks(text);
    let kinds: Vec<_> = found.iter().map(|b| (b.line, b.kind)).collect();
    assert_eq!(kinds, [(1, Kind::Policy), (7, Kind::Part), (10, Kind::Master), (13, Kind::Comment)]);
    assert!(load(SETTINGS, Some(&found[0].text)).is_err_and(|problems| problems.contains("nobody")));
    assert!(load_master(&found[2].text).is_err_and(|problems| problems.contains("nowhere")));
    assert!(load("region = 3\n", None).is_err());
}

/// The targets of Markdown links, outside code.
fn links(document: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in prose(document) {
        let outside_code = line.split("](").skip(1).filter(|rest| !is_inside_code(line, rest));
        links.extend(outside_code.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link));
    }
    links
}

/// Whether `rest`, the end of a part of `line`, begins between two backticks.
fn is_inside_code(line: &str, rest: &str) -> bool {
    let at = rest.as_ptr() as usize - line.as_ptr() as usize;
    line[..at].matches('`').count() % 2 == 1
}

/// The lines of a document that are not in a code block.
fn prose(document: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    document.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    })
}

/// Whether the target of a link in `document` exists: the file, and the heading in it.
fn follow(document: &Path, link: &str) -> Result<(), String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { document.to_owned() } else { document.parent().unwrap().join(file) };
    if !target.exists() {
        return Err("no such file".to_owned());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let text = std::fs::read_to_string(target).map_err(|error| error.to_string())?;
    if anchors(&text).contains(anchor) { Ok(()) } else { Err(format!("no heading `{anchor}`")) }
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(document).filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let anchor: String = text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        let numbered = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// A fenced block of files that this program reads, and the line of its fence.
struct Block {
    line: usize,
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// All of a `portolan.toml`: it names the region of the node.
    Settings,
    /// All of a policy file: it names its zone.
    Policy,
    /// Records of a master file.
    Master,
    /// TOML that has only comments.
    Comment,
    /// Any other TOML.
    Part,
}

fn kind(block: &str) -> Kind {
    let top = |key: &str| {
        let above_tables = block.lines().take_while(|line| !line.starts_with('['));
        above_tables.map(str::trim_start).any(|line| line.split('=').next().is_some_and(|name| name.trim() == key))
    };
    match (top("zone"), top("region")) {
        (true, _) => Kind::Policy,
        (false, true) => Kind::Settings,
        (false, false) if block.lines().all(|line| line.starts_with('#')) => Kind::Comment,
        (false, false) => Kind::Part,
    }
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut language = None;
    for (at, line) in document.lines().enumerate() {
        match (line.trim().strip_prefix("```"), language) {
            (Some(opened @ ("toml" | "zone")), _) => {
                language = Some(opened);
                blocks.push(Block { line: at + 1, text: String::new(), kind: Kind::Master });
            }
            (Some(_), _) => language = None,
            (None, Some(language)) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                    block.kind = if language == "zone" { Kind::Master } else { kind(&block.text) };
                }
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Loads records as a part of the zone `svc.example`.
fn load_master(records: &str) -> Result<(), String> {
    let unindented: String = records.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    load_files(SETTINGS, &[("zones/svc.example.zone".into(), format!("{MASTER}{unindented}"))])
}

/// Loads a settings file, with a policy file if there is one.
fn load(settings: &str, policy: Option<&str>) -> Result<(), String> {
    let zones = zones_dir(settings);
    let mut files = Vec::new();
    if let Some(policy) = policy {
        let zone = value_of(policy, "zone").unwrap_or_default().trim_end_matches('.').to_owned();
        let file = value_of(policy, "file").unwrap_or(format!("{zone}.zone"));
        files.push((zones.join(file), MASTER.to_owned()));
        files.push((zones.join(format!("{zone}.policy.toml")), policy.to_owned()));
        let files_of_nets = policy.split("\"file:").skip(1).filter_map(|rest| rest.split('"').next());
        files.extend(files_of_nets.map(|name| (zones.join(name), "192.0.2.0/24\n".to_owned())));
    }
    load_files(settings, &files)
}

/// Loads a settings file with these files, from a directory of its own.
fn load_files(settings: &str, files: &[(PathBuf, String)]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(zones_dir(settings))).unwrap();
    let put = |path: &Path, text: &str| std::fs::write(dir.path().join(path), text).unwrap();
    put(Path::new("portolan.toml"), settings);
    let certificate = rcgen::generate_simple_self_signed(["ns1.example".to_owned()]).unwrap();
    put(Path::new("cert.pem"), &certificate.cert.pem());
    put(Path::new("key.pem"), &certificate.signing_key.serialize_pem());
    put(Path::new("webhook.secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    for (path, text) in files {
        put(path, text);
    }
    let loaded = config::load(Some(&dir.path().join("portolan.toml")), &Flags::default());
    loaded.map(drop).map_err(|problems| format!("{problems:#?}"))
}

/// Where the settings say that the zones are.
fn zones_dir(settings: &str) -> PathBuf {
    let section = settings.split_once("[zones]").map(|(_, rest)| rest.split("\n[").next().unwrap_or_default());
    PathBuf::from(section.and_then(|s| value_of(s, "dir")).unwrap_or("zones".to_owned()))
}

/// The text of `key = "text"`.
fn value_of(toml: &str, key: &str) -> Option<String> {
    let line = toml.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == key))?;
    line.split('"').nth(1).map(str::to_owned)
}
