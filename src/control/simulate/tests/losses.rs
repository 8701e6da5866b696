//! Tests of losses and their effects.

use super::*;
use crate::control::simulate::EmptyAnswer;

#[test]
fn a_region_lost_is_each_of_its_endpoints_lost() {
    // Only `near` depends on a vantage of the region, and only for its own clients.
    let policy = POLICY.replace("steer = \"latency\"", "steer = \"nearest\"");
    let snapshot = compiled(&policy);
    for (region, endpoints) in [("eu", "fra1 fra2"), ("us", "nyc"), ("ap", "sgp plain")] {
        let (whole, each) = (simulated(&snapshot, &format!("region:{region}")), simulated(&snapshot, endpoints));
        near(&after(&whole), &after(&each), 1e-9);
        assert_eq!(whole.empty, each.empty, "{region}");
        is_whole(&whole);
    }
}

#[test]
fn the_order_of_flags_has_no_effect() {
    let snapshot = compiled(POLICY);
    let (one, other) = (
        simulated(&snapshot, "fra1 vantage:v-us region:ap 100"),
        simulated(&snapshot, "100 region:ap fra1 vantage:v-us"),
    );
    assert_eq!(one, other);
    assert_eq!(one.lost, ["fra1", "region:ap", "vantage:v-us"]);
}

#[test]
fn the_share_of_a_lost_endpoint_goes_to_the_others_by_weight() {
    let report = simulated(&compiled(POLICY), "fra1");
    let db = 1.0 / 9.0;
    assert!((row(&report, "nyc").after - row(&report, "nyc").before) > db, "db moves as a whole, www by weight");
    assert_eq!(row(&report, "fra1").after, 0.0);
    assert!(report.empty.is_empty(), "{:?}", report.empty);
    is_whole(&report);
}

#[test]
fn a_loss_of_everything_gives_each_names_on_empty() {
    let snapshot = compiled(&POLICY.replace("[name.solo]\npool = \"plain\"\n", ""));
    let report = simulated(&snapshot, "region:eu region:us region:ap");
    is_whole(&report);
    let answer = |name: &str| {
        let of_name: Vec<_> = report.empty.iter().filter(|empty| empty.name == name).collect();
        let mut classes: Vec<&str> = of_name.iter().map(|e| e.class.as_str()).collect();
        classes.dedup();
        assert_eq!(classes, ["ap", "eu", "us"], "{name}");
        assert!(of_name.iter().all(|e| !e.already && !e.partly && e.fence.is_none()));
        (of_name[0].on_empty.clone(), of_name[0].answer)
    };
    for name in ["www", "two", "db", "near", "held"] {
        assert_eq!(answer(name), ("last_good".into(), EmptyAnswer::Stale), "{name}");
    }
    assert_eq!(answer("gone"), ("nodata".into(), EmptyAnswer::Nothing));
    assert_eq!(answer("file"), ("static".into(), EmptyAnswer::Static));
    let of_file = report.empty.iter().filter(|empty| empty.name == "file" && empty.class == "eu");
    let of_file: Vec<_> = of_file.map(|empty| (empty.types.join(" "), empty.answer)).collect();
    let expected = [("A".to_owned(), EmptyAnswer::Static), ("AAAA".to_owned(), EmptyAnswer::Nothing)];
    assert_eq!(of_file, expected, "no AAAA in the zone file");
    assert_eq!(answer("else"), ("nyc".into(), EmptyAnswer::Fallback), "the last resort is given up or not");
    // gone: nothing; file: A from the zone file, no AAAA.
    near(&[report.nodata.after, report.fixed.after], &[1.5 / 8.0, 0.5 / 8.0], 1e-6);
    near(&[report.stale.before, report.stale.after], &[0.0, 5.0 / 8.0], 1e-6);
}

#[test]
fn an_entry_says_whether_it_is_empty_already() {
    let snapshot = compiled(POLICY);
    let mut view = WorldView::clone(&snapshot.view);
    view.checks.iter_mut().for_each(|check| check.health = Health::Down);
    let dark = crate::snapshot::compile::refresh(&snapshot, view.into());
    let report = simulated(&dark, "nyc");
    assert!(!report.empty.is_empty() && report.empty.iter().all(|empty| empty.already), "{:?}", report.empty);
}

#[test]
fn a_lost_vantage_loses_its_measurements() {
    let snapshot = compiled(POLICY);
    let near_us = |report: &SimulationReport| row(report, "nyc").after;
    let report = simulated(&snapshot, "vantage:v-us");
    // Clients of `us` are now ranked by what is measured in `eu`, the nearest region with a vantage: fra1 is nearest.
    near(&[near_us(&report)], &[row(&report, "nyc").before - 1.0 / 27.0], 1e-6);
    assert!(report.empty.is_empty() && report.lost == ["vantage:v-us"]);
    let nothing_measured = simulated(&snapshot, "vantage:v-us vantage:v-eu vantage:v-ap");
    near(&[row(&nothing_measured, "sgp").after], &[row(&report, "sgp").before - 1.0 / 27.0], 1e-6);
    assert!(nothing_measured.empty.is_empty(), "the last verdicts stand: {:?}", nothing_measured.empty);
}

