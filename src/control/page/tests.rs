//! Tests of the page when something is wrong, and of its colours and widths.

use super::regions::{health_of_all, ramp_text};
use super::{PageData, escape, page_data};
use crate::control::overrides::{OverrideReport, OverrideSpread};
use crate::control::status::{RampReport, VantageStatus};
use crate::control::test_world::world;

use super::assembly::STYLE as CSS;

fn board(change: impl Fn(&mut PageData)) -> String {
    let mut data = page_data(&world().state);
    change(&mut data);
    data.board()
}

#[test]
fn a_region_is_up_while_any_endpoint_is() {
    for (healths, expected) in [(&["down", "up"][..], "up"), (&["unknown", "down"], "down"), (&["unknown"], "unknown")]
    {
        assert_eq!(health_of_all(healths.iter().copied()), expected, "{healths:?}");
    }
}

#[test]
fn a_ramp_shows_its_share_and_its_end() {
    let (endpoint, address) = ("fra1".to_owned(), "192.0.2.1".to_owned());
    let ramp = RampReport { endpoint, address, share: 0.15, full_in_ms: 40_200 };
    assert_eq!(ramp_text(&ramp), "ramping: 192.0.2.1 has 15 % of its weight, all of it in 41 s");
}

#[test]
fn text_from_files_cannot_become_markup() {
    assert_eq!(escape("<b a=\"'&"), "&lt;b a=&quot;&#39;&amp;");
    let text = board(|data| data.status.zones[0].endpoints[0].name = "<script>".into());
    assert!(text.contains("&lt;script&gt;") && !text.contains("<script>"), "{text}");
}

#[test]
fn the_reason_why_an_endpoint_is_down_is_shown() {
    let text = board(|data| {
        let nyc = &mut data.status.zones[0].endpoints[1];
        nyc.verdicts[0].why = Some("connection refused".into());
    });
    assert!(text.contains("down because: connection refused, as ns1 sees it"), "{text}");
}

#[test]
fn the_monitor_of_a_name_is_named_and_is_no_reason_for_the_endpoint() {
    let text = board(|data| {
        let verdict = &mut data.status.zones[0].endpoints[1].verdicts[0];
        (verdict.why, verdict.monitor) = (Some("connection refused".into()), Some("api".into()));
    });
    assert!(text.contains(" by monitor api") && !text.contains("because: connection refused"), "{text}");
}

#[test]
fn a_blind_vantage_is_shown_with_the_reason() {
    let text = board(|data| {
        data.status.vantages = vec![VantageStatus {
            name: "ns1".into(),
            region: "eu-west".into(),
            state: "blind".into(),
            why: Some("every check fell silent".into()),
            age_ms: None,
        }];
    });
    assert!(text.contains("<li class=\"down\"><strong>Bad:</strong> vantage ns1 (eu-west) is blind"), "{text}");
    assert!(text.contains("every check fell silent") && text.contains("badge blind"), "{text}");
}

#[test]
fn a_source_that_is_away_is_a_row_and_a_sentence() {
    let source = |state: &str, problem: Option<&str>| crate::control::sources::SourceReport {
        name: "discover.web".into(),
        zone: "svc.example.".into(),
        of: "http".into(),
        state: state.into(),
        age_ms: Some(61_400),
        endpoints: 2,
        left_out: 0,
        changed_at: Some(1_796_022_000.0),
        problem: problem.map(str::to_owned),
    };
    let text = board(|data| data.status.sources = vec![source("away", Some("status <503>"))]);
    assert!(text.contains("<strong>Note:</strong> discover.web is away, so its last list stays: status"), "{text}");
    assert!(text.contains("<span class=\"badge warning\">away, its list is 1m 1s old</span>"), "{text}");
    assert!(text.contains("2026-11-30 07:00:00 UTC") && text.contains("2 endpoints"), "{text}");
    assert!(text.contains("status &lt;503&gt;") && !text.contains("<503>"), "{text}");
    let bad = board(|data| data.status.sources = vec![source("bad", None)]);
    assert!(bad.contains("<li class=\"down\"><strong>Bad:</strong> discover.web is bad"), "{bad}");
    let well = board(|data| data.status.sources = vec![source("ok", None)]);
    assert!(well.contains("live, read 1m 1s ago") && !well.contains("discover.web is"), "{well}");
    assert!(!board(|_| ()).contains("Sources and events"));
}

