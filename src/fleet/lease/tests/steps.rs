//! One or two machines, step by step.

use std::sync::Arc;
use std::time::Duration;

use super::{MS, SECOND, at, situation};
use crate::fleet::lease::{
    HookResult, HookRun, Lease, LeaseAction, LeaseEvent, LeaseMachine, LeaseSettings, LeaseWrite, MemberVerdict,
    StoredLease, UnreadableLease, WriteResult,
};
use crate::model::{ActiveEndpoint, Failback, Moment};
use MemberVerdict::{Down, OutOfService, Unsure, Up};

pub(super) const DURATION: Duration = Duration::from_secs(3);
pub(super) const HOOK: Option<Duration> = Some(Duration::from_secs(30));

pub(super) fn settings(node: &str, hook_timeout: Option<Duration>) -> LeaseSettings {
    LeaseSettings { node: node.into(), instance: 7, duration: DURATION, hook_timeout }
}

pub(super) fn active(endpoint: &str, epoch: u64, highest: u64) -> ActiveEndpoint {
    ActiveEndpoint { endpoint: endpoint.into(), epoch, highest }
}

/// A lease of another server.
pub(super) fn foreign(endpoint: &str, epoch: u64) -> Lease {
    Lease {
        active: active(endpoint, epoch, epoch),
        holder: "other".into(),
        instance: 1,
        serial: 1,
        duration: DURATION,
        promoting: None,
        why: "".into(),
    }
}

pub(super) fn stored(lease: &Lease) -> StoredLease {
    StoredLease::Lease(lease.clone())
}

/// The only write among actions.
pub(super) fn write_of(actions: &[LeaseAction]) -> LeaseWrite {
    let writes = || {
        actions.iter().filter_map(|action| match action {
            LeaseAction::Write(write) => Some(write.clone()),
            LeaseAction::Read
            | LeaseAction::RunHook { .. }
            | LeaseAction::Extend { .. }
            | LeaseAction::KillHook { .. }
            | LeaseAction::Report(_) => None,
        })
    };
    assert_eq!(writes().count(), 1, "{actions:?}");
    writes().next().expect("one")
}

pub(super) fn events(actions: &[LeaseAction]) -> Vec<LeaseEvent> {
    let of = |action: &LeaseAction| match action {
        LeaseAction::Report(event) => Some(event.clone()),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// A machine that holds the lease of `a`, epoch 1, since 0 ms; the newest revision is 1.
pub(super) fn holder(hook_timeout: Option<Duration>, failback: Failback) -> LeaseMachine {
    let mut machine = LeaseMachine::new(settings("own", hook_timeout), None);
    machine.learn(situation(at(0), failback, &[("a", Up), ("b", Up), ("c", Up)]));
    machine.store_live(0, StoredLease::Nothing, at(0));
    let write = write_of(&machine.poll(at(0)));
    assert_eq!((write.expected, &write.lease.active), (0, &active("a", 1, 1)));
    machine.written(write.id, WriteResult::Stored(1), at(10));
    assert_eq!(events(&machine.poll(at(10))), [LeaseEvent::Taken { from: None }]);
    assert!(machine.is_holder(at(10)));
    machine
}

pub(super) fn learn(machine: &mut LeaseMachine, ms: u64, verdicts: [MemberVerdict; 3]) {
    let members: Vec<(&str, MemberVerdict)> = ["a", "b", "c"].into_iter().zip(verdicts).collect();
    machine.learn(situation(at(ms), Failback::Manual, &members));
}

/// Brings a machine with a hook to where the hook runs, at 100 ms, with revision 2.
fn with_running_hook() -> LeaseMachine {
    let mut machine = holder(HOOK, Failback::Manual);
    learn(&mut machine, 100, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(100)));
    assert_eq!(write.lease.active, active("a", 1, 2));
    assert_eq!(write.lease.promoting.as_ref().map(|of| (&*of.endpoint, of.epoch)), Some(("b", 2)));
    machine.written(write.id, WriteResult::Stored(2), at(110));
    let run = HookRun { epoch: 2, from: "a".into(), to: "b".into() };
    let until = at(100) + DURATION - DURATION / 10;
    let expected = [LeaseAction::Report(LeaseEvent::Begun(run.clone())), LeaseAction::RunHook { run, until }];
    assert_eq!(machine.poll(at(110)), expected);
    machine
}

#[test]
fn without_a_hook_the_endpoint_moves_with_one_write() {
    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 100, [Down, Unsure, Up]);
    let write = write_of(&machine.poll(at(100)));
    assert_eq!((&write.lease.active, &*write.lease.why), (&active("c", 2, 2), "a is down"));
    assert_eq!(machine.active(), Some(&active("a", 1, 1)), "not before it is stored");
    machine.written(write.id, WriteResult::Stored(2), at(120));
    assert_eq!(machine.active(), Some(&active("c", 2, 2)));
    assert!(matches!(&events(&machine.poll(at(120)))[..], [LeaseEvent::Moved { from, .. }] if **from == *"a"));
}

