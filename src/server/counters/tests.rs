//! What the counters add up to.

use super::*;
use crate::answer::Tallies;

fn reply(rcode: u16, ids: &[u32]) -> Outcome {
    let mut tallies = Tallies::default();
    ids.iter().for_each(|&id| tallies.add(id));
    Outcome::Reply(Reply { len: 12, rcode, tallies, ..Reply::default() })
}

#[test]
fn every_reason_has_a_number_and_a_name_of_its_own() {
    for (at, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), at, "{reason:?}");
        assert_eq!(DropReason::ALL.iter().filter(|other| other.as_str() == reason.as_str()).count(), 1, "{reason:?}");
    }
}

#[test]
fn totals_add_up_threads_that_ended_too() {
    let counters = Counters::new();
    for _ in 0..3 {
        let thread = counters.thread();
        thread.outcome(Transport::Udp, &reply(0, &[1, 4097]));
        thread.outcome(Transport::Udp, &reply(3, &[]));
        thread.outcome(Transport::Tcp, &reply(4095, &[1]));
        thread.outcome(Transport::Udp, &Outcome::Silence(Reject::Response));
        thread.queue_drops(7);
    }
    let totals = counters.totals();
    assert_eq!(totals.queries, [(Transport::Udp, 0, 3), (Transport::Udp, 3, 3), (Transport::Tcp, OTHER_RCODE, 3)]);
    assert_eq!(counters.replies(), 9);
    assert_eq!(totals.dropped.iter().map(|(_, count)| count).sum::<u64>(), 3);
    assert_eq!(totals.dropped[Reject::Response as usize], (DropReason::Rejected(Reject::Response), 3));
    assert_eq!((totals.picks[1], totals.picks[4097], totals.picks.len()), (6, 3, 4098));
    assert_eq!(totals.queue_drops, 21);
}

#[test]
fn reserved_picks_have_their_memory_and_an_id_beyond_all_bounds_is_let_go() {
    let counters = Counters::new();
    let thread = counters.thread();
    thread.reserve_picks(CHUNK + 1);
    assert!(thread.picks[1].get().is_some() && thread.picks[2].get().is_none());
    thread.reserve_picks(1);
    thread.reserve_picks(usize::MAX);
    thread.outcome(Transport::Udp, &reply(0, &[u32::MAX]));
    assert!(counters.totals().picks.is_empty());
}

#[test]
fn what_is_truncated_and_who_answers_is_counted_and_open_connections_are_what_did_not_end() {
    let counters = Counters::new();
    let thread = counters.shared();
    let cut = Reply { len: 12, zone: Some(7), is_truncated: true, ..Reply::default() };
    thread.outcome(Transport::Udp, &Outcome::Reply(cut));
    let first = thread.connection(Transport::Tls);
    let second = thread.connection(Transport::Tls);
    drop(first);
    let totals = counters.totals();
    assert_eq!((totals.picks[7], totals.truncated[0]), (1, (Transport::Udp, 1)));
    assert_eq!(
        totals.connections,
        Transport::ALL[1..]
            .iter()
            .map(|of| match of {
                Transport::Tls => (*of, 2, 1),
                _ => (*of, 0, 0),
            })
            .collect::<Vec<_>>()
    );
    drop(second);
    assert_eq!(counters.totals().connections[1], (Transport::Tls, 2, 0));
}

#[test]
fn shared_counters_lose_nothing_to_each_other() {
    let counters = Counters::new();
    let shared = counters.shared();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| shared.outcome(Transport::Tcp, &reply(0, &[0]))));
        }
    });
    assert_eq!(counters.totals().queries, [(Transport::Tcp, 0, 40_000)]);
    assert_eq!(counters.totals().picks, [40_000]);
}
