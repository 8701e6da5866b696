//! What a reporter sends, in simulated time.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::fleet::test_checks::{BOOT, observation, plan};

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Moment {
    Moment::from_start(Duration::from_millis(ms))
}

/// A reporter of `count` checks, all Up, and its time.
struct Vantage {
    reporter: VantageReporter,
    plan: Vec<(CheckHash, Arc<CheckKey>)>,
    now: Moment,
}

impl Vantage {
    fn of(count: usize) -> Vantage {
        let (plan, now) = (plan(count), at(1000));
        let mut reporter = VantageReporter::new(BOOT, now);
        reporter.adopt(&plan);
        let observations: Vec<Observation> = plan.iter().map(|(_, key)| observation(key, Health::Up, now)).collect();
        reporter.observe(&observations, None, now);
        Vantage { reporter, plan, now }
    }

    /// As [`Vantage::of`], after the changes of the start.
    fn settled(count: usize) -> Vantage {
        let mut vantage = Vantage::of(count);
        vantage.run(20_000 * MS);
        vantage
    }

    fn observe(&mut self, checks: std::ops::Range<usize>, health: Health) {
        let now = self.now;
        let observations: Vec<Observation> =
            self.plan[checks].iter().map(|(_, key)| observation(key, health, now)).collect();
        self.reporter.observe(&observations, None, now);
    }

    /// Lets the time pass, while the prober reports that nothing changed. Returns the messages with their times.
    fn run(&mut self, time: Duration) -> Vec<(Moment, Vec<u8>)> {
        let (end, mut sent) = (self.now + time, Vec::new());
        loop {
            let blind = self.reporter.blind.clone();
            self.reporter.observe(&[], blind.as_ref(), self.now);
            sent.extend(self.reporter.advance(self.now).into_iter().map(|message| (self.now, message)));
            let due = self.reporter.next_due();
            assert!(due > self.now, "advance has done what is due");
            if due >= end {
                self.now = end;
                return sent;
            }
            self.now = due;
        }
    }
}

fn decoded(sent: &[(Moment, Vec<u8>)]) -> Vec<(Moment, ReportMessage)> {
    sent.iter().map(|(at, octets)| (*at, ReportMessage::decode(octets).expect("it is readable"))).collect()
}

fn octets(sent: &[(Moment, Vec<u8>)]) -> usize {
    sent.iter().map(|(_, octets)| octets.len()).sum()
}

#[test]
fn slices_cover_all_hashes_and_have_every_check_within_5_s() {
    for count in [0, 1, 64, 65, 1000, 5001, 40_000] {
        let mut vantage = Vantage::settled(count);
        let sent = decoded(&vantage.run(20_000 * MS));
        let mut next = sent[0].1.slice.as_ref().map(|slice| slice.first);
        let mut seen: HashMap<CheckHash, Moment> = HashMap::new();
        for (at, message) in &sent {
            let slice = message.slice.as_ref().expect("a message a second, and each has a slice");
            assert_eq!(Some(slice.first), next, "{count}: without a gap");
            next = Some(CheckHash(slice.last.0.wrapping_add(1)));
            for observation in &slice.observations {
                if let Some(before) = seen.insert(observation.check, *at) {
                    assert!(at.since(before) <= 5000 * MS, "{count}: every 5 s");
                }
            }
            assert!(message.changes.is_empty() && message.encode().len() <= crate::fleet::message::MAX_MESSAGE);
        }
        assert_eq!(seen.len(), count);
        let numbers: Vec<u64> = sent.iter().map(|(_, message)| message.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
}

#[test]
fn a_check_takes_14_octets_and_a_half() {
    let mut vantage = Vantage::settled(10_000);
    let per_check = octets(&vantage.run(50_000 * MS)) as f64 / 100_000.0;
    assert!(per_check < 14.6, "{per_check}");
    println!("{per_check:.2} octets a check");
}

#[test]
fn a_change_is_sent_at_once_and_ten_times_a_second_at_most() {
    let mut vantage = Vantage::settled(100);
    vantage.run(300 * MS);
    let changed_at = vantage.now;
    vantage.observe(7..8, Health::Down);
    let sent = decoded(&vantage.run(MS));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, sent[0].1.changes.len()), (changed_at, 1));
    assert_eq!(sent[0].1.changes[0].observed.map(|observed| observed.health), Some(Health::Down));
    assert_eq!(sent[0].1.texts.len(), 1, "with its reason");
    let mut messages = 0;
    for nth in 0..600 {
        vantage.observe(nth % 20..nth % 20 + 1, if nth / 20 % 2 == 0 { Health::Down } else { Health::Up });
        messages += vantage.run(5 * MS).len();
    }
    assert!((30..=34).contains(&messages), "{messages} in 3 s, those with slices included");
    vantage.observe(7..8, Health::Up);
    vantage.run(10_000 * MS);
    vantage.observe(7..8, Health::Up);
    assert_eq!(decoded(&vantage.run(2000 * MS))[0].1.changes, [], "what does not change is in slices only");
}

