//! What `portolan status` prints of a status.

use super::*;
use crate::control::status::{RampReport, ReloadReport, VantageStatus};

fn check(health: &str, rtt_ms: Option<f64>, age_ms: Option<u64>) -> CheckReport {
    CheckReport {
        vantage: "ns1".into(),
        region: "eu-west".into(),
        address: "192.0.2.1".into(),
        monitor: None,
        health: health.into(),
        rtt_ms,
        age_ms,
        why: (health == "down").then(|| "connection refused".into()),
        hold: None,
    }
}

#[test]
fn a_ramp_is_shown_with_its_smallest_share() {
    let ramp = |address: &str, share, full_in_ms| RampReport {
        endpoint: "fra1".into(),
        address: address.into(),
        share,
        full_in_ms,
    };
    let mut endpoint = EndpointStatus {
        source: None,
        name: "fra1".into(),
        region: None,
        health: "up".into(),
        verdicts: vec![],
        ramps: vec![ramp("192.0.2.1", 0.5, 30_000), ramp("2001:db8::1", 0.15, 51_000)],
        regions: vec![],
        basis: None,
        state: None,
        overridden: None,
    };
    let health = |endpoint: &EndpointStatus| endpoint_rows(endpoint)[0][2].clone();
    assert_eq!(health(&endpoint), "up (ramping: 15 % of its weight, all in 51 s)");
    endpoint.ramps.clear();
    assert_eq!(health(&endpoint), "up");
}

