//! Draws by chance, and records as they go out.

use std::collections::HashMap;

use super::*;
use crate::model::{AnswerRdata, Answerable, Endpoint, EndpointId, Facet, MAX_ENDPOINTS, MemberRef, ZoneId};
use crate::steering::{Share, Tier};
use crate::wire::code::rtype;

/// Endpoints by number: 0..8 have an address, 8 and 9 a cname.
fn world() -> (Model, Policy) {
    let endpoint = |at: u32| {
        let answerable = match at {
            0..8 => Answerable::new(Facet::V4, AnswerRdata::Address([192, 0, 2, at as u8].into()), None),
            _ => Answerable::new(Facet::Alias, AnswerRdata::Cname(Box::new([1, b'a' + at as u8, 0])), None),
        };
        Endpoint::new(format!("e{at}"), ZoneId(0), vec![answerable])
    };
    let model = Model { endpoints: (0..10).map(endpoint).collect(), ..Model::default() };
    let root = MemberRef::Endpoint(EndpointId(0));
    let policy = Policy::new(ZoneId(0), root, (0..10).map(EndpointId).collect(), vec![Facet::V4]);
    (model, policy)
}

fn cell(tiers: &[&[(&[u32], f64)]], draws: usize, limit: usize) -> Cell {
    let (model, policy) = world();
    let share = |&(of, weight): &(&[u32], f64)| {
        let endpoints = of.iter().copied().map(EndpointId).collect();
        Share { endpoints, weight, path: Vec::new() }
    };
    let tiers = tiers.iter().map(|shares| Tier { shares: shares.iter().map(share).collect() }).collect();
    let source = AnswerSource::Endpoints(Distribution { tiers, draws, limit, blanks: Vec::new() });
    let decision = Decision {
        facet: Facet::V4,
        source,
        ttl: 7,
        stale: false,
        looks_at_client: false,
        affinity: None,
        is_good: true,
        last_good: None,
        standings: vec![],
        kind: None,
        hints: vec![],
        stages: vec![],
    };
    Cell::prepare(&model, &policy, Arc::new(decision))
}

