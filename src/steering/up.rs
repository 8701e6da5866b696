//! Whether a member counts as up for its pool. An endpoint does if it is eligible. A pool does if it has something to
//! give, and enough of it (`min_up`). Where no member of a pool has enough, those that have anything count: what is up
//! goes before what is down. Also the reasons why endpoints of a member are not used although they are up.

use crate::model::{EndpointId, Member, MemberRef, Pool};
use crate::steering::chooser::{Chooser, Threshold};
use crate::steering::{Reason, Tier, Why};

impl<'a> Chooser<'a> {
    /// What the members of a pool have to reach: `min_up` while one of them does that for these clients.
    pub(super) fn threshold_of(&mut self, pool: &'a Pool) -> Threshold {
        if self.gives(pool, Threshold::MinUp) { Threshold::MinUp } else { Threshold::Anything }
    }

    /// Whether a member counts as up. For a pool the result is stored. If the client was read for it, each later call
    /// counts as a read of the client too.
    pub(super) fn is_up(&mut self, member: MemberRef, threshold: Threshold) -> bool {
        let id = match member {
            MemberRef::Endpoint(id) => return self.eligible.binary_search(&id).is_ok(),
            MemberRef::Pool(id) => id,
        };
        let (client, pool) = (self.scene.client, self.pool(id));
        let (is_up, was_read) = self.known_up.get(&(id, threshold)).copied().unwrap_or_else(|| {
            let known = client.apart(|| match threshold {
                Threshold::MinUp => self.gives(pool, threshold) && self.part_up(pool) >= pool.min_up,
                Threshold::Anything => self.gives(pool, threshold),
            });
            self.known_up.insert((id, threshold), known);
            known
        });
        client.count(was_read);
        is_up
    }

    /// Whether a pool has any member that reaches `threshold`, for these clients. Its own `min_up` does not count here.
    fn gives(&mut self, pool: &'a Pool, threshold: Threshold) -> bool {
        match pool.steering.selects_clients() {
            true => self.first_match(pool, threshold).is_some(),
            false => pool.members.iter().any(|member| self.is_up(member.to, threshold)),
        }
    }

    /// The first member that is up and whose `when` holds for the client. The client is not read if the first member
    /// that is up has no `when`.
    pub(super) fn first_match(&mut self, pool: &'a Pool, threshold: Threshold) -> Option<&'a Member> {
        let client = self.scene.client;
        let mut up = pool.in_order().filter(|member| self.is_up(member.to, threshold));
        up.find(|member| member.when.is_none_or(|when| client.is_selected(when)))
    }

    /// The part of a pool's weight that is up, 0 to 1. It is 1 if the pool has no `min_up`, or if all members are
    /// standbys. A member without a record for this question inside the fence does not count: that is no failure.
    fn part_up(&mut self, pool: &'a Pool) -> f64 {
        if pool.min_up <= 0.0 {
            return 1.0;
        }
        let (mut up, mut all) = (0, 0);
        for member in pool.members.iter().filter(|member| member.weight > 0) {
            if !self.has_any(member.to) {
                continue;
            }
            all += u64::from(member.weight);
            if self.is_up(member.to, Threshold::MinUp) {
                up += u64::from(member.weight);
            }
        }
        if all == 0 { 1.0 } else { up as f64 / all as f64 }
    }

    fn has_any(&self, member: MemberRef) -> bool {
        let is_inside = |endpoint: EndpointId| self.inside.binary_search(&endpoint).is_ok();
        self.scene.model.below([member]).filter_map(MemberRef::endpoint).any(is_inside)
    }

    /// Notes why the eligible endpoints below a member are not used: `why`, or if the member is down, the reason for
    /// that. If only the member's health depends on the client, and nothing else so far, the reason is always `why`:
    /// a decision that did not read the client has the same reasons for all clients.
    pub(super) fn explain_unused(&mut self, member: MemberRef, why: Option<Why>, threshold: Threshold) {
        let client = self.scene.client;
        let (is_up, was_read) = client.apart(|| self.is_up(member, threshold));
        match why {
            Some(why) if is_up || (was_read && !client.was_read()) => self.note_unused(member, &why),
            Some(_) | None => self.explain_down(member, threshold),
        }
    }

    /// Notes why the eligible endpoints below a member that is down are not used. Reading the client for a reason does
    /// not count.
    pub(super) fn explain_down(&mut self, member: MemberRef, threshold: Threshold) {
        let MemberRef::Pool(id) = member else { return };
        if !self.explained.insert(id) {
            return;
        }
        let (client, pool) = (self.scene.client, self.pool(id));
        if let Some(up) = self.part_under_min_up(pool) {
            return self.note_unused(member, &Why::UnderMinUp { pool: id, up });
        }
        for member in &pool.members {
            let when = pool.selector(member);
            match when.filter(|_| client.apart(|| self.is_up(member.to, threshold)).0) {
                Some(when) => self.explain_unused(member.to, Some(Why::NotSelected(when)), threshold),
                None => self.explain_down(member.to, threshold),
            }
        }
    }

    /// Notes that `tiers` of a pool are used although it has too little up, if that is so. Reading the client for a
    /// reason does not count.
    pub(super) fn explain_thin(&mut self, member: MemberRef, tiers: &[Tier], threshold: Threshold) {
        let MemberRef::Pool(id) = member else { return };
        if threshold == Threshold::MinUp {
            return;
        }
        let pool = self.pool(id);
        let Some(up) = self.part_under_min_up(pool) else { return };
        let endpoints = tiers.iter().flat_map(Tier::endpoints);
        let why = Why::UnderMinUpButGiven { pool: id, up };
        self.thin.extend(endpoints.map(|endpoint| Reason::new(endpoint, why.clone())));
    }

    /// The part of a pool's weight that is up, if it is less than `min_up` and more than nothing. Reading the client
    /// for it does not count.
    fn part_under_min_up(&mut self, pool: &'a Pool) -> Option<f64> {
        let client = self.scene.client;
        let (part, _) = client.apart(|| self.gives(pool, Threshold::MinUp).then(|| self.part_up(pool)));
        part.filter(|part| *part < pool.min_up)
    }

    fn note_unused(&mut self, member: MemberRef, why: &Why) {
        let below = self.scene.model.endpoints_below(member).into_iter();
        self.unused.extend(below.map(|endpoint| Reason::new(endpoint, why.clone())));
    }
}