#[test]
fn the_regions_of_a_zone_are_a_table_and_differences_are_marked() {
    let of = |region: &str, rtt_ms, reachable| RegionReport { region: region.into(), rtt_ms, reachable };
    let endpoint = |name: &str, regions| EndpointStatus {
        source: None,
        name: name.into(),
        region: None,
        health: "up".into(),
        verdicts: vec![],
        ramps: vec![],
        regions,
        basis: None,
        state: None,
        overridden: None,
    };
    let mut zone = ZoneStatus {
        zone: "svc.example.".into(),
        names: vec![],
        endpoints: vec![
            endpoint("fra1", vec![of("eu", Some(5.04), true), of("us", Some(80.0), false)]),
            endpoint("nyc", vec![of("us", Some(1.0), true)]),
            endpoint("plain", vec![]),
        ],
        exclusive: vec![],
        files: FilesStatus::default(),
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = "ENDPOINT FROM EU FROM US fra1 5.0 ms out of reach nyc - 1.0 ms";
    assert!(words(&zone_table(&zone, &[], 0.0)).ends_with(table), "{}", zone_table(&zone, &[], 0.0));
    assert_eq!(endpoint_rows(&zone.endpoints[0])[0][2], "up (out of reach for us)");
    zone.endpoints[0].basis = Some("static".into());
    assert_eq!(endpoint_rows(&zone.endpoints[0])[0][2], "up (the last verdict: no vantage reports)");
    zone.endpoints.remove(0);
    assert_eq!(region_table(&zone), "", "one region measures");
}

#[test]
fn a_zone_with_another_version_than_its_files_is_marked() {
    let zone = |state: &str, since, until| ZoneStatus {
        exclusive: vec![],
        zone: "svc.example.".into(),
        names: vec![],
        endpoints: vec![],
        files: FilesStatus { state: state.into(), since, until },
    };
    for (zone, expected) in [
        (zone("current", Some(10.0), None), "svc.example. (static)"),
        (
            zone("kept", Some(10.0), None),
            "svc.example. (static) LAST GOOD VERSION, loaded 90 s ago: its files have errors",
        ),
        (zone("unserved", None, None), "svc.example. NOT SERVED: its files have errors"),
        (
            zone("vanished", Some(10.0), Some(142.0)),
            "svc.example. (static) LAST GOOD VERSION, loaded 90 s ago, for 42 s more: \
             it disappeared from the files",
        ),
    ] {
        assert_eq!(zone_table(&zone, &[], 100.0).trim(), expected);
    }
}

#[test]
fn text_has_every_verdict_and_the_last_transitions() {
    let endpoint = |name: &str, verdicts| EndpointStatus {
        source: None,
        name: name.into(),
        region: Some("eu-west".into()),
        health: "up".into(),
        verdicts,
        ramps: vec![],
        regions: vec![],
        basis: None,
        state: None,
        overridden: None,
    };
    let held = CheckReport { hold: Some("open".into()), ..check("up", Some(1.25), Some(400)) };
    let verdicts = vec![held, check("down", None, None)];
    let status = Status {
        generation: 3,
        zones: vec![ZoneStatus {
            exclusive: vec![LeaseReport {
                name: "www".into(),
                endpoint: "fra1".into(),
                epoch: Some(7),
                holder: Some("ns1".into()),
                is_holder: true,
                promoting: None,
            }],
            zone: "svc.example.".into(),
            names: vec!["www".into()],
            endpoints: vec![endpoint("fra1", verdicts), endpoint("plain", vec![])],
            files: FilesStatus { state: "current".into(), since: Some(50.0), until: None },
        }],
        vantages: vec![VantageStatus {
            name: "ns1".into(),
            region: "eu-west".into(),
            state: "up".into(),
            why: None,
            age_ms: None,
        }],
        reload: ReloadReport { ok: true, at: 100.0, problems: vec![], running_since: None, unnoticed: None },
        drill: None,
        sinks: vec![],
        follows: Vec::new(),
        sources: vec![],
        idle_overrides: vec![],
        unsaved: vec![UnsavedFile {
            file: "overrides.json".into(),
            content: "the operators' overrides".into(),
            since: 52.0,
            error: Some("no space".into()),
        }],
        fleet: None,
        server: None,
        regions: vec![],
    };
    let event = JournalEvent {
        id: "ns1/7".into(),
        at: 90.0,
        zone: "svc.example.".into(),
        endpoint: "fra1".into(),
        from: "down".into(),
        to: "up".into(),
        why: "seen up by ns1".into(),
        generation: 3,
        ..JournalEvent::default()
    };
    let colourless = anstream::adapter::strip_str(&human(&status, &[], &[event], 112.0)).to_string();
    assert_eq!(
        colourless,
        "generation 3, files loaded 12 s ago

VANTAGE  REGION   STATE
ns1      eu-west  up

svc.example.
NAME  TYPE  CLIENTS  GETS  PREFERRED
and 1 more names, which GET /v1/names lists

EXCLUSIVE  ACTIVE  EPOCH  HOLDER             PROMOTING
www        fra1    7      ns1 (this server)

ENDPOINT  REGION   HEALTH  ADDRESS     VANTAGE  FROM     SEES  RTT     PROBED                      WHY
fra1      eu-west  up      192.0.2.1   ns1      eu-west  up    1.2 ms  0.4 s ago, connection open
                           192.0.2.1   ns1      eu-west  down  -       never                       connection refused
plain     eu-west  up      not probed

NOT ON DISK for 60 s: the operators' overrides (overrides.json: no space); a restart would lose changes

last transitions
WHEN      ZONE          ENDPOINT  FROM  TO  WHY
22 s ago  svc.example.  fra1      down  up  seen up by ns1
"
    );
}

#[test]
fn overrides_that_do_not_count_are_listed_with_what_counts_in_their_place() {
    let entry = |target: &str| OverrideReport {
        target: target.into(),
        state: "drain".into(),
        why: "rack move".into(),
        who: "alice".into(),
        until: None,
        zones: None,
        on_disk: None,
        fleet: None,
    };
    let endpoint = |name: &str| EndpointStatus {
        source: None,
        name: name.into(),
        region: None,
        health: "up".into(),
        verdicts: vec![],
        ramps: vec![],
        regions: vec![],
        basis: None,
        state: None,
        overridden: Some(entry("fra1")),
    };
    let zone = ZoneStatus {
        exclusive: vec![],
        zone: "svc.example.".into(),
        names: vec![],
        endpoints: vec![endpoint("fra1")],
        files: FilesStatus::default(),
    };
    let idle = |target: &str, by: &[&str]| IdleOverride {
        entry: entry(target),
        overridden_by: by.iter().map(ToString::to_string).collect(),
    };
    let mut status = Status {
        generation: 1,
        zones: vec![zone],
        vantages: vec![],
        reload: ReloadReport { ok: true, at: 0.0, problems: vec![], running_since: None, unnoticed: None },
        unsaved: vec![],
        fleet: None,
        server: None,
        regions: vec![],
        drill: None,
        sinks: vec![],
        follows: Vec::new(),
        sources: vec![],
        idle_overrides: vec![idle("fra*", &["a", "b", "c", "d"]), idle("gone", &[])],
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        words(&all_overrides(&status, 0.0)),
        "overrides TARGET OVERRIDE UNTIL WHO WHY fra1 drained it is cleared alice rack move \
         fra* drained (overridden by a, b, c and 1 more) it is cleared alice rack move \
         gone drained (no endpoint matches) it is cleared alice rack move"
    );
    status.idle_overrides = vec![idle("fra*", &["fra1"]); MOST_IDLE];
    assert!(all_overrides(&status, 0.0).ends_with("`portolan overrides` lists all\n"));
    status.zones[0].endpoints[0].overridden = None;
    status.idle_overrides.clear();
    assert_eq!(all_overrides(&status, 0.0), "");
}
