//! Explanations in the world of the tests, with two regions and nets that determine the region of a client.

use std::sync::Arc;
use std::time::Duration;

use super::present::present;
use super::*;
use crate::control::test_world;
use crate::model::{
    ClassId, ClientClass, ClientRule, Clients, Member, MemberRef, OnEmpty, Pool, PoolId, Recovery, Rrset, Steering,
};

const NOW: Duration = Duration::from_millis(100_300);

/// `www` is a latency pool of fra1, nyc (a cname) and plain; 127.2.0.0/16 is eu-west's.
fn snapshot(on_empty: OnEmpty, members: &[u32], default_aaaa: bool) -> Snapshot {
    let mut model = test_world::model();
    let member = |id: &u32| Member::new(MemberRef::Endpoint(EndpointId(*id)), 1);
    let members: Vec<Member> = members.iter().map(member).collect();
    let policy = &mut model.policies[0];
    policy.endpoints = members
        .iter()
        .map(|member| match member.to {
            MemberRef::Endpoint(id) => id,
            MemberRef::Pool(_) => unreachable!("only endpoints above"),
        })
        .collect();
    model.pools.push(Pool::new("p", Steering::Latency, members));
    policy.root = MemberRef::Pool(PoolId(0));
    policy.facets = vec![Facet::V4, Facet::V6];
    policy.on_empty = vec![on_empty];
    model.clients = Clients {
        classes: vec![
            ClientClass::default(),
            ClientClass::of_region(Some(RegionId(0))),
            ClientClass::of_region(Some(RegionId(1))),
        ],
        rules: vec![ClientRule { net: "127.2.0.0/16".parse().unwrap(), class: ClassId(1) }],
        ..Clients::default()
    };
    if default_aaaa {
        let mut zone = (*model.zones[0]).clone();
        let owner = zone.steered[0].owner.clone();
        zone.rrsets.push(Rrset { owner, rtype: 28, ttl: 60, rdatas: vec![[0xfd; 16].into()] });
        model.zones[0] = Arc::new(zone);
    }
    test_world::snapshot(model)
}

fn usual() -> Snapshot {
    snapshot(OnEmpty::LastGood, &[0, 1, 2], false)
}

/// Explains `www` without the lookup of the name, which has its own tests.
fn explain_www(snapshot: &Snapshot, rtype: Option<&str>, client: Client<'_>) -> Result<Explanation, ExplainError> {
    let name = Name::parse("WWW.svc.example").unwrap();
    let steered = (ZoneId(0), &snapshot.model.zone(ZoneId(0)).steered[0]);
    explain_steered(snapshot, &name, steered, rtype, client, Moment::from_start(NOW))
}

fn dublin() -> Client<'static> {
    Client::Address("127.2.0.1".parse().unwrap())
}

#[test]
fn the_json_is_as_promised() {
    let explained = explain_www(&usual(), None, dublin()).unwrap();
    let json = serde_json::to_value(&explained).unwrap();
    for (key, expected) in [
        ("name", serde_json::json!("www.svc.example.")),
        ("type", serde_json::json!("A")),
        ("client", serde_json::json!("127.2.0.1")),
        ("class", serde_json::json!("eu-west")),
        ("scope", serde_json::json!(16)),
        ("ttl", serde_json::json!(20)),
        ("ttl_why", serde_json::json!("20 s: nothing that is considered can change, so ttl.max")),
        ("answers", serde_json::json!([{"rdata": "192.0.2.10", "endpoint": "fra1", "probability": 1.0}])),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    let stages: Vec<&str> = json["stages"].as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["candidates", "state", "health", "rank", "tiers", "pick", "limit", "ttl"]);
    let health = &json["stages"][2];
    assert_eq!((&health["in"], &health["out"]), (&serde_json::json!(3), &serde_json::json!(2)));
    assert_eq!(health["dropped"], serde_json::json!([{"endpoint": "nyc", "why": "down"}]));
    assert_eq!(json["evidence"][0]["address"], "192.0.2.10");
    assert_eq!(json["evidence"][0]["rtt_ms"], 1.25);
    assert_eq!(json["evidence"][0]["age_ms"], 300);
    let back: Explanation = serde_json::from_value(json).unwrap();
    assert_eq!(back, explained, "the command line reads what the API writes");
}

