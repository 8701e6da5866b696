//! Which instances stay, in a model with one pool whose checks are set by hand.

use std::sync::Arc;
use std::time::Duration;

use crate::discovery::endpoints::StatedEndpoints;
use crate::discovery::leaving::{ALARM_AFTER, LONGEST_STAY, Leaving, Served, joined};
use crate::model::{
    AnswerRdata, Answerable, CheckId, CheckView, Discovered, DiscoveredEndpoint, DiscoveredPool, Ecs, Endpoint,
    EndpointId, Facet, Health, Member, MemberRef, Model, Moment, Pool, Steering, WorldView, Zone, ZoneId,
};

const AT: Moment = Moment::from_start(Duration::from_secs(1000));

fn spec(min_keep: f64) -> DiscoveredPool {
    DiscoveredPool { monitor: Some("web".to_owned()), max: 10, min_keep, ..DiscoveredPool::web() }
}

/// `a1 b2`: the instance `a` at 192.0.2.1, and `b` at 192.0.2.2.
fn listed(all: &str) -> StatedEndpoints {
    let endpoints = all.split_whitespace().map(|of| {
        let (name, last) = of.split_at(1);
        Arc::new(DiscoveredEndpoint {
            name: name.to_owned(),
            addresses: vec![format!("192.0.2.{last}").parse().unwrap()],
            cname: None,
            probe: None,
            port: Some(80),
            weight: 1,
            region: None,
            country: None,
            capacity: None,
        })
    });
    StatedEndpoints { endpoints: endpoints.collect(), ..StatedEndpoints::default() }
}

/// A model with these endpoints, of which those at the addresses that end with `up` are up.
fn served(spec: &DiscoveredPool, of: &[Arc<DiscoveredEndpoint>], up: &[u8]) -> (Model, WorldView) {
    let mut model = Model { sources: vec![Arc::new(spec.clone())], ..Model::default() };
    let (rrsets, steered) = (Vec::new(), Vec::new());
    model.zones.push(Arc::new(Zone { apex: spec.zone.clone(), rrsets, steered, ecs: Ecs::default() }));
    let mut checks = Vec::new();
    for (at, endpoint) in of.iter().enumerate() {
        let ip = endpoint.addresses[0];
        let side = Answerable::new(Facet::V4, AnswerRdata::Address(ip), Some(CheckId(at as u32)));
        let discovered = Some(Discovered { source: 0, endpoint: endpoint.clone(), is_probed_there: true });
        model.endpoints.push(Endpoint { discovered, ..Endpoint::new(&*endpoint.name, ZoneId(0), vec![side]) });
        let is_up = up.iter().any(|last| ip.to_string().ends_with(&format!(".{last}")));
        let health = if is_up { Health::Up } else { Health::Down };
        checks.push(CheckView { health, tried: true, ..CheckView::default() });
    }
    let members = (0..of.len() as u32).map(|id| Member::new(MemberRef::Endpoint(EndpointId(id)), 1)).collect();
    model.pools.push(Pool::new("web", Steering::Weighted, members));
    (model, WorldView { checks: checks.into_iter().collect(), ..WorldView::default() })
}

fn names(leaving: &Leaving) -> Vec<String> {
    leaving.endpoints().iter().map(|of| of.name.clone()).collect()
}

/// What stays when the list `before` becomes `after`, while these are up.
fn replaced(spec: &DiscoveredPool, before: &str, after: &str, up: &[u8]) -> Leaving {
    let [before, after] = [before, after].map(listed);
    let (model, view) = served(spec, &before.endpoints, up);
    let known = Served { model: &model, view: &view, spec };
    let mut leaving = Leaving::default();
    leaving.replace([&before, &after], &known, AT);
    leaving.settle(&after, &known, AT);
    leaving
}

#[test]
fn what_is_served_stays_while_nothing_else_is_up() {
    let spec = spec(0.5);
    for (what, before, after, up, expected) in [
        ("one is replaced", "a1", "b2", &[1][..], &["a"][..]),
        ("all are replaced", "a1 b2", "c3 d4", &[1, 2], &["a", "b"]),
        ("the same names are elsewhere", "a1 b2", "a3 b4", &[1, 2], &["a", "b"]),
        ("another one is up", "a1 b2", "b2", &[1, 2], &[]),
        ("the other one is down", "a1 b2", "b2", &[1], &["a"]),
        ("what is down is no help", "a1 b2", "c3", &[1], &["a"]),
        ("it was down, and another one is there", "a1 b2", "b2", &[], &[]),
    ] {
        assert_eq!(names(&replaced(&spec, before, after, up)), expected, "{what}");
    }
}

#[test]
fn it_goes_when_a_new_one_is_up_and_a_wrong_list_takes_nothing() {
    let spec = spec(0.5);
    let after = listed("a3");
    let leaving = replaced(&spec, "a1", "a3", &[1]);
    let next = joined(&after.endpoints, &leaving.endpoints());
    assert_eq!(next.iter().map(|of| &*of.name).collect::<Vec<_>>(), ["a", "a-192.0.2.1"], "both are in the next model");
    for (up, late, expected) in [
        (&[1, 3][..], Duration::ZERO, 0),
        (&[1], ALARM_AFTER, 1),
        (&[1], LONGEST_STAY * 100, 1),
        (&[], LONGEST_STAY * 100, 1),
    ] {
        let (model, view) = served(&spec, &next, up);
        let mut leaving = leaving.clone();
        leaving.settle(&after, &Served { model: &model, view: &view, spec: &spec }, AT + late);
        assert_eq!((leaving.endpoints().len(), leaving.overdue(AT + late)), (expected, expected), "{up:?} {late:?}");
    }
    let mut again = leaving.clone();
    let (model, view) = served(&spec, &next, &[1]);
    again.settle(&listed("a1"), &Served { model: &model, view: &view, spec: &spec }, AT);
    assert!(again.is_empty(), "it is listed again");
}

#[test]
fn a_stay_ends_where_enough_is_still_listed() {
    for (min_keep, before, after) in [(0.5, "a1 b2", "b2"), (0.0, "a1", "b2")] {
        let (spec, stated) = (spec(min_keep), listed(after));
        let leaving = replaced(&spec, before, after, &[1]);
        assert_eq!(names(&leaving), ["a"]);
        let (model, view) = served(&spec, &joined(&stated.endpoints, &leaving.endpoints()), &[1]);
        for (late, expected) in [(LONGEST_STAY - Duration::from_secs(1), 1), (LONGEST_STAY, 0)] {
            let mut leaving = leaving.clone();
            leaving.settle(&stated, &Served { model: &model, view: &view, spec: &spec }, AT + late);
            assert_eq!((leaving.endpoints().len(), leaving.overdue(AT + late)), (expected, 0), "{min_keep}");
        }
    }
}
