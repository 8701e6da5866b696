//! The schemas hold what the readers ask for, no more and no less, and everything in them is explained.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::*;
use crate::config::Flags;
use crate::config::fields::record;
use crate::config::problem::Problems;
use crate::config::settings as readers;

/// Settings in which every table is there.
const SETTINGS: &str = "[listen]\n[tls]\n[zones]\n[cookies]\n[rrl]\n[chaos]\n\
    [api]\n[state]\n[log]\n[vantage]\n[clients]\n[regions.NAME]\n";

/// Keys by the table that they are in, each with the schema of its value.
type Tables<'a> = BTreeMap<String, BTreeMap<&'a str, &'a Value>>;

/// The tables of a schema, called as messages call them.
fn tables<'a>(schema: &'a Value, called: &str, into: &mut Tables<'a>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (key, value) in properties {
            into.entry(called.to_owned()).or_default().insert(key, value);
            tables(value, key, into);
        }
    }
    if schema["additionalProperties"].is_object() {
        tables(&schema["additionalProperties"], &format!("{called}.NAME"), into);
    }
    for each in schema["anyOf"].as_array().into_iter().flatten() {
        tables(each, called, into);
    }
    let item = if called == "members" { "a member" } else { called };
    tables_of_items(schema, item, into);
}

fn tables_of_items<'a>(schema: &'a Value, called: &str, into: &mut Tables<'a>) {
    if schema["items"].is_object() {
        tables(&schema["items"], called, into);
    }
}

/// What the readers of the settings ask for.
fn asked() -> Vec<record::Asked> {
    record::asked();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portolan.toml");
    std::fs::write(&file, SETTINGS).unwrap();
    readers::read(Some(&file), HashMap::new(), &Flags::default(), &mut Problems::default());
    record::asked()
}

#[test]
fn the_schema_of_settings_has_the_keys_that_are_read() {
    let schema = schema(SchemaOf::Settings);
    let mut tables_of_schema = Tables::new();
    tables(&schema, "", &mut tables_of_schema);
    let mut of_readers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (table, key, range) in asked() {
        let table = table.trim_matches(['[', ']', '`']).to_owned();
        let value = tables_of_schema.get(&table).and_then(|keys| keys.get(key));
        let value = value.unwrap_or_else(|| panic!("readers know `{key}` in `{table}`, and the schema doesn't"));
        if let Some(range) = range {
            let bounds = (value["minimum"].as_i64(), value["maximum"].as_i64());
            assert_eq!(bounds, (Some(*range.start()), Some(*range.end())), "`{key}` in `{table}`");
        }
        of_readers.entry(table).or_default().insert(key);
    }
    for (table, keys) in &tables_of_schema {
        let known = of_readers.get(table).unwrap_or_else(|| panic!("no reader has asked anything of `{table}`"));
        for key in keys.keys() {
            assert!(known.contains(key), "the schema has `{key}` in `{table}`, and no reader asks for it");
        }
    }
}

#[test]
fn every_key_of_the_schemas_is_explained() {
    for of in [SchemaOf::Policy, SchemaOf::Settings] {
        let schema = schema(of);
        let mut found = Tables::new();
        tables(&schema, "", &mut found);
        assert!(found.len() >= 10, "{:?}", found.keys());
        for (table, key, value) in
            found.iter().flat_map(|(table, keys)| keys.iter().map(move |(key, value)| (table, key, value)))
        {
            let text = value["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "nothing explains `{key}` in `{table}`");
        }
    }
}

#[test]
fn the_schema_has_text_range_and_default_of_a_key() {
    let schema = schema(SchemaOf::Policy);
    let weight = &schema["properties"]["endpoint"]["additionalProperties"]["properties"]["weight"];
    let share = "its share within a pool, 0 to 1000000. 0 is a standby: used only when every other member is out";
    assert_eq!(weight["description"], share);
    assert_eq!((&weight["maximum"], &weight["default"]), (&json!(1_000_000), &json!(1)));
}
