//! The loss that a drill rehearses, with real sockets.

use std::collections::HashSet;
use std::sync::Mutex;

use super::*;
use crate::health::Injection;

fn quick(to: SocketAddr) -> Arc<CheckKey> {
    let (interval, timeout) = (Duration::from_millis(50), Duration::from_millis(50));
    let monitor = Monitor { interval, timeout, hold_down: Duration::ZERO, ..Monitor::new(ProbeKind::Tcp) };
    Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(to) })
}

fn injection(key: &Arc<CheckKey>, failures: &Arc<Mutex<Vec<String>>>) -> Injection {
    let failures = failures.clone();
    Injection {
        checks: Arc::new(HashSet::from([key.clone()])),
        why: "drill of alice".into(),
        on_failure: Arc::new(move |_, why| failures.lock().expect("the list").push(why.to_owned())),
    }
}

#[tokio::test]
async fn a_lost_check_goes_down_and_continues_after_the_loss_as_if_it_had_never_been() {
    let (listener, at) = listening();
    let key = quick(at);
    let (prober, mut published) = start(ProberSettings::default());
    prober.adopt(vec![key.clone()]).ended().await;
    published.until("up", |seen| seen.health == Health::Up).await;
    let failures = Arc::default();
    prober.lose(Some(injection(&key, &failures)));
    let down = published.until("down", |seen| seen.health == Health::Down).await;
    assert_eq!(down[0].why.as_deref(), Some("drill of alice"));
    let saved = |seen: &Observation| match seen.state {
        Some(crate::health::CheckState::Probed(state)) => state.health,
        _ => panic!("no state"),
    };
    assert_eq!(saved(&down[0]), Health::Up, "a restart restores what the check really is");
    prober.lose(None);
    let up = published.until("up", |seen| seen.health == Health::Up).await;
    assert_eq!((up[0].doubt, up[0].why.as_deref()), (crate::model::Doubt::None, None), "not held down, not suspect");
    assert!(failures.lock().expect("the list").is_empty());

    prober.lose(Some(injection(&key, &failures)));
    published.until("down", |seen| seen.health == Health::Down).await;
    drop(listener);
    let reported = async {
        while failures.lock().expect("the list").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reported).await.expect("the real failure is reported");
    prober.lose(None);
    let down = published.until("really down", |seen| seen.why.as_deref() == Some("connection refused")).await;
    assert_eq!(down[0].health, Health::Down);
}
