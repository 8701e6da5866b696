//! The types of sources: `type` of `[discover.NAME]`.

use serde_json::{Value as Json, json};

use crate::source::{At, Problems};

/// The types, in the order of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum SourceType {
    Consul,
    Etcd,
    Kubernetes,
    Dns,
    Http,
}

/// Their words.
pub(super) const TYPES: [(&str, SourceType); 5] = [
    ("consul", SourceType::Consul),
    ("etcd", SourceType::Etcd),
    ("kubernetes", SourceType::Kubernetes),
    ("dns", SourceType::Dns),
    ("http", SourceType::Http),
];

/// Types that other programs have, and what to use in their place.
const MISSING: [(&str, &str); 1] = [("kafka", "use type = \"etcd\" with `overrides`, or the API of overrides")];

pub(super) fn source_type(At { value, place }: At<String>, problems: &mut Problems) -> Option<SourceType> {
    if let Some((_, of)) = TYPES.iter().find(|(word, _)| *word == value) {
        return Some(*of);
    }
    let known = || TYPES.iter().map(|(word, _)| *word);
    match MISSING.iter().find(|(word, _)| *word == value) {
        Some((word, instead)) => {
            problems.error(&place, format!("this program is built without sources of type {word}")).hint(*instead);
        }
        None => {
            let problem = problems.error(&place, format!("`{value}` is not a type of source"));
            problem.suggest(&value, known()).or_hint(|| format!("one of {}", known().collect::<Vec<_>>().join(", ")));
        }
    }
    None
}

pub(super) fn type_schema() -> Json {
    json!({ "type": "string", "enum": TYPES.iter().map(|(word, _)| word).collect::<Vec<_>>() })
}
