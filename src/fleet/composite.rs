//! The verdict on a composite check, from the verdicts on its parts. Pure.

use std::sync::Arc;

use crate::model::monitor::composite::{PartKey, Rule};
use crate::model::{Basis, CheckView, Composite, Evidence, Health, RegionId};

/// The view of a composite; `views` are those of its parts, in their order.
///
/// Its round-trip times are those of the first part that has any. It may change as soon as any of its parts may, and
/// rests on what the worst of them rests on.
pub(super) fn compose(composite: &Composite, views: &[&CheckView]) -> CheckView {
    let health = verdict(composite.rule, views.iter().map(|view| view.health));
    let waits = views.iter().any(|view| view.health == Health::Unknown && !view.tried);
    CheckView {
        health,
        tried: health != Health::Unknown || !waits,
        basis: views.iter().map(|view| view.basis).max().unwrap_or(Basis::Votes),
        may_change_in: views.iter().filter_map(|view| view.may_change_in).min(),
        rtts: views.iter().find(|view| !view.rtts.is_empty()).map(|view| view.rtts.clone()).unwrap_or_default(),
        unreachable_from: unreachable_from(composite.rule, health, views),
        cause: composite.parts.iter().zip(views).find_map(|(part, view)| cause(composite.rule, part, view, health)),
    }
}

/// The evidence on a composite: that of its parts, in their order.
pub(super) fn evidence(composite: &Composite, of_parts: Vec<Vec<Evidence>>) -> Vec<Evidence> {
    let parts = composite.parts.iter().zip(of_parts);
    let of_whole = |(part, all): (_, Vec<Evidence>)| {
        all.into_iter().map(move |one| evidence_of_part(composite.rule, part, &one)).collect::<Vec<_>>()
    };
    parts.flat_map(of_whole).collect()
}

/// The regions from which a composite is out of reach: seen from there, the verdict on it is Down.
fn unreachable_from(rule: Rule, health: Health, views: &[&CheckView]) -> Arc<[RegionId]> {
    let mut regions: Vec<RegionId> = views.iter().flat_map(|view| view.unreachable_from.iter().copied()).collect();
    regions.sort_unstable();
    regions.dedup();
    let seen_from = |region: RegionId| {
        let of_part = move |view: &&CheckView| match view.unreachable_from.contains(&region) {
            true => Health::Down,
            false => view.health,
        };
        verdict(rule, views.iter().map(of_part))
    };
    regions.retain(|region| health == Health::Up && seen_from(*region) == Health::Down);
    regions.into()
}

/// The reason of `verdict`, the verdict on the whole, where that of this part makes it. A part that is Up has none.
fn cause(rule: Rule, part: &PartKey, view: &CheckView, verdict: Health) -> Option<(Arc<str>, Arc<str>)> {
    let (why, vantage) = view.cause.as_ref().filter(|_| for_whole(rule, view.health) == verdict)?;
    Some((format!("`{}`: {why}", part.name).into(), vantage.clone()))
}

fn verdict(rule: Rule, parts: impl Iterator<Item = Health>) -> Health {
    let parts: Vec<Health> = parts.map(|health| for_whole(rule, health)).collect();
    let order = match rule {
        Rule::All | Rule::Not => [Health::Down, Health::Unknown],
        Rule::Any => [Health::Up, Health::Unknown],
    };
    let otherwise = match rule {
        Rule::All | Rule::Not => Health::Up,
        Rule::Any => Health::Down,
    };
    order.into_iter().find(|health| parts.contains(health)).unwrap_or(otherwise)
}

/// What the verdict on a part means for the whole.
fn for_whole(rule: Rule, health: Health) -> Health {
    match (rule, health) {
        (Rule::Not, Health::Up) => Health::Down,
        (Rule::Not, Health::Down) => Health::Up,
        (Rule::All | Rule::Any, Health::Up | Health::Down) | (_, Health::Unknown) => health,
    }
}

