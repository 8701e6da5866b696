//! What is written is what is read back, and nothing that can't be right is.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fleet::Vantage;
use crate::health::{Detector, DetectorEvent, Heartbeat};
use crate::model::quorum::STALE_AFTER;
use crate::model::{Check, HeartbeatSpec, Moment, Monitor, ProbeKind, ProbeTarget};
use crate::telemetry::Metrics;

const MS: Duration = Duration::from_millis(1);
/// The moment of writing, on both clocks.
const THEN: Now = Now { moment: Moment::from_start(Duration::from_secs(50_000)), unix: 1_763_900_000.25 };

/// The same clocks so much later, though in a process of its own.
fn later(secs: f64) -> Now {
    Now { moment: Moment::from_start(Duration::from_secs(86_400)), unix: THEN.unix + secs }
}

fn tcp(port: u16) -> Arc<CheckKey> {
    let target = ProbeTarget::Socket(([192, 0, 2, 1], port).into());
    Arc::new(CheckKey { monitor: Monitor::new(ProbeKind::Tcp).into(), target })
}

fn heartbeat(endpoint: &str) -> Arc<CheckKey> {
    let (zone, endpoint) = ("svc.example.".to_owned(), endpoint.to_owned());
    let kind = ProbeKind::Heartbeat(HeartbeatSpec { zone, endpoint, ttl: 5000 * MS, longest: MAX_BEAT, phi: None });
    Arc::new(CheckKey { monitor: Monitor::new(kind).into(), target: ProbeTarget::Nowhere })
}

fn model(keys: &[&Arc<CheckKey>]) -> Model {
    let checks = keys.iter().map(|key| Check::new(Arc::clone(key))).collect();
    Model { checks, ..Model::default() }
}

/// Probed once a second until just before THEN: `S` a success in 20 ms, `F` a failure.
fn probed(key: &Arc<CheckKey>, outcomes: &str) -> Observation {
    let mut detector = Detector::new(&key.monitor);
    let mut at = THEN.moment - Duration::from_secs(outcomes.len() as u64);
    let first = at;
    for outcome in outcomes.chars() {
        let success = DetectorEvent::Success { rtt: 20 * MS };
        detector.step(if outcome == 'S' { success } else { DetectorEvent::Failure { began: at } }, at);
        at = at + 1000 * MS;
    }
    let state = detector.state(THEN.moment);
    Observation {
        key: Arc::clone(key),
        health: state.health,
        tried: true,
        srtt: state.rtt.srtt(),
        rttvar: state.rtt.rttvar(),
        probed_at: Some((at - 1000 * MS).max(first)),
        may_change_in: Duration::ZERO,
        why: (state.health == Health::Down).then(|| "connection refused".into()),
        hold: None,
        doubt: Doubt::None,
        state: Some(CheckState::Probed(state)),
    }
}

fn beaten(key: &Arc<CheckKey>, sign: Sign) -> Observation {
    let mut judge = Heartbeat::new(&key.monitor, 5000 * MS, THEN.moment - 2000 * MS);
    judge.receive(sign, THEN.moment - 1000 * MS);
    let state = Some(CheckState::Heartbeat(judge.state(THEN.moment)));
    let probed_at = judge.last().map(|(at, _)| at);
    Observation { health: judge.health(), srtt: None, rttvar: None, why: None, probed_at, state, ..probed(key, "S") }
}

fn report(vantage: &str, observations: Vec<Observation>) -> Received {
    let vantage = Vantage { name: vantage.into(), region: "eu-west".into() };
    let report = Arc::new(Report::whole(vantage, THEN.moment, observations));
    Received { report, received_at: THEN.moment }
}

