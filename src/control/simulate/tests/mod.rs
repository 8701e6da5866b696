//! Tests of simulations over a small world: three regions with a vantage each, and names with every kind of steering.
//! The files are loaded as `serve` loads them.

mod losses;
mod request;
mod served;
mod trials;
mod unanswered;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Bounds, EndpointReport, SimulationError, SimulationReport, SimulationRequest, SimulationResult, TrialOverride,
    parse_demand, simulate,
};
use crate::config::{Flags, load};
use crate::control::status::Status;
use crate::model::{
    CheckView, Doubt, Evidence, EvidenceBook, Health, Model, Moment, Recovery, RegionId, VantageState, VantageView,
    WorldView,
};
use crate::snapshot::compile::compile;
use crate::snapshot::{Identity, Snapshot};

const SETTINGS: &str = r#"
region = "eu"
[clients]
default_region = "eu"
[regions.eu]
nets = ["192.0.2.0/24", "10.0.0.0/9"]
location = [50, 8]
[regions.us]
nets = ["203.0.113.0/24", "10.128.0.0/9"]
location = [40, -74]
[regions.ap]
nets = ["198.51.100.0/24"]
location = [1, 103]
"#;

const MASTER: &str = "$TTL 600\n@ SOA ns h 1 2 3 4 300\n@ NS ns\nns A 192.0.2.7\nfile A 192.0.2.77\n";

const POLICY: &str = r#"
zone = "svc.test."
[monitor.m]
type = "tcp"
port = 80
[endpoint.fra1]
addresses = ["192.0.2.10", "2001:db8::10"]
region = "eu"
weight = 2
monitor = "m"
[endpoint.fra2]
addresses = ["192.0.2.11", "2001:db8::11"]
region = "eu"
monitor = "m"
[endpoint.nyc]
addresses = ["203.0.113.10", "2001:db8::20"]
region = "us"
monitor = "m"
capacity = 400
[endpoint.sgp]
addresses = ["198.51.100.10", "2001:db8::30"]
region = "ap"
monitor = "m"
capacity = 100
[endpoint.plain]
addresses = ["198.51.100.99"]
region = "ap"
[pool.web]
members = ["fra1", "fra2", "nyc", "sgp"]
[pool.database]
members = ["fra1", "nyc"]
steer = "failover"
[pool.nearest]
members = ["fra1", "nyc", "sgp"]
steer = "latency"
[pool.eu]
members = ["fra1", "fra2"]
[name.www]
pool = "web"
[name.two]
pool = "web"
answers = 2
[name.db]
pool = "database"
[name.near]
pool = "nearest"
[name.held]
pool = "eu"
on_empty = "last_good"
[name.gone]
pool = "eu"
on_empty = "nodata"
[name.file]
pool = "eu"
on_empty = "static"
[name.else]
pool = "eu"
on_empty = "nyc"
[name.solo]
pool = "plain"
"#;

/// Every name and its types.
const NAMES: [(&str, &[&str]); 9] = [
    ("www", &["A", "AAAA"]),
    ("two", &["A", "AAAA"]),
    ("db", &["A", "AAAA"]),
    ("near", &["A", "AAAA"]),
    ("held", &["A", "AAAA"]),
    ("gone", &["A", "AAAA"]),
    ("file", &["A", "AAAA"]),
    ("else", &["A", "AAAA"]),
    ("solo", &["A"]),
];

const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// Round-trip milliseconds between regions, in the order of [`REGIONS`].
const RTT: [[u64; 3]; 3] = [[5, 80, 190], [80, 5, 230], [190, 230, 5]];

const NOW: Moment = Moment::from_start(Duration::from_secs(100));

fn model(policy: &str) -> Model {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("zones")).unwrap();
    for (name, text) in
        [("portolan.toml", SETTINGS), ("zones/svc.test.zone", MASTER), ("zones/svc.test.policy.toml", policy)]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    load(Some(&dir.path().join("portolan.toml")), &Flags::default()).unwrap().model
}

/// A world in which everything is up and measured from each region.
fn view(model: &Model) -> WorldView {
    let at = |name: &str| model.region_named(name).unwrap();
    let vantages: Vec<VantageView> = REGIONS
        .iter()
        .map(|name| VantageView {
            name: format!("v-{name}").into(),
            region: at(name),
            state: VantageState::Up,
            why: None,
            reported_at: NOW,
        })
        .collect();
    let mut checks = vec![CheckView::default(); model.checks.len()];
    let mut listed = vec![Vec::new(); model.checks.len()];
    for endpoint in &model.endpoints {
        for check in endpoint.answerables.iter().filter_map(|answerable| answerable.check) {
            let place = |region: RegionId| REGIONS.iter().position(|name| at(name) == region).unwrap();
            let rtt = |from: RegionId| Duration::from_millis(RTT[place(from)][place(endpoint.region.unwrap())]);
            let evidence = vantages.iter().map(|vantage| Evidence {
                vantage: vantage.name.clone(),
                region: vantage.region,
                health: Health::Up,
                rtt: Some(rtt(vantage.region)),
                probed_at: Some(NOW),
                why: None,
                hold: None,
                doubt: Doubt::None,
                is_counted: true,
            });
            checks[check.0 as usize] = CheckView {
                health: Health::Up,
                tried: true,
                may_change_in: Some(Duration::from_secs(1)),
                rtts: vantages.iter().map(|vantage| (vantage.region, rtt(vantage.region))).collect(),
                ..CheckView::default()
            };
            listed[check.0 as usize] = evidence.collect();
        }
    }
    let evidence = EvidenceBook::Listed(listed);
    WorldView { at: NOW, checks: checks.into(), vantages, evidence, ..WorldView::default() }
}

fn compiled(policy: &str) -> Snapshot {
    let model = model(policy);
    let view = view(&model);
    compile(Arc::new(model), Arc::new(view), Arc::new(Identity::default()), 1, None)
}

/// A request from the text of a command line.
fn request(text: &str) -> SimulationRequest {
    let mut request = SimulationRequest::default();
    for word in text.split_whitespace() {
        match (word.split_once('='), word.parse()) {
            (_, Ok(qps)) => request.qps = Some(qps),
            (Some((target, state)), _) => {
                request.overrides.push(TrialOverride { target: target.into(), state: state.into() })
            }
            (None, _) if word == "pairs" => request.pairs = true,
            (None, _) => request.lose.push(word.into()),
        }
    }
    request
}

fn simulated(snapshot: &Snapshot, text: &str) -> SimulationReport {
    match simulate(snapshot, snapshot, &request(text), Bounds::NONE).unwrap() {
        SimulationResult::One(report) => *report,
        SimulationResult::Pairs(_) => panic!("expected one report"),
    }
}

fn row<'a>(report: &'a SimulationReport, endpoint: &str) -> &'a EndpointReport {
    report.endpoints.iter().find(|row| row.endpoint == endpoint).unwrap()
}

/// The shares after the changes, by endpoint, in the order of the files.
fn after(report: &SimulationReport) -> Vec<f64> {
    report.endpoints.iter().map(|row| row.after).collect()
}

#[track_caller]
fn near(found: &[f64], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < within), "{found:?}, expected {expected:?}");
}

/// Checks that the shares add up to 1.
#[track_caller]
fn is_whole(report: &SimulationReport) {
    let before: f64 = report.endpoints.iter().map(|row| row.before).sum();
    let after: f64 = after(report).iter().sum();
    near(&[before + report.fixed.before + report.nodata.before], &[1.0], 1e-6);
    near(&[after + report.fixed.after + report.nodata.after], &[1.0], 1e-6);
}
