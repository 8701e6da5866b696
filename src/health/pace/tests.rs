//! Attempts and requests: without loss, when something is overdue, and with slow servers.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn settled(ms: u64) -> Rtt {
    let mut rtt = Rtt::default();
    for _ in 0..100 {
        rtt.learn(Duration::from_millis(ms));
    }
    rtt
}

fn lossy(ms: u64) -> Rtt {
    let mut rtt = settled(ms);
    rtt.failed(RecentFailure::Lossy);
    rtt
}

/// Runs `pace` to its time-out in a network in which attempt `nth` is connected after `connects(nth)`, if at all, and
/// no request is answered. Returns when attempts begin, and when requests are sent.
fn silence(mut pace: Pace, connects: impl Fn(usize) -> Option<u64>) -> (Vec<u128>, Vec<u128>, Pace) {
    let (mut begun, mut requested, mut coming) = (Vec::new(), Vec::new(), Vec::new());
    let mut now = Duration::ZERO;
    while now < pace.timeout {
        coming.retain(|(at, nth)| {
            if *at <= now {
                pace.connected(*nth, now);
            }
            *at > now
        });
        match pace.next(now) {
            NextStep::Begin => {
                let nth = pace.begun(now);
                begun.push(now.as_millis());
                coming.extend(connects(nth).map(|ms| (now + Duration::from_millis(ms), nth)));
            }
            NextStep::Request(nth) => {
                pace.requested(nth, now);
                requested.push(now.as_millis());
            }
            NextStep::Wait(until) => {
                let next = coming.iter().map(|(at, _)| *at).chain(until).min();
                now = next.unwrap_or(pace.timeout);
            }
        }
    }
    (begun, requested, pace)
}

#[test]
fn nothing_is_sent_twice_before_an_answer_is_overdue() {
    let timeout = 500 * MS;
    for usual in [1, 20, 60, 120, 200, 240, 400] {
        for connecting in [usual / 8, usual / 2] {
            let pace = Pace::staged(timeout, &settled(usual), 2);
            let (begun, requested, _) = silence(pace, |_| Some(connecting));
            let slow = u128::from(usual + (usual / 8).min(30));
            assert!(begun.get(1).is_none_or(|next| *next >= slow), "{usual} ms, {connecting} to connect: {begun:?}");
            assert!(
                requested.get(1).is_none_or(|next| *next >= slow),
                "{usual} ms, {connecting} to connect: {requested:?}"
            );
        }
    }
}

#[test]
fn attempts_are_repeated_when_overdue_until_near_the_time_out() {
    let timeout = 800 * MS;
    let begun = |pace: Pace| silence(pace, |_| None).0;
    assert_eq!(begun(Pace::light(timeout, &settled(10))), [0, 100, 200, 300, 400, 500]);
    assert_eq!(begun(Pace::light(timeout, &Rtt::default())), [0, 200, 300, 400, 500, 600]);
    assert_eq!(begun(Pace::light(timeout, &settled(700))), [0, 400, 500, 600, 700]);
    assert_eq!(
        begun(Pace::staged(timeout, &settled(200), 2)),
        [0, 150, 200, 250, 300, 350],
        "the connection is half of it"
    );
}

#[test]
fn a_silent_server_gets_a_few_requests_on_separate_connections() {
    let timeout = 800 * MS;
    let (begun, requested, pace) = silence(Pace::staged(timeout, &settled(100), 2), |_| Some(50));
    assert_eq!(
        requested,
        [50, 200, 250, 300],
        "when the first is overdue: 100 ms and the margin, half of it connecting"
    );
    assert_eq!(begun, [0, 150, 200, 250]);
    assert_eq!(pace.losses(), None, "every connection was granted");
    let (begun, requested, pace) = silence(Pace::staged(200 * MS, &settled(1), 2), |_| Some(0));
    assert_eq!((begun.len(), requested.len()), (4, 4));
    assert_eq!(pace.losses(), None);
}

#[test]
fn after_a_failure_there_are_spare_connections_but_no_more_requests() {
    let mut rtt = settled(100);
    rtt.failed(RecentFailure::Failed);
    let (begun, requested, pace) = silence(Pace::staged(480 * MS, &rtt, 2), |_| Some(50));
    assert_eq!(begun[..3], [0, 20, 40], "before the first is overdue");
    assert!(begun.len() <= FEW_REQUESTS + SPARE_CONNECTIONS, "{begun:?}");
    assert_eq!(requested, [50, 130, 150, 170], "when the first is overdue, as always");
    assert_eq!(pace.losses(), None);
}

#[test]
fn if_connections_are_lost_more_is_tried() {
    let timeout = 480 * MS;
    let every_other = |nth| (nth % 2 == 0).then_some(100);
    let (_, calm, pace) = silence(Pace::staged(timeout, &settled(200), 2), every_other);
    assert!(pace.losses().is_some_and(|(lost, of)| lost > 0 && lost < of), "{pace:?}");
    let (begun, dense, pace) = silence(Pace::staged(timeout, &lossy(200), 2), every_other);
    assert!(dense.len() > calm.len() && dense.len() > FEW_REQUESTS, "{calm:?} {dense:?}");
    assert!(dense.len() <= 2 * MANY_REQUESTS && begun.len() <= 2 * CONNECTIONS, "{begun:?} {dense:?}");
    assert!(pace.losses().is_some());
}

#[test]
fn in_an_outage_no_more_is_sent_after_losses() {
    for rtt in [settled(200), lossy(200), Rtt::default()] {
        let (begun, requested, pace) = silence(Pace::staged(500 * MS, &rtt, 3), |_| None);
        assert!((4..=LOSSY_UNANSWERED_ATTEMPTS).contains(&begun.len()), "{begun:?}");
        assert_eq!((requested.len(), pace.losses()), (0, None), "nothing is connected");
    }
}

#[test]
fn without_means_for_another_attempt_the_first_goes_on() {
    let mut pace = Pace::staged(500 * MS, &Rtt::default(), 2);
    pace.begun(Duration::ZERO);
    pace.exhausted();
    assert_eq!(pace.next(400 * MS), NextStep::Wait(None));
    pace.connected(0, 400 * MS);
    assert_eq!(pace.next(400 * MS), NextStep::Request(0));
}

#[test]
fn a_connection_that_is_granted_when_an_answer_is_overdue_shows_that_the_path_works() {
    let late = |rtt: &Rtt, connects: &dyn Fn(usize) -> Option<u64>| {
        silence(Pace::staged(500 * MS, rtt, 2), connects).2.is_granted_late()
    };
    for rtt in [&Rtt::default(), &settled(2), &settled(100)] {
        assert!(late(rtt, &|_| Some(1)), "every connection is granted");
        assert!(!late(rtt, &|_| None), "none is");
        assert!(!late(rtt, &|nth| (nth == 0).then_some(1)), "only the first is");
    }
    assert!(late(&settled(2), &|nth| (nth < 2).then_some(1)), "the queue is full with the second");
}