#[test]
fn nothing_is_promoted_without_a_verdict() {
    for verdicts in [[Unsure, Up, Up], [Down, Unsure, Unsure], [Down, Down, OutOfService], [Up, Up, Up]] {
        let mut machine = holder(None, Failback::Manual);
        learn(&mut machine, 100, verdicts);
        assert_eq!(machine.poll(at(100)), [], "{verdicts:?}");
    }
    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 100, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(20_000)));
    assert_eq!(write.lease.active, active("a", 1, 1), "an old verdict: it only renews");
}

#[test]
fn what_an_operator_takes_out_of_service_moves() {
    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 100, [OutOfService, Up, Up]);
    assert_eq!(write_of(&machine.poll(at(100))).lease.active, active("b", 2, 2));
}

#[test]
fn the_hook_runs_before_the_endpoint_moves() {
    let mut machine = with_running_hook();
    // Its end does not wait for a renewal.
    machine.hook_ended(2, HookResult::Done, at(500));
    let write = write_of(&machine.poll(at(500)));
    assert_eq!((&write.lease.active, write.lease.promoting), (&active("b", 2, 2), None));
    machine.written(write.id, WriteResult::Stored(3), at(520));
    assert_eq!(machine.active(), Some(&active("b", 2, 2)));
}

#[test]
fn a_renewal_extends_the_hook_until_its_own_end() {
    let mut machine = with_running_hook();
    let renewal = write_of(&machine.poll(at(1_100)));
    assert!(renewal.lease.promoting.is_some());
    machine.written(renewal.id, WriteResult::Stored(3), at(1_120));
    let until = at(1_100) + DURATION - DURATION / 10;
    assert_eq!(machine.poll(at(1_120)), [LeaseAction::Extend { epoch: 2, until }]);
}

#[test]
fn a_hook_that_hangs_is_killed_and_another_endpoint_is_tried() {
    let mut machine = with_running_hook();
    let mut revision = 2;
    let mut ms = 110;
    // It is renewed for 30 seconds.
    let killed = loop {
        let next = machine.deadline(at(ms)).expect("something to do").since(at(0)).as_millis() as u64;
        ms = next.max(ms);
        learn(&mut machine, ms, [Down, Up, Up]);
        let actions = machine.poll(at(ms));
        if actions.contains(&LeaseAction::KillHook { epoch: 2 }) {
            break actions;
        }
        for action in actions {
            if let LeaseAction::Write(write) = action {
                revision += 1;
                machine.written(write.id, WriteResult::Stored(revision), at(ms));
            }
        }
    };
    assert_eq!(ms, 30_110);
    let write = write_of(&killed);
    assert_eq!((&write.lease.active, write.lease.promoting.clone()), (&active("a", 1, 2), None), "{killed:?}");
    machine.written(write.id, WriteResult::Stored(revision + 1), at(ms + 10));
    let next = write_of(&machine.poll(at(ms + 10)));
    assert_eq!(next.lease.promoting.map(|of| (of.endpoint, of.epoch)), Some(("c".into(), 3)), "b failed just now");
}