/// The reports that a start finds with `text` in the directory, and its warnings.
async fn loaded(text: &str) -> (LastReports, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE.info.name), text).unwrap();
    let mut warnings = Vec::new();
    let reports = LastReports::load(&StateDir::begun(Some(dir.path().into())).unwrap(), &mut warnings);
    (reports, warnings.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_verdict_is_restored_with_the_state_that_it_rests_on() {
    let (up, suspect, down, flapping) = (tcp(1), tcp(2), tcp(3), tcp(4));
    let (alive, gone) = (heartbeat("alive"), heartbeat("gone"));
    let observations = vec![
        probed(&up, "SSSS"),
        probed(&suspect, "SSF"),
        probed(&down, "SFFFFS"),
        probed(&flapping, "SFFFSSFFFSS"),
        beaten(&alive, Sign::Alive { ttl: 5000 * MS }),
        beaten(&gone, Sign::Goodbye),
    ];
    let written = text(&[report("ns1", observations.clone()), report("ns2", Vec::new())], THEN);
    let (reports, warnings) = loaded(&written).await;
    assert_eq!(warnings, Vec::<String>::new(), "{written}");
    assert!(written.contains("\"held\":true},\"well\":true}"), "held down though its probes say up: {written}");
    let model = model(&[&gone, &flapping, &down, &suspect, &up, &alive, &tcp(99)]);
    let now = later(4.0);
    let known = reports.of("ns1", &model, now);
    assert_eq!(known.len(), observations.len());
    let shift = |moment: Moment| now.moment - 4000 * MS - THEN.moment.since(moment);
    for before in &observations {
        let after = known.iter().find(|known| known.observation.key == before.key).unwrap();
        let RetainedCheck { observation, at, until } = after;
        assert_eq!((*at, *until), (shift(THEN.moment), shift(THEN.moment) + STALE_AFTER), "as old as it is");
        let held = matches!(before.state, Some(CheckState::Probed(state)) if state.flaps.is_damped);
        assert_eq!(
            (observation.health, observation.srtt, observation.rttvar, &observation.why, observation.probed_at),
            (
                before.health,
                before.srtt,
                before.rttvar,
                &before.why.clone().filter(|_| !held),
                before.probed_at.map(shift)
            ),
            "{written}"
        );
        let expected = before.state.map(|state| match state {
            CheckState::Probed(state) => {
                // How the path was lately is found anew.
                let rtt =
                    state.rtt.srtt().zip(state.rtt.rttvar()).map_or(Rtt::default(), |(mean, dev)| Rtt::of(mean, dev));
                CheckState::Probed(DetectorState { rtt, ..state })
            }
            CheckState::Heartbeat(beats) => {
                CheckState::Heartbeat(HeartbeatState { last: beats.last.map(|(at, sign)| (shift(at), sign)), ..beats })
            }
        });
        assert_eq!(observation.state, expected);
    }
    assert!(reports.of("ns2", &model, now).is_empty() && reports.of("ns3", &model, now).is_empty());
}

#[test]
fn the_file_is_for_people_too() {
    let observations = vec![probed(&tcp(80), "S"), beaten(&heartbeat("fra1"), Sign::Alive { ttl: 5000 * MS })];
    let text = text(&[report("ns1", observations)], THEN);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["{\"version\":1,\"vantages\":[", "{\"name\":\"ns1\",\"at\":1763900000.25,\"checks\":["]);
    let without_hash = |line: &str| {
        let (before, after) = line.split_once("\"monitor\":\"").unwrap();
        let (hash, after) = after.split_at(16);
        assert!(hash.chars().all(|c| c.is_ascii_hexdigit()) && after.starts_with('"'), "{line}");
        format!("{before}...{after}")
    };
    assert_eq!(
        [without_hash(lines[2]), without_hash(lines[3])],
        [
            "{\"kind\":\"tcp\",\"target\":\"192.0.2.1:80\",...\",\"health\":\"up\",\"heard_at\":1763899999.25,\
             \"srtt_ms\":20.0,\"rttvar_ms\":10.0},",
            "{\"kind\":\"heartbeat\",\"target\":\"fra1 of svc.example.\",...\",\"health\":\"up\",\
             \"heard_at\":1763899999.25,\"ttl_ms\":5000.0,\"alive_for_ms\":4000.0,\"run\":1}",
        ]
    );
}

