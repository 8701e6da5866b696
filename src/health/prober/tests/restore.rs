//! A prober that restores the checks of an earlier one, with real sockets.

use super::*;
use crate::health::{CheckState, DetectorState, Flaps, Rtt};
use crate::model::{DnsSpec, Doubt};
use crate::wire::Name;

const HOUR_MS: u64 = 3_600_000;

/// A retained check that was observed a second ago in this state, and counts for ten more seconds.
fn retained(key: &Arc<CheckKey>, state: DetectorState) -> RetainedCheck {
    let now = clock::now();
    let observation = Observation {
        key: Arc::clone(key),
        health: state.health,
        tried: true,
        srtt: state.rtt.srtt(),
        rttvar: state.rtt.rttvar(),
        probed_at: Some(now - Duration::from_secs(2)),
        may_change_in: Duration::ZERO,
        why: None,
        hold: None,
        doubt: Doubt::None,
        state: Some(CheckState::Probed(state)),
    };
    RetainedCheck { observation, at: now - Duration::from_secs(1), until: now + Duration::from_secs(10) }
}

fn plan(checks: Vec<RetainedCheck>) -> Plan {
    let keys = checks.iter().map(|check| Arc::clone(&check.observation.key)).collect();
    Plan { checks: keys, retained: checks, ..Plan::default() }
}

