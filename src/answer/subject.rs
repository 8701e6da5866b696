//! What a reply is about, as a number: equal for the replies that a flood with a forged source could have sent again
//! and again, whatever names it makes up. Rate limiting counts by it, and reads nothing else of a reply.

use crate::snapshot::names::Found;
use crate::wire::code::rtype;

/// Of replies that no zone answers (errors, cookies alone, CHAOS): the client's net alone counts.
pub(super) const NO_ZONE: u64 = 0;

/// The subject of a reply to a question of type `qtype` whose name led to `found`. With `is_negative` nothing was found
/// to answer with, with `is_alias` a CNAME was, whatever the type. Node numbers are those of one generation: after a reload
/// everyone begins anew.
pub(super) fn subject(found: Found<'_>, qtype: u16, is_negative: bool, is_alias: bool) -> u64 {
    let (kind, node, rtype) = match found {
        Found::Outside => return NO_ZONE,
        Found::Missing(zone) => (1, zone.0, 0),
        Found::Exact(node) | Found::Wildcard(node) if is_negative => (1, node.zone().0, 0),
        // Not by type, which doesn't change a referral, nor by the name below the cut, which anyone can make up.
        Found::Referral(node) => (2, node.id(), 0),
        // A wildcard's and a DNAME's own node, so that names made up below it count as one.
        Found::Redirected(node) => (3, node.id(), 0),
        Found::Exact(node) | Found::Wildcard(node) => (3, node.id(), if is_alias { rtype::CNAME } else { qtype }),
    };
    kind << 60 | u64::from(rtype) << 32 | u64::from(node)
}