/// How often each endpoint is in one of `rounds` replies, and every reply's size.
fn drawn(cell: &Cell, rounds: u64) -> (HashMap<u16, f64>, Vec<usize>) {
    let (mut counts, mut sizes) = (HashMap::new(), Vec::new());
    for seed in 0..rounds {
        let picks = cell.pick(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        for &index in picks.iter() {
            *counts.entry(cell.record(index).slot).or_insert(0.0) += 1.0 / rounds as f64;
        }
        sizes.push(picks.len());
    }
    (counts, sizes)
}

#[test]
fn a_record_is_written_as_it_goes_out() {
    let cell = cell(&[&[(&[3], 1.0)]], 1, 1);
    let record = cell.record(cell.pick(1)[0]);
    assert_eq!(record.bytes, [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 7, 0, 4, 192, 0, 2, 3]);
    assert_eq!((record.rtype, record.slot), (rtype::A, 3));
}

#[test]
fn one_draw_follows_the_weights() {
    let (counts, sizes) = drawn(&cell(&[&[(&[0], 80.0), (&[1], 20.0)], &[(&[2], 1.0)]], 1, 1), 100_000);
    assert!((counts[&0] - 0.8).abs() < 0.01 && (counts[&1] - 0.2).abs() < 0.01, "{counts:?}");
    assert!(!counts.contains_key(&2) && sizes.iter().all(|&size| size == 1));
}

#[test]
fn several_draws_repeat_nothing_and_go_on_to_the_next_tier() {
    let (counts, sizes) = drawn(&cell(&[&[(&[0], 80.0), (&[1], 20.0)], &[(&[2], 1.0), (&[3], 3.0)]], 3, 3), 50_000);
    assert!(sizes.iter().all(|&size| size == 3));
    assert!((counts[&0] - 1.0).abs() < 1e-6 && (counts[&1] - 1.0).abs() < 1e-6, "{counts:?}");
    assert!((counts[&2] - 0.25).abs() < 0.01 && (counts[&3] - 0.75).abs() < 0.01, "{counts:?}");
}

#[test]
fn a_group_comes_whole_and_turns_unless_answers_cuts_it() {
    let (counts, sizes) = drawn(&cell(&[&[(&[0, 1, 2], 1.0)]], 1, MAX_ANSWERS), 100);
    assert!(sizes.iter().all(|&size| size == 3) && counts.len() == 3);
    let cut = cell(&[&[(&[0, 1, 2], 1.0)]], 2, 2);
    let (counts, sizes) = drawn(&cut, 30_000);
    assert!(sizes.iter().all(|&size| size == 2));
    assert!(counts.values().all(|share| (share - 2.0 / 3.0).abs() < 0.02), "{counts:?}");
}

#[test]
fn an_alias_stands_alone() {
    let mixed = cell(&[&[(&[0], 1.0), (&[8], 1.0), (&[1], 1.0), (&[9], 1.0)]], 3, 3);
    for seed in 0..1000 {
        let types: Vec<u16> = mixed.pick(seed).iter().map(|&index| mixed.record(index).rtype).collect();
        assert!(types == [rtype::CNAME] || types == [rtype::A, rtype::A], "{types:?}");
    }
}

#[test]
fn tiny_shares_are_drawn_and_huge_tiers_do_not_overflow() {
    let (counts, _) = drawn(&cell(&[&[(&[0], 1e-3), (&[1], 1.0)]], 1, 1), 200_000);
    assert!((counts[&0] - 0.001).abs() < 0.0005, "{counts:?}");
    let wide: Vec<(&[u32], f64)> = vec![(&[0], f64::MAX); MAX_ENDPOINTS];
    assert_eq!(cell(&[&wide], 1, 1).pick(u64::MAX).len(), 1);
}

#[test]
fn no_reply_has_fewer_octets_than_the_least() {
    let plain: &[(&[u32], f64)] = &[(&[0], 80.0), (&[1], 20.0), (&[2], 1.0)];
    let mixed: &[(&[u32], f64)] = &[(&[0], 1.0), (&[8], 1.0), (&[1], 1.0)];
    for (cell, least) in [
        (cell(&[plain], 2, 3), 2 * 16),
        (cell(&[plain], 3, 2), 2 * 16),
        (cell(&[plain, &[(&[3], 1.0)]], 9, 9), 4 * 16),
        (cell(&[plain], 1, 3), 0),
        (cell(&[&[(&[0, 1, 2], 1.0)]], 1, 3), 0),
        (cell(&[mixed], 3, 3), 0),
    ] {
        assert_eq!(cell.least_octets(), least);
        for seed in 0..100 {
            let octets: usize = cell.pick(seed).iter().map(|index| cell.record(*index).bytes.len()).sum();
            assert!(octets >= least && (least == 0 || octets == least), "{octets}, {least}");
        }
    }
}

#[test]
fn one_address_of_several_endpoints_is_in_a_reply_once() {
    let (mut model, policy) = world();
    for at in 1..3 {
        model.endpoints[at].answerables = model.endpoints[0].answerables.clone();
    }
    let of = |ids: &[&[u32]], draws: usize, limit: usize| {
        let share = |ids: &&[u32]| {
            let endpoints = ids.iter().copied().map(EndpointId).collect();
            Share { endpoints, weight: 1.0, path: Vec::new() }
        };
        let tiers = vec![Tier { shares: ids.iter().map(share).collect() }];
        let source = AnswerSource::Endpoints(Distribution { tiers, draws, limit, blanks: Vec::new() });
        let decision = Decision { source, ..cell(&[&[(&[0], 1.0)]], 1, 1).decision().clone() };
        Cell::prepare(&model, &policy, Arc::new(decision))
    };
    for (what, cell, expected) in [
        ("all alike", of(&[&[0], &[1], &[2]], 8, 8), 1),
        ("two more", of(&[&[0], &[1], &[2], &[3], &[4]], 8, 8), 3),
        ("copies take no place", of(&[&[0], &[1], &[2], &[3]], 2, 2), 2),
        ("given together", of(&[&[0, 1, 2, 3]], 1, 8), 2),
    ] {
        for seed in 0..200 {
            let picks = cell.pick(seed);
            let mut contents: Vec<&[u8]> = picks.iter().map(|pick| cell.record(*pick).bytes).collect();
            contents.sort_unstable();
            contents.dedup();
            assert_eq!((picks.len(), contents.len()), (expected, expected), "{what}, seed {seed}");
        }
    }
    let (counts, _) = drawn(&of(&[&[0], &[1], &[3]], 1, 1), 3000);
    assert!((counts[&3] - 1.0 / 3.0).abs() < 0.05, "their weights are added up: {counts:?}");
}