/// The evidence of a vantage on a part, as evidence on the whole: the reason gets the name of the part.
fn evidence_of_part(rule: Rule, part: &PartKey, of_part: &Evidence) -> Evidence {
    let name = &part.name;
    let why = match (rule, of_part.health) {
        (Rule::Not, Health::Up) => Some(format!("`{name}` is up").into()),
        (Rule::Not, Health::Down) => None,
        (Rule::All | Rule::Any, Health::Up | Health::Down) | (_, Health::Unknown) => {
            of_part.why.as_ref().map(|why| format!("`{name}`: {why}").into())
        }
    };
    Evidence { health: for_whole(rule, of_part.health), why, ..of_part.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{CheckKey, Doubt, HeartbeatSpec, Monitor, ProbeKind, ProbeTarget, RegionId};

    const MS: Duration = Duration::from_millis(1);

    fn composite(rule: Rule, names: &[&str]) -> Composite {
        let part = |name: &&str| {
            let spec = HeartbeatSpec { zone: "z.".into(), endpoint: (*name).into(), ttl: MS, longest: MS, phi: None };
            let kind = ProbeKind::Heartbeat(spec);
            let monitor = Monitor::new(kind);
            PartKey {
                name: (*name).into(),
                key: Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere }),
            }
        };
        Composite { rule, parts: names.iter().map(part).collect() }
    }

    fn view(health: Health, tried: bool) -> CheckView {
        CheckView { health, tried, ..CheckView::default() }
    }

    #[test]
    fn verdicts_come_together_by_the_rule() {
        use Health::{Down, Unknown, Up};
        for (rule, parts, expected) in [
            (Rule::All, vec![Up, Up], Up),
            (Rule::All, vec![Up, Unknown], Unknown),
            (Rule::All, vec![Unknown, Down, Up], Down),
            (Rule::Any, vec![Down, Up], Up),
            (Rule::Any, vec![Down, Unknown], Unknown),
            (Rule::Any, vec![Up, Unknown], Up),
            (Rule::Any, vec![Down, Down], Down),
            (Rule::Not, vec![Up], Down),
            (Rule::Not, vec![Down], Up),
            (Rule::Not, vec![Unknown], Unknown),
        ] {
            assert_eq!(verdict(rule, parts.clone().into_iter()), expected, "{rule:?} of {parts:?}");
        }
    }

    #[test]
    fn unknown_counts_as_down_once_every_part_had_its_chance() {
        for (parts, is_eligible) in [
            ([view(Health::Up, true), view(Health::Unknown, false)], true),
            ([view(Health::Up, true), view(Health::Unknown, true)], false),
            ([view(Health::Unknown, true), view(Health::Unknown, false)], true),
            ([view(Health::Down, true), view(Health::Unknown, false)], false),
        ] {
            let whole = compose(&composite(Rule::All, &["a", "b"]), &parts.each_ref());
            assert_eq!(whole.is_eligible(), is_eligible, "{parts:?}");
        }
    }

    #[test]
    fn round_trip_times_next_change_and_reasons_are_those_of_the_parts() {
        let of_ns1 = |health, why: Option<&str>| Evidence {
            vantage: "ns1".into(),
            region: RegionId(0),
            health,
            rtt: None,
            probed_at: None,
            why: why.map(Into::into),
            hold: None,
            doubt: Doubt::None,
            is_counted: true,
        };
        let soon = CheckView { may_change_in: Some(100 * MS), ..view(Health::Down, true) };
        let rtts = vec![(RegionId(0), 7 * MS)];
        let late = CheckView { may_change_in: Some(900 * MS), rtts, ..view(Health::Up, true) };
        let never = view(Health::Up, true);
        let all = composite(Rule::All, &["a", "db", "web"]);
        let whole = compose(&all, &[&never, &soon, &late]);
        assert_eq!((whole.health, whole.may_change_in), (Health::Down, Some(100 * MS)));
        assert_eq!(whole.rtts, [(RegionId(0), 7 * MS)]);
        let whys = |composite: &Composite, of_parts: Vec<Vec<Evidence>>| -> Vec<(Health, Option<String>)> {
            let evidence = evidence(composite, of_parts).into_iter();
            evidence.map(|e| (e.health, e.why.as_deref().map(str::to_owned))).collect()
        };
        let of_parts =
            vec![vec![], vec![of_ns1(Health::Down, Some("connection refused"))], vec![of_ns1(Health::Up, None)]];
        assert_eq!(whys(&all, of_parts), [(Health::Down, Some("`db`: connection refused".into())), (Health::Up, None)]);
        let not = composite(Rule::Not, &["maintenance"]);
        let of_up = vec![vec![of_ns1(Health::Up, None)]];
        assert_eq!(whys(&not, of_up), [(Health::Down, Some("`maintenance` is up".into()))]);
    }

    #[test]
    fn a_region_is_cut_off_from_a_composite_if_it_is_down_as_seen_from_there() {
        use Health::{Down, Up};
        let from = |health, regions: &[u16]| CheckView {
            unreachable_from: regions.iter().map(|id| RegionId(*id)).collect(),
            ..view(health, true)
        };
        for (what, rule, parts, expected) in [
            ("all: any part out of reach", Rule::All, [from(Up, &[2, 3]), from(Up, &[1])], vec![1, 2, 3]),
            ("any: every part out of reach", Rule::Any, [from(Up, &[1, 2]), from(Up, &[2])], vec![2]),
            ("any: the other part is down for all", Rule::Any, [from(Up, &[1]), from(Down, &[])], vec![1]),
            ("all: it is down for all", Rule::All, [from(Up, &[1]), from(Down, &[])], vec![]),
        ] {
            let whole = compose(&composite(rule, &["a", "b"]), &parts.each_ref());
            let expected: Vec<RegionId> = expected.into_iter().map(RegionId).collect();
            assert_eq!(*whole.unreachable_from, expected, "{what}");
        }
        let not = compose(&composite(Rule::Not, &["a"]), &[&from(Up, &[1])]);
        assert_eq!((not.health, &*not.unreachable_from), (Down, &[][..]));
    }
}
