//! The last stages: which endpoints a reply can hold at all, how many, and for how long it may be kept. Probabilities
//! are worked out where someone asks for them; here it is only said who can't be drawn.

use std::time::Duration;

use crate::model::{AffinityNet, EndpointId, MAX_ANSWERS, PoolId};
use crate::steering::kind::blank_words;
use crate::steering::operator::ends_in;
use crate::steering::tiers::plain;
use crate::steering::{Distribution, Prospects, Reason, Scene, Share, Stage, Tier, affinity};

/// The name of the last stage.
pub(super) const TTL: &str = "ttl";

/// What can be drawn.
pub(super) struct Picked {
    /// `pick` and `limit`.
    pub(super) stages: [Stage; 2],
    /// How much of a client's address the draw looks at, where it does.
    pub(super) affinity: Option<AffinityNet>,
}

/// Who can be drawn, and what decides.
pub(super) fn pick_and_limit(scene: &Scene, distribution: &Distribution) -> Picked {
    let mut pick = Stage::new("pick", distribution.tiers.iter().flat_map(Tier::endpoints).count(), Vec::new());
    let mut records = 0;
    let mut alias_only = false;
    let mut by_net = false;
    for (at, tier) in distribution.tiers.iter().enumerate() {
        let full = at > 0 && ((distribution.draws == 1 && records > 0) || records >= distribution.limit);
        let total = plain(tier.shares.iter().map(|share| share.weight).sum());
        // What is blank is drawn too: the net decides between it and the rest, though one alone is left to give.
        let mut drawn: Vec<&Share> = Vec::with_capacity(tier.shares.len());
        for share in &tier.shares {
            let alias = scene.is_alias(share.endpoints[0]);
            let blank = distribution.blanks.contains(&share.endpoints[0]);
            let blank = blank.then(|| blank_words(scene, share.endpoints[0]));
            let barred = if let Some(blank) = &blank {
                Some(blank.as_str())
            } else if alias_only {
                Some("an alias comes first, and stands alone")
            } else if full {
                Some("the tiers before it fill the reply")
            } else if alias && at > 0 {
                Some("an alias can't follow addresses")
            } else {
                None
            };
            if blank.is_some() || barred.is_none() {
                drawn.push(share);
            }
            let (why, told) = match barred {
                Some(why) => (format!("tier {}: {why}", at + 1), &mut pick.dropped),
                None => (format!("tier {}: weight {} of {total}", at + 1, plain(share.weight)), &mut pick.kept),
            };
            told.extend(share.endpoints.iter().map(|endpoint| Reason::new(*endpoint, why.as_str())));
        }
        by_net |= affinity::divides(&drawn);
        let is_address = |endpoint: &EndpointId| !scene.is_alias(*endpoint) && !distribution.blanks.contains(endpoint);
        let addresses = tier.endpoints().filter(is_address).count();
        alias_only |= at == 0 && tier.endpoints().all(|endpoint| scene.is_alias(endpoint));
        records += addresses;
    }
    pick.left = pick.kept.len();
    let affinity = by_net.then(|| affinity::net(scene));
    pick.note = affinity.map(|net| format!("by the client's net (/{}; IPv6 /{})", net.v4, net.v6));
    let mut limit = Stage::new("limit", pick.left, Vec::new());
    limit.note = Some(match scene.policy.answers {
        Some(1) => "one record in a reply".to_owned(),
        Some(answers) => format!("up to {answers} records in a reply"),
        None if distribution.tiers[0].shares.iter().any(|share| share.endpoints.len() > 1) => {
            format!("one draw for a reply; a pool that steers all gives all that it has, up to {MAX_ANSWERS} records")
        }
        None => "one record in a reply".to_owned(),
    });
    Picked { stages: [pick, limit], affinity }
}

/// Seconds until the answer could change, and `ttl`: the least time in which the health of any that counts could, or a
/// pool will choose otherwise; whole seconds and no more, within the bounds. `given` is how many endpoints came
/// through all other stages.
pub(super) fn ttl(scene: &Scene, prospects: &Prospects, given: usize) -> (u32, Stage) {
    let (min, max) = (seconds(scene.policy.ttl.min), seconds(scene.policy.ttl.max));
    let (ttl, why) = match soonest(scene, prospects) {
        None => (max, format!("{max} s: nothing that is considered can change, so ttl.max")),
        Some((change, what)) => {
            let after = change.as_secs_f64();
            match seconds(change) {
                s if s < min => (min, format!("{min} s: {what} in {after:.1} s, under ttl.min")),
                s if s > max => (max, format!("{max} s: nothing could change sooner, so ttl.max")),
                s => (s, format!("{s} s: {what} in {after:.1} s")),
            }
        }
    };
    (ttl, Stage { note: Some(why), ..Stage::new(TTL, given, Vec::new()) })
}

/// What may change next, in words, and when.
fn soonest(scene: &Scene, prospects: &Prospects) -> Option<(Duration, String)> {
    let endpoints = prospects.considered.iter().filter_map(|e| Some((scene.may_change_in(*e)?, *e)));
    let endpoints = endpoints.map(|(change, endpoint)| (change, What::Endpoint(endpoint)));
    let pools = prospects.dues.iter().map(|(due, pool)| (due.since(scene.view.at), What::Pool(*pool)));
    let ramps = prospects.ramps.iter().map(|(due, endpoint)| (due.since(scene.view.at), What::Ramp(*endpoint)));
    let ends = prospects.inside.iter().filter_map(|e| Some((ends_in(scene, *e)?, What::Override(*e))));
    // The first of several at once, as listed.
    let (change, what) = endpoints.chain(pools).chain(ramps).chain(ends).min_by_key(|(change, _)| *change)?;
    let name = |endpoint| &scene.model.endpoint(endpoint).name;
    Some((
        change,
        match what {
            What::Endpoint(endpoint) => format!("\"{}\" could change", name(endpoint)),
            What::Pool(pool) => format!("pool \"{}\" may choose otherwise", scene.model.pool(pool).name),
            What::Ramp(endpoint) => format!("the weight of \"{}\" grows", name(endpoint)),
            What::Override(endpoint) => format!("the override of \"{}\" ends", name(endpoint)),
        },
    ))
}

/// What may change.
enum What {
    Endpoint(EndpointId),
    Pool(PoolId),
    Ramp(EndpointId),
    Override(EndpointId),
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
