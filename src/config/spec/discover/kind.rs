//! The types of sources: `type` of `[discover.NAME]`.

use crate::config::keys::{TypeWord, WrongText, wrong};
use crate::source::did_you_mean;

/// The types, in the order of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum SourceType {
    Consul,
    Etcd,
    Kubernetes,
    Dns,
    Http,
}

impl TypeWord for SourceType {
    const ALL: &'static [(&'static str, SourceType)] = &[
        ("consul", SourceType::Consul),
        ("etcd", SourceType::Etcd),
        ("kubernetes", SourceType::Kubernetes),
        ("dns", SourceType::Dns),
        ("http", SourceType::Http),
    ];
}

/// Types that other programs have, and what to use in their place.
const MISSING: [(&str, &str); 1] = [("kafka", "use type = \"etcd\" with `overrides`, or the API of overrides")];

pub(super) fn source_type(written: &str) -> Result<SourceType, WrongText> {
    SourceType::of_word(written).ok_or_else(|| match MISSING.iter().find(|(word, _)| *word == written) {
        Some((word, instead)) => wrong(format!("this program is built without sources of type {word}"), *instead),
        None => {
            let known = SourceType::ALL.iter().map(|(word, _)| *word);
            WrongText::new(format!("`{written}` is not a type of source"), did_you_mean(written, known))
        }
    })
}
