//! An explanation of a policy that has every part of steering: each part of the decision is shown with its reason.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Flags, load};
use crate::control::explain::{Client, Explanation, explain, human};
use crate::model::{
    CheckView, Doubt, EndpointId, Evidence, EvidenceBook, Health, Model, Moment, Override, OverrideState, RegionId,
    VantageState, VantageView, WorldView,
};
use crate::snapshot::compile::compile;
use crate::snapshot::{Identity, Snapshot};

const SETTINGS: &str = r#"
region = "eu"
[clients]
default_region = "eu"
[regions.eu]
nets = ["192.0.2.0/24"]
[regions.us]
nets = ["203.0.113.0/24"]
"#;

const MASTER: &str = "$TTL 600\n@ SOA ns h 1 2 3 4 300\n@ NS ns\nns A 192.0.2.7\n";

const POLICY: &str = r#"
zone = "svc.test."
[monitor.m]
type = "tcp"
port = 80
[endpoint.fra1]
addresses = ["192.0.2.10"]
region = "eu"
country = "DE"
monitor = "m"
[endpoint.fra2]
addresses = ["192.0.2.11"]
region = "eu"
country = "DE"
monitor = "m"
[endpoint.ams1]
addresses = ["192.0.2.12"]
region = "eu"
country = "NL"
monitor = "m"
[endpoint.ams2]
addresses = ["192.0.2.13"]
region = "eu"
country = "NL"
monitor = "m"
[endpoint.nyc]
addresses = ["203.0.113.10"]
region = "us"
country = "US"
monitor = "m"
[pool.thin]
members = ["ams1", "ams2"]
min_up = 0.6
[pool.near]
members = ["fra1", "fra2", "nyc"]
steer = "latency"
band = { ms = 20 }
[pool.order]
members = ["thin", "near"]
steer = "failover"
[pool.world]
steer = "geo"
members = [{ to = "order", when = { nets = ["192.0.2.0/24"] } }, { to = "nyc" }]
[fence.inside]
clients = { nets = ["192.0.2.0/25"] }
allow = { countries = ["DE", "NL"] }
[name.www]
pool = "world"
fence = "inside"
affinity = { v4 = 24, v6 = 56 }
failback = "manual"
"#;

const NOW: Moment = Moment::from_start(Duration::from_secs(100));

/// ams1 is down, so `thin` has half of its weight up; fra1 and fra2 are within the band; fra2 is drained.
fn snapshot() -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("zones")).unwrap();
    for (name, text) in
        [("portolan.toml", SETTINGS), ("zones/svc.test.zone", MASTER), ("zones/svc.test.policy.toml", POLICY)]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let model = load(Some(&dir.path().join("portolan.toml")), &Flags::default()).unwrap().model;
    let view = view(&model);
    compile(Arc::new(model), Arc::new(view), Arc::new(Identity::default()), 1, None)
}

fn view(model: &Model) -> WorldView {
    let mut checks = vec![CheckView::default(); model.checks.len()];
    let mut evidence = vec![Vec::new(); model.checks.len()];
    let mut overrides = std::collections::HashMap::new();
    for (id, endpoint) in (0..).map(EndpointId).zip(&model.endpoints) {
        let health = if endpoint.name == "ams1" { Health::Down } else { Health::Up };
        let rtt = Duration::from_millis(match endpoint.name.as_str() {
            "fra1" => 5,
            "fra2" => 9,
            _ => 80,
        });
        let check = endpoint.answerables[0].check.unwrap();
        let why: Option<Arc<str>> = (health == Health::Down).then(|| "connection refused".into());
        checks[check.0 as usize] = CheckView {
            health,
            tried: true,
            may_change_in: Some(Duration::from_secs(7)),
            rtts: vec![(RegionId(0), rtt)],
            cause: why.clone().map(|why| (why, "ns1".into())),
            ..CheckView::default()
        };
        evidence[check.0 as usize] = vec![Evidence {
            vantage: "ns1".into(),
            region: RegionId(0),
            health,
            rtt: Some(rtt),
            probed_at: Some(NOW),
            why,
            hold: None,
            doubt: Doubt::None,
            is_counted: true,
        }];
        if endpoint.name == "fra2" {
            let entry = Override {
                target: "fra2".into(),
                state: OverrideState::Drain,
                why: "new kernel".into(),
                who: "alice".into(),
                until: None,
                zones: None,
            };
            overrides.insert(id, Arc::new(entry));
        }
    }
    let vantages = vec![VantageView {
        name: "ns1".into(),
        region: RegionId(0),
        state: VantageState::Up,
        why: None,
        reported_at: NOW,
    }];
    WorldView {
        at: NOW,
        checks: checks.into(),
        vantages,
        overrides: Arc::new(overrides),
        evidence: EvidenceBook::Listed(evidence),
        ..WorldView::default()
    }
}

