//! The subject of a reply, as a number for rate limiting: equal for all replies that a flood with a forged source can
//! provoke with random names. Of a reply, rate limiting reads only this and whether the query had a valid cookie.

use crate::snapshot::names::LookupResult;
use crate::wire::code::rtype;

/// The subject of replies that no zone answers (errors, cookies alone, CHAOS): only the client's net counts.
pub(super) const NO_ZONE: u64 = 0;

/// The subject of a reply to a question of type `qtype` whose name led to `found`. `is_negative`: there is no answer.
/// `is_alias`: the answer begins with a CNAME, whatever the type. Node numbers belong to one generation: after a reload
/// the counts of rate limiting start again.
pub(super) fn subject(found: LookupResult<'_>, qtype: u16, is_negative: bool, is_alias: bool) -> u64 {
    let (kind, node, rtype) = match found {
        LookupResult::Outside => return NO_ZONE,
        LookupResult::Missing(zone) => (1, zone.0, 0),
        LookupResult::Exact(node) | LookupResult::Wildcard(node) if is_negative => (1, node.zone().0, 0),
        // Not by type, which does not change a referral, nor by the name below the cut, which can be random.
        LookupResult::Referral(node) => (2, node.id(), 0),
        // The node of the wildcard or DNAME itself, so that random names below it count as one.
        LookupResult::Redirected(node) => (3, node.id(), 0),
        LookupResult::Exact(node) | LookupResult::Wildcard(node) => {
            (3, node.id(), if is_alias { rtype::CNAME } else { qtype })
        }
    };
    kind << 60 | u64::from(rtype) << 32 | u64::from(node)
}
