//! Vantages that stop in order, and those that start again.

use super::*;

fn vantage(number: usize) -> Vantage {
    Vantage { name: format!("v{number}").into(), region: REGIONS[number % 3].into() }
}

fn reports(agreement: &mut Agreement, number: usize, health: Health, now: Moment) {
    let seen = vec![observation(0, health, 5, 2)];
    assert!(agreement.receive(&Report::part(vantage(number), now, seen), now));
}

fn leaves(agreement: &mut Agreement, number: usize, now: Moment) {
    assert!(agreement.receive(&Report::end(vantage(number), now), now));
}

fn names(view: &WorldView) -> Vec<&str> {
    view.vantages.iter().map(|vantage| &*vantage.name).collect()
}

fn verdict(agreement: &mut Agreement, model: &Model, now: Moment) -> (Health, Basis) {
    let view = agreement.view(model, now);
    (view.checks[0].health, view.checks[0].basis)
}

#[test]
fn the_votes_are_gone_at_once_and_the_vantage_is_not_known() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    (0..2).for_each(|number| reports(&mut agreement, number, Health::Up, at(0)));
    assert_eq!(names(&agreement.view(&model, at(0))), ["v0", "v1"]);
    leaves(&mut agreement, 1, at(1000));
    assert_eq!(names(&agreement.view(&model, at(1000))), ["v0"]);
    // Its last verdict was Up: with it there would be a tie, which keeps Up.
    reports(&mut agreement, 0, Health::Down, at(1500));
    assert_eq!(verdict(&mut agreement, &model, at(1500)), (Health::Down, Basis::Votes));
    let view = agreement.view(&model, at(1500));
    let left = view.evidence.of(&model, CheckId(0), at(1500)).pop().unwrap();
    assert_eq!((&*left.vantage, left.why.as_deref()), ("v1", Some("not counted: this vantage has stopped")));
    reports(&mut agreement, 0, Health::Down, at(11_500));
    let view = agreement.view(&model, at(11_500));
    assert_eq!(view.evidence.of(&model, CheckId(0), at(11_500)).len(), 1, "it is forgotten");
}

#[test]
fn a_verdict_that_rests_on_a_vote_stays_until_that_would_be_stale() {
    let model = model(&[0], 0);
    let tie = || {
        let mut agreement = Agreement::new(&model);
        reports(&mut agreement, 0, Health::Up, at(0));
        reports(&mut agreement, 1, Health::Down, at(0));
        assert_eq!(verdict(&mut agreement, &model, at(0)), (Health::Up, Basis::Votes), "a tie keeps Up");
        leaves(&mut agreement, 0, at(1000));
        assert_eq!(names(&agreement.view(&model, at(1000))), ["v1"]);
        agreement
    };
    let mut gone = tie();
    for ms in (2000..=10_000).step_by(1000) {
        reports(&mut gone, 1, Health::Down, at(ms));
        assert_eq!(verdict(&mut gone, &model, at(ms)), (Health::Up, Basis::Votes), "{ms}");
    }
    reports(&mut gone, 1, Health::Down, at(11_100));
    assert_eq!(verdict(&mut gone, &model, at(11_100)), (Health::Down, Basis::Votes));

    let mut back = tie();
    let alive = Report::part(vantage(0), at(5000), Vec::new());
    back.receive(&alive, at(5000));
    for ms in (5000..=14_000).step_by(1000) {
        reports(&mut back, 1, Health::Down, at(ms));
        assert_eq!(verdict(&mut back, &model, at(ms)), (Health::Up, Basis::Votes), "{ms}: it has started again");
    }
    assert_eq!(names(&back.view(&model, at(14_000))), ["v0", "v1"]);
}

#[test]
fn those_that_leave_together_change_nothing_either() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    (0..2).for_each(|number| reports(&mut agreement, number, Health::Up, at(0)));
    reports(&mut agreement, 2, Health::Down, at(0));
    assert_eq!(verdict(&mut agreement, &model, at(0)), (Health::Up, Basis::Votes));
    // No view between them: with one of them gone there is a tie, with both there is Down.
    (0..2).for_each(|number| leaves(&mut agreement, number, at(1000)));
    assert_eq!(verdict(&mut agreement, &model, at(1000)), (Health::Up, Basis::Votes));
    assert_eq!(names(&agreement.view(&model, at(1000))), ["v2"]);
}

