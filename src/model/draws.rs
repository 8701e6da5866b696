//! How many different draws a pool can give, by its members alone: whichever of them are up.

use std::collections::HashMap;

use crate::model::{Facet, Gives, MemberRef, Model, PoolId};

/// Most different replies of a pool that steers `all` over pools that draw (judgment: four pools of four endpoints, and
/// each reply is prepared).
pub const MAX_COMBINATIONS: usize = 256;

/// Counts the draws of members, each pool once.
#[derive(Debug, Default)]
pub struct Draws {
    known: HashMap<PoolId, usize>,
}

impl Draws {
    /// How many draws a member can give at most, 1 or more: 1 for an endpoint; as many as the most of its members for a
    /// pool that gives one of them; the sum of all members where weights decide. For a pool that steers `all` it is
    /// [`Draws::combinations`], or 1 where they are too many: then it gives all that its members could give. Each of
    /// its aliases is one more, as it is alone in a reply. Pools must not contain each other.
    pub fn of(&mut self, model: &Model, member: MemberRef) -> usize {
        let MemberRef::Pool(id) = member else { return 1 };
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let pool = model.pool(id);
        let each: Vec<usize> = pool.members.iter().map(|member| self.of(model, member.to)).collect();
        let count = match pool.steering.gives() {
            Gives::First => each.into_iter().max().unwrap_or(1),
            Gives::ByWeight => each.into_iter().fold(0, usize::saturating_add).max(1),
            Gives::Together => {
                let aliases = pool.members.iter().filter(|member| is_alias(model, member.to)).count();
                Some(product(each)).filter(|count| *count <= MAX_COMBINATIONS).unwrap_or(1) + aliases
            }
        };
        self.known.insert(id, count);
        count
    }

    /// How many combinations of one draw of each member of a pool there are.
    pub fn combinations(&mut self, model: &Model, id: PoolId) -> usize {
        let each: Vec<usize> = model.pool(id).members.iter().map(|member| self.of(model, member.to)).collect();
        product(each)
    }
}

fn is_alias(model: &Model, member: MemberRef) -> bool {
    let endpoint = member.endpoint().and_then(|id| model.endpoints.get(id.0 as usize));
    endpoint.is_some_and(|endpoint| endpoint.answerables.iter().any(|side| side.facet == Facet::Alias))
}

fn product(each: Vec<usize>) -> usize {
    each.into_iter().fold(1, usize::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointId, Member, Pool, Steering};

    #[test]
    fn combinations_are_the_product_of_what_members_draw() {
        let endpoints = |ids: std::ops::Range<u32>| ids.map(|id| MemberRef::Endpoint(EndpointId(id)));
        let pool = |steering, members: Vec<MemberRef>| {
            Pool::new("p", steering, members.into_iter().map(|to| Member::new(to, 1)).collect())
        };
        let of = |ids: &[u32]| ids.iter().map(|id| MemberRef::Pool(PoolId(*id))).collect::<Vec<_>>();
        let model = Model {
            pools: vec![
                pool(Steering::Weighted, endpoints(0..16).collect()),
                pool(Steering::Failover, endpoints(0..9).collect()),
                pool(Steering::All, endpoints(0..9).collect()),
                pool(Steering::All, of(&[0, 1, 2])),
                pool(Steering::All, of(&[0, 0])),
                pool(Steering::All, of(&[0, 0, 0])),
                pool(Steering::Weighted, of(&[4, 5, 1])),
            ],
            ..Model::default()
        };
        let mut draws = Draws::default();
        let counts = (0..7).map(|id| draws.of(&model, MemberRef::Pool(PoolId(id))));
        assert_eq!(counts.collect::<Vec<_>>(), [16, 1, 1, 16, 256, 1, 258]);
        assert_eq!(draws.combinations(&model, PoolId(5)), 4096);
    }
}
