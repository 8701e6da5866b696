//! What is below a member of a pool: the one walk over pools in pools.

use std::collections::HashSet;
use std::hash::Hash;

use crate::model::{EndpointId, Member, MemberRef, Model, Pool, PoolId};

impl Model {
    /// `roots` and everything below them: each member once, a pool before its members, members as listed. It ends where
    /// pools contain each other, which `config` finds by it.
    pub fn below<'m>(&'m self, roots: impl IntoIterator<Item = MemberRef>) -> impl Iterator<Item = MemberRef> + 'm {
        self.below_where(roots, |_, _| true)
    }

    /// As [`Model::below`], but only through those members of pools that `is_open` says.
    pub fn below_where<'m>(
        &'m self,
        roots: impl IntoIterator<Item = MemberRef>,
        is_open: impl Fn(&Pool, &Member) -> bool + 'm,
    ) -> impl Iterator<Item = MemberRef> + 'm {
        let mut open: Vec<MemberRef> = Vec::with_capacity(FEW);
        open.extend(roots);
        open.reverse();
        let mut seen = OnceSet::default();
        std::iter::from_fn(move || {
            let next = loop {
                let next = open.pop()?;
                if seen.insert(next) {
                    break next;
                }
            };
            if let MemberRef::Pool(id) = next {
                let pool = self.pool(id);
                let members = pool.members.iter().rev().filter(|member| is_open(pool, member));
                open.extend(members.map(|member| member.to));
            }
            Some(next)
        })
    }

    /// Every endpoint below `root`, or `root` itself, each once, in listed order.
    pub fn endpoints_below(&self, root: MemberRef) -> Vec<EndpointId> {
        self.below([root]).filter_map(MemberRef::endpoint).collect()
    }

    /// Every pool below `roots`, they included, each once.
    pub fn pools_below(&self, roots: impl IntoIterator<Item = MemberRef>) -> impl Iterator<Item = PoolId> {
        self.below(roots).filter_map(MemberRef::pool)
    }

    /// The name of an endpoint or a pool; panics as [`Model::endpoint`] does.
    pub fn member_name(&self, member: MemberRef) -> &str {
        match member {
            MemberRef::Endpoint(id) => &self.endpoint(id).name,
            MemberRef::Pool(id) => &self.pool(id).name,
        }
    }
}

impl MemberRef {
    /// The endpoint that it is.
    pub fn endpoint(self) -> Option<EndpointId> {
        match self {
            MemberRef::Endpoint(id) => Some(id),
            MemberRef::Pool(_) => None,
        }
    }

    /// The pool that it is.
    pub fn pool(self) -> Option<PoolId> {
        match self {
            MemberRef::Endpoint(_) => None,
            MemberRef::Pool(id) => Some(id),
        }
    }
}

/// Fewer values than this are compared one by one, which is faster than to hash them (measured with endpoints).
const FEW: usize = 24;

/// A set of the values that came before.
pub(crate) struct OnceSet<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

impl<T> Default for OnceSet<T> {
    fn default() -> OnceSet<T> {
        OnceSet { few: Vec::new(), many: HashSet::new() }
    }
}

impl<T: Copy + Eq + Hash> OnceSet<T> {
    /// Adds a value; whether it is new.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        if !self.many.is_empty() {
            return self.many.insert(value);
        }
        let is_new = !self.few.contains(&value);
        if is_new {
            // Once, in place of a step for each power of two.
            self.few.reserve_exact(FEW - self.few.len());
            self.few.push(value);
        }
        if self.few.len() == FEW {
            self.many.extend(self.few.drain(..));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Steering, ZoneId};

    fn endpoint(id: u32) -> MemberRef {
        MemberRef::Endpoint(EndpointId(id))
    }

    fn pool(id: u32) -> MemberRef {
        MemberRef::Pool(PoolId(id))
    }

    fn model(pools: &[&[MemberRef]]) -> Model {
        let endpoints = (0..100).map(|at| Endpoint::new(format!("e{at}"), ZoneId(0), Vec::new())).collect();
        let members = |of: &[MemberRef]| of.iter().map(|to| Member::new(*to, 1)).collect();
        let pools = pools.iter().enumerate();
        let pools = pools.map(|(at, of)| Pool::new(format!("p{at}"), Steering::Weighted, members(of))).collect();
        Model { endpoints, pools, ..Model::default() }
    }

    #[test]
    fn each_once_in_listed_order() {
        let model = model(&[&[endpoint(3), pool(1), endpoint(1)], &[endpoint(2), endpoint(3), endpoint(0)]]);
        assert_eq!(model.endpoints_below(pool(0)), [3, 2, 0, 1].map(EndpointId));
        assert_eq!(model.pools_below([pool(0), pool(1)]).collect::<Vec<_>>(), [PoolId(0), PoolId(1)]);
        assert_eq!(model.endpoints_below(endpoint(7)), [EndpointId(7)]);
        let roots: Vec<MemberRef> = model.below([endpoint(0), pool(1)]).collect();
        assert_eq!(roots, [endpoint(0), pool(1), endpoint(2), endpoint(3)]);
        let closed = model.below_where([pool(0)], |_, member| member.to != pool(1));
        assert_eq!(closed.collect::<Vec<_>>(), [pool(0), endpoint(3), endpoint(1)]);
    }

    #[test]
    fn it_ends_in_a_loop_and_with_many() {
        let looped = model(&[&[pool(1), endpoint(0)], &[pool(0), endpoint(1)]]);
        assert_eq!(looped.endpoints_below(pool(0)), [1, 0].map(EndpointId));
        let all: Vec<MemberRef> = (0..100).chain(0..100).map(endpoint).collect();
        assert_eq!(model(&[&all]).endpoints_below(pool(0)).len(), 100);
    }
}
