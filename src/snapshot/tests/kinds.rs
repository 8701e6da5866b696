//! Names that can be an alias or have addresses: which of both they are outlives a refresh, a reload and a restart, and
//! is the same for every type in all of them.

use super::*;
use crate::snapshot::SteeringState;
use crate::snapshot::compile::restore;
use crate::steering::NameKind;

/// Name `one`: `a`, which has IPv4 alone, before the cname `z`.
fn either() -> Arc<Model> {
    model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
        endpoint.z = { cname = "z.example.", monitor = "m", probe = "192.0.2.12" }
        pool.one = { members = ["a", "z"], steer = "failover" }
        name.one = { pool = "one", failback = "manual" }
        "#,
    )
}

fn kinds(snapshot: &Snapshot) -> [Option<NameKind>; 3] {
    [Facet::Alias, Facet::V4, Facet::V6].map(|facet| {
        let cell = snapshot.cell(PolicyId(0), LocalClass(0), facet).unwrap();
        assert!(cell.records().all(|record| (record.rtype == 5) == (cell.decision().kind == Some(NameKind::Alias))));
        cell.decision().kind
    })
}

#[test]
fn the_choice_outlives_refresh_reload_and_restart_for_every_type() {
    let model = either();
    let seen = |down: &[&str]| Arc::new(view(&model, down));
    let up = compile(model.clone(), seen(&[]), Arc::default(), 1, None);
    assert_eq!(kinds(&up), [Some(NameKind::Addresses); 3]);
    let out = refresh(&up, seen(&["a"]));
    assert_eq!(kinds(&out), [Some(NameKind::Alias); 3]);
    let back = refresh(&out, seen(&[]));
    assert_eq!(kinds(&back), [Some(NameKind::Alias); 3], "handed back by hand only");
    let reloaded = compile(either(), seen(&[]), Arc::default(), 2, Some(&back));
    assert_eq!(kinds(&reloaded), [Some(NameKind::Alias); 3]);
    let mut standings = reloaded.standings_by_name();
    let restarted = |standings: &[_]| {
        let retained = SteeringState { standings: standings.to_vec(), ..SteeringState::default() };
        restore(model.clone(), seen(&[]), Arc::default(), 1, &retained)
    };
    assert_eq!(kinds(&restarted(&standings)), [Some(NameKind::Alias); 3]);
    standings.retain(|standing| standing.rtype != "CNAME");
    assert_eq!(kinds(&restarted(&standings)), [Some(NameKind::Alias); 3], "as an older version wrote it");
    assert_eq!(kinds(&restarted(&[])), [Some(NameKind::Addresses); 3]);
    let over = refresh(&back, seen(&["z"]));
    assert_eq!(kinds(&over), [Some(NameKind::Addresses); 3]);
}

#[test]
fn a_cname_is_one_cell_for_all_types() {
    let model = either();
    let out = compile(model.clone(), Arc::new(view(&model, &["a"])), Arc::default(), 1, None);
    let cell = |facet| std::ptr::from_ref(out.cell(PolicyId(0), LocalClass(0), facet).unwrap());
    assert_eq!([cell(Facet::V4), cell(Facet::V6)], [cell(Facet::Alias); 2]);
}