/// The report at the end of the first round of a prober that restores these checks.
async fn first_round(checks: Vec<RetainedCheck>) -> Vec<Observation> {
    // Reports an hour apart: only changes and the end of the round cause a report.
    let settings = ProberSettings { report_every: Duration::from_secs(3600), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    ended(prober.adopt(plan(checks))).await;
    let (last, _) = published.last();
    prober.stop().await;
    last
}

#[tokio::test]
async fn the_first_round_waits_for_the_verification_of_checks_that_were_up_and_failed_meanwhile() {
    let (_down, down) = refusing();
    let (_up, up) = listening();
    let was_up = DetectorState {
        health: Health::Up,
        rtt: Rtt::of(Duration::from_millis(5), Duration::ZERO),
        ..DetectorState::default()
    };
    let report = first_round(vec![
        retained(&tcp_check(down, HOUR_MS), was_up),
        retained(&tcp_check(down, HOUR_MS + 1), DetectorState { failures: 2, ..was_up }),
        retained(&tcp_check(up, HOUR_MS), was_up),
        retained(&tcp_check(up, HOUR_MS + 1), DetectorState { failures: 2, ..was_up }),
    ])
    .await;
    let found: Vec<_> = report.iter().map(|o| (o.health, o.why.as_deref())).collect();
    let refused = (Health::Down, Some("connection refused"));
    assert_eq!(found, [refused, refused, (Health::Up, None), (Health::Up, None)]);
}

#[tokio::test]
async fn a_check_that_was_down_needs_its_rise_and_a_damped_one_its_time() {
    let (_up, up) = listening();
    let (_down, down) = refusing();
    let was_down = DetectorState { health: Health::Down, failures: 7, ..DetectorState::default() };
    let flaps = Flaps { penalty: 3.0, falls: 4, is_damped: true };
    let report = first_round(vec![
        retained(&tcp_check(down, HOUR_MS), was_down),
        retained(&tcp_check(up, HOUR_MS), was_down),
        retained(&tcp_check(up, HOUR_MS + 1), DetectorState { run: 1, ..was_down }),
        retained(&tcp_check(up, HOUR_MS + 2), DetectorState { run: 1, flaps, ..was_down }),
    ])
    .await;
    let found: Vec<_> = report.iter().map(|o| o.health).collect();
    assert_eq!(found, [Health::Down, Health::Down, Health::Up, Health::Down]);
    assert!(report[3].why.as_deref().is_some_and(|why| why.starts_with("held down for ")), "{:?}", report[3].why);
}

#[tokio::test]
async fn round_trip_times_continue_from_the_restored_ones() {
    let (_up, up) = listening();
    let slow = Rtt::of(Duration::from_secs(8), Duration::from_secs(1));
    let state = DetectorState { health: Health::Up, rtt: slow, ..DetectorState::default() };
    let report = first_round(vec![retained(&tcp_check(up, HOUR_MS), state)]).await;
    let srtt = report[0].srtt.expect("known");
    assert!(srtt >= Duration::from_secs(7) && srtt < Duration::from_secs(8), "an eighth is new: {srtt:?}");
}

#[tokio::test]
async fn a_restored_state_without_confirmation_counts_for_its_time_and_is_not_passed_on() {
    let (_up, up) = listening();
    let key = tcp_check(up, 20);
    let settings = ProberSettings { report_every: Duration::from_millis(10), ..ProberSettings::default() };
    let (prober, mut published) = start_unable(settings);
    let until = clock::now() + Duration::from_millis(500);
    let state = DetectorState { health: Health::Down, ..DetectorState::default() };
    ended(prober.adopt(plan(vec![RetainedCheck { until, ..retained(&key, state) }]))).await;
    let report = published.until("as it was", |o| o.health == Health::Down).await;
    assert!(report[0].state.is_none() && report[0].probed_at.is_some_and(|at| at < clock::now()));
    let report = published.until("no longer known", |o| o.health == Health::Unknown && !o.tried).await;
    assert!(clock::now() >= until && report[0].probed_at.is_none());
    prober.stop().await;
}

/// The last report of a prober, and the reason of its blindness. It first gets these checks, two in each of two
/// regions, all of which were up. Then it gets a new plan with the checks `then`, in which the regions have changed
/// their numbers.
async fn first_report(checks: Vec<Arc<CheckKey>>, then: Vec<Arc<CheckKey>>) -> (Vec<Observation>, Option<Arc<str>>) {
    let was_up = DetectorState { health: Health::Up, ..DetectorState::default() };
    let (prober, mut published) = start(ProberSettings::default());
    let restored = checks.iter().map(|check| retained(check, was_up)).collect();
    ended(prober.adopt(Plan { regions: vec![0, 0, 1, 1], ..plan(restored) })).await;
    ended(prober.adopt(Plan { checks: then, regions: vec![1, 1, 0, 0], ..Plan::default() })).await;
    let last = published.last();
    prober.stop().await;
    last
}

#[tokio::test]
async fn a_vantage_that_is_cut_off_at_its_start_is_blind_and_keeps_its_state() {
    // Four hosts that receive packets and never answer.
    let hosts = [1, 2, 3, 4].map(|host| {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::new(127, 77, 3, host), 0)).expect("a free port");
        let at = socket.local_addr().expect("an address");
        (socket, at)
    });
    let name = Name::parse("svc.example.").expect("a name");
    let kind = ProbeKind::Dns(DnsSpec { name, qtype: 1, rcode: 0, rdata: None });
    let checks = |timeout_ms: u64| {
        let monitor = Monitor {
            interval: Duration::from_millis(HOUR_MS),
            timeout: Duration::from_millis(timeout_ms),
            ..Monitor::new(kind.clone())
        };
        let check = |at: SocketAddr| CheckKey { monitor: monitor.clone().into(), target: ProbeTarget::Socket(at) };
        hosts.iter().map(|(_, at)| Arc::new(check(*at))).collect::<Vec<_>>()
    };
    // The same checks in a new plan, and a monitor that was changed meanwhile.
    for then in [100, 120] {
        let (observations, blind) = first_report(checks(100), checks(then)).await;
        assert!(blind.is_some_and(|why| why.contains("failed at once")), "{then}");
        assert!(observations.iter().all(|seen| seen.health == Health::Up && seen.tried), "{then}: {observations:?}");
    }
}

#[tokio::test]
async fn a_vantage_that_all_hosts_refuse_at_its_start_is_not_blind() {
    let hosts = [1, 2, 3, 4].map(|host| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 77, 4, host), 0)).into()).expect("a free port");
        let at = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
        (socket, at)
    });
    let checks: Vec<_> = hosts.iter().map(|(_, at)| tcp_check(*at, HOUR_MS)).collect();
    let (observations, blind) = first_report(checks.clone(), checks).await;
    assert_eq!(blind, None);
    assert!(observations.iter().all(|seen| seen.health == Health::Down), "{observations:?}");
}
