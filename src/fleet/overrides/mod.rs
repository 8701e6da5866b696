//! Overrides of operators, as the servers of a fleet share them through the bucket `overrides`. Pure: `daemon` passes
//! values in and out, and gives every time as an argument.
//!
//! A command changes the overrides of one server at once ([`OverrideMerge::change`]). The change is *pending* until the
//! bucket has it. Each target with its zones has one key, and its value is the last change of it: an override, or that
//! it was cleared. So a server that was away learns that an override has ended.
//!
//! **Which change is in force.** The bucket orders writers: a server writes a key only over the revision that it knows
//! (compare-and-set). If the bucket has another change than the one that a pending change was made over, the newer one
//! of the two is in force, and the ages decide which that is. The clocks of other hosts are never compared:
//!
//! - The age of a pending change is counted by the clock of the server where it was made.
//! - A value has the age that the change had when it was written. The time since then is counted by the clock of NATS
//!   alone, from the time when NATS stored it to the time of NATS now.
//! - That time is never longer than the time since this server last read the whole bucket, by its own clock: the value
//!   was not there then. A read counts only if a majority of the bucket's copies was in step: NATS servers without a
//!   majority can take a write and store it when the majority is back, with its first time.
//! - This server knows by its own clock when it made a change itself. A write without a reply may be stored later than
//!   the next change of the same target is made here; then that next change stays in force. If a change was stored
//!   late, its server writes it once more with its age, and other servers compare it again with the change that it
//!   had replaced there.
//!
//! If the bucket was purged, or an older state of it was restored, so that it lacks revisions that are known, the
//! servers write into it what it has lost.
//!
//! **When an override ends.** A value has the time that was left when it was written, and never a time of day. Each
//! server subtracts the time since then and counts the rest by its own clock.
//!
//! A key whose change has ended stays for [`FORGET_AFTER`], then it is deleted.

mod merge;
#[cfg(test)]
mod property_tests;
mod rows;
mod slot;
mod taken;
#[cfg(test)]
mod tests;
mod value;

use std::time::Duration;

pub use merge::{OverrideMerge, OverrideRead, OverrideWrite, StoredAt, WriteEnd};
pub use rows::{SavedMerge, SavedOverride};
pub use taken::{TAKEN_EVERY, TakenBook, TakenMessage, TakenState};
pub use value::{UnusableOverride, key_of};

use crate::model::OverrideState;
use crate::wire::Name;

/// Most overrides in force of a fleet, the same as of one server. Judgment: a larger change is a new policy and belongs
/// in the files. Of more, the newest are in force.
pub const MAX_IN_FORCE: usize = 10_000;
/// Most changes that are remembered: those in force, and as many that have ended.
const MAX_CHANGES: usize = 2 * MAX_IN_FORCE;
/// Most keys of the bucket that are remembered, of which most have been deleted. Judgment: distinct targets of years.
const MAX_KEYS: usize = 100_000;
/// How long a change that has ended stays in the bucket, for servers that are off. Judgment: a server that was off for
/// longer reads the whole bucket anew, and forgets overrides that are not there.
pub const FORGET_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// A read of the bucket may lack what NATS took so shortly before: a majority of the copies has replied within 3 s, and
/// the copy that is read may be late by a moment (judgment: NATS does not read from copies that are later than 2 s).
const READ_LAG: Duration = Duration::from_secs(5);
/// The longest age: of a change whose time is not known, and of what a wrong value says (judgment).
const MAX_AGE: Duration = Duration::from_secs(10 * 366 * 86_400);
/// The longest time that may be left: that of the longest command, and a reserve.
const MAX_LEFT: Duration = Duration::from_secs(367 * 86_400);

/// What a change does to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideEffect {
    /// It has this override.
    Set(OverrideState),
    /// It has none.
    Clear,
}

/// The last change of a target: who made it an override or cleared it, where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetOverride {
    /// A random number: no two changes have the same.
    pub id: u64,
    /// The target, as the operator wrote it.
    pub target: String,
    /// The zones in which it counts, sorted; `None`: all.
    pub zones: Option<Vec<Name>>,
    /// What it does.
    pub effect: OverrideEffect,
    /// The operator: the name of the token.
    pub who: String,
    /// The reason; that of the override which was cleared.
    pub why: String,
    /// The server that executed the command.
    pub node: String,
}

/// A change with its times by the clock of this server, in milliseconds from the start of [`Moment`]s. They may be
/// before it.
///
/// [`Moment`]: crate::model::Moment
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedOverride {
    /// The change.
    pub change: FleetOverride,
    /// When it was made.
    pub made: i64,
    /// When it ends by itself; `None`: not.
    pub end: Option<i64>,
}

impl TimedOverride {
    /// Whether it is an override that has not ended at `now`.
    fn is_in_force(&self, now: i64) -> bool {
        self.change.effect != OverrideEffect::Clear && self.end.is_none_or(|end| end > now)
    }

    /// Since when it has had no effect any more.
    fn ended_at(&self) -> Option<i64> {
        match self.change.effect {
            OverrideEffect::Clear => Some(self.made),
            OverrideEffect::Set(_) => self.end,
        }
    }

    /// Whether it is the newer one of two. Of two of the same age one is newer on every server.
    fn is_newer_than(&self, other: &TimedOverride) -> bool {
        (self.made, self.change.id) > (other.made, other.change.id)
    }
}

/// A duration in whole milliseconds.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A moment on the scale of [`TimedOverride`].
pub fn millis_of(moment: crate::model::Moment) -> i64 {
    millis(moment.since(crate::model::Moment::from_start(Duration::ZERO)))
}
