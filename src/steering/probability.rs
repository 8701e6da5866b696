//! How probable it is that an endpoint's record is in one reply: the arithmetic of the draws that
//! [`Distribution`] defines, exactly. `explain` and `simulate` call it, the packet path never does.

use crate::model::EndpointId;
use crate::steering::Distribution;

impl Distribution {
    /// The probability, 0 to 1, that each endpoint's record is in one reply, in tier order.
    pub fn probabilities(&self, _is_alias: impl Fn(EndpointId) -> bool) -> Vec<(EndpointId, f64)> {
        unimplemented!("signature only")
    }
}
