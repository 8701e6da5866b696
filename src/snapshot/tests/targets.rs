//! What is known of a record's target when the zones are compiled is what a lookup finds.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::view;
use crate::config::{self, Flags};
use crate::model::ZoneId;
use crate::snapshot::compile::compile;
use crate::snapshot::names::{LookupResult, ZoneTable};
use crate::snapshot::{Identity, Snapshot};
use crate::wire::code::rtype;
use crate::wire::{MadeName, Name, NameBuf};

const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";

/// Owners, with the rest of their records, of the zone `t.example.`; and the same of `b.a.t.example.`.
type Records = Vec<(String, usize)>;

/// A snapshot of these records; `None` where the files are refused.
fn snapshot(upper: &Records, lower: &Records) -> Option<Snapshot> {
    let dir = tempfile::tempdir().unwrap();
    for (file, records) in [("t.example.zone", upper), ("b.a.t.example.zone", lower)] {
        let mut text = HEAD.to_owned();
        for (at, (owner, kind)) in records.iter().enumerate() {
            let target = ["a", "b.a", "a.a", "x.b.a", "b", "t.example.", "example.", "a.b.a.t.example."][kind / 4 % 8];
            let rest = ["A 192.0.2.2", "NS ns", "CNAME", "DNAME"][kind % 4];
            // One record for each owner, so that no CNAME has company.
            if records[..at].iter().all(|(before, _)| before != owner) {
                let target = if kind % 4 > 1 { target } else { "" };
                let _ = writeln!(text, "{owner} {rest} {target}");
            }
        }
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let flags = Flags::default()
        .with("region", "here")
        .with("clients.default_region", "here")
        .with("zones.dir", dir.path().to_str().unwrap());
    let model = std::sync::Arc::new(config::load(None, &flags).ok()?.model);
    let view = view(&model, &[]).into();
    Some(compile(model, view, Identity::default().into(), 1, None))
}

fn name(text: &str) -> NameBuf {
    NameBuf::parse(Name::parse(text).unwrap().as_wire()).unwrap()
}

fn shown(found: LookupResult<'_>) -> String {
    match found {
        LookupResult::Outside => "outside".to_owned(),
        LookupResult::Missing(zone) => format!("missing in {}", zone.0),
        LookupResult::Exact(node) => format!("exact {}", node.id()),
        LookupResult::Wildcard(node) => format!("wildcard {}", node.id()),
        LookupResult::Referral(node) => format!("referral {}", node.id()),
        LookupResult::Redirected(node) => format!("redirected {}", node.id()),
    }
}

/// Compares, for all names that are `text` or below it.
fn check(zones: &ZoneTable, zone: ZoneId, text: &str) -> Result<(), TestCaseError> {
    let position = zones.position_in(zone, &name(text));
    for prefix in
        ["a", "b", "x", "a.b", "b.a", "a.a", "x.x.a", "x.y.z.b.a", "b.a.b.a", "*", "a.*", "x.*", "x.a.*", "*.x"]
    {
        let long = name(&format!("{prefix}.{text}"));
        let expected = zones.position_in(zone, &long);
        let prefix = prefix.len() + 1;
        for above in [Some(position), None] {
            // A name that nothing is known of is looked up from the zone's ancestors down.
            if above.is_none() && !position.is_outside() {
                continue;
            }
            let mut made = MadeName::of(name(&format!("b.b.b.{text}")).as_wire());
            made.replace_end(0, long.as_wire(), true);
            let found = zones.position_of_made(zone, above, &made, prefix);
            for for_ds in [false, true] {
                let (found, expected) = (zones.at(found, for_ds), zones.at(expected, for_ds));
                prop_assert_eq!(shown(found), shown(expected), "{:?} from {}", long, zone.0);
            }
        }
    }
    for prefix in ["a", "b", "x", "a.b", "b.a", "a.a", "x.x.a", "*", "a.*", "x.*"] {
        let long = format!("{prefix}.{text}");
        let labels = name(prefix);
        let labels = labels.as_wire().split_last().unwrap().1;
        let Some(below) = zones.position_below(position, labels) else { continue };
        for for_ds in [false, true] {
            let expected = shown(zones.find_within(zone, &name(&long), for_ds));
            prop_assert_eq!(shown(zones.at(below, for_ds)), expected, "{} from {}", long, zone.0);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn names_below_a_target_are_where_it_says(
        upper in prop::collection::vec(("[ab](\\.[ab]){0,2}|\\*\\.[ab]", 0..32_usize), 0..8),
        lower in prop::collection::vec(("[ab](\\.[ab]){0,1}|\\*\\.[ab]", 0..32_usize), 0..5),
    ) {
        // Files that are refused check nothing: too many of them are a failure.
        let snapshot = snapshot(&upper, &lower);
        prop_assume!(snapshot.is_some());
        let Some(snapshot) = snapshot else { return Ok(()) };
        let zones = &snapshot.zones;
        for zone in [ZoneId(0), ZoneId(1)] {
            check(zones, zone, "example.")?;
            let labels = ["", "a.", "b.", "a.a.", "b.a.", "a.b.", "a.b.a.", "x.a.", "x.b.a.", "b.b.a.", "x.y.b.a."];
            for text in labels {
                check(zones, zone, &format!("{text}t.example."))?;
            }
        }
        for text in ["a.t.example.", "b.t.example.", "a.a.t.example.", "a.b.a.t.example.", "b.b.a.t.example."] {
            let LookupResult::Exact(node) = zones.find(&name(text), false) else { continue };
            let Some(record) = node.rrset(rtype::CNAME).or(node.rrset(rtype::DNAME)) else { continue };
            let target = NameBuf::parse(record.rdatas().next().unwrap()).unwrap();
            let found = record.target().unwrap().position;
            prop_assert_eq!(found, zones.position_in(node.zone(), &target));
        }
    }
}