#[test]
fn a_hook_that_fails_leaves_the_endpoint_and_burns_the_epoch() {
    let mut machine = with_running_hook();
    learn(&mut machine, 400, [Down, Up, Down]);
    machine.hook_ended(2, HookResult::Failed("exit code 1".into()), at(400));
    let write = write_of(&machine.poll(at(400)));
    assert_eq!((&write.lease.active, write.lease.promoting), (&active("a", 1, 2), None));
    machine.written(write.id, WriteResult::Stored(3), at(420));
    assert_eq!(events(&machine.poll(at(420))), [], "b waits");
    // Ten seconds later it is tried again, with the next epoch.
    let (mut ms, mut revision) = (420, 3);
    while ms < 10_400 {
        ms += 500;
        learn(&mut machine, ms, [Down, Up, Down]);
        if let [LeaseAction::Write(write)] = &machine.poll(at(ms))[..] {
            revision += 1;
            let again = write.lease.promoting.clone();
            assert_eq!(again.is_some(), ms >= 10_400, "{ms} ms");
            machine.written(write.id, WriteResult::Stored(revision), at(ms));
        }
    }
    assert_eq!(machine.lease().and_then(|lease| lease.promoting.as_ref()).map(|of| of.epoch), Some(3));
}

#[test]
fn a_hook_is_killed_before_another_server_may_take_over() {
    let mut machine = with_running_hook();
    machine.store_lost();
    let until = at(100) + DURATION - DURATION / 10;
    assert_eq!(machine.deadline(at(200)), Some(until));
    let actions = machine.poll(until);
    assert!(actions.contains(&LeaseAction::KillHook { epoch: 2 }), "{actions:?}");
    assert!(!machine.is_holder(until));
    assert_eq!(machine.active(), Some(&active("a", 1, 2)), "the endpoint stays");
    // The dead hook's last word does not count.
    machine.hook_ended(2, HookResult::Done, until + SECOND);
    assert_eq!(machine.poll(until + SECOND), []);
}

#[test]
fn a_lost_lease_ends_the_hook_and_its_epoch_is_never_used_again() {
    let mut machine = with_running_hook();
    let mut taken = foreign("a", 1);
    taken.active.highest = 2;
    machine.seen(3, stored(&taken), at(900));
    let actions = machine.poll(at(900));
    assert_eq!(actions.first(), Some(&LeaseAction::KillHook { epoch: 2 }), "{actions:?}");
    assert!(events(&actions).contains(&LeaseEvent::Lost));
    learn(&mut machine, 3_950, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(900) + DURATION));
    assert_eq!((write.expected, &write.lease.active), (3, &active("a", 1, 2)), "taken back, as it is");
    machine.written(write.id, WriteResult::Stored(4), at(3_960));
    assert_eq!(write_of(&machine.poll(at(3_960))).lease.promoting.map(|of| of.epoch), Some(3));
}

#[test]
fn a_watcher_waits_for_the_whole_duration_after_the_newest_revision() {
    let mut machine = LeaseMachine::new(settings("own", None), None);
    learn(&mut machine, 0, [Down, Up, Up]);
    machine.store_live(5, stored(&foreign("a", 4)), at(0));
    assert_eq!(machine.active(), Some(&active("a", 4, 4)));
    assert_eq!(machine.poll(at(2_999)), []);
    machine.seen(6, stored(&Lease { serial: 2, ..foreign("a", 4) }), at(2_999));
    assert_eq!(machine.deadline(at(3_000)), Some(at(2_999) + DURATION));
    assert_eq!(machine.poll(at(5_998)), []);
    // A break of the watch starts the time again.
    machine.store_lost();
    assert_eq!(machine.poll(at(6_000)), []);
    machine.store_live(6, stored(&Lease { serial: 2, ..foreign("a", 4) }), at(7_000));
    assert_eq!(machine.poll(at(9_999)), []);
    let write = write_of(&machine.poll(at(10_000)));
    assert_eq!((write.expected, &write.lease.active, &*write.lease.holder), (6, &active("a", 4, 4), "own"));
}

