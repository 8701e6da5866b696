//! The agreement against the plain rule that looks at every observation of every vantage, on random reports.

mod leaving;
mod oracle;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::health::Observation;
use crate::model::monitor::composite::{PartKey, Rule};
use crate::model::{Basis, Check, CheckKey, Composite, Doubt, Monitor, Need, ProbeKind, ProbeTarget, Quorum, Region};
use oracle::Oracle;
use pending::RTT_EVERY;

const MS: Duration = Duration::from_millis(1);
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const VANTAGES: usize = 7;
const CHECKS: usize = 5;

fn at(millis: u64) -> Moment {
    Moment::from_start(1_000_000 * MS + Duration::from_millis(millis))
}

/// Checks with different quorums; that of a number is the same in every model.
fn key(number: usize) -> Arc<CheckKey> {
    let (needs, stale_after) = match number {
        0 => ((Need::Majority, Need::Majority), 10),
        1 => ((Need::Any, Need::Any), 2),
        2 => ((Need::All, Need::AtLeast(2)), 5),
        3 => ((Need::AtLeast(2), Need::Any), 10),
        _ => ((Need::Majority, Need::All), 60),
    };
    let quorum = Quorum { per_region: needs.0, regions_down: needs.1, stale_after: Duration::from_secs(stale_after) };
    let monitor = Monitor { quorum, ..Monitor::new(ProbeKind::Tcp) };
    Arc::new(CheckKey {
        monitor: monitor.into(),
        target: ProbeTarget::Socket(([192, 0, 2, 1], 1000 + number as u16).into()),
    })
}

fn composite(rule: Rule, parts: &[(usize, Arc<CheckKey>)]) -> Check {
    let part = |(id, key): &(usize, Arc<CheckKey>)| PartKey { name: format!("m{id}").into(), key: key.clone() };
    let kind = ProbeKind::Composite(Composite { rule, parts: parts.iter().map(part).collect() });
    let key = Arc::new(CheckKey { monitor: Monitor::new(kind).into(), target: ProbeTarget::Nowhere });
    Check { key, parts: parts.iter().map(|(id, _)| CheckId(*id as u32)).collect() }
}

/// A model with the checks of these numbers and composites of them. `turn` moves the regions to other ids.
fn model(numbers: &[usize], turn: usize) -> Model {
    let mut checks: Vec<Check> = numbers.iter().map(|number| Check::new(key(*number))).collect();
    if checks.len() > 1 {
        let part = |at: usize, checks: &[Check]| (at, checks[at].key.clone());
        let last = checks.len() - 1;
        for rule in [Rule::All, Rule::Any] {
            checks.push(composite(rule, &[part(0, &checks), part(last, &checks)]));
        }
        let any = checks.len() - 1;
        checks.push(composite(Rule::Not, &[part(any, &checks)]));
    }
    let mut regions = REGIONS.map(|name| Region { name: name.to_owned(), location: None }).to_vec();
    regions.rotate_left(turn % 3);
    Model { regions, checks, regional_view: true, ..Model::default() }
}

/// An observation whose numbers differ by more than the agreement takes as equal.
fn observation(check: usize, health: Health, rtt: u32, seconds: u64) -> Observation {
    Observation {
        key: key(check),
        health,
        tried: health != Health::Unknown || seconds.is_multiple_of(2),
        srtt: (rtt > 0).then(|| rtt * 10 * MS),
        rttvar: None,
        probed_at: Some(at(seconds)),
        may_change_in: Duration::from_secs(seconds),
        why: (health == Health::Down).then(|| format!("reason {}", seconds % 2).into()),
        hold: None,
        doubt: Doubt::None,
        state: None,
    }
}

#[derive(Debug, Clone)]
enum Event {
    Report { vantage: usize, region: usize, is_whole: bool, is_blind: bool, seen: Vec<Seen>, removed: Vec<usize> },
    Pass(u64),
    View,
    Adopt { numbers: Vec<usize>, turn: usize },
}

type Seen = (usize, Health, u32, u64);

fn any_health() -> impl Strategy<Value = Health> {
    prop_oneof![4 => Just(Health::Up), 3 => Just(Health::Down), 1 => Just(Health::Unknown)]
}

