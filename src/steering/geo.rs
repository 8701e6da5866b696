//! Pools that steer `geo`: the first member that is up and meant for the client, alone.

use crate::model::{Member, Pool, PoolId, Steering};
use crate::steering::pool::{Chooser, Up, in_order};
use crate::steering::tiers::blend;
use crate::steering::{Reason, Tier, Why};

impl<'a> Chooser<'a> {
    /// The first member that is up and whose `when` holds. The client is looked at where a member that is up has a
    /// `when` and nobody before it is for all.
    pub(super) fn first_match(&mut self, pool: &'a Pool) -> Option<&'a Member> {
        let mut first = None;
        for member in in_order(pool) {
            if !self.is_up(member.to) {
                continue;
            }
            let Some(when) = member.when else { return first.or(Some(member)) };
            self.looks_at_client = true;
            if first.is_none() && self.scene.class.is_selected(when) {
                first = Some(member);
            }
        }
        first
    }

    pub(super) fn geo(&mut self, id: PoolId, pool: &'a Pool) -> Vec<Tier> {
        debug_assert_eq!(pool.steering, Steering::Geo);
        let scene = self.scene;
        let first = self.first_match(pool);
        let mut behind_all = false;
        for member in in_order(pool) {
            if first.is_some_and(|first| first.to == member.to) {
                // Behind one that is for everyone, nobody's `when` is asked.
                behind_all |= first.is_some_and(|first| first.when.is_none());
                continue;
            }
            let unselected = member.when.filter(|when| !behind_all && !scene.class.is_selected(*when));
            let why = match (unselected, first) {
                (Some(when), _) => Some(Why::NotSelected(when)),
                (None, first) => first.map(|first| Why::BehindMatch(first.to)),
            };
            self.stand_by(member.to, why);
        }
        let Some(first) = first else { return Vec::new() };
        let up = Up { to: first.to, tiers: self.member(first.to), weight: 1.0 };
        let why = Why::FirstMatch { pool: self.within(id), member: first.to, when: first.when };
        self.ranks.extend(up.tiers.iter().flat_map(Tier::endpoints).map(|e| Reason::new(e, why.clone())));
        blend(&scene, pool, [up.parts()], |_, _| 1.0)
    }
}
