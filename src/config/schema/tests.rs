//! Every key of the schemas has a description, and its range and default are those of its declaration.

use std::collections::BTreeMap;

use super::*;

/// Keys by the table that they are in, each with the schema of its value.
type Tables<'a> = BTreeMap<String, BTreeMap<&'a str, &'a Value>>;

/// The tables of a schema, with the names that messages have for them.
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
            let is_null = |part: &Value| part.is_null();
            assert!(!value.as_object().unwrap().values().any(is_null), "`{key}` in `{table}`: {value}");
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
