//! The act of choosing. Pure: a policy, a world view and a client class in, a [`Decision`] out. It never probes,
//! never picks (chance belongs to the packet path) and knows nothing of packets. `snapshot::compile` calls it.

pub mod decision;
mod probability;

pub use decision::{Decision, Distribution, Given, Reason, Share, Stage, Tier};

use crate::model::{ClientClass, Facet, Model, PolicyId, WorldView};

/// Decides what `policy` answers clients of `class` who ask for `facet`, as the world is in `view`. `last_good` is what
/// was given to the same policy, class and facet when something was last eligible.
pub fn decide(
    _model: &Model,
    _policy: PolicyId,
    _view: &WorldView,
    _class: ClientClass,
    _facet: Facet,
    _last_good: Option<&Distribution>,
) -> Decision {
    unimplemented!("signature only; the stages follow")
}