#[test]
fn the_last_verdict_of_all_stays() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    reports(&mut agreement, 0, Health::Down, at(0));
    leaves(&mut agreement, 0, at(1000));
    // Another one reports, but knows nothing of this check.
    for ms in (1000..60_000).step_by(1000) {
        agreement.receive(&Report::part(vantage(1), at(ms), Vec::new()), at(ms));
        assert_eq!(verdict(&mut agreement, &model, at(ms)).0, Health::Down, "{ms}");
    }
    assert_eq!(names(&agreement.view(&model, at(60_000))), ["v1"]);
}

#[test]
fn round_trip_times_of_a_region_stay_for_a_restart() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    (0..2).for_each(|number| reports(&mut agreement, number, Health::Up, at(0)));
    let before = agreement.view(&model, at(0)).checks[0].rtts.clone();
    assert_eq!(before.len(), 2);
    leaves(&mut agreement, 1, at(1000));
    reports(&mut agreement, 0, Health::Up, at(9000));
    assert_eq!(agreement.view(&model, at(9000)).checks[0].rtts, before);
    reports(&mut agreement, 0, Health::Up, at(11_100));
    assert_eq!(agreement.view(&model, at(11_100)).checks[0].rtts.len(), 1);
}

#[test]
fn who_has_left_gives_way_to_a_new_vantage() {
    let model = model(&[0], 0);
    let mut agreement = Agreement::new(&model);
    for number in 0..MAX_VANTAGES {
        reports(&mut agreement, number, Health::Up, at(0));
    }
    let new = Report::part(vantage(MAX_VANTAGES), at(0), Vec::new());
    assert!(!agreement.receive(&new, at(0)));
    leaves(&mut agreement, 7, at(0));
    assert!(agreement.receive(&new, at(0)));
}

fn judged(view: &WorldView) -> String {
    let of = |check: &CheckView| format!("{:?} {:?} {:?}", check.health, check.basis, check.unreachable_from);
    view.checks.iter().map(of).collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A vantage that leaves changes no verdict at that moment, and one that comes back has all its votes again.
    #[test]
    fn a_restart_changes_nothing(
        events in prop::collection::vec(any_event(), 1..30),
        leaving in prop::collection::vec(0..VANTAGES, 1..4),
    ) {
        let mut model = model(&[0, 1, 2, 3, 4], 0);
        let mut agreement = Agreement::new(&model);
        let mut now = at(0);
        for event in &events {
            match event {
                Event::Report { .. } => _ = report(event, now).map(|report| agreement.receive(&report, now)),
                Event::Pass(millis) => now = now + Duration::from_millis(*millis),
                Event::View => _ = agreement.view(&model, now),
                Event::Adopt { numbers, turn } => {
                    model = super::model(numbers, *turn);
                    agreement.adopt(&model);
                }
            }
        }
        let before = agreement.view(&model, now);
        let known: Vec<Vantage> = agreement.ballots().vantages.iter().map(|of| of.vantage.clone()).collect();
        for number in &leaving {
            let Some(vantage) = known.iter().find(|known| *known.name == *format!("v{number}")) else { continue };
            agreement.receive(&Report::end(vantage.clone(), now), now);
            let after = agreement.view(&model, now);
            prop_assert_eq!(judged(&after), judged(&before));
            prop_assert!(!names(&after).contains(&&*vantage.name));
        }
        for number in &leaving {
            let Some(vantage) = known.iter().find(|known| *known.name == *format!("v{number}")) else { continue };
            // One that was silent before has no vote either way.
            let is_it = |of: &&VantageView| of.name == vantage.name;
            let was_silent = before.vantages.iter().find(is_it).is_some_and(|of| of.state == VantageState::Stale);
            if !was_silent {
                let blind = before.vantages.iter().find(is_it).and_then(|of| of.why.clone());
                let behind = Report { extent: Extent::Behind, blind, ..Report::part(vantage.clone(), now, Vec::new()) };
                agreement.receive(&behind, now);
            }
        }
        prop_assert_eq!(judged(&agreement.view(&model, now)), judged(&before));
    }
}
