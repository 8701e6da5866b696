//! The errors of an operation by status, each with its causes. Most follow from what every request passes before its
//! handler, and from what the operation takes.

use std::collections::BTreeMap;

use crate::control::access::CallCost;
use crate::control::gate::HEALTH_CHECKS;
use crate::control::openapi::operation::{Access, Cost, Operation};

/// The causes of each status.
pub(super) type Errors = BTreeMap<u16, Vec<&'static str>>;

/// The errors of an operation of this path.
pub(super) fn errors(path: &str, of: &Operation) -> Errors {
    let mut errors = Errors::new();
    let mut add = |status, when| errors.entry(status).or_default().push(when);
    add(400, "The request has no valid host");
    if !HEALTH_CHECKS.contains(&path) {
        add(421, "The host is no name of this server");
    }
    if CallCost::of(path).is_some() {
        add(429, "Too many such calls came from this address");
    }
    if !of.parameters.is_empty() {
        add(400, "A parameter is missing, unknown or wrong");
    }
    if of.method != "get" {
        add(403, "A page of another site sent the request");
    }
    match of.access {
        Access::Everybody => {}
        Access::With(_) | Access::Partly(_) => {
            add(401, "The request has no token, or one that is not in the token file");
            add(403, "The token does not allow this call, or the server has no tokens");
            add(429, "Too many wrong tokens came from this address");
        }
    }
    if of.body.is_some() {
        add(400, "The body is not as described");
        add(408, "The body did not arrive completely in time");
        add(413, "The body is too long");
    }
    match of.cost {
        Cost::Little => {}
        Cost::Much => {
            add(500, "The call broke off; the log has the reason");
            add(503, "Too many calls run, or too many octets wait for slow clients");
        }
    }
    for (status, when) in &of.own_errors {
        add(*status, when);
    }
    errors
}

/// Whether each response with this status has the field Retry-After.
pub(super) fn has_retry_after(status: u16) -> bool {
    status == 429
}
