//! Events that this server follows: overrides that another server, or another program, has put into a stream. Pure.
//!
//! - [`FollowRules`] reads a message: which changes of overrides it has, and what is ignored or refused.
//! - [`FollowLedger`] knows the last change of each target, so that no older one is made after it.
//! - [`FollowReport`] is what is known of each stream that is followed.
//!
//! The daemon has a task for each stream, which reads it and stores the position after the effect.

mod ledger;
mod report;
mod rules;

pub use ledger::FollowLedger;
pub use report::{FollowBoard, FollowReport, FollowState, RefusedEvent};
pub use rules::{EventOrigin, EventUse, FollowRules, FollowedEvent, IgnoredEvent};

/// Who makes the overrides of a stream that is followed: `follow.primary (nats)`.
pub fn who_of(name: &str, kind: &str) -> String {
    format!("follow.{name} ({kind})")
}

/// Whether a stream that is followed has made an override. The name of no token has such a form.
fn is_follower(who: &str) -> bool {
    who.starts_with("follow.") && who.ends_with(')')
}
