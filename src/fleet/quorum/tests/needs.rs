//! The verdict of each quorum rule on the same reports, and what no rule ever does.

use super::*;
use crate::model::EvidenceBook;
use crate::model::Need::{self, All, Any, AtLeast, Majority};
use crate::model::quorum::{MAX_STALE_AFTER, MIN_STALE_AFTER};

/// What is agreed on a check whose monitor has this quorum; the reports are those of [`super::reports`].
fn agreed(quorum: Quorum, mut reports: Vec<Received>) -> WorldView {
    let monitor = Monitor { quorum, ..Monitor::clone(&key(80).monitor) };
    let key = Arc::new(CheckKey { monitor: monitor.into(), ..CheckKey::clone(&key(80)) });
    for received in &mut reports {
        let mut report = Report::clone(&received.report);
        report.observations.iter_mut().for_each(|observation| observation.key = Arc::clone(&key));
        received.report = Arc::new(report);
    }
    let model = Model { checks: vec![Check::new(key)], ..model(&[]) };
    let view = agree(&model, &reports, NOW);
    let evidence = EvidenceBook::Listed(vec![view.evidence.of(&model, CheckId(0), NOW)]);
    WorldView { evidence, ..view }
}

fn quorum(per_region: Need, regions_down: Need) -> Quorum {
    Quorum { per_region, regions_down, ..Quorum::default() }
}

fn judge(quorum: Quorum, text: &str) -> Health {
    agreed(quorum, reports(text)).checks[0].health
}

#[test]
fn the_monitor_says_how_many_make_down() {
    use Health::{Down, Unknown, Up};
    for (what, rule, text, expected) in [
        ("one vantage of a region is enough", (Any, Majority), "eu- eu+ eu+", Down),
        ("one vantage anywhere", (Any, Any), "eu+ eu+ us- ap+", Down),
        ("any of a region, most regions", (Any, Majority), "eu- eu+ us- us+ ap+", Down),
        ("any of a region, one region of three", (Any, Majority), "eu- eu- us+ ap+", Up),
        ("all of a region", (All, Any), "eu- eu- eu+ us+", Up),
        ("all of one region", (All, Any), "eu- eu- us+", Down),
        ("all of all", (All, All), "eu- eu- us-", Down),
        ("all of all but one", (All, All), "eu- eu- us- us+", Up),
        ("who knows nothing isn't waited for", (All, All), "eu- eu? us- ap?", Down),
        ("two of a region", (AtLeast(2), Any), "eu- eu- eu+ eu+ eu+", Down),
        ("one of a region where two are needed", (AtLeast(2), Any), "eu- eu+ eu+ us+", Up),
        ("fewer than are needed: all of them", (AtLeast(2), Any), "eu- us+ us+", Down),
        ("a lone vantage is believed", (AtLeast(9), AtLeast(9)), "eu-", Down),
        ("two regions", (Majority, AtLeast(2)), "eu- us- ap+", Down),
        ("two regions, also where that is a tie", (Majority, AtLeast(2)), "eu- us+ ap+", Up),
        ("one region", (Majority, AtLeast(1)), "eu- us+ ap+", Down),
        ("a stale one has no vote", (All, All), "eu- (us+)", Down),
        ("nor is a blind one", (All, All), "eu- [us+]", Down),
        ("nobody has a verdict", (Any, Any), "eu? us?", Unknown),
        ("all are stale: the last verdicts are counted by the same rule", (Any, Any), "(eu+) (us-)", Down),
    ] {
        assert_eq!(judge(quorum(rule.0, rule.1), text), expected, "{what}: {rule:?} of {text}");
    }
}

