//! Mixed policies: names that can be an alias or have addresses. Which of them is one decision for all types. A CNAME
//! excludes other records (RFC 1034, 3.6.2), and a resolver that has one follows it for every type. The decision is
//! about whole endpoints, each up while any of its addresses is; then each type has only candidates of that kind.
//!
//! Where members of both kinds are in one tier, the client's net decides if it decides everything that could mix them;
//! else the kind of the first endpoint in the tier's order does.

use crate::model::{ClientClass, EndpointId, Facet, Model, PolicyId, WorldView};
use crate::steering::client::ClientReader;
use crate::steering::why::Undrawn;
use crate::steering::{
    AnswerSource, Decision, Distribution, Memory, NameKind, Note, Reason, Scene, Share, Sides, Stage, StageName, Tier,
    Why, affinity,
};

/// Decides what a mixed policy is for clients of `class`: [`Decision::kind`]. `memory` is that of the last such
/// decision. The answer is the one for all other types: the CNAME, or no record.
pub fn settle(model: &Model, policy: PolicyId, view: &WorldView, class: &ClientClass, memory: Memory<'_>) -> Decision {
    let policy = model.policy(policy);
    let (facet, sides, standings) = (Facet::Alias, Sides::Whole, memory.standings);
    let client = &ClientReader::new(class);
    Scene { model, view, policy, client, facet, sides, standings }.decide(memory.last_good)
}

/// Decides for `facet` of a mixed policy after `settled`, which [`settle`] gave for the same world and clients.
/// `memory` is that of the facet.
pub fn decide_after(
    model: &Model,
    policy: PolicyId,
    view: &WorldView,
    class: &ClientClass,
    facet: Facet,
    memory: Memory<'_>,
    settled: &Decision,
) -> Decision {
    let policy = model.policy(policy);
    let client = &ClientReader::new(class);
    let scene = |sides| Scene { model, view, policy, client, facet, sides, standings: memory.standings };
    if holds_for_all(settled) {
        return settled.clone();
    }
    if settled.kind == Some(NameKind::ByNet) {
        return by_net(&scene(Sides::Whole), settled);
    }
    if facet == Facet::Alias {
        return settled.clone();
    }
    let mut decision = scene(Sides::Addresses).decide(memory.last_good);
    decision.kind = settled.kind;
    decision.looks_at_client |= settled.looks_at_client;
    if settled.ttl < decision.ttl
        && let (Some(stage), Some(of_kind)) = (decision.stages.last_mut(), settled.stages.last())
    {
        stage.note.clone_from(&of_kind.note);
        decision.ttl = settled.ttl;
    }
    decision
}

/// Whether a decision of [`settle`] is the answer for every type: a CNAME of an endpoint or of the zone file.
pub(crate) fn holds_for_all(settled: &Decision) -> bool {
    settled.kind == Some(NameKind::Alias)
}

/// Leaves only endpoints of one kind, aliases or addresses, in a decision over whole endpoints. Adds the stage `kind`.
pub(super) fn settle_on(scene: &Scene, decision: &mut Decision) {
    let given = match &mut decision.source {
        AnswerSource::Endpoints(given) => given,
        // The zone file can only have a CNAME there.
        AnswerSource::Static => return decision.kind = Some(NameKind::Alias),
        AnswerSource::Nodata => return decision.kind = Some(NameKind::Addresses),
    };
    let entered = given.tiers.iter().flat_map(Tier::endpoints).count();
    let (kind, note) = kind_of(scene, given);
    decision.kind = Some(kind);
    let is_of_kind = |endpoint: &EndpointId| match kind {
        NameKind::Alias => scene.is_cname(*endpoint),
        NameKind::Addresses => !scene.is_cname(*endpoint),
        NameKind::ByNet => true,
    };
    let others = given.tiers.iter().flat_map(Tier::endpoints).filter(|endpoint| !is_of_kind(endpoint));
    let dropped = others.map(|id| Reason::new(id, Why::OfOtherKind)).collect();
    for tier in &mut given.tiers {
        tier.shares.iter_mut().for_each(|share| share.endpoints.retain(is_of_kind));
        tier.shares.retain(|share| !share.endpoints.is_empty());
    }
    given.tiers.retain(|tier| !tier.shares.is_empty());
    decision.stages.push(Stage { note, ..Stage::new(StageName::Kind, entered, dropped) });
}

/// What the first tier is, and why.
fn kind_of(scene: &Scene, given: &Distribution) -> (NameKind, Option<Note>) {
    let shares: Vec<&Share> = given.tiers.first().map_or(&[][..], |tier| &tier.shares).iter().collect();
    let Some(first) = shares.first().and_then(|share| share.endpoints.first()) else {
        return (NameKind::Addresses, None);
    };
    let is_alias = |share: &&Share| share.endpoints.iter().all(|endpoint| scene.is_cname(*endpoint));
    let aliases = shares.iter().filter(|share| is_alias(share)).count();
    let is_mixed = aliases > 0 && aliases < shares.len();
    if is_mixed && affinity::divides(&shares) && affinity::decides_all(&shares, &|share| is_alias(&share)) {
        return (NameKind::ByNet, Some(Note::KindByNet));
    }
    let kind = if scene.is_cname(*first) { NameKind::Alias } else { NameKind::Addresses };
    (kind, Some(Note::KindOf(*first)))
}

/// The draw of `settled` for one type: endpoints without a record of the type are drawn too, and skipped.
fn by_net(scene: &Scene, settled: &Decision) -> Decision {
    let is_before_pick = |stage: &&Stage| stage.name != StageName::Pick;
    let mut decision = Decision {
        facet: scene.facet,
        stages: settled.stages.iter().take_while(is_before_pick).cloned().collect(),
        ..settled.clone()
    };
    if let AnswerSource::Endpoints(given) = &mut decision.source {
        let all: Vec<EndpointId> = given.tiers.iter().flat_map(Tier::endpoints).collect();
        given.blanks = all.into_iter().filter(|endpoint| !has_live_side(scene, *endpoint)).collect();
    }
    scene.close(&mut decision);
    let left = decision.stages.last().map_or(0, |stage| stage.left);
    let note = settled.stages.last().and_then(|stage| stage.note.clone());
    decision.stages.push(Stage { note, ..Stage::new(StageName::Ttl, left, Vec::new()) });
    decision
}

/// Whether an endpoint that is given has a record for the facet that may be given.
fn has_live_side(scene: &Scene, endpoint: EndpointId) -> bool {
    let of_facet = Scene { sides: Sides::OfFacet, ..*scene };
    let mut sides = of_facet.sides(endpoint).peekable();
    let is_given_down = scene.sides(endpoint).all(|side| !scene.is_side_up(endpoint, side));
    sides.peek().is_some() && (is_given_down || sides.any(|side| scene.is_side_up(endpoint, side)))
}

/// Why a draw of this endpoint gives nothing.
pub(super) fn blank(scene: &Scene, endpoint: EndpointId) -> Undrawn {
    let of_facet = Scene { sides: Sides::OfFacet, ..*scene };
    match of_facet.sides(endpoint).next() {
        Some(_) => Undrawn::SideDown,
        None => Undrawn::SideMissing,
    }
}
