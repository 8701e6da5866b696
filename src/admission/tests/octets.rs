//! Octets that wait: how many, whose, and when they are free again.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::{address, at, ip};
use crate::admission::{Account, Displacement, Reservation, Seat, Seats, WaitingOctets};

const ROOM: usize = 64 << 10;
const FREE: usize = 4 << 10;

fn open(seats: &Seats, octets: &WaitingOctets, source: &str) -> (Seat, Account) {
    let seat = seats.admit(ip(source), at(0));
    let account = octets.account(&seat, ROOM);
    (seat, account)
}

proptest! {
    #[test]
    fn never_more_than_the_bounds_and_all_is_free_in_the_end(
        total in 1_usize..300_000,
        steps in prop::collection::vec((any::<u8>(), 0_usize..70_000, any::<bool>()), 1..200),
    ) {
        let (seats, octets) = (Seats::new(100), WaitingOctets::new(total));
        let open: Vec<(Seat, Account)> = (0..8).map(|n| {
            let seat = seats.admit(address(n), at(0));
            let account = octets.account(&seat, ROOM);
            (seat, account)
        }).collect();
        let mut reserved: Vec<(usize, Reservation)> = Vec::new();
        for (who, size, grows) in steps {
            let who = usize::from(who) % open.len();
            if who == 7 && !reserved.is_empty() {
                reserved.swap_remove(size % reserved.len());
            } else if grows && !reserved.is_empty() {
                let at = size % reserved.len();
                let (whose, reservation) = &mut reserved[at];
                let (before, all) = (reservation.octets(), open[*whose].1.reserved());
                let has_grown = reservation.try_grow(size);
                prop_assert_eq!(reservation.octets(), before + if has_grown { size } else { 0 });
                prop_assert_eq!(open[*whose].1.reserved(), all + if has_grown { size } else { 0 });
            } else if who == 6 && !reserved.is_empty() {
                let (_, reservation) = reserved.last_mut().unwrap();
                let before = reservation.octets();
                reservation.shrink_to(size);
                prop_assert_eq!(reservation.octets(), before.min(size));
            } else if let Some(reservation) = open[who].1.try_reserve(size) {
                reserved.push((who, reservation));
            }
            for (who, (_, account)) in open.iter().enumerate() {
                let own = reserved.iter().filter(|(whose, _)| *whose == who);
                let own: Vec<usize> = own.map(|(_, reservation)| reservation.octets()).collect();
                prop_assert_eq!(account.reserved(), own.iter().sum::<usize>());
                let other: usize = own.iter().sum::<usize>() - own.iter().max().unwrap_or(&0);
                prop_assert!(account.reserved() <= ROOM || other == 0, "only one alone may be longer: {own:?}");
            }
            let all: usize = open.iter().map(|(_, account)| account.reserved()).sum();
            prop_assert!(octets.waiting() <= total);
            prop_assert!(all <= octets.waiting() + 8 * FREE || all > total, "{all}");
        }
        drop(reserved);
        prop_assert_eq!(octets.waiting(), 0);
        prop_assert!(open.iter().all(|(_, account)| account.reserved() == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_any_size_is_possible_when_nothing_else_waits() {
    let (seats, octets) = (Seats::new(10), WaitingOctets::new(1 << 20));
    let (_seat, account) = open(&seats, &octets, "192.0.2.1");
    let longest = account.try_reserve(ROOM + 1000).unwrap();
    assert!(account.try_reserve(1).is_none());
    let second = account.reserve(100);
    tokio::pin!(second);
    assert!(timeout(Duration::from_secs(60), &mut second).await.is_err());
    drop(longest);
    let second = second.await;
    assert_eq!((account.reserved(), second.octets()), (100, 100));
    assert!(account.try_reserve(ROOM).is_none() && account.try_reserve(ROOM - 100).is_some());
}

#[tokio::test(start_paused = true)]
async fn when_the_total_is_exhausted_the_heaviest_net_loses_the_connection_that_takes_nothing() {
    let (seats, octets) = (Seats::new(10), WaitingOctets::new(4 * ROOM));
    let heavy: Vec<(Seat, Account)> = (0..4).map(|_| open(&seats, &octets, "192.0.2.1")).collect();
    let mut waiting: Vec<Option<Reservation>> = heavy.iter().map(|(_, account)| account.try_reserve(ROOM)).collect();
    assert!(waiting.iter().all(Option::is_some));
    // The first takes its octets, and the second is deaf.
    waiting[0] = None;
    waiting[0] = heavy[0].1.try_reserve(ROOM);
    heavy[1].0.mark_deaf(at(1));
    let (seat, account) = open(&seats, &octets, "198.51.100.1");
    let small = account.try_reserve(FREE);
    assert!(small.is_some() && heavy.iter().all(|(seat, _)| seat.displacement().is_none()), "a small reply is free");
    let large = account.reserve(ROOM / 2);
    tokio::pin!(large);
    assert!(timeout(Duration::from_secs(1), &mut large).await.is_err(), "its octets have to come free first");
    let displaced: Vec<_> = heavy.iter().map(|(seat, _)| seat.displacement()).collect();
    assert_eq!(displaced, [None, Some(Displacement::Octets), None, None], "no more than are needed");
    waiting[1] = None;
    assert_eq!(large.await.octets(), ROOM / 2);
    assert_eq!(seat.displacement(), None);
}

#[tokio::test(start_paused = true)]
async fn the_heaviest_net_itself_waits_and_displaces_no_other() {
    let (seats, octets) = (Seats::new(10), WaitingOctets::new(2 * ROOM));
    let (light, account) = open(&seats, &octets, "198.51.100.1");
    let _waits = account.try_reserve(ROOM / 2).unwrap();
    let flood: Vec<(Seat, Account)> = (0..4).map(|_| open(&seats, &octets, "192.0.2.1")).collect();
    let waiting: Vec<_> = flood.iter().map(|(_, account)| account.try_reserve(ROOM)).collect();
    assert_eq!(waiting.iter().flatten().count(), 1);
    assert!(timeout(Duration::from_secs(60), flood[2].1.reserve(ROOM)).await.is_err());
    assert!(light.displacement().is_none() && flood.iter().all(|(seat, _)| seat.displacement().is_none()));
    // Only its own deaf ones.
    flood[0].0.mark_deaf(at(1));
    assert!(flood[3].1.try_reserve(ROOM).is_none());
    assert_eq!(flood[0].0.displacement(), Some(Displacement::Octets));
    assert!(light.displacement().is_none());
}

#[test]
fn octets_are_free_when_their_last_part_is_dropped() {
    let (seats, octets) = (Seats::new(10), WaitingOctets::new(1 << 20));
    let (_seat, account) = open(&seats, &octets, "192.0.2.1");
    let mut bytes = account.try_reserve(10_000).unwrap().into_bytes(vec![7; 10_000]);
    let part = bytes.split_to(10);
    drop(bytes);
    assert_eq!((account.reserved(), octets.waiting(), account.releases()), (10_000, 10_000, 0));
    drop(part);
    assert_eq!((account.reserved(), octets.waiting(), account.releases()), (0, 0, 1));
}

#[test]
fn what_is_left_of_a_reservation_longer_than_the_total_is_counted() {
    let (seats, octets) = (Seats::new(10), WaitingOctets::new(34_000));
    let (_seat, account) = open(&seats, &octets, "192.0.2.1");
    let mut longest = account.try_reserve(66_000).unwrap();
    for (left, waiting) in [(66_000, 34_000), (50_000, 34_000), (33_000, 33_000), (10, 10), (0, 0)] {
        longest.shrink_to(left);
        assert_eq!((account.reserved(), octets.waiting()), (left, waiting));
    }
}