#[test]
fn a_report_has_a_vote_until_it_is_older_than_the_monitor_says() {
    for stale_after in [MIN_STALE_AFTER, STALE_AFTER, MAX_STALE_AFTER] {
        let quorum = Quorum { stale_after, ..quorum(Any, Any) };
        let of_age = |age| {
            let old = report("us", "us 1", age, vec![observation(80, Health::Down)]);
            agreed(quorum, vec![report("eu", "eu 0", MS, vec![observation(80, Health::Up)]), old])
        };
        // There was a time before the first report of all.
        if stale_after < NOW.from_first() {
            assert_eq!(of_age(stale_after).checks[0].health, Health::Down, "{stale_after:?} old");
            assert_eq!(of_age(stale_after + MS).checks[0].health, Health::Up, "older than {stale_after:?}");
        } else {
            assert_eq!(of_age(Duration::from_secs(900)).checks[0].health, Health::Down, "{stale_after:?}");
        }
        // The state of the vantage doesn't depend on one monitor.
        let state = |age| of_age(age).vantages[1].state;
        assert_eq!((state(STALE_AFTER), state(STALE_AFTER + MS)), (VantageState::Up, VantageState::Stale));
    }
}

#[test]
fn a_verdict_that_is_outvoted_or_not_counted_has_a_reason() {
    let whys = |quorum, text: &str| -> Vec<String> {
        let view = agreed(quorum, reports(text));
        let evidence = evidence_on(&view, 0).into_iter();
        evidence.map(|evidence| evidence.why.as_deref().unwrap_or_default().to_owned()).collect()
    };
    let usual = Quorum::default();
    assert_eq!(whys(usual, "eu- eu-"), ["", ""], "of one mind");
    assert_eq!(whys(usual, "eu- eu+ eu+"), ["outvoted: 1 of 3 vantages of eu says down, a majority is needed", "", ""]);
    assert_eq!(
        whys(usual, "eu- us- ap+"),
        ["", "", "outvoted: 2 of 3 regions say down, a majority is needed"],
        "the other way round too"
    );
    assert_eq!(
        whys(quorum(Any, AtLeast(3)), "eu- us- us+ ap+ ap?"),
        [
            "outvoted: 2 of 3 regions say down, 3 are needed",
            "outvoted: 2 of 3 regions say down, 3 are needed",
            "",
            "",
            ""
        ]
    );
    assert_eq!(
        whys(quorum(Any, Any), "eu- eu+ us+"),
        [
            "",
            "outvoted: 1 of 2 vantages of eu says down, one is needed",
            "outvoted: 1 of 2 regions says down, one is needed"
        ]
    );
    assert_eq!(
        whys(usual, "eu+ (us-) [ap-]"),
        ["", "not counted: reported 10 s ago", "not counted: this vantage is blind"]
    );
    assert_eq!(whys(usual, "(eu-) [us-]"), ["", ""], "for want of others they count");
    let mut reports = reports("eu- eu+ eu+");
    let refused = Observation { why: Some("connection refused".into()), ..observation(80, Health::Down) };
    reports[0].report = Arc::new(Report { observations: vec![refused], ..Report::clone(&reports[0].report) });
    let why = evidence_on(&agreed(usual, reports), 0)[0].why.clone();
    let expected = "connection refused (outvoted: 1 of 3 vantages of eu says down, a majority is needed)";
    assert_eq!(why.as_deref(), Some(expected));
}

/// Vantages: a region, `+`, `-` or `?`, and whether it is stale.
type Vantages = Vec<(usize, usize, bool)>;

