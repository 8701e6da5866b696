//! The last stages: which endpoints a reply can have at all, how many, and for how long it may be cached. The
//! probabilities are in [`probability`](super::probability).

use std::time::Duration;

use crate::model::{AffinityNet, EndpointId};
use crate::steering::exclusive::is_active_unknown;
use crate::steering::mixed::blank;
use crate::steering::operator::ends_in;
use crate::steering::why::{Change, Changing, TtlBound, Undrawn};
use crate::steering::{Distribution, Note, Prospects, Reason, Scene, Share, Stage, StageName, Tier, Why, affinity};

/// What can be drawn.
pub(super) struct Picked {
    /// `pick` and `limit`.
    pub(super) stages: [Stage; 2],
    /// How much of a client's address the draw looks at, where it does.
    pub(super) affinity: Option<AffinityNet>,
}

/// Which endpoints can be drawn, and whether the client's net decides the draw.
pub(super) fn pick_and_limit(scene: &Scene, distribution: &Distribution) -> Picked {
    let entered = distribution.tiers.iter().flat_map(Tier::endpoints).count();
    let mut pick = Stage::new(StageName::Pick, entered, Vec::new());
    let mut records = 0;
    let mut alias_only = false;
    let mut by_net = false;
    for (at, tier) in distribution.tiers.iter().enumerate() {
        let full = at > 0 && ((distribution.draws == 1 && records > 0) || records >= distribution.limit);
        let total = tier.shares.iter().map(|share| share.weight).sum();
        let blank_of = |endpoint: EndpointId| distribution.blanks.contains(&endpoint).then(|| blank(scene, endpoint));
        let barred = |first: EndpointId| {
            if alias_only {
                Some(Undrawn::AfterAlias)
            } else if full {
                Some(Undrawn::TiersFull)
            } else {
                (at > 0 && scene.is_alias(first)).then_some(Undrawn::AliasAfterAddresses)
            }
        };
        // Blanks are drawn too: the net may decide between them and the only share that has a record.
        let is_drawn = |share: &&Share| {
            barred(share.endpoints[0]).is_none() || share.endpoints.iter().all(|endpoint| blank_of(*endpoint).is_some())
        };
        let drawn: Vec<&Share> = tier.shares.iter().filter(is_drawn).collect();
        for (endpoint, weight) in tier.weights() {
            let (why, reasons) = match blank_of(endpoint).or_else(|| barred(endpoint)) {
                Some(because) => (Why::NotDrawn { tier: at + 1, because }, &mut pick.dropped),
                None => (Why::Drawn { tier: at + 1, weight, total }, &mut pick.passed),
            };
            reasons.push(Reason::new(endpoint, why));
        }
        by_net |= affinity::divides(&drawn);
        let is_address = |endpoint: &EndpointId| !scene.is_alias(*endpoint) && !distribution.blanks.contains(endpoint);
        let addresses = tier.endpoints().filter(is_address).count();
        alias_only |= at == 0 && tier.endpoints().all(|endpoint| scene.is_alias(endpoint));
        records += addresses;
    }
    pick.left = pick.passed.len();
    let affinity = by_net.then(|| affinity::net(scene));
    pick.note = affinity.map(Note::ByNet);
    let mut limit = Stage::new(StageName::Limit, pick.left, Vec::new());
    let is_group = |share: &Share| share.endpoints.len() > 1;
    limit.note = Some(match scene.policy.answers {
        Some(answers) => Note::Limit(answers),
        None if distribution.tiers[0].shares.iter().any(is_group) => Note::OneDraw,
        None => Note::Limit(1),
    });
    Picked { stages: [pick, limit], affinity }
}

/// The TTL in seconds, and the stage `ttl`. The TTL is the time until the first of `prospects` could happen, rounded
/// down, and limited by the bounds of the policy. `given` is how many endpoints came through all other stages.
pub(super) fn ttl(scene: &Scene, prospects: &Prospects, given: usize) -> (u32, Stage) {
    let (min, max) = (seconds(scene.policy.ttl.min), seconds(scene.policy.ttl.max));
    let (ttl, bound) = match soonest(scene, prospects) {
        None => (max, TtlBound::NoChange),
        Some((time, of)) => match seconds(time) {
            s if s < min => (min, TtlBound::Min(Change::after(time, of))),
            s if s > max => (max, TtlBound::Max),
            s => (s, TtlBound::Change(Change::after(time, of))),
        },
    };
    (ttl, Stage { note: Some(Note::Ttl(bound)), ..Stage::new(StageName::Ttl, given, Vec::new()) })
}

/// What may change next, and when.
fn soonest(scene: &Scene, prospects: &Prospects) -> Option<(Duration, Changing)> {
    let now = scene.view.at;
    let healths = prospects.considered.iter().filter_map(|e| Some((scene.may_change_in(*e)?, Changing::Health(*e))));
    let pools = prospects.dues.iter().map(|(due, pool)| (due.since(now), Changing::Pool(*pool)));
    let ramps = prospects.ramps.iter().map(|(due, endpoint)| (due.since(now), Changing::Ramp(*endpoint)));
    let ends = prospects.inside.iter().filter_map(|e| Some((ends_in(scene, *e)?, Changing::Override(*e))));
    let lease = is_active_unknown(scene).then_some((Duration::ZERO, Changing::Lease));
    // The first of several at once, as listed.
    healths.chain(pools).chain(ramps).chain(ends).chain(lease).min_by_key(|(time, _)| *time)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
