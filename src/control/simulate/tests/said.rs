//! Overrides that are tried, and what has no monitor: both are the operator's word.

use super::*;

#[test]
fn overrides_are_tried() {
    let snapshot = compiled(POLICY);
    let drained = simulated(&snapshot, "fra1=drain");
    near(&after(&drained), &after(&simulated(&snapshot, "fra1")), 1e-9);
    assert_eq!((drained.said.clone(), drained.lost.len()), (vec!["fra1=drain".to_owned()], 0));
    let region = simulated(&snapshot, "region:eu=down");
    let lost = simulated(&snapshot, "fra1 fra2");
    near(&after(&region)[2..], &after(&lost)[2..], 1e-9);
    near(&after(&region)[..2], &[0.0, 0.0], 1e-9);
    let kept = simulated(&snapshot, "region:eu=down fra1=up");
    near(&after(&kept), &after(&simulated(&snapshot, "fra2")), 1e-9);
    let forced = simulated(&snapshot, "fra1 fra1=up");
    near(&after(&forced), &after(&simulated(&snapshot, "")), 1e-9);
}

#[test]
fn what_has_no_monitor_is_taken_away_all_the_same_and_that_is_said() {
    let report = simulated(&compiled(POLICY), "plain");
    assert_eq!(row(&report, "plain").after, 0.0, "what is forced down is never given");
    assert_eq!(report.empty.len(), 3, "{:?}", report.empty);
    assert!(
        report.notes[0].starts_with("plain has no monitor: a real loss would not be noticed"),
        "{:?}",
        report.notes
    );
}

#[test]
fn who_came_back_a_moment_ago_counts_as_far_as_it_is_and_that_is_said() {
    let model = model(&POLICY.replace("weight = 2\n", "weight = 2\nramp = \"190s\"\n"));
    let mut view = view(&model);
    let checks = model.endpoints[0].answerables.iter().filter_map(|side| side.check);
    checks.for_each(|check| view.checks[check.0 as usize].recovery = Recovery::Since(NOW));
    let snapshot = compile(Arc::new(model), Arc::new(view), Arc::new(Identity::default()), 1, None);
    let report = simulated(&snapshot, "");
    let note = "fra1: back a moment ago, with a part of the weight (`ramp`): the shares are those of this moment";
    assert_eq!(report.notes, [note]);
    let full = simulated(&compiled(POLICY), "");
    assert!(row(&report, "fra1").after < row(&full, "fra1").after && full.notes.is_empty());
    let SimulationResult::Pairs(pairs) = simulate(&snapshot, &snapshot, &ask("pairs"), Bounds::NONE).unwrap() else {
        panic!("pairs were asked for")
    };
    assert!(pairs.iter().all(|pair| pair.notes.iter().any(|of_pair| of_pair == note)));
}
