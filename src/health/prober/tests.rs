//! The whole loop with real sockets. Tests wait for events, within a generous time.

mod adoption;
mod loss;
mod restore;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::health::{Failure, RetainedCheck, SourceAddresses};
use crate::model::{ExecCommand, ExecSpec, Health, Hold, Monitor, ProbeKind, ProbeTarget};

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn tcp_check(to: SocketAddr, interval_ms: u64) -> Arc<CheckKey> {
    let monitor = Monitor {
        interval: Duration::from_millis(interval_ms),
        timeout: Duration::from_secs(10),
        ..Monitor::new(ProbeKind::Tcp)
    };
    Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(to) })
}

/// A listener on loopback and its address. It accepts no connections: the handshakes succeed as long as its long queue
/// is not full.
fn listening() -> (Socket, SocketAddr) {
    let (socket, at) = refusing();
    socket.listen(4096).expect("a listener");
    (socket, at)
}

/// A socket that is bound but does not listen, and its address: connections are refused.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let at = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
    (socket, at)
}

/// The reports of a prober.
struct Published(mpsc::UnboundedReceiver<(Vec<Observation>, Option<Arc<str>>)>);

impl Published {
    /// The first report from now on in which every observation satisfies `is_so`.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Observation) -> bool) -> Vec<Observation> {
        let search = async {
            loop {
                let (report, _) = self.0.recv().await.expect("the prober runs");
                if !report.is_empty() && report.iter().all(&is_so) {
                    return report;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// The last report so far, and the reason if the vantage is blind.
    fn last(&mut self) -> (Vec<Observation>, Option<Arc<str>>) {
        std::iter::from_fn(|| self.0.try_recv().ok()).last().expect("there was a report")
    }
}

fn start(settings: ProberSettings) -> (ProberHandle, Published) {
    start_at(SourceAddresses::default(), settings)
}

/// Starts a prober that can't probe: its source address is one of the documentation range, which this host does not
/// have.
fn start_unable(settings: ProberSettings) -> (ProberHandle, Published) {
    start_at(SourceAddresses { v4: Some(Ipv4Addr::new(198, 51, 100, 77)), v6: None }, settings)
}

fn start_at(sources: SourceAddresses, settings: ProberSettings) -> (ProberHandle, Published) {
    let (sender, received) = mpsc::unbounded_channel();
    let publish: Publish = Box::new(move |_, observations, blind| {
        // It fails if the test has ended.
        let _ = sender.send((observations, blind));
    });
    (Prober::spawn(settings, Arc::new(ProbeClients::new(sources)), publish), Published(received))
}

async fn ended(round: Round) {
    tokio::time::timeout(PATIENCE, round.ended()).await.expect("the round ends");
}

#[tokio::test]
async fn the_time_of_a_program_is_no_round_trip() {
    let (_up, up) = listening();
    let command = ExecCommand { program: "/bin/sh".into(), args: vec!["-c".into(), "exit 0".into()] }.into();
    let exec = ExecSpec { command, endpoint: "a".into() };
    let over_tcp = tcp_check(up, 3_600_000);
    let by_program = over_tcp.changed(|monitor| monitor.kind = ProbeKind::Exec(exec));
    for (check, has_rtt) in [(over_tcp, true), (Arc::new(by_program), false)] {
        let (prober, mut published) = start(ProberSettings::default());
        ended(prober.adopt(vec![check])).await;
        let report = published.until("up", |seen| seen.health == Health::Up).await;
        assert!(report.iter().all(|seen| seen.srtt.is_some() == has_rtt && seen.rttvar.is_some() == has_rtt));
        prober.stop().await;
    }
}

#[tokio::test]
async fn the_first_round_ends_when_all_are_tried_and_published() {
    let (_up, up) = listening();
    let (_down, down) = refusing();
    // Reports an hour apart: only changes cause a report.
    let settings = ProberSettings { report_every: Duration::from_secs(3600), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    // Intervals of an hour: only immediate verification can find the second one down in time.
    ended(prober.adopt(vec![tcp_check(up, 3_600_000), tcp_check(down, 3_600_000)])).await;
    let (last, _) = published.last();
    let found: Vec<_> = last.iter().map(|o| (o.health, o.tried, o.why.as_deref(), o.srtt.is_some())).collect();
    assert_eq!(
        found,
        [(Health::Up, true, None, true), (Health::Down, true, Some("connection refused"), false)],
        "in the plan's order"
    );
    prober.stop().await;
}

#[tokio::test]
async fn an_empty_plan_ends_its_round_at_once() {
    let (prober, _published) = start(ProberSettings::default());
    ended(prober.adopt(Vec::new())).await;
    prober.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_fails_and_recovers_is_reported() {
    // An address that no other test binds, so that the port stays free while nobody listens.
    let listener = TcpListener::bind((Ipv4Addr::new(127, 77, 1, 1), 0)).await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    let (prober, mut published) = start(ProberSettings::default());
    ended(prober.adopt(vec![tcp_check(at, 100)])).await;
    published.until("up", |o| o.health == Health::Up && o.why.is_none()).await;

    drop(listener);
    let report = published.until("down", |o| o.health == Health::Down).await;
    assert_eq!(report[0].why.as_deref(), Some("connection refused"));
    assert!(report[0].tried && report[0].srtt.is_some(), "the RTT is not forgotten: {:?}", report[0]);

    let _again = TcpListener::bind(at).await.expect("the port is free again");
    published.until("up again", |o| o.health == Health::Up && o.why.is_none()).await;
    prober.stop().await;
}

#[tokio::test]
async fn a_new_plan_keeps_the_state_of_checks_that_stay() {
    let ((_a, a), (_b, b)) = (listening(), refusing());
    let settings = ProberSettings { report_every: Duration::from_millis(10), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    let (first, second) = (tcp_check(a, 3_600_000), tcp_check(b, 3_600_000));
    ended(prober.adopt(vec![Arc::clone(&first), Arc::clone(&first)])).await;
    let before = published.until("one, though listed twice", |o| o.key == first).await;
    assert_eq!(before.len(), 1);
    ended(prober.adopt(vec![Arc::clone(&second), Arc::new(CheckKey::clone(&first))])).await;
    let after = loop {
        let report = published.until("tried", |o| o.tried).await;
        if report.len() == 2 {
            break report;
        }
    };
    assert_eq!(after[1].probed_at, before[0].probed_at, "not probed again: an equal key is the same check");
    ended(prober.adopt(vec![second])).await;
    while published.until("tried", |o| o.tried).await.len() != 1 {}
    prober.stop().await;
}

#[tokio::test]
async fn a_vantage_that_can_not_probe_does_not_judge_and_does_not_delay_the_start() {
    let (_up, up) = listening();
    let (prober, mut published) = start_unable(ProberSettings::default());
    ended(prober.adopt(vec![tcp_check(up, 50)])).await;
    let report = published.until("why", |o| o.why.is_some()).await;
    assert_eq!((report[0].health, report[0].tried), (Health::Unknown, false));
    prober.stop().await;
}

#[tokio::test]
async fn every_probe_is_reported_and_none_after_the_end() {
    let (_up, up) = listening();
    let count = Arc::new(AtomicUsize::new(0));
    let on_probe: OnProbe = Arc::new({
        let count = Arc::clone(&count);
        move |kind, is_ok, took| {
            assert!(kind == "tcp" && is_ok && took > Duration::ZERO);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let settings = ProberSettings { on_probe, report_every: Duration::from_millis(10), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    ended(prober.adopt(vec![tcp_check(up, 50)])).await;
    let enough = || count.load(Ordering::Relaxed) >= 5;
    published.until("five probes", |_| enough()).await;
    prober.stop().await;
    let at_the_end = count.load(Ordering::Relaxed);
    while published.0.recv().await.is_some() {}
    assert_eq!(count.load(Ordering::Relaxed), at_the_end);
}

#[test]
fn the_reason_is_reported_when_suspect_down_or_damped() {
    let mut check = ProbedCheck::new(tcp_check(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), 1000), None);
    let at = |second: u64| Moment::START + Duration::from_secs(second);
    let mut second = 0;
    let mut after = |outcomes: &str| {
        for outcome in outcomes.chars() {
            second += 1;
            let refused = Err(Failure::Refused);
            let result = if outcome == 'S' { Ok(Duration::from_millis(1)) } else { refused };
            check.judge(Measurement { began: at(second), ended: at(second), result, granted: None });
        }
        check.observation(at(second)).why.map(|why| why.to_string())
    };
    assert_eq!(after("S"), None);
    assert_eq!(after("F").as_deref(), Some("suspect: connection refused"));
    assert_eq!(after("FF").as_deref(), Some("connection refused"));
    assert_eq!(after("SS"), None);
    assert_eq!(after("FFF").as_deref(), Some("held down for 67 s: flapped 2 times"));
    assert_eq!(after("SS").as_deref(), Some("held down for 65 s: flapped 2 times"), "although it answers");
}

/// As [`tcp_check`], with a held connection.
fn held_check(to: SocketAddr, interval_ms: u64) -> Arc<CheckKey> {
    Arc::new(tcp_check(to, interval_ms).changed(|monitor| monitor.hold = true))
}

#[tokio::test]
async fn the_end_of_a_held_connection_finds_a_dead_process_between_probes() {
    // An address that no other test binds, so that the port stays free while nobody listens.
    let listener = TcpListener::bind((Ipv4Addr::new(127, 77, 2, 1), 0)).await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    let settings = ProberSettings { report_every: Duration::from_millis(10), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    // Intervals of an hour: only the end of the connection can be noticed in time.
    ended(prober.adopt(vec![held_check(at, 3_600_000)])).await;
    published.until("held", |o| o.hold == Some(Hold::Open)).await;
    // All connections in its queue end with it.
    drop(listener);
    let report = published.until("down", |o| o.health == Health::Down).await;
    assert_eq!((report[0].why.as_deref(), report[0].hold), (Some("connection refused"), Some(Hold::NotOpen)));
    prober.stop().await;
}

#[tokio::test]
async fn a_server_that_sends_unasked_gets_no_held_connection_and_stays_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { while stream.write_all(&[b'.'; 4096]).await.is_ok() {} });
        }
    });
    let settings = ProberSettings { report_every: Duration::from_millis(10), ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    ended(prober.adopt(vec![held_check(at, 3_600_000)])).await;
    let report = published.until("no connection is held", |o| o.hold == Some(Hold::ServerTalks)).await;
    assert_eq!(report[0].health, Health::Up);
    prober.stop().await;
    server.abort();
}

#[tokio::test]
async fn no_more_connections_are_held_than_allowed() {
    let ((_a, a), (_b, b)) = (listening(), listening());
    let settings = ProberSettings { report_every: Duration::from_millis(10), max_held: 1, ..ProberSettings::default() };
    let (prober, mut published) = start(settings);
    ended(prober.adopt(vec![held_check(a, 3_600_000), held_check(b, 3_600_000)])).await;
    let report = published.until("settled", |o| o.hold != Some(Hold::NotOpen)).await;
    let mut statuses: Vec<&str> = report.iter().filter_map(|o| Some(o.hold?.as_str())).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["open", "too many connections: interval probing"]);
    prober.stop().await;
}