#[test]
fn the_remaining_vantages_agree_again() {
    let snapshot = compiled(POLICY);
    let mut view = WorldView::clone(&snapshot.view);
    // Two of three see nyc down, so it is; without one of them it is a tie, which keeps it up.
    let nyc = snapshot.model.endpoints.iter().find(|endpoint| endpoint.name == "nyc").unwrap();
    for check in nyc.answerables.iter().map(|answerable| answerable.check.unwrap().0 as usize) {
        view.checks[check].health = Health::Down;
        view.evidence.change(check, |all| all.iter_mut().take(2).for_each(|one| one.health = Health::Down));
    }
    let split = crate::snapshot::compile::refresh(&snapshot, view.into());
    assert_eq!(row(&simulated(&split, ""), "nyc").after, 0.0);
    assert!(row(&simulated(&split, "vantage:v-us"), "nyc").after > 0.03);
    assert_eq!(row(&simulated(&split, "vantage:v-ap"), "nyc").after, 0.0);
}

#[test]
fn demand_adds_up_and_is_compared_with_capacity() {
    let snapshot = compiled(POLICY);
    let sum = |report: &SimulationReport| report.endpoints.iter().filter_map(|row| row.qps_after).sum::<f64>();
    let calm = simulated(&snapshot, "1000");
    near(&[sum(&calm)], &[1000.0], 1e-3);
    assert!(calm.exceeded.iter().all(|row| row.endpoint == "sgp"), "{:?}", calm.exceeded);
    let lost = simulated(&snapshot, "region:eu 1000");
    near(&[sum(&lost) + lost.nodata.after * 1000.0 + lost.fixed.after * 1000.0], &[1000.0], 1e-3);
    let nyc = lost.exceeded.iter().find(|row| row.endpoint == "nyc").unwrap();
    assert!(nyc.qps > 400.0 && nyc.capacity == 400, "{nyc:?}");
    let unknown = simulated(&snapshot, "region:eu");
    assert_eq!((unknown.exceeded.len(), unknown.qps, row(&unknown, "nyc").qps_after), (0, None, None));
    near(&after(&unknown), &after(&lost), 1e-9);
}

#[test]
fn pairs_are_every_two_regions_together() {
    let snapshot = compiled(POLICY);
    let SimulationResult::Pairs(pairs) = simulate(&snapshot, &snapshot, &request("pairs fra2"), Bounds::NONE).unwrap()
    else {
        panic!("expected pairs");
    };
    let lost: Vec<String> = pairs.iter().map(|report| report.lost.join(" ")).collect();
    assert_eq!(lost, ["region:eu region:us fra2", "region:eu region:ap fra2", "region:us region:ap fra2"]);
    for (pair, words) in pairs.iter().zip(["region:eu region:us", "region:eu region:ap", "region:us region:ap fra2"]) {
        let one = simulated(&snapshot, words);
        near(&after(pair), &after(&one), 1e-9);
        assert_eq!(pair.empty, one.empty);
    }
}

#[test]
fn another_policy_is_compared_by_the_names_of_its_endpoints() {
    let before = compiled(POLICY);
    let changed = POLICY.replace("members = [\"fra1\", \"fra2\"]", "members = [\"fra2\", \"new\"]")
        + "[endpoint.new]\naddresses = [\"192.0.2.12\", \"2001:db8::12\"]\n";
    let model = model(&changed);
    let view = crate::control::simulate::as_measured(&model, &seen(&before));
    let next = compile(Arc::new(model), Arc::new(view), Arc::new(Identity::default()), 2, Some(&before));
    let SimulationResult::One(report) = simulate(&before, &next, &request("region:ap"), Bounds::NONE).unwrap() else {
        panic!()
    };
    assert_eq!((row(&report, "new").before, row(&report, "sgp").after, report.generation), (0.0, 0.0, 2));
    assert!(row(&report, "new").after > 0.1 && row(&report, "fra1").after < row(&report, "fra1").before);
    is_whole(&report);
}

#[test]
fn measurements_of_a_server_are_matched_by_name_and_address() {
    let snapshot = compiled(POLICY);
    let mut view = WorldView::clone(&snapshot.view);
    let down = snapshot.model.endpoints[0].answerables[0].check.unwrap().0 as usize;
    view.checks[down].health = Health::Down;
    view.evidence.change(down, |all| all.iter_mut().for_each(|one| one.health = Health::Down));
    let half = crate::snapshot::compile::refresh(&snapshot, view.into());
    let matched = crate::control::simulate::as_measured(&snapshot.model, &seen(&half));
    let vantages = |view: &WorldView| -> Vec<_> {
        view.vantages.iter().map(|v| (v.name.clone(), v.region, v.state, v.why.clone())).collect()
    };
    assert_eq!(vantages(&matched), vantages(&half.view));
    for (found, own) in matched.checks.iter().zip(half.view.checks.iter()) {
        assert_eq!((found.health, found.tried, &found.rtts), (own.health, own.tried, &own.rtts));
    }
}

fn seen(snapshot: &Snapshot) -> Status {
    crate::control::status::status(snapshot, &Default::default(), NOW)
}
