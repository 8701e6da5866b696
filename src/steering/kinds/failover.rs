//! Pools that steer `failover`: the first member that is up, or the one that `failback` stays on; alone, so that no
//! standby gets into a reply of several records.

use crate::model::{Failback, MemberRef, PoolId};
use crate::steering::chooser::{Chooser, Threshold};
use crate::steering::resist::resist;
use crate::steering::{Standing, Tier, Why};

pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let pool = chooser.pool(id);
    let threshold = chooser.threshold_of(pool);
    let first = first_up(chooser, id, threshold);
    let memory = memory(chooser, id);
    let Some(first) = first else {
        pool.members.iter().for_each(|member| chooser.explain_down(member.to, threshold));
        memory.into_iter().for_each(|memory| chooser.retain(memory));
        return Vec::new();
    };
    let chosen = memory.as_ref().map_or(first, |memory| memory.incumbents[0]);
    let mut is_before = chosen != first;
    for member in pool.in_order() {
        if member.to == chosen {
            is_before = false;
            continue;
        }
        let why = match is_before {
            true => Why::BeforeIncumbent { pool: id, incumbent: chosen },
            false => Why::BehindFirst { pool: id, first: chosen },
        };
        chooser.explain_unused(member.to, Some(why), threshold);
    }
    memory.into_iter().for_each(|memory| chooser.retain(memory));
    chooser.alone(id, chosen, threshold)
}

fn first_up(chooser: &mut Chooser<'_>, id: PoolId, threshold: Threshold) -> Option<MemberRef> {
    chooser.pool(id).in_order().map(|member| member.to).find(|to| chooser.is_up(*to, threshold))
}

/// What a failover pool remembers of its choice. An outage of all members leaves the incumbent, so that its end does
/// not fail back.
pub(in crate::steering) fn memory(chooser: &mut Chooser<'_>, id: PoolId) -> Option<Standing> {
    let hold_down = match chooser.scene.policy.failback {
        Failback::Auto => return None,
        Failback::Manual => None,
        Failback::After(time) => Some(time),
    };
    let (pool, old) = (chooser.pool(id), chooser.scene.standing(id));
    let threshold = chooser.threshold_of(pool);
    let Some(first) = first_up(chooser, id, threshold) else {
        return old.map(|old| Standing { challenger: None, ..old.clone() });
    };
    let now = chooser.scene.view.at;
    let position = |to: MemberRef| pool.in_order().position(|member| member.to == to);
    let incumbent = old.and_then(|old| old.incumbents.first().copied());
    let incumbent = incumbent.filter(|to| position(*to).is_some() && chooser.is_up(*to, threshold));
    // A member that has waited does not wait longer because another before it comes up.
    let waiting = old.and_then(|old| old.challenger.as_ref()?.members.first().copied());
    let waiting = waiting.filter(|to| position(*to).is_some_and(|at| Some(at) < incumbent.and_then(position)));
    let wanted = waiting.filter(|to| chooser.is_up(*to, threshold)).unwrap_or(first);
    let old = old.filter(|_| incumbent.is_some());
    let memory = resist(id, old, vec![wanted], hold_down, now);
    let moved = memory.incumbents[0];
    // After a move an earlier member may be up already: its time begins.
    Some(if memory.challenger.is_none() && moved != first {
        resist(id, Some(&memory), vec![first], hold_down, now)
    } else {
        memory
    })
}
