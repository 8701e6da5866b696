//! Whether the client's net decides a draw from a tier. It does if the shares come from different members of a pool
//! that chooses by net. The packet path draws.

use crate::model::AffinityNet;
use crate::steering::{Scene, Share};

/// How many bits of a client's address decide, in pools that choose by net.
pub(super) fn net(scene: &Scene) -> AffinityNet {
    scene.policy.affinity.unwrap_or_default()
}

/// Whether a pool that chooses by net decides between some of these shares of one tier.
pub(super) fn divides(shares: &[&Share]) -> bool {
    divides_from(shares, 0)
}

/// As [`divides`], for shares whose paths are alike in their first `depth` steps.
fn divides_from(shares: &[&Share], depth: usize) -> bool {
    let mut left: Vec<&Share> = shares.iter().copied().filter(|share| share.path.len() > depth).collect();
    let Some(first) = left.first().map(|share| share.path[depth]) else { return false };
    if first.by_net && left.iter().any(|share| share.path[depth].member != first.member) {
        return true;
    }
    while let Some(member) = left.first().map(|share| share.path[depth].member) {
        let (alike, others): (Vec<&Share>, Vec<&Share>) =
            left.into_iter().partition(|share| share.path[depth].member == member);
        if alike.len() > 1 && divides_from(&alike, depth + 1) {
            return true;
        }
        left = others;
    }
    false
}

/// Whether the client's net decides every choice, among these shares of one tier, between those for which `is` holds
/// and the others.
pub(super) fn decides_all(shares: &[&Share], is: &dyn Fn(&Share) -> bool) -> bool {
    decides_all_from(shares, 0, is)
}

/// As [`decides_all`], for shares whose paths are alike in their first `depth` steps.
fn decides_all_from(shares: &[&Share], depth: usize, is: &dyn Fn(&Share) -> bool) -> bool {
    let some = shares.iter().filter(|share| is(share)).count();
    if some == 0 || some == shares.len() {
        return true;
    }
    let Some(first) = shares[0].path.get(depth) else { return false };
    let ends = shares.iter().any(|share| share.path.len() <= depth);
    let parts = shares.iter().any(|share| share.path.get(depth).is_some_and(|step| step.member != first.member));
    if ends || (parts && !first.by_net) {
        return false;
    }
    let mut left: Vec<&Share> = shares.to_vec();
    while let Some(member) = left.first().map(|share| share.path[depth].member) {
        let (alike, others): (Vec<&Share>, Vec<&Share>) =
            left.into_iter().partition(|share| share.path[depth].member == member);
        if !decides_all_from(&alike, depth + 1, is) {
            return false;
        }
        left = others;
    }
    true
}
