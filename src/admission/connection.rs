//! What the seats and the octets of one connection share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;

use super::SourceNet;
use super::order::Usefulness;
use crate::model::Moment;

/// Where the activity is in the number that orders connections; the bits below are its moment.
const ACTIVITY_SHIFT: u32 = 62;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) net: SourceNet,
    activity: AtomicU64,
    closed: CancellationToken,
    is_for_octets: AtomicBool,
}

/// How useful a connection is, from the least; those of a kind are ordered by the moment since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Activity {
    /// Its peer takes nothing while octets wait; since that was noticed. This is less useful than a new connection:
    /// otherwise deaf clients of many nets would hold the seats, and each newcomer would be displaced by the next.
    Deaf = 0,
    /// It has not finished a handshake or sent a request; since it was accepted.
    New = 1,
    /// It was used last then.
    Established = 2,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Displacement {
    /// For a newer connection, or because the system has no free descriptors.
    Seat,
    /// For the octets that wait for its peer.
    Octets,
}

impl Connection {
    pub(super) fn new(number: u64, net: SourceNet, activity: Activity, now: Moment) -> Connection {
        let activity = AtomicU64::new(encode(activity, now));
        Connection { number, net, activity, closed: CancellationToken::new(), is_for_octets: AtomicBool::new(false) }
    }

    pub(super) fn usefulness(&self) -> Usefulness {
        (self.activity.load(Relaxed), self.number)
    }

    /// The first reason stays.
    pub(super) fn displace(&self, why: Displacement) {
        if !self.closed.is_cancelled() {
            self.is_for_octets.store(why == Displacement::Octets, Relaxed);
        }
        self.closed.cancel();
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.activity.load(Relaxed) >> ACTIVITY_SHIFT == Activity::Deaf as u64
    }

    pub(super) fn set(&self, activity: Activity, since: Moment) {
        self.activity.store(encode(activity, since), Relaxed);
    }

    pub(super) async fn displaced(&self) -> Displacement {
        self.closed.cancelled().await;
        self.why_displaced()
    }

    pub(super) fn displacement(&self) -> Option<Displacement> {
        self.is_displaced().then(|| self.why_displaced())
    }

    fn why_displaced(&self) -> Displacement {
        match self.is_for_octets.load(Relaxed) {
            true => Displacement::Octets,
            false => Displacement::Seat,
        }
    }
}

/// An activity and its moment as one number that orders them. Milliseconds fit: the highest two bits are free for
/// 146 million years.
fn encode(activity: Activity, since: Moment) -> u64 {
    (activity as u64) << ACTIVITY_SHIFT | since.from_first().as_millis() as u64 & (u64::MAX >> 2)
}