#[tokio::test]
async fn what_is_too_old_or_in_the_future_is_not_used_but_the_sign_of_a_service_is() {
    let (up, gone) = (tcp(1), heartbeat("gone"));
    let observations = vec![probed(&up, "S"), beaten(&gone, Sign::Goodbye)];
    let (reports, _) = loaded(&text(&[report("ns1", observations)], THEN)).await;
    let model = model(&[&up, &gone]);
    for (secs, expected) in [(0.0, 2), (9.9, 2), (10.1, 1), (86_400.0 * 365.0, 1), (-0.1, 0), (-1e9, 0)] {
        assert_eq!(reports.of("ns1", &model, later(secs)).len(), expected, "after {secs} s");
    }
    let patient = Arc::new(up.changed(|monitor| monitor.quorum.stale_after = Duration::from_secs(60)));
    let (reports, _) = loaded(&text(&[report("ns1", vec![probed(&patient, "S")])], THEN)).await;
    let model = self::model(&[&patient]);
    assert_eq!([59.0, 61.0].map(|secs| reports.of("ns1", &model, later(secs)).len()), [1, 0], "as the monitor says");
}

#[tokio::test]
async fn another_monitor_of_the_same_target_is_another_check() {
    let up = tcp(1);
    let (reports, _) = loaded(&text(&[report("ns1", vec![probed(&up, "S")])], THEN)).await;
    let found = |key: CheckKey| reports.of("ns1", &model(&[&Arc::new(key)]), later(1.0)).len();
    let other = |change: fn(&mut Monitor)| found(up.changed(change));
    assert_eq!(other(|_| {}), 1);
    assert_eq!(other(|monitor| monitor.fall = 9), 0);
    assert_eq!(other(|monitor| monitor.kind = ProbeKind::Icmp), 0);
    let target = ProbeTarget::Socket(([192, 0, 2, 2], 1).into());
    assert_eq!(found(CheckKey { target, ..CheckKey::clone(&up) }), 0);
}

#[tokio::test]
async fn an_unreadable_file_is_reported_and_stops_nothing() {
    let whole = text(&[report("ns1", vec![probed(&tcp(1), "SF")])], THEN);
    assert!(loaded(&whole).await.1.is_empty());
    for (what, text) in [
        ("empty", String::new()),
        ("garbage", "\0\0\0\0".to_owned()),
        ("cut off", whole[..whole.len() / 2].to_owned()),
        ("of a later version", whole.replace("\"version\":1", "\"version\":2")),
        ("no such health", whole.replace("\"up\"", "\"sideways\"")),
        ("negative", whole.replace("\"failures\":1", "\"failures\":-1")),
    ] {
        let (reports, warnings) = loaded(&text).await;
        assert!(reports.0.is_empty(), "{what}");
        assert!(warnings.len() == 1 && warnings[0].contains("health.json"), "{what}: {warnings:?}");
        assert!(warnings[0].ends_with("every endpoint begins unknown"), "{what}: {warnings:?}");
    }
}

#[tokio::test]
async fn figures_that_cannot_be_are_cut_down_or_left_out() {
    let (key, now) = (tcp(1), later(1.0));
    let model = model(&[&key]);
    let whole = text(&[report("ns1", vec![probed(&key, "SSF")])], THEN);
    for (from, to, is_used) in [
        ("\"failures\":1", "\"failures\":4294967295", true),
        ("\"failures\":1", "\"failures\":1,\"flaps\":{\"penalty\":1e300,\"falls\":4294967295,\"held\":true}", true),
        ("\"failures\":1", "\"failures\":1,\"held_for_ms\":1e15", true),
        ("\"failures\":1", "\"failures\":1,\"run\":4294967295", true),
        ("\"failures\":1", "\"failures\":1,\"held_for_ms\":1e300", false),
        ("\"srtt_ms\":20.0", "\"srtt_ms\":1e18", false),
        ("\"srtt_ms\":20.0", "\"srtt_ms\":-1", false),
        ("\"heard_at\":", "\"heard_at\":9", false),
        ("\"heard_at\":", "\"heard_at\":-", true),
        ("\"at\":", "\"at\":9e99", false),
        ("\"at\":1763900000.25", "\"at\":-9e290", false),
    ] {
        assert!(whole.contains(from), "{whole}");
        let (reports, _) = loaded(&whole.replacen(from, to, 1)).await;
        let known = reports.of("ns1", &model, now);
        assert_eq!(known.len(), usize::from(is_used), "{to}");
        for known in known {
            let Some(CheckState::Probed(state)) = known.observation.state else { panic!("{known:?}") };
            let mut detector = Detector::restore(&key.monitor, &state, known.at);
            for second in 0..100 {
                let at = now.moment + 1000 * MS * second;
                detector.step(DetectorEvent::Failure { began: at }, at);
                detector.may_change_in(at);
            }
        }
    }
}