#[test]
fn an_operators_order_is_executed_by_the_server_that_got_it() {
    let mut machine = LeaseMachine::new(settings("own", None), None);
    machine.store_live(5, stored(&foreign("b", 4)), at(0));
    learn(&mut machine, 0, [Up, Up, Up]);
    machine.hand_back(1, "alice".into(), at(10));
    let taken = write_of(&machine.poll(at(10)));
    assert_eq!(taken.lease.active, active("b", 4, 4));
    machine.written(taken.id, WriteResult::Stored(6), at(20));
    let moved = write_of(&machine.poll(at(20)));
    assert_eq!((&moved.lease.active, &*moved.lease.why), (&active("a", 5, 5), "handed back by alice"));
    machine.written(moved.id, WriteResult::Stored(7), at(30));
    let ended = LeaseEvent::OrderEnded { order: 1, result: Ok(active("a", 5, 5)) };
    assert!(events(&machine.poll(at(30))).contains(&ended));
}

#[test]
fn an_order_that_can_not_be_executed_says_why() {
    let refusal = |machine: &mut LeaseMachine, now: Moment| match &events(&machine.poll(now))[..] {
        [LeaseEvent::OrderEnded { order: 1, result: Err(why) }] => why.clone(),
        other => panic!("{other:?}"),
    };
    let mut machine = holder(None, Failback::Manual);
    machine.hand_back(1, "alice".into(), at(20));
    let nothing = LeaseEvent::OrderEnded { order: 1, result: Ok(active("a", 1, 1)) };
    assert_eq!(events(&machine.poll(at(20))), [nothing]);

    let mut machine = LeaseMachine::new(settings("own", None), Some(active("b", 3, 3)));
    learn(&mut machine, 0, [Up, Up, Up]);
    machine.hand_back(1, "alice".into(), at(0));
    assert!(refusal(&mut machine, at(10_000)).contains("not connected"));

    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 20, [Down, Unsure, OutOfService]);
    machine.hand_back(1, "alice".into(), at(20));
    assert!(refusal(&mut machine, at(20)).contains("none of its members is up"));
}

#[test]
fn failback_by_itself_only_where_it_is_written() {
    let moved = |failback: Failback, up_for: u64| {
        let mut machine = holder(None, failback);
        machine.learn(situation(at(100), failback, &[("a", Down), ("b", Up)]));
        let write = write_of(&machine.poll(at(100)));
        machine.written(write.id, WriteResult::Stored(2), at(110));
        machine.learn(situation(at(200), failback, &[("a", Up), ("b", Up)]));
        machine.poll(at(200)).len();
        machine.learn(situation(at(200 + up_for), failback, &[("a", Up), ("b", Up)]));
        let actions = machine.poll(at(200 + up_for));
        actions.iter().any(|action| matches!(action, LeaseAction::Write(write) if &*write.lease.active.endpoint == "a"))
    };
    assert!(!moved(Failback::Manual, 900));
    assert!(!moved(Failback::After(800 * MS), 799));
    assert!(moved(Failback::After(800 * MS), 800));
}

#[test]
fn a_store_that_lost_its_state_gets_the_highest_epoch_back() {
    // It is empty: the same endpoint and epoch, but the next epoch is one that nobody can have seen.
    let mut machine = LeaseMachine::new(settings("own", None), Some(active("b", 7, 8)));
    learn(&mut machine, 0, [Up, Up, Up]);
    machine.store_live(0, StoredLease::Nothing, at(0));
    let first = write_of(&machine.poll(at(0)));
    assert_eq!(first.lease.active, active("b", 7, 1_008));
    // Another server, which had missed a promotion, was faster.
    machine.seen(1, stored(&foreign("a", 6)), at(5));
    assert_eq!(machine.active(), Some(&active("b", 7, 8)), "the highest epoch is served");
    machine.written(first.id, WriteResult::Conflict, at(6));
    machine.poll(at(6));
    machine.read(1, stored(&foreign("a", 6)), at(7));
    let write = write_of(&machine.poll(at(7)));
    assert_eq!((write.expected, &write.lease.active), (1, &active("b", 7, 1_008)));
    // It was made anew while the watch lived: its numbers begin again.
    machine.written(write.id, WriteResult::Conflict, at(10));
    machine.poll(at(10));
    machine.read(0, StoredLease::Nothing, at(11));
    // The second write in a row that was not stored: the next one waits.
    assert_eq!(machine.poll(at(11)), []);
    let later = machine.deadline(at(11)).expect("something to do");
    assert_eq!(write_of(&machine.poll(later)).expected, 0);
}

