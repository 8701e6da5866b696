//! Agreement on reports that a text describes. A vantage is called `REGION NUMBER`.

mod needs;

use proptest::prelude::*;

use super::*;
use crate::fleet::{Received, Report, Vantage, agree};
use crate::health::Observation;
use crate::model::quorum::STALE_AFTER;
use crate::model::{Check, CheckId, CheckKey, Doubt, Monitor, ProbeKind, ProbeTarget, Region, VantageState, WorldView};

const NOW: Moment = Moment::from_start(Duration::from_secs(1000));
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const MS: Duration = Duration::from_millis(1);

fn key(port: u16) -> Arc<CheckKey> {
    let monitor = Monitor::new(ProbeKind::Tcp);
    Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(([192, 0, 2, 1], port).into()) })
}

fn model(ports: &[u16]) -> Model {
    Model {
        regions: REGIONS.map(|name| Region { name: name.to_owned(), location: None }).to_vec(),
        checks: ports.iter().map(|port| Check::new(key(*port))).collect(),
        ..Model::default()
    }
}

fn observation(port: u16, health: Health) -> Observation {
    Observation {
        key: key(port),
        health,
        tried: health != Health::Unknown,
        srtt: None,
        rttvar: None,
        probed_at: None,
        may_change_in: 1000 * MS,
        why: None,
        hold: None,
        doubt: Doubt::None,
        state: None,
    }
}

fn report(region: &str, name: &str, age: Duration, observations: Vec<Observation>) -> Received {
    let vantage = Vantage { name: name.into(), region: region.into() };
    Received { report: Arc::new(Report::whole(vantage, Moment::START, observations)), received_at: NOW - age }
}

/// The reports of `eu+ eu- us? (ap-)`: a vantage each, which is stale in `()` and blind in `[]`.
fn reports(text: &str) -> Vec<Received> {
    text.split_whitespace()
        .enumerate()
        .map(|(nth, word)| {
            let age = if word.starts_with('(') { STALE_AFTER + MS } else { STALE_AFTER };
            let bare = word.trim_matches(['(', ')', '[', ']']);
            let (region, sign) = bare.split_at(2);
            let health = match sign {
                "+" => Health::Up,
                "-" => Health::Down,
                _ => Health::Unknown,
            };
            let mut received = report(region, &format!("{region} {nth}"), age, vec![observation(80, health)]);
            if word.contains('[') {
                received.report =
                    Arc::new(Report { blind: Some("all is dark".into()), ..Report::clone(&received.report) });
            }
            received
        })
        .collect()
}

/// The evidence of a view of [`model`] with one check.
fn evidence_on(view: &WorldView, check: u32) -> Vec<Evidence> {
    view.evidence.of(&model(&[80]), CheckId(check), NOW)
}

fn check(what: &str, text: &str, expected: Health) {
    let view = agree(&model(&[80]), &reports(text), NOW);
    assert_eq!(view.check(CheckId(0)).health, expected, "{what}: {text}");
}

#[test]
fn verdicts_are_counted_by_region_and_then_over_the_regions() {
    use Health::{Down, Unknown, Up};
    check("no reports", "", Unknown);
    check("the only vantage is believed", "eu-", Down);
    check("the only vantage is believed", "eu+", Up);
    check("most vantages of a region", "eu- eu- eu+", Down);
    check("a tie within a region keeps it up", "eu- eu+", Up);
    check("most regions", "eu- us- ap+", Down);
    check("one region of three is not enough", "eu- us+ ap+", Up);
    check("a tie of regions keeps it up", "eu- us+", Up);
    check("a region has one vote however many vantages it has", "eu- eu- eu- eu- us+ ap+", Up);
    check("who has no verdict is not counted", "eu- us? ap?", Down);
    check("nor is a region without one", "eu- us? ap+", Up);
    check("nobody has a verdict yet", "eu? us?", Unknown);
}

#[test]
fn a_stale_vantage_has_no_vote_unless_nobody_else_has_a_verdict() {
    use Health::{Down, Unknown, Up};
    check("a stale one is outvoted by a fresh one", "(eu-) (us-) ap+", Up);
    check("and can't hold up what a fresh one sees down", "(eu+) (us+) ap-", Down);
    check("all stale: the last verdicts stand", "(eu-) (us-) (ap+)", Down);
    check("all stale: the last verdicts stand", "(eu+)", Up);
    check("a fresh one that knows nothing doesn't revoke them", "(eu-) us?", Down);
    check("nor make them up", "(eu?) us?", Unknown);
}