fn text_of(vantages: &Vantages) -> String {
    let text = |(region, sign, is_stale): &(usize, usize, bool)| {
        let bare = format!("{}{}", REGIONS[*region], ["+", "-", "?"][*sign]);
        if *is_stale { format!("({bare})") } else { bare }
    };
    vantages.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn any_vantages() -> impl Strategy<Value = Vantages> {
    prop::collection::vec((0usize..3, 0usize..3, prop::bool::weighted(0.2)), 0..10)
}

fn any_quorum() -> impl Strategy<Value = Quorum> {
    let need = || prop_oneof![Just(Any), Just(Majority), Just(All), (1u32..6).prop_map(AtLeast)];
    (need(), need()).prop_map(|(per_region, regions_down)| quorum(per_region, regions_down))
}

/// The health of those that count, by region: the fresh ones if one of them has a verdict, else all.
fn counted(vantages: &Vantages) -> [Vec<usize>; 3] {
    let has_verdict = vantages.iter().any(|(_, sign, is_stale)| *sign < 2 && !is_stale);
    [0, 1, 2].map(|region| {
        let of_region =
            vantages.iter().filter(|(of, sign, is_stale)| *of == region && *sign < 2 && !(has_verdict && *is_stale));
        of_region.map(|(_, sign, _)| *sign).collect()
    })
}

proptest! {
    #[test]
    fn down_has_as_many_votes_as_the_rule_wants(quorum in any_quorum(), vantages in any_vantages()) {
        let by_region = counted(&vantages);
        let downs = |signs: &Vec<usize>| signs.iter().filter(|sign| **sign == 1).count();
        let voting: Vec<&Vec<usize>> = by_region.iter().filter(|signs| !signs.is_empty()).collect();
        let enough = |need, down: usize, of: usize| match need {
            Any => down >= 1,
            Majority => 2 * down > of,
            All => down == of,
            AtLeast(number) => down == of || down >= number as usize,
        };
        let regions_down = voting.iter().filter(|signs| enough(quorum.per_region, downs(signs), signs.len())).count();
        let expected = match voting.len() {
            0 => Health::Unknown,
            of if regions_down > 0 && enough(quorum.regions_down, regions_down, of) => Health::Down,
            _ => Health::Up,
        };
        prop_assert_eq!(judge(quorum, &text_of(&vantages)), expected, "{:?} of {}", quorum, text_of(&vantages));
    }

    #[test]
    fn one_more_that_says_down_never_makes_up(quorum in any_quorum(), vantages in any_vantages(), which in 0usize..10) {
        let Some(which) = vantages.len().checked_sub(1).map(|last| which.min(last)) else { return Ok(()) };
        let mut turned = vantages.clone();
        if turned[which].1 == 0 {
            turned[which].1 = 1;
        }
        let (before, after) = (judge(quorum, &text_of(&vantages)), judge(quorum, &text_of(&turned)));
        let texts = (text_of(&vantages), text_of(&turned));
        prop_assert!(before != Health::Down || after == Health::Down, "{:?}: {:?}", quorum, texts);
    }

    #[test]
    fn stale_reports_change_nothing_where_there_is_a_fresh_verdict(quorum in any_quorum(), vantages in any_vantages()) {
        let fresh: Vantages = vantages.iter().filter(|(.., is_stale)| !is_stale).copied().collect();
        if fresh.iter().any(|(_, sign, _)| *sign < 2) {
            let verdicts = [&vantages, &fresh].map(|of| judge(quorum, &text_of(of)));
            prop_assert_eq!(verdicts[0], verdicts[1], "{:?} of {}", quorum, text_of(&vantages));
        }
    }

    /// The default: more than half of each region, and more than half of the regions.
    #[test]
    fn the_default_is_a_majority_of_majorities(vantages in any_vantages()) {
        let majority = |signs: &[usize]| {
            let down = signs.iter().filter(|sign| **sign == 1).count();
            (!signs.is_empty()).then(|| usize::from(down > signs.len() - down))
        };
        let regions: Vec<usize> = counted(&vantages).iter().filter_map(|signs| majority(signs)).collect();
        let expected = [Some(0), Some(1), None].into_iter().position(|sign| sign == majority(&regions));
        let health = judge(Quorum::default(), &text_of(&vantages));
        let found = [Health::Up, Health::Down, Health::Unknown].into_iter().position(|of| of == health);
        prop_assert_eq!(found, expected, "{}", text_of(&vantages));
    }

    #[test]
    fn stricter_rules_take_no_less_out(vantages in any_vantages(), per_region in 1u32..6, regions in 1u32..6) {
        let is_down = |per_region, regions| judge(quorum(per_region, regions), &text_of(&vantages)) == Health::Down;
        prop_assert!(is_down(Any, Any) || !is_down(AtLeast(per_region), AtLeast(regions)));
        let stricter = is_down(AtLeast(per_region + 1), AtLeast(regions + 1));
        prop_assert!(is_down(AtLeast(per_region), AtLeast(regions)) || !stricter);
        prop_assert!(is_down(AtLeast(per_region), AtLeast(regions)) || !is_down(All, All));
        prop_assert!(is_down(Any, Any) || !is_down(Majority, Majority));
        prop_assert!(is_down(Majority, Majority) || !is_down(All, All));
    }
}