#[test]
fn a_drained_region_says_so_and_who_drained_it() {
    let entry = OverrideReport {
        target: "region:us-east".into(),
        state: "drain".into(),
        why: "rack move".into(),
        who: "alice".into(),
        until: None,
        zones: None,
        on_disk: None,
        fleet: None,
    };
    let spread = |shared, missing: &[&str]| {
        let missing = missing.iter().map(|name| (*name).to_owned()).collect();
        let spread = OverrideSpread { node: "ns1".into(), shared, taken: vec!["ns1".into()], missing };
        let of_fleet = OverrideReport { fleet: Some(spread), ..entry.clone() };
        board(|data| data.status.zones[0].endpoints[1].overridden = Some(of_fleet.clone()))
    };
    assert!(spread(false, &["ns2"]).contains("rack move (not yet shared with the fleet)"));
    assert!(spread(true, &["ns2"]).contains("rack move (not in force yet at ns2)"));
    assert!(!spread(true, &[]).contains("not in force yet"));
    let text = board(|data| data.status.zones[0].endpoints[1].overridden = Some(entry.clone()));
    assert!(text.contains("<section data-region=\"us-east\" data-health=\"down\" data-drained>"), "{text}");
    assert!(text.contains("region us-east is drained by alice: rack move"), "{text}");
    assert!(text.contains("<section data-region=\"eu-west\" data-health=\"up\">"), "{text}");
    let by_file = board(|data| data.status.zones[0].endpoints[2].state = Some("drain".into()));
    assert!(by_file.contains("plain is drained by the policy file"), "{by_file}");
}

#[test]
fn many_endpoints_are_counted_and_those_that_are_not_well_come_first() {
    let text = board(|data| {
        let zone = &mut data.status.zones[0];
        let well =
            crate::control::status::EndpointStatus { region: Some("us-east".into()), ..zone.endpoints[0].clone() };
        zone.endpoints.splice(0..0, vec![well; 300]);
    });
    assert!(text.contains("and 101 more endpoints"), "{text}");
    assert!(text.find("nyc").unwrap() < text.rfind("fra1").unwrap(), "{text}");
}

/// The colours that a block of the style sheet declares.
fn colours(block: &str) -> Vec<(String, [f64; 3])> {
    let each = block.split("--").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once(": #")?;
        let octet = |at: usize| u8::from_str_radix(rest.get(at..at + 2)?, 16).ok().map(f64::from);
        Some((name.to_owned(), [octet(0)?, octet(2)?, octet(4)?]))
    });
    each.collect()
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: [f64; 3]) -> f64 {
    let [red, green, blue] = colour.map(|octet| {
        let part = octet / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[test]
fn every_text_colour_has_enough_contrast_on_both_backgrounds() {
    let blocks: Vec<&str> = CSS.split(":root {").skip(1).map(|block| block.split('}').next().unwrap()).collect();
    assert_eq!(blocks.len(), 2, "light and dark");
    for block in blocks {
        let colours = colours(block);
        let of = |name: &str| colours.iter().find(|(known, _)| known == name).map(|(_, colour)| *colour).unwrap();
        for text in ["text", "soft", "up", "down", "warning", "drained"] {
            for back in ["back", "panel"] {
                let [one, other] = [luminance(of(text)), luminance(of(back))];
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                // WCAG 2.2, 1.4.3, level AA.
                assert!(contrast >= 4.5, "{text} on {back} of {block}: {contrast:.2}");
            }
        }
    }
}
