//! A declaration gives the values, the problems, the schema and the rows of the manual.

use std::path::Path;

use super::*;
use crate::config::node;

keys! {
    /// A table with one key of each form.
    Sample {
        /// its share,
        /// 0 to 9
        share: u32 = integer(0..=9), default 1;
        /// the name
        "type" of: String = text("\"x\""), required "write `type = \"x\"`";
        /// lists
        a: Vec<At<String>> = texts("[\"x\"]");
        /// lists
        b: Vec<At<String>> = texts("[\"x\"]"), note "as `a`";
        hidden: bool = boolean(), inherits json!(true);
    }
}

impl Table for Sample {}

fn read(toml: &str) -> (Option<Sample>, Vec<String>) {
    let mut problems = Problems::default();
    let tree = node::parse(Path::new("f"), toml.as_bytes(), &mut problems).unwrap();
    let sample =
        Fields::of_node(tree, "[sample]", &mut problems).and_then(|fields| Sample::read(fields, &mut problems));
    let found = problems
        .into_sorted()
        .into_iter()
        .map(|p| format!("{}: {} ({})", p.line, p.message, p.hint.unwrap_or_default()));
    (sample, found.collect())
}

#[test]
fn values_have_their_places_or_are_defaults() {
    let (sample, found) = read("type = \"t\"\na = [\"x\", \"y\"]\n");
    let sample = sample.unwrap();
    assert_eq!((sample.of.as_ref().unwrap().place.line, *sample.share, &sample.share.place), (1, 1, &None));
    assert_eq!((sample.a.as_ref().unwrap().value.len(), sample.has("a"), sample.has("b")), (2, true, false));
    assert!(found.is_empty() && sample.b.is_none() && sample.hidden.is_none(), "{found:?}");
}

#[test]
fn wrong_missing_and_unknown_keys_are_problems() {
    for (toml, expected) in [
        ("", &["1: [sample] has no `type` (write `type = \"x\"`)"][..]),
        ("tpye = \"t\"", &["1: unknown key `tpye` in [sample] (did you mean `type`?)"]),
        ("type = \"t\"\nshare = 10", &["2: `share` must be a whole number from 0 to 9, not 10 ()"]),
        ("type = 1", &["1: `type` must be a string, not a whole number (write `type = \"x\"`)"]),
        ("type = \"t\"\na = \"x\"", &["2: `a` must be a list, not a string (write `a = [\"x\"]`)"]),
    ] {
        assert_eq!(read(toml).1, expected, "{toml}");
    }
}

#[test]
fn the_schema_has_types_texts_ranges_and_defaults() {
    let schema = Sample::schema();
    let share =
        json!({ "type": "integer", "minimum": 0, "maximum": 9, "default": 1, "description": "its share, 0 to 9" });
    assert_eq!(schema["properties"]["share"], share);
    assert_eq!((&schema["required"], &schema["additionalProperties"]), (&json!(["type"]), &json!(false)));
    assert_eq!(schema["properties"]["hidden"]["default"], json!(true));
}

#[test]
fn keys_with_the_same_text_share_a_row_and_those_without_text_have_none() {
    let rows = [
        "| key | default | meaning |",
        "|---|---|---|",
        "| `share` | 1 | its share, 0 to 9 |",
        "| `type` | required | the name |",
        "| `a`, `b` | none, as `a` | lists |\n",
    ];
    assert_eq!(test_manual::markdown(&Sample::keys()), rows.join("\n"));
}
