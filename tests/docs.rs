//! What the documents show is what works: every example under `zones/`, and every TOML block of the documents that is
//! a whole settings or policy file, is loaded as `serve` would load it.

use std::path::{Path, PathBuf};

use portolan::config::{self, Flags};

/// Documents whose blocks are loaded.
const DOCUMENTS: &[&str] = &["README.md", "zones/README.md"];

/// A master file for the zone of a policy block; `static` examples find a safe default here.
const MASTER: &str = "$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 900 1209600 30\n@ IN NS ns1\nns1 IN A 192.0.2.53\n";

/// Settings for a policy block of a document that shows none.
const SETTINGS: &str = "region = \"here\"\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_example_loads_without_a_word() {
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
fn every_whole_block_of_the_documents_loads() {
    let mut whole = 0;
    for document in DOCUMENTS {
        let Ok(text) = std::fs::read_to_string(root().join(document)) else {
            panic!("{document} is missing");
        };
        let blocks = blocks(&text);
        whole += blocks.iter().filter(|b| kind(&b.text) != Kind::Part).count();
        let settings = blocks.iter().find(|b| kind(&b.text) == Kind::Settings).map_or(SETTINGS, |b| b.text.as_str());
        for block in &blocks {
            let outcome = match kind(&block.text) {
                Kind::Settings => load(&block.text, None),
                Kind::Policy => load(settings, Some(&block.text)),
                Kind::Part => Ok(()),
            };
            assert_eq!(outcome, Ok(()), "{document}, the block of line {}", block.line);
        }
    }
    assert!(whole >= 2, "the documents show only {whole} whole files: is this test reading them right?");
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
    first_words.filter(|word| ["src/", "tests/", "zones/", "docker/"].iter().any(|dir| word.starts_with(dir))).collect()
}

#[test]
fn a_wrong_block_is_noticed() {
    let text = "# Title\n\n```toml\nzone = \"a.example.\"\n[pool.web]\nmembers = [\"nobody\"]\n```\n\n```toml\n[pool.x]\n```\n";
    let found = blocks(text);
    assert_eq!(found.iter().map(|b| (b.line, kind(&b.text))).collect::<Vec<_>>(), [(3, Kind::Policy), (9, Kind::Part)]);
    assert!(load(SETTINGS, Some(&found[0].text)).is_err_and(|problems| problems.contains("nobody")));
    assert!(load("region = 3\n", None).is_err());
}

/// A fenced TOML block and the line of its fence.
struct Block {
    line: usize,
    text: String,
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// All of a `portolan.toml`: it says where the node stands.
    Settings,
    /// All of a policy file: it names its zone.
    Policy,
    /// A fragment that only shows some keys.
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
        (false, false) => Kind::Part,
    }
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (at, line) in document.lines().enumerate() {
        match line.trim() {
            "```toml" => {
                inside = true;
                blocks.push(Block { line: at + 1, text: String::new() });
            }
            "```" => inside = false,
            _ if inside => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            _ => {}
        }
    }
    blocks
}

/// Loads a settings file, with a policy file if there is one, from a directory of its own.
fn load(settings: &str, policy: Option<&str>) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let zones = zones_dir(settings);
    std::fs::create_dir_all(dir.path().join(&zones)).unwrap();
    let put = |path: &Path, text: &str| std::fs::write(dir.path().join(path), text).unwrap();
    put(Path::new("portolan.toml"), settings);
    let certificate = rcgen::generate_simple_self_signed(["ns1.example".to_owned()]).unwrap();
    put(Path::new("cert.pem"), &certificate.cert.pem());
    put(Path::new("key.pem"), &certificate.signing_key.serialize_pem());
    if let Some(policy) = policy {
        let zone = value_of(policy, "zone").unwrap_or_default().trim_end_matches('.').to_owned();
        let file = value_of(policy, "file").unwrap_or(format!("{zone}.zone"));
        put(&zones.join(format!("{zone}.policy.toml")), policy);
        put(&zones.join(file), MASTER);
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
