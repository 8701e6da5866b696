//! A small world for the tests of `control` and `telemetry`: one zone, three endpoints, one vantage.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::control::{ApiState, Command, Controls, Journal, Readiness, ReloadStatus};
use crate::health::BeatSender;
use crate::model::*;
use crate::snapshot::{Identity, Snapshot, TallyRun, TallyTable, Transition, compile};
use crate::wire::Name;

/// When the probes of [`view`] ended.
pub(crate) const PROBED_AT: Moment = Moment::from_start(Duration::from_secs(100));

/// `svc.example.` with `fra1` (both families, region eu-west), `nyc` (a cname, us-east) and `plain` (no monitor, no
/// region).
pub(crate) fn model() -> Model {
    let region = |name: &str| Region { name: name.into(), location: None };
    let answerable = Answerable::new;
    let endpoint = |name: &str, region: Option<u16>, answerables| {
        let region = region.map(RegionId);
        Endpoint { region, ..Endpoint::new(name, ZoneId(0), answerables) }
    };
    let address = |ip: &str| AnswerRdata::Address(ip.parse().unwrap());
    let alias = AnswerRdata::Cname(Name::parse("nyc.hosting.example").unwrap().as_wire().into());
    Model {
        regions: vec![region("eu-west"), region("us-east")],
        zones: vec![Arc::new(zone())],
        endpoints: vec![
            endpoint(
                "fra1",
                Some(0),
                vec![
                    answerable(Facet::V4, address("192.0.2.10"), Some(CheckId(0))),
                    answerable(Facet::V6, address("2001:db8:1::10"), Some(CheckId(1))),
                ],
            ),
            endpoint("nyc", Some(1), vec![answerable(Facet::Alias, alias, Some(CheckId(2)))]),
            endpoint("plain", None, vec![answerable(Facet::V4, address("192.0.2.99"), None)]),
        ],
        // The policy has no facet, so nothing is decided: these tests read names, health and RTTs.
        policies: vec![Policy::new(
            ZoneId(0),
            MemberRef::Endpoint(EndpointId(0)),
            vec![EndpointId(0), EndpointId(1), EndpointId(2)],
            vec![],
        )],
        checks: ["192.0.2.10:80", "[2001:db8:1::10]:80", "198.51.100.7:8080"].map(check).to_vec(),
        ..Model::default()
    }
}

fn zone() -> Zone {
    let apex = Name::parse("svc.example.").unwrap();
    let owner = Name::parse_under("www", &apex).unwrap();
    let soa = Rrset {
        owner: apex.clone(),
        rtype: 6,
        ttl: 60,
        rdatas: vec![[apex.as_wire(), apex.as_wire(), &[0; 20]].concat().into()],
    };
    Zone {
        apex,
        rrsets: vec![soa],
        steered: vec![SteeredName { owner, label: "www".into(), policy: PolicyId(0), rto: None }],
        ecs: Ecs::default(),
    }
}

fn check(target: &str) -> Check {
    let monitor = Monitor::new(ProbeKind::Tcp);
    Check::new(Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(target.parse().unwrap()) }))
}

/// The report of `ns1` in eu-west: fra1 is up over IPv4 only, nyc is down.
pub(crate) fn view() -> WorldView {
    let all = [(Health::Up, Some(1250)), (Health::Down, None), (Health::Down, Some(80_000))];
    let seen = |(health, rtt): (Health, Option<u64>)| Evidence {
        vantage: "ns1".into(),
        region: RegionId(0),
        health,
        rtt: rtt.map(Duration::from_micros),
        probed_at: Some(PROBED_AT),
        why: None,
        hold: None,
        doubt: Doubt::None,
        is_counted: true,
    };
    WorldView {
        at: PROBED_AT,
        checks: all.map(|(health, _)| CheckView { health, tried: true, ..CheckView::default() }).to_vec().into(),
        evidence: EvidenceBook::Listed(all.map(|of| vec![seen(of)]).to_vec()),
        vantages: vec![VantageView {
            name: "ns1".into(),
            region: RegionId(0),
            state: VantageState::Up,
            why: None,
            reported_at: PROBED_AT,
        }],
        ..WorldView::default()
    }
}

/// The second generation of a model, compiled in the world of [`view`]. `www` has counters for its endpoints in their
/// order, and older ones for the reverse order.
pub(crate) fn snapshot(model: Model) -> Snapshot {
    let names = model.policies[0].endpoints.iter().map(|endpoint| model.endpoint(*endpoint).name.as_str().into());
    let of_www = |endpoints| TallyRun { zone: "svc.example.".into(), name: "www".into(), endpoints };
    let mut tallies = TallyTable::default();
    tallies.run(of_www(names.clone().rev().collect()));
    tallies.run(of_www(names.collect()));
    let compiled = compile::compile(Arc::new(model), Arc::new(view()), Arc::new(Identity::default()), 2, None);
    Snapshot { tallies: Arc::new(tallies), ..compiled }
}

/// fra1 goes down.
pub(crate) fn transition() -> Transition {
    Transition {
        at: 1700.5,
        zone: "svc.example.".into(),
        endpoint: "fra1".into(),
        region: Some("eu-west".into()),
        from: Health::Up,
        to: Health::Down,
        why: "connection refused (seen by ns1)".into(),
        generation: 2,
        monitor: None,
    }
}

/// The state of an API over [`snapshot`], and the other ends of its channels.
pub(crate) struct TestWorld {
    pub(crate) state: ApiState,
    pub(crate) journal: Arc<Journal>,
    pub(crate) readiness: watch::Sender<Readiness>,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

pub(crate) fn world() -> TestWorld {
    let journal = Arc::new(Journal::new("ns1", 4, 0));
    let (sender, commands) = mpsc::channel(1);
    let controls = Controls {
        commands: Some(sender),
        access: Arc::default(),
        book: Arc::default(),
        disk: Arc::default(),
        spread: None,
        beats: BeatSender::default(),
        leases: None,
        relay: None,
        drill: Arc::default(),
    };
    let (readiness, watched) = watch::channel(Readiness::Starting);
    let reload = Arc::new(ArcSwap::from_pointee(ReloadStatus {
        ok: true,
        at: 1600.25,
        generation: 2,
        ..ReloadStatus::default()
    }));
    let state = ApiState::new(
        Arc::new(ArcSwap::from_pointee(snapshot(model()))),
        journal.clone(),
        watched,
        reload.clone(),
        Arc::new(|_| "portolan_generation 2\n".to_owned()),
        controls,
    );
    TestWorld { state, journal, readiness, reload, commands }
}
