//! `types`, `port` and `alpn` of a name: what it answers, and what its service records say.

use crate::config::fields::Fields;
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::{At, Place};
use crate::model::Facet;

/// Most ALPN ids of a name (judgment: a service speaks two or three protocols, and each id is in every record).
pub(in crate::config) const MAX_ALPN: usize = 16;
/// Longest ALPN id (RFC 7301, 3.1).
pub(in crate::config) const MAX_ALPN_ID: usize = 255;

/// What a name can answer.
pub(in crate::config) const TYPES: [&str; 5] = ["A", "AAAA", "SRV", "HTTPS", "SVCB"];

/// What service records say beside their endpoints.
#[derive(Debug, Default)]
pub(in crate::config) struct ServiceSpec {
    /// The port, where it isn't that of the endpoints.
    pub(in crate::config) port: Option<At<u16>>,
    /// Whether there is one that couldn't be read, which has been told.
    pub(in crate::config) has_wrong_port: bool,
    /// Protocols.
    pub(in crate::config) alpn: Option<At<Vec<String>>>,
}

/// `port = 443` and `alpn = ["h2", "h3"]`.
pub(super) fn service(fields: &mut Fields, problems: &mut Problems) -> ServiceSpec {
    let has_port = fields.has("port");
    let port = fields.integer("port", 1..=65_535, problems).map(|port| port.map(|port| port as u16));
    ServiceSpec { has_wrong_port: has_port && port.is_none(), port, alpn: alpn(fields, problems) }
}

fn alpn(fields: &mut Fields, problems: &mut Problems) -> Option<At<Vec<String>>> {
    let written = fields.texts("alpn", "[\"h2\", \"h3\"]", problems)?;
    let mut ids: Vec<String> = Vec::new();
    for item in &written.value {
        let fits = (1..=MAX_ALPN_ID).contains(&item.value.len());
        // Ids of other octets would be in nobody's reach: what is registered is letters, digits, `/`, `.` and `-`.
        let is_plain = item.value.bytes().all(|octet| octet.is_ascii_graphic() && !b"\",\\".contains(&octet));
        if !fits || !is_plain {
            let problem = problems.error(&item.place, format!("\"{}\" is not a protocol's ALPN id", item.value));
            problem.hint("write it as it is registered: `alpn = [\"h2\", \"h3\"]`");
        } else if let Some(first) =
            written.value.iter().find(|first| first.value == item.value && ids.contains(&first.value))
        {
            let problem = problems.error(&item.place, format!("`{}` is listed twice", item.value));
            problem.label(&first.place, "first here").hint("leave one of them out");
        } else {
            ids.push(item.value.clone());
        }
    }
    if ids.len() > MAX_ALPN {
        problems.error(&written.place, format!("`alpn` has {} protocols; the maximum is {MAX_ALPN}", ids.len()));
    }
    Some(At { value: ids, place: written.place })
}

/// `types = ["A", "AAAA", "SRV"]`.
pub(super) fn types(fields: &mut Fields, problems: &mut Problems) -> Option<At<Vec<Facet>>> {
    let written = fields.texts("types", "[\"A\", \"AAAA\"]", problems)?;
    let (mut facets, mut places): (Vec<Facet>, Vec<Place>) = (Vec::new(), Vec::new());
    for item in written.value {
        let facet = match item.value.to_ascii_uppercase().as_str() {
            "A" => Facet::V4,
            "AAAA" => Facet::V6,
            "SRV" => Facet::Srv,
            "HTTPS" => Facet::Https,
            "SVCB" => Facet::Svcb,
            _ => {
                let near = did_you_mean(&item.value, TYPES).filter(|hint| hint.starts_with("did"));
                let all = "there is A, AAAA, SRV, HTTPS and SVCB; a cname endpoint answers A and AAAA by itself";
                let problem = problems.error(&item.place, format!("`{}` is not a type that is steered", item.value));
                problem.hint(near.unwrap_or_else(|| all.to_owned()));
                continue;
            }
        };
        if let Some(first) = facets.iter().position(|known| *known == facet) {
            let problem = problems.error(&item.place, format!("`{}` is listed twice", item.value));
            problem.label(&places[first], "first here").hint("leave one of them out");
        } else {
            facets.push(facet);
            places.push(item.place);
        }
    }
    facets.sort();
    if facets.is_empty() {
        let problem = problems.error(&written.place, "`types` leaves nothing to answer");
        problem.hint("write `types = [\"A\"]`, or leave it out for what the endpoints have");
        return None;
    }
    Some(At { value: facets, place: written.place })
}