#[test]
fn a_client_is_an_address_a_region_or_unlocated() {
    let class = |client| explain_www(&usual(), None, client).unwrap().class;
    assert_eq!(class(dublin()), "eu-west");
    assert_eq!(class(Client::Address("192.0.2.1".parse().unwrap())), "unknown");
    assert_eq!(class(Client::Region("us-east")), "us-east");
    assert_eq!(class(Client::Unlocated), "unknown");
    let error = explain_www(&usual(), None, Client::Region("mars")).unwrap_err();
    assert_eq!(error.to_string(), "no region is called \"mars\"; there are eu-west, us-east");
}

#[test]
fn what_is_not_steered_is_an_error_with_a_reason() {
    let error = |name| explain(&usual(), name, None, dublin(), Moment::START).unwrap_err();
    assert_eq!(error("nothing.svc.example"), ExplainError::NotSteered("nothing.svc.example.".into()));
    assert_eq!(error("svc.example"), ExplainError::NotSteered("svc.example.".into()));
    assert_eq!(error("a..b"), ExplainError::BadName(NameError::EmptyLabel));
    assert_eq!(explain_www(&usual(), Some("MX"), dublin()).unwrap_err(), ExplainError::UnsupportedType("MX".into()));
}

#[test]
fn a_type_without_records_has_an_empty_answer() {
    let explained = explain_www(&usual(), Some("cname"), dublin()).unwrap();
    assert_eq!((explained.answers.len(), explained.stages.len(), explained.stages[0].left), (0, 1, 0));
    assert!(human(&explained).contains("none: the reply is empty (NODATA)"));
}

#[test]
fn an_explanation_shows_on_empty() {
    let all = explain_www(&snapshot(OnEmpty::All, &[1], false), None, dublin()).unwrap();
    assert_eq!(all.answers[0].rdata, "nyc.hosting.example.");
    assert!(all.stages.iter().any(|stage| stage.stage == "on_empty"));
    assert_eq!((all.scope, all.scope_why.as_str()), (0, "the client was not looked at"));
    let fixed = explain_www(&snapshot(OnEmpty::Static, &[0], true), Some("AAAA"), dublin()).unwrap();
    let expected =
        AnswerReport { rdata: "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd".into(), endpoint: None, probability: 1.0 };
    assert_eq!((fixed.ttl, fixed.answers), (20, vec![expected]), "the zone file's 60 s are cut to the policy's");
    let stale = explain_www(&snapshot(OnEmpty::LastGood, &[1], false), None, dublin()).unwrap();
    assert!(stale.stale && human(&stale).contains("EDE 3"));
}

/// `www` is fra1 and plain by the client's net, of which ECS shows `cutoff` bits at most.
fn by_affinity(cutoff: u8) -> Snapshot {
    let mut model = (*usual().model).clone();
    model.pools[0].steering = Steering::Affinity;
    let mut zone = (*model.zones[0]).clone();
    zone.ecs.v4 = cutoff;
    model.zones[0] = Arc::new(zone);
    test_world::snapshot(model)
}

