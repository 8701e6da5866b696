//! The files as versions before this one wrote them: an upgrade reads them.

use std::fs;

use crate::daemon::clocks::Now;
use crate::daemon::health_file::LastReports;
use crate::daemon::overrides::Overrides;
use crate::daemon::retained::SteeringFiles;
use crate::daemon::state::StateDir;
use crate::daemon::{event_log, event_number, versions};
use crate::health::CheckState;
use crate::model::{Check, CheckKey, Health, HeartbeatSpec, Model, Monitor, ProbeKind, ProbeTarget};

const FILES: [(&str, &str); 7] = [
    (
        "overrides.json",
        r#"{
  "version": 1,
  "overrides": [
    { "target": "fra1", "state": "drain", "why": "rack move", "who": "alice", "until": 4000000000.0 },
    { "target": "region:us-east", "state": "down", "why": "storm", "who": "bob", "until": null }
  ]
}
"#,
    ),
    (
        "standings.json",
        r#"{
  "version": 1,
  "standings": [
    {
      "zone": "svc.example.",
      "name": "www",
      "type": "A",
      "class": "region=eu-west",
      "pool": "web",
      "members": ["ams1"]
    }
  ]
}
"#,
    ),
    (
        "ramps.json",
        r#"{
  "version": 1,
  "ramps": [
    { "zone": "svc.example.", "endpoint": "fra1", "type": "A", "since": 1763899970.5 },
    { "zone": "svc.example.", "endpoint": "fra2", "type": "AAAA", "monitor": "deep", "since": 1763899990.0 }
  ]
}
"#,
    ),
    (
        "last_good.json",
        r#"{
  "version": 1,
  "answers": [
    {
      "zone": "svc.example.",
      "name": "www",
      "type": "A",
      "class": "any",
      "tiers": [
        [
          { "endpoints": ["fra1"], "weight": 70.0, "path": [{ "member": "00c0ffee00c0ffee", "by_net": true }] },
          { "endpoints": ["fra2", "ams1"], "weight": 30.0 }
        ]
      ]
    }
  ]
}
"#,
    ),
    ("events.json", "{\"version\":1,\"last\":4711}\n"),
    ("events.log", EVENTS),
    ("health.json", HEALTH),
];

/// A line for each event.
const EVENTS: &str = "\
{\"id\":\"ns1/4710\",\"at\":1763900000.25,\"zone\":\"svc.example.\",\"endpoint\":\"fra1\",\
\"from\":\"up\",\"to\":\"down\",\"why\":\"refused\",\"generation\":3}
{\"id\":\"ns1/4712\",\"at\":1763900001.5,\"kind\":\"override\",\"zone\":\"svc.example.\",\"endpoint\":\"fra1\",\
\"from\":\"down\",\"to\":\"drained\",\"why\":\"rack move (alice)\",\"who\":\"alice\",\"generation\":3}
";

const HEALTH: &str = r#"{"version":1,"vantages":[
{"name":"ns1","at":1763900000.25,"checks":[
{"kind":"heartbeat","target":"fra1 of svc.example.","monitor":"MONITOR","health":"down","heard_at":1763899999.25,
"ttl_ms":5000.0,"alive_for_ms":4000.0,"run":1,"held_for_ms":1500.0,"flaps":{"penalty":2.5,"falls":3,"held":true}}
]}
]}
"#;

/// A manifest with its one file, whose digest it has.
const MANIFEST: &str = r#"{
  "version": 1,
  "zone": "svc.example.",
  "main": "a.policy.toml",
  "steered_names": 3,
  "since": 1700.5,
  "folder": "svc.example@1700500",
  "files": [
    {
      "path": "a.policy.toml",
      "name": "a.policy.toml",
      "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    }
  ]
}
"#;

fn heartbeat() -> Model {
    let spec = HeartbeatSpec {
        zone: "svc.example.".into(),
        endpoint: "fra1".into(),
        ttl: std::time::Duration::from_secs(5),
        longest: std::time::Duration::from_secs(60),
        phi: None,
    };
    let monitor = Monitor::new(ProbeKind::Heartbeat(spec));
    let key = CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere };
    Model { checks: vec![Check::new(key.into())], ..Model::default() }
}

#[tokio::test]
async fn files_of_the_version_before_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        // The hash of a monitor may differ from one version to the next: then the check begins unknown.
        let text = text.replace("MONITOR", &crate::daemon::health_file::monitor_hash(&heartbeat().checks[0].key));
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::create_dir_all(dir.path().join("zones/svc.example@1700500")).unwrap();
    fs::write(dir.path().join("zones/svc.example.json"), MANIFEST).unwrap();
    fs::write(dir.path().join("zones/svc.example@1700500/a.policy.toml"), "one").unwrap();

    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let (now, mut warnings) = (Now { unix: 1_763_900_001.0, ..Now::read() }, Vec::new());
    let book = Overrides::load(&state).unwrap().book();
    let overrides: Vec<_> = book.load().all().iter().map(|of| (of.target.clone(), of.until)).collect();
    assert_eq!(overrides, [("fra1".to_owned(), Some(4e9)), ("region:us-east".to_owned(), None)]);
    let steering = SteeringFiles::load(&state, now, &mut warnings).unwrap();
    assert_eq!(steering.retained().standings[0].members, ["ams1"]);
    let shares = &steering.retained().answers[0].tiers[0];
    assert_eq!((shares[0].path[0].by_net, shares[1].endpoints.len()), (true, 2));
    let ramps = steering.retained().recoveries.iter().map(|of| now.moment.since(of.since).as_millis());
    assert_eq!(ramps.collect::<Vec<_>>(), [30_500, 11_000]);
    assert_eq!(event_number::load(&state, 0, &mut warnings), 4711);
    let events = event_log::load(&state, "ns1", &mut warnings);
    let numbers: Vec<_> = events.events.iter().map(|(number, event)| (*number, event.kind.as_str())).collect();
    assert_eq!((numbers, events.last), (vec![(4710, "transition"), (4712, "override")], 4712));
    let reports = LastReports::load(&state, &mut warnings).of("ns1", &heartbeat(), now);
    let Some(CheckState::Heartbeat(heartbeat)) = reports[0].observation.state else { panic!("{reports:?}") };
    assert_eq!((heartbeat.health, heartbeat.flaps.falls, heartbeat.run), (Health::Down, 3, 1));
    let zones = versions::load(Some(dir.path()));
    let version = zones[0].version.as_deref().unwrap();
    assert_eq!((version.steered, version.since, version.texts.len()), (3, 1700.5, 1));
    assert_eq!(warnings, []);
}