#[test]
fn a_value_of_a_later_version_is_left_alone() {
    let mut machine = LeaseMachine::new(settings("own", None), Some(active("a", 3, 3)));
    learn(&mut machine, 0, [Down, Up, Up]);
    machine.store_live(9, StoredLease::Unreadable(UnreadableLease("version 2".into())), at(0));
    assert_eq!(events(&machine.poll(at(0))), [LeaseEvent::Unreadable("version 2".into())]);
    learn(&mut machine, 60_000, [Down, Up, Up]);
    assert_eq!(machine.poll(at(60_000)), []);
    assert_eq!(machine.deadline(at(60_000)), None);
    assert_eq!(machine.active(), Some(&active("a", 3, 3)));
}

#[test]
fn a_server_that_stops_leaves_the_lease_to_the_others_soon() {
    let mut machine = holder(None, Failback::Manual);
    machine.resign(at(500));
    let write = write_of(&machine.poll(at(500)));
    assert_eq!((&write.lease.active, write.lease.duration), (&active("a", 1, 1), 500 * MS));
    assert!(!machine.is_holder(at(500)));
    machine.written(write.id, WriteResult::Stored(2), at(510));
    assert_eq!(machine.poll(at(9_000)), [], "it takes nothing any more");
    let mut other = LeaseMachine::new(settings("other", None), None);
    other.store_live(2, stored(&write.lease), at(520));
    assert_eq!(other.deadline(at(520)), Some(at(1_020)));

    let mut machine = with_running_hook();
    machine.resign(at(500));
    assert!(machine.poll(at(500)).contains(&LeaseAction::KillHook { epoch: 2 }));
}

#[test]
fn a_lease_that_nobody_can_write_is_stalled() {
    let mut other = LeaseMachine::new(settings("other", None), None);
    assert!(!other.is_stalled(at(60_000)), "the store is away");
    other.store_live(2, stored(&foreign("a", 1)), at(0));
    let taken = write_of(&other.poll(at(3_000)));
    other.written(taken.id, WriteResult::Unknown, at(4_500));
    other.poll(at(4_500));
    assert_eq!((other.is_stalled(at(5_999)), other.is_stalled(at(6_000))), (false, true));
    assert!(other.deadline(at(5_900)).is_some_and(|at_most| at_most <= at(6_000)), "whoever waits notices it");
    other.seen(3, stored(&foreign("a", 1)), at(6_100));
    assert!(!other.is_stalled(at(6_100)), "somebody renewed it");
    other.store_lost();
    other.store_live(3, stored(&foreign("a", 1)), at(9_000));
    let is_written = |machine: &LeaseMachine, millis| machine.written_lease(at(millis)).is_some();
    assert!(!is_written(&other, 9_000), "a server of the store without a quorum can still be read");
    other.seen(4, stored(&foreign("a", 1)), at(9_500));
    assert!(is_written(&other, 9_500), "somebody wrote");
    assert!(!is_written(&other, 15_500) && other.is_stalled(at(15_500)), "and then nobody for two durations");
}

#[test]
fn at_the_highest_epoch_nothing_is_promoted_any_more() {
    let mut machine = LeaseMachine::new(settings("own", None), None);
    machine.store_live(1, stored(&foreign("a", super::super::MAX_EPOCH)), at(0));
    learn(&mut machine, 3_000, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(3_000)));
    machine.written(write.id, WriteResult::Stored(2), at(3_010));
    learn(&mut machine, 4_000, [Down, Up, Up]);
    let holder: Arc<str> = "own".into();
    let renewal = write_of(&machine.poll(at(4_000))).lease;
    assert_eq!((renewal.holder, &*renewal.active.endpoint), (holder, "a"));
}
