//! Writes of one machine whose result is lost, late, or a conflict.

use super::at;
use super::steps::{active, events, foreign, holder, learn, stored, write_of};
use crate::fleet::lease::MemberVerdict::{Down, Up};
use crate::fleet::lease::{LeaseAction, LeaseEvent, WriteResult};
use crate::model::Failback;

#[test]
fn a_write_without_a_result_is_looked_up_before_the_next() {
    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 100, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(100)));
    assert_eq!(machine.poll(at(1_599)), [], "it waits for the result");
    assert_eq!(machine.poll(at(1_600)), [LeaseAction::Read]);
    assert_eq!(machine.poll(at(1_700)), [], "nothing is written meanwhile");
    // It had been stored.
    machine.read(2, stored(&write.lease), at(1_720));
    assert_eq!(machine.active(), Some(&active("b", 2, 2)));
    machine.written(write.id, WriteResult::Stored(2), at(1_730));
    assert_eq!(machine.poll(at(1_730)).len(), 2, "moved, and a renewal; the late result changes nothing");

    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 100, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(100)));
    machine.written(write.id, WriteResult::Unknown, at(200));
    assert_eq!(machine.poll(at(200)), [LeaseAction::Read]);
    // It had not.
    let first = machine.lease().cloned().expect("a lease");
    machine.read(1, stored(&first), at(220));
    let again = write_of(&machine.poll(at(220)));
    assert_eq!((again.expected, &again.lease.active), (1, &active("b", 2, 2)), "nobody can have seen the epoch");
}

#[test]
fn a_conflict_is_read_and_believed() {
    let mut machine = holder(None, Failback::Manual);
    let renewal = write_of(&machine.poll(at(1_000)));
    machine.written(renewal.id, WriteResult::Conflict, at(1_010));
    assert_eq!(machine.poll(at(1_010)), [LeaseAction::Read]);
    machine.read(4, stored(&foreign("b", 9)), at(1_020));
    assert!(!machine.is_holder(at(1_020)));
    assert_eq!(machine.active(), Some(&active("b", 9, 9)));
    assert!(events(&machine.poll(at(1_020))).contains(&LeaseEvent::Lost));
}

#[test]
fn a_promotion_whose_write_has_no_reply_may_still_happen_which_is_reported() {
    let mut machine = holder(None, Failback::Manual);
    learn(&mut machine, 20, [Down, Up, Up]);
    let write = write_of(&machine.poll(at(20)));
    assert_eq!(write.lease.active, active("b", 2, 2));
    let broken_off = |actions: &[LeaseAction]| {
        let all = events(actions);
        all.into_iter().find_map(|event| match event {
            LeaseEvent::BrokenOff { why, .. } => Some(why),
            _ => None,
        })
    };
    let reported = (20..6000).step_by(20).find_map(|ms| broken_off(&machine.poll(at(ms)))).unwrap();
    assert!(reported.ends_with("; its write had no reply, so that b may become active all the same"), "{reported}");
    machine.seen(2, stored(&write.lease), at(6000));
    assert_eq!(machine.active().map(|active| &*active.endpoint), Some("b"));
}
