//! Pools that steer `failover`: the first member that is up, or the one that `failback` stays on; alone, so that no
//! standby gets into a reply of several records.

use std::time::Duration;

use crate::model::{Failback, MemberRef, Moment, PoolId};
use crate::steering::chooser::{Chooser, Threshold};
use crate::steering::resist::resist;
use crate::steering::{Challenger, Standing, Tier, Waiting, Why};

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
    let failback = chooser.scene.policy.failback;
    if failback == Failback::Auto {
        return None;
    }
    let (pool, old) = (chooser.pool(id), chooser.scene.standing(id));
    let threshold = chooser.threshold_of(pool);
    let Some(first) = first_up(chooser, id, threshold) else {
        return old.map(|old| Standing { challenger: None, waiting: Vec::new(), ..old.clone() });
    };
    let now = chooser.scene.view.at;
    let order: Vec<MemberRef> = pool.in_order().map(|member| member.to).collect();
    let incumbent = old.and_then(|old| old.incumbents.first().copied());
    let incumbent = incumbent.filter(|to| order.contains(to) && chooser.is_up(*to, threshold));
    let old = old.filter(|_| incumbent.is_some());
    match (failback, old, incumbent) {
        (Failback::After(time), Some(old), Some(incumbent)) => {
            let before = order.into_iter().take_while(|to| *to != incumbent);
            let up: Vec<MemberRef> = before.filter(|to| chooser.is_up(*to, threshold)).collect();
            Some(after(old, incumbent, &up, time, now))
        }
        (Failback::Auto | Failback::Manual | Failback::After(_), old, _) => {
            Some(resist(id, old, vec![first], None, now))
        }
    }
}

/// The standing at `now`, where `up` are the members before the incumbent that are up. Each has to be up for `time`;
/// the first that has been is chosen. A member does not wait longer because another one comes up.
fn after(old: &Standing, mut incumbent: MemberRef, up: &[MemberRef], time: Duration, now: Moment) -> Standing {
    let challenger = old
        .challenger
        .iter()
        .flat_map(|old| old.members.iter().map(|member| Waiting { member: *member, since: old.since }));
    let known: Vec<Waiting> = challenger.chain(old.waiting.iter().copied()).collect();
    let since = |member: MemberRef| known.iter().find(|of| of.member == member).map_or(now, |of| of.since.min(now));
    let mut waiting: Vec<Waiting> =
        up.iter().map(|member| Waiting { member: *member, since: since(*member) }).collect();
    if let Some(at) = waiting.iter().position(|waiting| waiting.since + time <= now) {
        incumbent = waiting[at].member;
        waiting.truncate(at);
    }
    let next = waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.since).map(|(at, _)| at);
    let challenger = next.map(|at| waiting.remove(at)).map(|Waiting { member, since }| Challenger {
        members: vec![member],
        since,
        due: Some(since + time),
    });
    Standing { pool: old.pool, incumbents: vec![incumbent], challenger, waiting }
}
