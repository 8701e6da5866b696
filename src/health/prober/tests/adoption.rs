//! Large plans.

use std::future::poll_fn;
use std::pin::pin;

use super::*;

#[tokio::test]
async fn a_large_plan_is_taken_over_in_parts_and_probes_begin_between_them() {
    const CHECKS: usize = 20_000;
    let (_nobody, at) = refusing();
    let plan = |from: usize| -> Plan {
        let key = |nth: usize| {
            let monitor = Monitor { interval: Duration::from_millis(3_600_000 + nth as u64), ..tcp_monitor() };
            Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(at) })
        };
        (from..from + CHECKS).map(key).collect::<Vec<_>>().into()
    };
    let settings = ProberSettings { max_in_flight: 1, ..ProberSettings::default() };
    let clients = Arc::new(ProbeClients::new(SourceAddresses::default()));
    let (mut prober, _endings, _events) = Prober::new(settings, clients, Box::new(|_, _, _| {}));
    for (from, parts) in [(0, 40), (CHECKS / 2, 60), (CHECKS / 2, 40)] {
        let mut polls = 0;
        {
            let (round, _ended) = oneshot::channel();
            let mut adopting = pin!(prober.adopt(NewPlan { plan: plan(from), round }));
            poll_fn(|cx| {
                polls += 1;
                adopting.as_mut().poll(cx)
            })
            .await;
        }
        assert!(polls > parts, "{polls} parts of {from}");
        assert_eq!((prober.plan.len(), prober.checks.len(), prober.slots.len()), (CHECKS, CHECKS, CHECKS));
    }
    assert!(prober.plan.iter().all(|slot| prober.checks.contains_key(slot)));
    let begun: u32 = prober.plan.iter().map(|slot| prober.schedule.under_way_of(*slot)).sum();
    assert_eq!(begun, 1, "a probe has begun, and one is the most");
}

fn tcp_monitor() -> Monitor {
    Monitor { timeout: Duration::from_secs(10), ..Monitor::new(ProbeKind::Tcp) }
}
