//! Pools that steer `geo`: the first member that is up and whose `when` holds for the client, alone.

use crate::model::PoolId;
use crate::steering::chooser::Chooser;
use crate::steering::{Tier, Why};

pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let pool = chooser.pool(id);
    let threshold = chooser.threshold_of(pool);
    let first = chooser.first_match(pool, threshold);
    let mut is_behind_all = false;
    for member in pool.in_order() {
        if let Some(first) = first.filter(|first| first.to == member.to) {
            // Behind a member for all clients no `when` counts.
            is_behind_all |= first.when.is_none();
            continue;
        }
        let client = chooser.scene.client;
        let (is_selected, _) = client.apart(|| member.when.is_none_or(|when| client.is_selected(when)));
        let why = match member.when.filter(|_| !is_behind_all && !is_selected) {
            Some(when) => Some(Why::NotSelected(when)),
            None => first.map(|first| Why::BehindMatch(first.to)),
        };
        chooser.explain_unused(member.to, why, threshold);
    }
    let Some(first) = first else { return Vec::new() };
    let why = Why::FirstMatch { pool: chooser.within(id), member: first.to, when: first.when };
    let tiers = chooser.member(first.to);
    chooser.explain_rank(&tiers, &why);
    chooser.alone(id, first.to, threshold)
}
