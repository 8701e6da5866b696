//! The kinds of pools: a file each, with one function from what the members of a pool give to what the pool gives. It
//! says through the [`Chooser`] why members are where they are; whether the client was read follows from what it asks
//! for.

mod all;
mod failover;
mod geo;
mod latency;
mod nearest;
mod weighted;

pub(crate) use latency::HOLD_DOWN;

use crate::model::{PoolId, Steering};
use crate::steering::Tier;
use crate::steering::pool::Chooser;

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

/// The memory of the pools below a name whose choice is remembered while another pool answers.
pub(super) use failover::memory as failover_memory;
