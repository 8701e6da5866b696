//! How far the ramp of each endpoint is. [`ramp`](super::ramp) applies it where weights divide a tier.

use crate::model::{EndpointId, Growth, Moment};
use crate::steering::Scene;
use crate::steering::why::Ramping;

/// The growth of each endpoint that ramps, sorted by id.
pub(super) type Growths = Vec<(EndpointId, Growth)>;

/// The effects of the ramps that count.
#[derive(Default)]
pub(super) struct RampEffects {
    /// What each means for the weight of an endpoint.
    pub(super) ramping: Vec<(EndpointId, Ramping)>,
    /// When each grows.
    pub(super) dues: Vec<(Moment, EndpointId)>,
}

/// The growth of each of `endpoints` that ramps; `endpoints` are sorted.
pub(super) fn growths(scene: &Scene, endpoints: &[EndpointId]) -> Growths {
    endpoints.iter().filter_map(|endpoint| Some((*endpoint, growth(scene, *endpoint)?))).collect()
}

/// The growth of an endpoint that is eligible. For a service it is that of the address with the greatest share.
fn growth(scene: &Scene, id: EndpointId) -> Option<Growth> {
    let endpoint = scene.model.endpoint(id);
    if endpoint.ramp.is_zero() {
        return None;
    }
    let sides = scene.sides(id);
    let up = sides.filter(|side| scene.is_side_up(id, side));
    farthest(up.map(|side| scene.view.growth(id, endpoint, scene.policy.check_of(id, side), scene.view.at)))
}

/// The greatest of several growths; `None` where one has its full weight.
pub(super) fn farthest(all: impl Iterator<Item = Option<Growth>>) -> Option<Growth> {
    let all: Option<Vec<Growth>> = all.collect();
    all?.into_iter().max_by(|a, b| a.share.total_cmp(&b.share))
}