#[test]
fn a_round_trip_time_that_jumps_is_sent_at_once_and_small_changes_wait_for_their_slice() {
    let mut vantage = Vantage::settled(1000);
    let mut changes = |srtt: Duration| {
        let seen = Observation { srtt: Some(srtt), ..observation(&vantage.plan[7].1, Health::Up, vantage.now) };
        vantage.reporter.observe(&[seen], None, vantage.now);
        let sent = decoded(&vantage.run(150 * MS));
        sent.iter().map(|(_, message)| message.changes.len()).sum::<usize>()
    };
    changes(160 * MS);
    assert_eq!([170, 600, 590, 160, 161].map(|ms| changes(ms * MS)), [0, 1, 0, 1, 0]);
}

#[test]
fn blindness_is_sent_at_once() {
    let mut vantage = Vantage::settled(10);
    vantage.run(500 * MS);
    vantage.reporter.observe(&[], Some(&"nothing answers".into()), vantage.now);
    let sent = decoded(&vantage.run(MS));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1.blind.as_deref(), Some("nothing answers"));
    vantage.reporter.observe(&[], None, vantage.now);
    let sent = decoded(&vantage.run(150 * MS));
    assert_eq!(sent.iter().map(|(_, message)| message.blind.as_deref()).collect::<Vec<_>>(), [None]);
}

/// The octets of each second of `secs`, where `each` is called before each second.
fn octets_a_second(vantage: &mut Vantage, secs: usize, mut each: impl FnMut(&mut Vantage, usize)) -> Vec<usize> {
    (0..secs)
        .map(|sec| {
            each(vantage, sec);
            octets(&vantage.run(1000 * MS))
        })
        .collect()
}

#[test]
fn an_outage_costs_as_much_as_peace() {
    let mut vantage = Vantage::settled(10_000);
    let peace = octets_a_second(&mut vantage, 10, |_, _| ()).into_iter().max().unwrap();
    // A region of 2,000 endpoints dies.
    let outage = octets_a_second(&mut vantage, 20, |vantage, sec| {
        if sec == 0 {
            vantage.observe(0..2000, Health::Down);
        }
    });
    let most = outage.iter().max().unwrap();
    assert!(*most < peace * 3 / 2, "peace {peace}, outage {outage:?}");
    println!("peace {peace} octets a second, outage {most}");
    // Everything changes every second: the changes are bounded too, and slices go on.
    let storm = octets_a_second(&mut vantage, 60, |vantage, sec| {
        vantage.observe(0..10_000, if sec % 2 == 0 { Health::Up } else { Health::Down });
    });
    assert!(storm[5..].iter().all(|octets| *octets < peace * 13 / 10), "peace {peace}, storm {storm:?}");
    let sent = decoded(&vantage.run(20_000 * MS));
    assert!(sent.iter().any(|(_, message)| message.slice.as_ref().is_some_and(|slice| slice.first == CheckHash(0))));
}

#[test]
fn every_change_is_sent_once_it_may() {
    let mut vantage = Vantage::settled(10_000);
    vantage.observe(0..10_000, Health::Down);
    let mut sent = std::collections::HashSet::new();
    for (_, message) in decoded(&vantage.run(10_000 * MS)) {
        sent.extend(message.changes.iter().map(|change| change.check));
    }
    assert_eq!(sent.len(), 10_000);
}

#[test]
fn changes_after_a_number_are_repeated() {
    let mut vantage = Vantage::settled(1000);
    let number = decoded(&vantage.run(1000 * MS)).last().unwrap().1.number;
    vantage.observe(0..5, Health::Down);
    vantage.run(2000 * MS);
    vantage.observe(5..6, Health::Down);
    let lost = decoded(&vantage.run(300 * MS));
    assert!(!lost.is_empty());
    vantage.reporter.receive(Ask { boot: BOOT, after: number });
    let answered_at = vantage.now;
    let answer = decoded(&vantage.run(MS));
    assert_eq!((answer[0].0, answer[0].1.changes.len()), (answered_at, 6));
    assert_eq!(answer[0].1.resent_after, Some(number));
    // Nothing changed since, but the server gets an answer.
    let last = answer[0].1.number;
    vantage.reporter.receive(Ask { boot: BOOT, after: last });
    let answer = decoded(&vantage.run(1500 * MS));
    assert!(answer.iter().any(|(_, message)| message.resent_after == Some(last)));
    assert!(answer.iter().all(|(_, message)| message.changes.is_empty()));
}

