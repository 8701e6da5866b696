//! Whether the replies that `answers` allows fit into 512 octets, the most that a client without EDNS takes over UDP
//! (RFC 1035, 4.2.1). A longer reply is truncated for it, and it asks again over TCP.

use std::collections::{HashMap, HashSet};

use crate::config::spec::{NameSpec, PolicySpec};
use crate::model::{Facet, Policy, PolicyId, SteeredName};
use crate::source::{At, Problems};
use crate::wire::Name;

/// Octets of a reply without EDNS.
const MAX_REPLY: usize = 512;
/// Octets of a header and of the type and class of a question.
const HEAD: usize = 12 + 4;
/// Octets of a record with a compressed owner, without its content: pointer, type, class, TTL, length.
const RECORD: usize = 2 + 10;
/// So many records of either family always fit, whatever their owner is.
const ALWAYS_FIT: usize = 8;
/// The longest name, in octets (RFC 1035, 3.1): what matches a wildcard can be as long.
const MAX_NAME: usize = 255;

/// Warns of each `answers` that allows longer replies, once where many names have it from `[defaults]`.
pub(super) fn check<'p>(
    spec: &PolicySpec,
    steered: &[SteeredName],
    policy_of: impl Fn(PolicyId) -> &'p Policy,
    problems: &mut Problems,
) {
    fn written<'s>(spec: &'s PolicySpec, name: &'s NameSpec) -> Option<&'s At<usize>> {
        spec.answering(name, |keys| keys.answers.as_ref()).filter(|at| at.value > ALWAYS_FIT)
    }
    if !spec.names.iter().any(|name| written(spec, name).is_some()) {
        return;
    }
    let policies: HashMap<&Name, PolicyId> = steered.iter().map(|name| (&name.owner, name.policy)).collect();
    let mut warned: HashSet<(u32, u32)> = HashSet::new();
    for name in &spec.names {
        let (Some(At { value, place }), Some(policy)) = (written(spec, name), policies.get(&name.owner)) else {
            continue;
        };
        let facets = policy_of(*policy).facets.iter();
        let least = facets.filter_map(|facet| fitting(&name.owner, *facet)).min();
        let Some((most, what)) = least.filter(|(most, _)| most < value) else { continue };
        if !warned.insert((place.line, place.column)) {
            continue;
        }
        let label = &name.name.value;
        let message = format!(
            "`answers = {value}` allows replies over {MAX_REPLY} octets: at most {most} {what} records of `{label}` fit"
        );
        problems.warning(place, message).hint(format!(
            "clients without EDNS get a truncated reply and ask again over TCP, and forged queries get long replies: \
             write `answers = {most}` or fewer"
        ));
    }
}

/// The most address records of this owner that fit; `None` for other facets.
fn fitting(owner: &Name, facet: Facet) -> Option<(usize, &'static str)> {
    let (content, what) = match facet {
        Facet::V4 => (4, "A"),
        Facet::V6 => (16, "AAAA"),
        Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb => return None,
    };
    let owner = if owner.is_wildcard() { MAX_NAME } else { owner.as_wire().len() };
    Some(((MAX_REPLY - HEAD - owner) / (RECORD + content), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_the_most_records_has_512_octets_at_most() {
        let most = |owner: &str, facet| fitting(&Name::parse(owner).unwrap(), facet).map(|(most, _)| most);
        // 16 octets of head, 17 of the name, 29 * 16 of records.
        assert_eq!(most("www.svc.example.", Facet::V4), Some(29));
        assert_eq!(most("www.svc.example.", Facet::V6), Some(17));
        assert_eq!(most("*.svc.example.", Facet::V4), Some(15));
        assert_eq!(most("*.svc.example.", Facet::V6), Some(8));
        assert_eq!(most("www.svc.example.", Facet::Alias), None);
    }
}
