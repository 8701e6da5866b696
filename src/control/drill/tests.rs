//! Plans of drills in a small world. Drills of a running server are in `tests/e2e/test_drill.py`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::control::drill::plan::{DrillRefusal, plan};
use crate::control::drill::{DrillBoard, PostDrill, not_now};
use crate::control::test_world::{model, snapshot, view};
use crate::drill::{DrillKind, DrillStatus, LostSet};
use crate::model::*;

fn request(drill: DrillKind, target: &str) -> PostDrill {
    PostDrill {
        drill,
        target: target.to_owned(),
        lasting: "10s".to_owned(),
        dry_run: true,
        qps: None,
        demand: Vec::new(),
    }
}

fn refused(drill: DrillKind, target: &str) -> DrillRefusal {
    let (own, lasting) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Duration::from_secs(10));
    plan(&snapshot(model()), &request(drill, target), lasting, own, Some("ns1")).expect_err("it is refused")
}

#[test]
fn a_drill_is_refused_while_something_is_down_and_where_nothing_would_be_noticed() {
    let text = |refusal: DrillRefusal| match refusal {
        DrillRefusal::Unknown(why) => format!("unknown: {why}"),
        DrillRefusal::Wrong(why) => format!("wrong: {why}"),
        DrillRefusal::Harmful(why) => format!("harmful: {why}"),
    };
    for (drill, target, expected) in [
        (DrillKind::LoseRegion, "eu-west", "harmful: the drill is refused: nyc is down already"),
        (DrillKind::LoseRegion, "eu-wst", "unknown: no region is called `eu-wst`"),
        (DrillKind::LoseRegion, "", "wrong: lose-region needs a \"target\""),
        (DrillKind::LoseEndpoint, "region:eu-west", "wrong: lose-endpoint needs the name of one endpoint"),
        (DrillKind::LoseEndpoint, "plain", "harmful: the drill is refused: none of the endpoints of endpoint plain"),
        (DrillKind::LoseVantage, "ns1", "harmful: the drill is refused: no other vantage would be left"),
        (DrillKind::LoseFleet, "", "harmful: the drill is refused: this server has no reports of other nodes"),
        (DrillKind::LoseFleet, "x", "wrong: lose-fleet has no \"target\""),
    ] {
        let found = text(refused(drill, target));
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn the_loss_of_the_fleet_is_that_of_all_other_vantages() {
    let (mut snapshot, mut view) = (snapshot(model()), view());
    view.checks.iter_mut().for_each(|check| check.health = Health::Up);
    for name in ["ns2", "nyc1"] {
        view.vantages.push(VantageView { name: name.into(), ..view.vantages[0].clone() });
    }
    snapshot.view = Arc::new(view);
    let (own, lasting) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Duration::from_secs(10));
    let request = request(DrillKind::LoseFleet, "");
    let (planned, lost) = plan(&snapshot, &request, lasting, own, Some("ns1")).unwrap();
    assert_eq!(planned.lost_vantages, ["ns2", "nyc1"]);
    assert!(lost.loses_fleet && lost.endpoints.is_empty());
    // All vantages of a node without a fleet are its own.
    assert!(plan(&snapshot, &request, lasting, own, None).is_err());
}

/// A composite of fra1 has a check of nyc as a part.
#[test]
fn what_follows_from_the_loss_is_no_other_failure() {
    let mut model = model();
    let parts = vec![CheckId(0), CheckId(2)];
    let monitor = Monitor::new(ProbeKind::Tcp);
    let key = CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere };
    model.checks.push(Check { key: Arc::new(key), parts });
    model.endpoints[0].answerables[0].check = Some(CheckId(3));
    let lost = LostSet::of(&model, DrillKind::LoseEndpoint, &[EndpointId(1)], BTreeSet::new());
    let affected: Vec<bool> = (0..4).map(|id| lost.affects(CheckId(id))).collect();
    assert_eq!(affected, [false, false, true, true]);
    assert_eq!(lost.endpoints.iter().map(|id| id.0).collect::<Vec<_>>(), [0, 1], "fra1 goes down too");
    assert_eq!(lost.keys.len(), 1);
}

#[test]
fn no_drill_begins_while_a_vantage_is_not_up() {
    let model = model();
    let lost = LostSet::of(&model, DrillKind::LoseEndpoint, &[EndpointId(0)], BTreeSet::new());
    let mut view = view();
    view.checks.iter_mut().for_each(|check| check.health = Health::Up);
    assert_eq!(not_now(&model, &view, &lost), None);
    view.vantages[0].state = VantageState::Blind;
    assert_eq!(not_now(&model, &view, &lost).as_deref(), Some("vantage ns1 is blind"));
}

#[tokio::test]
async fn the_board_counts_drills_and_has_signs_of_life_of_the_running_one_only() {
    let board = DrillBoard::default();
    let status = DrillStatus::begun(1, (DrillKind::LoseRegion, "eu-west"), "alice", 1.0, 1.0);
    assert!(!board.renew(1, Moment::START) && !board.stop(&"bob".into()), "none runs");
    board.begin();
    board.show(status.clone());
    assert!(board.renew(1, Moment::START) && !board.renew(2, Moment::START));
    assert_eq!((board.renewed(1), board.renewed(2)), (Some(Moment::START), None));
    assert!(board.stop(&"bob".into()));
    assert_eq!(&*board.stopped().await, "bob");
    board.show(DrillStatus { phase: DrillStatus::RESTORED.to_owned(), ..status });
    assert!(board.running().is_none() && board.status().is_some() && !board.renew(1, Moment::START));
    assert_eq!((board.counts().restored, board.counts().aborted), (1, 0));
}

#[test]
fn a_drill_that_begins_soon_is_ended_too() {
    let board = std::sync::Arc::new(DrillBoard::default());
    let (first, second) = (board.announce(), board.announce());
    drop(second);
    assert!(board.stop(&"bob".into()) && first.drill.ended.is_cancelled());
    assert_eq!(first.drill.stopper().as_deref(), Some("bob"));
    assert!(!board.stop(&"carol".into()), "it is ended already");
    let third = board.announce();
    assert!(!third.drill.ended.is_cancelled());
    drop((first, third));
    assert!(!board.stop(&"bob".into()));
}
