//! The questions that a client repeats during a drill: those whose answers have a lost endpoint now, and for each an
//! address that is of the class of clients in question. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use crate::control::explain::class_name;
use crate::control::simulate::load::{parts, served};
use crate::control::simulate::weights::{names_by_policy, queried_facets};
use crate::drill::{DrillQuestion, LostSet, MAX_QUESTIONS};
use crate::model::{AnswerRdata, ClassId, EndpointId, Facet, Model, PolicyId, SteeredName, Zone};
use crate::snapshot::{KnownBy, LocalClass, Snapshot};
use crate::wire::Name;

/// Most spans of addresses in which a client is looked for. Judgment: a city database has some million; a region that
/// has none in the first ones is not measured.
const MAX_SPANS: usize = 200_000;

/// What is asked instead of the `*` of a wildcard.
const ANY_LABEL: &str = "portolan-drill";

/// A question, and how likely a lost endpoint is in its answer.
struct Candidate {
    policy: PolicyId,
    facet: Facet,
    class: LocalClass,
    probability: f64,
}

/// The questions, the likeliest first, each name once before any name twice; and how many there is no room for.
pub(super) fn questions(snapshot: &Snapshot, lost: &LostSet, own: IpAddr) -> (Vec<DrillQuestion>, usize) {
    let mut candidates = candidates(snapshot, lost);
    candidates.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let (names, clients) = (names_by_policy(&snapshot.model), clients_of(snapshot));
    let mut found: Vec<(usize, DrillQuestion)> = Vec::new();
    let mut count_by_name: HashMap<String, usize> = HashMap::new();
    let mut left_out = 0;
    for candidate in &candidates {
        for (zone, at) in &names[candidate.policy.0 as usize] {
            let zone = snapshot.model.zone(*zone);
            if found.len() >= MAX_QUESTIONS * MAX_QUESTIONS {
                left_out += 1;
                continue;
            }
            match question(snapshot, lost, candidate, (zone, &zone.steered[*at]), (own, &clients)) {
                Some(question) => {
                    let nth = count_by_name.entry(question.name.clone()).or_default();
                    found.push((*nth, question));
                    *nth += 1;
                }
                None => left_out += 1,
            }
        }
    }
    found.sort_by_key(|(nth, _)| *nth);
    left_out += found.len().saturating_sub(MAX_QUESTIONS);
    found.truncate(MAX_QUESTIONS);
    (found.into_iter().map(|(_, question)| question).collect(), left_out)
}

/// The decisions that give a lost endpoint.
fn candidates(snapshot: &Snapshot, lost: &LostSet) -> Vec<Candidate> {
    let model = &*snapshot.model;
    let mut candidates = Vec::new();
    for policy in (0..model.policies.len() as u32).map(PolicyId) {
        let is_concerned = model.policy(policy).endpoints.iter().any(|id| lost.endpoints.contains(id));
        let is_queried = |facet: &Facet| matches!(facet, Facet::V4 | Facet::V6 | Facet::Alias);
        for facet in queried_facets(model.policy(policy)).into_iter().filter(is_queried).filter(|_| is_concerned) {
            for (class, decision) in served(snapshot, policy, facet) {
                let given = parts(model, decision).into_iter().filter(|(id, _)| lost.endpoints.contains(id));
                let probability: f64 = given.map(|(_, part)| part).sum();
                if probability > 0.0 {
                    candidates.push(Candidate { policy, facet, class, probability });
                }
            }
        }
    }
    candidates
}

fn question(
    snapshot: &Snapshot,
    lost: &LostSet,
    candidate: &Candidate,
    (zone, name): (&Zone, &SteeredName),
    (own, clients): (IpAddr, &HashMap<ClassId, Vec<IpAddr>>),
) -> Option<DrillQuestion> {
    let (model, Candidate { policy, facet, class, probability }) = (&*snapshot.model, candidate);
    let is_own = snapshot.place(own, *policy, KnownBy::Address).0 == *class;
    let client = match (is_own, zone.ecs.enabled) {
        (true, _) => None,
        (false, false) => return None,
        (false, true) => {
            let of_class = clients.iter().filter(|(id, _)| snapshot.local(*policy, **id) == *class);
            let mut addresses: Vec<IpAddr> = of_class.flat_map(|(_, addresses)| addresses).copied().collect();
            addresses.sort_unstable();
            Some(addresses.into_iter().find(|ip| snapshot.place(*ip, *policy, KnownBy::Ecs).0 == *class)?)
        }
    };
    let first = snapshot.first_class(*policy, *class);
    let fence = model.policy(*policy).fence.map(|id| model.fence(id));
    let is_held = |selector| model.clients.classes.get(usize::from(first.0)).is_some_and(|of| of.is_selected(selector));
    let allowed = fence.filter(|fence| is_held(fence.clients)).map(|fence| records(model, fence.inside.iter()));
    Some(DrillQuestion {
        name: name.owner.to_string().replacen('*', ANY_LABEL, 1),
        rtype: facet.as_str().to_owned(),
        client,
        class: class_name(model, first),
        probability: *probability,
        rto_ms: name.rto.map(|rto| rto.as_secs_f64() * 1000.0),
        lost: records(model, lost.endpoints.iter()),
        allowed,
    })
}

/// The records of these endpoints as text.
fn records<'a>(model: &Model, endpoints: impl Iterator<Item = &'a EndpointId>) -> Vec<String> {
    let sides = endpoints.flat_map(|id| &model.endpoint(*id).answerables);
    let texts = sides.filter_map(|side| match &side.rdata {
        AnswerRdata::Address(ip) => Some(ip.to_string()),
        AnswerRdata::Cname(target) => Some(Name::from_wire(target)?.to_string().to_lowercase()),
    });
    texts.collect::<BTreeSet<String>>().into_iter().collect()
}

/// Some addresses of each class of the model.
fn clients_of(snapshot: &Snapshot) -> HashMap<ClassId, Vec<IpAddr>> {
    /// Nets of several lengths may decide about one address.
    const OF_EACH: usize = 4;
    let clients = &snapshot.model.clients;
    let mut found: HashMap<ClassId, Vec<IpAddr>> = HashMap::new();
    let mut add = |class: ClassId, ip: IpAddr| {
        let of_class = found.entry(class).or_default();
        if of_class.len() < OF_EACH && !of_class.contains(&ip) {
            of_class.push(ip);
        }
    };
    for ranges in clients.placement.iter().flat_map(|placement| &placement.ranges) {
        for (start, class) in ranges.v4.iter().take(MAX_SPANS) {
            // The address 0.0.0.0 is no client.
            add(class, Ipv4Addr::from(start.max(1)).into());
        }
    }
    for rule in &clients.rules {
        add(rule.class, rule.net.network());
    }
    found
}
