//! The last stages: which endpoints a reply can hold at all, how many, and for how long it may be kept. Probabilities
//! are worked out where someone asks for them; here it is only said who can't be drawn.

use std::time::Duration;

use crate::model::{EndpointId, MAX_ANSWERS, Policy, Ttl};
use crate::steering::pool::plain;
use crate::steering::{Distribution, Reason, Scene, Stage, Tier};

/// `pick` and `limit`.
pub(super) fn pick_and_limit(scene: &Scene, policy: &Policy, distribution: &Distribution) -> [Stage; 2] {
    let mut pick = Stage::new("pick", distribution.tiers.iter().flat_map(Tier::endpoints).count(), Vec::new());
    let mut records = 0;
    let mut alias_only = false;
    for (at, tier) in distribution.tiers.iter().enumerate() {
        let full = at > 0 && (distribution.draws == 1 || records >= distribution.limit);
        let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
        for share in &tier.shares {
            for &endpoint in &share.endpoints {
                let alias = scene.is_alias(endpoint);
                let barred = if alias_only {
                    Some(format!("tier {}: an alias comes first, and stands alone", at + 1))
                } else if full {
                    Some(format!("tier {}: the tiers before it fill the reply", at + 1))
                } else if alias && at > 0 {
                    Some(format!("tier {}: an alias can't follow addresses", at + 1))
                } else {
                    None
                };
                match barred {
                    Some(why) => pick.dropped.push(Reason::new(endpoint, why)),
                    None => pick.kept.push(Reason::new(
                        endpoint,
                        format!("tier {}: weight {} of {}", at + 1, plain(share.weight), plain(total)),
                    )),
                }
            }
        }
        let addresses = tier.endpoints().filter(|endpoint| !scene.is_alias(*endpoint)).count();
        alias_only |= at == 0 && addresses == 0;
        records += addresses;
    }
    pick.left = pick.kept.len();
    let mut limit = Stage::new("limit", pick.left, Vec::new());
    limit.note = Some(match policy.answers {
        Some(1) => "one record in a reply".to_owned(),
        Some(answers) => format!("up to {answers} records in a reply"),
        None if distribution.tiers[0].shares.iter().any(|share| share.endpoints.len() > 1) => {
            format!("one draw for a reply; a pool that steers all gives all that it has, up to {MAX_ANSWERS} records")
        }
        None => "one record in a reply".to_owned(),
    });
    [pick, limit]
}

/// Seconds until the answer could change, and `ttl`: the least time in which any of `considered` could, whole seconds
/// and no more, within the bounds. `given` is how many endpoints came through all other stages.
pub(super) fn ttl(scene: &Scene, bounds: Ttl, considered: &[EndpointId], given: usize) -> (u32, Stage) {
    let (min, max) = (seconds(bounds.min), seconds(bounds.max));
    let soonest = considered.iter().filter_map(|e| Some((scene.may_change_in(*e)?, *e))).min();
    let (ttl, why) = match soonest {
        None => (max, format!("{max} s: nothing that is considered can change, so ttl.max")),
        Some((change, endpoint)) => {
            let name = &scene.model.endpoint(endpoint).name;
            let after = change.as_secs_f64();
            match seconds(change) {
                s if s < min => (min, format!("{min} s: \"{name}\" could change in {after:.1} s, under ttl.min")),
                s if s > max => (max, format!("{max} s: nothing could change sooner, so ttl.max")),
                s => (s, format!("{s} s: \"{name}\" could change in {after:.1} s")),
            }
        }
    };
    (ttl, Stage { note: Some(why), ..Stage::new("ttl", given, Vec::new()) })
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