#[test]
fn a_server_that_knows_nothing_gets_everything_soon() {
    for (count, within) in [(10, 1), (1000, 1), (10_000, 2600), (100_000, 2600)] {
        let mut vantage = Vantage::settled(count);
        vantage.run(300 * MS);
        vantage.reporter.receive(Ask { boot: BOOT + 1, after: 5 });
        let mut seen = std::collections::HashSet::new();
        for (_, message) in decoded(&vantage.run(within * MS)) {
            seen.extend(message.slice.into_iter().flat_map(|slice| slice.observations).map(|entry| entry.check));
        }
        assert_eq!(seen.len(), count, "within {within} ms");
    }
}

#[test]
fn servers_that_ask_without_end_cost_a_quarter_more_at_most() {
    let mut vantage = Vantage::settled(10_000);
    let peace: usize = octets_a_second(&mut vantage, 40, |_, _| ()).into_iter().sum();
    for asks in [[0, 0], [1, 1], [0, 1]] {
        let mut busy = 0;
        for _ in 0..4000 {
            for after in asks {
                vantage.reporter.receive(Ask { boot: BOOT, after });
            }
            busy += octets(&vantage.run(10 * MS));
        }
        assert!(busy < peace * 14 / 10, "{asks:?}: {busy}, in peace {peace}");
    }
}

#[test]
fn without_a_plan_nothing_is_claimed_and_a_new_check_is_pending() {
    let (plan, now) = (plan(3), at(1000));
    let mut reporter = VantageReporter::new(BOOT, now);
    assert!(reporter.advance(now).is_empty(), "nothing is known");
    reporter.observe(&[], None, now);
    let first = ReportMessage::decode(&reporter.advance(now)[0]).unwrap();
    assert_eq!((first.number, first.slice), (1, None), "a sign of life");
    reporter.adopt(&plan[..2]);
    reporter.observe(&[observation(&plan[1].1, Health::Up, now), observation(&plan[2].1, Health::Up, now)], None, now);
    let later = now + 1000 * MS;
    let message = ReportMessage::decode(&reporter.advance(later)[0]).unwrap();
    let slice = message.slice.expect("there is a plan");
    let observed = |at: usize| slice.observations.iter().find(|entry| entry.check == plan[at].0).map(|o| o.observed);
    assert_eq!(observed(0), Some(None), "no observation yet");
    assert_eq!(observed(1).flatten().map(|o| (o.health, o.age)), Some((Health::Up, Some(1500 * MS))), "with its age");
    assert_eq!(observed(2), None, "not in the plan");
    assert_eq!((slice.first, slice.last), (CheckHash(0), CheckHash(u64::MAX)));
    reporter.adopt(&plan[1..]);
    let message = ReportMessage::decode(&reporter.advance(later + 1000 * MS)[0]).unwrap();
    let slice = message.slice.expect("there is a plan");
    assert_eq!(slice.observations.iter().filter(|entry| entry.observed.is_some()).count(), 1, "it stays observed");
}

#[test]
fn a_prober_that_stands_still_makes_the_vantage_silent() {
    let mut vantage = Vantage::settled(100);
    let (begin, mut last) = (vantage.now, vantage.now);
    for ms in 0..60_000 {
        let now = begin + ms * MS;
        if !vantage.reporter.advance(now).is_empty() {
            last = now;
        }
        assert!(vantage.reporter.next_due() > now);
    }
    assert!((4000..=5000).contains(&last.since(begin).as_millis()), "{last:?}");
    vantage.now = begin + 60_000 * MS;
    vantage.observe(3..4, Health::Down);
    let sent = decoded(&vantage.run(MS));
    assert_eq!((sent.len(), sent[0].1.changes.len()), (1, 1), "at once");
}

#[test]
fn a_process_that_was_stopped_makes_up_for_nothing() {
    let mut vantage = Vantage::settled(1000);
    vantage.now = vantage.now + Duration::from_secs(3600);
    assert!(vantage.run(3000 * MS).len() <= 4);
}

#[test]
fn of_many_reasons_the_first_are_sent() {
    let (plan, now) = (plan(1000), at(1000));
    let mut reporter = VantageReporter::new(BOOT, now);
    reporter.adopt(&plan);
    let failing = |(nth, (_, key)): (usize, &(CheckHash, Arc<CheckKey>))| Observation {
        why: Some(format!("reason {nth}").into()),
        ..observation(key, Health::Down, now)
    };
    let observations: Vec<Observation> = plan.iter().enumerate().map(failing).collect();
    reporter.observe(&observations, None, now);
    for octets in reporter.advance(now) {
        let message = ReportMessage::decode(&octets).expect("it is readable");
        let mut whys: Vec<Option<usize>> =
            message.changes.iter().filter_map(|change| Some(change.observed?.why)).collect();
        whys.sort_unstable();
        whys.dedup();
        assert!(message.texts.len() == MAX_TEXTS && whys.len() <= MAX_TEXTS + 1 && whys[0].is_none(), "{whys:?}");
    }
}