fn any_event() -> impl Strategy<Value = Event> {
    let seen = prop::collection::vec((0..CHECKS, any_health(), 0u32..5, 0u64..4), 0..6);
    let removed = prop::collection::vec(0..CHECKS, 0..2);
    let kind = (prop::bool::weighted(0.3), prop::bool::weighted(0.15));
    // A vantage is mostly in the region of its number, and moves at times.
    let place = (0..VANTAGES, prop_oneof![9 => Just(0usize), 1 => 0usize..4]);
    let report = (place, kind, seen, removed).prop_map(|((vantage, by), (is_whole, is_blind), seen, removed)| {
        Event::Report { vantage, region: vantage + by, is_whole, is_blind, seen, removed }
    });
    let adopt = (Just((0..CHECKS).collect::<Vec<_>>()).prop_shuffle(), 1..=CHECKS, 0usize..3);
    let adopt = adopt.prop_map(|(all, count, turn)| Event::Adopt { numbers: all[..count].to_vec(), turn });
    prop_oneof![
        12 => report,
        3 => (0u64..4000).prop_map(Event::Pass),
        1 => (4000u64..70_000).prop_map(Event::Pass),
        6 => Just(Event::View),
        1 => adopt,
    ]
}

fn report(event: &Event, now: Moment) -> Option<Report> {
    let Event::Report { vantage, region, is_whole, is_blind, seen, removed } = event else { return None };
    // The fourth region is not in the model.
    let region = REGIONS.get(region % 4).copied().unwrap_or("atlantis");
    let vantage = Vantage { name: format!("v{vantage}").into(), region: region.into() };
    let seen = seen.iter();
    let observations = seen.map(|(check, health, rtt, secs)| observation(*check, *health, *rtt, *secs)).collect();
    let part = Report::part(vantage, now, observations);
    let extent = if *is_whole { Extent::Whole } else { Extent::Part };
    let blind = is_blind.then(|| "all is dark".into());
    Some(Report { extent, blind, removed: removed.iter().map(|check| key(*check)).collect(), ..part })
}

/// A view as text, without round-trip times. Which vantage is named for the negation of what is Up is left open.
fn text(model: &Model, view: &WorldView) -> String {
    let checks = view.checks.iter().zip(&model.checks).map(|(view, check)| {
        let is_not = check.key.monitor.kind.composite().is_some_and(|composite| composite.rule == Rule::Not);
        let cause = view.cause.clone().filter(|_| !is_not);
        format!("{:?}\n", CheckView { cause, rtts: Vec::new(), ..view.clone() })
    });
    let ids = (0..model.checks.len() as u32).map(CheckId);
    let evidence: Vec<_> = ids.map(|id| view.evidence.of(model, id, view.at)).collect();
    format!("{:?}\n{}{evidence:#?}", view.vantages, checks.collect::<String>())
}