#[test]
fn a_blind_vantage_has_no_vote_unless_nobody_else_has_a_verdict() {
    use Health::{Down, Up};
    check("it is outvoted", "[eu+] us-", Down);
    check("by a single one", "[eu-] [us-] ap+", Up);
    check("alone, its last verdicts stand", "[eu-]", Down);
    check("alone, its last verdicts stand", "[eu+]", Up);
    check("who sees and knows nothing doesn't revoke them", "[eu+] us?", Up);
    let view = agree(&model(&[80]), &reports("[eu+] ([us+])"), NOW);
    let listed: Vec<_> = view.vantages.iter().map(|v| (v.state, v.why.as_deref())).collect();
    assert_eq!(listed[0], (VantageState::Blind, Some("all is dark")));
    assert_eq!(listed[1].0, VantageState::Stale, "what is stale may not even be blind any more");
}

#[test]
fn vantages_are_listed_with_their_state_and_their_evidence() {
    let mut reports = reports("eu+ (us-)");
    reports.push(report("atlantis", "lost", Duration::ZERO, vec![observation(80, Health::Down)]));
    let view = agree(&model(&[80]), &reports, NOW);
    let listed: Vec<_> = view.vantages.iter().map(|v| (&*v.name, v.region, v.state)).collect();
    assert_eq!(listed, [("eu 0", RegionId(0), VantageState::Up), ("us 1", RegionId(1), VantageState::Stale)]);
    let evidence: Vec<_> = evidence_on(&view, 0).iter().map(|e| (e.vantage.to_string(), e.health)).collect();
    let expected = [("eu 0".to_owned(), Health::Up), ("us 1".to_owned(), Health::Down)];
    assert_eq!(evidence, expected, "stale ones are shown, not counted");
    assert_eq!(view.check(CheckId(0)).health, Health::Up);
}

#[test]
fn round_trip_times_are_the_median_of_each_region() {
    let measured = |region, name, ms: Option<u32>| {
        let observation = Observation { srtt: ms.map(|ms| ms * MS), ..observation(80, Health::Up) };
        report(region, name, Duration::ZERO, vec![observation])
    };
    let reports = [
        measured("us", "a", Some(90)),
        measured("eu", "b", Some(10)),
        measured("eu", "c", Some(20)),
        measured("eu", "d", None),
        measured("ap", "e", None),
        measured("us", "f", Some(91)),
        measured("us", "liar", Some(9000)),
    ];
    let view = agree(&model(&[80]), &reports, NOW);
    assert_eq!(view.check(CheckId(0)).rtts, [(RegionId(0), 15 * MS), (RegionId(1), 91 * MS)]);
}

#[test]
fn observations_are_matched_by_what_is_probed() {
    let observations = vec![observation(443, Health::Down), observation(8080, Health::Up), observation(80, Health::Up)];
    let view = agree(&model(&[80, 443, 25]), &[report("eu", "a", Duration::ZERO, observations)], NOW);
    let health: Vec<_> = view.checks.iter().map(|check| (check.health, check.tried)).collect();
    assert_eq!(health, [(Health::Up, true), (Health::Down, true), (Health::Unknown, false)]);
}

#[test]
fn the_nearest_possible_change_counts() {
    let soon = |region, name, ms: u32, age| {
        report(region, name, age, vec![Observation { may_change_in: ms * MS, ..observation(80, Health::Up) }])
    };
    let fresh = Duration::ZERO;
    let reports = [soon("eu", "a", 700, fresh), soon("us", "b", 300, fresh), soon("ap", "c", 1, STALE_AFTER + MS)];
    let view = agree(&model(&[80, 443]), &reports, NOW);
    assert_eq!(view.check(CheckId(0)).may_change_in, Some(700 * MS), "both that count are needed");
    assert_eq!(view.check(CheckId(1)).may_change_in, Some(Duration::ZERO), "nobody knows it yet: any moment");
}

/// A vantage of each region, with one verdict and a time of its own in milliseconds.
fn honest(health: Health, times: &[u32; 3]) -> Vec<Received> {
    let of = |(region, ms): (&&str, &u32)| {
        let observation = Observation { may_change_in: *ms * MS, ..observation(80, health) };
        report(region, &format!("{region} honest"), Duration::ZERO, vec![observation])
    };
    REGIONS.iter().zip(times).map(of).collect()
}

