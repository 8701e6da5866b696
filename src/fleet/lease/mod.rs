//! Exclusive failover: one active endpoint of a name, never two. Pure: `daemon::exclusive` connects it to the store, to
//! the vantages' verdicts and to the hook.
//!
//! A *lease* of each exclusive name is in a store with compare-and-set (CAS). It names the active endpoint, an *epoch*
//! that rises with every promotion, and the server that holds it. All servers answer with the endpoint of the highest
//! epoch that they know, for ever: also without the store, and after a restart. [`machine::LeaseMachine`] is one
//! server's part:
//!
//! ```text
//!            no new revision for the duration, while the watch is live: CAS with the same endpoint and epoch
//!   watches ─────────────────────────────────────────────────────────────────────────────────────> holds, renews
//!      ^                                                                                               │
//!      │ another revision than its own, or a CAS that lost                    the active endpoint is down, by
//!      │                                                                      the quorum, and another is up
//!      │                                                                                               v
//!      ├──────────────────────────────────────── promotes: CAS `promoting` with the next epoch, hook, CAS endpoint
//! ```
//!
//! Why there are never two endpoints of one epoch: an epoch gets its endpoint by one CAS, and every later revision
//! starts from that one. No safety depends on a clock. Time only decides when another server may try to take the lease
//! over, and until when a hook may run: each watcher counts from when it received the newest revision, the holder from
//! when it sent it. So the holder's time ends first, and its hook before the next holder's begins.

mod leadership;
pub mod machine;
mod promotion;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;
use std::time::Duration;

use crate::model::{ActiveEndpoint, Moment};

pub use leadership::{LeaderMove, Leadership};
pub use machine::LeaseMachine;
pub use promotion::{LeaseSituation, MemberState, MemberVerdict};
pub use value::{Lease, MAX_EPOCH, MAX_VALUE_OCTETS, Promoting, UnreadableLease, key_of};

/// How long a lease is valid without a renewal. Judgment: three lost renewals end it. A takeover changes no answer, so
/// it may be short; a server that pauses for longer loses nothing but the lease.
pub const LEASE_DURATION: Duration = Duration::from_secs(3);

/// Nobody has renewed the lease or taken it over for this many durations: the store can be read, and not written. A
/// takeover comes within one and a half.
const STALLED_AFTER: u32 = 2;

/// What of the duration the holder does not use, so that clocks of different speed do no harm: one part of this many.
/// Judgment: clocks of computers differ by less than one part of a thousand.
const MARGIN_PART: u32 = 10;

/// The holder renews this many times in the duration.
const RENEWALS: u32 = 3;

/// After this time without a result a write counts as of unknown outcome. Judgment: between the farthest regions a
/// round trip to the store's leader, and from it to a follower, takes half a second.
const WRITE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The store is read at most this often where a write did not succeed. Judgment: a round trip is shorter mostly.
const READ_EVERY: Duration = Duration::from_millis(500);

/// After the second write in a row that was not stored the next one waits this long, then twice as long each time, so
/// that a store that refuses everything is not flooded (judgment).
const RETRY_WRITE: Duration = Duration::from_millis(200);
/// The longest of these times: shorter than a lease.
const RETRY_WRITE_LONGEST: Duration = Duration::from_secs(1);

/// A verdict older than this does not promote: this process was paused, or its steering stands still. Views are made
/// once a second.
pub const VERDICT_FRESH: Duration = Duration::from_secs(5);

/// Epochs that are left out when a lost lease is made again from what a server remembers: another one may know
/// promotions that it has missed. Judgment: far more promotions than there are while a server is away.
const EPOCHS_AFTER_LOSS: u64 = 1000;

/// An endpoint whose promotion failed is not tried again for this time, twice as long after each further failure.
/// Judgment: a person sees the log meanwhile, and another endpoint may be tried at once.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest of these times.
const RETRY_LONGEST: Duration = Duration::from_secs(300);

/// How long an order of an operator waits for its beginning: for the store, the lease and the verdict. Judgment: a
/// person waits for it.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait after a failure: `first`, twice as long for each earlier failure, and `longest` at most.
fn doubled(first: Duration, earlier: u32, longest: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(earlier).unwrap_or(u32::MAX)).min(longest)
}

/// Who a server is among those that may hold a lease, and how it promotes.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// The node's name.
    pub node: Arc<str>,
    /// A random number of this machine: after a restart a server is another holder, because its hook has ended.
    pub instance: u64,
    /// How long its leases are valid.
    pub duration: Duration,
    /// The longest time that the hook may take; `None`: there is no hook.
    pub hook_timeout: Option<Duration>,
}

/// How the store answered a CAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    /// It is stored under this revision.
    Stored(u64),
    /// Another revision is newer.
    Conflict,
    /// Nobody knows: a time-out, or the connection ended.
    Unknown,
}

/// What the store has of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredLease {
    /// No value, or a deleted one.
    Nothing,
    /// A value that this version does not understand: it is left alone.
    Unreadable(UnreadableLease),
    /// A lease.
    Lease(Lease),
}

/// A value to write if the store's newest revision of the key is `expected`; 0: if there never was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseWrite {
    /// The number of the write, for [`LeaseMachine::written`].
    pub id: u64,
    /// The revision that has to be the newest.
    pub expected: u64,
    /// The value.
    pub lease: Lease,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookResult {
    /// Exit code 0.
    Done,
    /// Anything else, in words.
    Failed(String),
}

/// A promotion, as its hook needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    /// The epoch that it makes; no two hooks of a name ever have the same.
    pub epoch: u64,
    /// The endpoint that is active until then.
    pub from: Arc<str>,
    /// The endpoint that becomes active.
    pub to: Arc<str>,
}

/// What a machine wants from the outside.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseAction {
    /// Write to the store, if its newest revision is the expected one.
    Write(LeaseWrite),
    /// Read the newest revision from the store.
    Read,
    /// Run the hook. It must have ended at `until`, whatever becomes of this process, unless [`LeaseAction::Extend`]
    /// moves that.
    RunHook {
        /// The promotion.
        run: HookRun,
        /// When it has to have ended, by this server's monotonic clock.
        until: Moment,
    },
    /// The hook may run until then.
    Extend {
        /// The hook's epoch.
        epoch: u64,
        /// When it has to have ended.
        until: Moment,
    },
    /// End the hook now.
    KillHook {
        /// The hook's epoch.
        epoch: u64,
    },
    /// For the log, the journal and the sender of an order.
    Report(LeaseEvent),
}

/// What happened to a lease, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEvent {
    /// Another endpoint is active.
    Moved {
        /// The endpoint before.
        from: Arc<str>,
        /// The endpoint now, with its epoch.
        to: ActiveEndpoint,
        /// The server that promoted it.
        holder: Arc<str>,
        /// Why it was promoted.
        why: Arc<str>,
    },
    /// This server holds the lease from now on.
    Taken {
        /// The holder before; `None`: there was no lease.
        from: Option<Arc<str>>,
    },
    /// This server does not hold it any more.
    Lost,
    /// A promotion begins at this server.
    Begun(HookRun),
    /// A promotion at this server did not come to its end.
    BrokenOff {
        /// The promotion.
        run: HookRun,
        /// Why.
        why: String,
    },
    /// How an order ended.
    OrderEnded {
        /// The order's number.
        order: u64,
        /// The active endpoint now, also where it was active already; or why nothing was changed.
        result: Result<ActiveEndpoint, String>,
    },
    /// The store has a value that this version can't read, so nothing is changed.
    Unreadable(String),
}
