//! A JSON Schema (draft 2020-12) of policy files and of `portolan.toml`, for editors that complete, explain and check
//! as one types. Ranges and words are the readers' own, explanations are the manual's; `tests` holds the keys against
//! what the readers ask for. It is no judge: `check` knows more.

mod settings;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::config::keys::object;
use crate::config::manual::ManualSection;
use crate::config::spec;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOf {
    /// `*.policy.toml`.
    Policy,
    /// `portolan.toml`.
    Settings,
}

/// The schema of a kind of file.
pub fn schema(of: SchemaOf) -> Value {
    let (title, table) = match of {
        SchemaOf::Policy => ("Portolan policy file", object(&spec::keys())),
        SchemaOf::Settings => ("Portolan settings", settings::table()),
    };
    let mut schema = table;
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

/// What names of endpoints, pools, monitors, fences and regions look like, as `regions::check_name` has it.
const NAME: &str = "^[A-Za-z0-9._-]{1,63}$";
/// A length of time, as `humantime` reads it, without its bounds.
const DURATION: &str = r"^\s*(0|([0-9]+\s*[a-zA-Zµ]+\s*)+)$";

/// A key of a table.
struct Key {
    name: &'static str,
    schema: Value,
}

impl Key {
    /// A key that the manual explains in a row of `section`, under its own name.
    fn of(section: ManualSection, name: &'static str, schema: Value) -> Key {
        Key::of_row(section, name, name, schema)
    }

    /// The same where the row has another name, such as `listen.http`.
    fn of_row(section: ManualSection, row: &str, name: &'static str, schema: Value) -> Key {
        Key::told(name, section.says(row).unwrap_or_default(), schema)
    }

    /// A key that is part of a longer explanation.
    fn told(name: &'static str, description: &str, mut schema: Value) -> Key {
        schema["description"] = json!(description);
        Key { name, schema }
    }

    fn or(mut self, default: impl Into<Value>) -> Key {
        self.schema["default"] = default.into();
        self
    }
}

/// A table with these keys and no others.
fn table(keys: impl IntoIterator<Item = Key>) -> Value {
    let properties: Map<String, Value> = keys.into_iter().map(|key| (key.name.to_owned(), key.schema)).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Tables of this kind under names.
fn named(each: Value) -> Value {
    json!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": each })
}

fn text() -> Value {
    json!({ "type": "string" })
}

/// A text of so many octets.
fn text_of(length: RangeInclusive<usize>) -> Value {
    json!({ "type": "string", "minLength": length.start(), "maxLength": length.end() })
}

fn matching(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn integer(range: RangeInclusive<i64>) -> Value {
    json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
}

fn duration() -> Value {
    matching(DURATION)
}

fn one_of_words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// A list of so many.
fn list_of(items: Value, length: RangeInclusive<usize>) -> Value {
    json!({ "type": "array", "items": items, "minItems": length.start(), "maxItems": length.end() })
}

/// What is said of a key that a section is about.
fn section(at: ManualSection) -> String {
    format!("See {}", at.link())
}