#[test]
fn an_explanation_shows_the_scope_and_the_endpoint_of_affinity() {
    let explained = explain_www(&by_affinity(24), None, dublin()).unwrap();
    assert_eq!(
        (explained.scope, explained.scope_why.as_str()),
        (24, "affinity gives all of 127.2.0.0/24 the same answer")
    );
    assert!(explained.overall.iter().all(|answer| answer.probability == 0.5), "over all nets: {:?}", explained.overall);
    assert_eq!(explained.overall.len(), 2);
    let own: Vec<_> = explained.answers.iter().map(|answer| (answer.endpoint.clone(), answer.probability)).collect();
    assert_eq!(own, [(explained.affinity_endpoint.clone(), 1.0)], "of this client");
    let endpoint_for = |net: u8| {
        let client = Client::Address([127, 2, net, 1].into());
        explain_www(&by_affinity(24), None, client).unwrap().affinity_endpoint.unwrap()
    };
    let all: std::collections::BTreeSet<String> = (0..20).map(endpoint_for).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["fra1", "plain"]);
    let own = format!("affinity  {}: what this client's net gets while that is eligible\n", endpoint_for(0));
    let line = own + "          over all clients: 50 % fra1, 50 % plain\n";
    assert!(human(&explained).contains(&line), "{}", human(&explained));
    let cut = explain_www(&by_affinity(20), None, dublin()).unwrap();
    assert_eq!(cut.scope, 20);
    assert_eq!(cut.scope_why, "affinity gives all of 127.2.0.0/20 the same answer: [ecs] cuts its net off there");
}

#[test]
fn without_an_address_affinity_has_no_endpoint() {
    let explained = explain_www(&by_affinity(24), None, Client::Unlocated).unwrap();
    assert_eq!((explained.scope, explained.affinity_endpoint.as_deref()), (0, None));
    assert_eq!(explained.scope_why, "affinity looks at the client's net, and no address was given");
    let json = serde_json::to_value(explain_www(&usual(), None, dublin()).unwrap()).unwrap();
    for field in ["sticky_endpoint", "affinity_why", "overall"] {
        assert!(json.get(field).is_none(), "where chance decides there is no {field}");
    }
    assert!(explained.overall.is_empty() && explained.answers.iter().all(|answer| answer.probability == 0.5));
}

#[test]
fn an_explanation_shows_ramps_and_when_they_end() {
    let mut model = test_world::model();
    model.endpoints[0].ramp = Duration::from_secs(190);
    model.policies[0].facets = vec![Facet::V4, Facet::V6];
    let snapshot = test_world::snapshot(model);
    let mut view = (*snapshot.view).clone();
    let recovery = Recovery::Since(test_world::PROBED_AT - Duration::from_secs(30));
    view.recoveries = Arc::new([(crate::model::CheckId(0), recovery)].into());
    let ramping = Snapshot { view: Arc::new(view), ..snapshot.clone() };
    let explained = explain_www(&ramping, Some("A"), dublin()).unwrap();
    let json = serde_json::to_value(&explained.ramps).unwrap();
    let expected = serde_json::json!([{
        "endpoint": "fra1", "address": "192.0.2.10", "share": 0.2, "full_in_ms": 159_700
    }]);
    assert_eq!(json, expected);
    let line = "ramp      fra1 (192.0.2.10) has 20 % of its weight, all of it in 2 min";
    assert!(human(&explained).lines().any(|each| each == line), "{}", human(&explained));
    assert!(explain_www(&ramping, Some("AAAA"), dublin()).unwrap().ramps.is_empty(), "the other address stayed");
    let without = serde_json::to_value(explain_www(&snapshot, Some("A"), dublin()).unwrap()).unwrap();
    assert!(without.get("ramps").is_none());
}

#[test]
fn names_keep_their_case() {
    assert_eq!(present(5, b"\x05N\\y.C\x07Hosting\x00"), "N\\\\y\\.C.Hosting.");
    assert_eq!(present(5, b"\x00"), ".");
}

#[test]
fn the_text_fits_one_screen() {
    let text = human(&explain_www(&usual(), None, dublin()).unwrap());
    for line in [
        "www.svc.example. A   (\"www\" of svc.example., generation 2)",
        "client    127.2.0.1, class eu-west: by the net 127.2.0.0/16; the same for all of 127.2.0.0/16",
        "scope     /16: the shortest prefix whose clients are all of this class",
        "   100 %  192.0.2.10               fra1",
        "  health                3    2",
        "    - nyc: down",
        "  ttl                   1    1  20 s: nothing that is considered can change, so ttl.max",
        "fra1           up       ns1 (eu-west)             1.2 ms  300 ms ago",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(text.lines().count() < 40 && text.lines().all(|line| line.len() <= 120), "{text}");
}
