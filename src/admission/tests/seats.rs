//! Seats: who gets one, and who loses one.

use proptest::prelude::*;

use super::{address, at, ip};
use crate::admission::{Seat, Seats, SourceNet};

/// What happens to the connections of a listener.
#[derive(Debug, Clone, Copy)]
enum Event {
    Arrive(u8),
    Use(usize),
    GoDeaf(usize),
    Leave(usize),
    MakeRoom,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => any::<u8>().prop_map(Event::Arrive),
        3 => any::<usize>().prop_map(Event::Use),
        1 => any::<usize>().prop_map(Event::GoDeaf),
        2 => any::<usize>().prop_map(Event::Leave),
        1 => Just(Event::MakeRoom),
    ]
}

/// A connection that is not displaced, as the rules see it.
#[derive(Debug)]
struct Known {
    seat: Seat,
    net: SourceNet,
    /// The least is displaced first: its kind, since when, and in which order it came.
    usefulness: (u8, u64, usize),
}

/// The rule, by brute force: the index of the connection that is displaced.
fn to_displace(all: &[Known], newcomer: Option<SourceNet>) -> Option<usize> {
    let of = |level: fn(SourceNet) -> SourceNet, net: SourceNet, within: &[usize]| {
        let count = within.iter().filter(|&&at| level(all[at].net) == level(net)).count();
        count + usize::from(newcomer.is_some_and(|new| level(new) == level(net)))
    };
    let site: fn(SourceNet) -> SourceNet = SourceNet::site;
    let own: fn(SourceNet) -> SourceNet = |net| net;
    let mut left: Vec<usize> = (0..all.len()).collect();
    for level in [site, own] {
        let weight = |at: usize| of(level, all[at].net, &left);
        let most = left.iter().map(|&at| weight(at)).max()?;
        // The newcomer counts, and of equal ones another net pays if the newcomer makes its own equal.
        let is_own = |at: usize| newcomer.is_some_and(|new| level(new) == level(all[at].net));
        let heaviest: Vec<usize> = left.iter().copied().filter(|&at| weight(at) == most).collect();
        let others: Vec<usize> = heaviest.iter().copied().filter(|&at| !is_own(at)).collect();
        left = if others.is_empty() { heaviest } else { others };
        // Of several sites of equal weight, the one whose heaviest net has the least useful connection.
        let chosen = left.iter().copied().min_by_key(|&at| first_of(all, level(all[at].net), level, &left))?;
        let chosen = level(all[chosen].net);
        left.retain(|&at| level(all[at].net) == chosen);
    }
    left.into_iter().min_by_key(|&at| all[at].usefulness)
}

/// The usefulness of the connection that a site or net would lose.
fn first_of(
    all: &[Known],
    group: SourceNet,
    level: fn(SourceNet) -> SourceNet,
    left: &[usize],
) -> Option<(u8, u64, usize)> {
    let of_group: Vec<usize> = left.iter().copied().filter(|&at| level(all[at].net) == group).collect();
    let size = |net: SourceNet| of_group.iter().filter(|&&at| all[at].net == net).count();
    let most = of_group.iter().map(|&at| size(all[at].net)).max()?;
    of_group.iter().filter(|&&at| size(all[at].net) == most).map(|&at| all[at].usefulness).min()
}

proptest! {
    #[test]
    fn every_admission_follows_the_rules(capacity in 1_usize..12, events in prop::collection::vec(event(), 1..200)) {
        let seats = Seats::new(capacity);
        let (mut all, mut displaced): (Vec<Known>, Vec<Seat>) = (Vec::new(), Vec::new());
        for (turn, event) in events.into_iter().enumerate() {
            let now = at(turn as u64 * 7);
            let pick = |number: usize| (!all.is_empty()).then(|| number % all.len());
            let millis = turn as u64 * 7;
            let (expected, newcomer) = match event {
                Event::Arrive(number) => {
                    let net = SourceNet::of(address(number));
                    let expected = (all.len() >= capacity).then(|| to_displace(&all, Some(net))).flatten();
                    let seat = seats.admit(address(number), now);
                    (expected, Some(Known { seat, net, usefulness: (1, millis, turn) }))
                }
                Event::MakeRoom => {
                    let expected = to_displace(&all, None);
                    prop_assert_eq!(seats.make_room(), expected.is_some());
                    (expected, None)
                }
                Event::Use(number) => {
                    if let Some(known) = pick(number).and_then(|at| all.get_mut(at)) {
                        known.seat.mark_used(now);
                        known.usefulness = (2, millis, known.usefulness.2);
                    }
                    (None, None)
                }
                Event::GoDeaf(number) => {
                    if let Some(known) = pick(number).and_then(|at| all.get_mut(at)) {
                        known.seat.mark_deaf(now);
                        known.usefulness = (0, millis, known.usefulness.2);
                    }
                    (None, None)
                }
                Event::Leave(number) => {
                    if let Some(at) = pick(number) {
                        all.swap_remove(at);
                    }
                    displaced.clear();
                    (None, None)
                }
            };
            let is_displaced = |at: &usize| all[*at].seat.displacement().is_some();
            let now_displaced: Vec<usize> = (0..all.len()).filter(is_displaced).collect();
            prop_assert_eq!(&now_displaced, &expected.into_iter().collect::<Vec<_>>(), "{:?} at {}", event, turn);
            if let Some(at) = expected {
                let lost = all.swap_remove(at);
                if let Some(newcomer) = &newcomer {
                    let count = |net| all.iter().filter(|known| known.net.site() == net).count();
                    let (own, other) = (newcomer.net.site(), lost.net.site());
                    prop_assert!(own == other || count(other) >= count(own), "a flood displaces itself");
                }
                displaced.push(lost.seat);
            }
            all.extend(newcomer);
            prop_assert_eq!(seats.taken(), all.len());
            prop_assert!(all.len() <= capacity);
        }
        drop((all, displaced));
        prop_assert_eq!(seats.taken(), 0);
        prop_assert!(!seats.make_room(), "every seat was freed, once");
    }
}