/// Waits until the file in `dir` satisfies `is_so`.
async fn until(dir: &Path, is_so: impl Fn(&str) -> bool) {
    let search = async {
        while !std::fs::read_to_string(dir.join(FILE.info.name)).is_ok_and(|text| is_so(&text)) {
            tokio::time::sleep(5 * MS).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), search).await.expect("it is written");
}

#[tokio::test]
async fn it_is_written_when_a_verdict_changes_from_time_to_time_and_at_the_end() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let state = StateDir::begun(Some(dir.clone())).unwrap();
    let (board, reports) = watch::channel(Vec::new());
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    let writing = tokio::spawn(write_reports(reports, state.clone(), metrics, stop.clone()));
    let publish = |outcomes: &str| board.send_replace(vec![report("ns1", vec![probed(&tcp(1), outcomes)])]);
    publish("S");
    until(&dir, |text| text.contains("\"up\"")).await;
    publish("SFFF");
    until(&dir, |text| text.contains("\"down\"")).await;
    publish("SFFFF");
    until(&dir, |text| text.contains("\"failures\":1")).await;
    publish("SFFFFF");
    stop.cancel();
    writing.await.unwrap();
    let text = std::fs::read_to_string(dir.join(FILE.info.name)).unwrap();
    assert!(text.contains("\"failures\":2"), "{text}");
    state.close().await.unwrap();
    let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name != "lock").count(), 1, "no other file is left");
}

#[tokio::test]
async fn without_checks_nothing_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let state = StateDir::begun(Some(dir.clone())).unwrap();
    let (_board, reports) = watch::channel(vec![report("ns1", Vec::new())]);
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write_reports(reports, state, Arc::new(Metrics::new()), stop.clone()));
    stop.cancel();
    writing.await.unwrap();
    assert!(!dir.join(FILE.info.name).exists());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_counted_each_time() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("file"), "").unwrap();
    let state = StateDir::begun(Some(parent.path().join("file/state"))).unwrap();
    let (board, reports) = watch::channel(Vec::new());
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    let writing = tokio::spawn(write_reports(reports, state, metrics.clone(), stop.clone()));
    let reported = AtomicUsize::new(0);
    let is_down = || reported.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    while metrics.health_writes()[1] < 2 {
        let outcomes = if is_down() { "SFFF" } else { "S" };
        board.send_replace(vec![report("ns1", vec![probed(&tcp(1), outcomes)])]);
        tokio::time::sleep(5 * MS).await;
    }
    stop.cancel();
    writing.await.unwrap();
    assert_eq!(metrics.health_writes()[0], 0);
}

#[tokio::test]
async fn a_check_that_a_drill_counts_as_lost_is_written_as_what_it_is() {
    let (web, service) = (tcp(80), heartbeat("job"));
    let beaten = beaten(&service, Sign::Alive { ttl: 5000 * MS });
    let lost = [probed(&web, "SSS"), beaten].map(|real| {
        assert_eq!(real.health, Health::Up);
        Observation { health: Health::Down, why: Some("drill of alice: fra1 counts as lost".into()), ..real }
    });
    let (reports, _) = loaded(&text(&[report("ns1", lost.to_vec())], THEN)).await;
    let retained = reports.of("ns1", &model(&[&web, &service]), later(1.0));
    let known: Vec<_> =
        retained.iter().map(|check| (check.observation.health, check.observation.why.clone())).collect();
    assert_eq!(known, [(Health::Up, None), (Health::Up, None)]);
}
