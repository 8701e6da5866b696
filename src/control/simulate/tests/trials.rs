//! Tests of trial overrides, and of endpoints without a monitor.

use super::*;

#[test]
fn overrides_are_tried() {
    let snapshot = compiled(POLICY);
    let drained = simulated(&snapshot, "fra1=drain");
    near(&after(&drained), &after(&simulated(&snapshot, "fra1")), 1e-9);
    assert_eq!((drained.overrides.clone(), drained.lost.len()), (vec!["fra1=drain".to_owned()], 0));
    let region = simulated(&snapshot, "region:eu=down");
    let lost = simulated(&snapshot, "fra1 fra2");
    near(&after(&region)[2..], &after(&lost)[2..], 1e-9);
    near(&after(&region)[..2], &[0.0, 0.0], 1e-9);
    let forced_up = simulated(&snapshot, "region:eu=down fra1=up");
    near(&after(&forced_up), &after(&simulated(&snapshot, "fra2")), 1e-9);
    let forced = simulated(&snapshot, "fra1 fra1=up");
    near(&after(&forced), &after(&simulated(&snapshot, "")), 1e-9);
}

#[test]
fn an_endpoint_without_a_monitor_can_be_lost_and_a_note_says_so() {
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
fn an_endpoint_that_ramps_counts_with_its_present_weight_and_a_note_says_so() {
    let model = model(&POLICY.replace("weight = 2\n", "weight = 2\nramp = \"190s\"\n"));
    let mut view = view(&model);
    let checks = model.endpoints[0].answerables.iter().filter_map(|side| side.check);
    view.recoveries = Arc::new(checks.map(|check| (check, Recovery::Since(NOW))).collect());
    let snapshot = compile(Arc::new(model), Arc::new(view), Arc::new(Identity::default()), 1, None);
    let report = simulated(&snapshot, "");
    let note = "fra1: back a moment ago, with a part of the weight (`ramp`): the shares are those of this moment";
    assert_eq!(report.notes, [note]);
    let full = simulated(&compiled(POLICY), "");
    assert!(row(&report, "fra1").after < row(&full, "fra1").after && full.notes.is_empty());
    let SimulationResult::Pairs(pairs) = simulate(&snapshot, &snapshot, &request("pairs"), Bounds::NONE).unwrap()
    else {
        panic!("expected pairs")
    };
    assert!(pairs.iter().all(|pair| pair.notes.iter().any(|of_pair| of_pair == note)));
}