proptest! {
    #[test]
    fn one_vantage_alone_changes_no_time(
        times in prop::array::uniform3(0..60_000_u32), is_up in prop::bool::ANY, lie in 0..60_000_u32,
        region in 0..3usize, lied in 0..3usize, is_more in prop::bool::ANY, is_regional in prop::bool::ANY,
    ) {
        let health = if is_up { Health::Up } else { Health::Down };
        let lied = [Health::Up, Health::Down, Health::Unknown][lied];
        let model = Model { regional_view: is_regional, ..model(&[80]) };
        let agreed = |times: &[u32; 3], lie: u32| {
            let liar = Observation { may_change_in: lie * MS, ..observation(80, lied) };
            let liar = report(REGIONS[region], "liar", Duration::ZERO, vec![liar]);
            let mut all = honest(health, times);
            match is_more {
                true => all.push(liar),
                false => all[region] = liar,
            }
            agree(&model, &all, NOW).check(CheckId(0)).may_change_in.unwrap()
        };
        let mut others = times.to_vec();
        if !is_more {
            others.remove(region);
        }
        let (least, most) = (*others.iter().min().unwrap() * MS, *others.iter().max().unwrap() * MS);
        prop_assert!((least..=most).contains(&agreed(&times, lie)), "{:?}", agreed(&times, lie));
        // Where the others agree, the liar changes nothing.
        prop_assert_eq!(agreed(&[times[0]; 3], lie), times[0] * MS);
    }

    #[test]
    fn one_region_alone_never_decides_among_three(
        liars in prop::collection::vec(prop::bool::ANY, 0..6), truth in prop::bool::ANY,
    ) {
        let (sign, health) = if truth { ("+", Health::Up) } else { ("-", Health::Down) };
        let lies: Vec<&str> = liars.iter().map(|is_up| if *is_up { "eu+" } else { "eu-" }).collect();
        let text = format!("us{sign} ap{sign} {}", lies.join(" "));
        let view = agree(&model(&[80]), &reports(&text), NOW);
        prop_assert_eq!(view.check(CheckId(0)).health, health, "{}", text);
    }

    #[test]
    fn the_order_of_reports_changes_no_verdict(
        vantages in prop::collection::vec((0usize..3, 0usize..3, prop::bool::ANY), 0..10), turn in 0usize..10,
    ) {
        let text = |(region, sign, is_stale): &(usize, usize, bool)| {
            let bare = format!("{}{}", REGIONS[*region], ["+", "-", "?"][*sign]);
            if *is_stale { format!("({bare})") } else { bare }
        };
        let mut reports = reports(&vantages.iter().map(text).collect::<Vec<_>>().join(" "));
        let before = agree(&model(&[80]), &reports, NOW).checks[0].health;
        if !reports.is_empty() {
            let by = turn % reports.len();
            reports.rotate_left(by);
        }
        prop_assert_eq!(agree(&model(&[80]), &reports, NOW).checks[0].health, before);
    }
}

#[test]
fn a_composite_is_made_of_what_is_agreed_on_its_parts() {
    use crate::model::Composite;
    use crate::model::monitor::composite::{PartKey, Rule};
    let mut model = model(&[80, 5432]);
    let parts = [("web", 80), ("db", 5432)].map(|(name, port)| PartKey { name: name.into(), key: key(port) });
    for rule in [Rule::All, Rule::Any] {
        let kind = ProbeKind::Composite(Composite { rule, parts: parts.to_vec() });
        let monitor = Monitor { kind, ..Monitor::clone(&key(80).monitor) };
        let key = Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere });
        model.checks.push(Check { key, parts: vec![CheckId(0), CheckId(1)] });
    }
    // Two of three report that the database is down. The parts are agreed on first, although each vantage would have
    // another verdict on the whole.
    let seen = |region, web, db| report(region, region, MS, vec![observation(80, web), observation(5432, db)]);
    let reports = [
        seen("eu", Health::Up, Health::Down),
        seen("us", Health::Up, Health::Down),
        seen("ap", Health::Down, Health::Up),
    ];
    let view = agree(&model, &reports, NOW);
    let found: Vec<Health> = view.checks.iter().map(|check| check.health).collect();
    assert_eq!(found, [Health::Up, Health::Down, Health::Down, Health::Up]);
    assert_eq!(view.evidence.of(&model, CheckId(2), NOW).len(), 6, "what each vantage says of each part");
}
