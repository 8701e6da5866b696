//! The kinds of steering: a file each, with one function, `choose`, from what the members of a pool give to what the
//! pool gives. It reads the policy, the world view and the client through the [`Chooser`], and notes there why members
//! are used or not. It does not know the name of the query: names that are answered alike share a decision.

mod all;
mod failover;
mod geo;
mod latency;
mod nearest;
mod weighted;

pub(crate) use latency::HOLD_DOWN;

use crate::model::{PoolId, Steering};
use crate::steering::Tier;
use crate::steering::chooser::Chooser;

/// What a pool gives: the tiers of the members that are up, best first.
pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    match chooser.pool(id).steering {
        Steering::Weighted | Steering::Affinity => weighted::choose(chooser, id),
        Steering::Latency => latency::choose(chooser, id),
        Steering::Nearest => nearest::choose(chooser, id),
        Steering::Failover => failover::choose(chooser, id),
        Steering::Geo => geo::choose(chooser, id),
        Steering::All => all::choose(chooser, id),
    }
}

/// What a failover pool remembers, also for a pool that does not have to choose now.
pub(super) use failover::memory as failover_memory;
