//! `types`, `port` and `alpn` of a name: what it answers, and what its service records say.

use serde_json::Value as Json;

use crate::config::keys::{KeyKind as _, integer, keys, list, text, texts};
use crate::model::Facet;
use crate::source::{At, Problems, similar};

/// Most ALPN ids of a name (judgment: a service speaks two or three protocols, and each id is in every record).
pub(super) const MAX_ALPN: usize = 16;
/// Longest ALPN id (RFC 7301, 3.1).
pub(super) const MAX_ALPN_ID: usize = 255;

/// The types that a name can answer.
pub(super) const STEERED: [Facet; 5] = [Facet::V4, Facet::V6, Facet::Srv, Facet::Https, Facet::Svcb];

keys! {
    /// The keys of a name that are about its service records.
    ServiceKeys {
        /// the port of the service, 1 to 65535. HTTPS and SVCB records have a port only if this key is set
        port: u16 = integer(1..=65_535), note "SRV: each endpoint's probed port";
        /// HTTPS and SVCB: the protocols of the service by their registered ALPN ids, most preferred first; 16 at most
        alpn: Vec<String> = texts("[\"h2\", \"h3\"]").then(alpn).with_schema(alpn_schema);
    }
}

fn alpn_schema() -> Json {
    let id = text("").sized(1..=MAX_ALPN_ID);
    list(id, "").sized(0..=MAX_ALPN).schema()
}

fn alpn(written: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<String>> {
    let mut ids: Vec<At<String>> = Vec::new();
    for item in written.value {
        let fits = (1..=MAX_ALPN_ID).contains(&item.value.len());
        // Registered ids have letters, digits, `/`, `.` and `-`.
        let is_plain = item.value.bytes().all(|octet| octet.is_ascii_graphic() && !b"\",\\".contains(&octet));
        if !fits || !is_plain {
            let problem = problems.error(&item.place, format!("\"{}\" is not a protocol's ALPN id", item.value));
            problem.hint("write it as it is registered: `alpn = [\"h2\", \"h3\"]`");
        } else if let Some(first) = ids.iter().find(|first| first.value == item.value) {
            let problem = problems.error(&item.place, format!("`{}` is listed twice", item.value));
            problem.label(&first.place, "first here").hint("leave one of them out");
        } else {
            ids.push(item);
        }
    }
    if ids.len() > MAX_ALPN {
        problems.error(&written.place, format!("`alpn` has {} protocols; the maximum is {MAX_ALPN}", ids.len()));
    }
    Some(ids.into_iter().map(|id| id.value).collect())
}

/// `types = ["A", "AAAA", "SRV"]`.
pub(super) fn types(written: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<Facet>> {
    let mut facets: Vec<At<Facet>> = Vec::new();
    for item in written.value {
        let Some(facet) = STEERED.into_iter().find(|facet| facet.as_str().eq_ignore_ascii_case(&item.value)) else {
            let near = similar(&item.value, STEERED.map(Facet::as_str));
            let all = "there is A, AAAA, SRV, HTTPS and SVCB; a cname endpoint answers A and AAAA by itself";
            let problem = problems.error(&item.place, format!("`{}` is not a type that is steered", item.value));
            problem.hint(near.unwrap_or_else(|| all.to_owned()));
            continue;
        };
        if let Some(first) = facets.iter().find(|known| known.value == facet) {
            let problem = problems.error(&item.place, format!("`{}` is listed twice", item.value));
            problem.label(&first.place, "first here").hint("leave one of them out");
        } else {
            facets.push(item.map(|_| facet));
        }
    }
    if facets.is_empty() {
        let problem = problems.error(&written.place, "`types` leaves nothing to answer");
        problem.hint("write `types = [\"A\"]`, or leave it out for what the endpoints have");
        return None;
    }
    let mut facets: Vec<Facet> = facets.into_iter().map(|facet| facet.value).collect();
    facets.sort();
    Some(facets)
}
