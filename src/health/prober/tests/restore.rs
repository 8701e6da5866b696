//! A prober that goes on from what another one knew before it, against real sockets.

use super::*;
use crate::health::{CheckState, DetectorState, Flaps, Rtt};
use crate::model::{DnsSpec, Doubt};
use crate::wire::Name;

const HOUR_MS: u64 = 3_600_000;

/// The same check with what was known of it a second ago, for ten more.
fn known(key: &Arc<CheckKey>, past: DetectorState) -> RetainedCheck {
    let now = clock::now();
    let observation = Observation {
        key: Arc::clone(key),
        health: past.health,
        tried: true,
        srtt: past.rtt.srtt(),
        rttvar: past.rtt.rttvar(),
        probed_at: Some(now - Duration::from_secs(2)),
        may_change_in: Duration::ZERO,
        why: None,
        hold: None,
        doubt: Doubt::None,
        state: Some(CheckState::Probed(past)),
    };
    RetainedCheck { observation, at: now - Duration::from_secs(1), until: now + Duration::from_secs(10) }
}

fn plan(retained: Vec<RetainedCheck>) -> Plan {
    let checks = retained.iter().map(|known| Arc::clone(&known.observation.key)).collect();
    Plan { checks, retained, ..Plan::default() }
}

/// What the first round of a prober finds that goes on from this.
async fn first_round(retained: Vec<RetainedCheck>) -> Vec<Observation> {
    // Reports an hour apart: what is published comes from changes and the round's end.
    let settings = ProberSettings { report_every: Duration::from_secs(3600), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    ended(prober.adopt(plan(retained))).await;
    let mut last = None;
    while let Ok(report) = published.0.try_recv() {
        last = Some(report);
    }
    prober.stop().await;
    last.expect("published before the round ended")
}

#[tokio::test]
async fn the_first_round_waits_for_the_verification_of_what_was_up_and_died_meanwhile() {
    let (_down, down) = refusing();
    let (_up, up) = listening();
    let was_up = DetectorState {
        health: Health::Up,
        rtt: Rtt::of(Duration::from_millis(5), Duration::ZERO),
        ..DetectorState::default()
    };
    let report = first_round(vec![
        known(&tcp_check(down, HOUR_MS), was_up),
        known(&tcp_check(down, HOUR_MS + 1), DetectorState { failures: 2, ..was_up }),
        known(&tcp_check(up, HOUR_MS), was_up),
        known(&tcp_check(up, HOUR_MS + 1), DetectorState { failures: 2, ..was_up }),
    ])
    .await;
    let found: Vec<_> = report.iter().map(|o| (o.health, o.why.as_deref())).collect();
    let refused = (Health::Down, Some("connection refused"));
    assert_eq!(found, [refused, refused, (Health::Up, None), (Health::Up, None)]);
}

#[tokio::test]
async fn what_was_down_needs_its_rise_and_what_flapped_its_time() {
    let (_up, up) = listening();
    let (_down, down) = refusing();
    let was_down = DetectorState { health: Health::Down, failures: 7, ..DetectorState::default() };
    let flaps = Flaps { penalty: 3.0, falls: 4, is_damped: true };
    let report = first_round(vec![
        known(&tcp_check(down, HOUR_MS), was_down),
        known(&tcp_check(up, HOUR_MS), was_down),
        known(&tcp_check(up, HOUR_MS + 1), DetectorState { run: 1, ..was_down }),
        known(&tcp_check(up, HOUR_MS + 2), DetectorState { run: 1, flaps, ..was_down }),
    ])
    .await;
    let found: Vec<_> = report.iter().map(|o| o.health).collect();
    assert_eq!(found, [Health::Down, Health::Down, Health::Up, Health::Down]);
    assert!(report[3].why.as_deref().is_some_and(|why| why.starts_with("held down for ")), "{:?}", report[3].why);
}

#[tokio::test]
async fn round_trip_times_go_on_from_what_they_were() {
    let (_up, up) = listening();
    let slow = Rtt::of(Duration::from_secs(8), Duration::from_secs(1));
    let past = DetectorState { health: Health::Up, rtt: slow, ..DetectorState::default() };
    let report = first_round(vec![known(&tcp_check(up, HOUR_MS), past)]).await;
    let srtt = report[0].srtt.expect("known");
    assert!(srtt >= Duration::from_secs(7) && srtt < Duration::from_secs(8), "an eighth is new: {srtt:?}");
}

#[tokio::test]
async fn what_no_probe_confirms_is_believed_for_its_time_and_never_handed_on() {
    let (_up, up) = listening();
    let key = tcp_check(up, 20);
    let (tell, told) = mpsc::unbounded_channel();
    let publish: Publish = Box::new(move |_, observations, _| {
        // Nobody may be reading any more.
        let _ = tell.send(observations);
    });
    // An address of the documentation range: this host has no such, and can't probe from it.
    let clients = ProbeClients::new(SourceAddresses { v4: Some(Ipv4Addr::new(198, 51, 100, 77)), v6: None });
    let settings = ProberSettings { report_every: Duration::from_millis(10), ..ProberSettings::default() };
    let prober = Prober::spawn(settings, Arc::new(clients), publish);
    let until = clock::now() + Duration::from_millis(500);
    let past = DetectorState { health: Health::Down, ..DetectorState::default() };
    ended(prober.adopt(plan(vec![RetainedCheck { until, ..known(&key, past) }]))).await;
    let mut published = Published(told);
    let report = published.until("as it was", |o| o.health == Health::Down).await;
    assert!(report[0].state.is_none() && report[0].probed_at.is_some_and(|at| at < clock::now()));
    let report = published.until("no longer known", |o| o.health == Health::Unknown && !o.tried).await;
    assert!(clock::now() >= until && report[0].probed_at.is_none());
    prober.stop().await;
}

/// What a prober reports at the end of its first round of these checks, two in each of two regions, that all were up;
/// and after a new plan, of these checks or others, in which these regions have changed their numbers.
async fn first_report(checks: Vec<Arc<CheckKey>>, then: Vec<Arc<CheckKey>>) -> (Vec<Observation>, Option<Arc<str>>) {
    let was_up = DetectorState { health: Health::Up, ..DetectorState::default() };
    let (tell, mut told) = mpsc::unbounded_channel();
    let publish: Publish = Box::new(move |_, observations, blind| {
        // Nobody may be reading any more.
        let _ = tell.send((observations, blind));
    });
    let clients = Arc::new(ProbeClients::new(SourceAddresses::default()));
    let prober = Prober::spawn(ProberSettings::default(), clients, publish);
    let retained = checks.iter().map(|check| known(check, was_up)).collect();
    ended(prober.adopt(Plan { regions: vec![0, 0, 1, 1], ..plan(retained) })).await;
    ended(prober.adopt(Plan { checks: then, regions: vec![1, 1, 0, 0], ..Plan::default() })).await;
    let mut last = None;
    while let Ok(report) = told.try_recv() {
        last = Some(report);
    }
    prober.stop().await;
    last.expect("published before the round ended")
}

#[tokio::test]
async fn a_vantage_that_starts_cut_off_is_blind_and_keeps_what_it_knew() {
    // Four hosts that take every packet and send none.
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
        let check = |at: SocketAddr| CheckKey { monitor: monitor.clone(), target: ProbeTarget::Socket(at) };
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
async fn a_vantage_that_all_refuse_at_its_start_sees_that_they_are_down() {
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
