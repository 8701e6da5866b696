//! Who counts as up for the pool that it is in: an endpoint that is eligible; a pool that has something to give, and
//! enough of it (`min_up`). And, in words, why a pool that has something up does not give it.

use crate::model::{EndpointId, MemberRef, Pool, Steering};
use crate::steering::pool::Chooser;
use crate::steering::{Reason, Why};

impl<'a> Chooser<'a> {
    pub(super) fn is_up(&mut self, member: MemberRef) -> bool {
        let id = match member {
            MemberRef::Endpoint(id) => return self.eligible.binary_search(&id).is_ok(),
            MemberRef::Pool(id) => id,
        };
        if let Some(&(up, looks)) = self.known_up.get(&id) {
            self.looks_at_client |= looks;
            return up;
        }
        let before = std::mem::replace(&mut self.looks_at_client, false);
        let pool = self.scene.model.pool(id);
        let up = self.gives(pool) && self.share_up(pool) >= pool.min_up;
        self.known_up.insert(id, (up, self.looks_at_client));
        self.looks_at_client |= before;
        up
    }

    /// Whether a pool has anything to give to these clients, however little.
    fn gives(&mut self, pool: &'a Pool) -> bool {
        match pool.steering {
            Steering::Geo => self.first_match(pool).is_some(),
            Steering::Weighted
            | Steering::Latency
            | Steering::Nearest
            | Steering::Failover
            | Steering::Affinity
            | Steering::All => pool.members.iter().any(|member| self.is_up(member.to)),
        }
    }

    /// The share of a pool's weight that is up, 0 to 1, where `min_up` asks for it. Only members count that have
    /// something to say to this question inside the fence: to have none is no failure. 1 where all are standbys.
    fn share_up(&mut self, pool: &'a Pool) -> f64 {
        if pool.min_up <= 0.0 {
            return 1.0;
        }
        let (mut up, mut all) = (0, 0);
        for member in pool.members.iter().filter(|member| member.weight > 0) {
            if !self.has_any(member.to) {
                continue;
            }
            all += u64::from(member.weight);
            if self.is_up(member.to) {
                up += u64::from(member.weight);
            }
        }
        if all == 0 { 1.0 } else { up as f64 / all as f64 }
    }

    fn has_any(&self, member: MemberRef) -> bool {
        let is_inside = |endpoint: &EndpointId| self.inside.binary_search(endpoint).is_ok();
        self.scene.model.endpoints_below(member).iter().any(is_inside)
    }

    /// Notes of what is up below a member why it isn't used: `why`, or what keeps the member itself from being up. Where
    /// that depends on the client, and nothing else did, it is `why` in any case: a decision that did not look at the
    /// client has the same reasons for all clients.
    pub(super) fn stand_by(&mut self, member: MemberRef, why: Option<Why>) {
        let (is_up, looked) = self.is_up_quietly(member);
        match why {
            Some(why) if is_up || (looked && !self.looks_at_client) => self.leave_idle(member, why),
            Some(_) | None => self.tell_out(member),
        }
    }

    fn leave_idle(&mut self, member: MemberRef, why: Why) {
        let below = self.scene.model.endpoints_below(member).into_iter();
        self.idle.extend(below.map(|endpoint| Reason::new(endpoint, why.clone())));
    }

    /// Notes of what is up below a member that is out why it is of no use.
    pub(super) fn tell_out(&mut self, member: MemberRef) {
        let MemberRef::Pool(id) = member else { return };
        if !self.told_out.insert(id) {
            return;
        }
        let pool = self.scene.model.pool(id);
        let looked = self.looks_at_client;
        let (gives, up) = (self.gives(pool), self.share_up(pool));
        self.looks_at_client = looked;
        if gives {
            return self.leave_idle(MemberRef::Pool(id), Why::UnderMinUp { pool: id, up });
        }
        for member in &pool.members {
            match member.when.filter(|_| pool.steering == Steering::Geo) {
                Some(when) if self.is_up_quietly(member.to).0 => {
                    self.stand_by(member.to, Some(Why::NotSelected(when)));
                }
                Some(_) | None => self.tell_out(member.to),
            }
        }
    }

    /// For words only, which are no look at the client; and whether it would have been one.
    fn is_up_quietly(&mut self, member: MemberRef) -> (bool, bool) {
        let before = std::mem::replace(&mut self.looks_at_client, false);
        let is_up = self.is_up(member);
        let looked = std::mem::replace(&mut self.looks_at_client, before);
        (is_up, looked)
    }
}
