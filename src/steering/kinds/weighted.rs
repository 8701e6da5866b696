//! Pools that steer `weighted` or `affinity`: every member that is up, in one tier by weight. What draws from it,
//! chance or the client's net, is decided in the tier's paths.

use crate::model::PoolId;
use crate::steering::Tier;
use crate::steering::chooser::{Chooser, Offer};

pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let offers = chooser.offers(id);
    chooser.side_by_side(id, &offers.iter().collect::<Vec<&Offer>>())
}
