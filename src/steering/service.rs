//! What is different for services. An SRV reply has all records, and the client chooses (RFC 2782), so nothing is
//! drawn, unless the name limits the records to fewer. HTTPS and SVCB are drawn as addresses are, and have the
//! addresses that are up as hints (RFC 9460, 7.3).

use std::net::IpAddr;

use crate::model::{AnswerRdata, EndpointId, Facet};
use crate::steering::tiers::one_by_one;
use crate::steering::{Distribution, Note, Reason, Scene, Stage, StageName, Tier, Why};

/// Most SRV records of a reply.
fn limit(scene: &Scene, distribution: &Distribution) -> usize {
    scene.policy.answers.unwrap_or(distribution.limit)
}

/// Whether each SRV reply has all of it. Otherwise it is drawn as addresses are: the first records in listed order
/// would give the others nothing.
pub(super) fn is_whole(scene: &Scene, distribution: &Distribution) -> bool {
    distribution.fits_in(limit(scene, distribution))
}

/// `pick` and `limit` where nothing is picked: every reply has all of `distribution`.
pub(super) fn all_of(scene: &Scene, distribution: &mut Distribution) -> [Stage; 2] {
    let limit = limit(scene, distribution);
    let mut pick = Stage::new(StageName::Pick, distribution.tiers.iter().flat_map(Tier::endpoints).count(), Vec::new());
    // A record has one weight, however many shares have its endpoint.
    for tier in distribution.tiers.iter_mut().filter(|tier| tier.repeats()) {
        tier.shares = one_by_one(tier);
    }
    for (at, tier) in distribution.tiers.iter().enumerate() {
        let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
        for share in &tier.shares {
            let why = || Why::Drawn { tier: at + 1, weight: share.weight, total };
            pick.passed.extend(share.endpoints.iter().map(|endpoint| Reason::new(*endpoint, why())));
        }
    }
    pick.note = Some(Note::NotPicked);
    (distribution.draws, distribution.limit) = (pick.left, pick.left);
    let note = Some(Note::Limit(limit));
    let limit = Stage { note, ..Stage::new(StageName::Limit, pick.left, Vec::new()) };
    [pick, limit]
}

/// The address hints of the endpoints in a distribution.
pub(super) fn hints(scene: &Scene, distribution: &Distribution) -> Vec<(EndpointId, IpAddr)> {
    match scene.facet {
        Facet::Https | Facet::Svcb => {
            let given = distribution.tiers.iter().flat_map(Tier::endpoints);
            given.flat_map(|endpoint| of_endpoint(scene, endpoint)).collect()
        }
        Facet::V4 | Facet::V6 | Facet::Alias | Facet::Srv => Vec::new(),
    }
}

fn of_endpoint(scene: &Scene, endpoint: EndpointId) -> Vec<(EndpointId, IpAddr)> {
    let sides = &scene.model.endpoint(endpoint).answerables;
    let addresses = |only_up: bool| -> Vec<(EndpointId, IpAddr)> {
        let up = sides.iter().filter(|side| !only_up || scene.is_side_up(endpoint, side));
        up.filter_map(|side| match side.rdata {
            AnswerRdata::Address(ip) => Some((endpoint, ip)),
            AnswerRdata::Cname(_) => None,
        })
        .collect()
    };
    let up = addresses(true);
    if up.is_empty() { addresses(false) } else { up }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OnEmpty, Steering};
    use crate::steering::AnswerSource;
    use crate::steering::test_world::SteeringWorld;

    fn web(steering: Steering) -> SteeringWorld {
        let world = SteeringWorld::new().endpoint("a", "eu").endpoint("b", "us").endpoint("c", "ap");
        world.pool("p", steering, "a:70 b:30 c:0")
    }

    /// What is given for `facet`, in short, with each hint as the endpoint's letter and the family.
    fn check(sentence: &str, world: SteeringWorld, facet: Facet, expected: &str) {
        let decision = world.decide("eu", facet, None);
        let hint = |(endpoint, ip): &(EndpointId, IpAddr)| {
            format!(" {}{}", world.model.endpoint(*endpoint).name, if ip.is_ipv4() { 4 } else { 6 })
        };
        let hints: String = decision.hints.iter().map(hint).collect();
        assert_eq!(format!("{}{hints}", world.render(&decision)), expected, "{sentence}");
        assert_eq!(world.flaw(&decision), None, "{sentence}");
        if let (Facet::Srv, AnswerSource::Endpoints(given)) = (facet, &decision.source)
            && given.fits()
        {
            let odds = given.probabilities(|_| false);
            assert!(odds.iter().all(|(_, odd)| *odd == 1.0), "{sentence}: all of it is in every reply: {odds:?}");
        }
    }

    #[test]
    fn srv_gives_all_that_is_up() {
        use Facet::Srv;
        use Steering::{All, Failover, Nearest, Weighted};
        check("by weight, no standby", web(Weighted), Srv, "a=70 b=30");
        check("all at once", web(All), Srv, "[a b]");
        check("the first alone", web(Failover), Srv, "a");
        check("by distance", web(Nearest), Srv, "a | b");
        check("one address is enough", web(Weighted).down_in("a", Facet::V4), Srv, "a=70 b=30");
        check("none isn't", web(Weighted).down("a"), Srv, "b");
        check("a standby when all are out", web(Weighted).down("a b"), Srv, "c");
        check("on_empty as ever", web(Weighted).down("a b c").on_empty(OnEmpty::Nodata), Srv, "nodata");
        let mixed = SteeringWorld::new()
            .endpoint("a", "eu")
            .alias("z", "us")
            .pool("p", Weighted, "a z")
            .answers(2)
            .types(&[Srv]);
        check("an alias is a target like any other", mixed, Srv, "a=50 z=50");
    }

    #[test]
    fn fewer_srv_records_than_endpoints_are_drawn_as_addresses_are() {
        use Steering::{Affinity, All, Nearest, Weighted};
        for (what, steering, answers) in [
            ("by weight", Weighted, 1),
            ("the best tier first", Nearest, 1),
            ("any of a group", All, 1),
            ("by the client's net", Affinity, 1),
            ("two of three", Nearest, 2),
        ] {
            let world = web(steering).answers(answers);
            let [srv, addresses] = [Facet::Srv, Facet::V4].map(|facet| world.decide("eu", facet, None));
            let (AnswerSource::Endpoints(srv_given), AnswerSource::Endpoints(given)) = (&srv.source, &addresses.source)
            else {
                panic!("{what}: nothing is given");
            };
            assert_eq!(srv_given, given, "{what}");
            assert_eq!((srv.affinity, srv.stages.last()), (addresses.affinity, addresses.stages.last()), "{what}");
        }
        let both = web(Weighted).answers(2).decide("eu", Facet::Srv, None);
        let AnswerSource::Endpoints(given) = &both.source else { panic!("nothing is given") };
        assert!(given.fits(), "a and b, for c is a standby");
    }

    #[test]
    fn hints_are_what_is_up_or_all_of_what_is_given_anyway() {
        use Facet::{Https, Svcb};
        use Steering::Weighted;
        check("both families", web(Weighted), Https, "a=70 b=30 a4 a6 b4 b6");
        check("one of them", web(Weighted).down_in("a", Facet::V6).down("b"), Svcb, "a a4");
        let last = web(Weighted).down("a b c").on_empty(OnEmpty::All);
        check("none, and given because nothing better is left", last, Https, "a=54 b=23 c=23 a4 a6 b4 b6 c4 c6");
    }
}