#[test]
fn a_flood_displaces_itself_and_never_a_net_with_fewer_seats() {
    let seats = Seats::new(100);
    let few: Vec<Seat> = (0..10).map(|n| seats.admit(ip(&format!("198.51.100.{n}")), at(n))).collect();
    let mut flood = Vec::new();
    for n in 0..10_000_u64 {
        flood.push(seats.admit(ip("192.0.2.1"), at(1000 + n)));
        flood.retain(|seat| seat.displacement().is_none());
    }
    assert_eq!(flood.len(), 90);
    assert!(few.iter().all(|seat| seat.displacement().is_none()), "new as they are");
    let newcomer = seats.admit(ip("203.0.113.1"), at(20_000));
    assert_eq!(flood.iter().filter(|seat| seat.displacement().is_some()).count(), 1);
    assert_eq!((newcomer.displacement(), seats.taken()), (None, 100));
}

#[test]
fn a_48_does_not_count_as_65536_clients() {
    let seats = Seats::new(50);
    let few: Vec<Seat> = (0..5).map(|n| seats.admit(ip(&format!("198.51.100.{}", n / 2)), at(n))).collect();
    let mut site = Vec::new();
    for n in 0..1000_u64 {
        site.push(seats.admit(ip(&format!("2001:db8:1:{n:x}::1")), at(1000 + n)));
        site.retain(|seat| seat.displacement().is_none());
    }
    assert!(few.iter().all(|seat| seat.displacement().is_none()));
    assert_eq!(site.len(), 45);
}

#[test]
fn within_a_net_the_deaf_go_first_then_the_new_then_the_idle() {
    let seats = Seats::new(6);
    let all: Vec<Seat> = (0..6).map(|n| seats.admit(ip("192.0.2.1"), at(n))).collect();
    for n in [0, 1, 2, 3] {
        all[n].mark_used(at(100 + n as u64));
    }
    all[1].mark_deaf(at(200));
    all[2].mark_deaf(at(201));
    all[2].mark_used(at(300));
    let mut order = Vec::new();
    let mut later = Vec::new();
    for n in 0..6 {
        let seat = seats.admit(ip("192.0.2.1"), at(1000 + n));
        seat.mark_used(at(1000 + n));
        later.push(seat);
        order.extend((0..6).filter(|at| all[*at].displacement().is_some() && !order.contains(at)).collect::<Vec<_>>());
    }
    assert_eq!(order, [1, 4, 5, 0, 3, 2]);
}

#[test]
fn many_admissions_never_exceed_the_capacity() {
    let seats = Seats::new(4096);
    let mut open = std::collections::VecDeque::new();
    for n in 0..20_000_u32 {
        let seat = seats.admit(std::net::IpAddr::V4((0x0a00_0000 + n % 5000).into()), at(u64::from(n)));
        seat.mark_used(at(u64::from(n)));
        open.push_back(seat);
        if open.len() > 5000 {
            open.pop_front();
        }
    }
    assert_eq!(seats.taken(), 4096);
}

#[tokio::test]
async fn an_accept_loop_waits_until_displaced_connections_have_ended() {
    let seats = Seats::new(1);
    let displaced: Vec<Seat> = (0..40).map(|n| seats.admit(ip("192.0.2.1"), at(n))).collect();
    let waiting = tokio::spawn({
        let seats = seats.clone();
        async move { seats.settled().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(displaced);
    waiting.await.unwrap();
}

#[test]
fn clients_of_many_nets_that_take_nothing_are_displaced_before_a_newcomer() {
    let seats = Seats::new(100);
    let net = |n: u64| ip(&format!("10.0.{}.{}", n / 250, n % 250));
    let deaf: Vec<Seat> = (0..100).map(|n| seats.admit(net(n), at(n))).collect();
    deaf.iter().for_each(|seat| seat.mark_deaf(at(200)));
    let newcomer = seats.admit(ip("192.0.2.1"), at(300));
    let others: Vec<Seat> = (0..99).map(|n| seats.admit(net(1000 + n), at(301 + n))).collect();
    assert!(newcomer.displacement().is_none() && others.iter().all(|seat| seat.displacement().is_none()));
    assert!(deaf.iter().all(|seat| seat.displacement().is_some()));
    let _next = seats.admit(net(2000), at(500));
    assert!(newcomer.displacement().is_some(), "then the oldest of the new ones");
}