/// The round-trip times of each check.
fn rtts(view: &WorldView) -> Vec<Vec<(RegionId, Duration)>> {
    view.checks.iter().map(|check| check.rtts.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_agreement_is_what_all_observations_give(events in prop::collection::vec(any_event(), 1..60)) {
        let mut model = model(&[0, 1, 2, 3, 4], 0);
        let (mut agreement, mut oracle, mut now) = (Agreement::new(&model), Oracle::default(), at(0));
        let (mut recent, mut seen): (Vec<(Moment, Vec<_>)>, Vec<Health>) = Default::default();
        for event in events.iter().chain([&Event::View]) {
            match event {
                Event::Report { .. } => {
                    let report = report(event, now).expect("a report");
                    prop_assert!(agreement.receive(&report, now));
                    oracle.receive(&report, now);
                }
                Event::Pass(millis) => now = now + Duration::from_millis(*millis),
                Event::View => {
                    let (found, expected) = (agreement.view(&model, now), oracle.view(&model, now));
                    prop_assert_eq!(text(&model, &found), text(&model, &expected));
                    // Those of the period before at most; the newest ones where the verdict is another.
                    recent.push((now, rtts(&expected)));
                    recent.retain(|(at, _)| now.since(*at) < RTT_EVERY);
                    for (at, of_model) in model.checks.iter().enumerate() {
                        let (of, is_new) = (&found.checks[at], seen.get(at) != Some(&found.checks[at].health));
                        let mut may_be = recent.iter().filter(|(time, _)| !is_new || *time == now);
                        let is_known = match of_model.key.monitor.kind.composite() {
                            None => may_be.any(|(_, rtts)| rtts[at] == of.rtts),
                            Some(rule) => {
                                let parts: Vec<_> = of_model.parts.iter().map(|part| found.check(*part)).collect();
                                composite::compose(rule, &parts).rtts == of.rtts
                            }
                        };
                        prop_assert!(is_known, "{:?}, not {:?}", of, recent);
                    }
                    seen = found.checks.iter().map(|check| check.health).collect();
                }
                Event::Adopt { numbers, turn } => {
                    model = self::model(numbers, *turn);
                    agreement.adopt(&model);
                    (recent, seen) = Default::default();
                }
            }
        }
    }

    #[test]
    fn an_rtt_is_never_far_from_what_was_measured(steps in prop::collection::vec((0usize..3, 900u64..1100), 1..200)) {
        let model = model(&[0], 0);
        let mut agreement = Agreement::new(&model);
        let (mut now, mut time) = ([1000u64; 3], at(0));
        for (vantage, promille) in steps {
            time = time + RTT_EVERY;
            now[vantage] = (now[vantage] * promille / 1000).clamp(100, 1_000_000);
            let srtt = Some(Duration::from_micros(now[vantage]));
            let observation = Observation { srtt, ..observation(0, Health::Up, 1, 1) };
            let of = Vantage { name: format!("v{vantage}").into(), region: "eu".into() };
            agreement.receive(&Report::part(of, time, vec![observation]), time);
            // The others report that nothing changed.
            let others: Vec<Vantage> = agreement.ballots.vantages.iter().map(|other| other.vantage.clone()).collect();
            for other in others {
                agreement.receive(&Report::part(other, time, Vec::new()), time);
            }
            let found = agreement.view(&model, time).checks[0].rtt_from(RegionId(0)).expect("it is measured");
            let mut sorted: Vec<u64> = now.into_iter().filter(|_| agreement.ballots.vantages.len() == 3).collect();
            sorted.sort_unstable();
            if let Some(median) = sorted.get(1) {
                let off = u64::try_from(found.as_micros()).expect("it is short").abs_diff(*median);
                prop_assert!(off <= (median / 30).max(2 * 20), "{} of {:?}", off, now);
            }
        }
    }
}

fn vantage(name: &str) -> Vantage {
    Vantage { name: name.into(), region: "eu".into() }
}

fn up(agreement: &mut Agreement, name: &str, now: Moment) -> bool {
    agreement.receive(&Report::whole(vantage(name), now, vec![observation(0, Health::Up, 1, 1)]), now)
}

#[test]
fn vantages_are_bounded_and_the_longest_silent_goes_first() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    for number in 0..MAX_VANTAGES {
        assert!(up(&mut agreement, &format!("v{number}"), at(number as u64)));
    }
    assert!(!up(&mut agreement, "one more", at(1000)), "none is stale");
    assert!(up(&mut agreement, "v7", at(1000)), "a known one may");
    let later = at(0) + STALE_AFTER + 3 * MS;
    assert!(up(&mut agreement, "one more", later));
    let view = agreement.view(&model, later);
    let names: Vec<&str> = view.vantages.iter().map(|vantage| &*vantage.name).collect();
    assert!(names.len() == MAX_VANTAGES && !names.contains(&"v0") && names.contains(&"one more"));
}

#[test]
fn a_silent_vantage_is_forgotten_only_while_another_one_reports() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    up(&mut agreement, "gone", at(0));
    up(&mut agreement, "other", at(5000));
    let late = at(5001) + FORGOTTEN_AFTER;
    let view = agreement.view(&model, late);
    assert_eq!((view.vantages.len(), view.checks[0].health, view.checks[0].basis), (2, Health::Up, Basis::Static));
    up(&mut agreement, "other", late);
    let view = agreement.view(&model, late);
    assert_eq!((view.vantages.len(), view.checks[0].basis), (1, Basis::Votes));
}

#[test]
fn a_report_that_changes_nothing_counts_nothing_again() {
    let model = model(&[0, 1, 2], 0);
    let mut agreement = Agreement::new(&model);
    let all = |rtt: u64| {
        let srtt = Some(Duration::from_micros(rtt));
        let observations = (0..3).map(|check| Observation { srtt, ..observation(check, Health::Up, 1, 1) });
        observations.collect::<Vec<_>>()
    };
    agreement.receive(&Report::whole(vantage("a"), at(0), all(10_000)), at(0));
    agreement.view(&model, at(0));
    agreement.receive(&Report::whole(vantage("a"), at(1000), all(10_100)), at(1000));
    let changes = agreement.pending.take(at(1000));
    assert!(changes.verdicts.is_empty() && changes.rtts.is_empty(), "1 % is the same");
    let before = agreement.view(&model, at(1000));
    agreement.receive(&Report::whole(vantage("a"), at(1500), all(10_100)), at(1500));
    let after = agreement.view(&model, at(1500));
    assert_eq!(after.checks.changed_since(&before.checks).count(), 0, "the views share all checks");
    let rtt = |view: &WorldView| view.evidence.of(&model, CheckId(0), at(1500))[0].rtt;
    assert_eq!((rtt(&after), after.checks[0].rtts[0].1), (Some(101 * MS / 10), 10 * MS), "the evidence is that of now");
    agreement.receive(&Report::whole(vantage("a"), at(2000), all(10_200)), at(2000));
    let changes = agreement.pending.take(at(2000));
    assert_eq!((changes.verdicts.len(), changes.rtts.len()), (0, 3), "2 % is not, also in small steps");
}