fn explained(client: &str) -> Explanation {
    let later = NOW + Duration::from_millis(300);
    explain(&snapshot(), "www.svc.test", None, Client::Address(client.parse().unwrap()), later).unwrap()
}

/// Why an endpoint was dropped, and in which stage.
fn dropped(explained: &Explanation, endpoint: &str) -> String {
    let mut each = explained.stages.iter().flat_map(|stage| stage.dropped.iter().map(move |reason| (stage, reason)));
    let found = each.find(|(_, reason)| reason.endpoint == endpoint);
    found.map_or_else(String::new, |(stage, reason)| format!("{}: {}", stage.stage, reason.why))
}

#[test]
fn every_stage_shows_the_dropped_endpoints_and_the_reasons() {
    let explained = explained("192.0.2.1");
    let text = human(&explained);
    let stages: Vec<&str> = explained.stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(&stages[..4], ["candidates", "fence", "state", "health"], "{text}");
    assert_eq!(stages[stages.len() - 3..], ["pick", "limit", "ttl"], "{text}");
    for (endpoint, expected) in [
        ("nyc", "fence: outside the fence \"inside\""),
        ("fra2", "state: drained by alice: new kernel"),
        ("ams1", "health: down"),
    ] {
        assert!(
            dropped(&explained, endpoint).starts_with(expected),
            "{endpoint}: {}\n{text}",
            dropped(&explained, endpoint)
        );
        assert!(text.contains(dropped(&explained, endpoint).split_once(": ").unwrap().1), "{text}");
    }
    assert!(dropped(&explained, "ams2").contains("under min_up 60 %"), "{}\n{text}", dropped(&explained, "ams2"));
    // Every endpoint that came in is dropped with a reason, or answered.
    for endpoint in ["fra1", "fra2", "ams1", "ams2", "nyc"] {
        let given = explained.answers.iter().any(|answer| answer.endpoint.as_deref() == Some(endpoint));
        assert_ne!(given, !dropped(&explained, endpoint).is_empty(), "{endpoint}\n{text}");
    }
    let answers: Vec<(&str, f64)> = explained.answers.iter().map(|a| (a.rdata.as_str(), a.probability)).collect();
    assert_eq!(answers, [("192.0.2.10", 1.0)], "{text}");
}

#[test]
fn ttl_scope_and_evidence_have_their_reasons() {
    let explained = explained("192.0.2.1");
    let text = human(&explained);
    assert_eq!(explained.ttl, 7, "{text}");
    assert!(explained.ttl_why.starts_with("7 s: ") && text.contains(&explained.ttl_why), "{}", explained.ttl_why);
    assert!(explained.scope >= 24 && !explained.scope_why.is_empty() && text.contains(&explained.scope_why), "{text}");
    let evidence = explained.evidence.iter().find(|one| one.endpoint == "ams1").unwrap();
    assert_eq!(
        (
            evidence.vantage.as_str(),
            evidence.region.as_str(),
            evidence.address.as_str(),
            evidence.age_ms,
            evidence.why.as_deref()
        ),
        ("ns1", "eu", "192.0.2.12", Some(300), Some("connection refused"))
    );
    assert!(text.contains("300 ms ago  connection refused"), "{text}");
}

#[test]
fn a_client_outside_the_fence_and_without_a_match_gets_the_rest_and_the_reason() {
    let explained = explained("203.0.113.1");
    let text = human(&explained);
    let answers: Vec<(Option<&str>, f64)> =
        explained.answers.iter().map(|a| (a.endpoint.as_deref(), a.probability)).collect();
    assert_eq!(answers, [(Some("nyc"), 1.0)], "{text}");
    assert!(text.contains("\"inside\" does not apply to this client"), "{text}");
    assert!(!dropped(&explained, "fra1").is_empty(), "{text}");
}
